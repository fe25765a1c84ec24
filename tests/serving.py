"""The real server, in a thread, on a port of its own; and plain HTTP to it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import uvicorn
from fastapi import FastAPI


@contextmanager
def serve(app: FastAPI) -> Iterator[str]:
    """Serve ``app`` until the block ends; gives its base URL."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        config = uvicorn.Config(
            app,
            log_level="critical",
            access_log=False,
            timeout_keep_alive=120,  # a busy machine is slow to use a connection again
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            host, port = listening.getsockname()
            yield f"http://{host}:{port}"
        finally:
            server.should_exit = True
            thread.join()


def plain_http(base_url: str, secret: str | None, *, timeout: float = 60) -> httpx.Client:
    """Plain HTTP to a server on this machine, with a key of one of its accounts if one is given.

    Without certificates, which nobody here has: to load those of the whole world takes longer than
    most tests.
    """
    return httpx.Client(
        base_url=base_url,
        headers={} if secret is None else {"Authorization": f"Bearer {secret}"},
        timeout=timeout,
        verify=False,
        trust_env=False,
    )
