"""Who may do what: a table of the rules, and that everything else is denied with the rule it needs."""

from __future__ import annotations

import pytest

from aegis.access.identities import Directory, Identity
from aegis.access.policy import SCOPES, Access, AccessOptions, BranchRule, Resource
from aegis.access.tokens import Grant, Kind
from aegis.core.errors import Denied

PEOPLE = [
    Identity(id="ana", name="Ana"),
    Identity(id="rita", name="Rita"),
    Identity(id="olga", name="Olga"),
    Identity(id="gus", name="Gus"),
    Identity(id="robot", name="Robot", robot=True),
]
GROUPS = {
    "developers": ["ana", "robot"],
    "release-managers": ["rita", "robot"],
    "on-call": ["gus"],
    "owners": ["olga"],
}
OPTIONS = AccessOptions(
    administrators=("owners",),
    developers=("developers", "release-managers"),
    branches=(
        BranchRule(branch="main", merge=("developers",)),
        BranchRule(branch="release/*", push=("release-managers",), merge=("release-managers",)),
    ),
    deployers={"orders": ("developers",), "*": ("owners",)},
    approvers={"production": ("release-managers",)},
    emergency_approvers={"production": ("on-call",)},
)
ACCESS = Access(Directory(PEOPLE, GROUPS), OPTIONS)


def person(name: str, *scopes: str) -> Grant:
    return Grant(identity=name, kind=Kind.USER, scopes=scopes or ("*",))


JOB = Grant(identity="job/7", kind=Kind.JOB, project="shop/orders", run="r1", job="7")
DEPLOY = Grant(identity="cluster", kind=Kind.DEPLOY, project="shop")
RUNNER = Grant(identity="runner", kind=Kind.RUNNER)
LINK = Grant(identity="ana", kind=Kind.LOGIN_LINK)

ORDERS = Resource(kind="project", project="shop/orders")
MAIN = Resource(kind="branch", project="shop/orders", name="main")
FEATURE = Resource(kind="branch", project="shop/orders", name="feature/x")
RELEASE = Resource(kind="branch", project="shop/orders", name="release/1.x")
PRODUCTION = Resource(kind="environment", service="orders", environment="production")
PAYMENTS = Resource(kind="environment", service="payments", environment="production")
IMAGE = Resource(kind="image", name="shop/orders", project="shop/orders")
QUARANTINED = Resource(kind="image", name="quarantine/shop/orders", project="shop/orders", quarantined=True)
OTHER_IMAGE = Resource(kind="image", name="shop/payments", project="shop/payments")
OTHER_QUARANTINED = Resource(kind="image", project="shop/payments", quarantined=True)
PUBLIC_IMAGE = Resource(kind="image", name="base/python", project="base/python", public=True)
INDEX = Resource(kind="index", name="shop")
FOREIGN_INDEX = Resource(kind="index", name="bank")
UPLOADS = Resource(kind="index", name="quarantine", project="shop/orders", quarantined=True)
RUN = Resource(kind="run", run="r1", project="shop/orders")
OTHER_RUN = Resource(kind="run", run="r2", project="shop/orders")


@pytest.mark.parametrize(
    ("actor", "verb", "resource", "rule"),
    [
        (person("ana"), "read", ORDERS, "people-read"),
        (person("ana", "read"), "fetch", ORDERS, "people-read"),
        (person("ana", "write"), "read", ORDERS, "people-read"),
        (person("robot"), "run", ORDERS, "developers-work"),
        (person("ana"), "push", FEATURE, "developers-push-unprotected"),
        (person("ana"), "merge", MAIN, "merge-protected-branch"),
        (person("rita"), "push", RELEASE, "push-protected-branch"),
        (person("ana"), "promote", PRODUCTION, "deploy-own-service"),
        (person("ana"), "rollback", PRODUCTION, "deploy-own-service"),
        (person("ana"), "reject", PRODUCTION, "withdraw-own-service"),
        (person("rita"), "approve", PRODUCTION, "approve-environment"),
        (person("rita", "approve"), "reject", PRODUCTION, "approve-environment"),
        (person("ana", "write"), "issue-token", Resource(kind="identity", name="ana"), "own-tokens"),
        (person("olga"), "issue-token", Resource(kind="identity", name="ana"), "administer"),
        (person("olga"), "create-project", ORDERS, "administer"),
        (JOB, "fetch", ORDERS, "job-reads-own-project"),
        (JOB, "pull-image", IMAGE, "job-pulls-own-images"),
        (JOB, "pull-image", QUARANTINED, "job-pulls-own-images"),
        (JOB, "pull-image", PUBLIC_IMAGE, "job-pulls-own-images"),
        (JOB, "push-image", QUARANTINED, "job-pushes-to-quarantine"),
        (JOB, "upload-package", UPLOADS, "job-pushes-to-quarantine"),
        (JOB, "read-packages", INDEX, "job-reads-packages"),
        (JOB, "upload-evidence", RUN, "job-uploads-evidence"),
        (DEPLOY, "pull-image", IMAGE, "deploy-pulls-released"),
        (RUNNER, "request-job", Resource(kind="server"), "runner-takes-jobs"),
        (LINK, "open-session", Resource(kind="identity", name="ana"), "link-logs-in"),
    ],
)
def test_a_rule_permits(actor: Grant, verb: str, resource: Resource, rule: str) -> None:
    decision = ACCESS.authorise(actor, verb, resource)
    assert decision.allowed, decision.reason
    assert rule in decision.rules


