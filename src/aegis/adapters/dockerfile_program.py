"""Dockerfiles, also of several stages, through buildah, docker or BuildKit's own client, where one is installed.

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
from aegis.adapters.registry_http import is_loopback
from aegis.build.base import manifest_digests
from aegis.build.image import Facts
from aegis.build.ports import Layer, RawManifest
from aegis.build.target import Target
from aegis.core.errors import ExternalError, UserError
from aegis.core.ports import Tool, ToolLimits

_LIMITS: Final = ToolLimits(seconds=3600, network=True)
_PROGRAMS: Final = ("buildah", "docker", "buildctl")


def build_with_program(
    tool: Tool, *, context: Path, dockerfile: str, output: OciLayout, facts: Facts, target: Target,
    environment: Mapping[str, str], cache: str = "",
) -> tuple[RawManifest, tuple[Layer, ...]]:  # fmt: skip
    """Build `dockerfile` in `context`; the manifest and layers, whose blobs are in `output` afterwards.

    `cache` is a repository (`host/name`) that steps are taken from and given to, so that another machine need not repeat them.
    """
    if not (context / dockerfile).is_file():
        raise UserError("dockerfile", f"there is no {dockerfile} in {context}", hint="[tool.aegis] dockerfile names it")
    labels = {
        "org.opencontainers.image.version": facts.version, "org.opencontainers.image.revision": facts.revision,
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="aegis-dockerfile-") as folder:
        built = Path(folder) / "layout"
        task = _Task(
            tool=tool, context=context, dockerfile=dockerfile, built=built, facts=facts, environment=environment,
            labels={key: value for key, value in labels.items() if value}, platform=f"linux/{target.architecture}",
            cache=cache,
        )  # fmt: skip
        {"buildah": _buildah, "docker": _docker, "buildctl": _buildctl}[_choose(tool)](task)
        return _taken(OciLayout(built), output)


def _choose(tool: Tool) -> str:
    for program in _PROGRAMS:
        try:
            tool.run([program, "--version"], limits=_LIMITS)
        except ExternalError:
            continue
        return program
    raise ExternalError(
        "dockerfile-builder", "a Dockerfile is built by buildah, docker or buildctl, and none is installed",
        hint="apt-get install buildah; or take out [tool.aegis] builder, and the image is solved without a daemon",
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """One Dockerfile to build: where, into which layout, with which options."""

    tool: Tool
    context: Path
    dockerfile: str
    built: Path
    labels: Mapping[str, str]
    platform: str
    facts: Facts
    environment: Mapping[str, str]
    cache: str

    @property
    def options(self) -> tuple[str, ...]:
        """Labels and platform, as buildah and docker take them."""
        marks = (part for key, value in self.labels.items() for part in ("--label", f"{key}={value}"))
        return (*marks, "--platform", self.platform)


def _buildah(task: _Task) -> None:
    name = f"localhost/aegis-build:{task.facts.revision[:12] or 'work'}"
    isolation = () if "BUILDAH_ISOLATION" in task.environment else ("--isolation", "chroot")  # what needs least
    cache = ("--cache-from", task.cache, "--cache-to", task.cache) if task.cache else ()
    argv = [
        "buildah", "build", "--format", "oci", "--layers", "--timestamp", str(task.facts.epoch), *isolation, *cache,
        *_plain(task.cache), "--file", task.dockerfile, "--tag", name, *task.options, ".",
    ]  # fmt: skip
    _run(task, argv, {})
    _run(task, ["buildah", "push", name, f"oci:{task.built}"], {})


def _docker(task: _Task) -> None:
    packed = task.built.with_suffix(".tar")
    stored = f"type=registry,ref={task.cache}"
    cache = ("--cache-from", stored, "--cache-to", f"{stored},mode=max") if task.cache else ()
    argv = [
        "docker", "buildx", "build", "--file", task.dockerfile, "--provenance=false", *cache,
        "--output", f"type=oci,dest={packed},rewrite-timestamp=true", *task.options, ".",
    ]  # fmt: skip
    _run(task, argv, {"SOURCE_DATE_EPOCH": str(task.facts.epoch)})
    _unpack(packed, task)


def _buildctl(task: _Task) -> None:
    packed = task.built.with_suffix(".tar")
    stored = f"type=registry,ref={task.cache}"
    cache = ("--import-cache", stored, "--export-cache", f"{stored},mode=max") if task.cache else ()
    marks = [part for key, value in task.labels.items() for part in ("--opt", f"label:{key}={value}")]
    argv = [
        "buildctl", "build", "--frontend", "dockerfile.v0", "--local", "context=.", "--local", "dockerfile=.",
        "--opt", f"filename={task.dockerfile}", "--opt", f"platform={task.platform}",
        "--opt", f"build-arg:SOURCE_DATE_EPOCH={task.facts.epoch}", *marks, *cache,
        "--output", f"type=oci,dest={packed},rewrite-timestamp=true",
    ]  # fmt: skip
    _run(task, argv, {})
    _unpack(packed, task)


def _plain(cache: str) -> tuple[str, ...]:
    """A cache on this machine's loopback is spoken to without TLS, as everywhere in Aegis."""
    return ("--tls-verify=false",) if cache and is_loopback(cache.partition("/")[0]) else ()


def _unpack(packed: Path, task: _Task) -> None:
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
