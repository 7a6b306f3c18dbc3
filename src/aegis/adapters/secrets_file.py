"""`SecretStore` in one age-encrypted file (https://age-encryption.org/v1).

What opens it is an age identity that should lie elsewhere: in the system's keyring, behind a passphrase (then the
identity lies beside the file, itself encrypted with scrypt), or in a file outside the data directory. Where none of
these is given the identity has to lie beside the data in the open, and `protected` says so.

The directory must be 0700 and every file 0600, or the store refuses to open. A write goes to a new file that is flushed
and renamed; a lock file keeps two processes from losing each other's change.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import pyrage

from aegis.core import codec
from aegis.core.errors import AegisError, ExternalError
from aegis.secrets import store
from aegis.secrets.ports import SecretInfo
from aegis.secrets.references import Reference

T = TypeVar("T")

FILE: Final = "secrets.age"
IDENTITY_FILE: Final = "identity.age"
OPEN_IDENTITY_FILE: Final = "identity.txt"
_LOCK: Final = "secrets.lock"
_KEYRING_USER: Final = "age-identity"


@dataclass(frozen=True, slots=True)
class Identity:
    """What opens a store. `protected` is whether it lies apart from the data or is encrypted itself."""

    key: Any
    protected: bool

    def __repr__(self) -> str:
        return f"Identity(protected={self.protected})"


def identity_from_passphrase(directory: Path, passphrase: str) -> Identity:
    """The identity in `directory/identity.age`, which the passphrase opens; made when it is not there."""
    path = directory / IDENTITY_FILE
    _private_directory(directory)
    if not path.exists():
        fresh = pyrage.x25519.Identity.generate()
        _write(path, pyrage.passphrase.encrypt(str(fresh).encode(), passphrase))
        return Identity(fresh, protected=True)
    _private_file(path)
    try:
        text = pyrage.passphrase.decrypt(_read(path), passphrase).decode()
    except pyrage.DecryptError:
        raise ExternalError(
            "secrets-passphrase", f"the passphrase does not open {path.name}", hint="give the one it was made with"
        ) from None
    return Identity(_parsed(text, path), protected=True)


def identity_from_file(path: Path, *, data: Path) -> Identity:
    """The identity in a file that `age-keygen` made, or that is made here; outside of `data` it counts as protected."""
    _private_directory(path.parent)
    if not path.exists():
        fresh = pyrage.x25519.Identity.generate()
        _write(path, f"# made by aegis; whoever reads this reads every secret\n{fresh}\n".encode())
        return Identity(fresh, protected=not _inside(path, data))
    _private_file(path)
    return Identity(_parsed(_read(path).decode("utf-8", "replace"), path), protected=not _inside(path, data))


def identity_beside(directory: Path) -> Identity:
    """The identity beside the data, in the open: better than plain secrets in a backup of one file, and no more."""
    return identity_from_file(directory / OPEN_IDENTITY_FILE, data=directory)


def identity_from_keyring(service: str) -> Identity:
    """The identity in the system's keyring under `service`; made when it is not there. Needs the `keyring` package."""
    try:
        keyring = importlib.import_module("keyring")
    except ImportError as error:
        raise ExternalError(
            "keyring-missing", "the keyring package is not installed", hint="pip install keyring, or use a passphrase"
        ) from error
    try:
        kept = keyring.get_password(service, _KEYRING_USER)
        if kept is None:
            fresh = pyrage.x25519.Identity.generate()
            keyring.set_password(service, _KEYRING_USER, str(fresh))
            return Identity(fresh, protected=True)
    except Exception as error:
        raise ExternalError("keyring-failed", f"the keyring does not answer: {type(error).__name__}") from error
    return Identity(_parsed(kept, Path(service)), protected=True)


class FileSecretStore:
    """Secrets in `directory/secrets.age`. Values are read from the file each time another process may have changed it."""

    def __init__(
        self, directory: Path, identity: Identity, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._directory = directory
        self._identity = identity
        self._now = now
        self._mutex = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._document = store.Document()
        _private_directory(directory)
        self._load()

    @property
    def protected(self) -> bool:
        """Whether what opens the store lies apart from it."""
        return self._identity.protected

    def get(self, reference: Reference, *, version: int | None = None) -> str:
        """The current value, or that of an older version."""
        with self._mutex:
            return store.get(self._load(), reference, version)

    def put(self, reference: Reference, value: str) -> int:
        """Keep a value as the only one; its version."""
        return self._change(lambda document: store.put(document, reference, value, self._now()))

    def rotate(self, reference: Reference, value: str) -> int:
        """Keep a new value beside the former one; its version."""
        return self._change(lambda document: store.rotate(document, reference, value, self._now()))

    def retire(self, reference: Reference) -> None:
        """Forget all versions but the current one."""
        self._change(lambda document: (store.retire(document, reference), None))

    def delete(self, reference: Reference) -> None:
        """Forget the secret."""
        self._change(lambda document: (store.delete(document, reference), None))

    def list(self, prefix: str = "") -> tuple[SecretInfo, ...]:
        """What is kept under a path prefix."""
        with self._mutex:
            return store.listed(self._load(), prefix)

    def _change(self, decide: Callable[[store.Document], tuple[store.Document, T]]) -> T:
        with self._mutex, self._locked():
            before = self._load()
            after, result = decide(before)
            if after is not before:
                data = pyrage.encrypt(codec.encode(after), [self._identity.key.to_public()])
                _write(self._directory / FILE, data)
                self._load()
            return result

    def _load(self) -> store.Document:
        """The document as it stands on the disk; decrypted again only when the file changed."""
        path = self._directory / FILE
        if not path.exists():
            self._seen, self._document = None, store.Document()
            return self._document
        _private_file(path)
        status = path.stat()
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen != self._seen:
            try:
                plain = pyrage.decrypt(_read(path), [self._identity.key])
                self._document = codec.decode(plain, store.Document)
            except (pyrage.DecryptError, AegisError):
                # Neither cause nor content is told: a decoding error could quote a value.
                raise ExternalError(
                    "secrets-locked",
                    f"{path.name} cannot be opened with this identity, or it is damaged",
                    hint="give the identity it was written with, or restore the file from a backup",
                ) from None
            self._seen = seen
        return self._document

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self._directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _parsed(text: str, path: Path) -> Any:
    line = next((line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    try:
        return pyrage.x25519.Identity.from_str(line)
    except pyrage.IdentityError:
        raise ExternalError(
            "secrets-identity", f"{path.name} holds no age identity", hint="make one with age-keygen"
        ) from None


def _inside(path: Path, directory: Path) -> bool:
    return path.resolve().is_relative_to(directory.resolve())


def _private_directory(path: Path) -> None:
    """Make it 0700, or refuse one that others may enter."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_open(path, 0o700)


def _private_file(path: Path) -> None:
    _refuse_open(path, 0o600)


def _refuse_open(path: Path, wanted: int) -> None:
    status = path.stat()
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise ExternalError(
            "secrets-permissions",
            f"{path} can be read by others (mode {stat.S_IMODE(status.st_mode):04o})",
            hint=f"chmod {wanted:o} {path}",
        )
    if status.st_uid != os.geteuid():
        raise ExternalError("secrets-owner", f"{path} belongs to another user", hint=f"chown it: {path}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ExternalError("secrets-unreadable", f"{path}: {error.strerror}") from error


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, and on the disk when it returns."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise ExternalError("secrets-unwritable", f"{path}: {error.strerror}") from error
