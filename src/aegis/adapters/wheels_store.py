"""`Wheels` in a directory: found by uv, fetched over HTTP, verified against the lock, kept by digest.

uv says where the files of a locked package are (it knows how indexes are configured, and resolves nothing: every
version is given); which of them is taken is decided in `build.choose` by the lock's digests and the target. Each file
is hashed while it arrives and stored only when it is the one. Packages that are named may be built from their sdist,
whose code is shut in (`backend_uv`); what it leaves is kept under the sdist's digest, with what it was built with.
"""

from __future__ import annotations

import contextlib
import hashlib
import netrc
import os
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from aegis.adapters.backend_uv import UvBackends
from aegis.build.choose import Candidate, Chosen, choose
from aegis.build.locks import Locked
from aegis.build.ports import Sources, Wheel
from aegis.build.target import Target
from aegis.core import codec
from aegis.core.errors import ExternalError, UserError
from aegis.core.ids import is_digest
from aegis.core.ports import Tool, ToolLimits

if TYPE_CHECKING:
    import httpx

_SECONDS: Final = 600.0
_AT_ONCE: Final = 8
_MOST_BYTES: Final = 4 << 30
_CHUNK: Final = 1 << 20
_OK: Final = 200
_SERVER_ERROR: Final = 500
_MADE_WITH: Final = "made-with.json"
_INDEXES: Final = ("AEGIS_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")


