"""Helm charts that were pushed as OCI artifacts, as a chart repository: `index.yaml` and the packages behind it.

A chart is an image manifest whose configuration is of Helm's type: the configuration is its Chart.yaml, the one layer its
package. Nothing is stored twice: the index is made from what is tagged, and is JSON, which every reader of YAML reads.
What a caller may see is decided by who asks for it.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final

from packaging.version import InvalidVersion, Version

from aegis.core.errors import NotFound
from aegis.registry.oci import OciRegistry

CONFIG: Final = "application/vnd.cncf.helm.config.v1+json"
CONTENT: Final = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_CREATED: Final = "org.opencontainers.image.created"
_KEPT: Final = 2000

Visible = Callable[[str], bool]
"""Whether the caller may pull from a repository."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A chart's package in a repository: where it lies, and its Chart.yaml."""

    repository: str
    name: str
    version: str
    digest: str
    size: int
    created: str
    about: dict[str, Any]

    @property
    def filename(self) -> str:
        """As `helm package` names it."""
        return f"{self.name}-{self.version}.tgz"


class Charts:
    """The charts of an image registry. Safe from any thread."""

    def __init__(self, images: OciRegistry) -> None:
        self._images = images
        self._read: OrderedDict[tuple[str, str], Chart | None] = OrderedDict()

    def index(self, under: str, visible: Visible) -> bytes:
        """The index of all charts in and below a repository path (empty: everywhere) that the caller may see."""
        entries: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {}
        for chart in self._charts(under, visible):
            path = chart.repository.removeprefix(under).strip("/")
            entry = {
                **chart.about, "created": chart.created, "digest": chart.digest.removeprefix("sha256:"),
                "urls": [f"{path}/{chart.filename}".lstrip("/")],
            }  # fmt: skip
            entries.setdefault(chart.name, []).append((_order(chart.version), entry))
        listed = {
            name: [entry for _, entry in sorted(found, key=lambda one: one[0], reverse=True)]
            for name, found in sorted(entries.items())
        }
        return json.dumps({"apiVersion": "v1", "entries": listed}, ensure_ascii=False, indent=1).encode()

    def package(self, repository: str, filename: str) -> Chart:
        """The chart of that file name in a repository; `NotFound`."""
        for chart in self._charts(repository, lambda name: name == repository):
            if chart.filename == filename:
                return chart
        raise NotFound("chart-unknown", f"{repository} has no chart {filename[:120]}")

    def read(self, chart: Chart, offset: int, length: int) -> Iterator[bytes]:
        """A package's bytes, or a part of them."""
        return self._images.blobs.open(chart.digest, offset=offset, length=length)

    def open_file(self, chart: Chart) -> BinaryIO | None:
        """The package as a file where its bytes are known to be right."""
        return self._images.blobs.file(chart.digest)

    def _charts(self, under: str, visible: Visible) -> Iterator[Chart]:
        seen: set[tuple[str, str]] = set()
        allowed: dict[str, bool] = {}
        for one in self._images.images.typed(CONFIG):
            inside = not under or one.repository == under or one.repository.startswith(f"{under}/")
            if not inside or (one.repository, one.digest) in seen:
                continue
            seen.add((one.repository, one.digest))
            if one.repository not in allowed:
                allowed[one.repository] = visible(one.repository)
            chart = self._chart(one.repository, one.digest) if allowed[one.repository] else None
            if chart is not None:
                yield chart

    def _chart(self, repository: str, digest: str) -> Chart | None:
        key = (repository, digest)
        if key not in self._read:
            self._read[key] = self._parsed(repository, digest)
            while len(self._read) > _KEPT:
                self._read.popitem(last=False)
        return self._read[key]

    def _parsed(self, repository: str, digest: str) -> Chart | None:
        """The chart in a manifest; None where it is none that Helm could use."""
        blobs = self._images.blobs
        try:
            manifest = json.loads(blobs.get(digest))
            about = json.loads(blobs.get(manifest["config"]["digest"]))
            layer = next(one for one in manifest["layers"] if one["mediaType"] == CONTENT)
            created = (manifest.get("annotations") or {}).get(_CREATED) or datetime(1970, 1, 1, tzinfo=UTC).isoformat()
            return Chart(
                repository=repository, name=str(about["name"]), version=str(about["version"]), digest=layer["digest"],
                size=layer["size"], created=created, about=about,
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, AttributeError, StopIteration, NotFound):
            return None


def _order(version: str) -> tuple[Any, ...]:
    """Versions in rising order, releases above their pre-releases; what is no version comes first."""
    core, _, pre = version.partition("+")[0].partition("-")
    try:
        return 1, Version(core), not pre, pre
    except InvalidVersion:
        return 0, version
