"""Solves an image from layers, without a daemon: a base, the locked dependencies, the application.

The same inputs (lock, files, base digest, labels, epoch, target, Python) give the same digest. Layers are ordered by how
often they change: the base, each large wheel alone, the small ones together, declared data, the code. They lie under
`/app`: `lib` holds what the lock names, `src` the application, `start.py` reads HOST and PORT and serves it. What is
found in a project is decided in `build.application`, how it starts in `build.starting`, how bytes are packed in `build.layers`.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, BinaryIO, Final

from aegis.build.application import Application, direct_names
from aegis.build.base import Base
from aegis.build.layers import FORMAT, Entry, write_layer
from aegis.build.locks import Lock, Locked
from aegis.build.ports import (
    Bytecode,
    ImageOutput,
    ImageSource,
    Layer,
    LayerCache,
    RawManifest,
    Tree,
    Wheel,
    Wheels,
)  # fmt: skip
from aegis.build.starting import chosen_server, start_script
from aegis.build.target import Target
from aegis.build.wheelfile import read_wheel
from aegis.core.errors import UserError

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
BASE_LABEL: Final = "io.aegis.base"
BYTECODE_LABEL: Final = "io.aegis.bytecode"
OWN_LABEL: Final = "io.aegis.own-layers"
LIB: Final = "app/lib"
SRC: Final = "app/src"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LARGE: Final = 1_500_000  # bytes of a wheel's file from which on it gets a layer of its own
MOST_LAYERS: Final = 127  # what overlay file systems and registries' clients take


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the world outside knows of a build. `epoch` is the commit's time in Unix seconds."""

    version: str
    revision: str = ""
    source: str = ""
    branch: str = ""
    epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A solved image."""

    manifest: RawManifest
    layers: tuple[Layer, ...]
    size: int
    tags: tuple[str, ...]
    cached: tuple[str, ...] = ()
    """Digests of the layers that were taken from the cache."""
    labels: Mapping[str, str] = field(default_factory=dict)
    wheels: tuple[Wheel, ...] = ()
    own: tuple[Layer, ...] = ()
    """The layers that are not the base's."""


def image_tags(facts: Facts) -> tuple[str, ...]:
    """`VERSION`, `VERSION-SHORTSHA`, the full commit and the branch, in the characters that tags may have."""
    version = _tag(facts.version)
    tags = [version] if version else []
    if facts.revision:
        tags += [f"{version}-{facts.revision[:8]}"] if version else []
        tags.append(facts.revision)
    if facts.branch:
        tags.append(_tag(re.sub(r"[^a-z0-9]+", "-", facts.branch.lower()).strip("-")[:63]))
    return tuple(dict.fromkeys(tag for tag in tags if tag))


