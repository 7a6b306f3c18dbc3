"""The CI variables that people keep on the server, as the ledger's last record has them; their values lie in the secret store.

The ledger holds names and attributes, never a value. A change writes the new value under a fresh reference first, then the
record that puts it in force, then forgets the old one: whatever is interrupted, what is in force can be read.

Masked variables reach a pipeline as references that only the running job resolves; the values of others are part of its plan,
as those of declared ones are. Which of several levels wins is decided by `pipeline.declared`.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from aegis.core import events
from aegis.core.errors import Denied, NotFound
from aegis.core.plan import CiVariable
from aegis.core.ports import Ledger, Query
from aegis.core.types import Run
from aegis.delivery.options import ProjectOptions
from aegis.pipeline.declared import EVERYWHERE, DeclaredVariable
from aegis.secrets.ports import SecretStore
from aegis.secrets.references import Reference, parse

ROOT: Final = "ci-variables/"
_TYPES: Final = tuple(events.NAMES[kind][0] for kind in (events.VariableSet, events.VariableRemoved))
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class _Key:
    owner: str
    key: str
    scope: str


def subject_of(owner: str) -> str:
    """The ledger's subject of an owner's variables."""
    return f"variables/{owner}"


def named(variable: CiVariable) -> str:
    """What a plan holds instead of a masked value: whose it is and which, the same when the value is another."""
    scope = hashlib.sha256(variable.environment_scope.encode()).hexdigest()[:12]
    return str(Reference(f"{ROOT}{variable.owner}", f"{variable.key}.{scope}"))


class VariableBook:
    """Variables folded up to the ledger's head before each answer. Safe from any thread."""

    def __init__(self, ledger: Ledger, lock: contextlib.AbstractContextManager[object], store: SecretStore) -> None:
        self._ledger = ledger
        self._lock = lock
        self._store = store
        self._known: dict[_Key, CiVariable] = {}
        self._values: dict[str, str] = {}
        """By reference: what lies under one never changes."""
        self._seen = 0

    def of(self, owner: str) -> tuple[CiVariable, ...]:
        """The variables of a project or group, by name."""
        with self._lock:
            self._catch_up()
            found = [one for one in self._known.values() if one.owner == owner]
        return tuple(sorted(found, key=lambda one: (one.key, one.environment_scope)))

    def value(self, variable: CiVariable) -> str:
        """A variable's value; `NotFound` where the store has lost it."""
        with self._lock:
            if variable.stored not in self._values:
                self._values[variable.stored] = self._store.get(parse(variable.stored))
            return self._values[variable.stored]

    def keep(self, owner: str, key: str, value: str, fresh: str) -> str:
        """Keep a value under a reference of its own, which is not in force yet."""
        reference = Reference(f"{ROOT}{owner}", f"{key}.{fresh}")
        self._store.put(reference, value)
        return str(reference)

    def forget(self, stored: str) -> None:
        """Nothing in force refers to a value any more."""
        with self._lock:
            self._values.pop(stored, None)
        self._store.delete(parse(stored))

    def levels(self, project: ProjectOptions) -> tuple[tuple[DeclaredVariable, ...], ...]:
        """What a project gets: declared variables and kept ones, level by level; a declared one of the same name and scope wins."""
        parts = project.name.split("/")
        owners = (EVERYWHERE, *("/".join(parts[:end]) for end in range(1, len(parts))), project.name)
        declared = project.variables or ((),) * len(owners)
        return tuple(self._level(owner, level) for owner, level in zip(owners, declared, strict=True))

    def _level(self, owner: str, declared: Sequence[DeclaredVariable]) -> tuple[DeclaredVariable, ...]:
        taken = {(one.key, one.environment_scope) for one in declared}
        kept = [one for one in self.of(owner) if (one.key, one.environment_scope) not in taken]
        return (*declared, *(self._declared(one) for one in kept))

    def _declared(self, one: CiVariable) -> DeclaredVariable:
        return DeclaredVariable(
            key=one.key,
            value="" if one.masked else self.value(one),
            protected=one.protected,
            masked=one.masked,
            raw=one.raw,
            file=one.file,
            environment_scope=one.environment_scope,
            secret=named(one) if one.masked else None,
        )

    def resolve(self, run: Run, reference: Reference, *, protected: bool) -> str:
        """The value that a plan's reference stands for; `Denied` for what is not this run's, `NotFound` for what is gone."""
        owner = reference.path.removeprefix(ROOT)
        if run.project != owner and not run.project.startswith(f"{owner}/"):
            raise Denied("variable-of-others", f"{owner} keeps that variable, and {run.project} does not belong to it")
        for one in self.of(owner):
            if named(one) == str(reference):
                if one.protected and not protected:
                    raise Denied("variable-protected", f"{one.key} is only for protected branches and tags")
                return self.value(one)
        key = reference.field.partition(".")[0]
        raise NotFound(
            "no-such-variable", f"the variable {key} of {owner} was removed", hint="set it again, or retry without it"
        )

    def _catch_up(self) -> None:
        head = self._ledger.head().seq
        while self._seen < head:
            records = self._ledger.read(after=self._seen, limit=_PAGE, query=Query(types=_TYPES))
            for record in records:
                self._apply(record.data)
            self._seen = head if len(records) < _PAGE else records[-1].seq

    def _apply(self, data: object) -> None:
        if isinstance(data, events.VariableSet):
            one = data.variable
            if data.before:
                self._known.pop(_Key(one.owner, one.key, data.before), None)
            self._known[_Key(one.owner, one.key, one.environment_scope)] = one
        elif isinstance(data, events.VariableRemoved):
            self._known.pop(_Key(data.owner, data.key, data.environment_scope), None)


def shown(variable: CiVariable) -> CiVariable:
    """A variable as it may be shown: where its value lies is nobody's business."""
    return replace(variable, stored="")
