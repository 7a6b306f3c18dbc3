"""Puts together what `aegis scan` needs: locks, advisories, files and commits, and the reports that are written.

The environment is read here: `AEGIS_ADVISORIES`, and inside a job what the server sets (`AEGIS_URL`, `CI_JOB_TOKEN`,
`CI_DEFAULT_BRANCH`, `CI_MERGE_REQUEST_DIFF_BASE_SHA`).
"""

from __future__ import annotations

import os
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from aegis import __version__
from aegis.adapters.advisories_directory import BundledAdvisories, DirectoryAdvisories
from aegis.adapters.sources_git import GitSources, open_sources
from aegis.core.errors import ExternalError, NotFound, UserError, Where
from aegis.supplychain import leaks as searching
from aegis.supplychain import reports
from aegis.supplychain.advisories import AdvisoryStore
from aegis.supplychain.leaks import Leak
from aegis.supplychain.packages import Package
from aegis.supplychain.ports import AdvisorySource
from aegis.supplychain.scan import DependencyScan, scan_dependencies

if TYPE_CHECKING:
    from aegis.supplychain.published import Policy, Published

ADVISORIES: Final = "AEGIS_ADVISORIES"
_BUNDLE_LIMIT: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """A dependency scan as the command shows it. `read_from` says where the packages were read."""

    scan: DependencyScan
    report: bytes
    read_from: tuple[str, ...]
    source: str
    age_days: int | None
    published: tuple[Published, ...] = ()
    """The files whose provenance was looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenanceRules:
    """Whether published provenance is looked at, where, and whose authorities (a PEM file) it must come from."""

    policy: Policy = "off"
    index: str = ""
    authorities: Path | None = None
    log_key: Path | None = None
    """The public key (PEM) of the transparency log that must vouch for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """A secret scan as the command shows it. `since` is the commit after which commits were searched, None: none were."""

    found: tuple[Leak, ...]
    allowed: tuple[Leak, ...]
    report: bytes
    files: int
    commits: int
    searched: str
    notes: tuple[str, ...]


def dependencies(
    path: Path, advisories: str | None, lock: str | None = None, rules: ProvenanceRules | None = None
) -> Dependencies:
    """Scan the project at `path`. An empty or unreachable store and an unreadable lock are errors, never a clean result."""
    started = datetime.now(UTC)
    named = advisories or os.environ.get(ADVISORIES, "")
    if not named:
        raise UserError(
            "advisories-unnamed",
            "no advisories are named, so nothing can be looked up",
            hint=f"--advisories PATH-OR-URL, or set {ADVISORIES}",
        )
    packages, read_from = _packages(path, lock)
    store = AdvisoryStore(_advisories(named).files())
    if not len(store):
        raise ExternalError(
            "advisories-empty", f"{named} holds no advisory", hint="name a directory or archive in OSV form"
        )
    scan = scan_dependencies(packages, store)
    published = _published(packages, rules) if rules is not None and rules.policy != "off" else ()
    if rules is not None and published:
        from aegis.supplychain.published import findings  # noqa: PLC0415 - loads a library that few scans need

        scan = replace(scan, vulnerabilities=(*findings(published, rules.policy), *scan.vulnerabilities))
    ended = datetime.now(UTC)
    return Dependencies(
        scan=scan,
        report=reports.dependency_report(scan, started=started, ended=ended, version=__version__),
        read_from=read_from,
        source=named,
        age_days=scan.age_days(ended),
        published=published,
    )


def _published(packages: Iterable[Package], rules: ProvenanceRules) -> tuple[Published, ...]:
    """Each locked file whose provenance the index publishes, looked at."""
    from aegis.adapters.provenance_http import IndexProvenance  # noqa: PLC0415 - only this needs the index
    from aegis.supplychain.keyless import public_key  # noqa: PLC0415 - as above
    from aegis.supplychain.packages import canonical  # noqa: PLC0415 - as above
    from aegis.supplychain.published import authorities, check  # noqa: PLC0415 - as above

    try:
        trusted = authorities(_read(rules.authorities)) if rules.authorities is not None else ()
    except ValueError as error:
        raise UserError("authorities", f"{rules.authorities} holds no certificate: {error}") from error
    try:
        log = public_key(_read(rules.log_key).decode()) if rules.log_key is not None else None
    except ValueError as error:
        raise UserError("log-key", f"{rules.log_key} holds no public key: {error}") from error
    named = rules.index or os.environ.get("AEGIS_INDEX_URL") or os.environ.get("UV_DEFAULT_INDEX", "")
    if not named:
        raise UserError(
            "index-unnamed", "it is not said which index publishes provenance",
            hint="--index URL (its simple address), AEGIS_INDEX_URL or UV_DEFAULT_INDEX",
        )  # fmt: skip
    index = IndexProvenance(named)
    try:
        return tuple(
            check(one, filename, digest, provenance, trusted, log)
            for one in packages if one.hashes
            for filename, digest, provenance in index.of(canonical(one.name), frozenset(one.hashes))
        )  # fmt: skip
    finally:
        index.close()


