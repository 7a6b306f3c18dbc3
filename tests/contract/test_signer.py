"""What every signer must do: one suite, inherited by each adapter."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from aegis.adapters.secrets_file import FileSecretStore, identity_beside
from aegis.adapters.signer_file import ARTIFACT, CHECKPOINT, FileSigner
from aegis.core.errors import ExternalError, UserError
from aegis.core.ports import Signer
from aegis.secrets.references import Reference


class SignerContract:
    """`again(purpose)` opens the same key anew, as a restarted process does."""

    @pytest.fixture
    def again(self) -> Callable[[str], Signer]:
        raise LookupError

    def test_its_signatures_hold_and_others_do_not(self, again: Callable[[str], Signer]) -> None:
        signer = again(ARTIFACT)
        key = load_pem_public_key(signer.public_key().encode())
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert isinstance(key.curve, ec.SECP256R1)
        key.verify(signer.sign(b"payload"), b"payload", ec.ECDSA(hashes.SHA256()))
        with pytest.raises(InvalidSignature):
            key.verify(signer.sign(b"payload"), b"another", ec.ECDSA(hashes.SHA256()))

    def test_the_key_stays_the_same_after_a_restart(self, again: Callable[[str], Signer]) -> None:
        assert again(ARTIFACT).public_key() == again(ARTIFACT).public_key()

    def test_each_purpose_has_a_key_of_its_own(self, again: Callable[[str], Signer]) -> None:
        assert again(ARTIFACT).public_key() != again(CHECKPOINT).public_key()


class TestFileSigner(SignerContract):
    """Keys in the encrypted file store."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> FileSecretStore:
        return FileSecretStore(tmp_path / "data", identity_beside(tmp_path / "data"))

    @pytest.fixture
    def again(self, store: FileSecretStore) -> Callable[[str], Signer]:
        return lambda purpose: FileSigner(store, purpose)

    def test_openssl_accepts_its_signatures(self, again: Callable[[str], Signer], tmp_path: Path) -> None:
        signer = again(ARTIFACT)
        (tmp_path / "data.bin").write_bytes(b"payload")
        (tmp_path / "key.pem").write_text(signer.public_key())
        (tmp_path / "sig.der").write_bytes(signer.sign(b"payload"))
        subprocess.run(
            ["openssl", "dgst", "-sha256", "-verify", "key.pem", "-signature", "sig.der", "data.bin"],
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip

    def test_an_unknown_purpose_and_a_broken_key_are_refused(self, store: FileSecretStore) -> None:
        with pytest.raises(UserError):
            FileSigner(store, "everything")
        store.put(Reference("aegis/signing/artifact", "key"), "nonsense")
        with pytest.raises(ExternalError) as caught:
            FileSigner(store, ARTIFACT)
        assert "nonsense" not in str(caught.value)
