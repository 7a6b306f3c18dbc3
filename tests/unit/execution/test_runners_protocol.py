"""The rules of the Runner API, apart from HTTP: logs, checksums, uploads, who takes what, the job document."""

from __future__ import annotations

import gzip
import io
import zlib
from dataclasses import replace

import pytest

from aegis.core import ids
from aegis.core.errors import UserError
from aegis.core.plan import ArtifactSpec, CacheSpec, Image, JobSpec, Variable
from aegis.core.types import JobRun, Run, RunnerSettings, StoredFile
from aegis.execution import runners_files, runners_trace
from aegis.execution.runners import Assignment, Dependency, Runner
from aegis.execution.runners_document import document
from aegis.execution.runners_roster import admits, checked, isolation
from aegis.execution.runners_trace import Ending, Output
from aegis.execution.runners_variables import Facts

RUN = Run(
    id="r1", project="shop/orders", ref="refs/heads/main", commit="c" * 40, plan="", change="", source="push",
    started_by="ana",
)  # fmt: skip
SPEC = JobSpec(name="build", stage="build", script=("make",), before_script=("prepare",))
FACTS = Facts(
    url="http://host:8080", job=1200003001, run=12, project=5, namespace=6, runner=7, numbers={"j0": 1200000001}
)


def given(spec: JobSpec = SPEC, run: Run = RUN, **more: object) -> Assignment:
    job = JobRun(id="j1", name=spec.name, stage=spec.stage)
    return Assignment(run=run, spec=spec, job=job, token="aegisjob.x.y", variables=spec.variables, **more)  # type: ignore[arg-type]


# -- numbers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [(1, 0, 1), (12, 3, 1), (90_000_000, 99_999, 999)])
def test_a_jobs_number_is_exact_in_json_and_can_be_taken_apart(parts: tuple[int, int, int]) -> None:
    number = ids.job_number(*parts)
    assert number <= 2**53
    assert ids.split_job_number(number) == parts


@pytest.mark.parametrize("parts", [(1, 100_000, 1), (1, 0, 1000), (1, 0, 0), (1, -1, 1)])
def test_what_has_no_number_is_refused(parts: tuple[int, int, int]) -> None:
    with pytest.raises(UserError):
        ids.job_number(*parts)


# -- logs -----------------------------------------------------------------------------------------------------


def test_a_range_names_the_first_and_the_last_byte() -> None:
    assert runners_trace.start_of("0-9", 10) == 0
    assert runners_trace.start_of("100-104", 5) == 100
    assert runners_trace.start_of("100-99", 0) == 100


@pytest.mark.parametrize("header", [None, "", "bytes=0-9", "9", "-5", "0-8", "0-10", "a-b"])
def test_a_range_that_is_none_or_lies_is_refused(header: str | None) -> None:
    with pytest.raises(UserError):
        runners_trace.start_of(header, 10)


def test_the_last_word_is_compared_with_the_log() -> None:
    data = b"a log"
    right = runners_trace.output_of({"checksum": f"crc32:{zlib.crc32(data):08x}", "bytesize": len(data)})
    known = {"size": len(data), "checksum": runners_trace.crc32([data[:2], data[2:]])}
    assert runners_trace.ending(right, **known, resent=0) is Ending.DONE
    assert runners_trace.ending(Output(), **known, resent=0) is Ending.DONE
    assert runners_trace.ending(replace(right, size=4), **known, resent=0) is Ending.RESEND
    wrong = replace(right, checksum=1)
    assert runners_trace.ending(wrong, **known, resent=1) is Ending.RESEND
    assert runners_trace.ending(wrong, **known, resent=runners_trace.RESENDS) is Ending.DONE


@pytest.mark.parametrize(
    "said", [None, "x", {}, {"checksum": "md5:1", "bytesize": True}, {"checksum": 5, "bytesize": -1}]
)
def test_an_output_that_cannot_be_read_is_not_said(said: object) -> None:
    assert runners_trace.output_of(said) == Output()


# -- uploads --------------------------------------------------------------------------------------------------


def member(name: str, content: bytes) -> bytes:
    made = io.BytesIO()
    with gzip.GzipFile(name, "wb", fileobj=made) as file:
        file.write(content)
    return made.getvalue()


def test_a_gzip_upload_holds_a_file_per_member() -> None:
    data = member("a.xml", b"one") + member("", b"two") + gzip.compress(b"")
    cut = [data[at : at + 7] for at in range(0, len(data), 7)]
    assert list(runners_files.unpacked(cut, default="junit.xml")) == [
        ("a.xml", b"one"),
        ("junit.xml", b"two"),
        ("junit.xml", b""),
    ]


