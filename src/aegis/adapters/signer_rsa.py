"""The RSA key of `id_tokens`: made once, kept in the secret store; or for one local run, kept nowhere."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from aegis.access.id_tokens import Key, encoded
from aegis.core.errors import ExternalError, NotFound
from aegis.secrets.ports import SecretStore
from aegis.secrets.references import Reference

_PLACE = Reference("aegis/oidc", "key")


def kept(store: SecretStore) -> Key:
    """The server's key."""
    try:
        text = store.get(_PLACE)
    except NotFound:
        store.put(_PLACE, _pem(_made()))
        text = store.get(_PLACE)
    private = serialization.load_pem_private_key(text.encode("ascii"), password=None)
    if not isinstance(private, rsa.RSAPrivateKey):
        raise ExternalError("oidc-key", "the kept key of id_tokens is no RSA key")
    return _key(private)


def fleeting() -> Key:
    """A key that nobody trusts and nothing keeps."""
    return _key(_made())


def _made() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _pem(private: rsa.RSAPrivateKey) -> str:
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode("ascii")


def _key(private: rsa.RSAPrivateKey) -> Key:
    numbers = private.public_key().public_numbers()
    modulus = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
    exponent = numbers.e.to_bytes((numbers.e.bit_length() + 7) // 8, "big")
    return Key(
        id=encoded(hashlib.sha256(modulus).digest()),
        public={"n": encoded(modulus), "e": encoded(exponent)},
        sign=lambda data: private.sign(data, padding.PKCS1v15(), hashes.SHA256()),
    )
