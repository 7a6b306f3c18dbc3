"""Advice about what a pipeline trusts and shows: secrets in clear text, what is not pinned, what is run unread."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from aegis.core.errors import Where
from aegis.pipeline.advice.subject import Finding, Rule, Subject, texts
from aegis.pipeline.diagnostics import Report, Unreadable
from aegis.pipeline.document import Limits, Map, Node, Scalar, Seq
from aegis.pipeline.reader import decoded, parse

_SECRET_NAME: Final = re.compile(
    r"(?:PASS(?:WORD|WD|PHRASE)?|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|CREDENTIALS?)(?:_|$)", re.IGNORECASE
)
_NOT_SECRET_NAME: Final = re.compile(
    r"(?:_(?:FILE|PATH|NAME|URL|ID|VARIABLE|LENGTH|TTL|TYPE|EXPIRY)|^(?:GIT|AWS)_[A-Z_]*CREDENTIALS)$", re.IGNORECASE
)
_KNOWN_SECRET: Final = re.compile(
    r"(?<![\w-])(?:glpat-[\w-]{20}|gh[pousr]_\w{36}|github_pat_\w{50,}|xox[abpr]-[\w-]{20,}|AKIA[0-9A-Z]{16}|sk_live_\w{20,}"
    r"|npm_\w{36}|pypi-AgEI[\w-]{40,}|hvs\.[\w-]{24,})|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
_IN_SCRIPT: Final = re.compile(
    r"(?:--password[= ]|--token[= ]|PRIVATE-TOKEN:\s*|Authorization:\s*(?:Bearer|Basic)\s+|://[^\s:/@$]+:)(?P<value>[^\s\"'@$]{8,})"
)
_PIPED: Final = re.compile(
    r"\b(?:curl|wget)\b[^|;&]*\|\s*(?:sudo\s+)?(?:ba|z|da)?sh\b|\b(?:ba|z)?sh\s+(?:-c\s+\"?\$\(|<\()\s*(?:curl|wget)\b"
)
_PLACEHOLDER: Final = re.compile(
    r"^(?:change.?me|example|dummy|test|none|null|true|false|todo|xxx+|<.*>|\.{3})", re.IGNORECASE
)
_MOVING: Final = frozenset({"main", "master", "HEAD", "develop", "latest", "~latest"})


def _clear_secret(subject: Subject) -> Iterator[Finding]:
    root = subject.configuration.root
    seen: set[int] = set()
    for owner, node in [
        ("variables", root.get("variables")),
        *((job.name, job.node.get("variables")) for job in subject.jobs()),
    ]:
        if not isinstance(node, Map):
            continue
        for name, value in node.items():
            scalar = value.get("value") if isinstance(value, Map) else value
            if not isinstance(scalar, Scalar) or id(scalar) in seen or not subject.is_own(scalar.file):
                continue
            seen.add(id(scalar))
            if _looks_secret(name, scalar.text):
                yield Finding(
                    message=f"`{name}` holds a secret in clear text", where=scalar.where, job="" if owner == "variables" else owner,
                    hint="remove it from the file, rotate it, and declare it as a masked variable of the project or a secret reference",
                )  # fmt: skip
    for job in subject.jobs():
        for line in _script(subject, job.name, seen):
            match = _IN_SCRIPT.search(line.text)
            if _KNOWN_SECRET.search(line.text) or (match is not None and not _PLACEHOLDER.match(match["value"])):
                yield Finding(
                    message=f"`{job.name}` has a secret in a command", where=line.where, job=job.name,
                    hint='take it from a masked variable: `--password "$REGISTRY_PASSWORD"`',
                )  # fmt: skip


def _script(subject: Subject, job: str, seen: set[int]) -> Iterator[Scalar]:
    definition = subject.configuration.jobs[job]
    for word in ("before_script", "script", "after_script"):
        for line in texts(definition.get(word)):
            if id(line) not in seen and subject.is_own(line.file):
                seen.add(id(line))
                yield line


def _looks_secret(name: str, value: str) -> bool:
    if _KNOWN_SECRET.search(value):
        return True
    if not _SECRET_NAME.search(name) or _NOT_SECRET_NAME.search(name):
        return False
    bare = value.strip()
    if (
        len(bare) < 8
        or "$" in bare
        or " " in bare
        or _PLACEHOLDER.match(bare)
        or bare.startswith(("/", "./", "secret://", "vault:"))
    ):
        return False
    counts = Counter(bare)
    disorder = -sum(count / len(bare) * math.log2(count / len(bare)) for count in counts.values())
    return disorder >= 2.5


def _debug_trace(subject: Subject) -> Iterator[Finding]:
    nodes = [
        ("", subject.configuration.root.get("variables")),
        *((job.name, job.node.get("variables")) for job in subject.jobs()),
    ]
    seen: set[int] = set()
    for owner, node in nodes:
        value = node.get("CI_DEBUG_TRACE") if isinstance(node, Map) else None
        if (
            isinstance(value, Scalar)
            and id(value) not in seen
            and value.text.lower() in {"true", "1"}
            and subject.is_own(value.file)
        ):
            seen.add(id(value))
            yield Finding(
                message="`CI_DEBUG_TRACE` writes every variable, secrets too, into the log", where=value.where, job=owner,
                hint="remove it; set it by hand for one pipeline where it is needed",
            )  # fmt: skip


def _images(subject: Subject) -> Iterator[tuple[str, Scalar]]:
    seen: set[int] = set()
    for job in subject.jobs():
        services = job.get("services")
        for node in (job.get("image"), *(services.items if isinstance(services, Seq) else ())):
            name: Node | None = node.get("name") if isinstance(node, Map) else node
            if (
                isinstance(name, Scalar)
                and id(name) not in seen
                and isinstance(name.value, str)
                and subject.is_own(name.file)
            ):
                seen.add(id(name))
                yield job.name, name


def _unpinned_image(subject: Subject) -> Iterator[Finding]:
    for job, name in _images(subject):
        image = name.text.strip()
        if "$" in image or "@sha256:" in image or not image:
            continue
        last = image.rsplit("/", 1)[-1]
        tag = last.partition(":")[2]
        if not tag or tag == "latest":
            yield Finding(
                message=f"`{image}` is a different image tomorrow: it has {'no tag' if not tag else 'the tag latest'}",
                where=name.where, hint=f"write `{image.removesuffix(':latest')}:<version>`, best with `@sha256:…`", job=job,
            )  # fmt: skip


def _unpinned_include(subject: Subject) -> Iterator[Finding]:
    for entry in _includes(subject):
        if isinstance(entry, Scalar):
            if isinstance(entry.value, str) and entry.value.startswith(("http://", "https://")):
                yield _moving(f"`include: {entry.text}`", entry.where, "write `remote:` with `integrity: sha256-…`")
            continue
        if not isinstance(entry, Map):
            continue
        remote, project, component = entry.get("remote"), entry.get("project"), entry.get("component")
        ref = entry.get("ref")
        if isinstance(remote, Scalar) and not entry.has("integrity"):
            yield _moving(f"`include: remote: {remote.text}`", remote.where, "add `integrity: sha256-…`")
        elif isinstance(project, Scalar) and (not isinstance(ref, Scalar) or ref.text in _MOVING):
            yield _moving(
                f"`include: project: {project.text}`", (ref or project).where, "name a tag or a commit: `ref: v1.2.0`"
            )
        elif isinstance(component, Scalar) and component.text.rpartition("@")[2] in _MOVING:
            yield _moving(f"`include: component: {component.text}`", component.where, "name a version: `@1.2.0`")


def _moving(what: str, where: Where, hint: str) -> Finding:
    return Finding(message=f"{what} is whatever stands there when the pipeline starts", where=where, hint=hint)


def _includes(subject: Subject) -> Iterator[Node]:
    """The entries of `include` as they are written in the root file: merging leaves them out, so they are read again."""
    data = subject.context.files.read(subject.root_file)
    if data is None or b"include" not in data:
        return
    limits = Limits()
    try:
        lines = decoded(data, subject.root_file, limits).splitlines()
        begin = next((at for at, line in enumerate(lines) if line.startswith("include:")), None)
        if begin is None:
            return
        end = next(
            (at for at in range(begin + 1, len(lines)) if lines[at][:1] not in {"", " ", "-", "#", "\t", "]", "}"}),
            len(lines),
        )
        # Alias and anchor of other parts are unknown here: such an include is left alone.
        part = "\n".join(lines[begin:end]) + "\n"
        root = parse(part, subject.root_file, Report(), limits, tuple(range(begin + 1, end + 2)))
    except Unreadable:
        return
    include = root.get("include") if isinstance(root, Map) else None
    if include is not None:
        yield from include.items if isinstance(include, Seq) else (include,)


def _piped_download(subject: Subject) -> Iterator[Finding]:
    seen: set[int] = set()
    for job in subject.jobs():
        for line in _script(subject, job.name, seen):
            if ("curl" in line.text or "wget" in line.text) and _PIPED.search(line.text):
                yield Finding(
                    message=f"`{job.name}` runs what it downloads without looking at it", where=line.where, job=job.name,
                    hint="download a fixed version, check its digest (`sha256sum --check`), then run it",
                )  # fmt: skip


RULES: Final = (
    Rule(name="clear-secret", title="A secret in clear text", find=_clear_secret,
         why="Everybody who reads the repository has it, today and in its history."),
    Rule(name="debug-trace", title="`CI_DEBUG_TRACE` in the file", find=_debug_trace,
         why="The log then shows every secret of the job."),
    Rule(name="unpinned-image", title="An image without a version", find=_unpinned_image,
         why="The same commit builds differently from one day to the next."),
    Rule(name="unpinned-include", title="An include that moves", find=_unpinned_include,
         why="Somebody else's push changes what runs with your secrets."),
    Rule(name="piped-download", title="A download that is run unread", find=_piped_download,
         why="Who controls that address controls the job."),
)  # fmt: skip
