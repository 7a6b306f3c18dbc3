"""`include`: which files belong to a configuration, read and merged in GitLab's order.

Included files lie under the including one. Local files (with wildcards) and the built-in components
`aegis/<template>@<major>` are read; files of other projects, remote addresses and GitLab's own templates are refused
with a clear error, because nothing here fetches them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aegis.core.errors import Where
from aegis.pipeline import templates
from aegis.pipeline.conditions import Conditions, Context
from aegis.pipeline.diagnostics import Report, Unreadable, meant
from aegis.pipeline.document import Limits, Map, Node, Scalar, Seq, kind_of, plain
from aegis.pipeline.globs import matches
from aegis.pipeline.inputs import Given, interpolated, settle, specs, split
from aegis.pipeline.merge import Budget, TooBig, merged
from aegis.pipeline.reader import decoded, parse
from aegis.pipeline.variables import expand_known

_KINDS: Final = ("local", "component", "project", "remote", "template", "artifact")
_KEYS: Final = (*_KINDS, "file", "ref", "inputs", "rules", "integrity", "cache", "job")
_NOT_HERE: Final = {
    "project": "files of other projects",
    "remote": "remote files",
    "template": "GitLab's own templates",
    "artifact": "files made by jobs",
}


@dataclass(frozen=True, slots=True)
class _Source:
    """One file to be included."""

    label: str
    data: bytes
    given: dict[str, Given]
    where: Where


class Includer:
    """Reads a configuration with everything it includes."""

    def __init__(self, context: Context, report: Report, limits: Limits) -> None:
        self.context = context
        self.report = report
        self.limits = limits
        self.conditions = Conditions(context, report)
        self.count = 0
        self.has_references = False
        self.has_aliases = False
        self.characters = 0
        self.budget = Budget(limits.whole * 4)

    def load(self, label: str, data: bytes, given: Mapping[str, Given]) -> Map:
        """The whole configuration; `Unreadable` when the file itself is not YAML or not a mapping."""
        return self._file(_Source(label, data, dict(given), Where(label)), (label,))

    def _file(self, source: _Source, chain: tuple[str, ...]) -> Map:
        text = decoded(source.data, source.label, self.limits)
        self.has_references = self.has_references or "!reference" in text
        self.has_aliases = self.has_aliases or "&" in text
        self.characters += len(text)
        part = split(text, source.label, self.report, self.limits)
        lines: tuple[int, ...] = ()
        content = part.content
        if part.header is not None:
            declared = specs(part.header, source.label, self.report, self.limits)
            values = settle(declared, source.given, source.label, self.report, source.where)
            if len(values) < len(declared):
                return _nothing(source.label)
            content, lines = interpolated(part, values, self.context.values, source.label, self.report)
        else:
            settle({}, source.given, source.label, self.report, source.where)
            if part.content_line:
                count = content.count("\n") + 2
                lines = tuple(range(part.content_line + 1, part.content_line + 1 + count))
        root = parse(content, source.label, self.report, self.limits, lines)
        if root is None or (isinstance(root, Scalar) and root.value is None):
            return _nothing(source.label)
        if not isinstance(root, Map):
            raise Unreadable(
                "not-a-mapping", f"a pipeline file is a mapping of jobs, not {kind_of(root)}", where=root.where
            )
        return self._with_includes(root, chain)

    def _with_includes(self, root: Map, chain: tuple[str, ...]) -> Map:
        include = root.get("include")
        if include is None:
            return root
        whole: Map | None = None
        for entry in include.items if isinstance(include, Seq) else (include,):
            for source in self._sources(entry):
                one = self._included(source, chain)
                if one is not None:
                    whole = one if whole is None else self._merged(whole, one)
        rest = Map({k: v for k, v in root.entries.items() if k != "include"}, root.file, root.line, root.column)
        return rest if whole is None else self._merged(whole, rest)

    def _merged(self, base: Map, over: Map) -> Map:
        try:
            return merged(base, over, self.budget)
        except TooBig:
            raise Unreadable("too-big", "`include` makes the configuration too large", where=over.where) from None

    def _included(self, source: _Source, chain: tuple[str, ...]) -> Map | None:
        if source.label in chain:
            circle = " → ".join((*chain, source.label))
            self.report.error("circular-include", f"`include` goes in a circle: {circle}", source.where)
            return None
        self.count += 1
        if self.count > self.limits.includes:
            raise Unreadable(
                "too-many-includes", f"more than {self.limits.includes} files are included", where=source.where
            )
        try:
            return self._file(source, (*chain, source.label))
        except Unreadable as problem:
            found = problem.diagnostic()
            self.report.error(found.code, found.message, found.where, found.hint)
            return None

    def _sources(self, entry: Node) -> list[_Source]:
        if isinstance(entry, Scalar) and isinstance(entry.value, str):
            kind = "remote" if entry.value.startswith(("http://", "https://")) else "local"
            return self._resolve(kind, entry, {})
        if not isinstance(entry, Map):
            self.report.error(
                "invalid-include", f"an include is a path or a mapping, not {kind_of(entry)}", entry.where
            )
            return []
        for name, (key, _) in entry.entries.items():
            if name not in _KEYS:
                self.report.error("unknown-keyword", f"`include: {name}` is unknown", key.where, meant(name, _KEYS))
        kinds = [name for name in _KINDS if name in entry.entries]
        if len(kinds) != 1:
            self.report.error(
                "invalid-include",
                "an include names exactly one of local, component",
                entry.where,
                "write `- local: path.yml`",
            )
            return []
        rules = entry.get("rules")
        if rules is not None and not self.conditions.include(rules):
            return []
        target = entry.get(kinds[0])
        if not isinstance(target, Scalar) or not isinstance(target.value, str):
            self.report.error("invalid-include", f"`include: {kinds[0]}` must be text", entry.where)
            return []
        return self._resolve(kinds[0], target, self._given(entry.get("inputs")))

    def _given(self, node: Node | None) -> dict[str, Given]:
        if node is None:
            return {}
        if not isinstance(node, Map):
            self.report.error("invalid-include", "`include: inputs` must be a mapping", node.where)
            return {}
        return {name: Given(plain(value), key.where) for name, (key, value) in node.entries.items()}

    def _resolve(self, kind: str, target: Scalar, given: dict[str, Given]) -> list[_Source]:
        name = expand_known(str(target.value), self.context.values)
        if kind == "local":
            return self._local(name, target, given)
        if kind == "component":
            return self._component(name, target, given)
        self.report.error(
            "include-not-available",
            f"`include: {kind}: {name}`: {_NOT_HERE[kind]} are not available here yet",
            target.where,
            "copy the file into this repository and use `include: local`",
        )
        return []

    def _local(self, name: str, target: Scalar, given: dict[str, Given]) -> list[_Source]:
        path = name.lstrip("/")
        if not path.endswith((".yml", ".yaml")):
            self.report.error("invalid-include", f"`{name}` is not a `.yml` or `.yaml` file", target.where)
            return []
        if "*" in path:
            found = [one for one in self.context.files.paths() if matches(path, one)]
            if not found:
                self.report.error("unknown-include", f"no file matches `{name}`", target.where)
        else:
            found = [path]
        sources = []
        for one in found:
            data = None if ".." in one.split("/") else self.context.files.read(one)
            if data is None:
                near = meant(one, self.context.files.paths())
                self.report.error("unknown-include", f"there is no file `{one}`", target.where, near)
            else:
                sources.append(_Source(one, data, given, target.where))
        return sources

    def _component(self, name: str, target: Scalar, given: dict[str, Given]) -> list[_Source]:
        address = name.removeprefix("$CI_SERVER_FQDN/")
        data = templates.read(address)
        if data is None:
            if address.startswith("aegis/"):
                hint = meant(address, templates.addresses()) or f"there are: {', '.join(templates.addresses())}"
                self.report.error("unknown-component", f"there is no component `{name}`", target.where, hint)
            else:
                self.report.error(
                    "include-not-available",
                    f"`include: component: {name}`: components of other servers are not available here yet",
                    target.where,
                    f"built-in ones are: {', '.join(templates.addresses())}",
                )
            return []
        return [_Source(address, data, given, target.where)]


def _nothing(label: str) -> Map:
    return Map({}, label, 1, 1)
