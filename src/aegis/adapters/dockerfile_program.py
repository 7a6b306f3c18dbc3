"""Dockerfiles, also of several stages, through buildah or docker, where one is installed.

The result is an OCI layout like that of every other build. The programs resolve and run what the Dockerfile says:
whether the same commit gives the same digest is up to it; time stamps are fixed as far as the program can.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aegis.adapters.layout_directory import OciLayout
from aegis.build.base import manifest_digests
from aegis.build.image import Facts
from aegis.build.ports import Layer, RawManifest
from aegis.build.target import Target
from aegis.core.errors import ExternalError, UserError
from aegis.core.ports import Tool, ToolLimits

_LIMITS: Final = ToolLimits(seconds=3600, network=True)
_PROGRAMS: Final = ("buildah", "docker")


def build_with_program(
    tool: Tool, *, context: Path, dockerfile: str, output: OciLayout, facts: Facts, target: Target,
    environment: Mapping[str, str],
) -> tuple[RawManifest, tuple[Layer, ...]]:  # fmt: skip
    """Build `dockerfile` in `context`; the manifest and layers, whose blobs are in `output` afterwards."""
    if not (context / dockerfile).is_file():
        raise UserError("dockerfile", f"there is no {dockerfile} in {context}", hint="[tool.aegis] dockerfile names it")
    labels = {
        "org.opencontainers.image.version": facts.version, "org.opencontainers.image.revision": facts.revision,
    }  # fmt: skip
    marks = [part for key, value in labels.items() if value for part in ("--label", f"{key}={value}")]
    with tempfile.TemporaryDirectory(prefix="aegis-dockerfile-") as folder:
        built = Path(folder) / "layout"
        task = _Task(
            tool=tool, context=context, dockerfile=dockerfile, built=built, facts=facts, environment=environment,
            options=(*marks, "--platform", f"linux/{target.architecture}"),
        )  # fmt: skip
        (_buildah if _choose(tool) == "buildah" else _docker)(task)
        return _taken(OciLayout(built), output)


def _choose(tool: Tool) -> str:
    for program in _PROGRAMS:
        try:
            tool.run([program, "--version"], limits=_LIMITS)
        except ExternalError:
            continue
        return program
    raise ExternalError(
        "dockerfile-builder", "a Dockerfile is built by buildah or docker, and neither is installed",
        hint="apt-get install buildah; or take out [tool.aegis] builder, and the image is solved without a daemon",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """One Dockerfile to build: where, into which layout, with which options."""

    tool: Tool
    context: Path
    dockerfile: str
    built: Path
    options: tuple[str, ...]
    facts: Facts
    environment: Mapping[str, str]


def _buildah(task: _Task) -> None:
    name = f"localhost/aegis-build:{task.facts.revision[:12] or 'work'}"
    argv = [
        "buildah", "build", "--format", "oci", "--layers", "--timestamp", str(task.facts.epoch),
        "--file", task.dockerfile, "--tag", name, *task.options, ".",
    ]  # fmt: skip
    _run(task, argv, {})
    _run(task, ["buildah", "push", name, f"oci:{task.built}"], {})


def _docker(task: _Task) -> None:
    packed = task.built.with_suffix(".tar")
    argv = [
        "docker", "buildx", "build", "--file", task.dockerfile, "--provenance=false",
        "--output", f"type=oci,dest={packed},rewrite-timestamp=true", *task.options, ".",
    ]  # fmt: skip
    _run(task, argv, {"SOURCE_DATE_EPOCH": str(task.facts.epoch)})
    with tarfile.open(packed) as archive:
        archive.extractall(task.built, filter="data")


def _run(task: _Task, argv: list[str], more: Mapping[str, str]) -> None:
    environment = {**task.environment, **more}
    done = task.tool.run(argv, directory=str(task.context), environment=environment, limits=_LIMITS)
    if done.exit_code != 0:
        last = done.stderr.decode("utf-8", "replace").strip()[-2000:]
        raise ExternalError("dockerfile-failed", f"{argv[0]} left with {done.exit_code}: {last}")


def _taken(built: OciLayout, output: OciLayout) -> tuple[RawManifest, tuple[Layer, ...]]:
    names = built.tags()
    manifest = built.manifest(names[0] if names else "")
    config = json.load(io.BytesIO(b"".join(built.blob(manifest_digests(manifest)[0]))))
    for digest in manifest_digests(manifest):
        output.put_stream(digest, built.blob(digest))
    raw = json.loads(manifest.body)["layers"]
    layers = tuple(
        Layer(
            digest=one["digest"], diff_id=diff_id, size=one["size"], media_type=one["mediaType"], comment="Dockerfile"
        )
        for one, diff_id in zip(raw, config["rootfs"]["diff_ids"], strict=True)
    )  # fmt: skip
    return manifest, layers