def _tag(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", text).lstrip(".-")[:128]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Wheels that make one layer."""

    wheels: tuple[Wheel, ...]

    @property
    def comment(self) -> str:
        """What the layer is for."""
        first = self.wheels[0]
        return f"{first.name} {first.version}" if len(self.wheels) == 1 else f"{len(self.wheels)} locked packages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What a build works with: where wheels and bytecode come from, the layer cache, the form of layers."""

    wheels: Wheels
    bytecode: Bytecode
    cache: LayerCache
    compression: str = "gzip"


def grouped(wheels: tuple[Wheel, ...], room: int) -> tuple[Group, ...]:
    """The layers of the wheels, at most `room`: each large one alone by name, then all small ones together."""
    by_size = sorted((one for one in wheels if one.size >= LARGE), key=lambda one: (-one.size, one.name))
    alone = sorted(by_size[: max(0, room - 1)], key=lambda one: one.name)
    rest = tuple(one for one in wheels if one not in alone)
    groups = [Group(wheels=(one,)) for one in alone]
    return (*groups, Group(wheels=rest)) if rest else tuple(groups)


def locked_packages(lock: Lock) -> tuple[Locked, ...]:
    """The lock's packages; `UserError` for a lock that leaves one of them open."""
    fatal = [one for one in lock.diagnostics if one.fatal]
    if fatal:
        first = fatal[0]
        more = f" (and {len(fatal) - 1} more)" if len(fatal) > 1 else ""
        raise UserError(first.code, f"{first.message}{more}", hint=first.hint, where=first.where)
    return lock.packages


def dependency_layers(
    wheels: tuple[Wheel, ...], target: Target, shop: Workshop, *, room: int
) -> tuple[tuple[Layer, bool], ...]:
    """The layers of the locked wheels, and whether each came from the cache.

    A layer's key is its wheels' digests, the target, the Python and the layer format: not the commit, so that a change
    of the source leaves it as it is. Its time stamps are zero for the same reason.
    """
    groups = grouped(wheels, room)
    build = shop.bytecode.build(target)
    keys = [_layer_key(group, target, build, shop.compression) for group in groups]
    found = [shop.cache.find(key) for key in keys]
    missing = tuple(one for group, layer in zip(groups, found, strict=True) if layer is None for one in group.wheels)
    compiled = shop.bytecode.of_wheels(missing, target, f"/{LIB}") if missing and build else {}
    made = []
    for group, key, layer in zip(groups, keys, found, strict=True):
        if layer is None:
            write = partial(_write_group, group, compiled, build.partition("/")[0], shop.compression)
            made.append((shop.cache.keep(key, write), False))
        else:
            made.append((layer, True))
    return tuple(made)


def _layer_key(group: Group, target: Target, build: str, compression: str) -> str:
    wheels = ",".join(one.digest for one in group.wheels)
    named = f"{FORMAT}\n{target.python}\n{target.triple}\n{build}\n{compression}\n{wheels}"
    return hashlib.sha256(named.encode()).hexdigest()


def _write_group(
    group: Group, compiled: Mapping[str, Mapping[str, bytes]], tag: str, compression: str, out: BinaryIO
) -> Layer:
    with ExitStack() as opened:
        entries: list[Entry] = []
        for one in group.wheels:
            file = opened.enter_context(one.path.open("rb"))
            bytecode = compiled.get(one.digest, {})
            entries += read_wheel(one.filename, file, prefix=LIB, bytecode=bytecode, tag=tag).entries
        return write_layer(entries, out, epoch=0, comment=group.comment, compression=compression)


def application_layers(
    application: Application, tree: Tree, shop: Workshop, *, facts: Facts, target: Target, server: str
) -> tuple[tuple[tuple[Layer, bytes], ...], list[str]]:
    """The layers of the project's own files with their bytes, and the command that starts it."""
    sources = {path: tree.read(file.path) for path, file in application.code.items()}
    code = [
        Entry(path=f"{SRC}/{path}", read=partial(bytes, sources[path]), executable=file.executable)
        for path, file in application.code.items()
    ]
    code += [Entry(path=path, read=partial(bytes, data)) for path, data in _dist_info(application, facts).items()]
    modules = {f"/{SRC}/{path}": data for path, data in sources.items() if path.endswith(".py")}
    tag = shop.bytecode.build(target).partition("/")[0]
    for path, pyc in shop.bytecode.of_sources(modules, target).items() if tag else ():
        folder, _, name = path.lstrip("/").rpartition("/")
        code.append(Entry(path=f"{folder}/__pycache__/{name[:-3]}.{tag}.pyc", read=partial(bytes, pyc)))
    command = list(application.project.options.command)
    if not command:
        start = start_script(application, port=application.project.options.port, server=server)
        code.append(Entry(path="app/start.py", read=partial(bytes, start)))
        command = ["python", "/app/start.py"]
    data = [
        Entry(path=f"app/{file.path}", read=partial(tree.read, file.path), executable=file.executable)
        for file in application.data
    ]
    named = f"{application.project.name} {facts.version}".strip()
    made = []
    for entries, comment in ((data, f"{application.project.name}: data"), (code, named)):
        if entries:
            held = io.BytesIO()
            layer = write_layer(entries, held, epoch=facts.epoch, comment=comment, compression=shop.compression)
            made.append((layer, held.getvalue()))
    return tuple(made), command


def check_lock(application: Application, lock: Lock) -> None:
    """`UserError` when a direct dependency is not locked: the lock is older than pyproject.toml."""
    from packaging.utils import canonicalize_name  # noqa: PLC0415 - keeps this module's import light

    locked = {one.name for one in lock.packages} | {
        canonicalize_name(one.message.split()[0]) for one in lock.diagnostics
    }
    for name in direct_names(tuple(one for one in application.project.dependencies if ";" not in one)):
        if canonicalize_name(name) not in locked:
            raise UserError(
                "lock-stale", f"pyproject.toml needs {name}, {application.lock} does not have it",
                hint="write the lock again, for example with `aegis project lock`",
            )  # fmt: skip


def assemble(
    application: Application,
    *,
    base: Base,
    layers: tuple[Layer, ...],
    command: list[str],
    facts: Facts,
    target: Target,
    bytecode: str = "",
) -> tuple[RawManifest, bytes, dict[str, str]]:
    """Manifest, configuration and labels of the image of `layers` on `base`."""
    options = application.project.options
    labels = _labels(application, base, facts) | {OWN_LABEL: str(len(layers))}
    labels |= {BYTECODE_LABEL: bytecode} if bytecode else {}
    inherited = dict(base.config.get("config") or {})
    config = {
        **{key: value for key, value in inherited.items() if key in {"Volumes", "StopSignal"}},
        "User": options.user,
        "ExposedPorts": {f"{options.port}/tcp": {}},
        "Env": _environment(inherited.get("Env") or []),
        "Entrypoint": command,
        "WorkingDir": "/app",
        "Labels": {**(inherited.get("Labels") or {}), **labels},
    }
    created = _time(facts.epoch)
    every = (*base.layers, *layers)
    document = {
        "created": created,
        "architecture": target.architecture,
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in every]},
        "history": [
            *(base.config.get("history") or []),
            *({"created": created, "created_by": "aegis image build", "comment": one.comment} for one in layers),
        ],
    }
    body = as_json(document)
    manifest = as_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest_of(body), "size": len(body)},
            "layers": [{"mediaType": one.media_type, "digest": one.digest, "size": one.size} for one in every],
            "annotations": {key: value for key, value in labels.items() if key.startswith("org.opencontainers.")},
        }
    )
    return RawManifest(digest=digest_of(manifest), media_type=MANIFEST, body=manifest), body, labels