def test_a_members_comment_is_its_path_without_tricks() -> None:
    plain = member("a.xml", b"x")
    end = plain.index(b"\0", 10) + 1
    commented = plain[:3] + bytes([plain[3] | 16]) + plain[4:end] + b"../reports/./a.xml\0" + plain[end:]
    assert list(runners_files.unpacked([commented], default="d")) == [("reports/a.xml", b"x")]


def test_what_is_not_gzip_or_ends_early_or_bursts_is_refused() -> None:
    for data in (b"no gzip at all", gzip.compress(b"x" * 1000)[:-9], b"\x1f\x8b\x08\x1fno header's end"):
        with pytest.raises(UserError):
            list(runners_files.unpacked([data], default="d"))
    with pytest.raises(UserError, match="more than"):
        list(runners_files.unpacked([gzip.compress(b"\0" * 100_000)], default="d", limit=1000))


def test_uploads_name_known_types_and_formats() -> None:
    assert runners_files.upload_of(None, None).kind == "archive"
    assert runners_files.upload_of("cobertura", "gzip").kind == "coverage_report"
    assert runners_files.upload_of("codequality", "raw").kind == "codequality"
    for kind, form in (("archive", "gzip"), ("trace", "raw"), ("nonsense", None)):
        with pytest.raises(UserError):
            runners_files.upload_of(kind, form)


# -- who takes what -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "untagged", "wanted", "takes"),
    [
        (None, True, ("any",), True), (("a", "b"), False, ("a",), True), (("a",), False, ("a", "b"), False),
        (("a",), False, (), False), (("a",), True, (), True), ((), True, (), True), ((), True, ("a",), False),
    ],
)  # fmt: skip
def test_a_runner_takes_jobs_by_their_tags(
    tags: tuple[str, ...] | None, untagged: bool, wanted: tuple[str, ...], takes: bool
) -> None:
    runner = Runner(name="r", isolation="container", tags=tags, untagged=untagged)
    assert runner.takes(RUN, replace(SPEC, tags=wanted)) is takes


def test_protected_runners_and_those_of_projects_serve_nobody_else() -> None:
    assert admits(RunnerSettings(), RUN, SPEC, protected=False)
    assert not admits(RunnerSettings(protected=True), RUN, SPEC, protected=False)
    assert admits(RunnerSettings(protected=True), RUN, SPEC, protected=True)
    for project, served in (("shop/orders", True), ("shop", True), ("sho", False), ("shop/orders-old", False)):
        assert admits(RunnerSettings(projects=(project,)), RUN, SPEC, protected=False) is served


def test_settings_that_would_never_get_a_job_are_refused() -> None:
    for settings in (
        RunnerSettings(),
        RunnerSettings(tags=("",)),
        RunnerSettings(run_untagged=True, maximum_timeout=5),
    ):
        with pytest.raises(UserError):
            checked(settings)


def test_isolation_follows_from_the_executor_or_from_who_vouches() -> None:
    assert [isolation(one, RunnerSettings()) for one in ("docker", "kubernetes", "instance", "shell", "", "new")] == [
        "container", "container", "machine", "process", "process", "process",
    ]  # fmt: skip
    assert isolation("shell", RunnerSettings(isolated=True)) == "machine"


# -- the document ---------------------------------------------------------------------------------------------


def test_images_and_services_are_passed_through_for_container_executors() -> None:
    image = Image(name="debian", entrypoint=("/bin/sh", "-c"), pull_policy=("always", "if-not-present"), user="1000")
    service = Image(name="redis:7", alias="cache", command=("redis-server", "--save"), variables={"A": "b"})
    made = document(given(replace(SPEC, image=image, services=(service,))), FACTS)
    assert made["image"] == {
        "name": "debian", "alias": "", "entrypoint": ["/bin/sh", "-c"], "command": None, "ports": [],
        "pull_policy": ["always", "if-not-present"], "variables": [],
        "executor_opts": {"docker": {"user": "1000"}, "kubernetes": {"user": "1000"}},
    }  # fmt: skip
    assert made["services"][0]["alias"] == "cache"
    assert made["services"][0]["command"] == ["redis-server", "--save"]
    assert made["services"][0]["variables"][0].items() >= {"key": "A", "value": "b"}.items()
    assert document(given(), FACTS)["image"] is None


def test_steps_are_gitlabs() -> None:
    made = document(given(replace(SPEC, after_script=("clean",))), FACTS)["steps"]
    assert made == [
        {
            "name": "script",
            "script": ["prepare", "make"],
            "timeout": 3600,
            "when": "on_success",
            "allow_failure": False,
        },
        {"name": "after_script", "script": ["clean"], "timeout": 3600, "when": "always", "allow_failure": True},
    ]


