"""Puts together what `aegis image` needs, and runs it in this process."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aegis.adapters.beliefs_directory import DirectoryBeliefs
from aegis.adapters.bytecode_program import ProgramBytecode
from aegis.adapters.layers_directory import DirectoryLayers
from aegis.adapters.layout_directory import OciLayout
from aegis.adapters.tree_directory import DirectoryTree
from aegis.adapters.wheels_store import StoredWheels
from aegis.bootstrap import build_facts
from aegis.build.application import BUILDERS, Application, find_application
from aegis.build.base import Base, for_base, load_base
from aegis.build.image import Facts, Image, Workshop, image_tags, solve
from aegis.build.locks import Lock, read_lock
from aegis.build.ports import ImageSource
from aegis.build.target import Target
from aegis.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aegis.adapters.registry_http import Reference, RegistryClient

OUTPUT: Final = ".aegis-image"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerReport:
    """One layer of an image."""

    digest: str
    size: int
    comment: str
    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReport:
    """What was pushed where."""

    repository: str
    digest: str
    tags: tuple[str, ...]
    sent: int
    present: int
    repaired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReport:
    """What `aegis image build` did. `size` is in bytes as stored; `path` is the OCI layout."""

    digest: str
    size: int
    version: str
    tags: tuple[str, ...]
    layers: tuple[LayerReport, ...]
    path: str
    app: str
    framework: str
    lock: str
    base: str
    notes: tuple[str, ...]
    seconds: float
    pushed: PushReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for on the command line; empty: as the project says."""

    path: Path
    output: Path | None = None
    base: str = ""
    version: str = ""
    python: str = ""
    architecture: str = ""
    repository: str = ""
    push: bool = False
    sbom: Path | None = None


def build_image(wanted: Wanted) -> ImageReport:
    """Build, and push when that was asked for."""
    started = time.monotonic()
    if not wanted.path.is_dir():
        raise UserError("no-folder", f"there is no folder {wanted.path}", hint="give the project's folder")
    repository = destination(wanted.repository) if wanted.push else ""
    tree = DirectoryTree(wanted.path)
    output = OciLayout(wanted.output or wanted.path / OUTPUT)
    application = find_application(tree, name=wanted.path.resolve().name)
    options = application.project.options
    facts, said = build_facts.facts(wanted.path, written=application.project.version, version=wanted.version)
    target = build_facts.target(wanted.python or options.python, wanted.architecture)
    by_program = {"dockerfile", *BUILDERS}
    if options.builder not in {"", "layers", *by_program}:
        raise UserError(
            "builder",
            f"[tool.aegis] builder = {options.builder!r} is not known",
            hint="dockerfile, buildah, docker, buildctl, or none",
        )
    if options.builder in by_program:
        image, base_name = _from_dockerfile(wanted.path, application, facts, target, output), options.dockerfile
    else:
        image, base_name = _from_layers(tree, application, wanted, facts=facts, target=target, output=output)
    if wanted.sbom is not None:
        write_sbom(wanted.sbom, application, facts, image, output)
    pushed = push_image(output.path, repository, image.tags) if wanted.push else None
    serves = application.serves
    return ImageReport(
        digest=image.manifest.digest, size=image.size, version=facts.version, tags=image.tags,
        layers=tuple(
            LayerReport(digest=one.digest, size=one.size, comment=one.comment, cached=one.digest in image.cached)
            for one in image.layers
        ),
        path=str(output.path), app=serves.target if serves else " ".join(options.command),
        framework=serves.framework if serves else "", lock=application.lock, base=base_name,
        notes=(*application.notes, *said), seconds=round(time.monotonic() - started, 3), pushed=pushed,
    )  # fmt: skip


def _from_layers(
    tree: DirectoryTree, application: Application, wanted: Wanted, *, facts: Facts, target: Target, output: OciLayout
) -> tuple[Image, str]:
    options = application.project.options
    shop = workshop(options.compression, wanted.path)
    with ExitStack() as opened:
        base, source = _base(wanted.base or options.base, wanted.path, target, opened)
        target = for_base(base, target, wanted.python or options.python)
        lock = _lock(tree, application, target)
        image = solve(
            application, tree, lock, facts=facts, target=target, base=base, base_source=source, shop=shop,
            output=output,
        )  # fmt: skip
    return image, base.name or "none"


def workshop(compression: str = "", project: Path = Path()) -> Workshop:
    """Wheels, bytecode and layers as they are kept on this machine, for a project in that folder."""
    kept = build_facts.cache_directory()
    return Workshop(
        wheels=StoredWheels(
            kept / "wheels", tool=build_facts.tool(), python=sys.executable,
            environment=build_facts.installer_environment(), extra_index=os.environ.get("AEGIS_INDEX_URL", ""),
            project=project,
        ),
        bytecode=ProgramBytecode(kept / "bytecode", search=os.environ.get("PATH", os.defpath)),
        cache=DirectoryLayers(kept / "layers"), compression=compression or "gzip",
    )  # fmt: skip


