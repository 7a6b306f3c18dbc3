"""`include`: which files belong to a configuration, read and merged in GitLab's order.

Included files lie under the including one. What an entry of `include` names is found by `aegis.pipeline.sources`; here
files are read, their headers (`spec`) and inputs settled, and the results merged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aegis.core.errors import Where
from aegis.pipeline.conditions import Context
from aegis.pipeline.diagnostics import Report, Unreadable
from aegis.pipeline.document import Limits, Map, Node, Scalar, Seq, kind_of
from aegis.pipeline.inputs import Given, InputSpec, Split, interpolated, settle, specs, split
from aegis.pipeline.merge import Budget, TooBig, merged
from aegis.pipeline.ports import Elsewhere
from aegis.pipeline.reader import decoded, parse
from aegis.pipeline.sources import Home, Source, Sources

_HEADER_KINDS: Final = ("local", "remote", "project")


class Includer:
    """Reads a configuration with everything it includes."""

    def __init__(self, context: Context, report: Report, limits: Limits, elsewhere: Elsewhere | None = None) -> None:
        self.context = context
        self.report = report
        self.limits = limits
        self.sources = Sources(context, elsewhere, report)
        self.count = 0
        self.has_references = False
        self.has_aliases = False
        self.characters = 0
        self.budget = Budget(limits.whole * 4)

    def load(self, label: str, data: bytes, given: Mapping[str, Given]) -> Map:
        """The whole configuration; `Unreadable` when the file itself is not YAML or not a mapping."""
        home = Home(files=self.context.files)
        return self._file(Source(label=label, data=data, given=dict(given), where=Where(label), home=home), (label,))

    def _file(self, source: Source, chain: tuple[str, ...]) -> Map:
        text = decoded(source.data, source.label, self.limits)
        self.has_references = self.has_references or "!reference" in text
        self.has_aliases = self.has_aliases or "&" in text
        self.characters += len(text)
        part = split(text, source.label, self.report, self.limits)
        lines: tuple[int, ...] = ()
        content = part.content
        if part.header is not None:
            values = self._values(part, source, chain)
            if values is None:
                return _nothing(source.label)
            content, lines = interpolated(part, values, self.context, source.label, self.report)
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
        return self._with_includes(root, source.home, chain)

    def _values(self, part: Split, source: Source, chain: tuple[str, ...]) -> dict[str, object] | None:
        """What `$[[ … ]]` may name in a file with a header; None where an input is missing."""
        header = specs(part.header or "", source.label, self.report, self.limits)
        declared = dict(header.inputs)
        for entry in header.includes:
            if source.home.component:
                self.report.error("invalid-include", "a component cannot use `spec: include`", entry.where)
            else:
                self._shared_inputs(entry, source.home, chain, declared)
        values = settle(declared, source.given, source.label, self.report, source.where)
        if len(values) < len(declared):
            return None
        found: dict[str, object] = {f"inputs.{name}": value for name, value in values.items()}
        for name in header.component:
            found[f"component.{name}"] = source.home.component.get(name, "")
        return found

    def _shared_inputs(self, entry: Node, home: Home, chain: tuple[str, ...], declared: dict[str, InputSpec]) -> None:
        """Adds the inputs that a file of `spec: include` declares."""
        if isinstance(entry, Map) and not any(kind in entry.entries for kind in _HEADER_KINDS):
            self.report.error(
                "invalid-include", f"`spec: include` names one of {', '.join(_HEADER_KINDS)}", entry.where
            )
            return
        for source in self.sources.of(entry, home):
            if not self._counts(source, chain):
                continue
            text = decoded(source.data, source.label, self.limits)
            header = specs(text, source.label, self.report, self.limits, alone=True)
            for name, spec in header.inputs.items():
                if name in declared:
                    self.report.error(
                        "duplicate-input", f"input `{name}` is declared twice, also in {source.label}", source.where
                    )
                declared[name] = spec

    def _with_includes(self, root: Map, home: Home, chain: tuple[str, ...]) -> Map:
        include = root.get("include")
        if include is None:
            return root
        whole: Map | None = None
        for entry in include.items if isinstance(include, Seq) else (include,):
            for source in self.sources.of(entry, home):
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

    def _included(self, source: Source, chain: tuple[str, ...]) -> Map | None:
        if not self._counts(source, chain):
            return None
        try:
            return self._file(source, (*chain, source.label))
        except Unreadable as problem:
            found = problem.diagnostic()
            self.report.error(found.code, found.message, found.where, found.hint)
            return None

    def _counts(self, source: Source, chain: tuple[str, ...]) -> bool:
        """Whether one more file may be read: not within itself, and not beyond the limit."""
        if source.label in chain:
            circle = " → ".join((*chain, source.label))
            self.report.error("circular-include", f"`include` goes in a circle: {circle}", source.where)
            return False
        self.count += 1
        if self.count > self.limits.includes:
            raise Unreadable(
                "too-many-includes", f"more than {self.limits.includes} files are included", where=source.where
            )
        return True


def _nothing(label: str) -> Map:
    return Map({}, label, 1, 1)
