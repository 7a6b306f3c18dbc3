"""Values: what `dataclasses.dataclass` makes of a class, made in a quarter of the time.

A command begins with some two hundred frozen classes. The standard decorator compiles six functions for each, which is half of
what starting costs; here one is compiled, the constructor, and the others are shared. What such a class can do is the same: it
is a dataclass for `fields`, `replace`, `asdict`, type checkers and codecs, equal and hashed by its fields, frozen, copied and pickled.
Any class that asks for more than that is left to the standard decorator.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any, Final, TypeVar

T = TypeVar("T", bound=type)

__all__ = ["dataclass"]

_PLAIN: Final = {"frozen": True, "slots": True, "kw_only": True}
_SPECIAL: Final = ("ClassVar", "InitVar", "KW_ONLY")
_OWN: Final = frozenset(
    {"__init__", "__repr__", "__eq__", "__hash__", "__setattr__", "__delattr__", "__getstate__", "__setstate__"}
)


class _Absent:
    """Stands for an argument that was not given."""


def _dataclass(**options: bool) -> Callable[[T], T]:
    """The decorator; with exactly `frozen`, `slots` and `kw_only` it is the quick one."""
    standard: Callable[[Any], Any] = dataclasses.dataclass(**options)

    def make(kind: Any) -> Any:
        return _quick(kind) if options == _PLAIN and _is_plain(kind) else standard(kind)

    return make


def _is_plain(kind: type) -> bool:
    notes = inspect.get_annotations(kind).values()
    plain = all(isinstance(note, str) and not any(word in note for word in _SPECIAL) for note in notes)
    usual = all(
        not isinstance(one, dataclasses.Field) or (one.init and one.hash is None) for one in kind.__dict__.values()
    )
    return plain and usual and kind.__bases__ == (object,) and _OWN.isdisjoint(kind.__dict__) and bool(kind.__doc__)


def _quick(kind: Any) -> Any:
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=True, kw_only=True)(kind)
    # What is asked of it by those who inherit from it, and by codecs.
    facts = made.__dataclass_params__
    facts.init = facts.repr = facts.eq = facts.frozen = True
    known = dataclasses.fields(made)

    def begin(self: object, *given: object, **named: object) -> None:
        # Most classes that a command loads have no instance in it: the constructor is compiled with the first.
        made.__init__ = _constructor(made, known)
        made.__init__(self, *given, **named)

    made.__init__ = begin
    _compared(made, [one.name for one in known if one.compare])
    _shown(made, [one.name for one in known if one.repr])
    _frozen(made, [one.name for one in known])
    return made


def _constructor(made: type, known: tuple[dataclasses.Field[Any], ...]) -> Callable[..., None]:
    names: dict[str, Any] = {"_set": object.__setattr__, "_absent": _Absent}
    parameters, lines = [], []
    for one in known:
        given, default = one.name, f"_default_{one.name}"
        if one.default is not dataclasses.MISSING:
            names[default] = one.default
            parameters.append(f"{given}={default}")
        elif one.default_factory is not dataclasses.MISSING:
            names[default] = one.default_factory
            parameters.append(f"{given}=_absent")
            given = f"{default}() if {given} is _absent else {given}"
        else:
            parameters.append(given)
        lines.append(f"_set(self, {one.name!r}, {given})")
    if hasattr(made, "__post_init__"):
        lines.append("self.__post_init__()")
    head = f"def __init__(self{', *' if parameters else ''}{''.join(f', {one}' for one in parameters)}):"
    exec("\n ".join([head, *(lines or ["pass"])]), names)  # noqa: S102 - names of fields, as the standard decorator does
    made_init: Callable[..., None] = names["__init__"]
    made_init.__qualname__ = f"{made.__qualname__}.__init__"
    return made_init


def _compared(made: Any, names: list[str]) -> None:
    single = attrgetter(*names) if names else None

    def parts(self: object) -> tuple[Any, ...]:
        if single is None:
            return ()
        return single(self) if len(names) > 1 else (single(self),)

    def __eq__(self: object, other: object) -> bool:  # noqa: N807 - what it becomes
        return parts(self) == parts(other) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self: object) -> int:  # noqa: N807 - as above
        return hash(parts(self))

    made.__eq__, made.__hash__ = __eq__, __hash__


def _shown(made: Any, names: list[str]) -> None:
    @recursive_repr()
    def __repr__(self: object) -> str:  # noqa: N807 - as above
        inside = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{self.__class__.__qualname__}({inside})"

    made.__repr__ = __repr__


def _frozen(made: Any, names: list[str]) -> None:
    def __setattr__(self: object, name: str, value: object) -> None:  # noqa: N807 - as above
        if type(self) is made or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")
        object.__setattr__(self, name, value)

    def __delattr__(self: object, name: str) -> None:  # noqa: N807 - as above
        if type(self) is made or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
        object.__delattr__(self, name)

    def __getstate__(self: object) -> list[Any]:  # noqa: N807 - as above
        return [getattr(self, one.name) for one in dataclasses.fields(self)]  # type: ignore[arg-type]

    def __setstate__(self: object, state: list[Any]) -> None:  # noqa: N807 - as above
        for one, kept in zip(dataclasses.fields(self), state, strict=True):  # type: ignore[arg-type]
            object.__setattr__(self, one.name, kept)

    made.__setattr__, made.__delattr__ = __setattr__, __delattr__
    made.__getstate__, made.__setstate__ = __getstate__, __setstate__


if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    dataclass = _dataclass
