"""What must be kept secret and read again: sealed with keys that are not in the database."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class VaultError(Exception):
    """A secret cannot be sealed or opened, and what the operator can do about it."""


class Vault:
    """Seals text with the first of its keys, and opens what any of them has sealed.

    A key is 32 random bytes in URL-safe base 64. Without keys nothing can be sealed.
    """

    def __init__(self, keys: Sequence[str] = ()) -> None:
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None
        except ValueError:
            raise VaultError(
                "POSTPAID_SECRET_KEY must be 32 bytes in URL-safe base 64, as "
                "`openssl rand -base64 32 | tr +/ -_` prints them; several, separated by commas, "
                "to open what older ones have sealed."
            ) from None

    @classmethod
    def of_new_key(cls) -> Vault:
        """A vault whose key nobody else has."""
        return cls([Fernet.generate_key().decode()])

    def seal(self, text: str) -> bytes:
        """Raises ``VaultError`` without a key."""
        if self._fernet is None:
            raise VaultError("No secret key is set: give POSTPAID_SECRET_KEY.")
        return self._fernet.encrypt(text.encode())

    def open(self, sealed: bytes) -> str:
        """Raises ``VaultError`` for what none of the keys has sealed."""
        if self._fernet is None:
            raise VaultError("No secret key is set: give POSTPAID_SECRET_KEY.")
        try:
            return self._fernet.decrypt(sealed).decode()
        except InvalidToken:
            raise VaultError(
                "A secret was sealed with another key: POSTPAID_SECRET_KEY must have it too."
            ) from None


def key_in_file(path: Path) -> str:
    """The key in the file, which is made with a new one if it is not there; private to its owner.

    Two processes that make it at once agree: the name is linked to a whole file, by the first.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        with NamedTemporaryFile(dir=path.parent) as ours:  # of mode 0600
            ours.write(Fernet.generate_key())
            ours.flush()
            os.fsync(ours.fileno())
            with suppress(FileExistsError):
                os.link(ours.name, path)
    return path.read_text().strip()