def secrets(path: Path, since: str | None, *, staged: bool = False) -> Secrets:
    """Search the files at `path` and the commits of the change; with `staged` what the next commit brings, and nothing else."""
    started = datetime.now(UTC)
    sources = open_sources(path)
    if staged and not isinstance(sources, GitSources):
        raise UserError(
            "no-repository", f"{path} is in no Git repository, so nothing is staged", hint="leave out --staged"
        )
    notes: list[str] = []
    in_tree: list[Leak] = []
    count = 0
    index = os.environ.get("GIT_INDEX_FILE", "")
    given = sources.staged(index) if staged and isinstance(sources, GitSources) else sources.files()
    for name, data in given:
        count += 1
        if len(data) > searching.MAXIMUM_SIZE:
            notes.append(f"{name} is larger than {searching.MAXIMUM_SIZE} bytes and was not searched")
        in_tree += searching.find(name, data)
    in_history: list[Leak] = []
    commits: set[str] = set()
    base, searched = _range(sources, since) if isinstance(sources, GitSources) else (since, "the files alone")
    if staged:
        base, searched = _NO_COMMITS, "what is staged"
    if base is not _NO_COMMITS and (isinstance(sources, GitSources) or since is not None):
        for added in sources.added(base or None):
            commits.add(added.commit)
            in_history += searching.find_added(added)
    every = searching.join(in_tree, in_history)
    found = tuple(leak for leak in every if not leak.allowed)
    return Secrets(
        found=found,
        allowed=tuple(leak for leak in every if leak.allowed),
        report=reports.secret_report(
            found, started=started, ended=datetime.now(UTC), version=__version__, notes=tuple(notes)
        ),
        files=count,
        commits=len(commits),
        searched=searched,
        notes=tuple(notes),
    )


