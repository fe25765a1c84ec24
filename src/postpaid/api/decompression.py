"""Bodies and files that are compressed: gzip and zstd, by the piece, within bounds."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

import zstandard

from postpaid.core.errors import InvalidRequest

WINDOW_BYTES_MAX = 1 << 23  # of zstd: what RFC 8878 asks every decoder to have


class Damaged(Exception):
    """Compressed bytes break off, or are none; what came before was good."""


class Decompressor(Protocol):
    """What zlib and zstandard have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def gunzip() -> Decompressor:
    return zlib.decompressobj(16 + zlib.MAX_WBITS)


def unzstd(window_bytes_max: int = WINDOW_BYTES_MAX) -> Decompressor:
    decompressor = zstandard.ZstdDecompressor(max_window_size=window_bytes_max)
    return decompressor.decompressobj()


# The bytes that are decompressed at once: few, because few can become many.
ENCODINGS: Mapping[str, tuple[str, Callable[[], Decompressor], int]] = {
    "gzip": ("gzip", gunzip, 4096),
    "x-gzip": ("gzip", gunzip, 4096),
    "zstd": ("zstd", unzstd, 256),
}


def decompressed(chunks: Iterable[bytes], new: Callable[[], Decompressor]) -> Iterator[bytes]:
    """What is in the chunks, one compressed stream after the other. Raises ``Damaged``."""
    current = new()
    for chunk in chunks:
        while chunk:
            if current.eof:
                current = new()
            try:
                yield current.decompress(chunk)
            except (zlib.error, zstandard.ZstdError) as error:
                raise Damaged(str(error).rpartition(": ")[2]) from None
            chunk = current.unused_data if current.eof else b""
    if not current.eof:
        raise Damaged("it breaks off before its end")


def decoded_body(body: bytes, encoding: str, bytes_max: int) -> bytes:
    """A body as it was before its ``Content-Encoding``. Raises ``InvalidRequest``."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ENCODINGS:
        raise InvalidRequest(
            f"Invalid Content-Encoding: {encoding[:100]}; must be gzip, zstd or identity",
            code="content_encoding_invalid",
        )
    name, new, step = ENCODINGS[encoding]
    chunks = (body[start : start + step] for start in range(0, len(body), step))
    parts = []
    size = 0
    try:
        for part in decompressed(chunks, new):
            parts.append(part)
            size += len(part)
            if size > bytes_max:
                raise InvalidRequest(
                    f"The body has more than {bytes_max:,} bytes once it is decompressed.",
                    code="body_too_large",
                )
    except Damaged as damage:
        raise InvalidRequest(f"Invalid {name}: {damage}", code="body_invalid") from None
    return b"".join(parts)
