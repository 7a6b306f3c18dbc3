"""What is included from elsewhere is asked for once; failures again after a save."""

from __future__ import annotations

import pytest

from aegis.core.errors import ExternalError, NotFound
from aegis.lsp.elsewhere import RememberedElsewhere
from aegis.pipeline.ports import Files
from aegis.pipeline.request import MemoryFiles


class Counting:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.down = False
        self.host = "git.example.test"

    def _note(self, question: str) -> None:
        self.asked.append(question)
        if self.down:
            raise ExternalError("down", "it does not answer")

    def commit(self, project: str, ref: str) -> str:
        self._note(f"commit {project} {ref}")
        return "c" * 40

    def files(self, project: str, commit: str) -> Files:
        self._note(f"files {project} {commit}")
        return MemoryFiles({"a.yml": b"x"})

    def releases(self, project: str) -> tuple[str, ...]:
        self._note("releases")
        raise NotFound("no-project", project)

    def fetch(self, address: str, keep: int) -> bytes:
        self._note(f"fetch {address} {keep}")
        return b"y"

    def template(self, name: str) -> bytes | None:
        self._note(f"template {name}")
        return None

    def other(self, host: str) -> None:  # noqa: ARG002 - the port's signature
        return None


def test_every_question_is_asked_once() -> None:
    below = Counting()
    remembered = RememberedElsewhere(below)
    for _ in range(3):
        assert remembered.host == "git.example.test"
        assert remembered.commit("a/b", "main") == "c" * 40
        files = remembered.files("a/b", "c")
        assert files.read("a.yml") == b"x"
        assert files.read("b.yml") is None
        assert files.paths() == ("a.yml",)
        assert remembered.fetch("https://x.test/a.yml", 0) == b"y"
        assert remembered.template("x") is None
    assert below.asked == ["commit a/b main", "files a/b c", "fetch https://x.test/a.yml 0", "template x"]


def test_a_failure_is_remembered_until_it_is_tried_again() -> None:
    below = Counting()
    below.down = True
    remembered = RememberedElsewhere(below)
    for _ in range(3):
        with pytest.raises(ExternalError):
            remembered.fetch("https://x.test/a.yml", 0)
    assert len(below.asked) == 1
    below.down = False
    remembered.retry()
    assert remembered.fetch("https://x.test/a.yml", 0) == b"y"
    with pytest.raises(NotFound):
        remembered.releases("a/b")
