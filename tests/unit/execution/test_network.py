"""What a policy lets through, whose wish counts, and what a job's programs are told."""

from __future__ import annotations

import pytest

from aegis.core.errors import UserError
from aegis.core.plan import Variable
from aegis.execution.network import (
    PROXY,
    Network,
    NetworkPolicy,
    on_loopback,
    place,
    place_of,
    refusal,
    registries,
    told,
    unheard,
)

NONE, REGISTRIES, ALL = NetworkPolicy


def asks(wish: str) -> tuple[Variable, ...]:
    return (Variable(key="OTHER", value="x"), Variable(key="AEGIS_NETWORK", value=wish))


@pytest.mark.parametrize(
    ("given", "wish", "got"),
    [
        (ALL, "", ALL), (ALL, "registries", REGISTRIES), (ALL, "none", NONE), (REGISTRIES, "all", REGISTRIES),
        (REGISTRIES, "none", NONE), (NONE, "all", NONE), (ALL, "everything", NONE),
    ],
)  # fmt: skip
def test_a_job_can_only_tighten(given: NetworkPolicy, wish: str, got: NetworkPolicy) -> None:
    network = Network(policy=given, places=("a.example:443",)).tightened(asks(wish))
    assert network.policy is got
    assert network.places == ("a.example:443",)
    assert bool(unheard(network, asks(wish))) == (bool(wish) and wish != got.value)


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("https://A.example/x", "a.example:443"), ("http://a.example:8080", "a.example:8080"), ("http://[::1]:5/x", "[::1]:5"),
        ("https://user:pw@a.example./", "a.example:443"), ("file:///wheels", None), ("/wheels", None), ("off", None),
        ("http://a.example:99999", None),
    ],
)  # fmt: skip
def test_an_address_leads_to_one_place(url: str, where: str | None) -> None:
    assert place_of(url) == where


def test_a_declared_place_has_one_spelling_and_is_no_pattern() -> None:
    assert place(" Mirror.Example:0443 ") == "mirror.example:443"
    assert place("[FD00::1]:80") == "[fd00::1]:80"
    for wrong in (
        "mirror.example",
        "*.example:443",
        "a.example:0",
        "a.example:70000",
        "a b:1",
        "https://a.example:443",
    ):
        with pytest.raises(UserError, match="host"):
            place(wrong)


def test_loopback_is_known_by_its_name_and_addresses() -> None:
    assert all(on_loopback(one) for one in ("127.0.0.1:80", "127.9.9.9:80", "localhost:80", "[::1]:80"))
    assert not any(on_loopback(one) for one in ("127.0.0.1.example:80", "10.0.0.1:80", "[fd00::1]:80"))


def test_the_places_of_registries_are_those_of_their_addresses() -> None:
    found = registries(
        [
            "https://index.corp.example/simple",
            "https://inner.corp.example:8443/simple",
            "http://apt.example/debian",
            "file:///x",
        ]
    )
    assert found.policy is REGISTRIES
    assert found.places == ("index.corp.example:443", "inner.corp.example:8443", "apt.example:80")
    assert registries([]).places == ()


def test_a_job_is_told_its_way_out_and_nothing_of_the_machines() -> None:
    given = {"HTTPS_PROXY": "http://user:pw@proxy.example:1", "no_proxy": "corp.example", "HOME": "/home/job"}
    assert told(Network(), given) == given
    assert told(Network(policy=NONE), given) == {"HOME": "/home/job", "no_proxy": "corp.example"}
    values = told(Network(policy=REGISTRIES), given, ("postgres", "db"))
    assert {values[name] for name in ("HTTP_PROXY", "https_proxy", "all_proxy")} == {PROXY}
    assert values["NO_PROXY"] == values["no_proxy"] == "localhost,127.0.0.1,::1,postgres,db"


def test_a_refusal_names_its_mend() -> None:
    assert refusal("x.example:443").endswith("runner: {network_hosts: [x.example:443]}")


def test_joined_places_keep_their_order_and_stand_once() -> None:
    network = Network(places=("a:1", "127.0.0.1:5")).joined(("b:2", "a:1"))
    assert network.places == ("a:1", "127.0.0.1:5", "b:2")
    assert network.near == ("127.0.0.1:5",)
