"""`aegis demo`: the main job, told as a story."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from aegis.cli.output import coloured, document, note

if TYPE_CHECKING:
    from aegis.demo.play import Outcome
    from aegis.demo.story import Step

_TOLD = {
    "dev.cdevents.taskrun.finished": lambda d: f"{'✓' if d['job']['state'] == 'success' else '✗'} job {d['job']['name']}",
    "aegis.verdict.given": lambda d: f"{'⊘' if d['verdict']['outcome'] == 'block' else '✓'} gates: {d['verdict']['outcome']}",
    "aegis.release.created": lambda d: f"✓ released {d['release']['id']}",
    "aegis.promotion.proposed": lambda d: f"◌ {d['promotion']['release']} → {d['promotion']['environment']}",
    "dev.cdevents.service.deployed": lambda d: f"● {d['deployment']['release']} in {d['deployment']['environment']}: {d['deployment']['state']}",
    "aegis.rollout.stepped": lambda d: f"● {d['rollout']['weight']:>3} %  {d['rollout']['decision']}",
    "aegis.rollout.finished": lambda d: f"● {d['rollout']['state']}: {d['rollout']['decision']}",
    "dev.cdevents.service.rolledback": lambda d: f"↩ back to {d['to_release'] or 'nothing'}",
    "aegis.action.failed": lambda d: f"✗ {d['message']}",
}  # fmt: skip


class Terminal:
    """Tells the story on standard error, line by line; nothing of it is needed to understand the result."""

    def __init__(self) -> None:
        self._colour = coloured(sys.stderr)
        self._begun = time.monotonic()

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour else text

    def chapter(self, number: int, total: int, title: str, why: str) -> None:
        """See `Teller`."""
        note("")
        note(f"{self._paint(f'{number}/{total}', '2')}  {self._paint(title, '1')}")
        note(f"      {self._paint(why, '2')}")

    def line(self, text: str) -> None:
        """See `Teller`."""
        note(f"      {text}")

    def seen(self, record: dict[str, Any]) -> None:
        """See `Teller`."""
        tell = _TOLD.get(record["type"])
        if tell is None or not record.get("data"):
            return
        clock = f"{time.monotonic() - self._begun:6.1f}s"
        where = record["project"] or record["service"]
        note(f"  {self._paint(clock, '2')}  {where:<15} {tell(record['data'])}")

    def done(self, step: Step) -> None:
        """See `Teller`."""
        symbol = self._paint("✓", "32") if step.ok else self._paint("✗", "31")
        note(f"    {symbol} {step.detail}  {self._paint(f'({step.seconds:.1f} s)', '2')}")


@click.command()
@click.option("--exit", "leave", is_flag=True, help="Stop everything at the end instead of leaving it to explore.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
@click.option("--directory", default=".aegis/demo", show_default=True, metavar="DIR", help="Emptied, then worked in.")
@click.option("--port", default=0, help="The server's port; 0 takes a free one.")
def demo(directory: str, port: int, *, leave: bool, as_json: bool) -> None:
    """Carry an example from a push to production, show what is stopped and why, and prove it.

    \b
    Examples:
      aegis demo
      aegis demo --exit --json
    """
    from aegis.bootstrap.demo import workshop
    from aegis.demo.play import play

    machine = workshop(directory, port)
    teller = Terminal()
    try:
        outcome = play(machine, teller)
        if as_json:
            document("aegis.demo/1", outcome.document)
        if not leave and not as_json:
            _stay(machine.url, outcome)
    except KeyboardInterrupt:
        note("\ninterrupted: stopping the server and everything it runs …")
        raise
    finally:
        machine.close()
    if not outcome.ok:
        sys.exit(1)


def _stay(url: str, outcome: Outcome) -> None:
    seconds = outcome.document["push_to_production_seconds"]
    note("")
    if seconds is not None:
        note(
            f"From the push to all of production's traffic: {seconds:.1f} s. "
            f"{outcome.document['ledger']['events']} ledger records."
        )
    note(f"The server stays for you to explore: {outcome.link or url}")
    note("Ctrl-C stops it and everything that was started.")
    while True:
        time.sleep(3600)
