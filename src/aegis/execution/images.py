"""What an image says about the world that a job runs in: its layers, variables, entry point, and whether it can run here.

Pure: bytes to values. Decides which image of an index fits this machine. What is not an image is refused. Command, ports,
health check, `USER` and `WORKDIR` count for services; they mean nothing to a job, which is in its work tree. Volumes mean
nothing at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Final

from aegis.core.errors import ExternalError, UserError
from aegis.core.ids import is_digest
from aegis.core.values import dataclass
from aegis.execution.ports import HealthCheck

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LAYER_LIMIT: Final = 8 * 1024**3
_LAYERS: Final = 512
_POLICIES: Final = ("always", "if-not-present", "never")
_HUB: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_NAMES: Final = {"x86_64": "amd64", "aarch64": "arm64", "riscv64": "riscv64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerBlob:
    """A layer as it is fetched. `size` is that of the blob, not of what it unpacks to."""

    digest: str
    size: int
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageManifest:
    """The configuration's digest, and the layers, lowest first."""

    config: str
    layers: tuple[LayerBlob, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSettings:
    """What of an image's configuration counts for a job, and after its entry point for a service."""

    environment: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""
    directory: str = ""
    ports: tuple[int, ...] = ()
    health: HealthCheck | None = None


def architecture(machine: str) -> str:
    """The name that images have for a machine (`uname -m`)."""
    return _NAMES.get(machine, machine)


def fitting(index: bytes, name: str, machine: str) -> str | None:
    """The digest of the image for this machine where `index` is an index of several; None where it is one image."""
    document = _object(index, name)
    if "manifests" not in document:
        return None
    offered = []
    for one in _list(document, "manifests", name):
        platform = one.get("platform") or {}
        known = (str(platform.get("os", "linux")), str(platform.get("architecture", architecture(machine))))
        if known == ("linux", architecture(machine)) and is_digest(str(one.get("digest"))):
            return str(one["digest"])
        offered.append("/".join(known))
    raise UserError(
        "image-platform", f"{name} is not there for linux/{architecture(machine)}, only for {', '.join(offered)}"
    )


def read_manifest(body: bytes, name: str) -> ImageManifest:
    """The image in a manifest; `ExternalError` for anything else, also for layers beyond all measure."""
    document = _object(body, name)
    config = document.get("config")
    layers = _list(document, "layers", name)
    digest = str(config.get("digest")) if isinstance(config, dict) else ""
    if not _sha256(digest) or len(layers) > _LAYERS:
        raise _broken(name, "it has no configuration, or too many layers")
    found = []
    for one in layers:
        size = one.get("size")
        if not _sha256(str(one.get("digest"))) or not isinstance(size, int) or not 0 <= size <= LAYER_LIMIT:
            raise _broken(name, "a layer has no digest or an impossible size")
        kind = str(one.get("mediaType", ""))
        if not kind.endswith(("tar", "gzip", "zstd")):
            raise _broken(name, f"a layer is {kind or 'of no type'}, not a tar archive")
        found.append(LayerBlob(digest=str(one["digest"]), size=size, media_type=kind))
    return ImageManifest(config=digest, layers=tuple(found))


def read_settings(body: bytes, name: str, machine: str) -> ImageSettings:
    """What the configuration says; `UserError` where the image is for another machine."""
    document = _object(body, name)
    said = f"{document.get('os', 'linux')}/{document.get('architecture', architecture(machine))}"
    if said != f"linux/{architecture(machine)}":
        raise UserError("image-platform", f"{name} is for {said}, this machine is linux/{architecture(machine)}")
    return settings_of(document.get("config") or {})


def settings_of(config: Mapping[str, Any]) -> ImageSettings:
    """What an image's `config` says, as registries keep it and as container engines tell it."""
    pairs = [str(one).partition("=") for one in config.get("Env") or []]
    exposed = (str(one).partition("/") for one in config.get("ExposedPorts") or {})
    return ImageSettings(
        environment={key: value for key, _, value in pairs if key and "\0" not in key + value},
        entrypoint=tuple(str(one) for one in config.get("Entrypoint") or []),
        command=tuple(str(one) for one in config.get("Cmd") or []),
        user=str(config.get("User") or ""),
        directory=str(config.get("WorkingDir") or ""),
        ports=tuple(sorted(int(port) for port, _, kind in exposed if port.isdecimal() and kind in {"", "tcp"})),
        health=_health(config.get("Healthcheck")),
    )


def _health(said: object) -> HealthCheck | None:
    """Docker's `Healthcheck`; times are nanoseconds there, 0 is the engine's default."""
    test = [str(one) for one in said.get("Test") or []] if isinstance(said, dict) else []
    if not isinstance(said, dict) or len(test) < 2 or test[0] not in {"CMD", "CMD-SHELL"}:
        return None
    argv = tuple(test[1:]) if test[0] == "CMD" else ("/bin/sh", "-c", test[1])
    seconds = [
        one / 1e9 if isinstance(one, int) and one > 0 else 30.0 for one in map(said.get, ("Interval", "Timeout"))
    ]
    return HealthCheck(argv=argv, interval=seconds[0], timeout=seconds[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A repository, and a tag or digest in it. `host` is empty for a short name, which says `docker.io`."""

    host: str
    repository: str
    wanted: str


def read_reference(text: str) -> Reference:
    """An image's name, taken apart; `UserError` where it is none."""
    rest, _, digest = text.partition("@")
    host, slash, path = rest.partition("/")
    if not (slash and ("." in host or ":" in host or host == "localhost")):
        host, path = "", rest
    repository, _, tag = path.partition(":")
    if not repository or "//" in path or (digest and not is_digest(digest)):
        raise UserError("image-reference", f"{text[:200]!r} is not an image's name", hint="host/group/name:tag")
    return Reference(host=host, repository=repository, wanted=digest or tag or "latest")


def served(text: str, own: str, mirrors: Mapping[str, str]) -> tuple[str, str]:
    """Which repository of this server's registry `own` serves an image, and what is wanted there.

    `mirrors` maps names of mirrors to the hosts that they reach. `UserError` for what neither it nor a mirror has.
    """
    found = read_reference(text)
    if found.host and found.host == own:
        return found.repository, found.wanted
    short = found.host in {"", *_HUB}
    for name, host in mirrors.items():
        if host == found.host or (short and host in _HUB):
            library = "library/" if short and "/" not in found.repository else ""
            return f"mirror/{name}/{library}{found.repository}", found.wanted
    raise UserError(
        "image-source", f"no declared registry serves {found.host or 'docker.io'}",
        hint="declare it in aegis.yaml: registries: {mirrors: {NAME: {url: https://…}}}, or push the image here",
    )  # fmt: skip


def command(own: Sequence[str], asked: Sequence[str] | None, shell: str, script: Sequence[str]) -> list[str]:
    """The command line of a step: the image's entry point, or the job's (`[""]` takes it away), before shell and script."""
    entrypoint = own if asked is None else asked
    return [*(one for one in entrypoint if one), shell, *script]


def policies(asked: Sequence[str]) -> tuple[str, ...]:
    """The pull policies to try, in order; without a wish `always`, as at GitLab. `UserError` for an unknown one."""
    for one in asked:
        if one not in _POLICIES:
            raise UserError("pull-policy", f"{one!r} is not a pull policy", hint=f"one of {', '.join(_POLICIES)}")
    return tuple(asked) or ("always",)


def _sha256(digest: str) -> bool:
    return is_digest(digest) and digest.startswith("sha256:")


def _object(body: bytes, name: str) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _broken(name, str(error)) from error
    if not isinstance(document, dict):
        raise _broken(name, "its document is not an object")
    config = document.get("config")
    if config is not None and not isinstance(config, dict):
        raise _broken(name, "its configuration is not an object")
    return document


def _list(document: Mapping[str, Any], key: str, name: str) -> list[dict[str, Any]]:
    found = document.get(key)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise _broken(name, f"it has no list of {key}")
    return found


def _broken(name: str, why: str) -> ExternalError:
    return ExternalError(
        "image-broken", f"{name} is not an image that can be read: {why}", hint="build or push it anew"
    )
