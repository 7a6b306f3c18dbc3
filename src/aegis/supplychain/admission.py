"""Writes the admission policies of a Kubernetes cluster: only what this platform signed and attested may run there. Pure.

For sigstore's policy-controller (`ClusterImagePolicy`, policy.sigstore.dev/v1beta1). An image must satisfy every policy
that matches it, and one authority of each: so there is a policy for the signature and one for the attestations. The public
key is all that the cluster gets. A namespace takes part by the label `policy.sigstore.dev/include=true`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from aegis.core.errors import UserError

_PREDICATES: Final = {"provenance": "https://slsa.dev/provenance/v1", "sbom": "https://cyclonedx.org/bom"}


def cluster_image_policies(name: str, images: Iterable[str], public_key_pem: str) -> tuple[dict[str, Any], ...]:
    """The policies for repositories (`host/group/name`, or a glob); `UserError` without any."""
    globs = sorted({one if "*" in one else f"{one}**" for one in images})
    if not globs:
        raise UserError("policy-images", "a policy that names no image would protect nothing")
    key = {"data": public_key_pem, "hashAlgorithm": "sha256"}
    attestations = [
        {"name": f"has-{what}", "predicateType": predicate} for what, predicate in sorted(_PREDICATES.items())
    ]
    authorities: dict[str, dict[str, Any]] = {
        "signed": {"name": "platform", "key": key},
        "attested": {"name": "platform", "key": key, "attestations": attestations},
    }
    return tuple(
        {
            "apiVersion": "policy.sigstore.dev/v1beta1",
            "kind": "ClusterImagePolicy",
            "metadata": {"name": f"{name}-{what}"},
            "spec": {"mode": "enforce", "images": [{"glob": one} for one in globs], "authorities": [authority]},
        }
        for what, authority in authorities.items()
    )
