"""Which package registries this machine's own tools use, as they are set up here.

It reads the settings of pip, uv, npm, cargo, Maven and apt, and asks the tools that are installed for what they use without
settings. No registry is known to Aegis by itself: what nothing here uses has to be declared. Credentials in addresses are
not kept; a setting that cannot be read is left out, since leaving out opens nothing.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_VARIABLES: Final = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL",
    "NPM_CONFIG_REGISTRY", "npm_config_registry", "YARN_NPM_REGISTRY_SERVER", "GOPROXY",
)  # fmt: skip
_ADDRESS: Final = re.compile(r"(?:sparse\+)?(https?://[^\s,|;\"'<>\]]+)")
_PYTHON_INDEX: Final = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
_PATIENCE: Final = 5.0
_ASK_PIP: Final = """
import glob, os, sys
try:
    import ensurepip
    sys.path += glob.glob(os.path.join(os.path.dirname(ensurepip.__file__), "_bundled", "pip-*.whl"))
except ImportError:
    pass
from pip._internal.models.index import PyPI
print(PyPI.simple_url, "https://" + PyPI.file_storage_domain)
"""
"""What pip uses without settings is a constant of its own; where none is installed, Python brings one along."""


def addresses(environ: Mapping[str, str], *, root: Path = Path("/")) -> tuple[str, ...]:
    """The addresses of registries, without repetition. Asks programs: up to seconds at the first time."""
    home = Path(environ["HOME"]) if environ.get("HOME") else None
    found = dict.fromkeys(address for name in _VARIABLES for address in _in(environ.get(name, "")))
    pip = tuple(_pip(environ, root, home))
    uv = tuple(_uv(root, home))
    found |= dict.fromkeys((*pip, *uv, *_written(root, home)))
    if not any(environ.get(name) for name in _PYTHON_INDEX) and not pip and not uv:
        found |= dict.fromkeys(_in(_asked([sys.executable, "-I", "-c", _ASK_PIP], environ)))
    for program, arguments in (("npm", ("config", "get", "registry")), ("go", ("env", "GOPROXY"))):
        path = shutil.which(program, path=environ.get("PATH"))
        if path is not None:
            found |= dict.fromkeys(_in(_asked([path, *arguments], environ)))
    return tuple(found)


def _in(text: str) -> Iterator[str]:
    yield from _ADDRESS.findall(text)


def _asked(argv: Sequence[str], environ: Mapping[str, str]) -> str:
    """What a program answers; nothing where it fails."""
    try:
        done = subprocess.run(
            argv, env=dict(environ), cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=_PATIENCE, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _homes(root: Path, home: Path | None, system: str, *own: str) -> Iterator[Path]:
    yield root / system
    if home is not None:
        yield from (home / one for one in own)


def _pip(environ: Mapping[str, str], root: Path, home: Path | None) -> Iterator[str]:
    import configparser  # noqa: PLC0415 - only who looks for registries needs it

    files = [*_homes(root, home, "etc/pip.conf", ".pip/pip.conf", ".config/pip/pip.conf")]
    if environ.get("PIP_CONFIG_FILE"):
        files.append(Path(environ["PIP_CONFIG_FILE"]))
    for path in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(_text(path))
        except configparser.Error:
            continue
        for section in parser.sections():
            for name in ("index-url", "extra-index-url"):
                yield from _in(parser.get(section, name, fallback=""))


def _uv(root: Path, home: Path | None) -> Iterator[str]:
    for path in _homes(root, home, "etc/uv/uv.toml", ".config/uv/uv.toml"):
        document = _toml(path)
        indexes = document.get("index")
        named: Iterable[Any] = (
            (one.get("url") for one in indexes if isinstance(one, dict)) if isinstance(indexes, list) else ()
        )
        extra = document.get("extra-index-url")
        for value in (*named, document.get("index-url"), *(extra if isinstance(extra, list) else (extra,))):
            yield from _in(str(value or ""))


def _toml(path: Path) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - as above

    try:
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError:
        return {}


def _written(root: Path, home: Path | None) -> Iterator[str]:
    """The addresses in the settings of npm, cargo, Maven and apt: each of them stands there to be used."""
    for path in _homes(root, home, "etc/npmrc", ".npmrc"):
        yield from _in("\n".join(line for line in _text(path).splitlines() if "registry" in line.partition("=")[0]))
    for path in _homes(root, home, "etc/maven/settings.xml", ".m2/settings.xml"):
        yield from _in(" ".join(re.findall(r"<url>(.*?)</url>", _text(path), re.DOTALL)))
    if home is not None:
        sources = _toml(home / ".cargo" / "config.toml").get("source")
        for one in sources.values() if isinstance(sources, dict) else ():
            yield from _in(str(one.get("registry", "")) if isinstance(one, dict) else "")
    folder = root / "etc/apt"
    for path in (folder / "sources.list", *sorted(folder.glob("sources.list.d/*.list"))):
        yield from _in("\n".join(line for line in _text(path).splitlines() if line.startswith("deb")))
    for path in sorted(folder.glob("sources.list.d/*.sources")):
        yield from _in("\n".join(line for line in _text(path).splitlines() if line.startswith("URIs:")))
