"""Puts together what `aegis chart` needs: the chart's files, the clock of its commit, the registry that it goes to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from aegis.adapters.tree_directory import DirectoryTree
from aegis.bootstrap import build_facts
from aegis.bootstrap.image import client, read_reference
from aegis.build import chart
from aegis.build.application import read_project
from aegis.build.ports import RawManifest
from aegis.core.errors import UserError
from aegis.core.ids import sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageReport:
    """A packed chart. `path` is its file, `digest` that of the file."""

    name: str
    version: str
    path: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PushedChart:
    """A chart in a registry: `reference` is how helm names it, `digest` its manifest's."""

    name: str
    version: str
    reference: str
    digest: str


def files_of(path: Path) -> dict[str, bytes]:
    """The files of the chart in a folder."""
    if not path.is_dir():
        raise UserError("no-folder", f"there is no folder {path}", hint="give the chart's folder")
    tree = DirectoryTree(path)
    return {one.path: tree.read(one.path) for one in tree.files()}


def package_chart(path: Path, *, version: str, out: Path) -> PackageReport:
    """Pack the chart at `path` into `out`."""
    facts, _ = build_facts.facts(path, written=version)
    packed = chart.package(files_of(path), version=version, epoch=facts.epoch)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / packed.filename).write_bytes(packed.data)
    except OSError as error:
        raise UserError("chart-output", f"{out} cannot be written: {error.strerror}") from error
    return PackageReport(
        name=packed.name, version=packed.version, path=str(out / packed.filename), digest=sha256(packed.data),
        size=len(packed.data),
    )  # fmt: skip


def push_chart(file: Path, url: str) -> PushedChart:
    """Push a packed chart to `oci://HOST/PATH`; its repository is PATH and the chart's name, as with helm."""
    try:
        packed = chart.read_package(file.name, file.read_bytes())
    except OSError as error:
        raise UserError("no-file", f"{file} cannot be read: {error.strerror}") from error
    where = url.removeprefix("oci://").rstrip("/")
    if "://" in where:
        raise UserError("chart-url", f"{url!r} is no OCI registry", hint="write oci://HOST/PATH")
    reference = read_reference(f"{where}/{packed.name}")
    facts, _ = build_facts.facts(file.parent, written=packed.version)
    created = datetime.fromtimestamp(facts.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    made = chart.artifact(packed, created=created)
    with client(reference.host, reference.repository) as registry:
        raw = RawManifest(digest=made.digest, media_type=chart.MANIFEST, body=made.manifest)
        registry.put(made.blobs, raw, made.tag)
    return PushedChart(
        name=packed.name, version=packed.version, digest=made.digest,
        reference=f"oci://{reference.host}/{reference.repository}:{made.tag}",
    )  # fmt: skip


def generate_chart(path: Path, *, out: Path, image: str, health: str) -> tuple[str, ...]:
    """Write a chart for the service at `path` into `out`; the files written."""
    project = read_project(DirectoryTree(path), name=path.resolve().name)
    facts, _ = build_facts.facts(path, written=project.version)
    version = facts.version if chart.VERSION.fullmatch(facts.version) else "0.1.0"
    name = project.name.lower().replace("_", "-").replace(".", "-")
    made = chart.generate(
        chart.Service(name=name, version=version, image=image, port=project.options.port, health=health)
    )
    for file, data in made.items():
        target = out / file
        if target.exists() and target.read_bytes() != data:
            raise UserError(
                "chart-there", f"{target} is there already", hint="give another --out, or take it away first"
            )
    for file, data in made.items():
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        (out / file).write_bytes(data)
    return tuple(made)
