from __future__ import annotations

import pytest

from aegis.source.branches import (
    ProtectedBranch,
    ProtectedTag,
    RefUpdate,
    fast_forward_only,
    judge_push,
    matches,
    may_merge,
)

OLD, NEW = "1" * 40, "2" * 40


def moved(branch: str, old: str | None = OLD, new: str | None = NEW) -> RefUpdate:
    return RefUpdate(ref=f"refs/heads/{branch}", old=old, new=new)


def codes(update: RefUpdate, *protections: ProtectedBranch | ProtectedTag, groups: tuple[str, ...] = ()) -> list[str]:
    return [one.code for one in judge_push([update], identity="ada", groups=groups, protections=protections)]


def test_an_unprotected_branch_is_free() -> None:
    assert codes(moved("topic"), ProtectedBranch(pattern="main")) == []


@pytest.mark.parametrize(
    ("rule", "groups", "refused"),
    [
        (ProtectedBranch(pattern="main"), ("maintainers",), True),
        (ProtectedBranch(pattern="main", push=("maintainers",)), ("maintainers",), False),
        (ProtectedBranch(pattern="main", push=("maintainers",)), ("developers",), True),
        (ProtectedBranch(pattern="main", push=("ada",)), (), False),
        (ProtectedBranch(pattern="main", push=("*",)), (), False),
        (ProtectedBranch(pattern="m*", merge=("developers",)), ("developers",), True),
    ],
)
def test_who_is_named_may_push(rule: ProtectedBranch, groups: tuple[str, ...], *, refused: bool) -> None:
    assert bool(codes(moved("main"), rule, groups=groups)) is refused


def test_a_protected_branch_is_never_deleted_by_a_push() -> None:
    assert codes(moved("main", new=None), ProtectedBranch(pattern="main", push=("*",), force=True))


def test_who_may_merge_may_begin_a_branch_that_is_not_there_yet() -> None:
    rule = ProtectedBranch(pattern="main", merge=("developers",))
    assert codes(moved("main", old=None), rule, groups=("developers",)) == []
    assert codes(moved("main", old=None), rule, groups=("guests",)) == ["branch-protected"]


def test_every_matching_rule_has_to_allow_it() -> None:
    rules = (ProtectedBranch(pattern="*", push=("*",)), ProtectedBranch(pattern="main", push=("maintainers",)))
    assert codes(moved("main"), *rules, groups=("developers",)) == ["branch-protected"]
    assert not may_merge("main", ("developers",), rules)
    assert may_merge("topic", (), ())


def test_only_protected_branches_without_force_are_fast_forward_only() -> None:
    rules = (ProtectedBranch(pattern="main", push=("*",)), ProtectedBranch(pattern="wild", push=("*",), force=True))
    updates = [moved("main"), moved("wild"), moved("topic"), moved("main2", old=None)]
    assert fast_forward_only(updates, rules) == ("refs/heads/main",)


def test_a_release_tag_stays_and_is_made_by_who_is_named() -> None:
    rule = ProtectedTag(pattern="v*", create=("release",))
    tag = "refs/tags/v1.0.0"
    assert codes(RefUpdate(ref=tag, old=None, new=NEW), rule) == ["tag-protected"]
    assert codes(RefUpdate(ref=tag, old=None, new=NEW), rule, groups=("release",)) == []
    assert codes(RefUpdate(ref=tag, old=OLD, new=NEW), rule, groups=("release",)) == ["tag-protected"]
    assert codes(RefUpdate(ref=tag, old=OLD, new=None), rule, groups=("release",)) == ["tag-protected"]


@pytest.mark.parametrize(
    ("ref", "code"),
    [
        ("refs/pull/1/head", "ref-reserved"),
        ("HEAD", "ref-reserved"),
        ("refs/heads/a\nb", "ref-name"),
        ("refs/heads/a..b", "ref-name"),
        ("refs/heads/-x", "ref-name"),
        ("refs/heads/x.lock", "ref-name"),
        ("refs/heads/" + "a" * 40, "ref-name"),
    ],
)
def test_what_is_no_branch_or_tag_is_refused(ref: str, code: str) -> None:
    assert codes(RefUpdate(ref=ref, old=None, new=NEW)) == [code]


def test_a_ref_named_twice_is_refused() -> None:
    refused = judge_push([moved("a"), moved("a")], identity="ada", groups=(), protections=())
    assert [one.code for one in refused] == ["ref-twice"]


def test_only_a_star_is_special_in_a_pattern() -> None:
    assert matches("release/*", "release/1.2/x")
    assert not matches("a.c", "abc")
    assert not matches("[ab]", "a")
    assert matches("*-stable", "1-stable")
