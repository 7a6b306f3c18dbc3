"""What every secret store must do: one suite, inherited by each adapter."""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest

from aegis.adapters.secrets_file import (
    FILE,
    FileSecretStore,
    Identity,
    identity_beside,
    identity_from_file,
    identity_from_keyring,
    identity_from_passphrase,
)
from aegis.core.errors import ExternalError, NotFound
from aegis.secrets.ports import SecretStore
from aegis.secrets.references import Reference

ONE = Reference("shop/orders", "password")
TWO = Reference("shop/payments", "token")


class SecretStoreContract:
    """The port's docstring as tests. `again` opens the same store anew, as a restarted process does."""

    @pytest.fixture
    def again(self) -> Callable[[], SecretStore]:
        raise LookupError

    @pytest.fixture
    def secrets(self, again: Callable[[], SecretStore]) -> SecretStore:
        return again()

    def test_what_was_put_is_got_also_after_a_restart(
        self, secrets: SecretStore, again: Callable[[], SecretStore]
    ) -> None:
        assert secrets.put(ONE, "first ☃") == 1
        assert secrets.get(ONE) == "first ☃"
        assert again().get(ONE) == "first ☃"

    def test_what_is_not_there_is_not_found(self, secrets: SecretStore) -> None:
        with pytest.raises(NotFound) as caught:
            secrets.get(ONE)
        assert str(ONE) in caught.value.message
        with pytest.raises(NotFound):
            secrets.rotate(ONE, "new")
        secrets.put(ONE, "first")
        with pytest.raises(NotFound):
            secrets.get(ONE, version=9)

    def test_putting_replaces_and_the_same_value_changes_nothing(self, secrets: SecretStore) -> None:
        assert [secrets.put(ONE, value) for value in ("a", "a", "b")] == [1, 1, 2]
        with pytest.raises(NotFound):
            secrets.get(ONE, version=1)

    def test_a_rotation_keeps_the_former_value_until_it_is_retired(self, secrets: SecretStore) -> None:
        secrets.put(ONE, "old")
        assert secrets.rotate(ONE, "new") == 2
        assert (secrets.get(ONE), secrets.get(ONE, version=1)) == ("new", "old")
        secrets.retire(ONE)
        secrets.retire(ONE)
        assert secrets.get(ONE) == "new"
        with pytest.raises(NotFound):
            secrets.get(ONE, version=1)

    def test_the_list_is_ordered_by_path_and_holds_no_value(self, secrets: SecretStore) -> None:
        secrets.put(TWO, "hidden-two")
        secrets.put(ONE, "hidden-one")
        secrets.rotate(ONE, "hidden-three")
        listed = secrets.list()
        assert [info.reference for info in listed] == [ONE, TWO]
        assert (listed[0].version, listed[0].versions) == (2, (1, 2))
        assert [info.reference for info in secrets.list("shop/pay")] == [TWO]
        assert "hidden" not in repr(listed)

    def test_deleting_forgets_and_may_be_repeated(self, secrets: SecretStore) -> None:
        secrets.put(ONE, "a")
        secrets.delete(ONE)
        secrets.delete(ONE)
        with pytest.raises(NotFound):
            secrets.get(ONE)

    def test_two_openers_see_each_other_and_lose_nothing(self, again: Callable[[], SecretStore]) -> None:
        stores = [again(), again()]
        threads = [
            threading.Thread(
                target=lambda store, number: [store.put(Reference(f"t{number}/s{turn}"), "v") for turn in range(5)],
                args=(stores[number % 2], number),
            )
            for number in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(stores[0].list()) == len(stores[1].list()) == 20


class TestFileSecretStore(SecretStoreContract):
    """The age-encrypted file."""

    @pytest.fixture
    def outside(self, tmp_path: Path) -> Path:
        return tmp_path / "elsewhere" / "identity.txt"

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        return tmp_path / "data"

    @pytest.fixture
    def again(self, data: Path, outside: Path) -> Callable[[], SecretStore]:
        return lambda: FileSecretStore(data, identity_from_file(outside, data=data))

    def test_nothing_is_readable_on_the_disk_or_by_others(self, secrets: SecretStore, data: Path) -> None:
        secrets.put(ONE, "a-value-to-look-for")
        for path in data.iterdir():
            assert b"a-value-to-look-for" not in path.read_bytes()
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(data.stat().st_mode) == 0o700
        assert (data / FILE).read_bytes().startswith(b"age-encryption.org/v1")

    def test_a_directory_or_file_that_others_may_read_is_refused(
        self, secrets: SecretStore, data: Path, again: Callable[[], SecretStore]
    ) -> None:
        secrets.put(ONE, "a")
        for path, mode in ((data, 0o750), (data / FILE, 0o640)):
            before = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode)
            with pytest.raises(ExternalError) as caught:
                again().get(ONE)
            assert "chmod" in caught.value.hint
            path.chmod(before)
        assert again().get(ONE) == "a"

    def test_another_identity_or_a_damaged_file_is_an_error_and_says_no_value(
        self, secrets: SecretStore, data: Path, tmp_path: Path
    ) -> None:
        secrets.put(ONE, "hidden")
        other = identity_from_file(tmp_path / "other" / "identity.txt", data=data)
        with pytest.raises(ExternalError) as caught:
            FileSecretStore(data, other)
        assert caught.value.code == "secrets-locked"
        (data / FILE).write_bytes((data / FILE).read_bytes()[:-5])
        with pytest.raises(ExternalError):
            secrets.get(ONE)

    def test_a_write_that_fails_leaves_the_former_state(
        self, secrets: SecretStore, again: Callable[[], SecretStore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        secrets.put(ONE, "a")

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(ExternalError):
            secrets.put(ONE, "b")
        monkeypatch.undo()
        assert secrets.get(ONE) == again().get(ONE) == "a"

    def test_times_are_those_of_the_clock(self, data: Path, outside: Path) -> None:
        now = [datetime(2026, 1, 1, tzinfo=UTC)]
        store = FileSecretStore(data, identity_from_file(outside, data=data), now=lambda: now[0])
        store.put(ONE, "a")
        now[0] += timedelta(days=1)
        store.rotate(ONE, "b")
        info = store.list()[0]
        assert (info.created_at.day, info.rotated_at.day) == (1, 2)


def test_protection_is_where_the_identity_lies(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert identity_from_file(tmp_path / "apart" / "id.txt", data=data).protected
    assert not identity_beside(data).protected
    assert FileSecretStore(data, identity_beside(data)).protected is False


def test_a_passphrase_opens_what_it_closed_and_no_other_does(tmp_path: Path) -> None:
    data = tmp_path / "data"
    made = identity_from_passphrase(data, "correct horse")
    assert made.protected
    FileSecretStore(data, made).put(ONE, "a")
    assert FileSecretStore(data, identity_from_passphrase(data, "correct horse")).get(ONE) == "a"
    with pytest.raises(ExternalError) as caught:
        identity_from_passphrase(data, "wrong")
    assert caught.value.code == "secrets-passphrase"


def test_a_keyring_keeps_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[tuple[str, str], str] = {}
    ring = ModuleType("keyring")
    ring.get_password = lambda service, user: kept.get((service, user))  # type: ignore[attr-defined]
    ring.set_password = lambda service, user, text: kept.update({(service, user): text})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keyring", ring)
    first, second = identity_from_keyring("aegis-test"), identity_from_keyring("aegis-test")
    assert first.protected
    assert str(first.key) == str(second.key)
    assert "AGE-SECRET" not in repr(first)


def test_an_identity_file_of_age_keygen_is_read_and_another_file_refused(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    made = identity_from_file(folder / "one.txt", data=tmp_path)
    assert isinstance(made, Identity)
    wrong = folder / "wrong.txt"
    wrong.write_text("# nothing here\n")
    wrong.chmod(0o600)
    with pytest.raises(ExternalError) as caught:
        identity_from_file(wrong, data=tmp_path)
    assert caught.value.code == "secrets-identity"
