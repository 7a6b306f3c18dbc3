"""Reads tables of pipeline processing: a configuration, the states at the start, then events and what follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from aegis.core.types import State
from aegis.execution.status import Board, Node

_RESERVED = {"stages", "workflow", "default", "variables"}


def _node(name: str, job: dict[str, Any]) -> Node:
    manual = job.get("when") == "manual"
    needs = job.get("needs")
    names = None if needs is None else tuple(one if isinstance(one, str) else one["job"] for one in needs)
    return Node(
        name=name,
        stage=job.get("stage", "test"),
        when=job.get("when", "on_success"),
        allow_failure=bool(job.get("allow_failure", manual)),
        needs=names,
    )


def board(config: dict[str, Any]) -> Board:
    """The board of a table's configuration; jobs with `rules` that cannot match are left out."""
    jobs = {name: job for name, job in config.items() if name not in _RESERVED and "rules" not in job}
    stages = [".pre", *config.get("stages", ("build", "test", "deploy")), ".post"]
    stop = config.get("workflow", {}).get("auto_cancel", {}).get("on_job_failure") == "all"
    return Board(stages, [_node(name, job) for name, job in jobs.items()], stop_on_failure=stop)


def _seen(machine: Board, expected: dict[str, Any]) -> dict[str, Any]:
    return {
        "pipeline": machine.run.value,
        "stages": {name: str(machine.stage(name)) for name in expected["stages"]},
        "jobs": {name: machine.state(name).value for name in expected["jobs"]},
    }


def _apply(machine: Board, event: str, name: str) -> None:
    if event in {"play", "retry"}:
        machine.play(name)
        return
    states = {
        "run": State.RUNNING, "enqueue": State.PENDING, "wait": State.WAITING_FOR_RESOURCE, "success": State.SUCCESS, "drop": State.FAILED, "cancel": State.CANCELED,
    }  # fmt: skip
    machine.change(name, states[event])


def check(path: Path) -> None:
    """Assert that the status machine says what the table says, after every event."""
    table = yaml.safe_load(path.read_text())
    machine = board(table["config"])
    machine.begin()
    assert _seen(machine, table["init"]["expect"]) == table["init"]["expect"], "at the start"
    for number, transition in enumerate(table.get("transitions", ()), 1):
        if transition["event"] == "stop":
            machine.stop()
        for name in transition.get("jobs", ()):
            _apply(machine, transition["event"], name)
        expected = transition["expect"]
        assert _seen(machine, expected) == expected, f"after event {number} ({transition['event']})"
