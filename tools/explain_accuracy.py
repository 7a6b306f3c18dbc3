"""Print how well `aegis explain` names the causes of the recorded failures: right, abstained, confidently wrong."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import sys

from aegis.core.types import JobRun, State
from aegis.execution.explain import causes_of

ROOT = pathlib.Path(__file__).parent.parent / "tests" / "golden" / "failures"
CONFIDENT = 0.7


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One case: what was right, and what was said first (empty: abstained)."""

    half: str
    name: str
    labels: tuple[str, ...]
    said: str
    confidence: float

    @property
    def right(self) -> bool:
        """Whether the first cause, or the silence, is right."""
        return (self.said or "abstain") in self.labels

    @property
    def confidently_wrong(self) -> bool:
        """Whether something false was said with confidence."""
        return bool(self.said) and not self.right and self.confidence >= CONFIDENT


def judged(half: str) -> list[Judged]:
    """Every case of one half."""
    found = []
    for script in sorted((ROOT / half).glob("*.sh")):
        heads = dict(
            re.findall(r"^# (\w+): (.*)$", script.read_text(encoding="utf-8").partition("#---")[0], re.MULTILINE)
        )
        log = script.with_suffix(".log").read_bytes()
        ended = re.search(rb"Job failed: exit code (\d+)", log)
        job = JobRun(
            id="1", name="job", stage="test", state=State.FAILED, exit_code=int(ended[1]) if ended else None,
            failure_reason=heads.get("reason", "script_failure"),
        )  # fmt: skip
        causes = causes_of(job, log)
        found.append(
            Judged(
                half=half, name=script.stem, labels=tuple(heads["label"].split("|")),
                said=causes[0].code if causes else "", confidence=causes[0].confidence if causes else 0.0,
            )
        )  # fmt: skip
    return found


def figures(cases: list[Judged]) -> dict[str, float]:
    """Shares of a half: `top1` of the cases that have a cause, `abstained_rightly`, `confidently_wrong` of all."""
    caused = [one for one in cases if one.labels != ("abstain",)]
    silent = [one for one in cases if one.labels == ("abstain",)]
    return {
        "cases": len(cases),
        "top1": sum(one.right for one in caused) / len(caused),
        "abstained_rightly": sum(one.right for one in silent) / max(1, len(silent)),
        "confidently_wrong": sum(one.confidently_wrong for one in cases) / len(cases),
    }


def main() -> int:
    """Print both halves."""
    shown = {half: judged(half) for half in ("known", "apart")}
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps({half: figures(cases) for half, cases in shown.items()}, indent=1) + "\n")
        return 0
    for half, cases in shown.items():
        share = figures(cases)
        sys.stdout.write(
            f"{half}: {share['cases']:.0f} failures, first cause right {share['top1']:.1%}, rightly silent"
            f" {share['abstained_rightly']:.0%}, confidently wrong {share['confidently_wrong']:.1%}\n"
        )
        if half == "known" or "--all" in sys.argv:
            for one in cases:
                if not one.right:
                    sys.stdout.write(
                        f"  {one.name}: {one.said or 'silent'} {one.confidence:.2f}, not {'|'.join(one.labels)}\n"
                    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
