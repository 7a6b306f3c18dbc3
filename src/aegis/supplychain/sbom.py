"""What is inside: a CycloneDX 1.6 document of an image, a wheel or a project, the same bytes for the same content.

Nothing is guessed: a component has the licence that its metadata states and the digests that its lock accepts. The
serial number is made from the content and the time is given, so that building twice gives one document.
Source: CycloneDX 1.6, https://cyclonedx.org/docs/1.6/json/.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from email.policy import compat32
from typing import Any, Final
from urllib.parse import quote

from packaging.requirements import InvalidRequirement, Requirement

from aegis.core import codec
from aegis.core.errors import UserError
from aegis.supplychain.packages import Package, canonical

_ALGORITHMS: Final = {"sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}
_TYPES: Final = {"image": "container", "wheel": "library", "project": "application"}
_LICENCE_PREFIX: Final = "License :: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One package. `licences` are SPDX expressions or names as the metadata states them, `hashes` `sha256:…`."""

    name: str
    version: str
    hashes: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    description: str = ""
    purl: str = ""

    @property
    def reference(self) -> str:
        """What the document calls it: its package URL."""
        return self.purl or package_url(self.name, self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What the document is about. `kind` is `image`, `wheel` or `project`; `digest` its own, where there is one."""

    kind: str
    name: str
    version: str
    digest: str = ""
    commit: str = ""
    licences: tuple[str, ...] = ()


def package_url(name: str, version: str) -> str:
    """The package URL of a Python package (purl-spec, type pypi); of any version where none is known."""
    return f"pkg:pypi/{canonical(name)}" + (f"@{quote(version, safe='.-')}" if version else "")


def component_of(metadata: bytes, hashes: tuple[str, ...] = ()) -> Component | None:
    """The component that a `METADATA` file describes (core metadata 2.4 and before); None where it names none."""
    headers = BytesHeaderParser(policy=compat32).parsebytes(metadata)
    name, version = headers.get("Name"), headers.get("Version")
    if not name or not version:
        return None
    stated = headers.get("License-Expression")
    licences = (str(stated),) if stated else _old_licences(headers.get("License"), headers.get_all("Classifier", []))
    return Component(
        name=str(name),
        version=str(version),
        hashes=hashes,
        licences=licences,
        description=str(headers.get("Summary") or "")[:300],
    )


def needs_of(metadata: bytes, locked: Iterable[Package] = ()) -> tuple[Component, ...]:
    """What the metadata of a wheel says that it needs, extras left out.

    Version and hashes are those of the lock; where it has none, or several, none is claimed: whoever installs chooses.
    """
    by_name: dict[str, list[Package]] = {}
    for one in locked:
        by_name.setdefault(canonical(one.name), []).append(one)
    found: dict[str, Component] = {}
    for text in BytesHeaderParser(policy=compat32).parsebytes(metadata).get_all("Requires-Dist", []):
        try:
            needed = Requirement(str(text))
        except InvalidRequirement:
            continue  # who checks the wheel refuses it
        if needed.marker is None or "extra" not in str(needed.marker):
            known = by_name.get(canonical(needed.name), [])
            version, hashes = (known[0].version or "", known[0].hashes) if len(known) == 1 else ("", ())
            found[canonical(needed.name)] = Component(name=needed.name, version=version, hashes=hashes)
    return tuple(found[name] for name in sorted(found))


def wheel_document(
    metadata: bytes, locked: Iterable[Package], *, digest: str, commit: str, made_at: datetime, tool_version: str
) -> bytes:
    """The CycloneDX document of a wheel: what it is, and what it says that it needs. `UserError` for one without a name."""
    own = component_of(metadata)
    if own is None:
        raise UserError("no-distribution", "its metadata names no package", hint="aegis wheel check says more")
    product = Product(
        kind="wheel", name=own.name, version=own.version, digest=digest, commit=commit, licences=own.licences
    )
    return document(product, needs_of(metadata, locked), made_at=made_at, tool_version=tool_version)


def document(
    product: Product,
    components: Iterable[Component],
    *,
    made_at: datetime,
    tool_version: str,
    depends: Mapping[str, tuple[str, ...]] | None = None,
) -> bytes:
    """The CycloneDX document. `made_at` is the commit's time (SOURCE_DATE_EPOCH), never that of the clock.

    `depends` maps a component's name to the names it needs; without it the product depends on all.
    """
    unique = {component.reference: component for component in components}
    listed = [unique[key] for key in sorted(unique)]
    body: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": made_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tools": {"components": [{"type": "application", "name": "aegis", "version": tool_version}]},
            "component": _product(product),
        },
        "components": [_component(component) for component in listed],
        "dependencies": _dependencies(product, listed, depends),
    }
    return codec.encode({**body, "serialNumber": _serial(codec.encode(body))})


def _product(product: Product) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": _TYPES[product.kind],
        "name": product.name,
        "version": product.version,
        "bom-ref": _root(product),
    }
    if product.digest:
        entry["hashes"] = _hashes((product.digest,))
    if product.licences:
        entry["licenses"] = _licences(product.licences)
    if product.commit:
        entry["properties"] = [{"name": "aegis:commit", "value": product.commit}]
    return entry


def _root(product: Product) -> str:
    return product.digest or f"{product.kind}:{product.name}@{product.version}"


def _component(component: Component) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": "library",
        "name": component.name,
        "bom-ref": component.reference,
        "purl": component.reference,
    }
    if component.version:
        entry["version"] = component.version
    if component.description:
        entry["description"] = component.description
    if component.hashes:
        entry["hashes"] = _hashes(component.hashes)
    if component.licences:
        entry["licenses"] = _licences(component.licences)
    return entry


def _hashes(digests: tuple[str, ...]) -> list[dict[str, str]]:
    pairs = sorted(one.partition(":")[::2] for one in set(digests))
    return [{"alg": _ALGORITHMS[kind], "content": value} for kind, value in pairs if kind in _ALGORITHMS]


def _licences(stated: tuple[str, ...]) -> list[dict[str, Any]]:
    """One SPDX expression, or names: the schema allows no mixture."""
    if len(stated) == 1 and _is_expression(stated[0]):
        return [{"expression": stated[0]}]
    return [{"license": {"name": name}} for name in stated]


def _is_expression(text: str) -> bool:
    """Whether it reads as SPDX: identifiers without spaces, joined by operators."""
    words = text.replace("(", " ").replace(")", " ").split()
    operators = {"AND", "OR", "WITH"}
    names = words[::2]
    return (
        len(words) % 2 == 1
        and all(word in operators for word in words[1::2])
        and all(word not in operators and all(sign.isalnum() or sign in "-.+" for sign in word) for word in names)
    )


def _old_licences(text: str | None, classifiers: list[str]) -> tuple[str, ...]:
    """What metadata before 2.4 states: classifiers, else a short `License` line (long ones are whole texts)."""
    found = [
        one.rpartition(" :: ")[2]
        for one in map(str, classifiers)
        if one.startswith(_LICENCE_PREFIX) and one.count("::") > 1
    ]
    if found:
        return tuple(sorted(set(found)))
    line = str(text or "").strip()
    return (line,) if line and "\n" not in line and len(line) <= 100 and line.upper() != "UNKNOWN" else ()


def _dependencies(
    product: Product, components: list[Component], depends: Mapping[str, tuple[str, ...]] | None
) -> list[dict[str, Any]]:
    by_name = {canonical(component.name): component.reference for component in components}
    root = {"ref": _root(product), "dependsOn": sorted(by_name.values())}
    entries = [root]
    for name, needed in sorted((depends or {}).items()):
        if canonical(name) in by_name:
            found = sorted({by_name[canonical(one)] for one in needed if canonical(one) in by_name})
            entries.append({"ref": by_name[canonical(name)], "dependsOn": found})
    return entries


def _serial(content: bytes) -> str:
    """A UUID (version 8, RFC 9562: made of what the maker chose) out of the content's hash."""
    raw = bytearray(hashlib.sha256(content).digest()[:16])
    raw[6] = (raw[6] & 0x0F) | 0x80
    raw[8] = (raw[8] & 0x3F) | 0x80
    text = raw.hex()
    return f"urn:uuid:{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
