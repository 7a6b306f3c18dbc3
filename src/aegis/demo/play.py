"""Plays the whole story and says how it went."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from aegis.core.errors import AegisError
from aegis.demo.chapters import GOOD
from aegis.demo.chronicle import Chronicle
from aegis.demo.ports import Workshop
from aegis.demo.story import Stage, Step, Teller, tell
from aegis.demo.trouble import BAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How it went: the document for programs, and for people a link to sign in by, which no document holds."""

    document: dict[str, Any]
    link: str = field(default="", repr=False)

    @property
    def ok(self) -> bool:
        """Whether every step held."""
        return all(step["ok"] for step in self.document["steps"])


def play(workshop: Workshop, teller: Teller) -> Outcome:
    """The story's outcome: `steps`, `push_to_production_seconds` (both by the ledger's times), `ledger`."""
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


def _outcome(steps: list[Step], stage: Stage | None) -> Outcome:
    values = stage.values if stage else {}
    link = ""
    if stage is not None:
        try:
            link = stage.operator.execute("login-link", {"identity": "sora"})["values"]["link"]
        except AegisError as error:
            link = f"(no login link: {error})"
    document = {
        "steps": [{"name": step.name, "ok": step.ok, "seconds": step.seconds, "detail": step.detail} for step in steps],
        "push_to_production_seconds": float(values["push_to_production"]) if "push_to_production" in values else None,
        "ledger": {"events": int(values.get("events", "0")), "verified": steps[-1].ok and steps[-1].name == "proof"},
    }
    return Outcome(document=document, link=link)
