"""Aegis's values in GitLab's words: the JSON objects of its REST. Pure translation."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from aegis.core import ids
from aegis.core.ports import CommitInfo
from aegis.core.types import Promotion, PromotionState, PublishedRelease, Release, Run
from aegis.delivery.gitlab_door import FoundJob, GitlabDoor
from aegis.delivery.options import EnvironmentOptions, ProjectOptions, ScheduleOptions
from aegis.delivery.queries.sources import Branch, Tag
from aegis.delivery.runner_views import RunnerView
from aegis.delivery.views import Cell, MergeRequestView, RunSummary
from aegis.execution.places import Place
from aegis.pipeline.predefined import environment_slug

Shape = dict[str, Any]
_DEPLOYMENTS: Final = {
    PromotionState.PROPOSED: "blocked", PromotionState.APPROVED: "created", PromotionState.COMMITTED: "running",
    PromotionState.DEPLOYED: "success", PromotionState.FAILED: "failed", PromotionState.REJECTED: "canceled",
    PromotionState.STALE: "canceled", PromotionState.EXPIRED: "canceled",
}  # fmt: skip
_TRACE: Final = "trace"


def time(at: datetime | None) -> str | None:
    """A time as GitLab writes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z" if at is not None else None


def project(door: GitlabDoor, one: ProjectOptions) -> Shape:
    """A project."""
    group, _, name = one.name.rpartition("/")
    web = f"{door.url}/?project={one.name}"
    return {
        "id": ids.number(f"project/{one.name}"), "name": name, "path": name, "path_with_namespace": one.name,
        "name_with_namespace": one.name.replace("/", " / "), "description": "", "default_branch": one.default_branch,
        "visibility": "private", "archived": False, "empty_repo": door.is_empty(one.name), "web_url": web,
        "http_url_to_repo": f"{door.url}/git/{one.name}.git", "ssh_url_to_repo": "", "readme_url": None,
        "namespace": {
            "id": ids.number(f"group/{group}"), "name": group.rpartition("/")[2], "path": group.rpartition("/")[2],
            "kind": "group", "full_path": group, "web_url": door.url,
        },
        "jobs_enabled": True, "merge_requests_enabled": True, "builds_access_level": "enabled", "topics": [],
        "ci_config_path": ".gitlab-ci.yml", "shared_runners_enabled": True, "merge_method": "merge",
    }  # fmt: skip


def commit(one: CommitInfo, web: str = "") -> Shape:
    """A commit."""
    return {
        "id": one.commit, "short_id": one.commit[:8], "title": one.message.partition("\n")[0], "message": one.message,
        "parent_ids": list(one.parents), "author_name": one.author_name, "author_email": one.author_email,
        "authored_date": time(one.authored_at), "committer_name": one.committer_name,
        "committer_email": one.committer_email, "committed_date": time(one.authored_at),
        "created_at": time(one.authored_at), "web_url": web, "trailers": {},
    }  # fmt: skip


def branch(one: Branch) -> Shape:
    """A branch."""
    return {
        "name": one.name, "commit": commit(one.tip), "default": one.default, "protected": one.protected, "merged": False,
        "developers_can_push": not one.protected, "developers_can_merge": not one.protected, "can_push": one.may_push,
        "web_url": "",
    }  # fmt: skip


def tag(one: Tag) -> Shape:
    """A tag."""
    return {
        "name": one.name, "target": one.target.commit, "commit": commit(one.target), "message": "", "protected": False,
        "release": None,
    }  # fmt: skip


def ref_of(run: Run | RunSummary) -> tuple[str, bool]:
    """A run's ref as GitLab shows it, and whether it is a tag."""
    kind, _, name = run.ref.removeprefix("refs/").partition("/")
    return (name if kind in ("heads", "tags") else run.ref), kind == "tags"


def pipeline(door: GitlabDoor, one: Run | RunSummary) -> Shape:
    """A pipeline."""
    number = door.numbers.of_run(one.id)
    ref, is_tag = ref_of(one)
    begun, ended = one.started_at, one.finished_at
    updated = ended or begun or one.created_at
    return {
        "id": number, "iid": number, "project_id": ids.number(f"project/{one.project}"), "sha": one.commit, "ref": ref,
        "status": one.state.value, "source": one.source, "tag": is_tag, "created_at": time(one.created_at),
        "updated_at": time(updated), "started_at": time(begun), "finished_at": time(ended),
        "duration": int((ended - begun).total_seconds()) if begun and ended else None, "before_sha": "0" * 40,
        "web_url": f"{door.url}/runs/{one.id}", "user": door.person(one.started_by), "yaml_errors": None, "coverage": None,
        "detailed_status": {"text": one.state.value, "label": one.state.value, "group": one.state.value},
    }  # fmt: skip


