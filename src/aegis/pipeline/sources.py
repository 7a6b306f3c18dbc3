"""One entry of `include`: what it names, whether it may, and the file that it gives.

Local files lie in the project and commit of the file that names them; files of other projects, addresses, components and
templates come through `aegis.pipeline.ports.Elsewhere`. Components `aegis/<template>@<major>` are part of Aegis. Reading
what the files say is `aegis.pipeline.includes`' part.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from aegis.core.errors import AegisError, NotFound, Where
from aegis.pipeline import components, durations, templates
from aegis.pipeline.conditions import Conditions, Context, flat
from aegis.pipeline.diagnostics import Report, meant
from aegis.pipeline.document import Map, Node, Scalar, Seq, kind_of, plain
from aegis.pipeline.globs import matches
from aegis.pipeline.inputs import Given
from aegis.pipeline.ports import Elsewhere, Files
from aegis.pipeline.variables import expand_known

KINDS: Final = ("local", "component", "project", "remote", "template", "artifact")
_KEYS: Final = (*KINDS, "file", "ref", "inputs", "rules", "integrity", "cache", "job")
_RULE_KEYS: Final = ("if", "changes", "exists", "when")
_HOUR: Final = 3600


class Home(NamedTuple):
    """Where a file lies: the files beside it (None: nowhere that has any) and the prefix of their names in messages."""

    files: Files | None
    prefix: str = ""
    component: Mapping[str, str] = MappingProxyType({})
    """For a component: its `name`, `version`, `reference` and `sha`."""


class Source(NamedTuple):
    """One file to be included."""

    label: str
    data: bytes
    given: dict[str, Given]
    where: Where
    home: Home


class Sources:
    """Answers for one configuration."""

    def __init__(self, context: Context, elsewhere: Elsewhere | None, report: Report) -> None:
        self.context = context
        self.elsewhere = elsewhere
        self.report = report
        self.conditions = Conditions(context, report)

    def of(self, entry: Node, home: Home) -> list[Source]:
        """The files that an entry names; problems go to the report."""
        if isinstance(entry, Scalar) and isinstance(entry.value, str):
            kind = "remote" if entry.value.startswith(("http://", "https://")) else "local"
            return self._tried(kind, entry, Map({}, entry.file, entry.line, entry.column), home)
        if not isinstance(entry, Map):
            self.report.error(
                "invalid-include", f"an include is a path or a mapping, not {kind_of(entry)}", entry.where
            )
            return []
        kinds = [name for name in KINDS if name in entry.entries]
        if not self._shape(entry, kinds):
            return []
        rules = entry.get("rules")
        if rules is not None and not (self._rules(rules) and self.conditions.include(rules)):
            return []
        target = entry.get(kinds[0])
        if not isinstance(target, Scalar) or not isinstance(target.value, str) or not target.value.strip():
            self.report.error("invalid-include", f"`include: {kinds[0]}` must be text", entry.where)
            return []
        return self._tried(kinds[0], target, entry, home)

    def _tried(self, kind: str, target: Scalar, entry: Map, home: Home) -> list[Source]:
        try:
            return self._resolve(kind, target, entry, home)
        except AegisError as error:
            self.report.error(error.code, error.message, target.where, error.hint)
            return []

    def _shape(self, entry: Map, kinds: Sequence[str]) -> bool:
        before = len(self.report.errors)
        for name, (key, _) in entry.entries.items():
            if name not in _KEYS:
                self.report.error("unknown-keyword", f"`include: {name}` is unknown", key.where, meant(name, _KEYS))
        if len(kinds) != 1:
            self.report.error(
                "invalid-include",
                f"an include names exactly one of {', '.join(KINDS)}",
                entry.where,
                "write `- local: path.yml`",
            )
            return False
        for word, kind in (
            ("file", "project"),
            ("ref", "project"),
            ("integrity", "remote"),
            ("cache", "remote"),
            ("job", "artifact"),
        ):
            found = entry.key(word)
            if found is not None and kind not in kinds:
                self.report.error("invalid-include", f"`include: {word}` is only for `{kind}`", found.where)
        if kinds[0] == "project" and not entry.has("file"):
            self.report.error("missing-key", "`include: project` needs `file`", entry.where, "add `file: path.yml`")
        return len(self.report.errors) == before

    def _rules(self, rules: Node) -> bool:
        if not isinstance(rules, Seq):
            self.report.error("invalid-include", "`include: rules` must be a list", rules.where)
            return False
        good = True
        for rule in flat(rules):
            for name, (key, value) in rule.entries.items():
                if name not in _RULE_KEYS:
                    self.report.error(
                        "unknown-keyword",
                        f"`include: rules` does not know `{name}`",
                        key.where,
                        meant(name, _RULE_KEYS),
                    )
                    good = False
                elif name == "when" and not (isinstance(value, Scalar) and value.text in {"always", "never"}):
                    self.report.error("invalid-include", "`include: rules: when` is always or never", value.where)
                    good = False
        return good

    def _given(self, node: Node | None) -> dict[str, Given]:
        if node is None or (isinstance(node, Scalar) and node.value is None):
            return {}
        if not isinstance(node, Map):
            self.report.error("invalid-include", "`include: inputs` must be a mapping", node.where)
            return {}
        return {name: Given(plain(value), key.where) for name, (key, value) in node.entries.items()}

    def _resolve(self, kind: str, target: Scalar, entry: Map, home: Home) -> list[Source]:
        name = expand_known(str(target.value), self.context.values)
        given = self._given(entry.get("inputs"))
        if kind == "local":
            return self._local(name, target, given, home)
        if kind == "component" and name.startswith(("aegis/", "$CI_SERVER_FQDN/aegis/")):
            return self._built_in(name.removeprefix("$CI_SERVER_FQDN/"), target, given)
        if kind == "artifact":
            self.report.error(
                "include-not-available",
                f"`include: artifact: {name}` is only for the pipeline that a job starts",
                target.where,
                "write it under `trigger: include`",
            )
            return []
        if self.elsewhere is None:
            self.report.error(
                "include-not-available",
                f"`include: {kind}: {name}` lies outside of this project, and no instance is known here",
                target.where,
                "name the instance: set AEGIS_GITLAB_URL, or add a Git remote",
            )
            return []
        if kind == "component":
            return self._component(name, target, given, self.elsewhere)
        if kind == "project":
            return self._project(name, entry, given, self.elsewhere)
        if kind == "template":
            data = self.elsewhere.template(name)
            if data is None:
                raise NotFound("unknown-include", f"there is no template `{name}`")
            return [Source(label=name, data=data, given=given, where=target.where, home=Home(files=None, prefix=""))]
        return self._remote(name, target, entry, given, self.elsewhere)

    def _local(self, name: str, target: Scalar, given: dict[str, Given], home: Home) -> list[Source]:
        path = name.lstrip("/")
        if not path.endswith((".yml", ".yaml")):
            self.report.error("invalid-include", f"`{name}` is not a `.yml` or `.yaml` file", target.where)
            return []
        if home.files is None:
            self.report.error(
                "invalid-include", f"`{name}` is a local file, and {target.file} belongs to no project", target.where
            )
            return []
        if "*" in path:
            found = [one for one in home.files.paths() if matches(path, one)]
            if not found:
                self.report.error("unknown-include", f"no file matches `{name}`", target.where)
        else:
            found = [path]
        return [one for path in found if (one := self._file(path, target, given, home)) is not None]

    def _file(self, path: str, target: Scalar, given: dict[str, Given], home: Home) -> Source | None:
        files = home.files
        data = files.read(path) if files is not None and ".." not in path.split("/") else None
        if data is None:
            near = meant(path, files.paths()) if files is not None and not home.prefix else ""
            self.report.error("unknown-include", f"there is no file `{home.prefix}{path}`", target.where, near)
            return None
        return Source(label=f"{home.prefix}{path}", data=data, given=given, where=target.where, home=home)

    def _built_in(self, address: str, target: Scalar, given: dict[str, Given]) -> list[Source]:
        data = templates.read(address)
        if data is None:
            hint = meant(address, templates.addresses()) or f"there are: {', '.join(templates.addresses())}"
            self.report.error("unknown-component", f"there is no component `{address}`", target.where, hint)
            return []
        return [Source(label=address, data=data, given=given, where=target.where, home=Home(files=None))]

    def _component(self, address: str, target: Scalar, given: dict[str, Given], elsewhere: Elsewhere) -> list[Source]:
        parts = components.read(address.replace("$CI_SERVER_FQDN", elsewhere.host, 1))
        there = None
        if parts is not None:
            there = elsewhere if parts.host == elsewhere.host else elsewhere.other(parts.host)
        if parts is None or there is None:
            where = f" of {elsewhere.host}" if elsewhere.host else ""
            self.report.error(
                "unknown-component",
                f"`{address}` is not the address of a component{where}",
                target.where,
                f"write `$CI_SERVER_FQDN/group/project/name@1.0`; built-in ones are: {', '.join(templates.addresses())}",
            )
            return []
        version: str | None = parts.version
        if components.needs_releases(parts.version):
            version = components.chosen(parts.version, there.releases(parts.project))
            if version is None and parts.version == components.LATEST:
                raise NotFound("unknown-component", f"{parts.project} has no release, so `~latest` names nothing")
        commit = there.commit(parts.project, version or parts.version)
        files = there.files(parts.project, commit)
        context = {"name": parts.name, "version": version or parts.version, "reference": parts.version, "sha": commit}
        home = Home(files=files, prefix=f"{parts.project}@{version or parts.version}:", component=context)
        for path in components.paths(parts.name):
            data = files.read(path)
            if data is not None:
                return [Source(label=f"{home.prefix}{path}", data=data, given=given, where=target.where, home=home)]
        raise NotFound(
            "unknown-component", f"{parts.project} has no component `{parts.name}` at `{version or parts.version}`"
        )

    def _project(self, name: str, entry: Map, given: dict[str, Given], elsewhere: Elsewhere) -> list[Source]:
        project = name.strip("/").lower()
        written = entry.get("ref")
        ref = written.text if isinstance(written, Scalar) and written.value is not None else "HEAD"
        ref = expand_known(ref, self.context.values)
        commit = elsewhere.commit(project, ref)
        home = Home(files=elsewhere.files(project, commit), prefix=f"{project}@{ref}:")
        files = entry.get("file")
        nodes = files.items if isinstance(files, Seq) else (files,)
        found: list[Source] = []
        for node in nodes:
            if not isinstance(node, Scalar) or not isinstance(node.value, str):
                self.report.error("invalid-include", "`include: file` must be a path or a list of paths", entry.where)
                continue
            path = expand_known(node.value, self.context.values).lstrip("/")
            if not path.endswith((".yml", ".yaml")):
                self.report.error("invalid-include", f"`{path}` is not a `.yml` or `.yaml` file", node.where)
                continue
            one = self._file(path, node, given, home)
            if one is not None:
                found.append(one)
        return found

    def _remote(
        self, address: str, target: Scalar, entry: Map, given: dict[str, Given], elsewhere: Elsewhere
    ) -> list[Source]:
        if not address.startswith(("http://", "https://")):
            self.report.error("invalid-include", f"`{address}` is not an http or https address", target.where)
            return []
        keep = self._keep(entry.get("cache"))
        digest = self._integrity(entry.get("integrity"))
        if keep is None or digest is None:
            return []
        shown = address.partition("?")[0]
        data = elsewhere.fetch(address, keep)
        if digest and hashlib.sha256(data).digest() != digest:
            self.report.error(
                "integrity-mismatch",
                f"{shown} is not the file that `integrity` names",
                target.where,
                f"it is sha256-{base64.b64encode(hashlib.sha256(data).digest()).decode()}",
            )
            return []
        return [Source(label=shown, data=data, given=given, where=target.where, home=Home(files=None))]

    def _keep(self, node: Node | None) -> int | None:
        """For how many seconds an answer may be kept; None where it is wrongly written."""
        if not isinstance(node, Scalar) or node.value is None or node.value is False:
            return 0
        if node.value is True:
            return _HOUR
        length = durations.seconds(node.text) if isinstance(node.value, str) else None
        if length is None or length < 60:
            self.report.error(
                "invalid-include", "`include: cache` is true, or a duration of a minute or more", node.where, "1 hour"
            )
            return None
        return length

    def _integrity(self, node: Node | None) -> bytes | None:
        """The digest that the file must have, empty where any will do; None where it is wrongly written."""
        if node is None:
            return b""
        text = node.text if isinstance(node, Scalar) else ""
        try:
            digest = (
                base64.b64decode(text.removeprefix("sha256-"), validate=True) if text.startswith("sha256-") else b""
            )
        except (binascii.Error, ValueError):
            digest = b""
        if not digest:
            self.report.error(
                "invalid-include", "`include: integrity` is `sha256-` and the digest in base64", node.where
            )
            return None
        return digest