@pytest.mark.parametrize(
    ("actor", "verb", "resource", "needed"),
    [
        (person("ana"), "push", MAIN, "on a branch that is not protected"),
        (person("ana"), "push", RELEASE, "release-managers (rule push-protected-branch)"),
        (person("gus"), "push", FEATURE, "developers-push-unprotected"),
        (person("gus"), "run", ORDERS, "developers-work"),
        (person("ana"), "promote", PAYMENTS, "owners (rule deploy-own-service)"),
        (person("ana"), "approve", PRODUCTION, "release-managers (rule approve-environment)"),
        (person("robot"), "approve", PRODUCTION, "a person of one of"),
        (person("gus"), "approve", PRODUCTION, "in an emergency"),
        (person("olga"), "approve", PRODUCTION, "approve-environment"),
        (person("rita", "write"), "approve", PRODUCTION, "the scope approve"),
        (person("ana", "read"), "run", ORDERS, "the scope write"),
        (person("ana", "read"), "issue-token", Resource(kind="identity", name="ana"), "the scope write"),
        (person("ana"), "issue-token", Resource(kind="identity", name="rita"), "own-tokens"),
        (person("olga", "write"), "issue-token", Resource(kind="identity", name="rita"), "the scope administer"),
        (Grant(identity="ana", kind=Kind.USER), "read", ORDERS, "the scope read"),
        (person("leaver"), "read", ORDERS, "not (or no longer) an identity"),
        (JOB, "fetch", Resource(kind="project", project="shop/payments"), "job-reads-own-project"),
        (JOB, "fetch", Resource(kind="project"), "job-reads-own-project"),
        (JOB, "pull-image", OTHER_IMAGE, "job-pulls-own-images"),
        (JOB, "push-image", IMAGE, "pushing to quarantine"),
        (JOB, "push-image", OTHER_QUARANTINED, "a job of the project shop/payments"),
        (JOB, "read-packages", FOREIGN_INDEX, "job-reads-packages"),
        (JOB, "upload-evidence", OTHER_RUN, "a job of the run r2"),
        (JOB, "approve", PRODUCTION, "no rule lets a job do that"),
        (JOB, "promote", PRODUCTION, "no rule lets a job do that"),
        (JOB, "push", FEATURE, "no rule lets a job do that"),
        (JOB, "issue-token", Resource(kind="identity", name="job/7"), "no rule lets a job do that"),
        (DEPLOY, "pull-image", QUARANTINED, "deploy-pulls-released"),
        (DEPLOY, "pull-image", Resource(kind="image", project="bank/ledger"), "deploy-pulls-released"),
        (DEPLOY, "read", ORDERS, "no rule lets a deploy do that"),
        (RUNNER, "read", ORDERS, "no rule lets a runner do that"),
        (LINK, "read", ORDERS, "no rule lets a link do that"),
        (LINK, "open-session", Resource(kind="identity", name="rita"), "link-logs-in"),
        (person("olga"), "fly", ORDERS, "there is no rule for fly"),
        (person("olga"), "read", Resource(kind="moon"), "there is no rule"),
    ],
)
def test_everything_else_is_denied_and_says_what_it_needs(
    actor: Grant, verb: str, resource: Resource, needed: str
) -> None:
    decision = ACCESS.authorise(actor, verb, resource)
    assert not decision.allowed
    assert needed in decision.reason


def test_an_emergency_opens_the_shorter_way_to_its_own_group_only() -> None:
    assert ACCESS.authorise(person("gus"), "approve", PRODUCTION, {"emergency": True}).allowed
    assert not ACCESS.authorise(person("ana"), "approve", PRODUCTION, {"emergency": True}).allowed


def test_an_identity_that_is_known_already_needs_no_token() -> None:
    rita = ACCESS.directory.by_id("rita")
    assert rita is not None
    assert ACCESS.authorise(rita, "approve", PRODUCTION).allowed
    ACCESS.require(rita, "approve", PRODUCTION)
    with pytest.raises(Denied) as caught:
        ACCESS.require(rita, "create-project", ORDERS)
    assert caught.value.code == "not-allowed"


def test_the_most_exact_branch_rule_decides() -> None:
    rules = (
        BranchRule(branch="*", push=("developers",)),
        BranchRule(branch="release/*", push=("release-managers",)),
        BranchRule(branch="release/1.x", push=("owners",)),
    )
    options = AccessOptions(branches=rules)
    assert options.branch_rule("shop/orders", "release/1.x") == rules[2]
    assert options.branch_rule("shop/orders", "release/2.x") == rules[1]
    assert options.branch_rule("shop/orders", "feature") == rules[0]


def test_nobody_may_do_anything_where_nothing_is_declared() -> None:
    empty = Access(Directory([], {}), AccessOptions())
    for kind in Kind:
        for verb in SCOPES:
            grant = Grant(identity="ana", kind=kind, scopes=("*",))
            decision = empty.authorise(grant, verb, Resource(kind="environment", environment="production"))
            assert not decision.allowed or (kind, verb) in {(Kind.RUNNER, "request-job"), (Kind.RUNNER, "update-job")}