def solve(
    application: Application, tree: Tree, lock: Lock, *, facts: Facts, target: Target, base: Base,
    base_source: ImageSource | None, shop: Workshop, output: ImageOutput,
) -> Image:  # fmt: skip
    """Build the image into `output`."""
    check_lock(application, lock)
    options = application.project.options
    packages = locked_packages(lock)
    server = chosen_server({one.name for one in packages}, has_base=bool(base.digest))
    own, command = application_layers(application, tree, shop, facts=facts, target=target, server=server)
    wheels = (
        shop.wheels.fetch(packages, target, from_source=options.build_from_source, others=lock.others)
        if packages
        else ()
    )
    room = MOST_LAYERS - len(base.layers) - len(own)
    if room < 1:
        raise UserError("layers", f"the base has {len(base.layers)} layers, and an image can have {MOST_LAYERS}")
    dependencies = dependency_layers(wheels, target, shop, room=room) if wheels else ()
    layers = (*(layer for layer, _ in dependencies), *(layer for layer, _ in own))
    build = shop.bytecode.build(target)
    manifest, config, labels = assemble(
        application, base=base, layers=layers, command=command, facts=facts, target=target, bytecode=build
    )  # fmt: skip
    for layer in base.layers:
        if base_source is not None:
            output.put_stream(layer.digest, base_source.blob(layer.digest))
    for document in base.documents:
        output.put(document)
    for layer, _ in dependencies:
        output.put_file(layer.digest, shop.cache.path(layer))
    for _, data in own:
        output.put(data)
    output.put(config)
    tags = image_tags(facts)
    output.finish(manifest, tags)
    every = (*base.layers, *layers)
    return Image(
        manifest=manifest, layers=every, tags=tags, labels=labels, wheels=wheels, own=layers,
        size=len(manifest.body) + len(config) + sum(one.size for one in every),
        cached=tuple(layer.digest for layer, was_cached in dependencies if was_cached),
    )  # fmt: skip


# -- parts ------------------------------------------------------------------------------------------------


def _dist_info(application: Application, facts: Facts) -> dict[str, bytes]:
    """What `importlib.metadata` needs to know the project in the image."""
    project = application.project
    if not project.has_metadata or not facts.version:
        return {}
    version = python_version(facts.version)
    name = re.sub(r"[-_.]+", "_", project.name).lower()
    folder = f"{SRC}/{name}-{version}.dist-info"
    made = {f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: {project.name}\nVersion: {version}\n".encode()}
    groups: dict[str, Mapping[str, str]] = {"console_scripts": project.scripts, **project.entry_points}
    text = ""
    for group in sorted(one for one in groups if groups[one]):
        text += f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in sorted(groups[group].items()))
    return {**made, f"{folder}/entry_points.txt": text.encode()} if text else made


def python_version(version: str) -> str:
    """A semantic version in the form of PEP 440 (`1.3.0-dev.5` is `1.3.0.dev5`); `UserError` where it has none."""
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415 - keeps this module's import light

    text = re.sub(r"-(\d+)-g([0-9a-f]+)$", r".dev\1+g\2", version)
    try:
        return str(Version(text))
    except InvalidVersion as error:
        hint = "use 1.2.3, 1.2.3-rc.1 or 1.2.3-dev.4"
        raise UserError("version", f"{version!r} is not a version that Python packages can have", hint=hint) from error


def _labels(application: Application, base: Base, facts: Facts) -> dict[str, str]:
    wanted = {
        "org.opencontainers.image.title": application.project.name,
        "org.opencontainers.image.version": facts.version,
        "org.opencontainers.image.revision": facts.revision,
        "org.opencontainers.image.source": facts.source,
        "org.opencontainers.image.created": _time(facts.epoch),
        "org.opencontainers.image.base.name": base.name,
        "org.opencontainers.image.base.digest": base.digest,
        BASE_LABEL: base.digest or "none",
    }
    return {key: value for key, value in sorted(wanted.items()) if value}


def _environment(inherited: list[str]) -> list[str]:
    own = {"PYTHONPATH": f"/{LIB}:/{SRC}", "PYTHONUNBUFFERED": "1"}
    given = dict(one.partition("=")[::2] for one in inherited)
    merged = {"PATH": _PATH, **given, **own}
    return [f"{key}={value}" for key, value in merged.items()]


def _time(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def as_json(value: Any) -> bytes:
    """Compact JSON in the order given: what a manifest and a configuration are hashed as."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(data: bytes) -> str:
    """The sha256 digest of bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
