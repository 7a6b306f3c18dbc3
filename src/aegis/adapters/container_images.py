"""`ImageRoots` in a container engine: what it pulls itself, and what is brought to it from a layout or this server's registry.

`find` says where an image comes from, and is asked every time: a place in reach of this process, None for the engine's own
pull, or a refusal. Pull policies are the operator's and the job's. Nothing is unpacked here; the engine does that.
"""

from __future__ import annotations

import asyncio
import base64
import json
import platform
import shutil
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from aegis.adapters.container_engine import Engine
from aegis.adapters.image_roots import Located, fetch
from aegis.adapters.image_unpack import inflated
from aegis.adapters.registry_http import is_loopback
from aegis.build.ports import ImageSource
from aegis.core.errors import AegisError, ExternalError, NotFound, UserError
from aegis.core.ids import sha256
from aegis.core.plan import Image
from aegis.execution import images
from aegis.execution.containers import ContainerPolicy
from aegis.execution.ports import ImageRoot

_DOCUMENT: Final = 16 << 20
_CHUNK: Final = 1 << 20
_SHELL: Final = "/bin/sh"
Login = Mapping[str, str]


class EngineImages:
    """The images of `engine`. `find` maps a name and the job's project to a place; `login` is asked for a registry's host.

    `ready` is called before the first question: the engine may have to be started. Safe from any thread that has no event loop of its own.
    """

    def __init__(
        self, engine: Engine, find: Callable[[str, str], Located | None], *, policy: ContainerPolicy,
        login: Callable[[str], Login | None] = lambda _: None, ready: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._find = find
        self._policy = policy
        self._login = login
        self._ready = ready

    def get(self, image: Image, project: str, *, service: bool = False) -> ImageRoot:  # noqa: ARG002 - a shell is tried
        """See `ImageRoots`. Whether there is a shell shows when the job's container starts."""
        located = self._find(image.name, project)
        self._ready()
        return asyncio.run(self._got(image, located))

    async def _got(self, image: Image, located: Located | None) -> ImageRoot:
        trouble: AegisError | None = None
        name = self._kept_as(located) if located is not None else full_name(image.name)
        for policy in self._policy.pulls(image.pull_policy):
            try:
                found = await self._inspect(name) if policy != "always" else None
                if found is None and policy == "never":
                    hint = "let it be pulled once: pull_policy [if-not-present]"
                    raise UserError(
                        "image-not-kept", f"{image.name} is not kept here, and its pull policy is never", hint=hint
                    )
                if found is None and located is not None:
                    await self._bring(located, image, name)
                elif found is None:
                    await self._pull(image, name)
                return self._root(image, found or await self._inspect(name))
            except AegisError as error:
                trouble = error
        raise trouble or UserError("pull-policy", "no pull policy was given")

    def _root(self, image: Image, found: Mapping[str, Any] | None) -> ImageRoot:
        if found is None:
            raise ExternalError(
                "image-lost", f"{self._engine.name} does not have {image.name} after its pull", retryable=True
            )
        settings = images.settings_of(found.get("Config") or {})
        digest = str(found["Id"])
        return ImageRoot(
            name=image.name, digest=digest if digest.startswith("sha256:") else f"sha256:{digest}", path=Path(),
            shell_path=_SHELL, environment=settings.environment, entrypoint=settings.entrypoint, command=settings.command,
            user=settings.user, directory=settings.directory, ports=settings.ports, health=settings.health,
        )  # fmt: skip

    async def _inspect(self, name: str) -> dict[str, Any] | None:
        answer = await self._engine.ask("GET", f"/images/{name}/json")
        if answer.status == 404:
            return None
        if answer.status != 200 or not isinstance(answer.value, dict):
            raise ExternalError("engine", f"{self._engine.name}: {answer.message}")
        return answer.value

    # -- the engine's own pull ------------------------------------------------------------------------------------

    async def _pull(self, image: Image, name: str) -> None:
        reference = images.read_reference(name)
        query: dict[str, Any] = {
            "fromImage": f"{reference.host}/{reference.repository}", "tag": reference.wanted,
            **({"platform": image.platform} if image.platform else {}),
            # As everywhere in Aegis, a registry on this machine's loopback is spoken to without TLS.
            **({"tlsVerify": "false"} if is_loopback(reference.host) else {}),
        }  # fmt: skip
        login = self._login(reference.host)
        headers = (
            {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(dict(login)).encode()).decode()} if login else {}
        )
        answer = await self._engine.ask("POST", "/images/create", query, None, headers)
        if trouble := _trouble(answer.status, answer.body):
            missing = "not found" in trouble or "manifest unknown" in trouble
            kind = NotFound if missing else ExternalError
            hint = (
                "look at its name and tag"
                if missing
                else f"{self._engine.name} pulls it: is its registry in reach, and logged in to?"
            )
            raise kind("image-pull", f"{image.name} could not be pulled: {trouble[:500]}", hint=hint)

    # -- brought to the engine ------------------------------------------------------------------------------------

    def _kept_as(self, located: Located) -> str:
        return f"aegis.invalid/kept:{sha256(located.key.encode()).partition(':')[2]}"

    async def _bring(self, located: Located, image: Image, name: str) -> None:
        with located.open() as source:
            raw = source.manifest(located.reference)
            one = images.fitting(raw.body, image.name, platform.machine())
            if one is not None:
                raw = source.manifest(one)
            manifest = images.read_manifest(raw.body, image.name)
            if await self._inspect(manifest.config) is not None:
                repository, _, tag = name.rpartition(":")
                await self._engine.need("POST", f"/images/{manifest.config}/tag", {"repo": repository, "tag": tag})
                return
            with tempfile.TemporaryDirectory(prefix="aegis-image-") as folder:
                files = _fetched(source, manifest, Path(folder))
                answer = await self._engine.ask("POST", "/images/load", {"quiet": 1}, _archive(files, manifest, name))
        if trouble := _trouble(answer.status, answer.body):
            raise ExternalError("image-load", f"{self._engine.name} does not take {image.name}: {trouble[:500]}")