class StoredWheels:
    """Wheels under `path`. `environment` is what uv may see, `extra_index` an index that is asked first.

    `python` is the interpreter that builds sdists; `tool` finds uv; paths in the lock begin in the folder `project`.
    """

    def __init__(
        self, path: Path, *, tool: Tool, python: str, environment: Mapping[str, str], extra_index: str = "",
        project: Path = Path(),
    ) -> None:  # fmt: skip
        self._root = path
        self._tool = tool
        self._python = python
        self._environment = dict(environment)
        self._extra_index = extra_index
        self._project = project
        if extra_index:
            self._environment["UV_INDEX"] = f"{extra_index} {environment.get('UV_INDEX', '')}".strip()
        self._backends = UvBackends(tool, environment=self._environment)

    def fetch(
        self,
        packages: tuple[Locked, ...],
        target: Target,
        *,
        from_source: tuple[str, ...],
        others: tuple[Locked, ...] = (),
    ) -> tuple[Wheel, ...]:
        """One wheel per package, in the given order."""
        locked = (*packages, *others)
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            chosen = self._chosen(packages, target, from_source)
            missing = [one for one in chosen if not self._path(one.digest, one.filename).is_file()]
            if missing:
                with self._client() as client, ThreadPoolExecutor(_AT_ONCE) as pool:
                    list(pool.map(lambda one: self._download(client, one), missing))
            return tuple(self._built(one, target, locked) if one.source else self._ready(one) for one in chosen)
        except OSError as error:
            hint = "look at the disk, or set AEGIS_CACHE_DIR to another directory"
            raise ExternalError("wheel-store", f"the wheel store failed: {error}", hint=hint) from error

    # -- which ----------------------------------------------------------------------------------------------

    def _chosen(self, packages: tuple[Locked, ...], target: Target, from_source: tuple[str, ...]) -> tuple[Chosen, ...]:
        """What `build.choose` chose, remembered by everything that went into it."""
        asked = "".join(f"{one.name}=={one.version} {' '.join((*one.hashes, one.address))}\n" for one in packages)
        indexes = "\n".join(_without_secrets(url) for url in self._index_urls())
        name = f"1\n{asked}\n{target.python} {target.triple}\n{','.join(sorted(from_source))}\n{indexes}"
        note = self._root / "chosen" / f"{hashlib.sha256(name.encode()).hexdigest()}.json"
        with contextlib.suppress(FileNotFoundError, UserError):
            return codec.decode(note.read_bytes(), tuple[Chosen, ...])
        indexed = tuple(one for one in packages if not one.address)
        offered = [_direct(one) for one in packages if one.address]
        offered += self._offered(indexed, target, from_source) if indexed else []
        chosen = choose(packages, offered, target, from_source=from_source)
        _write(note, codec.encode(chosen))
        return chosen

    def _offered(self, packages: tuple[Locked, ...], target: Target, from_source: tuple[str, ...]) -> list[Candidate]:
        argv = [
            "uv", "pip", "compile", "--quiet", "--no-deps", "--format", "pylock.toml", "--no-header", "--no-annotate",
            "--python", self._python, "--python-version", target.python, "--python-platform", target.triple,
            "--only-binary", ":all:", "--output-file", "pylock.toml", "requirements.in",
        ]  # fmt: skip
        for name in from_source:
            argv += ["--no-binary", name]
        done = self._tool.run(
            argv, inputs={"requirements.in": "".join(f"{one.name}=={one.version}\n" for one in packages).encode()},
            outputs=("pylock.toml",), environment=self._environment, limits=ToolLimits(seconds=_SECONDS, network=True),
        )  # fmt: skip
        if done.exit_code != 0 or "pylock.toml" not in done.outputs:
            said = done.stderr.decode("utf-8", "replace").strip().replace(self._extra_index or "\0", "<the index>")
            lost = any(
                sign in said for sign in ("error sending request", "Failed to fetch", "tcp connect", "dns error")
            )
            raise ExternalError(
                "wheels-unreachable" if lost else "wheels",
                f"the locked packages could not be found: {said[-1500:]}", retryable=lost,
                hint="is the package index up, and its address right? AEGIS_INDEX_URL or uv's settings name it" if lost
                else "write the lock again; a package without a wheel needs [tool.aegis] build-from-source",
            )  # fmt: skip
        return list(_candidates(done.outputs["pylock.toml"]))

    # -- files ----------------------------------------------------------------------------------------------

    def _path(self, digest: str, filename: str) -> Path:
        if not is_digest(digest) or "/" in filename or filename in {"", ".", ".."}:
            raise ExternalError("wheels", f"{filename!r} with {digest!r} is no file that an index may offer")
        return self._root / digest.partition(":")[2] / filename

    def _ready(self, one: Chosen) -> Wheel:
        path = self._path(one.digest, one.filename)
        return Wheel(
            name=one.name, version=one.version, filename=one.filename, digest=one.digest, size=path.stat().st_size,
            path=path, locked=one.digest,
        )  # fmt: skip

    def _download(self, client: httpx.Client, one: Chosen) -> None:
        import httpx  # noqa: PLC0415 - only fetching needs an HTTP client

        target = self._path(one.digest, one.filename)
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".arriving-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                if not urlsplit(one.url).scheme or one.url.startswith("file:"):
                    self._copy(one, file)
                elif one.direct:
                    self._reach(one, file)
                else:
                    self._stream(client, one, file)
            _verify(Path(name), one)
            Path(name).replace(target)
        except httpx.HTTPError as error:
            raise ExternalError(
                "wheels-unreachable", f"{one.filename} could not be fetched from {_host(one.url)}: {error}",
                hint="is the package index up, and its address right?", retryable=True,
            ) from error  # fmt: skip
        finally:
            Path(name).unlink(missing_ok=True)

    def _stream(self, client: httpx.Client, one: Chosen, file: BinaryIO) -> None:
        most = one.size or _MOST_BYTES
        with client.stream("GET", one.url, auth=self._credentials(one.url)) as answer:
            if not answer.is_success:
                raise ExternalError(
                    "wheels-unreachable", f"{_host(one.url)} answered {answer.status_code} to {one.filename}",
                    hint="is it still there, and may you read it?", retryable=answer.status_code >= _SERVER_ERROR,
                )  # fmt: skip
            arrived = 0
            for chunk in answer.iter_bytes(_CHUNK):
                arrived += len(chunk)
                if arrived > most:
                    raise ExternalError("wheels", f"{one.filename} is larger than the {most} bytes that were announced")
                file.write(chunk)

    def _reach(self, one: Chosen, file: BinaryIO) -> None:
        """From an address that the lock has: a public host, or one that a declared index is on, too."""
        from aegis.adapters.egress_http import EgressRules, HttpEgress  # noqa: PLC0415 - few locks name addresses

        private = frozenset(_place(url) for url in self._index_urls())
        proxy = self._environment.get("HTTPS_PROXY") or self._environment.get("https_proxy")
        egress = HttpEgress(EgressRules(allowed=("*",), private=private, proxy=proxy))
        with egress.stream("GET", one.url, limit=_MOST_BYTES, timeout=_SECONDS) as answer:
            if answer.status != _OK:
                raise ExternalError(
                    "wheels-unreachable", f"{_host(one.url)} answered {answer.status} to {one.filename}",
                    hint="the lock names this address: is the file still there?", retryable=answer.status >= _SERVER_ERROR,
                )  # fmt: skip
            file.writelines(answer.pieces)

    def _copy(self, one: Chosen, file: BinaryIO) -> None:
        path = self._project / unquote(urlsplit(one.url).path)
        try:
            with path.open("rb") as held:
                while chunk := held.read(_CHUNK):
                    file.write(chunk)
        except (FileNotFoundError, IsADirectoryError) as error:
            raise ExternalError(
                "wheels", f"{one.filename} is not at {one.url}, where the lock says that it is",
                hint="put it there, or write the lock again",
            ) from error  # fmt: skip

    def _client(self) -> httpx.Client:
        import httpx  # noqa: PLC0415 - as above

        return httpx.Client(timeout=60.0, follow_redirects=True)

    def _credentials(self, url: str) -> tuple[str, str] | None:
        """Those of the index on the same host, for that host only; else what netrc says."""
        host = urlsplit(url).netloc.rpartition("@")[2]
        for index in self._index_urls():
            parts = urlsplit(index)
            if parts.password and parts.netloc.rpartition("@")[2] == host:
                return unquote(parts.username or ""), unquote(parts.password)
        with contextlib.suppress(OSError, netrc.NetrcParseError):
            found = netrc.netrc(self._environment.get("NETRC")).authenticators(urlsplit(url).hostname or "")
            if found is not None:
                return found[0], found[2] or ""
        return None

    def _index_urls(self) -> list[str]:
        seen = {**self._environment, "AEGIS_INDEX_URL": self._extra_index}
        return [url.partition("=")[2] or url if "://" in url.partition("=")[2] else url
                for name in _INDEXES for url in seen.get(name, "").split()]  # fmt: skip

    # -- sdists ---------------------------------------------------------------------------------------------

    def _built(self, one: Chosen, target: Target, locked: tuple[Locked, ...]) -> Wheel:
        folder = self._root / "built" / f"{one.digest.partition(':')[2]}-{target.python}-{target.architecture}"
        found = sorted(folder.glob("*.whl"))
        if not found or not _as_locked(folder / _MADE_WITH, locked):
            for old in found:
                old.unlink(missing_ok=True)
            self._build(one, target, folder, locked)
            found = sorted(folder.glob("*.whl"))
        data = found[0].read_bytes()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        return Wheel(
            name=one.name, version=one.version, filename=found[0].name, digest=digest, size=len(data), path=found[0],
            locked=one.digest,
        )  # fmt: skip

    def _build(self, one: Chosen, target: Target, folder: Path, locked: tuple[Locked, ...]) -> None:
        """Build a wheel. Its code sees no index, no credentials and nothing of this machine but programs."""
        built = self._backends.build(
            Sources(
                files={one.filename: self._path(one.digest, one.filename).read_bytes()}, archive=one.filename, kinds=("wheel",),
                python=target.python, locked=locked, environment={"SOURCE_DATE_EPOCH": "315532800"},
            )
        )  # fmt: skip
        if len(built.files) != 1:
            raise ExternalError("sdist-build", f"{one.filename} could not be built: {built.said[-1500:]}")
        ((name, data),) = built.files.items()
        filename = name.rpartition("/")[2]
        foreign = target.triple != _here(target) and not filename.endswith("-none-any.whl")
        if foreign:
            raise ExternalError(
                "sdist-platform", f"{one.filename} builds for this machine only, not for linux/{target.architecture}",
                hint="lock a version that has a wheel for that platform",
            )  # fmt: skip
        _write(folder / _MADE_WITH, codec.encode(dict(built.made_with)))
        _write(folder / filename, data)


