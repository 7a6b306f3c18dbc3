"""Writes the admission policies of a Kubernetes cluster: only what this platform signed and attested may run there. Pure.

For sigstore's policy-controller (`ClusterImagePolicy`, policy.sigstore.dev/v1beta1). An image must satisfy every policy
that matches it, and one authority of each: so there is a policy for the signature and one for the attestations. The public
key is all that the cluster gets. A namespace takes part by the label `policy.sigstore.dev/include=true`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from aegis.core.errors import UserError
from aegis.supplychain.options import KeylessRule

_PREDICATES: Final = {"provenance": "https://slsa.dev/provenance/v1", "sbom": "https://cyclonedx.org/bom"}


def key_authority(public_key_pem: str) -> dict[str, Any]:
    """An authority that accepts one public key."""
    return {"name": "platform", "key": {"data": public_key_pem, "hashAlgorithm": "sha256"}}


def keyless_authority(rule: KeylessRule, roots: str) -> dict[str, Any]:
    """An authority that accepts one identity, verified with the keys of the `TrustRoot` of this name."""
    return {
        "name": "platform",
        "keyless": {
            "url": rule.fulcio,
            "trustRootRef": roots,
            "identities": [{"issuer": rule.issuer, "subject": rule.identity}],
        },
        "ctlog": {"url": rule.rekor, "trustRootRef": roots},
    }


def trust_root(name: str, rule: KeylessRule) -> dict[str, Any]:
    """The keys that a `keyless_authority` refers to: certificates and logs, each in base64 of their PEM form."""
    host = urlsplit(rule.fulcio).hostname or ""
    log = {"baseURL": rule.rekor, "hashAlgorithm": "sha-256", "publicKey": _encoded(rule.log_key)}
    keys: dict[str, Any] = {
        "certificateAuthorities": [
            {
                "subject": {"organization": host, "commonName": host},
                "uri": rule.fulcio,
                "certChain": _encoded(rule.authorities),
            }
        ],
        "tLogs": [log],
    }
    if rule.certificate_log_key:
        keys["ctLogs"] = [{**log, "baseURL": rule.fulcio, "publicKey": _encoded(rule.certificate_log_key)}]
    return {
        "apiVersion": "policy.sigstore.dev/v1alpha1",
        "kind": "TrustRoot",
        "metadata": {"name": name},
        "spec": {"sigstoreKeys": keys},
    }


def _encoded(pem: str) -> str:
    return base64.b64encode(pem.encode()).decode()


def cluster_image_policies(
    name: str, images: Iterable[str], authority: Mapping[str, Any]
) -> tuple[dict[str, Any], ...]:
    """The policies for repositories (`host/group/name`, or a glob); `UserError` without any."""
    globs = sorted({one if "*" in one else f"{one}**" for one in images})
    if not globs:
        raise UserError("policy-images", "a policy that names no image would protect nothing")
    attestations = [
        {"name": f"has-{what}", "predicateType": predicate} for what, predicate in sorted(_PREDICATES.items())
    ]
    authorities: dict[str, dict[str, Any]] = {
        "signed": {**authority},
        "attested": {**authority, "attestations": attestations},
    }
    return tuple(
        {
            "apiVersion": "policy.sigstore.dev/v1beta1",
            "kind": "ClusterImagePolicy",
            "metadata": {"name": f"{name}-{what}"},
            "spec": {"mode": "enforce", "images": [{"glob": one} for one in globs], "authorities": [one]},
        }
        for what, one in authorities.items()
    )
