"""The server's own keys, out of the encrypted secret store: for artifacts, for checkpoints, for job tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aegis.access.id_tokens import Key
from aegis.adapters import signer_rsa
from aegis.adapters.secrets_file import (
    FileSecretStore,
    Identity,
    identity_beside,
    identity_from_file,
    identity_from_keyring,
    identity_from_passphrase,
)
from aegis.adapters.signer_file import ARTIFACT, CHECKPOINT, FileSigner
from aegis.core.errors import NotFound
from aegis.core.ports import Entropy, Signer
from aegis.secrets.references import Reference

_JOBS = Reference("aegis/jobs", "secret")
_NOTES = Reference("aegis/notes", "secret")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Each key has one purpose. `warnings` say what protects them too little."""

    artifact: Signer
    checkpoint: Signer
    job_secret: bytes
    note_secret: bytes
    """Seals what is noted for later jobs: caches, results."""
    identity: Key
    """Signs the `id_tokens` of jobs."""
    store: FileSecretStore
    warnings: tuple[str, ...] = ()

    @classmethod
    def open(cls, data: Path, environ: Mapping[str, str], entropy: Entropy) -> Keys:
        """The keys of a data directory, made at the first start."""
        folder = data / "secrets"
        store = FileSecretStore(folder, _identity(folder, data, environ))
        unprotected = (
            "unprotected: the key of the secrets lies beside them; set AEGIS_IDENTITY_FILE or AEGIS_PASSPHRASE"
        )
        return cls(
            artifact=FileSigner(store, ARTIFACT),
            checkpoint=FileSigner(store, CHECKPOINT),
            job_secret=_secret(store, _JOBS, entropy),
            note_secret=_secret(store, _NOTES, entropy),
            identity=signer_rsa.kept(store),
            store=store,
            warnings=() if store.protected else (unprotected,),
        )


def _secret(store: FileSecretStore, reference: Reference, entropy: Entropy) -> bytes:
    """A key of the store, made at the first start."""
    try:
        return bytes.fromhex(store.get(reference))
    except NotFound:
        store.put(reference, entropy.take(32).hex())
        return bytes.fromhex(store.get(reference))


def _identity(folder: Path, data: Path, environ: Mapping[str, str]) -> Identity:
    """What opens the store: a passphrase, a file outside, the keyring where it is asked for, else a file beside it."""
    if environ.get("AEGIS_PASSPHRASE"):
        return identity_from_passphrase(folder, environ["AEGIS_PASSPHRASE"])
    if environ.get("AEGIS_IDENTITY_FILE"):
        return identity_from_file(Path(environ["AEGIS_IDENTITY_FILE"]), data=data)
    if environ.get("AEGIS_KEYRING"):
        return identity_from_keyring(environ["AEGIS_KEYRING"])
    return identity_beside(folder)