def full_name(name: str) -> str:
    """An image's name with its registry: a short one is Docker Hub's, for every engine."""
    found = images.read_reference(name)
    host = found.host or "docker.io"
    library = "library/" if host == "docker.io" and "/" not in found.repository else ""
    mark = "@" if ":" in found.wanted else ":"
    return f"{host}/{library}{found.repository}{mark}{found.wanted}"


def _trouble(status: int, body: bytes) -> str:
    """What went wrong in a stream of JSON lines; empty where nothing did."""
    last = ""
    for line in body.splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict) and (
            error := told.get("error") or (status >= 300 and (told.get("message") or told.get("cause")))
        ):
            last = str(error)
    return last or (body.decode("utf-8", "replace").strip() or f"status {status}" if status >= 300 else "")


def _fetched(source: ImageSource, manifest: images.ImageManifest, folder: Path) -> list[Path]:
    """Configuration and layers as files, verified; layers as plain archives, which every engine reads."""
    files = []
    for number, (digest, kind) in enumerate(
        [(manifest.config, ""), *((one.digest, one.media_type) for one in manifest.layers)]
    ):
        path = folder / str(number)
        with path.open("w+b") as file:
            fetch(source, digest, images.LAYER_LIMIT if number else _DOCUMENT, cast("BinaryIO", file))
            if kind.endswith("zstd"):
                with path.with_suffix(".tar").open("wb") as plain, inflated(cast("BinaryIO", file), kind) as data:
                    shutil.copyfileobj(data, plain, _CHUNK)
                path = path.with_suffix(".tar")
        files.append(path)
    return files


async def _archive(files: list[Path], manifest: images.ImageManifest, name: str) -> AsyncIterator[bytes]:
    """What `docker save` writes: configuration, layers, and the list of both."""
    names = [f"{manifest.config.partition(':')[2]}.json", *(f"{number}.tar" for number in range(1, len(files)))]
    for path, inner in zip(files, names, strict=True):
        size = path.stat().st_size
        yield _header(inner, size)
        with path.open("rb") as file:
            while piece := file.read(_CHUNK):
                yield piece
        yield b"\0" * (-size % tarfile.BLOCKSIZE)
    about = json.dumps([{"Config": names[0], "RepoTags": [name], "Layers": names[1:]}]).encode()
    yield _header("manifest.json", len(about))
    yield about + b"\0" * (-len(about) % tarfile.BLOCKSIZE) + b"\0" * (2 * tarfile.BLOCKSIZE)


def _header(name: str, size: int) -> bytes:
    about = tarfile.TarInfo(name)
    about.size = size
    return about.tobuf(tarfile.GNU_FORMAT)
