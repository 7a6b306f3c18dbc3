"""Whether an actor may do something: Cedar policies (package data) over what the declaration names.

Decides by roles derived from declared groups; denies everything that no rule permits, and says which rule would have
been needed. There is no anonymous actor. Whether a permitted approval also *counts* (four eyes, expiry, stale plans) is
the business of `approvals`.
"""

from __future__ import annotations

import fnmatch
import functools
import importlib.resources
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aegis.access.identities import EVERYONE, Directory, Identity
from aegis.access.tokens import ALL, Grant, Kind
from aegis.core.errors import Denied

SCOPES: Final[Mapping[str, str]] = {
    "read": "read",
    "fetch": "read",
    "pull-image": "read",
    "read-packages": "read",
    "run": "write",
    "cancel": "write",
    "retry": "write",
    "play": "write",
    "cancel-job": "write",
    "keep-artifacts": "write",
    "erase-artifacts": "write",
    "open-merge-request": "write",
    "close": "write",
    "push": "write",
    "commit-files": "write",
    "create-branch": "write",
    "delete-branch": "write",
    "merge": "write",
    "promote": "write",
    "rollback": "write",
    "approve": "approve",
    "reject": "approve",
    "review": "approve",
    "issue-token": "write",
    "revoke-token": "write",
    "login-link": "write",
    "manage-variables": "write",
    "manage-pages": "write",
    "erase-job": "write",
    "create-project": "administer",
    "administer": "administer",
    "create-runner": "administer",
    "change-runner": "administer",
    "remove-runner": "administer",
    "reset-runner-token": "administer",
    "issue-registration-token": "administer",
    "delete-image": "administer",
    "clean-up-registry": "administer",
    "scrub-registry": "administer",
    "rescan-releases": "administer",
    "yank-package": "administer",
    "promote-package": "administer",
    "apply-retention": "administer",
    "push-image": "write",
    "upload-package": "write",
    "upload-evidence": "write",
    "update-job": "write",
    "request-job": "write",
    "open-session": "write",
}
"""Every verb that can be asked for, and the scope that a person's token needs for it. `write` includes `read`.

Tokens of one's own need `write`, so that a token that may only read cannot make one that may more; those of others
need `administer` as well (the rule `administer`).
"""

_NOBODY: Final = "nobody (the declaration names none)"