def write_report(path: Path, data: bytes) -> None:
    """Write a report aside and rename it, so that half a report is never judged."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            file.write(data)
        Path(file.name).chmod(0o644)
        Path(file.name).replace(path)
    except OSError as error:
        raise UserError("report-unwritable", f"{path} cannot be written: {error.strerror}") from error


# -- advisories -------------------------------------------------------------------------------------------


def _advisories(named: str) -> AdvisorySource:
    if not named.startswith(("http://", "https://")):
        return DirectoryAdvisories(Path(named))
    from aegis.adapters.egress_http import EgressRules, HttpEgress  # noqa: PLC0415 - only an address needs it

    parts = urlsplit(named)
    home = urlsplit(os.environ.get("AEGIS_URL", ""))
    ours = home.hostname is not None and (parts.hostname, _port(parts.scheme, parts.port)) == (
        home.hostname,
        _port(home.scheme, home.port),
    )
    # Only our own server gets the job's token, and only it may have a private address without being declared.
    token = os.environ.get("CI_JOB_TOKEN", "") if ours else ""
    rules = EgressRules(
        allowed=(parts.hostname or "",),
        private=frozenset({f"{parts.hostname}:{_port(parts.scheme, parts.port)}"}) if ours else frozenset(),
        proxy=None if ours else os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"),
        ca_file=os.environ.get("SSL_CERT_FILE"),
    )
    answer = HttpEgress(rules).request(
        "GET", named, headers={"JOB-TOKEN": token} if token else {}, limit=_BUNDLE_LIMIT, timeout=60.0
    )
    if answer.status != 200:
        raise ExternalError(
            "advisories-unavailable",
            f"{parts.hostname} answered {answer.status} for the advisories",
            retryable=answer.status >= 500,
        )
    return BundledAdvisories(answer.body, parts.path.rsplit("/", 1)[-1])


def _port(scheme: str, port: int | None) -> int:
    return port or (443 if scheme == "https" else 80)


# -- packages ---------------------------------------------------------------------------------------------


def _packages(path: Path, lock: str | None) -> tuple[tuple[Package, ...], tuple[str, ...]]:
    """The packages of the lock; without one those installed in `.venv`; without that the declared ones, unlocked."""
    from aegis.supplychain import locks  # noqa: PLC0415 - start-up is a feature: the search for secrets reads no lock

    if not path.is_dir():
        raise NotFound("directory-missing", f"{path} is no directory")
    if lock is not None:
        return locks.packages_of(lock, _read(path / lock)), (lock,)
    for name in locks.NAMES:
        if (path / name).is_file():
            return locks.packages_of(name, _read(path / name)), (name,)
    if installed := tuple(_installed(path / ".venv")):
        return installed, (".venv",)
    return _declared(path)


def _installed(environment: Path) -> Iterator[Package]:
    """What lies in a virtual environment, by its metadata."""
    from email.parser import BytesHeaderParser  # noqa: PLC0415 - only a project without a lock needs it

    for metadata in sorted(environment.glob("lib/python3*/site-packages/*.dist-info/METADATA")):
        headers = BytesHeaderParser().parsebytes(_read(metadata))
        name, version = headers.get("Name"), headers.get("Version")
        if name and not (metadata.parent / "direct_url.json").exists():
            yield Package(name=str(name), version=str(version) if version else None, file=".venv")


def _declared(path: Path) -> tuple[tuple[Package, ...], tuple[str, ...]]:
    """The dependencies that an unlocked project declares: none, or each one as not to be looked up."""
    from aegis.supplychain import locks  # noqa: PLC0415 - as above

    project = path / "pyproject.toml"
    if not project.is_file():
        raise NotFound(
            "lock-missing",
            f"{path} has neither a lock nor a pyproject.toml, so its dependencies are not known",
            hint=f"write a lock with `aegis project lock`; known names: {', '.join(locks.NAMES)}",
        )
    try:
        document = tomllib.loads(_read(project).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError("project-unreadable", f"{error}", where=Where(str(project))) from error
    names = [_name(text) for text in _strings(document.get("project"), "dependencies")]
    poetry = document.get("tool", {}).get("poetry", {}).get("dependencies", {})
    names += [name for name in poetry if name != "python"]
    return tuple(Package(name=name, version=None, file="pyproject.toml") for name in names), ("pyproject.toml",)


def _strings(table: object, key: str) -> Iterable[str]:
    value = table.get(key, ()) if isinstance(table, Mapping) else ()
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _name(text: str) -> str:
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - as above

    try:
        return Requirement(text).name
    except InvalidRequirement:
        return text


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise NotFound("file-missing", f"{path} does not exist") from None
    except OSError as error:
        raise UserError("file-unreadable", f"{path}: {error.strerror}", where=Where(str(path))) from error


# -- commits ----------------------------------------------------------------------------------------------

_NO_COMMITS: Final = "-"


def _range(sources: GitSources, since: str | None) -> tuple[str, str]:
    """Where the commits of the change begin (empty: the beginning), and how that reads.

    A push is not the change: a secret of an earlier push that the next one removes is still in the branch. So a branch is
    searched from where it left the default branch, and the default branch from its last version tag.
    """
    if sources.resolve("HEAD") is None:
        return _NO_COMMITS, "the files alone: there is no commit yet"
    if since is not None:
        return since, f"commits since {since}"
    if os.environ.get("GITLAB_CI") is None:
        return _NO_COMMITS, "the files alone (--since REV searches commits as well)"
    base = os.environ.get("CI_MERGE_REQUEST_DIFF_BASE_SHA", "")
    if base and sources.resolve(base):
        return base, f"commits of the merge request, since {base[:12]}"
    default = os.environ.get("CI_DEFAULT_BRANCH", "main")
    if os.environ.get("CI_COMMIT_REF_NAME", "") != default:
        for name in (f"refs/remotes/origin/{default}", f"refs/heads/{default}"):
            if found := sources.merge_base(name):
                return found, f"commits since {default} at {found[:12]}"
    tag = sources.last_version()
    return (tag, f"commits since {tag}") if tag else ("", "all commits")
