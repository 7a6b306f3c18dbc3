"""Rows about projects and their sources: branches, tags, commits, files, merge requests."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from aegis.core.errors import NotFound, UserError
from aegis.delivery.queries.sources import File
from aegis.web.gitlab_api import shapes
from aegis.web.gitlab_api.calls import Bytes, Call, Made, Rows, row

# -- projects ---------------------------------------------------------------------------------------------


@row("GET", "projects", "the projects that you may see", "gl.projects.list()")
def projects(call: Call) -> Any:
    search = call.text("search").lower()
    found = [one for one in call.door.projects(call.actor) if search in one.name.lower()]
    return Rows(rows=found, shown=lambda one: shapes.project(call.door, one))


@row("POST", "projects", "make the repository of a declared project", "gl.projects.create({…})")
def create_project(call: Call) -> Any:
    name = call.text("path") or call.need("name")
    group = call.text("namespace")
    wanted = f"{group}/{name}" if group else name
    declared = next(
        (one for one in call.door.projects(call.actor) if wanted in (one.name, one.name.rpartition("/")[2])), None
    )
    if declared is None:
        raise UserError("no-such-project", f"{wanted} is not declared in aegis.yaml")
    call.run("create-project", project=declared.name)
    return Made(value=shapes.project(call.door, declared))


@row("GET", "projects/:id", "one project, by number or path", "gl.projects.get('group/name')")
def project(call: Call) -> Any:
    return shapes.project(call.door, call.project)


# -- branches and tags ------------------------------------------------------------------------------------


@row("GET", "projects/:id/repository/branches", "branches", "project.branches.list()")
def branches(call: Call) -> Any:
    found = call.door.sources.branches(call.actor, call.project.name, search=call.text("search"))
    return Rows(rows=found, shown=shapes.branch)


@row("GET", "projects/:id/repository/branches/:branch", "one branch", "project.branches.get('main')")
def branch(call: Call) -> Any:
    return shapes.branch(call.door.sources.branch(call.actor, call.project.name, call.path["branch"]))


@row("POST", "projects/:id/repository/branches", "make a branch", "project.branches.create({…})")
def create_branch(call: Call) -> Any:
    name = call.need("branch")
    call.run("create-branch", project=call.project.name, branch=name, ref=call.need("ref"))
    return Made(value=shapes.branch(call.door.sources.branch(call.actor, call.project.name, name)))


@row("DELETE", "projects/:id/repository/branches/:branch", "remove a branch", "branch.delete()")
def delete_branch(call: Call) -> Any:
    call.run("delete-branch", project=call.project.name, branch=call.path["branch"])
    return Made()


@row("GET", "projects/:id/protected_branches", "the rules that protect branches", "project.protectedbranches.list()")
def protected_branches(call: Call) -> Any:
    return Rows(rows=call.door.sources.protections(call.actor, call.project.name), shown=_protection)


@row("GET", "projects/:id/protected_branches/:name", "one of them", "project.protectedbranches.get('main')")
def protected_branch(call: Call) -> Any:
    for one in call.door.sources.protections(call.actor, call.project.name):
        if one.pattern == call.path["name"]:
            return _protection(one)
    raise NotFound("no-such-branch", "Not found")


def _protection(one: Any) -> dict[str, Any]:
    def levels(names: tuple[str, ...]) -> list[dict[str, Any]]:
        return [{"access_level": 30, "access_level_description": name} for name in names] or [
            {"access_level": 0, "access_level_description": "No one"}
        ]

    return {
        "id": int.from_bytes(hashlib.sha256(one.pattern.encode()).digest()[:6]), "name": one.pattern,
        "push_access_levels": levels(one.push), "merge_access_levels": levels(one.merge), "allow_force_push": one.force,
        "code_owner_approval_required": False,
    }  # fmt: skip


@row("GET", "projects/:id/repository/tags", "tags", "project.tags.list()")
def tags(call: Call) -> Any:
    found = call.door.sources.tags(call.actor, call.project.name, search=call.text("search"))
    return Rows(rows=found, shown=shapes.tag)


@row("GET", "projects/:id/repository/tags/:tag", "one tag", "project.tags.get('v1.0.0')")
def tag(call: Call) -> Any:
    return shapes.tag(call.door.sources.tag(call.actor, call.project.name, call.path["tag"]))


# -- commits ----------------------------------------------------------------------------------------------


@row(
    "GET", "projects/:id/repository/commits", "commits of a ref, newest first", "project.commits.list(ref_name='main')"
)
def commits(call: Call) -> Any:
    found = call.door.sources.commits(call.actor, call.project.name, call.text("ref_name"))
    return Rows(rows=found, shown=shapes.commit)


@row("POST", "projects/:id/repository/commits", "write a commit of several files", "project.commits.create({…})")
def create_commit(call: Call) -> Any:
    actions = call.given.get("actions")
    if not isinstance(actions, list) or not all(isinstance(one, dict) for one in actions):
        raise UserError("parameter", "actions is missing")
    wanted = [
        {
            "action": str(one.get("action", "")), "path": str(one.get("file_path", "")),
            "content": str(one.get("content") or ""), "previous": str(one.get("previous_path") or ""),
            "encoding": str(one.get("encoding") or "text"),
        }
        for one in actions
    ]  # fmt: skip
    made = call.run(
        "commit-files", project=call.project.name, branch=call.need("branch"), message=call.need("commit_message"),
        start=call.text("start_branch"), actions=wanted,
    )  # fmt: skip
    return Made(value=shapes.commit(call.door.sources.commit(call.actor, call.project.name, made["commit"])))


@row("GET", "projects/:id/repository/commits/:sha", "one commit, by id, branch or tag", "project.commits.get('main')")
def commit(call: Call) -> Any:
    return shapes.commit(call.door.sources.commit(call.actor, call.project.name, call.path["sha"]))


@row(
    "GET", "projects/:id/repository/merge_base", "the best common ancestor", "project.repository_merge_base(['a', 'b'])"
)
def merge_base(call: Call) -> Any:
    refs = call.given.get("refs[]") or call.given.get("refs")
    if not isinstance(refs, list) or len(refs) != 2:
        raise UserError("parameter", "refs must be two")
    return shapes.commit(call.door.sources.merge_base(call.actor, call.project.name, str(refs[0]), str(refs[1])))


# -- files ------------------------------------------------------------------------------------------------


@row("GET", "projects/:id/repository/tree", "files and directories", "project.repository_tree()")
def tree(call: Call) -> Any:
    found = call.door.sources.tree(
        call.actor, call.project.name, call.text("ref"), call.text("path"), recursive=call.flag("recursive")
    )
    return Rows(
        rows=found,
        shown=lambda one: {
            "id": one.oid, "name": one.path.rpartition("/")[2], "path": one.path, "mode": one.mode,
            "type": {"040000": "tree", "160000": "commit"}.get(one.mode, "blob"),
        },
    )  # fmt: skip


def _file(call: Call) -> File:
    return call.door.sources.file(call.actor, call.project.name, call.text("ref"), call.path["path"])


@row(
    "GET",
    "projects/:id/repository/files/:path",
    "a file with its content",
    "project.files.get('README.md', ref='main')",
)
def file(call: Call) -> Any:
    found = _file(call)
    return {
        "file_name": found.path.rpartition("/")[2], "file_path": found.path, "size": len(found.content),
        "encoding": "base64", "content": base64.b64encode(found.content).decode(),
        "content_sha256": hashlib.sha256(found.content).hexdigest(), "ref": found.ref, "blob_id": found.blob,
        "commit_id": found.commit, "last_commit_id": found.last, "execute_filemode": found.mode == "100755",
    }  # fmt: skip


@row("GET", "projects/:id/repository/files/:path/raw", "a file's bytes", "project.files.raw('README.md', ref='main')")
def raw_file(call: Call) -> Any:
    found = _file(call)
    return Bytes(chunks=iter((found.content,)), size=len(found.content), name=found.path.rpartition("/")[2])


def _write(call: Call, action: str) -> Any:
    path = call.path["path"]
    call.run(
        "commit-files", project=call.project.name, branch=call.need("branch"), message=call.need("commit_message"),
        start=call.text("start_branch"),
        actions=[
            {"action": action, "path": path, "content": call.text("content"), "encoding": call.text("encoding", "text")}
        ],
    )  # fmt: skip
    return {"file_path": path, "branch": call.need("branch")}


@row("POST", "projects/:id/repository/files/:path", "make a file, in a commit", "project.files.create({…})")
def create_file(call: Call) -> Any:
    return Made(value=_write(call, "create"))


@row(
    "PUT", "projects/:id/repository/files/:path", "change a file, in a commit", "file.save(branch=…, commit_message=…)"
)
def update_file(call: Call) -> Any:
    return _write(call, "update")


@row(
    "DELETE",
    "projects/:id/repository/files/:path",
    "remove a file, in a commit",
    "file.delete(branch=…, commit_message=…)",
)
def delete_file(call: Call) -> Any:
    _write(call, "delete")
    return Made()


# -- merge requests ---------------------------------------------------------------------------------------


@row("GET", "projects/:id/merge_requests", "merge requests, newest first", "project.mergerequests.list(state='opened')")
def merge_requests(call: Call) -> Any:
    state = call.text("state", "all")
    wanted = "" if state == "all" else state
    found = [
        one
        for one in call.door.queries.merge_requests(call.actor, project=call.project.name, state=wanted)
        if call.text("source_branch") in ("", one.source_branch)
        and call.text("target_branch") in ("", one.target_branch)
    ]
    return Rows(rows=found, shown=lambda one: shapes.merge_request(call.door, one))


def _merge_request(call: Call) -> Any:
    number = call.path["iid"]
    if not number.isdigit():
        raise NotFound("no-such-merge-request", "Not found")
    return call.door.queries.merge_request(call.actor, call.project.name, int(number), min_seq=call.door.head())


@row("POST", "projects/:id/merge_requests", "open a merge request", "project.mergerequests.create({…})")
def create_merge_request(call: Call) -> Any:
    made = call.run(
        "open-merge-request", project=call.project.name, source=call.need("source_branch"),
        target=call.need("target_branch"), title=call.need("title"), description=call.text("description"),
    )  # fmt: skip
    number = int(made["number"])
    view = call.door.queries.merge_request(call.actor, call.project.name, number, min_seq=call.door.head())
    return Made(value=shapes.merge_request(call.door, view))


@row("GET", "projects/:id/merge_requests/:iid", "one merge request", "project.mergerequests.get(1)")
def merge_request(call: Call) -> Any:
    return shapes.merge_request(call.door, _merge_request(call))


@row(
    "PUT",
    "projects/:id/merge_requests/:iid",
    "close a merge request (`state_event`)",
    "mr.state_event = 'close'; mr.save()",
)
def update_merge_request(call: Call) -> Any:
    event = call.text("state_event")
    if event == "close":
        call.run("close", project=call.project.name, number=int(_merge_request(call).number))
    elif event:
        raise UserError("parameter", "state_event does not have a valid value")
    return shapes.merge_request(call.door, _merge_request(call))


@row("PUT", "projects/:id/merge_requests/:iid/merge", "merge it", "mr.merge()")
def merge(call: Call) -> Any:
    call.run("merge", project=call.project.name, number=int(_merge_request(call).number))
    return shapes.merge_request(call.door, _merge_request(call))


@row("GET", "projects/:id/merge_requests/:iid/pipelines", "its pipelines", "mr.pipelines.list()")
def merge_request_pipelines(call: Call) -> Any:
    return Rows(rows=_merge_request(call).runs, shown=lambda one: shapes.pipeline(call.door, one))
