"""Two images or releases compared, and the admission policies of what was signed."""

from __future__ import annotations

import base64

import pytest

from aegis.core.errors import UserError
from aegis.supplychain.admission import cluster_image_policies, key_authority, keyless_authority, trust_root
from aegis.supplychain.compare import Changed, Known, compare
from aegis.supplychain.options import KeylessRule
from aegis.supplychain.sbom import Component


def test_packages_licences_layers_settings_and_findings_are_compared() -> None:
    before = Known(
        name="orders@1.0.0", digest="sha256:a", size=100, layers={"sha256:base": 80, "sha256:one": 20},
        packages=(
            Component(name="a", version="1", licences=("MIT",)), Component(name="b", version="1", licences=("GPL-3.0",)),
            Component(name="c", version="1"),
        ),
        settings={"User": "0"}, findings={"high x": "", "low y": ""},
    )  # fmt: skip
    after = Known(
        name="orders@1.1.0", digest="sha256:b", size=110, layers={"sha256:base": 80, "sha256:two": 30},
        packages=(Component(name="A", version="2", licences=("Apache-2.0",)), Component(name="c", version="1")),
        settings={"User": "65532", "env X": "1"}, findings={"low y": "", "high z": ""},
    )  # fmt: skip
    found = compare(before, after)
    assert not found.same
    assert (found.shared, found.fetched, found.layers_shared, found.layers_new) == (80, 30, 1, 1)
    assert found.changed == (Changed(name="pypi/a", before="1", after="2"),)
    assert (found.added, found.removed) == ((), ("pypi/b 1",))
    assert (found.licences_new, found.licences_gone) == (("Apache-2.0",), ("GPL-3.0", "MIT"))
    assert [one.name for one in found.settings] == ["User", "env X"]
    assert (found.findings_new, found.findings_fixed) == (("high z",), ("high x",))
    assert compare(before, before).same


def test_the_cluster_admits_what_is_signed_and_attested_only() -> None:
    signed, attested = cluster_image_policies("shop", ["registry.example/shop/orders"], key_authority("KEY"))
    assert signed["spec"]["images"] == attested["spec"]["images"] == [{"glob": "registry.example/shop/orders**"}]
    assert signed["spec"]["authorities"][0]["key"]["data"] == "KEY"
    wanted = {one["predicateType"] for one in attested["spec"]["authorities"][0]["attestations"]}
    assert wanted == {"https://slsa.dev/provenance/v1", "https://cyclonedx.org/bom"}
    with pytest.raises(UserError):
        cluster_image_policies("shop", [], key_authority("KEY"))


def test_the_cluster_admits_what_an_identity_signed_by_the_keys_of_its_own_sigstore() -> None:
    rule = KeylessRule(
        fulcio="https://fulcio.example.org", rekor="https://rekor.example.org", identity="https://aegis.example.org/s",
        issuer="https://aegis.example.org", authorities="ROOT", log_key="LOG", certificate_log_key="CT",
    )  # fmt: skip
    signed, attested = cluster_image_policies("shop", ["host/shop/**"], keyless_authority(rule, "shop"))
    authority = signed["spec"]["authorities"][0]
    assert authority["keyless"]["identities"] == [
        {"issuer": "https://aegis.example.org", "subject": "https://aegis.example.org/s"}
    ]
    keys = trust_root("shop", rule)
    assert authority["keyless"]["trustRootRef"] == authority["ctlog"]["trustRootRef"] == keys["metadata"]["name"]
    assert attested["spec"]["authorities"][0]["attestations"]
    given = keys["spec"]["sigstoreKeys"]
    texts = (
        given["certificateAuthorities"][0]["certChain"],
        given["tLogs"][0]["publicKey"],
        given["ctLogs"][0]["publicKey"],
    )
    assert [base64.b64decode(one) for one in texts] == [b"ROOT", b"LOG", b"CT"]
