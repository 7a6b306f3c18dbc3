"""Every run that has ended reaches the collector: at least once, over restarts and refusals, with the same ids."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from aegis.bootstrap.collector import Collector as Way
from aegis.core.tracing import trace_id, traceparent
from aegis.daemon.trace_export import LONGEST, TraceExport
from aegis.delivery.options import TraceOptions
from support.collector_simulator import Collector
from support.execution import Engine, Working, job


class Checkpoints:
    def __init__(self):
        self.kept = {}

    def load(self, name):
        return self.kept.get(name)

    def save(self, checkpoint):
        self.kept[checkpoint.name] = checkpoint


class Said:
    def __init__(self):
        self.lines = []

    def say(self, _where, error):
        self.lines.append(str(error))


@pytest.fixture
def engine(tmp_path):
    made = Engine(tmp_path)
    yield made
    made.close()


@pytest.fixture
def collector():
    with Collector() as made:
        yield made


class Bench:
    """An engine, the way to a collector, and the loop between them."""

    def __init__(self, engine, collector, **more):
        self.engine = engine
        self.options = TraceOptions(
            endpoint=collector.endpoint,
            private=(f"127.0.0.1:{collector.port}",),
            headers={"x-key": "$AEGIS_TRACES_KEY"},
        )
        self.checkpoints, self.said = Checkpoints(), Said()
        self.begin(**more)

    def begin(self, value=lambda _: "key-of-the-collector"):
        context = SimpleNamespace(ledger=self.engine.ledger, blobs=self.engine.blobs, url="http://aegis.test")
        self.loop = TraceExport(context, self.checkpoints, Way(lambda: self.options, value), self.said)

    def run(self, *jobs, **more):
        return self.engine.run(*jobs, **more).id


def test_a_run_that_ended_is_a_trace_at_the_collector(engine, collector):
    bench = Bench(engine, collector)
    bench.loop.round()
    run = bench.run(job("compile", "echo $TRACEPARENT", stage="build"), job("unit", "exit 3", after_script=("true",)))
    assert bench.loop.round() == 0.0
    spans = {span["name"]: span for span in collector.spans}
    root = spans["RUN shop/orders"]
    assert {span["traceId"] for span in collector.spans} == {trace_id(run)}
    assert "parentSpanId" not in root
    assert root["kind"] == 2
    assert root["values"]["cicd.pipeline.result"] == "failure"
    assert root["values"]["error.type"] == "script_failure"
    assert root["status"]["code"] == 2
    unit = spans["unit"]
    assert unit["parentSpanId"] == root["spanId"]
    assert unit["values"]["cicd.pipeline.task.run.result"] == "failure"
    assert unit["values"]["process.exit.code"] == 3
    assert unit["values"]["cicd.pipeline.task.run.url.full"].startswith(f"http://aegis.test/runs/{run}/jobs/")
    assert unit["values"]["aegis.job.peak_memory_bytes"] > 0
    inside = {span["name"] for span in collector.spans if span.get("parentSpanId") == unit["spanId"]}
    assert {"queue", "get_sources", "step_script", "after_script"} <= inside
    assert collector.resources[0]["vcs.ref.head.name"] == "main"
    assert collector.resources[0]["vcs.ref.head.revision"] == engine.commit
    assert collector.headers[0]["x-key"] == "key-of-the-collector"
    compiled = engine.coordinator.attempts(run, "compile")[0]
    joined = traceparent(run, compiled.id)
    assert joined == f"00-{spans['compile']['traceId']}-{spans['compile']['spanId']}-01"
    assert compiled.trace is not None
    assert joined in engine.blobs.get(compiled.trace.digest).decode()


def test_what_the_collector_could_not_take_comes_again_after_growing_pauses(engine, collector):
    bench = Bench(engine, collector)
    bench.loop.round()
    collector.answers += [(503, {}, b""), (429, {"retry-after": "7"}, b""), *[(502, {}, b"")] * 9]
    run = bench.run(job("unit", "true"))
    pauses = [bench.loop.round() for _ in range(11)]
    assert pauses[:4] == [1.0, 7.0, 4.0, 8.0]
    assert pauses[-1] == LONGEST
    assert not collector.spans
    assert "503" in bench.said.lines[0]
    assert bench.loop.round() == 0.0
    assert {span["traceId"] for span in collector.spans} == {trace_id(run)}


def test_it_goes_on_behind_the_last_run_that_was_taken(engine, collector):
    bench = Bench(engine, collector)
    before = bench.run(job("unit", "true"))
    bench.loop.round()
    first, second = bench.run(job("unit", "true")), bench.run(job("unit", "true"))
    bench.loop.round()
    bench.begin()
    while len({span["traceId"] for span in collector.spans}) < 2:
        bench.loop.round()
    sent = [span["traceId"] for span in collector.spans if "parentSpanId" not in span]
    assert sent == [trace_id(first), trace_id(second)]
    assert trace_id(before) not in sent


def test_what_is_refused_for_good_is_said_and_passed_over(engine, collector):
    bench = Bench(engine, collector)
    bench.loop.round()
    collector.answers += [
        (400, {}, b"no"),
        (200, {}, b'{"partialSuccess":{"rejectedSpans":"2","errorMessage":"full"}}'),
    ]
    bench.run(job("unit", "true"))
    bench.run(job("unit", "true"))
    last = bench.run(job("unit", "true"))
    for _ in range(3):
        assert bench.loop.round() == 0.0
    assert {span["traceId"] for span in collector.spans} == {trace_id(last)}
    assert "it answered 400: no" in bench.said.lines[0]
    assert "2 spans were refused; full" in bench.said.lines[1]


def test_a_collector_on_a_host_that_was_not_declared_is_never_reached(engine, collector):
    bench = Bench(engine, collector)
    bench.options = TraceOptions(endpoint=collector.endpoint, hosts=("collector.example.org",))
    bench.loop.round()
    bench.run(job("unit", "true"))
    assert bench.loop.round() == 1.0
    assert collector.requests == 0
    bench.options = None
    assert bench.loop.round() == 2.0


def test_a_retried_run_is_told_again_as_the_same_trace(engine, collector):
    bench = Bench(engine, collector)
    bench.loop.round()
    run = bench.run(job("unit", "test -e again || exit 1"))
    bench.loop.round()
    with Working(engine):
        engine.coordinator.retry(run, "unit", "mina")
        engine.wait(run)
    bench.loop.round()
    attempts = {span["values"]["aegis.job.attempt"] for span in collector.spans if span["name"] == "unit"}
    assert attempts == {1, 2}
    assert {span["traceId"] for span in collector.spans} == {trace_id(run)}