def job(door: GitlabDoor, one: FoundJob) -> Shape:
    """A job."""
    run, ran = one.run, one.job
    number = door.numbers.of_run(run.id)
    ref, is_tag = ref_of(run)
    files = [file for file in ran.files if file.kind == "archive"]
    shown = [*ran.files, *((ran.trace,) if ran.trace else ())]
    return {
        "id": one.number, "name": ran.name, "stage": ran.stage, "status": ran.state.value, "ref": ref, "tag": is_tag,
        "coverage": ran.coverage, "allow_failure": ran.allow_failure, "created_at": time(run.created_at),
        "started_at": time(ran.started_at), "finished_at": time(ran.finished_at), "erased_at": None,
        "duration": ran.run_seconds, "queued_duration": ran.queue_seconds, "failure_reason": ran.failure_reason,
        "user": door.person(run.started_by), "commit": {"id": run.commit, "short_id": run.commit[:8]},
        "pipeline": {
            "id": number, "iid": number, "project_id": ids.number(f"project/{run.project}"), "sha": run.commit,
            "ref": ref, "status": run.state.value, "source": run.source,
        },
        "web_url": f"{door.url}/runs/{run.id}/jobs/{ran.id}", "project": {"ci_job_token_scope_enabled": True},
        "artifacts": [
            {"file_type": file.kind, "size": file.size, "filename": file.name, "file_format": _format(file.kind)}
            for file in shown
        ],
        "artifacts_file": {"filename": files[0].name, "size": files[0].size} if files else None,
        "artifacts_expire_at": time(ran.files_until), "archived": False, "tag_list": list(one.spec.tags),
        "runner": {"description": ran.runner, "active": True} if ran.runner else None,
    }  # fmt: skip


def _format(kind: str) -> str:
    return {"archive": "zip", _TRACE: "raw"}.get(kind, "raw")


def environment(door: GitlabDoor, one: ProjectOptions, place: EnvironmentOptions, cell: Cell) -> Shape:
    """An environment; with what runs there."""
    last = None
    if cell.release is not None:
        last = {"id": ids.number(f"promotion/{cell.promotion}"), "ref": cell.version, "sha": cell.commit,
                "status": "success", "created_at": time(cell.since)}  # fmt: skip
    return {
        "id": environment_number(one.name, place.name), "name": place.name, "slug": place.name, "state": "available",
        "tier": "production" if place.name.startswith("prod") else "other", "external_url": cell.url or None,
        "description": "", "project": {"id": ids.number(f"project/{one.name}"), "path_with_namespace": one.name},
        "last_deployment": last, "auto_stop_at": None, "web_url": door.url,
    }  # fmt: skip


def place(door: GitlabDoor, one: Place) -> Shape:
    """An environment that a job has deployed."""
    last = None
    if one.deployed_at is not None:
        number = ids.number(f"place/{one.project}/{one.name}/{one.run}")
        last = {"id": number, "iid": number, "ref": one.ref.removeprefix("refs/heads/").removeprefix("refs/tags/"), "sha": one.commit, "status": "success",
                "created_at": time(one.deployed_at)}  # fmt: skip
    project = {"id": ids.number(f"project/{one.project}"), "path_with_namespace": one.project}
    return {
        "id": environment_number(one.project, one.name), "name": one.name, "slug": environment_slug(one.name), "state": one.state.value,
        "tier": one.tier, "external_url": one.url or None, "description": one.reason, "project": project,
        "last_deployment": last, "auto_stop_at": time(one.stops_at), "created_at": time(one.since),
        "updated_at": time(one.since), "web_url": f"{door.url}/runs/{one.run}" if one.run else door.url,
    }  # fmt: skip


def environment_number(project: str, name: str) -> int:
    """The number of an environment."""
    return ids.number(f"environment/{project}/{name}")


def deployment(door: GitlabDoor, one: ProjectOptions, made: Promotion) -> Shape:
    """A promotion, as a deployment."""
    number = ids.number(f"promotion/{made.id}")
    return {
        "id": number, "iid": number, "ref": made.release.partition("@")[2], "sha": made.commit or made.base,
        "status": _DEPLOYMENTS[made.state], "created_at": time(made.requested_at), "updated_at": time(made.requested_at),
        "user": door.person(made.requested_by), "deployable": None,
        "environment": {"id": environment_number(one.name, made.environment), "name": made.environment},
    }  # fmt: skip


