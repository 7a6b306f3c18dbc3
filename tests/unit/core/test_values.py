"""The quick decorator makes what the standard one makes."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any, ClassVar

import pytest

from aegis.core import codec, events, values


class Given:
    """A class before it is decorated."""

    first: str
    second: int = 2
    third: tuple[str, ...] = ()
    shown: dict[str, int] = dataclasses.field(default_factory=dict, compare=False, repr=False)


@values.dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    """At the top of a module, where it can be pickled."""

    name: str
    inner: Quick | None = None
    many: list[int] = dataclasses.field(default_factory=list)


@pytest.fixture(params=[dataclasses.dataclass, values.dataclass], ids=["standard", "quick"])
def kind(request: pytest.FixtureRequest) -> Any:
    """The class as each of the two makes it."""
    found = {key: value for key, value in Given.__dict__.items() if key not in {"__dict__", "__weakref__"}}
    return request.param(frozen=True, slots=True, kw_only=True)(type("Given", (), found))


def test_fields_and_facts(kind: Any) -> None:
    assert [one.name for one in dataclasses.fields(kind)] == ["first", "second", "third", "shown"]
    assert kind.__slots__ == ("first", "second", "third", "shown")
    assert kind.__dataclass_params__.frozen
    assert kind.__match_args__ == ()
    assert dataclasses.asdict(kind(first="a")) == {"first": "a", "second": 2, "third": (), "shown": {}}


def test_construction(kind: Any) -> None:
    one = kind(first="a", third=("x",))
    assert (one.first, one.second, one.third) == ("a", 2, ("x",))
    assert kind(first="a").shown is not kind(first="a").shown
    assert dataclasses.replace(one, second=3).second == 3
    for arguments in (((), {}), (("a",), {}), ((), {"first": "a", "other": 1})):
        with pytest.raises(TypeError):
            kind(*arguments[0], **arguments[1])


def test_equality_hash_and_text(kind: Any) -> None:
    one = kind(first="a", shown={"x": 1})
    assert one == kind(first="a")
    assert hash(one) == hash(kind(first="a"))
    assert one != kind(first="b")
    assert one != ("a", 2, ())
    assert repr(one) == "Given(first='a', second=2, third=())"


def test_frozen(kind: Any) -> None:
    one = kind(first="a")
    with pytest.raises(dataclasses.FrozenInstanceError, match="first"):
        one.first = "b"
    with pytest.raises(dataclasses.FrozenInstanceError, match="first"):
        del one.first
    with pytest.raises((dataclasses.FrozenInstanceError, AttributeError, TypeError)):
        one.other = 1
    assert not hasattr(one, "__dict__")


def test_inheritance_keeps_it_frozen(kind: Any) -> None:
    below = dataclasses.dataclass(frozen=True, slots=True, kw_only=True)(
        type("Below", (kind,), {"__annotations__": {"more": "int"}, "more": 1, "__doc__": "more"})
    )
    one = below(first="a")
    assert (one.first, one.more) == ("a", 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.first = "b"


def test_copies_pickles_and_codec() -> None:
    one = Quick(name="a", inner=Quick(name="b", many=[1]))
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 - our own bytes
    deep = copy.deepcopy(one)
    assert deep == one
    assert deep.inner is not one.inner
    assert codec.decode(codec.encode(one), Quick) == one


def test_what_is_more_than_plain_is_left_to_the_standard_decorator() -> None:
    @values.dataclass(frozen=True, slots=True, kw_only=True)
    class Special:
        """It has a constant of the class."""

        limit: ClassVar[int] = 3
        name: str = ""

        def __repr__(self) -> str:
            return "special"

    assert [one.name for one in dataclasses.fields(Special)] == ["name"]
    assert Special.limit == 3
    assert repr(Special()) == "special"


def test_the_events_are_quick() -> None:
    # Each was compiled six times at every start of every command.
    shared = {kind.__eq__.__code__ for kind in events.NAMES}
    assert len(shared) < len(events.NAMES) / 4