def test_hooks_are_passed_on() -> None:
    made = document(given(replace(SPEC, pre_get_sources=("prepare git",))), FACTS)
    assert made["hooks"] == [{"name": "pre_get_sources_script", "script": ["prepare git"]}]
    assert document(given(), FACTS)["hooks"] == []


@pytest.mark.parametrize(
    ("ref", "kind", "name", "refspec"),
    [
        ("refs/heads/main", "branch", "main", "+refs/heads/main:refs/remotes/origin/main"),
        ("refs/tags/v1", "tag", "v1", "+refs/tags/v1:refs/tags/v1"),
        ("refs/merge-requests/3/head", "branch", "refs/merge-requests/3/head", ""),
    ],
)
def test_a_runner_fetches_the_commit_itself_and_its_ref(ref: str, kind: str, name: str, refspec: str) -> None:
    git = document(given(run=replace(RUN, ref=ref)), FACTS)["git_info"]
    assert (git["ref_type"], git["ref"]) == (kind, name)
    assert git["refspecs"] == [f"+{'c' * 40}:refs/pipelines/12", *([refspec] if refspec else [])]
    assert git["repo_url"] == "http://gitlab-ci-token:aegisjob.x.y@host:8080/git/shop/orders.git"


def test_the_depth_is_the_jobs_or_gitlabs() -> None:
    deep = replace(SPEC, variables=(Variable(key="GIT_DEPTH", value="0"),))
    assert document(given(), FACTS)["git_info"]["depth"] == 20
    assert document(given(deep), FACTS)["git_info"]["depth"] == 0


def test_variables_come_once_and_what_everything_depends_on_cannot_be_overridden() -> None:
    spec = replace(
        SPEC,
        variables=(
            Variable(key="CI_JOB_ID", value="forged"), Variable(key="CI_PROJECT_TITLE", value="mine"),
            Variable(key="PASSWORD", value="hidden-value", masked=True, raw=True), Variable(key="F", value="x", file=True),
        ),
    )  # fmt: skip
    made = document(given(spec), FACTS)["variables"]
    values = {one["key"]: one for one in made}
    assert len(values) == len(made)
    assert values["CI_JOB_ID"]["value"] == "1200003001"
    assert values["CI_PROJECT_TITLE"]["value"] == "mine"
    assert values["PASSWORD"] == {
        "key": "PASSWORD", "value": "hidden-value", "public": False, "file": False, "masked": True, "raw": True,
    }  # fmt: skip
    assert values["F"]["file"] is True
    assert values["CI_REPOSITORY_URL"]["masked"] is True


def test_caches_of_protected_refs_are_apart() -> None:
    spec = replace(
        SPEC, cache=(CacheSpec(key="a", fallback_keys=("b",), when="always"), CacheSpec(key="c", unprotect=True))
    )
    for protected, suffix in ((True, "-protected"), (False, "-non_protected")):
        made = document(given(spec), replace(FACTS, protected=protected, cache_keys=("k", "c")))["cache"]
        assert [one["key"] for one in made] == [f"k{suffix}", "c"]
        assert made[0]["fallback_keys"] == [f"b{suffix}"]


def test_artifacts_are_one_archive_and_one_entry_per_type_of_report() -> None:
    wanted = ArtifactSpec(
        paths=("out/",), exclude=("*.tmp",), name="$CI_JOB_NAME", when="always", expire_in=60,
        reports={"junit": ("a.xml", "b.xml"), "coverage_report": ("c.xml",), "codequality": ("q.json",)},
    )  # fmt: skip
    made = document(given(replace(SPEC, artifacts=wanted)), FACTS)["artifacts"]
    assert [(one["artifact_type"], one["artifact_format"], one["when"]) for one in made] == [
        ("archive", "zip", "always"), ("codequality", "raw", "always"), ("cobertura", "gzip", "always"),
        ("junit", "gzip", "always"),
    ]  # fmt: skip
    assert made[0]["expire_in"] == "60 seconds"
    assert document(given(replace(SPEC, artifacts=ArtifactSpec())), FACTS)["artifacts"] == []


def test_dependencies_are_named_by_number_with_the_token_that_fetches_them() -> None:
    archive = StoredFile(name="artifacts.zip", kind="archive", digest="sha256:" + "0" * 64, size=9)
    made = document(given(dependencies=(Dependency(job="make", archive=archive, id="j0"),)), FACTS)["dependencies"]
    assert made == [
        {
            "id": 1200000001,
            "token": "aegisjob.x.y",
            "name": "make",
            "artifacts_file": {"filename": "artifacts.zip", "size": 9},
        }
    ]