_KINDS: Final[Mapping[str, str]] = {
    "server": "Server",
    "project": "Project",
    "branch": "Branch",
    "environment": "Environment",
    "image": "Image",
    "index": "Index",
    "run": "Run",
    "identity": "Identity",
}
_PRINCIPALS: Final[Mapping[Kind, str]] = {
    Kind.USER: "User",
    Kind.SESSION: "User",
    Kind.JOB: "Job",
    Kind.DEPLOY: "Deploy",
    Kind.RUNNER: "Runner",
    Kind.LOGIN_LINK: "Link",
    Kind.REGISTRATION: "Link",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What something is to be done to.

    `kind` is one of server, project, branch, environment, image, index, run, identity. `name` is the branch, image
    repository, index, job or identity. `quarantined` marks what no verdict has released; `public` what any job may
    pull.
    """

    kind: str
    name: str = ""
    project: str = ""
    service: str = ""
    environment: str = ""
    run: str = ""
    quarantined: bool = False
    public: bool = False

    def __str__(self) -> str:
        what = self.run if self.kind == "run" else self.name or self.service
        parts = [self.kind, what, f"in {self.environment}" if self.environment else "", f"of {self.project}"]
        return " ".join(part for part in parts if part and part != "of ")


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchRule:
    """A protected branch (`fnmatch` patterns for branch and project) and the groups or ids that may push or merge.

    Of several that match, the one with the literal branch name decides, else the one with the longest pattern.
    """

    branch: str
    project: str = "*"
    push: tuple[str, ...] = ()
    merge: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessOptions:
    """What the declaration grants; groups or ids everywhere.

    `developers` may run pipelines and push unprotected branches, `deployers` maps a service to those who manage its
    deployments (`*` for services not named), `approvers` and `emergency_approvers` map an environment to those who may
    approve it.
    """

    administrators: tuple[str, ...] = ()
    developers: tuple[str, ...] = (EVERYONE,)
    branches: tuple[BranchRule, ...] = ()
    deployers: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"*": (EVERYONE,)})
    approvers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    emergency_approvers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def branch_rule(self, project: str, branch: str) -> BranchRule | None:
        """The rule that protects a branch, or None where it is not protected."""
        matching = [
            rule
            for rule in self.branches
            if fnmatch.fnmatchcase(branch, rule.branch) and fnmatch.fnmatchcase(project, rule.project)
        ]
        return max(
            matching, key=lambda rule: (rule.branch == branch, len(rule.branch), len(rule.project)), default=None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether it may be, and why: the rule that permits, or the rules of which one would be needed."""

    allowed: bool
    reason: str
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """A rule as it is explained: its id, what it needs, for which principals and verbs (None: all)."""

    id: str
    needs: str
    permits: bool
    principal: str
    verbs: frozenset[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Policies:
    parsed: Any
    rules: Mapping[str, _Rule]


class Access:
    """Answers for one directory and one declaration in force. Immutable and safe from any thread."""

    def __init__(self, directory: Directory, options: AccessOptions) -> None:
        self.directory = directory
        self.options = options

    def authorise(
        self, actor: Grant | Identity, verb: str, resource: Resource, context: Mapping[str, bool] | None = None
    ) -> Decision:
        """Whether `actor` may do `verb` to `resource`. `context` may say `emergency`. Unknown verbs are denied."""
        import cedarpy  # noqa: PLC0415 - a native library that most commands do not need

        if verb not in SCOPES or resource.kind not in _KINDS:
            return Decision(allowed=False, reason=f"there is no rule for {verb} of {resource.kind}")
        identity = actor if isinstance(actor, Identity) else self.directory.by_id(actor.identity)
        principal_type = _PRINCIPALS[actor.kind] if isinstance(actor, Grant) else "User"
        if principal_type == "User" and identity is None:
            who = actor.identity if isinstance(actor, Grant) else actor.id
            return Decision(allowed=False, reason=f"{who} is not (or no longer) an identity of the declaration")
        principal, held = _principal(actor, identity, principal_type)
        groups = self._groups(resource)
        asked = {"type": _KINDS[resource.kind], "id": f"{resource.project}:{resource.name}"}
        protected = resource.kind == "branch" and self.options.branch_rule(resource.project, resource.name) is not None
        request = {
            "principal": principal["uid"],
            "action": {"type": "Action", "id": verb},
            "resource": asked,
            "context": {
                "scopes": _scopes(actor),
                "scope": SCOPES[verb],
                "emergency": bool((context or {}).get("emergency", False)),
            },
        }
        entities = [
            principal,
            *held,
            {"uid": asked, "attrs": _attributes(resource, groups, protected=protected), "parents": []},
        ]
        policies = _policies()
        answer = cedarpy.is_authorized(request, policies.parsed, entities)
        # An error in a rule counts as a denial whatever the others say: fail closed.
        errors = tuple(str(error) for error in answer.diagnostics.errors)
        ids = tuple(sorted(policies.rules[one].id for one in answer.diagnostics.reasons))
        if answer.allowed and not errors:
            return Decision(allowed=True, reason=f"by the rule {', '.join(ids)}", rules=ids)
        return _denial(principal_type, _name(actor), verb, resource, groups, forbidden=ids, errors=errors)

    def require(
        self, actor: Grant | Identity, verb: str, resource: Resource, context: Mapping[str, bool] | None = None
    ) -> None:
        """`Denied` (`not-allowed`) unless `authorise` allows it."""
        decision = self.authorise(actor, verb, resource, context)
        if not decision.allowed:
            raise Denied("not-allowed", decision.reason, hint="ask somebody who may, or an administrator for the right")

    def _groups(self, resource: Resource) -> dict[str, tuple[str, ...]]:
        options = self.options
        rule = options.branch_rule(resource.project, resource.name) if resource.kind == "branch" else None
        return {
            "administrators": options.administrators,
            "developers": options.developers,
            "pushers": rule.push if rule else (),
            "mergers": rule.merge if rule else (),
            "deployers": options.deployers.get(resource.service, options.deployers.get("*", ())),
            "approvers": options.approvers.get(resource.environment, ()),
            "emergency_approvers": options.emergency_approvers.get(resource.environment, ()),
        }


@functools.cache
def _policies() -> _Policies:
    """The policies of this package, parsed once."""
    import cedarpy  # noqa: PLC0415 - as above

    text = importlib.resources.files("aegis.access").joinpath("policies.cedar").read_text(encoding="utf-8")
    described = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"]
    rules = {
        name: _Rule(
            id=one["annotations"]["id"],
            needs=one["annotations"]["needs"],
            permits=one["effect"] == "permit",
            principal=one["principal"]["entity_type"],
            verbs=_verbs(one["action"]),
        )
        for name, one in described.items()
    }
    return _Policies(parsed=cedarpy.PolicySet.from_str(text), rules=rules)


def _verbs(action: Mapping[str, Any]) -> frozenset[str] | None:
    if action["op"] == "All":
        return None
    entities = action.get("entities") or [action["entity"]]
    return frozenset(entity["id"] for entity in entities)


def _scopes(actor: Grant | Identity) -> list[str]:
    if isinstance(actor, Identity):
        return [ALL]
    return sorted({*actor.scopes, *(("read",) if "write" in actor.scopes else ())})


def _name(actor: Grant | Identity) -> str:
    return actor.id if isinstance(actor, Identity) else actor.identity


def _principal(
    actor: Grant | Identity, identity: Identity | None, kind: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The actor as an entity, and the groups that it is in."""
    name = _name(actor)
    parents: list[dict[str, str]] = []
    attributes: dict[str, Any] = {"name": name, "robot": False}
    if kind == "User" and identity is not None:
        parents = [{"type": "Group", "id": group} for group in sorted({*identity.groups, identity.id, EVERYONE})]
        attributes["robot"] = identity.robot
    if isinstance(actor, Grant):
        attributes |= {"project": actor.project, "group": _group(actor.project), "run": actor.run, "job": actor.job}
    entity = {"uid": {"type": kind, "id": name}, "attrs": attributes, "parents": parents}
    return entity, [{"uid": parent, "attrs": {}, "parents": []} for parent in parents]


def _attributes(resource: Resource, groups: Mapping[str, Iterable[str]], *, protected: bool) -> dict[str, Any]:
    held = {role: [{"__entity": {"type": "Group", "id": name}} for name in names] for role, names in groups.items()}
    return {
        **held,
        "name": resource.name,
        "project": resource.project,
        "group": _resource_group(resource),
        "run": resource.run,
        "quarantined": resource.quarantined,
        "public": resource.public,
        "protected": protected,
    }


def _group(project: str) -> str:
    return project.rsplit("/", 1)[0] if "/" in project else ""


def _resource_group(resource: Resource) -> str:
    """An index belongs to its project's group, or is named after its group."""
    return _group(resource.project) or (resource.name if resource.kind == "index" else "")


def _denial(
    principal: str,
    name: str,
    verb: str,
    resource: Resource,
    groups: Mapping[str, tuple[str, ...]],
    *,
    forbidden: tuple[str, ...],
    errors: tuple[str, ...],
) -> Decision:
    """A denial that names the rules of which one would be needed; those that forbid, where one does."""
    rules = tuple(_policies().rules.values())
    applying = [
        rule
        for rule in rules
        if rule.principal == principal and (rule.id in forbidden if forbidden else rule.permits and _covers(rule, verb))
    ]
    words = {role: ", ".join(names) or _NOBODY for role, names in groups.items()}
    words |= {
        "scope": SCOPES[verb],
        "project": resource.project or "that project",
        "group": _resource_group(resource) or "that group",
        "run": resource.run or "that run",
    }
    what = f"{name} may not {verb} {resource}"
    if errors:
        return Decision(allowed=False, reason=f"{what}: a rule could not be decided ({errors[0]})")
    if not applying:
        return Decision(allowed=False, reason=f"{what}: no rule lets a {principal.lower()} do that")
    said = {rule.id: rule.needs.format(**words) for rule in applying}
    # A way that nobody has is told only where there is no other.
    ways = {name: needs for name, needs in said.items() if _NOBODY not in needs} or said
    needed = "; or ".join(f"{needs} (rule {name})" for name, needs in ways.items())
    return Decision(allowed=False, reason=f"{what}: it needs {needed}", rules=tuple(rule.id for rule in applying))


def _covers(rule: _Rule, verb: str) -> bool:
    return rule.verbs is None or verb in rule.verbs
