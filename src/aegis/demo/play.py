"""Plays the whole story and says how it went."""

from __future__ import annotations

import time
from typing import Any

from aegis.core.errors import AegisError
from aegis.demo.chapters import GOOD
from aegis.demo.chronicle import Chronicle
from aegis.demo.ports import Workshop
from aegis.demo.story import Stage, Step, Teller, tell
from aegis.demo.trouble import BAD


def play(workshop: Workshop, teller: Teller) -> dict[str, Any]:
    """The story's outcome: `steps`, `push_to_production_seconds` (from the ledger's times), `ledger`."""
    begun = time.monotonic()
    try:
        operator, ready = workshop.start()
    except AegisError as error:
        step = Step(name="server", ok=False, seconds=round(time.monotonic() - begun, 2), detail=str(error))
        teller.done(step)
        return _outcome([step], None)
    chronicle = Chronicle(operator, teller.seen, time.monotonic)
    stage = Stage(workshop=workshop, teller=teller, operator=operator, chronicle=chronicle, ready_seconds=ready)
    steps = tell(stage, (*GOOD, *BAD))
    return _outcome(steps, stage)


def _outcome(steps: list[Step], stage: Stage | None) -> dict[str, Any]:
    values = stage.values if stage else {}
    link = ""
    if stage is not None:
        try:
            link = stage.operator.execute("login-link", {"identity": "sora"})["values"]["link"]
        except AegisError as error:
            link = f"(no login link: {error})"
    return {
        "steps": [{"name": step.name, "ok": step.ok, "seconds": step.seconds, "detail": step.detail} for step in steps],
        "push_to_production_seconds": float(values["push_to_production"]) if "push_to_production" in values else None,
        "ledger": {"events": int(values.get("events", "0")), "verified": steps[-1].ok and steps[-1].name == "proof"},
        "link": link,
    }
