"""The part of `aegis.yaml` about signatures: without a word here the server's own key makes them."""

from __future__ import annotations

from pydantic import Field, model_validator

from aegis.config.registries import SourceModel
from aegis.config.strict import Strict


class KeylessModel(SourceModel):
    """A Sigstore whose authority (`fulcio`) vouches for a key that lives for one signature, and whose log (`rekor`) says when.

    `identity` and `issuer` are what the certificates must say; the PEM texts are what they are verified with.
    """

    fulcio: str
    rekor: str
    identity: str = Field(min_length=1)
    issuer: str = Field(min_length=1)
    authorities: str
    log_key: str
    certificate_log_key: str | None = None

    @model_validator(mode="after")
    def _source(self) -> KeylessModel:
        self.check(self.fulcio)
        self.check(self.rekor)
        for name, text, kind in (
            ("authorities", self.authorities, "CERTIFICATE"),
            ("log_key", self.log_key, "PUBLIC KEY"),
            ("certificate_log_key", self.certificate_log_key, "PUBLIC KEY"),
        ):
            if text is not None and f"-----BEGIN {kind}-----" not in text:
                raise ValueError(f"`{name}` is written in PEM form: -----BEGIN {kind}-----")
        return self


class SigningModel(Strict):
    """How images and their attestations are signed."""

    keyless: KeylessModel | None = None