def _lock(tree: DirectoryTree, application: Application, target: Target) -> Lock:
    if not application.lock:
        return Lock(format="none", packages=())
    project = application.project
    return read_lock(
        application.lock, tree.read(application.lock), target=target, roots=project.dependencies, project=project.name
    )


@contextmanager
def load_target_base(text: str, wanted: Wanted, target: Target) -> Iterator[tuple[Base, ImageSource | None]]:
    """The base that is named, and where its blobs come from, within the block."""
    with ExitStack() as held:
        yield _base(text, wanted.path, target, held)


def read_reference(text: str) -> Reference:
    """A full image reference, taken apart."""
    from aegis.adapters.registry_http import read_reference as read  # noqa: PLC0415 - only a remote image needs it

    return read(text)


def _base(text: str, folder: Path, target: Target, opened: ExitStack) -> tuple[Base, ImageSource | None]:
    if text in {"", "none"}:
        return Base(), None
    if text.startswith("lock:"):
        from aegis.bootstrap.image_base import locked_layout  # noqa: PLC0415 - few bases are solved here

        solved = locked_layout(text, folder)
        return load_base(solved, "", text, target), solved
    if text.startswith("oci:"):
        path, _, tag = text.removeprefix("oci:").partition(":")
        layout = OciLayout(folder / path)
        return load_base(layout, tag, text, target), layout
    reference = read_reference(text)
    registry = opened.enter_context(client(reference.host, reference.repository))
    return load_base(registry, reference.wanted, text, target), registry


def write_sbom(file: Path, application: Application, facts: Facts, image: Image, layout: OciLayout) -> None:
    """The CycloneDX document of a build: what the builder put in, and what lies in the base's layers."""
    from aegis.bootstrap.build_inventory import inventory  # noqa: PLC0415 - only who asks for it needs it

    try:
        file.write_bytes(inventory(application, facts, image, layout, build_facts.cache_directory() / "contents"))
    except OSError as error:
        raise UserError("sbom-file", f"{file} cannot be written: {error.strerror}") from error


def _from_dockerfile(path: Path, application: Application, facts: Facts, target: Target, output: OciLayout) -> Image:
    from aegis.adapters.dockerfile_program import build_with_program  # noqa: PLC0415 - rarely asked for

    options = application.project.options
    manifest, layers = build_with_program(
        build_facts.tool(), context=path, dockerfile=options.dockerfile, output=output, facts=facts, target=target,
        environment=build_facts.builder_environment(), cache=options.cache,
        program="" if options.builder == "dockerfile" else options.builder,
    )  # fmt: skip
    tags = image_tags(facts)
    output.finish(manifest, tags)
    return Image(manifest=manifest, layers=layers, tags=tags, size=len(manifest.body) + sum(one.size for one in layers))


def push_image(layout: Path, repository: str, tags: tuple[str, ...]) -> PushReport:
    """Push the image at `layout` to `host/repository` (default: $CI_REGISTRY_IMAGE) under `tags`."""
    where = destination(repository)
    reference = read_reference(where)
    with client(reference.host, reference.repository) as registry:
        pushed = registry.push(OciLayout(layout), tags or ((reference.tag,) if reference.tag else ()))
    return PushReport(
        repository=where, digest=pushed.digest, tags=pushed.tags, sent=len(pushed.sent), present=len(pushed.present),
        repaired=pushed.repaired,
    )  # fmt: skip


def client(host: str, repository: str) -> RegistryClient:
    """A connection to a repository, with the job's credentials for the job's registry."""
    from aegis.adapters.registry_http import RegistryClient  # noqa: PLC0415 - as above

    user, password = _credentials(host)
    beliefs = DirectoryBeliefs(build_facts.cache_directory() / "registries")
    return RegistryClient(host, repository, user=user, password=password, beliefs=beliefs)


def destination(given: str) -> str:
    """Where to push: as given, else to the job's repository; `UserError` where neither is known."""
    found = given or os.environ.get("CI_REGISTRY_IMAGE", "")
    if not found:
        raise UserError(
            "no-repository", "it is not said where to push",
            hint="give --repository HOST/GROUP/NAME, or set CI_REGISTRY_IMAGE",
        )  # fmt: skip
    return found


def _credentials(host: str) -> tuple[str, str]:
    """The job's credentials, for the job's registry only; nobody else's registry sees them."""
    own = os.environ.get("CI_REGISTRY", "")
    own = own or os.environ.get("CI_REGISTRY_IMAGE", "").partition("/")[0]
    elsewhere = os.environ.get("AEGIS_BASE_USER", ""), os.environ.get("AEGIS_BASE_PASSWORD", "")
    if (own and host != own) or (not own and elsewhere[1]):
        return elsewhere
    user, password = os.environ.get("CI_REGISTRY_USER", ""), os.environ.get("CI_REGISTRY_PASSWORD", "")
    return (user, password) if password else ("job", os.environ.get("CI_JOB_TOKEN", ""))
