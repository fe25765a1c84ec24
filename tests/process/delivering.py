"""A deliverer as a process of its own, to be killed; with retries that come soon."""

from __future__ import annotations

import sys
import threading
from datetime import timedelta

from postpaid import deliverer
from postpaid.storage.database import Database
from postpaid.storage.vault import Vault

SOON = (timedelta(seconds=0),) * 50


def main() -> None:
    url, key = sys.argv[1:]
    database = Database(url, pool_size=4, vault=Vault([key]))
    deliverer.run(database, threading.Event(), ("127.0.0.0/8",), timeout_s=0.5, delays=SOON)


if __name__ == "__main__":
    main()
