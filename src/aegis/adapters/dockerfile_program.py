"""Dockerfiles, also of several stages, through buildah, docker or BuildKit's own client, where one is installed.

The result is an OCI layout like that of every other build. The programs resolve and run what the Dockerfile says:
whether the same commit gives the same digest is up to it; time stamps are fixed as far as the program can.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aegis.adapters.layout_directory import OciLayout
from aegis.adapters.registry_http import is_loopback
from aegis.build.application import BUILDERS
from aegis.build.base import manifest_digests
from aegis.build.image import Facts
from aegis.build.ports import Layer, RawManifest
from aegis.build.target import Target
from aegis.core.errors import ExternalError, UserError
from aegis.core.ports import Tool, ToolLimits

_OCI: Final = "application/vnd.oci.image"
_LIMITS: Final = ToolLimits(seconds=3600, network=True)


def build_with_program(
    tool: Tool, *, context: Path, dockerfile: str, output: OciLayout, facts: Facts, target: Target,
    environment: Mapping[str, str], cache: str = "", program: str = "",
) -> tuple[RawManifest, tuple[Layer, ...]]:  # fmt: skip
    """Build `dockerfile` in `context`; the manifest and layers, whose blobs are in `output` afterwards.

    `cache` is a repository (`host/name`) that steps are taken from and given to, so that another machine need not repeat them.
    `program` is one of `BUILDERS`, or empty: the first that is installed.
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
        {"buildah": _buildah, "docker": _docker, "buildctl": _buildctl}[_choose(tool, program)](task)
        return _taken(OciLayout(built), output)


def _choose(tool: Tool, wanted: str) -> str:
    for program in (wanted,) if wanted else BUILDERS:
        try:
            tool.run([program, "--version"], limits=_LIMITS)
        except ExternalError:
            continue
        return program
    raise ExternalError(
        "dockerfile-builder", f"a Dockerfile is built by {wanted or 'buildah, docker or buildctl'}, which is not installed",
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
    """By buildx where its builder can write an image layout; docker's own driver cannot, and is asked in the old way."""
    asked = task.tool.run(["docker", "buildx", "inspect"], environment=task.environment, limits=_LIMITS)
    drivers = [
        line.split()[-1] for line in asked.stdout.decode("utf-8", "replace").splitlines() if line.startswith("Driver:")
    ]
    if asked.exit_code != 0 or drivers[:1] in ([], ["docker"]):
        _docker_engine(task)
        return
    packed = task.built.with_suffix(".tar")
    stored = f"type=registry,ref={task.cache}"
    cache = ("--cache-from", stored, "--cache-to", f"{stored},mode=max") if task.cache else ()
    argv = [
        "docker", "buildx", "build", "--file", task.dockerfile, "--provenance=false", *cache,
        "--output", f"type=oci,dest={packed},rewrite-timestamp=true", *task.options, ".",
    ]  # fmt: skip
    _run(task, argv, {"SOURCE_DATE_EPOCH": str(task.facts.epoch)})
    _unpack(packed, task)


def _docker_engine(task: _Task) -> None:
    """The engine's own BuildKit. It keeps its cache in the image itself, which is pushed where a cache is asked for."""
    name = task.cache or f"localhost/aegis-build:{task.facts.revision[:12] or 'work'}"
    cache = ("--cache-from", task.cache, "--build-arg", "BUILDKIT_INLINE_CACHE=1") if task.cache else ()
    argv = ["docker", "build", "--file", task.dockerfile, "--tag", name, *cache, *task.options, "."]
    _run(task, argv, {"DOCKER_BUILDKIT": "1"})
    if task.cache:
        _run(task, ["docker", "push", name], {})
    packed = task.built.with_suffix(".tar")
    _run(task, ["docker", "save", "--output", str(packed), name], {})
    saved = task.built.with_suffix(".saved")
    with tarfile.open(packed) as archive:
        archive.extractall(saved, filter="data")
    packed.unlink()
    if (saved / "index.json").is_file():
        saved.rename(task.built)
    else:
        _convert(saved, OciLayout(task.built))


def _convert(saved: Path, built: OciLayout) -> None:
    """What older engines save, as an image layout: the same configuration, its layers packed."""
    [about] = json.loads((saved / "manifest.json").read_bytes())
    layers = []
    for name in about["Layers"]:
        packed = (saved / name).with_suffix(".gz")
        with (
            (saved / name).open("rb") as plain,
            packed.open("wb") as raw,
            gzip.GzipFile(fileobj=raw, mode="wb", filename="", mtime=0, compresslevel=6) as file,
        ):
            shutil.copyfileobj(plain, file, 1 << 20)
        with packed.open("rb") as whole:
            digest = f"sha256:{hashlib.file_digest(whole, 'sha256').hexdigest()}"
        built.put_file(digest, packed)
        size = built.blob_path(digest).stat().st_size
        layers.append({"mediaType": f"{_OCI}.layer.v1.tar+gzip", "digest": digest, "size": size})
    config = (saved / about["Config"]).read_bytes()
    settings = {"mediaType": f"{_OCI}.config.v1+json", "digest": built.put(config), "size": len(config)}
    document = {"schemaVersion": 2, "mediaType": f"{_OCI}.manifest.v1+json", "config": settings, "layers": layers}
    body = json.dumps(document, separators=(",", ":")).encode()
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    built.finish(RawManifest(digest=digest, media_type=f"{_OCI}.manifest.v1+json", body=body), ())


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
