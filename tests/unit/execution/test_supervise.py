"""Jobs are worked as GitLab works them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aegis.adapters.executor_namespace import NamespaceExecutor, isolation_available
from aegis.core.plan import ArtifactSpec, CacheSpec, Image, Variable
from aegis.core.types import State
from support.execution import TOKEN, Engine, Working, by_name, job


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path)
    yield made
    made.close()


def test_a_passing_run_leaves_a_log_and_its_events(engine: Engine) -> None:
    run = engine.run(job("hello", "echo hello from $CI_JOB_NAME", "cat README.md", "git describe --tags"))
    one = by_name(run)["hello"]
    log = engine.log(one)
    assert (run.state, one.state, one.exit_code, one.isolation) == (State.SUCCESS, State.SUCCESS, 0, "process"), log
    assert "$ echo hello from $CI_JOB_NAME" in log
    assert "hello from hello\n" in log
    assert "# orders\n" in log
    assert "v1.0.0\n" in log
    assert log.rstrip().endswith("Job succeeded\x1b[0;m")
    assert one.trace is not None
    assert engine.blobs.get(one.trace.digest).decode() == log
    types = [record.type.rsplit(".", 2)[-2:] for record in engine.ledger.subject(f"run/{run.id}")]
    assert types == [
        ["pipelinerun", "queued"],
        ["pipelinerun", "started"],
        ["taskrun", "started"],
        ["taskrun", "finished"],
        ["pipelinerun", "finished"],
    ]
    assert list((engine.root / "jobs").iterdir()) == []


def test_a_failing_script_gives_its_code_and_after_script_still_runs(engine: Engine) -> None:
    run = engine.run(job("a", "echo one", "exit 7", "echo never", after_script=("echo after $CI_JOB_STATUS; exit 3",)))
    one = run.jobs[0]
    log = engine.log(one)
    assert (one.state, one.exit_code, one.failure_reason) == (State.FAILED, 7, "script_failure")
    assert "after failed\n" in log
    assert "never\n" not in log
    assert "after_script failed with exit code 3" in log
    assert "ERROR: Job failed: exit code 7" in log


def test_before_script_and_script_share_one_shell(engine: Engine) -> None:
    run = engine.run(job("a", 'test "$X" = 5', before_script=("X=5",)))
    assert run.state is State.SUCCESS


def test_the_timeout_ends_the_script_and_says_so(engine: Engine) -> None:
    run = engine.run(job("a", "sleep 60", timeout=1, after_script=("echo after $CI_JOB_STATUS",)))
    one = run.jobs[0]
    assert (one.state, one.failure_reason) == (State.FAILED, "job_execution_timeout")
    assert "timeout of 1 s" in one.message
    assert "after failed\n" in engine.log(one)


def test_cancel_ends_the_script_runs_after_script_and_is_canceled(engine: Engine) -> None:
    run_id = engine.submit(job("a", "echo ready; sleep 60", after_script=("echo after $CI_JOB_STATUS",)))
    with Working(engine):
        one = engine.until(
            lambda: next((j for j in engine.coordinator.run(run_id).jobs if j.state is State.RUNNING), None)
        )
        engine.until(lambda: "ready\n" in engine.log(one))
        engine.coordinator.cancel(run_id, "dev")
        run = engine.wait(run_id)
    assert (run.state, run.jobs[0].state) == (State.CANCELED, State.CANCELED)
    assert "after canceled\n" in engine.log(run.jobs[0])


def test_a_stopping_runner_gives_its_job_back_to_be_tried_again(engine: Engine) -> None:
    run_id = engine.submit(job("a", "echo ready; if [ ! -e ../../data/second ]; then sleep 60; fi"))
    with Working(engine):
        one = engine.until(
            lambda: next((j for j in engine.coordinator.run(run_id).jobs if j.state is State.RUNNING), None)
        )
        engine.until(lambda: "ready\n" in engine.log(one))
    one = engine.coordinator.run(run_id).jobs[0]
    assert (one.attempt, one.state) == (2, State.PENDING)
    assert engine.coordinator.attempts(run_id, "a")[0].failure_reason == "runner_system_failure"


def test_artifacts_reports_and_dotenv_go_on_to_later_jobs(engine: Engine) -> None:
    artifacts = ArtifactSpec(
        paths=("out/", "*.txt"),
        exclude=("out/*.tmp",),
        reports={"junit": ("junit.xml",), "dotenv": ("build.env",)},
    )
    run = engine.run(
        job(
            "build", "mkdir out; echo data > out/a; echo no > out/b.tmp; echo t > t.txt; echo '<x/>' > junit.xml",
            "echo RELEASED=1.2.3 > build.env; ln -s /etc/passwd out/escape; ln -s a out/link",
            stage="build", artifacts=artifacts,
        ),
        job("test", "cat out/a t.txt", "readlink out/link", "test ! -e out/b.tmp; test ! -e out/escape", 'test "$RELEASED" = 1.2.3'),
    )  # fmt: skip
    assert run.state is State.SUCCESS, engine.log(run.jobs[1]) or engine.log(run.jobs[0])
    build = by_name(run)["build"]
    assert sorted((one.kind, one.name) for one in build.files) == [
        ("archive", "artifacts.zip"),
        ("dotenv", "build.env"),
        ("junit", "junit.xml"),
    ]
    assert "out/escape: refused" in engine.log(build)


def test_reports_are_kept_of_failed_jobs_and_archives_as_when_says(engine: Engine) -> None:
    def spec(when: str) -> ArtifactSpec:
        return ArtifactSpec(paths=("f",), when=when, reports={"junit": ("f",)})

    run = engine.run(
        *[job(when, "echo x > f; exit 1", artifacts=spec(when)) for when in ("on_success", "on_failure", "always")]
    )
    kinds = {name: sorted(file.kind for file in one.files) for name, one in by_name(run).items()}
    assert kinds == {"on_success": ["junit"], "on_failure": ["archive", "junit"], "always": ["archive", "junit"]}


def test_equal_files_give_equal_archives(engine: Engine) -> None:
    run = engine.run(
        *[job(name, "mkdir -p o; echo x > o/b; echo y > o/a", artifacts=ArtifactSpec(paths=("o",))) for name in "ab"]
    )
    one, other = (one.files[0].digest for one in run.jobs)
    assert one == other


def test_untracked_files_are_those_the_job_added(engine: Engine) -> None:
    run = engine.run(
        job("a", "echo new > new", artifacts=ArtifactSpec(untracked=True)), job("b", "cat new", stage="deploy")
    )
    assert run.state is State.SUCCESS
    assert "Uploaded artifacts: 1 file" in engine.log(run.jobs[0])


def test_a_cache_is_found_by_its_key_and_kept_by_its_policy(tmp_path: Path) -> None:
    engine = Engine(tmp_path, files={"lock": "1"})
    cache = CacheSpec(key_files=("lock",), key_prefix="$CI_JOB_STAGE", paths=("kept/",))
    first = engine.run(job("a", "test ! -e kept; mkdir kept; echo v > kept/f", cache=(cache,)))
    assert first.state is State.SUCCESS, engine.log(first.jobs[0])
    second = engine.run(job("a", "cat kept/f; echo changed > kept/f", cache=(replace(cache, policy="pull"),)))
    assert second.state is State.SUCCESS, engine.log(second.jobs[0])
    other = CacheSpec(key="other-$CI_COMMIT_REF_SLUG", paths=("kept/",), fallback_keys=("nothing", "none"))
    third = engine.run(job("a", 'test "$(cat kept/f)" = v', cache=(cache,)), job("b", "test ! -e kept", cache=(other,)))
    assert third.state is State.SUCCESS, engine.log(third.jobs[0]) + engine.log(third.jobs[1])
    assert "No cache under other-main." in engine.log(third.jobs[1])
    engine.close()


def test_secrets_are_masked_however_they_are_printed(tmp_path: Path) -> None:
    value = "hidden-" + "Value/42+xyz"
    engine = Engine(tmp_path, resolve=lambda *_: value)
    run = engine.run(
        job(
            "a", 'echo "plain $S"', 'printf %s "$S" | base64', 'for c in $(echo "$S" | fold -w1); do printf %s "$c"; done',
            'echo "token $CI_JOB_TOKEN"', 'echo "$S" >&2; echo "$S" > f; cat f; env | grep ^S=',
            variables=(Variable(key="S", value="", secret="x"),),
        )
    )  # fmt: skip
    assert run.state is State.SUCCESS
    stored = engine.blobs.get(run.jobs[0].trace.digest) if run.jobs[0].trace else b""
    assert value.encode() not in stored
    assert value[:-1].encode() not in stored
    assert base64.b64encode(value.encode())[:-4] not in stored
    assert TOKEN.encode() not in stored
    assert stored.count(b"[MASKED]") >= 6
    engine.close()


def test_a_secret_too_short_to_mask_keeps_the_job_from_running(tmp_path: Path) -> None:
    engine = Engine(tmp_path, resolve=lambda *_: "abc")
    run = engine.run(job("a", "echo $S", variables=(Variable(key="S", value="", secret="x"),)))
    one = run.jobs[0]
    assert (one.state, one.failure_reason) == (State.FAILED, "unmet_prerequisites")
    assert "too short to be masked: S" in one.message
    engine.close()


def test_a_line_of_ten_megabytes_and_a_limit_with_a_closing_line(engine: Engine) -> None:
    script = "head -c 10485760 /dev/zero | tr '\\0' x; echo; echo end"
    whole = engine.run(job("a", script)).jobs[0]
    assert whole.trace is not None
    assert whole.trace.size > 10485760
    cut = engine.run(job("a", script), supervisor={"trace_limit": 100_000}).jobs[0]
    assert cut.state is State.SUCCESS
    assert cut.trace is not None
    assert 100_000 < cut.trace.size < 101_000
    log = engine.log(cut)
    assert "The log is longer than 100000 bytes and ends here" in log
    assert "Job succeeded" in log


def test_an_image_is_never_silently_replaced_by_the_machines_tools(engine: Engine) -> None:
    refused = engine.run(job("a", "echo ran", image=Image(name="python:3.12"))).jobs[0]
    assert (refused.state, refused.failure_reason) == (State.FAILED, "image_pull_failure")
    assert "python:3.12" in refused.message
    assert "ran\n" not in engine.log(refused)
    allowed = engine.run(job("a", "echo ran", image=Image(name="python:3.12")), supervisor={"host_tools": True}).jobs[0]
    assert allowed.state is State.SUCCESS
    assert "python:3.12 is not used" in engine.log(allowed).split("\n")[0]


def test_file_variables_are_files_and_values_are_expanded(engine: Engine) -> None:
    run = engine.run(
        job(
            "a", 'cat "$CONFIG"; echo; echo "<$JOINED|$RAW|$SELF>"', 'test "$(dirname "$CONFIG")" != "$CI_PROJECT_DIR"',
            variables=(
                Variable(key="CONFIG", value="the content", file=True), Variable(key="RAW", value="$CI_JOB_NAME", raw=True),
                Variable(key="JOINED", value="$CI_JOB_NAME-${CI_JOB_STAGE}-$$X"), Variable(key="SELF", value="a$SELF"),
            ),
        )
    )  # fmt: skip
    log = engine.log(run.jobs[0])
    assert run.state is State.SUCCESS, log
    assert "the content\n" in log
    assert "<a-test-$X|$CI_JOB_NAME|a$SELF>" in log, log


def test_coverage_is_read_from_the_log(engine: Engine) -> None:
    run = engine.run(
        job("a", "echo 'TOTAL  10 2 80%'; echo 'TOTAL  10 1 91.5%'", coverage=r"/TOTAL.*\s(\d+(?:\.\d+)?)%/")
    )
    assert run.jobs[0].coverage == 91.5


def test_git_strategy_none_leaves_an_empty_tree(engine: Engine) -> None:
    run = engine.run(job("a", 'test -z "$(ls -A)"', values={"GIT_STRATEGY": "none"}))
    assert run.state is State.SUCCESS, engine.log(run.jobs[0])


def test_an_unknown_commit_is_a_clear_failure_of_the_runner(engine: Engine) -> None:
    engine.commit = "f" * 40
    run = engine.run(job("a", "true"))
    assert (run.jobs[0].failure_reason, run.jobs[0].attempt) == ("runner_system_failure", 2)
    assert "has no commit" in run.jobs[0].message


def test_many_jobs_run_at_once_and_not_more_than_allowed(engine: Engine) -> None:
    meet = "touch ../../here-$CI_NODE_INDEX; for i in $(seq 400); do [ $(ls ../../here-* | wc -l) = 3 ] && exit 0; sleep 0.02; done; exit 1"
    jobs = [job(f"j{n}", meet, parallel_index=n, parallel_total=3) for n in (1, 2, 3)]
    assert engine.run(*jobs, supervisor={"concurrency": 3}).state is State.SUCCESS
    seen: list[int] = []
    run_id = engine.submit(*[job(f"k{n}", "true") for n in range(6)])
    with Working(engine, concurrency=2) as supervisor:
        engine.until(lambda: (seen.append(supervisor.busy), engine.coordinator.run(run_id).state.finished)[1])
    assert 1 <= max(seen) <= 2


@pytest.mark.skipif(not isolation_available().ok, reason=isolation_available().detail)
def test_isolated_jobs_do_all_of_it_too(tmp_path: Path) -> None:
    engine = Engine(tmp_path, executor=NamespaceExecutor(grace=0.3), files={"lock": "1"})
    cache = CacheSpec(key="c", paths=("kept/",))
    run = engine.run(
        job(
            "build", "pwd; git describe --tags; mkdir -p kept out; echo 1 > kept/f; echo data > out/a; cat $F; touch ~/.cache/x",
            stage="build", artifacts=ArtifactSpec(paths=("out",)), cache=(cache,),
            variables=(Variable(key="F", value="file content", file=True),),
        ),
        job("test", "cat out/a kept/f; test -e ~/.cache/x; test ! -w /usr", cache=(cache,), after_script=("cat out/a",)),
        supervisor={"tool_cache": tmp_path / "cache"},
    )  # fmt: skip
    logs = "".join(engine.log(one) for one in run.jobs)
    assert run.state is State.SUCCESS, logs
    assert {one.isolation for one in run.jobs} == {"namespaces"}
    assert "/builds/shop/orders\n" in logs
    assert "v1.0.0\n" in logs
    assert str(tmp_path) not in logs
    engine.close()
