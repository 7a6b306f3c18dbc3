"""What the rows about variables do, with python-gitlab against the live server of `tests/e2e/test_gitlab_rest.py`."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from gitlab.exceptions import GitlabError, GitlabGetError

from support.server import is_type

MASKED = "masked-" + "value-1"


def check_variables(owner: Any, stranger: Any) -> None:
    """The whole life of variables of a project or group."""
    made = owner.variables.create({"key": "PLAIN", "value": "one", "description": "a word"})
    assert (made.value, made.variable_type, made.masked, made.environment_scope) == ("one", "env_var", False, "*")
    scoped = owner.variables.create({"key": "PLAIN", "value": "live", "environment_scope": "live/*", "protected": True})
    assert scoped.protected
    with pytest.raises(GitlabError, match="already been taken"):
        owner.variables.create({"key": "PLAIN", "value": "again"})
    with pytest.raises(GitlabError, match="multiple variables"):
        owner.variables.get("PLAIN")
    assert owner.variables.get("PLAIN", filter={"environment_scope": "live/*"}).value == "live"
    owner.variables.update("PLAIN", {"value": "two", "raw": True}, filter={"environment_scope": "*"})
    found = owner.variables.get("PLAIN", filter={"environment_scope": "*"})
    assert (found.value, found.raw, found.description) == ("two", True, "a word")
    owner.variables.delete("PLAIN", filter={"environment_scope": "live/*"})
    with pytest.raises(GitlabError, match="cannot be masked"):
        owner.variables.create({"key": "SHORT", "value": "short", "masked": True})
    hidden = owner.variables.create(
        {"key": "HIDDEN", "value": MASKED, "masked_and_hidden": True, "variable_type": "file"}
    )
    assert (hidden.value, hidden.hidden, hidden.masked, hidden.variable_type) == (None, True, True, "file")
    hidden.masked = False
    with pytest.raises(GitlabError, match="stays masked and hidden"):
        hidden.save()
    assert [one.key for one in owner.variables.list(get_all=True)] == ["HIDDEN", "PLAIN"]
    with pytest.raises(GitlabError):
        stranger.variables.list()
    with pytest.raises(GitlabError):
        stranger.variables.create({"key": "PLAIN2", "value": "by-a-stranger-1"})
    found.delete()
    hidden.delete()
    assert owner.variables.list(get_all=True) == []
    with pytest.raises(GitlabGetError):
        owner.variables.get("PLAIN")


PRINTING = """
show:
  script:
    - echo "plain <$FROM_PROJECT> group <$FROM_GROUP> both <$BOTH> live <$ONLY_LIVE> protected <$ONLY_SAFE>"
    - test "$SECRET" = masked-"value"-1 && echo "the secret is there, as $SECRET"
    - cat "$A_FILE"
  rules: [{if: $SECRET}]
  environment: {name: $WHERE}
"""


def check_that_jobs_get_them(world: Any) -> None:
    """Precedence, scopes, protection, masking and files, as a job sees them; nothing of a value in the ledger."""
    project, group = world.admin.projects.get("team/tools"), world.admin.groups.get("team")
    kept = [
        project.variables.create({"key": "FROM_PROJECT", "value": "p $CI_PROJECT_NAME"}),
        group.variables.create({"key": "FROM_GROUP", "value": "g", "raw": True}),
        group.variables.create({"key": "BOTH", "value": "of the group"}),
        project.variables.create({"key": "BOTH", "value": "of the project"}),
        project.variables.create({"key": "ONLY_LIVE", "value": "elsewhere"}),
        project.variables.create({"key": "ONLY_LIVE", "value": "here", "environment_scope": "live/*"}),
        project.variables.create({"key": "ONLY_SAFE", "value": "never on a branch", "protected": True}),
        project.variables.create({"key": "SECRET", "value": MASKED, "masked": True}),
        project.variables.create({"key": "A_FILE", "value": "in a file\n", "variable_type": "file"}),
    ]
    try:
        for where, live in (("live/eu", "here"), ("test", "elsewhere")):
            pipeline = PRINTING.replace("$WHERE", where)
            told = world.server.job_log("team/tools", {".gitlab-ci.yml": pipeline, "README.md": "tools\n"}, "show")
            assert f"plain <p tools> group <g> both <of the project> live <{live}> protected <>" in told
            assert "the secret is there, as [MASKED]" in told
            assert MASKED not in told
            assert "in a file" in told
    finally:
        for one in kept:
            one.manager.delete(one.key, filter={"environment_scope": one.environment_scope})
    said = str(world.server.ledger())
    assert "FROM_PROJECT" in said
    assert all(value not in said for value in (MASKED, "of the group", "never on a branch", "by-a-stranger-1"))


SITE = """
pages:
  pages: {publish: site, path_prefix: "PREFIX"}
  script:
    - mkdir -p site/guide && echo "<h1>VERSION</h1><script src=a.js></script>" > site/index.html
    - echo "guide" > site/guide/index.html && echo "document.title = 'ran'" > site/a.js && echo gone > site/404.html
    - echo "$CI_PAGES_URL" > site/url.txt && echo kept-back > secret.txt
  artifacts: {paths: [secret.txt]}
