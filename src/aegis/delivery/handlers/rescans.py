"""Rescans: what is released is looked up again whenever the declared advisories change.

The bills of materials that were signed at the release are read, no layer. Looked up is what runs anywhere, what waits for a promotion, and
the newest release of each project. The report is evidence about the release; what the gates would block opens an entry in the
inbox, and stops promotions where the policy says so (`gates.dependencies.released`). What runs goes on running.
"""

from __future__ import annotations

import json
from typing import Any, Final

from aegis import __version__
from aegis.core import events
from aegis.core.errors import AegisError, Denied, NotFound
from aegis.core.events import Draft
from aegis.core.ids import sha256
from aegis.core.types import Evidence, Outcome, PromotionState, Reason, Release
from aegis.delivery import commands as ask
from aegis.delivery.context import Context
from aegis.delivery.dispatch import Asking, handles
from aegis.delivery.handlers import trust
from aegis.delivery.queries.world import WorldState
from aegis.delivery.views import Result
from aegis.gates import reports
from aegis.gates.findings import judge_findings
from aegis.gates.reports import DEPENDENCIES
from aegis.supplychain import rescan, signing
from aegis.supplychain.advisories import AdvisoryStore
from aegis.supplychain.provenance import CYCLONEDX
from aegis.supplychain.reports import dependency_report
from aegis.supplychain.scan import scan_dependencies

ADVISORIES: Final = "advisories"
"""In a rescan's summary: the digest of the advisories that it was made with."""
_WAITING: Final = frozenset({PromotionState.PROPOSED, PromotionState.APPROVED})


@handles(ask.RescanReleases)
def rescan_releases(context: Context, command: ask.RescanReleases, asking: Asking) -> Result:
    """Look up each concerned release that was not looked up in these advisories yet."""
    context.authorise(asking.actor, "rescan-releases", kind="server")
    del command
    archive = context.adopted.advisories()
    store, digest = rescan.advisories_of(archive), sha256(archive)
    if not len(store):
        return Result(seq=context.ledger.head().seq, message="no advisories are declared", values={"releases": []})
    done, unread, seq = [], [], context.ledger.head().seq
    for release in context.world.read(_concerned):
        known = latest(context, release.id)
        if known is not None and known.summary.get(ADVISORIES) == digest:
            continue
        done.append(release.id)
        if asking.dry_run:
            continue
        try:
            seq = _look_up(context, release, store, digest, asking)
        except AegisError:
            unread.append(
                release.id
            )  # unsigned or gone: the verifier tells that, and nothing here says that it is clean
    found = f"{len(done)} releases looked up in {len(store)} advisories"
    missed = f"; not readable: {', '.join(unread)}" if unread else ""
    return Result(
        seq=seq, message=found + missed, dry_run=asking.dry_run, values={"releases": done, "unreadable": unread}
    )


def permitted(context: Context, release: Release) -> None:
    """Raise `Denied` where the policy stops what has a blocking vulnerability by the latest advisories."""
    if context.options.gates.released is not Outcome.BLOCK:
        return
    reasons = blocking(context, latest(context, release.id))
    if reasons:
        raise Denied(
            "vulnerable", f"{release.id}: {reasons[0].message}", hint=reasons[0].mend or "release a mended version"
        )


def latest(context: Context, release: str) -> Evidence | None:
    """The last rescan of a release."""
    for record in reversed(context.subject(f"release/{release}")):
        if isinstance(record.data, events.EvidenceRecorded) and ADVISORIES in record.data.evidence.summary:
            return record.data.evidence
    return None


def blocking(context: Context, evidence: Evidence | None) -> tuple[Reason, ...]:
    """What the gates in force would block of it; a report that cannot be read blocks."""
    if evidence is None:
        return ()
    try:
        report, _ = reports.read(DEPENDENCIES, context.blobs.get(evidence.digest))
    except NotFound:
        report = None
    if not isinstance(report, reports.FindingsReport):
        return (Reason(gate=DEPENDENCIES, outcome=Outcome.BLOCK, message="its last rescan cannot be read"),)
    reasons = judge_findings(context.options.gates, DEPENDENCIES, (report,), context.clock.now())
    return tuple(one for one in reasons if one.outcome is Outcome.BLOCK)


def _look_up(context: Context, release: Release, store: AdvisoryStore, digest: str, asking: Asking) -> int:
    """Record the rescan, and open or settle its entry in the inbox; the last sequence number."""
    started = context.clock.now()
    scan = scan_dependencies(rescan.packages_of(_bills(context, release)), store)
    report = dependency_report(scan, started=started, ended=context.clock.now(), version=__version__)
    evidence = signing.sign_evidence(
        Evidence(
            id=context.new_id(), kind=DEPENDENCIES, subject=release.image.digest if release.image else release.commit,
            project=release.project, digest=context.blobs.put(report), media_type="application/json", run=release.run,
            uploaded_by="aegis",
            summary={"findings": str(len(scan.findings)), "packages": str(len(scan.packages)), ADVISORIES: digest},
        ),
        context.signer,
    )  # fmt: skip
    drafts = [_draft(release, f"release/{release.id}", events.EvidenceRecorded(evidence=evidence), asking)]
    reasons, subject = blocking(context, evidence), f"rescan/{release.id}"
    before = next((one.data for one in reversed(context.subject(subject))), None)
    if reasons:
        more = f", and {len(reasons) - 1} more" if len(reasons) > 1 else ""
        message = f"{reasons[0].message}{more}"[:1000]
        if not isinstance(before, events.ActionFailed) or before.message != message:
            failed = events.ActionFailed(key=release.id, code="vulnerable", message=message, hint=reasons[0].mend[:500])
            drafts.append(_draft(release, subject, failed, asking))
    elif isinstance(before, events.ActionFailed):
        settled = events.ActionCompleted(key=release.id, result="settled", found=False)
        drafts.append(_draft(release, subject, settled, asking))
    return context.append(*drafts)


def _bills(context: Context, release: Release) -> list[dict[str, Any]]:
    """The bills of materials of its image and wheels; `Denied` where the image's is not signed."""
    found = []
    if release.image is not None:
        statements = trust.statements(context, release)
        found += [one["predicate"] for one in statements if one.get("predicateType") == CYCLONEDX]
    for record in context.subject(f"release/{release.id}"):
        if isinstance(record.data, events.EvidenceRecorded) and record.data.evidence.kind == "sbom":
            signing.verify_evidence(context.signer.public_key(), record.data.evidence)
            found.append(json.loads(context.blobs.get(record.data.evidence.digest)))
    return found


def _concerned(state: WorldState) -> tuple[Release, ...]:
    names = dict.fromkeys(cell.release for cell in state.cells.values() if cell.release)
    names |= dict.fromkeys(
        one.promotion.release for one in state.promotions.values() if one.promotion.state in _WAITING
    )
    newest = {row.release.project: name for name, row in state.releases.items()}
    names |= dict.fromkeys(newest.values())
    return tuple(state.releases[name].release for name in names if name in state.releases)


def _draft(release: Release, subject: str, data: object, asking: Asking) -> Draft:
    return Draft(
        subject=subject, data=data, actor=asking.actor.id, project=release.project, service=release.service,
        cause=asking.cause,
    )  # fmt: skip