def _as_locked(note: Path, locked: tuple[Locked, ...]) -> bool:
    """Whether what a wheel was made with is what the lock has now, as far as it has it."""
    try:
        made_with = codec.decode(note.read_bytes(), dict[str, str])
    except (FileNotFoundError, UserError):
        return False
    wanted = {one.name: one.version for one in locked}
    return all(wanted.get(name, version) == version for name, version in made_with.items())


def _here(target: Target) -> str:
    return target.triple if os.uname().machine == target.machine else ""


def _candidates(pylock: bytes) -> Iterator[Candidate]:
    for package in tomllib.loads(pylock.decode()).get("packages", ()):
        files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
        for one in files:
            url = one.get("url") or one.get("path", "")
            filename = one.get("name") or unquote(urlsplit(url).path.rpartition("/")[2])
            digest = one.get("hashes", {}).get("sha256", "")
            if url and digest:
                yield Candidate(
                    project=package["name"], filename=filename, url=url, digest=f"sha256:{digest}",
                    size=one.get("size", 0),
                )  # fmt: skip


def _direct(one: Locked) -> Candidate:
    filename = unquote(urlsplit(one.address).path.rpartition("/")[2])
    return Candidate(project=one.name, filename=filename, url=one.address, digest=one.hashes[0], direct=True)


def _verify(path: Path, one: Chosen) -> None:
    with path.open("rb") as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    if digest != one.digest:
        raise ExternalError(
            "wheels", f"{one.filename} is not what the lock says: it has {digest}, locked is {one.digest}",
            hint="do not use it: somebody serves another file under this name",
        )  # fmt: skip


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.parent / f".{path.name}.{os.getpid()}"
    aside.write_bytes(data)
    aside.replace(path)


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _place(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]
