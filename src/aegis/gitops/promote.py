"""What a promotion would change, exactly, and the commit that carries it out.

Decides: the files, the rendered difference that is shown and hashed, whether an approved plan still holds, and the
commit's message. Does not decide who may approve (`access.approvals` alone makes an `ApprovedPromotion`), and does
not write to Git: the caller commits `files` on top of the commit it read them from.

The plan hash covers the rendered difference, the content of everything the overlay is made of (so that a commit to
another service leaves it valid and any edit of this one does not), the release, the image digest and the policy.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aegis.core import codec, ids
from aegis.core.errors import Conflict, NotFound, UserError
from aegis.core.types import ApprovedPromotion, Release
from aegis.gitops import overlay
from aegis.gitops.manifest import Manifest, dump
from aegis.gitops.overlay import Files, Placed, ServiceSpec
from aegis.gitops.render import render


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionPlan:
    """The exact change. `files` are whole new contents by path (None deletes), `state` the hash of what it is based on."""

    service: str
    environment: str
    release: str
    previous: str | None
    digest: str
    base: str
    state: str
    policy_digest: str
    files: Mapping[str, bytes | None]
    diff: str
    plan_hash: str

    @property
    def changes(self) -> bool:
        """Whether anything would change."""
        return bool(self.diff)


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitRequest:
    """What to hand to `Repository.commit`, with `expect` being the commit the files were read from."""

    files: Mapping[str, bytes | None]
    message: str


def relevant(files: Files, service: str, environment: str) -> dict[str, bytes]:
    """The part of the repository that an environment of a service is rendered from."""
    roots = (f"{overlay.base_path(service)}/", f"{overlay.overlay_path(service, environment)}/")
    return {path: data for path, data in files.items() if path.startswith(roots)}


def state_of(files: Files, service: str, environment: str) -> str:
    """The digest of that part: equal for two commits that do not differ in it."""
    part = relevant(files, service, environment)
    rows = [(path, hashlib.sha256(part[path]).hexdigest()) for path in sorted(part)]
    return ids.sha256(codec.encode(rows))


def place(release: Release, image: str, *, promotion: str = "") -> Placed:
    """A release as it will stand in the overlay; `image` is the repository it is pulled from, without tag."""
    artifact = release.image
    if artifact is None:
        raise UserError(
            "release-without-image",
            f"{release.id} has no image, so it cannot be deployed",
            hint="only a service's release is promoted; a library is published",
        )
    return Placed(release=release.id, image=image, digest=artifact.digest, commit=release.commit, promotion=promotion)


def plan(
    files: Files, *, base: str, spec: ServiceSpec, environment: str, placed: Placed, policy_digest: str
) -> PromotionPlan:
    """The plan of putting `placed` into an environment, on top of commit `base` whose content is `files`.

    Works on any mapping that holds at least the service's folder. `NotFound` when the service has no overlay there.
    """
    path = overlay.overlay_path(spec.name, environment)
    if f"{path}/kustomization.yaml" not in files:
        raise NotFound(
            "overlay-missing",
            f"the GitOps repository has no {path}",
            hint="declare the environment in aegis.yaml; the server writes its overlay",
        )
    before = overlay.released(files, spec.name, environment)
    changed = _changed(files, overlay.set_release(spec, environment, placed), spec.name, environment)
    after_files = {name: data for name, data in {**files, **changed}.items() if data is not None}
    old = render(files, path) if before else ()
    diff = difference(old, render(after_files, path), old=_name(before), new=placed.release)
    state = state_of(files, spec.name, environment)
    return PromotionPlan(
        service=spec.name,
        environment=environment,
        release=placed.release,
        previous=before.release if before else None,
        digest=placed.digest,
        base=base,
        state=state,
        policy_digest=policy_digest,
        files=changed,
        diff=diff,
        plan_hash=_plan_hash(diff, state, placed, policy_digest),
    )


def _changed(files: Files, wanted: Mapping[str, bytes], service: str, environment: str) -> dict[str, bytes | None]:
    folder = f"{overlay.release_path(service, environment)}/"
    changed: dict[str, bytes | None] = {path: data for path, data in wanted.items() if files.get(path) != data}
    # What an earlier release left in the folder that promotions own, and this one does not need.
    changed.update({path: None for path in files if path.startswith(folder) and path not in wanted})
    return changed


def _name(placed: Placed | None) -> str:
    return placed.release if placed else "nothing"


def _plan_hash(diff: str, state: str, placed: Placed, policy_digest: str) -> str:
    return ids.sha256(
        codec.encode(
            {
                "difference": ids.sha256(diff.encode()),
                "state": state,
                "release": placed.release,
                "digest": placed.digest,
                "policy": policy_digest,
            }
        )
    )


def difference(before: Sequence[Manifest], after: Sequence[Manifest], *, old: str, new: str) -> str:
    """The rendered manifests before and after as one unified diff, empty when nothing differs."""
    lines = difflib.unified_diff(
        dump(before).splitlines(keepends=True), dump(after).splitlines(keepends=True), old, new, n=3
    )
    return "".join(lines)


def still_holds(approved: PromotionPlan, files: Files, *, policy_digest: str) -> str:
    """Why a plan no longer holds, as a sentence; empty while it does."""
    if approved.policy_digest != policy_digest:
        return "the policy has changed since the plan was made"
    now = overlay.released(files, approved.service, approved.environment)
    if (now.release if now else None) != approved.previous:
        return f"{approved.environment} now holds {_name(now)}, the plan was made on {approved.previous or 'nothing'}"
    if state_of(files, approved.service, approved.environment) != approved.state:
        return f"the manifests of {approved.service} in {approved.environment} have changed since the plan was made"
    return ""


def carry_out(approved: ApprovedPromotion, fresh: PromotionPlan) -> CommitRequest:
    """The commit of an approved promotion. `fresh` was planned against the branch's tip and today's policy just now.

    `Conflict` `plan-stale` when it is not the plan that was approved.
    """
    promotion = approved.promotion
    if fresh.plan_hash != promotion.plan_hash:
        raise Conflict(
            "plan-stale",
            f"what was approved for {promotion.environment} is not what would be done now",
            hint=f"aegis promote {promotion.release} {promotion.environment}: a new plan needs a new approval",
        )
    if (fresh.service, fresh.environment, fresh.release) != (
        promotion.service,
        promotion.environment,
        promotion.release,
    ):
        raise Conflict("plan-foreign", "the plan belongs to another promotion", hint="plan again")
    if not approved.approved_by:
        raise Conflict("plan-unapproved", "nobody approved this plan", hint=f"aegis approve {promotion.id}")
    verb = "Return" if promotion.rollback else "Promote"
    return CommitRequest(files=fresh.files, message=_message(verb, approved, fresh))


def _message(verb: str, approved: ApprovedPromotion, fresh: PromotionPlan) -> str:
    promotion = approved.promotion
    kind = "emergency, to be reviewed" if approved.review_required or promotion.emergency else ""
    reason = "; ".join(part for part in (promotion.reason, kind) if part)
    trailers = {
        "Aegis-Promotion": promotion.id,
        "Aegis-Release": fresh.release,
        "Aegis-Previous": fresh.previous or "none",
        "Aegis-Image": fresh.digest,
        "Aegis-Plan": fresh.plan_hash,
        "Aegis-Approved-By": ", ".join(approved.approved_by),
    }
    return _compose(f"{verb} {fresh.release} to {fresh.environment}", reason, trailers)


def revert(
    files: Files, *, base: str, spec: ServiceSpec, environment: str, to: Placed, policy_digest: str, reason: str
) -> tuple[PromotionPlan, CommitRequest]:
    """The commit by which a failed deployment returns to the earlier release `to`; a new commit, never a reset.

    It needs no approval: the state it returns to was approved when it was made.
    """
    planned = plan(files, base=base, spec=spec, environment=environment, placed=to, policy_digest=policy_digest)
    if not planned.changes:
        raise Conflict("revert-empty", f"{environment} already holds {to.release}", hint="nothing needs to be done")
    trailers = {
        "Aegis-Promotion": to.promotion or "none",
        "Aegis-Release": to.release,
        "Aegis-Reverts": planned.previous or "none",
        "Aegis-Image": to.digest,
        "Aegis-Plan": planned.plan_hash,
    }
    message = _compose(f"Return {environment} to {to.release}", reason, trailers)
    return planned, CommitRequest(files=planned.files, message=message)


def _compose(subject: str, body: str, trailers: Mapping[str, str]) -> str:
    lines = "".join(f"{name}: {_one_line(value)}\n" for name, value in trailers.items())
    # A reason must not be able to pass itself off as a trailer.
    text = "\n".join(line.replace("Aegis-", "aegis-") for line in body.strip().splitlines())
    return f"{_one_line(subject)}\n\n{text}\n\n{lines}" if text else f"{_one_line(subject)}\n\n{lines}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def trailers(message: str) -> dict[str, str]:
    """The Aegis trailers of a commit message: those of its last paragraph."""
    last = message.strip().rpartition("\n\n")[2]
    pairs = (line.partition(": ") for line in last.splitlines())
    return {name: value for name, colon, value in pairs if colon and name.startswith("Aegis-")}
