"""The story: its people, how it is told, and what every chapter has at hand. Chapters are in `chapters`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from aegis.adapters.server_http import ServerClient
from aegis.core.errors import AegisError, CheckFailed
from aegis.demo.chronicle import Chronicle, Record
from aegis.demo.ports import Load, Person, Tree, Workshop

PEOPLE = {
    one.id: one
    for one in (
        Person(id="dana", name="Dana Novak", email="dana@shop.example"),
        Person(id="joon", name="Joon Park", email="joon@shop.example"),
        Person(id="mina", name="Mina Kim", email="mina@shop.example"),
        Person(id="sora", name="Sora Lee", email="sora@shop.example"),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A chapter as it went."""

    name: str
    ok: bool
    seconds: float
    detail: str


class Teller(Protocol):
    """Shows the story while it happens."""

    def chapter(self, number: int, total: int, title: str, why: str) -> None:
        """A chapter begins."""
        ...

    def line(self, text: str) -> None:
        """Something happened."""
        ...

    def seen(self, record: Record) -> None:
        """The ledger has a new record."""
        ...

    def done(self, step: Step) -> None:
        """A chapter has ended."""
        ...


@dataclass(slots=True, kw_only=True)
class Stage:
    """What chapters share and leave for one another."""

    workshop: Workshop
    teller: Teller
    operator: ServerClient
    chronicle: Chronicle
    ready_seconds: float
    people: dict[str, Person] = field(default_factory=dict)
    clients: dict[str, ServerClient] = field(default_factory=dict)
    trees: dict[str, Tree] = field(default_factory=dict)
    load: Load | None = None
    marks: dict[str, int] = field(default_factory=dict)
    """Sequence numbers at which something of interest began, by name."""
    values: dict[str, str] = field(default_factory=dict)

    def say(self, text: str) -> None:
        """Tell a line."""
        self.teller.line(text)

    def as_(self, person: str) -> ServerClient:
        """The client of a person."""
        return self.clients[person]

    def mark(self) -> int:
        """The ledger's present end, as far as it was seen."""
        return self.chronicle.last()

    def push(self, project: str, branch: str, person: str, options: tuple[str, ...] = ()) -> str:
        """Push a tree; `CheckFailed` with what Git said when it was not taken."""
        taken, said = self.trees[project].push(branch, self.people[person], options)
        if not taken:
            raise CheckFailed("demo-push", f"{person} could not push {project} to {branch}: {said}")
        return said


Chapter = Callable[[Stage], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Titled:
    """A chapter with its name, title and the reason why it matters."""

    name: str
    title: str
    why: str
    run: Chapter


def tell(stage: Stage, chapters: tuple[Titled, ...]) -> list[Step]:
    """Run the chapters in order; the first that fails ends the story, with its reason as detail.

    What a chapter took is the time between the last record before it and its own last one.
    """
    steps = []
    for number, chapter in enumerate(chapters, 1):
        stage.teller.chapter(number, len(chapters), chapter.title, chapter.why)
        begun = stage.mark()
        try:
            detail, ok = chapter.run(stage), True
            stage.chronicle.catch_up(int(stage.operator.get("home")["seq"]))
        except AegisError as error:
            detail, ok = str(error), False
        step = Step(name=chapter.name, ok=ok, seconds=stage.chronicle.seconds(begun), detail=detail)
        stage.teller.done(step)
        steps.append(step)
        if not ok:
            break
    return steps


def is_type(*suffixes: str, **fields: Any) -> Callable[[Record], bool]:
    """A test: the record's type ends with one of `suffixes`, and its envelope has these fields."""

    def test(record: Record) -> bool:
        return str(record["type"]).endswith(suffixes) and all(record.get(key) == value for key, value in fields.items())

    return test


def released(project: str, branch: str) -> Callable[[Record], bool]:
    """A release of a project from a branch."""

    def test(record: Record) -> bool:
        if record["type"] != "aegis.release.created":
            return False
        release = record["data"]["release"]
        return (release["project"], release["ref"]) == (project, f"refs/heads/{branch}")

    return test


def stopped(project: str) -> Callable[[Record], bool]:
    """What ends a way before its time: a refused run, a blocking verdict, a failed action."""

    def test(record: Record) -> bool:
        if record.get("project") != project:
            return False
        if record["type"] == "aegis.verdict.given":
            return bool(record["data"]["verdict"]["outcome"] == "block")
        return record["type"] in ("aegis.run.refused", "aegis.action.failed")

    return test
