"""Looking up again what was released: the packages of a stored bill of materials, in advisories that came later. Pure.

Read are bills in CycloneDX's form and advisories in one archive. Only Python's packages are looked up: advisories of Debian name other
packages and order versions otherwise.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote

from aegis.supplychain.advisories import AdvisoryStore
from aegis.supplychain.packages import Package

_PYTHON: Final = "pkg:pypi/"


def advisories_of(archive: bytes) -> AdvisoryStore:
    """The advisories of an archive (zip); `ValueError` where it is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            return AdvisoryStore([(one, opened.read(one)) for one in opened.namelist()])
    except zipfile.BadZipFile as error:
        raise ValueError(f"the advisories are no archive: {error}") from error


def packages_of(bills: Iterable[Mapping[str, Any]]) -> tuple[Package, ...]:
    """Python's packages in bills of materials, each once."""
    return tuple(dict.fromkeys(one for bill in bills for one in _packages(bill)))


def _packages(bill: Mapping[str, Any]) -> Iterator[Package]:
    components = bill.get("components")
    for one in components if isinstance(components, list) else ():
        reference = str(one.get("purl", "")) if isinstance(one, dict) else ""
        if reference.startswith(_PYTHON):
            name, _, version = reference.removeprefix(_PYTHON).partition("?")[0].partition("@")
            yield Package(name=unquote(name), version=unquote(version) or None, file="bill of materials")
