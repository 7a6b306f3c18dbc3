"""Every supported call of GitLab's REST, made with python-gitlab against a live server; then errors, pages and tokens."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import gitlab
import httpx
import pytest
from gitlab.exceptions import GitlabAuthenticationError, GitlabError, GitlabGetError

from aegis.web.gitlab_api.rest import ROWS
from support.rest_checks import (
    check_bridges,
    check_environment_by_hand,
    check_job_erased,
    check_pages,
    check_played_schedule,
    check_tags,
    check_that_jobs_get_them,
    check_that_pages_are_removed,
    check_trigger,
    check_variables,
)
from support.runner_simulator import SimulatedRunner
from support.server import DECLARATION, TeamServer, environment, is_type, service_files, team

PIPELINE = """
build:
  script:
    - mkdir -p out/deep
    - echo one > out/a.txt
    - echo two > out/deep/b.txt
    - echo "in <$REGION> <$ONLY_PROTECTED> <$CI_COMMIT_REF_PROTECTED> <$CI_PROJECT_ID> for <$GITLAB_USER_LOGIN>"
  artifacts: {paths: [out], expire_in: 1 week}
by-hand:
  when: manual
  script: [echo "by hand with <$GIVEN> and <$MORE>"]
fleet:
  tags: [nowhere]
  script: [echo never]
