"""What is sealed is opened with a key of the vault, and with no other."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from postpaid.storage.vault import Vault, VaultError, key_in_file


def test_what_is_sealed_says_nothing_and_is_opened() -> None:
    vault = Vault.of_new_key()
    sealed = vault.seal("whsec_kept")
    assert b"whsec" not in sealed
    assert vault.seal("whsec_kept") != sealed
    assert vault.open(sealed) == "whsec_kept"


def test_an_older_key_still_opens_and_the_newest_seals() -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    sealed = Vault([old]).seal("secret")
    both = Vault([new, old])
    assert both.open(sealed) == "secret"
    assert Vault([new]).open(both.seal("secret")) == "secret"
    with pytest.raises(VaultError, match="another key"):
        Vault([new]).open(sealed)


def test_without_a_key_nothing_is_sealed() -> None:
    with pytest.raises(VaultError, match="POSTPAID_SECRET_KEY"):
        Vault().seal("secret")
    with pytest.raises(VaultError, match="POSTPAID_SECRET_KEY"):
        Vault().open(b"x")


@pytest.mark.parametrize("key", ["x", "not base 64 at all", "c2hvcnQ="])
def test_what_is_no_key_is_refused(key: str) -> None:
    with pytest.raises(VaultError, match="32 bytes"):
        Vault([key])


def test_all_who_need_a_key_at_once_get_the_same(tmp_path: Path) -> None:
    path = tmp_path / "data" / "secret.key"
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(key_in_file(path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(found) == 8
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    Vault([found[0]])
