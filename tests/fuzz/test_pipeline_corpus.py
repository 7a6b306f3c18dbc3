"""The corpus of the fuzzer: every input that once was worth keeping has an answer, and both readers agree about it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tools"))
from soak_language import one

CORPUS = sorted((Path(__file__).parent / "pipeline").iterdir())


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.name)
def test_what_the_fuzzer_kept_has_an_answer(file: Path) -> None:
    begun = time.process_time()
    one(file.read_bytes())
    assert time.process_time() - begun < 20
