"""`HostedRegistry` over GitLab's REST interface: lists are whole, names lead nowhere else, refusals are told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from aegis.adapters.egress_http import EgressRules, HttpEgress
from aegis.adapters.registry_gitlab import GitLabRegistry
from aegis.core.errors import Denied, ExternalError
from support.gitlab_registry import Registry, gitlab_registry

TOKEN = "not-" + "a-secret"
DAY = "2026-02-01T10:00:00.000Z"


def digest(name: str) -> str:
    return f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"


@pytest.fixture
def instance() -> Iterator[Registry]:
    with gitlab_registry(Registry(project="Shop/orders", token=TOKEN)) as made:
        yield made


def client(instance: Registry, token: str = TOKEN) -> GitLabRegistry:
    host = instance.address.removeprefix("http://")
    return GitLabRegistry(HttpEgress(EgressRules(private=frozenset({host}))), instance.address, "Shop/orders", token)


def test_tags_beyond_a_page_are_listed_and_unwanted_repositories_are_not_asked(instance: Registry) -> None:
    instance.repository("shop/orders", **{f"t{number:03}": (digest(str(number)), DAY) for number in range(103)})
    instance.repository("shop/orders/other", x=(digest("x"), None))
    tags = client(instance).tags(lambda path: path == "shop/orders")
    assert len(tags) == 103
    assert {one.repository for one in tags} == {"shop/orders"}
    assert not any("/repositories/2/" in path for _, path in instance.asked)
    (other,) = client(instance).tags(lambda path: path.endswith("other"))
    assert (other.created_at, other.digest) == (None, digest("x"))


def test_deleting_one_tag_leaves_the_others_of_the_image_and_may_be_repeated(instance: Registry) -> None:
    instance.repository("shop/orders", a=(digest("1"), DAY), b=(digest("1"), DAY))
    registry = client(instance)
    (first, _) = registry.tags(lambda _: True)
    registry.untag(first)
    registry.untag(first)
    assert list(instance.tags[1]) == ["b"]
    assert registry.digest(first) == ""


def test_packages_that_cannot_be_installed_are_left_out(instance: Registry) -> None:
    number = instance.package("shop-shared", "1.0", DAY, digest("file")[7:])
    instance.package("shop-shared", "1.1", DAY, status="pending_destruction")
    registry = client(instance)
    assert [(one.number, one.version) for one in registry.packages()] == [(number, "1.0")]
    assert registry.contents(number) == {digest("file")}
    instance.protected.add(f"#{number}")
    with pytest.raises(Denied):
        registry.remove(number)
    instance.protected.clear()
    registry.remove(number)
    registry.remove(number)
    assert number not in instance.packages


def test_a_wrong_token_and_a_strange_answer_are_errors_before_anything_goes(instance: Registry) -> None:
    instance.repository("shop/orders", a=("no digest", DAY))
    with pytest.raises(ExternalError, match="does not show"):
        client(instance, "another").tags(lambda _: True)
    with pytest.raises(ExternalError, match="no digest"):
        client(instance).tags(lambda _: True)
    instance.tags[1] = {"../../../packages/1": (digest("1"), DAY)}
    with pytest.raises(ExternalError, match="no name of a tag"):
        client(instance).tags(lambda _: True)
    assert TOKEN not in str(instance.asked)
