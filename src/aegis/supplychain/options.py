"""What the declaration means to the supply chain: small frozen options."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class KeylessRule:
    """Where certificates come from and signatures are logged, whom they must name, and what verifies them (PEM)."""

    fulcio: str
    rekor: str
    identity: str
    issuer: str
    authorities: str
    log_key: str
    certificate_log_key: str = ""
    hosts: tuple[str, ...] = ()
    private: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """How the ledger calls who signs."""
        return f"{self.identity} ({self.issuer})"
