"""`Signer` with ECDSA P-256 keys that are kept encrypted in the secret store and never leave this process.

There are two, with separate purposes: `artifact` signs images and evidence, `checkpoint` the ledger's heads, so that
whoever gets hold of one of them cannot make the other's signatures.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from aegis.core.errors import ExternalError, NotFound, UserError
from aegis.secrets.ports import SecretStore
from aegis.secrets.references import Reference

ARTIFACT: Final = "artifact"
CHECKPOINT: Final = "checkpoint"
_PURPOSES: Final = (ARTIFACT, CHECKPOINT)


class FileSigner:
    """A signing key of one purpose. The key is read once; signing is safe from any thread."""

    def __init__(self, store: SecretStore, purpose: str) -> None:
        if purpose not in _PURPOSES:
            raise UserError(
                "signer-purpose", f"{purpose!r} is no purpose of a key", hint=f"one of {', '.join(_PURPOSES)}"
            )
        reference = Reference(f"aegis/signing/{purpose}", "key")
        try:
            pem = store.get(reference)
        except NotFound:
            store.put(reference, _generate())
            pem = store.get(reference)
        self._key = _load(pem)
        self._public = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def sign(self, data: bytes) -> bytes:
        """An ECDSA P-256 SHA-256 signature over `data`, DER encoded."""
        return self._key.sign(data, ec.ECDSA(hashes.SHA256()))

    def public_key(self) -> str:
        """The public key as PEM (SubjectPublicKeyInfo)."""
        return self._public.decode()


def _generate() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _load(pem: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ExternalError("signer-key", "the signing key in the secret store is no ECDSA P-256 key")
    return key