def release(door: GitlabDoor, one: Release) -> Shape:
    """A release."""
    links = [
        {"id": ids.number(f"artifact/{made.digest}"), "name": f"{made.name} {made.version}", "link_type": "other",
         "url": f"{door.url}/releases/{one.id}", "direct_asset_url": f"{door.url}/releases/{one.id}"}
        for made in one.artifacts
    ]  # fmt: skip
    return {
        "tag_name": f"v{one.version}", "name": f"{one.service or one.project} {one.version}",
        "description": one.changelog, "created_at": time(one.at), "released_at": time(one.at),
        "upcoming_release": False, "commit": {"id": one.commit, "short_id": one.commit[:8]}, "commit_path": "",
        "assets": {"count": len(links), "sources": [], "links": links}, "evidences": [], "milestones": [],
    }  # fmt: skip


def published(door: GitlabDoor, one: PublishedRelease) -> Shape:
    """A release that a job has made."""
    links = [
        {"id": ids.number(f"link/{one.project}/{one.tag}/{at}"), "name": link.get("name", ""), "url": link.get("url", ""),
         "direct_asset_url": link.get("url", ""), "link_type": link.get("link_type", "other")}
        for at, link in enumerate(one.links)
    ]  # fmt: skip
    return {
        "tag_name": one.tag, "name": one.name, "description": one.description, "created_at": time(one.at),
        "released_at": one.released_at or time(one.at), "upcoming_release": False, "author": door.person(one.by),
        "commit": {"id": one.commit, "short_id": one.commit[:8]}, "commit_path": "", "evidences": [],
        "assets": {"count": len(links), "sources": [], "links": links},
        "milestones": [{"title": title} for title in one.milestones],
    }  # fmt: skip


def merge_request(door: GitlabDoor, one: MergeRequestView) -> Shape:
    """A merge request."""
    open_ = one.state == "opened"
    return {
        "id": ids.number(f"merge-request/{one.project}/{one.number}"), "iid": one.number,
        "project_id": ids.number(f"project/{one.project}"), "title": one.title, "description": one.description,
        "state": one.state, "source_branch": one.source_branch, "target_branch": one.target_branch, "sha": one.head,
        "author": door.person(one.opened_by), "merged_by": door.person(one.merged_by) if one.merged_by else None,
        "merge_commit_sha": one.merge_commit or None, "draft": False, "labels": [], "assignees": [], "reviewers": [],
        "merge_status": "can_be_merged" if one.may_merge else "cannot_be_merged",
        "detailed_merge_status": "mergeable" if one.may_merge else "ci_must_pass" if open_ else "not_open",
        "has_conflicts": False, "web_url": f"{door.url}/merge-requests/{one.project}/{one.number}",
        "references": {"short": f"!{one.number}", "full": f"{one.project}!{one.number}"},
    }  # fmt: skip


def runner(one: RunnerView) -> Shape:
    """A remote runner."""
    return {
        "id": one.number, "description": one.description, "active": not one.paused, "paused": one.paused,
        "is_shared": not one.projects, "runner_type": "project_type" if one.projects else "instance_type",
        "online": one.status == "online", "status": one.status, "contacted_at": time(one.contacted_at),
        "tag_list": list(one.tags), "run_untagged": one.run_untagged, "locked": one.locked,
        "access_level": "ref_protected" if one.protected else "not_protected",
        "maximum_timeout": one.maximum_timeout, "maintenance_note": one.note, "name": "gitlab-runner",
        "ip_address": one.machines[-1].address if one.machines else "", "projects": [], "groups": [],
    }  # fmt: skip


def schedule_number(one: ProjectOptions, name: str) -> int:
    """The number of a schedule."""
    return ids.number(f"schedule/{one.name}/{name}")


def schedule(door: GitlabDoor, one: ProjectOptions, name: str, made: ScheduleOptions) -> Shape:
    """A schedule."""
    return {
        "id": schedule_number(one, name),
        "description": name,
        "ref": made.branch,
        "cron": made.cron,
        "cron_timezone": made.zone,
        "next_run_at": time(door.next_run(made)),
        "active": made.active,
        "owner": door.person(made.owner) if made.owner else None,
        "variables": [
            {"key": key, "variable_type": "env_var", "value": value, "raw": False}
            for key, value in made.variables.items()
        ],
    }
