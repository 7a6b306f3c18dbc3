"""Provenance says what the server knows; the bill of materials says what is inside, the same each time."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from cyclonedx.model.bom import Bom

from aegis.core.errors import UserError
from aegis.supplychain.provenance import Build, Material, sbom_statement, statement
from aegis.supplychain.sbom import Component, Product, component_of, document, package_url

DIGEST = "sha256:" + "a" * 64
MADE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def build(**changes: object) -> Build:
    values: dict[str, object] = {
        "project": "shop/orders",
        "repository": "http://host/git/shop/orders.git",
        "ref": "refs/heads/main",
        "commit": "b" * 40,
        "plan": "sha256:" + "c" * 64,
        "run": "run-1",
        "job": "image",
        "builder": "http://host/",
    }
    return Build(**{**values, **changes})  # type: ignore[arg-type]


def test_provenance_names_the_commit_the_lock_and_the_base() -> None:
    made = build(
        lock="sha256:" + "d" * 64,
        base="sha256:" + "e" * 64,
        template="aegis/python-service@1",
        materials=(Material(uri="pkg:pypi/x@1", digest={"sha256": "f" * 64}, name="x"),),
        started_at=MADE,
        finished_at=MADE,
        builder_version="0.1",
    )
    found = json.loads(statement(made, {"shop/orders": DIGEST}))
    definition, details = found["predicate"]["buildDefinition"], found["predicate"]["runDetails"]
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["subject"] == [{"name": "shop/orders", "digest": {"sha256": "a" * 64}}]
    assert definition["externalParameters"]["plan"] == made.plan
    assert [one["digest"] for one in definition["resolvedDependencies"]] == [
        {"gitCommit": "b" * 40}, {"sha256": "d" * 64}, {"sha256": "e" * 64}, {"sha256": "f" * 64},
    ]  # fmt: skip
    assert details["metadata"] == {
        "invocationId": "run-1/image", "startedOn": "2026-01-02T03:04:05Z", "finishedOn": "2026-01-02T03:04:05Z",
    }  # fmt: skip
    assert details["builder"] == {"id": "http://host/", "version": {"aegis": "0.1"}}


def test_a_statement_about_nothing_or_nonsense_is_refused() -> None:
    for made, subjects in ((build(), {}), (build(), {"x": "latest"}), (build(commit="main"), {"x": DIGEST})):
        with pytest.raises(UserError):
            statement(made, subjects)


COMPONENTS = (
    Component(name="Starlette", version="1.0", hashes=("sha256:" + "1" * 64,), licences=("BSD-3-Clause",)),
    Component(name="h11", version="0.16.0", licences=("MIT License", "Other")),
    Component(name="anyio", version="4.0+local.1"),
)
PRODUCT = Product(kind="image", name="shop/orders", version="1.0.0", digest=DIGEST, commit="b" * 40)


def test_the_bill_of_materials_is_one_document_for_one_content() -> None:
    first = document(PRODUCT, COMPONENTS, made_at=MADE, tool_version="0.1")
    again = document(PRODUCT, (*reversed(COMPONENTS), COMPONENTS[0]), made_at=MADE, tool_version="0.1")
    other = document(PRODUCT, COMPONENTS[:2], made_at=MADE, tool_version="0.1")
    assert first == again
    assert json.loads(first)["serialNumber"] != json.loads(other)["serialNumber"]


def test_cyclonedx_own_library_reads_the_document() -> None:
    made = json.loads(
        document(PRODUCT, COMPONENTS, made_at=MADE, tool_version="0.1", depends={"starlette": ("anyio", "absent")})
    )
    bom = Bom.from_json(made)  # type: ignore[attr-defined]
    found = {component.name: component for component in bom.components}
    assert set(found) == {"Starlette", "h11", "anyio"}
    assert str(found["anyio"].purl) == "pkg:pypi/anyio@4.0%2Blocal.1"
    assert found["Starlette"].hashes[0].content == "1" * 64
    assert str(bom.serial_number) in made["serialNumber"]
    assert bom.metadata.component.name == "shop/orders"
    bom.validate()


def test_a_bill_of_materials_can_be_attested() -> None:
    found = json.loads(sbom_statement({"shop/orders": DIGEST}, {"bomFormat": "CycloneDX"}))
    assert found["predicateType"] == "https://cyclonedx.org/bom"
    assert found["predicate"] == {"bomFormat": "CycloneDX"}


@pytest.mark.parametrize(
    ("headers", "licences"),
    [
        ("License-Expression: MIT OR Apache-2.0\n", ("MIT OR Apache-2.0",)),
        ("License: BSD\n", ("BSD",)),
        ("License: UNKNOWN\n", ()),
        ("License: x\nClassifier: License :: OSI Approved :: MIT License\n", ("MIT License",)),
        ("Classifier: License :: OSI Approved\n", ()),
        ("", ()),
    ],
)
def test_licences_are_those_that_the_metadata_states(headers: str, licences: tuple[str, ...]) -> None:
    found = component_of(f"Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n{headers}\nbody".encode())
    assert found is not None
    assert found.licences == licences


def test_metadata_without_a_name_is_no_component() -> None:
    assert component_of(b"Version: 1\n") is None
    assert component_of(b"\xff\xfe") is None
    assert package_url("Zope.Interface", "1!2.0") == "pkg:pypi/zope-interface@1%212.0"
