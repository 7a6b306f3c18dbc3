"""Every version ever written is read; what is unknown is named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from aegis.core import codec
from aegis.core.errors import ExternalError
from aegis.core.events import Draft, RunStarted
from aegis.ledger.store import Versions, prepare
from support.ledgers import started


@dataclass(frozen=True, slots=True, kw_only=True)
class GreetedV1:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GreetedV3:
    names: tuple[str, ...]
    loud: bool


def _two(plain: dict[str, Any]) -> dict[str, Any]:
    return {"names": [plain["name"]]}


def _three(plain: dict[str, Any]) -> dict[str, Any]:
    return {**plain, "loud": False}


REGISTRY = {("greeted", 1): GreetedV1, ("greeted", 2): GreetedV1, ("greeted", 3): GreetedV3}
VERSIONS = Versions(REGISTRY, {("greeted", 1): _two, ("greeted", 2): _three})


def test_an_old_version_is_brought_up_step_by_step() -> None:
    assert VERSIONS.read("greeted", 1, b'{"name":"ana"}') == GreetedV3(names=("ana",), loud=False)
    assert VERSIONS.read("greeted", 2, b'{"names":["ana","ben"]}') == GreetedV3(names=("ana", "ben"), loud=False)
    assert VERSIONS.read("greeted", 3, b'{"names":[],"loud":true}') == GreetedV3(names=(), loud=True)


def test_a_missing_step_is_an_error_that_names_it() -> None:
    with pytest.raises(ExternalError, match="greeted v1 to v2"):
        Versions(REGISTRY, {}).read("greeted", 1, b'{"name":"ana"}')


@pytest.mark.parametrize(("name", "version"), [("greeted", 4), ("parted", 1)])
def test_an_unknown_type_or_version_is_an_error_that_names_it(name: str, version: int) -> None:
    with pytest.raises(ExternalError, match=f"{name} v{version}") as caught:
        VERSIONS.read(name, version, b"{}")
    assert caught.value.code == "event-unknown"


def test_data_that_does_not_fit_its_class_is_an_error_that_names_it() -> None:
    with pytest.raises(ExternalError, match="greeted v3"):
        VERSIONS.read("greeted", 3, b'{"names":7}')


def test_what_is_no_event_or_has_no_subject_is_refused() -> None:
    with pytest.raises(ValueError, match="GreetedV1"):
        prepare(Draft(subject="x", actor="ana", data=GreetedV1(name="ana")), b"s" * 16)
    with pytest.raises(ValueError, match="subject"):
        prepare(Draft(subject="", actor="ana", data=RunStarted(run="1")), b"s" * 16)
    with pytest.raises(ValueError, match="control character"):
        prepare(started("1\n2"), b"s" * 16)
    with pytest.raises(ValueError, match="16 bytes"):
        prepare(started("1"), b"s")


def test_the_data_of_a_prepared_event_is_the_codecs() -> None:
    assert prepare(started("1"), b"s" * 16).data == codec.encode(RunStarted(run="1"))
