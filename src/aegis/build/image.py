"""Solves an image from layers, without a daemon: a base, the locked dependencies, the application.

The same inputs (lock, files, base digest, labels, epoch, target) give the same digest. The layers lie under `/app`:
`lib` holds what the lock names, `src` the application, `start.py` reads HOST and PORT and serves it. What is found
in a project is decided in `build.application`, how bytes are packed in `build.layers`.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, BinaryIO, Final

from aegis.build.application import Application, direct_names
from aegis.build.base import Base
from aegis.build.layers import FORMAT, Entry, installed_entries, write_layer
from aegis.build.locks import Lock
from aegis.build.ports import ImageOutput, ImageSource, Layer, LayerCache, RawManifest, Tree, Wheels
from aegis.build.target import Target
from aegis.core.errors import UserError

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
BASE_LABEL: Final = "io.aegis.base"
LIB: Final = "app/lib"
SRC: Final = "app/src"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_START: Final = '''"""Serves the application on $HOST:$PORT (0.0.0.0:{port} where they are not set)."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "src"), os.path.join(HERE, "lib")]

import uvicorn  # noqa: E402

if __name__ == "__main__":
    uvicorn.run(
        {target!r},
        factory={factory},
        host=os.environ.get("HOST") or "0.0.0.0",
        port=int(os.environ.get("PORT") or "{port}"),
        log_level=os.environ.get("LOG_LEVEL", "info").lower(),
        timeout_graceful_shutdown=20,
    )
'''


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


def dependency_layer(
    lock: Lock, target: Target, *, wheels: Wheels, cache: LayerCache, from_source: tuple[str, ...]
) -> tuple[Layer | None, bool]:
    """The layer of everything the lock names (None: nothing), and whether it came from the cache.

    Its key is what is locked, the target and the layer format: not the commit, so that a change of the source
    leaves it as it is. Its time stamps are zero for the same reason.
    """
    fatal = [one for one in lock.diagnostics if one.fatal]
    if fatal:
        first = fatal[0]
        more = f" (and {len(fatal) - 1} more)" if len(fatal) > 1 else ""
        raise UserError(first.code, f"{first.message}{more}", hint=first.hint, where=first.where)
    if not lock.packages:
        return None, True
    named = f"{FORMAT}\n{target.python}\n{target.triple}\n{','.join(sorted(from_source))}\n{lock.key()}"
    key = hashlib.sha256(named.encode()).hexdigest()
    found = cache.find(key)
    if found is not None:
        return found, True
    with wheels.installed(lock.requirements(), target, from_source=from_source) as tree:
        entries = installed_entries(tree, LIB)
        comment = f"{len(lock.packages)} locked packages"

        def write(out: BinaryIO) -> Layer:
            return write_layer(entries, out, epoch=0, comment=comment)

        return cache.keep(key, write), False


def application_layer(
    application: Application, tree: Tree, *, facts: Facts, port: int, has_server: bool
) -> tuple[Layer, bytes, list[str]]:
    """The layer of the project's own files, its bytes, and the command that starts it."""
    entries = [
        Entry(path=f"{SRC}/{path}", read=partial(tree.read, file.path), executable=file.executable)
        for path, file in application.code.items()
    ]
    entries += [
        Entry(path=f"app/{file.path}", read=partial(tree.read, file.path), executable=file.executable)
        for file in application.data
    ]
    entries += [Entry(path=path, read=partial(bytes, data)) for path, data in _dist_info(application, facts).items()]
    command = list(application.project.options.command)
    if not command:
        entries.append(Entry(path="app/start.py", read=partial(bytes, _start(application, port, has_server))))
        command = ["python", "/app/start.py"]
    held = io.BytesIO()
    layer = write_layer(entries, held, epoch=facts.epoch, comment=f"{application.project.name} {facts.version}".strip())
    return layer, held.getvalue(), command


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
    application: Application, *, base: Base, layers: tuple[Layer, ...], command: list[str], facts: Facts, target: Target
) -> tuple[RawManifest, bytes, dict[str, str]]:
    """Manifest, configuration and labels of the image of `layers` on `base`."""
    options = application.project.options
    labels = _labels(application, base, facts)
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
    body = _canonical(document)
    manifest = _canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": _digest(body), "size": len(body)},
            "layers": [{"mediaType": one.media_type, "digest": one.digest, "size": one.size} for one in every],
            "annotations": {key: value for key, value in labels.items() if key.startswith("org.opencontainers.")},
        }
    )
    return RawManifest(digest=_digest(manifest), media_type=MANIFEST, body=manifest), body, labels


def solve(
    application: Application, tree: Tree, lock: Lock, *, facts: Facts, target: Target, base: Base,
    base_source: ImageSource | None, wheels: Wheels, cache: LayerCache, output: ImageOutput,
) -> Image:  # fmt: skip
    """Build the image into `output`."""
    check_lock(application, lock)
    options = application.project.options
    dependencies, was_cached = dependency_layer(
        lock, target, wheels=wheels, cache=cache, from_source=options.build_from_source
    )
    has_server = any(one.name == "uvicorn" for one in lock.packages) or bool(base.digest)
    own, data, command = application_layer(
        application, tree, facts=facts, port=options.port, has_server=has_server
    )  # fmt: skip
    layers = (*((dependencies,) if dependencies else ()), own)
    manifest, config, labels = assemble(
        application, base=base, layers=layers, command=command, facts=facts, target=target
    )  # fmt: skip
    for layer in base.layers:
        if base_source is not None:
            output.put_stream(layer.digest, base_source.blob(layer.digest))
    if dependencies is not None:
        output.put_file(dependencies.digest, cache.path(dependencies))
    output.put(data)
    output.put(config)
    tags = image_tags(facts)
    output.finish(manifest, tags)
    every = (*base.layers, *layers)
    return Image(
        manifest=manifest, layers=every, tags=tags, labels=labels,
        size=len(manifest.body) + len(config) + sum(one.size for one in every),
        cached=(dependencies.digest,) if dependencies is not None and was_cached else (),
    )  # fmt: skip


# -- parts ------------------------------------------------------------------------------------------------


def _start(application: Application, port: int, has_server: bool) -> bytes:
    serves = application.serves
    if serves is None:
        raise UserError(
            "no-app", "no FastAPI or Starlette application was found in the source",
            hint='say what serves: [tool.aegis] app = "orders.app:app", or command = ["python", "-m", "orders"]',
        )  # fmt: skip
    if not has_server:
        raise UserError(
            "no-server", f"{serves.target} needs a server, and uvicorn is not in the lock",
            hint="add uvicorn to the dependencies and lock again, or set [tool.aegis] command",
        )  # fmt: skip
    return _START.format(target=serves.target, factory=serves.factory, port=port).encode()


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


def _canonical(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