"""


def publish(world: Any, version: str, prefix: str = "") -> Any:
    """Push a job that publishes, and wait until it is published."""
    since = world.server.head()
    pipeline = SITE.replace("VERSION", version).replace("PREFIX", prefix)
    world.server.job_log("team/tools", {".gitlab-ci.yml": pipeline, "README.md": "tools\n"}, "pages")
    return world.server.wait("the pages", is_type("aegis.pages.published"), since=since)["data"]["deployment"]


def check_pages(world: Any) -> None:
    """Pages are switched at once, kept apart from everything else, restored and removed."""
    url = f"{world.server.url}/pages/team/tools"
    token = {"PRIVATE-TOKEN": world.server.person("ana").token}
    first = publish(world, "one")
    assert httpx.get(f"{url}/", headers=token).text.startswith("<h1>one</h1>")
    publish(world, "two")
    publish(world, "beside", "Review/2")
    assert world.project.pages.get().url == url
    assert [one["path_prefix"] for one in world.project.pages.get().deployments] == [None, "review-2"]
    found = httpx.get(f"{url}/", headers=token)
    assert found.text.startswith("<h1>two</h1>")
    assert found.headers["content-type"] == "text/html; charset=utf-8"
    assert "set-cookie" not in found.headers
    assert httpx.get(f"{url}/", headers={**token, "If-None-Match": found.headers["etag"]}).status_code == 304
    guide = httpx.get(f"{url}/guide", headers=token)
    assert (guide.status_code, guide.headers["location"]) == (303, "/pages/team/tools/guide/")
    assert httpx.get(f"{url}/url.txt", headers=token).text == f"{url}\n"
    assert httpx.get(f"{url}/review-2/", headers=token).text.startswith("<h1>beside</h1>")
    for lost in ("secret.txt", "../secret.txt", "%2e%2e/secret.txt", "nope", "site/index.html"):
        assert httpx.get(f"{url}/{lost}", headers=token).status_code == 404
    assert httpx.get(f"{url}/", follow_redirects=False).headers["location"].startswith("/login?next=")
    assert httpx.get(f"{url}/", headers={"PRIVATE-TOKEN": "nothing"}).status_code == 401
    world.server.as_("ana").execute("restore-pages", {"project": "team/tools", "deployment": first["id"]})
    assert httpx.get(f"{url}/", headers=token).text.startswith("<h1>one</h1>")


def check_that_pages_are_removed(world: Any) -> None:
    """After it nothing is served."""
    if not [one for one in world.server.ledger() if one["type"] == "aegis.pages.published"]:
        publish(world, "one")
    world.project.pages.delete()
    token = {"PRIVATE-TOKEN": world.server.person("ana").token}
    assert httpx.get(f"{world.server.url}/pages/team/tools/", headers=token).status_code == 404
    with pytest.raises(GitlabError):
        world.project.pages.get()


def check_trigger(world: Any) -> None:
    """By python-gitlab, and by the form that curl sends, with the token in it and nowhere else."""
    token = world.server.person("ana").token
    made = world.project.trigger_pipeline("work", token, variables={"GIVEN": "by a trigger"})
    assert (made.source, made.ref, made.user["username"]) == ("trigger", "work", "ana")
    assert [(one.key, one.value) for one in world.project.pipelines.get(made.id).variables.list()] == [
        ("GIVEN", "by a trigger")
    ]
    url = f"{world.server.url}/api/v4/projects/{world.project.id}/trigger/pipeline"
    form = {"token": (None, token), "ref": (None, "work"), "variables[MORE]": (None, "of a form")}
    answer = httpx.post(url, files=form)
    assert answer.status_code == 201, answer.text
    found = world.project.pipelines.get(answer.json()["id"]).variables.list()
    assert [(one.key, one.value) for one in found] == [("MORE", "of a form")]
    assert httpx.post(url, files={"token": (None, "nothing"), "ref": (None, "work")}).status_code == 401
    assert httpx.post(url, params={"ref": "work"}).status_code == 401


def check_played_schedule(world: Any) -> None:
    before = {one.id for one in world.project.pipelines.list(source="schedule", get_all=True)}
    world.project.pipelineschedules.get(world.project.pipelineschedules.list()[0].id).play()
    made = [one for one in world.project.pipelines.list(source="schedule", get_all=True) if one.id not in before]
    given = {one.key: one.value for one in world.project.pipelines.get(made[0].id).variables.list()}
    assert given == {"FULL": "yes", "CI_PIPELINE_SCHEDULE_DESCRIPTION": "nightly"}


BRIDGE = """
child: {trigger: {include: child.yml, strategy: depend}}
own: {script: ['true']}
"""


def check_bridges(world: Any) -> None:
    files = {".gitlab-ci.yml": BRIDGE, "child.yml": "inner: {script: [echo inside]}\n", "README.md": "tools\n"}
    world.server.job_log("team/tools", files, "own")
    made = world.project.pipelines.list(source="push", get_all=True)[0]
    bridge = made.bridges.list()[0]
    assert (bridge.name, bridge.status, bridge.downstream_pipeline["source"]) == ("child", "success", "parent_pipeline")
    assert [one.name for one in made.jobs.list()] == ["own"]
    inner = world.project.pipelines.get(bridge.downstream_pipeline["id"])
    assert [one.name for one in inner.jobs.list()] == ["inner"]


def check_job_erased(world: Any) -> None:
    pipeline = (
        "leaves: {script: [echo told-by-this-job-alone > kept.txt, cat kept.txt], artifacts: {paths: [kept.txt]}}\n"
    )
    told = world.server.job_log("team/tools", {".gitlab-ci.yml": pipeline, "README.md": "tools\n"}, "leaves")
    assert "told-by-this-job-alone" in told
    made = next(one for one in world.project.jobs.list(get_all=True) if one.name == "leaves")
    job = world.project.jobs.get(made.id)
    job.erase()
    with pytest.raises(GitlabError):
        job.artifacts()
    with pytest.raises(GitlabError):
        job.trace()
    assert world.project.jobs.get(made.id).status == "success"
    waiting = next(one for one in world.project.jobs.list(get_all=True) if one.name == "by-hand")
    with pytest.raises(GitlabError):
        world.project.jobs.get(waiting.id).erase()


def check_tags(world: Any) -> None:
    made = world.project.tags.create({"tag_name": "by-api-1", "ref": "work", "message": "a note"})
    assert (made.name, made.commit["id"]) == ("by-api-1", world.sha)
    with pytest.raises(GitlabError, match="already exists"):
        world.project.tags.create({"tag_name": "by-api-1", "ref": "work"})
    with pytest.raises(GitlabError):  # version tags are the server's
        world.project.tags.create({"tag_name": "v9.9.9", "ref": "work"})
    made.delete()
    with pytest.raises(GitlabGetError):
        world.project.tags.get("by-api-1")


def check_environment_by_hand(world: Any) -> None:
    made = world.project.environments.create(
        {"name": "by-hand/1", "external_url": "https://one.example", "tier": "testing"}
    )
    assert (made.name, made.state, made.external_url, made.tier) == (
        "by-hand/1",
        "available",
        "https://one.example",
        "testing",
    )
    with pytest.raises(GitlabError, match="already been taken"):
        world.project.environments.create({"name": "by-hand/1"})
    with pytest.raises(GitlabError):
        made.delete()
    made.stop()
    made.delete()
    assert "by-hand/1" not in [one.name for one in world.project.environments.list(get_all=True)]