"""
DEPLOYING = """
deploy: {script: ['true'], environment: {name: live, url: 'https://live.example', on_stop: stop, auto_stop_in: 1 day}}
stop: {script: ['true'], when: manual, environment: {name: live, action: stop}}
"""
# Jobs with tags wait for a runner that has them.
TAGGED = DECLARATION.replace("runner: {concurrency: 2,", "runner: {concurrency: 2, tags: [],").replace(
    "team/tools: {kind: library, index: team}",
    "team/tools:\n    kind: library\n    index: team\n    schedules:\n"
    "      nightly: {cron: '30 2 * * *', branch: work, zone: Asia/Seoul, variables: {FULL: 'yes'}, active: true}\n"
    "    variables: {REGION: eu-west-1, ONLY_PROTECTED: {value: kept, protected: true}}",
)
FINISHED = "dev.cdevents.taskrun.finished"


@dataclass
class World:
    """A server with a deployed service and a library whose pipeline has run."""

    server: TeamServer
    run: int = 0
    sha: str = ""
    branches: int = 0
    seen: set[str] = field(default_factory=set)

    def client(self, who: str) -> gitlab.Gitlab:
        made = gitlab.Gitlab(self.server.url, private_token=self.server.person(who).token)
        made.auth()
        return made

    @property
    def gl(self) -> gitlab.Gitlab:
        return self.client("ana")

    @property
    def admin(self) -> gitlab.Gitlab:
        return self.client("olga")

    @property
    def project(self) -> Any:
        return self.gl.projects.get("team/tools")

    @property
    def web(self) -> Any:
        return self.gl.projects.get("team/web")

    def branch(self) -> str:
        """A fresh branch, whose pipeline is not of interest."""
        self.branches += 1
        name = f"branch/{self.branches}"
        self.project.branches.create({"branch": name, "ref": "work"})
        return name

    def job(self, name: str) -> Any:
        listed = next(one for one in self.project.pipelines.get(self.run).jobs.list() if one.name == name)
        return self.project.jobs.get(listed.id)

    def file(self, **more: str) -> Any:
        branch = self.branch()
        self.project.files.create({"file_path": "docs/a.md", "branch": branch, "content": "one\n",
                                   "commit_message": "docs: begin", **more})  # fmt: skip
        return branch, self.project.files.get("docs/a.md", ref=branch)

    def merge_request(self) -> Any:
        branch, _ = self.file()
        return self.project.mergerequests.create({"source_branch": branch, "target_branch": "work", "title": "Try"})

    def runner(self) -> Any:
        made = self.admin.user.runners.create({"runner_type": "instance_type", "tag_list": ["a"], "description": "r"})
        return self.admin.runners.get(made.id)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with team(tmp_path_factory.mktemp("rest"), TAGGED) as server:
        server.tree("team/web", service_files(), by="ana")
        taken, told = server.trees["team/web"].push("develop", server.person("olga"))
        assert taken, told
        server.tree("team/tools", {".gitlab-ci.yml": PIPELINE, "README.md": "tools\n"}, by="ana")
        since = server.head()
        taken, told = server.trees["team/tools"].push("work", server.person("ana"))
        assert taken, told
        made = World(server)
        run = server.wait("a run", is_type("dev.cdevents.pipelinerun.queued", project="team/tools"), since=since)
        made.run = run["seq"]
        made.sha = run["data"]["run"]["commit"]
        server.wait("the job", is_type(FINISHED, project="team/tools"), since=since)
        server.wait("the deployment", is_type("aegis.promotion.finished"))
        tools, ana = server.root / "work" / "tools", server.person("ana")
        remote = f"{server.url.replace('://', f'://ana:{ana.token}@')}/git/team/tools.git"
        for command in (["tag", "try-1"], ["push", "-q", remote, "try-1"]):
            subprocess.run(["git", "-C", str(tools), *command], check=True, env=environment())
        yield made


def check_kept(world: World) -> None:
    before = world.job("build")
    assert before.artifacts_expire_at is not None
    before.keep_artifacts()
    assert world.job("build").artifacts_expire_at is None


def check_deleted_artifacts(world: World) -> None:
    before = world.job("build")
    assert before.artifacts_file["filename"] == "artifacts.zip"
    before.delete_artifacts()
    after = world.job("build")
    assert (after.artifacts_file, [one["file_type"] for one in after.attributes["artifacts"]]) == (None, ["trace"])
    assert b"echo one" in after.trace()
    with pytest.raises(GitlabGetError, match="404"):
        after.artifacts()


def check_own_job(world: World) -> None:
    """With the token of a job that runs: a remote runner holds one."""
    runner = world.admin.user.runners.create(
        {"runner_type": "instance_type", "tag_list": "nowhere", "description": "x"}
    )
    simulated = SimulatedRunner(world.server.url, runner.token, world.server.root / "holder")
    document = simulated.take()
    try:
        held = gitlab.Gitlab(world.server.url, job_token=document["token"])
        assert held.http_get("/job")["name"] == "fleet"
        assert [one.path_with_namespace for one in held.projects.list(get_all=True)] == ["team/tools"]
        assert held.projects.get("team/tools").files.raw("README.md", ref="work") == b"tools\n"
        for refused in (
            lambda: held.projects.get("team/web"),
            lambda: held.projects.get("team/tools").branches.create({"branch": "x", "ref": "work"}),
            lambda: held.projects.get("team/tools").pipelines.create({"ref": "work"}),
            lambda: held.http_post("/user/runners", post_data={"run_untagged": True}),
        ):
            with pytest.raises(GitlabError):
                refused()
        simulated.work(document)
        with pytest.raises(GitlabAuthenticationError):
            held.http_get("/job")
    finally:
        simulated.wire.close()


def check_pipeline_actions(world: World, act: str) -> None:
    made = world.project.pipelines.create({"ref": "work"})
    if act == "create":
        assert made.ref == "work"
        assert made.source == "api"
        return
    made.cancel()
    world.server.wait("its end", lambda one: one["type"] == "dev.cdevents.pipelinerun.finished", since=made.id)
    assert world.project.pipelines.get(made.id).status == "canceled"
    if act == "retry":
        made.retry()
        again = world.project.pipelines.get(made.id)
        assert again.status in ("running", "pending")
        # Also the job that was canceled before any runner had it.
        assert next(one.status for one in again.jobs.list() if one.name == "fleet") == "pending"


def check_job_actions(world: World, act: str) -> None:
    made = world.project.pipelines.create({"ref": "work", "variables": [{"key": "GIVEN", "value": "a word"}]})
    jobs = {one.name: world.project.jobs.get(one.id) for one in made.jobs.list()}
    if act == "play":
        since = world.server.head()
        given = {"job_variables_attributes": [{"key": "MORE", "value": "another"}]}
        world.gl.http_post(f"/projects/{world.project.id}/jobs/{jobs['by-hand'].id}/play", post_data=given)
        world.server.wait(
            "its end", lambda one: one["type"] == FINISHED and one["data"]["job"]["name"] == "by-hand", since=since
        )
        assert b"by hand with <a word> and <another>" in world.project.jobs.get(jobs["by-hand"].id).trace()
        again = world.project.pipelines.create({"ref": "work"}).jobs.list()
        world.project.jobs.get(next(one.id for one in again if one.name == "by-hand")).play()
        with pytest.raises(GitlabError):
            jobs["build"].play()
        return
    jobs["fleet"].cancel()
    assert world.project.jobs.get(jobs["fleet"].id).status == "canceled"
    if act == "retry":
        jobs["fleet"].retry()
        latest = next(one for one in made.jobs.list() if one.name == "fleet")
        assert latest.id != jobs["fleet"].id
        assert latest.status == "pending"
        assert len(made.jobs.list(include_retried=True)) == len(jobs) + 1


def check_environment_stop(world: World) -> None:
    branch = world.branch()
    since = world.server.head()
    actions = [{"action": "update", "file_path": ".gitlab-ci.yml", "content": DEPLOYING}]
    world.project.commits.create({"branch": branch, "commit_message": "feat: deploy", "actions": actions})
    world.server.wait("the deployment", is_type("aegis.environment.used"), since=since)
    made = world.project.environments.list(name="live")[0]
    assert (made.state, made.external_url) == ("available", "https://live.example")
    assert made.last_deployment["ref"] == branch
    assert made.auto_stop_at > made.last_deployment["created_at"]
    since = world.server.head()
    made.stop()
    world.server.wait("its stop", is_type("aegis.environment.used"), since=since)
    assert [one.name for one in world.project.environments.list(states="stopped")] == ["live"]
    with pytest.raises(GitlabError):
        world.web.environments.list(name="development")[0].stop()


def check_commit(world: World) -> None:
    actions = [
        {"action": "create", "file_path": "a/b.bin", "content": "AAEC", "encoding": "base64"},
        {"action": "move", "file_path": "READ.md", "previous_path": "README.md"},
    ]
    made = world.project.commits.create(
        {"branch": "from-api", "start_branch": "work", "commit_message": "feat: by API\n\nmore", "actions": actions}
    )
    assert (made.title, made.author_email, made.parent_ids) == ("feat: by API", "ana@team.example", [world.sha])
    project = world.project
    assert project.files.raw("a/b.bin", ref="from-api") == b"\0\1\2"
    assert {one["path"] for one in project.repository_tree(ref="from-api")} == {".gitlab-ci.yml", "READ.md", "a"}
    with pytest.raises(GitlabError):
        project.commits.create({"branch": "main", "commit_message": "x", "start_branch": "work", "actions": [
            {"action": "delete", "file_path": "no-such-file"}]})  # fmt: skip


def check_file_changes(world: World, act: str) -> None:
    branch, file = world.file()
    if act == "create":
        assert file.decode() == b"one\n"
        return
    if act == "update":
        file.content = "two\n"
        file.save(branch=branch, commit_message="docs: two")
        assert world.project.files.raw("docs/a.md", ref=branch) == b"two\n"
        return
    file.delete(branch=branch, commit_message="docs: none")
    with pytest.raises(GitlabGetError):
        world.project.files.get("docs/a.md", ref=branch)


def check_merge_request(world: World, act: str) -> None:
    made = world.merge_request()
    assert made.state == "opened"
    if act == "close":
        made.state_event = "close"
        made.save()
        assert world.project.mergerequests.get(made.iid).state == "closed"
    elif act == "merge":
        with pytest.raises(GitlabError):  # its pipeline never passes: a job waits for a runner that is not there
            made.merge()
    elif act == "pipelines":
        assert isinstance(made.pipelines.list(), list)
    else:
        assert world.project.mergerequests.get(made.iid).title == "Try"
        assert made.iid in [one.iid for one in world.project.mergerequests.list(state="opened")]


def check_runner(world: World, act: str) -> None:
    runner = world.runner()
    assert (runner.tag_list, runner.paused, runner.status) == (["a"], False, "never_contacted")
    if act == "change":
        runner.paused = True
        runner.tag_list = ["b", "c"]
        runner.save()
        assert world.admin.runners.get(runner.id).tag_list == ["b", "c"]
        assert world.admin.runners.get(runner.id).active is False
    elif act == "reset":
        assert world.admin.http_post(f"/runners/{runner.id}/reset_authentication_token")["token"].startswith("glrt-")
    else:
        assert runner.id in [one.id for one in world.admin.runners.list(get_all=True)]
        assert runner.id in [one.id for one in world.admin.runners_all.list(get_all=True)]
        runner.delete()
        assert runner.id not in [one.id for one in world.admin.runners.list(get_all=True)]


def check_trace(world: World) -> None:
    told = world.job("build").trace().decode()
    assert "Job succeeded" in told
    assert f"in <eu-west-1> <> <false> <{world.project.id}> for <ana>" in told


def check_schedule(world: World) -> None:
    listed = world.project.pipelineschedules.list(get_all=True)
    found = world.project.pipelineschedules.get(listed[0].id)
    assert (found.description, found.ref, found.cron, found.active) == ("nightly", "work", "30 2 * * *", True)
    assert found.next_run_at.endswith("T17:30:00.000Z")
    assert found.attributes["variables"][0]["key"] == "FULL"


def check_lint(world: World) -> None:
    good = world.project.ci_lint.create({"content": PIPELINE, "include_jobs": True})
    assert good.valid
    assert [one["name"] for one in good.jobs] == ["build", "by-hand", "fleet"]
    kept = {"content": "a: {script: [x], rules: [{if: $ONLY_PROTECTED}]}", "include_jobs": True, "dry_run": True}
    assert [one["name"] for one in world.project.ci_lint.create(kept).jobs] == ["a"]
    assert world.project.ci_lint.create({**kept, "ref": "work"}).jobs == []
    bad = world.project.ci_lint.create({"content": "a:\n  scrpt: [x]\n"})
    assert not bad.valid
    assert bad.errors


def among(wanted: Any, found: Any) -> None:
    assert wanted in found


def equal(found: Any, wanted: Any) -> None:
    assert found == wanted


VARIABLE_CALLS = (("GET", ""), ("POST", ""), ("GET", "/:key"), ("PUT", "/:key"), ("DELETE", "/:key"))
CHECKS: dict[str, Callable[[World], Any]] = {
    "GET version": lambda w: equal(len(w.gl.version()), 2),
    "GET metadata": lambda w: among("kas", w.gl.http_get("/metadata")),
    "GET user": lambda w: w.gl.auth(),
    "GET projects": lambda w: equal([one.path for one in w.gl.projects.list(search="tools")], ["tools"]),
    "POST projects": lambda w: equal(w.admin.projects.create({"name": "tools", "path": "team/tools"}).path, "tools"),
    "GET projects/:id": lambda w: equal(w.gl.projects.get(w.project.id).path_with_namespace, "team/tools"),
    "GET projects/:id/repository/branches": lambda w: equal(
        w.project.branches.list(search="^work")[0].commit["id"], w.sha
    ),
    "GET projects/:id/repository/branches/:branch": lambda w: equal(w.web.branches.get("develop").name, "develop"),
    "POST projects/:id/repository/branches": lambda w: w.project.branches.get(w.branch()),
    "DELETE projects/:id/repository/branches/:branch": lambda w: w.project.branches.get(w.branch()).delete(),
    "GET projects/:id/protected_branches": lambda w: equal(
        {one.name for one in w.project.protectedbranches.list()}, {"develop", "main"}
    ),
    "GET projects/:id/protected_branches/:name": lambda w: equal(w.project.protectedbranches.get("main").name, "main"),
    "GET projects/:id/repository/tags": lambda w: equal([one.name for one in w.project.tags.list()], ["try-1"]),
    "GET projects/:id/repository/tags/:tag": lambda w: equal(w.project.tags.get("try-1").target, w.sha),
    "GET projects/:id/repository/commits": lambda w: equal(w.project.commits.list(ref_name="work")[0].id, w.sha),
    "POST projects/:id/repository/commits": check_commit,
    "GET projects/:id/repository/commits/:sha": lambda w: equal(w.project.commits.get("work").id, w.sha),
    "GET projects/:id/repository/merge_base": lambda w: equal(
        w.project.repository_merge_base(["work", w.sha])["id"], w.sha
    ),
    "GET projects/:id/repository/tree": lambda w: equal(
        [one["path"] for one in w.project.repository_tree(ref="work")], [".gitlab-ci.yml", "README.md"]
    ),
    "GET projects/:id/repository/files/:path": lambda w: equal(
        w.project.files.get("README.md", ref="work").decode(), b"tools\n"
    ),
    "GET projects/:id/repository/files/:path/raw": lambda w: equal(
        w.project.files.raw("README.md", ref="work"), b"tools\n"
    ),
    "POST projects/:id/repository/files/:path": lambda w: check_file_changes(w, "create"),
    "PUT projects/:id/repository/files/:path": lambda w: check_file_changes(w, "update"),
    "DELETE projects/:id/repository/files/:path": lambda w: check_file_changes(w, "delete"),
    "GET projects/:id/merge_requests": lambda w: check_merge_request(w, "list"),
    "POST projects/:id/merge_requests": lambda w: check_merge_request(w, "create"),
    "GET projects/:id/merge_requests/:iid": lambda w: check_merge_request(w, "get"),
    "PUT projects/:id/merge_requests/:iid": lambda w: check_merge_request(w, "close"),
    "PUT projects/:id/merge_requests/:iid/merge": lambda w: check_merge_request(w, "merge"),
    "GET projects/:id/merge_requests/:iid/pipelines": lambda w: check_merge_request(w, "pipelines"),
    "GET projects/:id/pipelines": lambda w: among(
        w.run, [one.id for one in w.project.pipelines.list(sha=w.sha, source="push", get_all=True)]
    ),
    "GET projects/:id/pipelines/latest": lambda w: equal(w.project.pipelines.latest(ref="work").ref, "work"),
    "GET projects/:id/pipelines/:pipeline": lambda w: equal(w.project.pipelines.get(w.run).sha, w.sha),
    "POST projects/:id/pipeline": lambda w: check_pipeline_actions(w, "create"),
    "POST projects/:id/pipelines/:pipeline/cancel": lambda w: check_pipeline_actions(w, "cancel"),
    "POST projects/:id/pipelines/:pipeline/retry": lambda w: check_pipeline_actions(w, "retry"),
    "GET projects/:id/pipelines/:pipeline/jobs": lambda w: equal(
        [one.name for one in w.project.pipelines.get(w.run).jobs.list()], ["build", "by-hand", "fleet"]
    ),
    "GET projects/:id/pipeline_schedules": check_schedule,
    "GET projects/:id/pipeline_schedules/:schedule": check_schedule,
    "GET projects/:id/jobs": lambda w: among(
        "build", [one.name for one in w.project.jobs.list(scope=["success"], get_all=True)]
    ),
    "GET job": check_own_job,
    "GET projects/:id/jobs/:job": lambda w: equal(w.job("build").status, "success"),
    "GET projects/:id/jobs/:job/trace": check_trace,
    "POST projects/:id/jobs/:job/retry": lambda w: check_job_actions(w, "retry"),
    "POST projects/:id/jobs/:job/play": lambda w: check_job_actions(w, "play"),
    "POST projects/:id/jobs/:job/cancel": lambda w: check_job_actions(w, "cancel"),
    "GET projects/:id/jobs/:job/artifacts": lambda w: equal(w.job("build").artifacts()[:2], b"PK"),
    "POST projects/:id/jobs/:job/artifacts/keep": check_kept,
    "GET projects/:id/jobs/:job/artifacts/*path": lambda w: equal(w.job("build").artifact("out/deep/b.txt"), b"two\n"),
    "GET projects/:id/jobs/artifacts/:ref/download": lambda w: equal(
        w.project.artifacts.download("work", "build")[:2], b"PK"
    ),
    "GET projects/:id/jobs/artifacts/:ref/raw/*path": lambda w: equal(
        w.project.artifacts.raw("work", "out/a.txt", "build"), b"one\n"
    ),
    "DELETE projects/:id/jobs/:job/artifacts": check_deleted_artifacts,
    "GET projects/:id/environments": lambda w: equal(
        {one.name for one in w.web.environments.list()}, {"development", "staging", "production"}
    ),
    "GET projects/:id/environments/:environment": lambda w: equal(
        w.web.environments.get(w.web.environments.list(name="development")[0].id).last_deployment["status"], "success"
    ),
    "POST projects/:id/environments/:environment/stop": check_environment_stop,
    "GET projects/:id/deployments": lambda w: equal(
        w.web.deployments.list(environment="development")[0].status, "success"
    ),
    "GET projects/:id/deployments/:deployment": lambda w: equal(
        w.web.deployments.get(w.web.deployments.list(environment="development")[0].id).environment["name"],
        "development",
    ),
    "GET projects/:id/releases": lambda w: equal(w.web.releases.list()[0].tag_name[0], "v"),
    "GET projects/:id/releases/:tag": lambda w: equal(
        w.web.releases.get(w.web.releases.list()[0].tag_name).commit["id"], w.web.commits.get("develop").id
    ),
    "POST projects/:id/environments": check_environment_by_hand,
    "DELETE projects/:id/environments/:environment": check_environment_by_hand,
    "POST projects/:id/trigger/pipeline": check_trigger,
    "GET projects/:id/pipelines/:pipeline/variables": check_trigger,
    "POST projects/:id/pipeline_schedules/:schedule/play": check_played_schedule,
    "GET projects/:id/pipelines/:pipeline/bridges": check_bridges,
    "POST projects/:id/jobs/:job/erase": check_job_erased,
    "POST projects/:id/repository/tags": check_tags,
    "DELETE projects/:id/repository/tags/:tag": check_tags,
    "GET projects/:id/pages": check_pages,
    "DELETE projects/:id/pages": check_that_pages_are_removed,
    "GET groups": lambda w: equal([one.full_path for one in w.gl.groups.list()], ["team"]),
    "GET groups/:id": lambda w: equal(w.gl.groups.get(w.gl.groups.get("team").id).path, "team"),
    **dict.fromkeys(
        [f"{method} projects/:id/variables{key}" for method, key in VARIABLE_CALLS],
        lambda w: check_variables(w.admin.projects.get("team/tools"), w.project),
    ),
    **dict.fromkeys(
        [f"{method} groups/:id/variables{key}" for method, key in VARIABLE_CALLS],
        lambda w: check_variables(w.admin.groups.get("team"), w.gl.groups.get("team")),
    ),
    "POST projects/:id/ci/lint": check_lint,
    "GET projects/:id/ci/lint": lambda w: equal(w.project.ci_lint.get(content_ref="work").errors, []),
    "POST user/runners": lambda w: check_runner(w, "create"),
    "GET runners": lambda w: check_runner(w, "list"),
    "GET runners/all": lambda w: check_runner(w, "list"),
    "GET runners/:runner": lambda w: check_runner(w, "get"),
    "PUT runners/:runner": lambda w: check_runner(w, "change"),
    "DELETE runners/:runner": lambda w: check_runner(w, "delete"),
    "POST runners/:runner/reset_authentication_token": lambda w: check_runner(w, "reset"),
}


def test_jobs_get_the_variables_that_are_kept_for_them(world: World) -> None:
    check_that_jobs_get_them(world)


def test_every_row_of_the_table_has_a_check() -> None:
    assert sorted(CHECKS) == sorted(one.key for one in ROWS)


@pytest.mark.parametrize("key", [one.key for one in ROWS])
def test_a_call_does_what_its_row_says(world: World, key: str) -> None:
    CHECKS[key](world)


# -- pages, errors, tokens ------------------------------------------------------------------------------------


def test_lists_come_in_pages_by_number_and_by_key(world: World) -> None:
    headers = {"PRIVATE-TOKEN": world.server.person("ana").token}
    url = f"{world.server.url}/api/v4/projects/team%2Ftools/pipelines/{world.run}/jobs"
    first = httpx.get(url, params={"per_page": "2"}, headers=headers)
    got = [
        first.headers[f"x-{name}"] for name in ("total", "total-pages", "page", "per-page", "next-page", "prev-page")
    ]
    assert got == ["3", "2", "1", "2", "2", ""]
    assert set(first.links) == {"first", "last", "next"}
    second = httpx.get(first.links["next"]["url"], headers=headers)
    assert [one["name"] for one in (*first.json(), *second.json())] == ["build", "by-hand", "fleet"]
    assert "token" not in first.links["next"]["url"]
    keyed = httpx.get(url, params={"per_page": "2", "pagination": "keyset", "order_by": "id"}, headers=headers)
    assert "x-total" not in keyed.headers
    after = httpx.get(keyed.links["next"]["url"], headers=headers)
    assert [one["name"] for one in after.json()] == ["fleet"]
    assert not after.links
    assert len(world.project.pipelines.get(world.run).jobs.list(iterator=True, per_page=1)) == 3
    assert [one.path for one in world.gl.projects.list(pagination="keyset", order_by="id", per_page=1, get_all=True)] == [
        "platform", "tools", "web",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "projects/none%2Fsuch", 404, "404 Not Found - Project Not Found"),
        ("GET", "projects/team%2Ftools/pipelines/999999999", 404, "404 Not Found"),
        ("GET", "projects/team%2Ftools/jobs/1", 404, "404 Not Found"),
        ("GET", "projects/team%2Ftools/repository/files/nope?ref=work", 404, "404 Not Found - File Not Found"),
        ("GET", "no/such/call", 404, "404 Not Found"),
        ("PUT", "projects", 405, "405 Method Not Allowed"),
        ("POST", "projects/team%2Ftools/pipeline", 400, "400 Bad Request - ref is missing"),
        ("GET", "projects?page=zero", 400, "400 Bad Request - page does not have a valid value"),
        ("POST", "user/runners", 403, "403 Forbidden"),
        ("DELETE", "projects/team%2Fweb/repository/branches/develop", 403, "403 Forbidden"),
    ],
)  # fmt: skip
def test_errors_have_gitlabs_form(world: World, method: str, path: str, status: int, message: str) -> None:
    headers = {"Authorization": f"Bearer {world.server.person('ana').token}"}
    answer = httpx.request(method, f"{world.server.url}/api/v4/{path}", headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["message"].startswith(message), answer.json()


def test_without_a_valid_token_nothing_is_told(world: World) -> None:
    for headers in ({}, {"PRIVATE-TOKEN": "glpat-nothing"}, {"JOB-TOKEN": "x"}, {"Authorization": "Basic eA=="}):
        for path in ("projects", "projects/team%2Ftools", "no/such/call", "user"):
            assert httpx.get(f"{world.server.url}/api/v4/{path}", headers=headers).status_code == 401
    with pytest.raises(GitlabAuthenticationError):
        gitlab.Gitlab(world.server.url, private_token="nothing").auth()


def test_forms_and_json_are_read_alike(world: World) -> None:
    token = world.server.person("ana").token
    url = f"{world.server.url}/api/v4/projects/team%2Ftools/repository/branches"
    for number, body in enumerate(
        ({"data": {"branch": "form-0", "ref": "work"}}, {"json": {"branch": "form-1", "ref": "work"}})
    ):
        answer = httpx.post(url, params={"private_token": token}, **body)  # type: ignore[arg-type]
        assert answer.status_code == 201, answer.text
        assert answer.json()["name"] == f"form-{number}"
    broken = httpx.post(url, headers={"PRIVATE-TOKEN": token, "Content-Type": "application/json"}, content=b"{")
    assert broken.status_code == 400
    assert json.loads(broken.text)["message"].startswith("400 Bad Request")


def test_what_the_api_commits_is_a_change_like_a_push(world: World) -> None:
    since = world.server.head()
    world.file()
    change = world.server.wait("the change", is_type("aegis.change.pushed"), since=since)
    assert change["actor"] == "ana"
    world.server.wait("its pipeline", is_type("dev.cdevents.pipelinerun.queued"), since=since)
    with pytest.raises(GitlabError):
        world.client("rita").projects.get("team/web").files.create(
            {"file_path": "x", "branch": "develop", "content": "x", "commit_message": "x"}
        )
