"""The sequential test under simulation: how often it is wrong, and how often it sees what it should.

Deterministic seeds. Each run looks after every interval, as the controller does, and ends at the first decision.
"""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.rollout.analysis import Interval, Tally, alone, recorded_rate, weigh

ALPHA, BETA, MARGIN = 0.01, 0.05, 3.0


def _poisson(draw: random.Random, mean: float) -> int:
    if mean > 30:
        return max(0, round(draw.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), draw.random(), 0
    while product > limit:
        product *= draw.random()
        count += 1
    return count


def _errors(draw: random.Random, mean: float, clump: int) -> int:
    return min(_poisson(draw, mean / clump) * clump, 10**9)


def _run(seed: int, *, traffic: int, old: float, new: float, clump: int = 1, looks: int = 90) -> str:
    """`rollback`, `promote` or `open`; `traffic` per interval, the canary's share rising as in 5/25/50."""
    draw = random.Random(seed)
    tally = Tally(margin=MARGIN)
    for look in range(looks):
        share = (0.05, 0.25, 0.5)[min(look * 3 // 30, 2)]
        canary = max(1, round(traffic * share))
        baseline = traffic - canary
        tally.add(
            Interval(
                canary=canary,
                canary_bad=min(canary, _errors(draw, canary * new, clump)),
                baseline=baseline,
                baseline_bad=min(baseline, _errors(draw, baseline * old, clump)),
            )
        )
        evidence = tally.evidence()
        if evidence.log_worse >= math.log(1 / ALPHA):
            return "rollback"
        if look >= 20 and evidence.log_safe >= math.log(1 / BETA):
            return "promote"
    return "open"


def _share(outcome: str, runs: int, **cell: float) -> float:
    return sum(_run(seed, **cell) == outcome for seed in range(runs)) / runs  # type: ignore[arg-type]


@pytest.mark.parametrize(("traffic", "rate"), [(600, 0.005), (600, 0.02), (6000, 0.002), (60, 0.02)], ids=str)
def test_a_harmless_change_is_rolled_back_in_at_most_one_of_a_hundred(traffic: int, rate: float):
    assert _share("rollback", 300, traffic=traffic, old=rate, new=rate) <= 0.01


@pytest.mark.parametrize(("traffic", "rate"), [(600, 0.005), (6000, 0.002), (600, 0.02)], ids=str)
def test_four_times_as_many_errors_are_rolled_back_in_99_of_a_hundred(traffic: int, rate: float):
    assert _share("rollback", 300, traffic=traffic, old=rate, new=4 * rate) >= 0.99


@pytest.mark.parametrize("clump", [4, 10])
def test_errors_that_come_in_clumps_do_not_fool_it(clump: int):
    assert _share("rollback", 300, traffic=600, old=0.02, new=0.02, clump=clump) <= 0.01


def test_a_regression_with_errors_in_clumps_is_still_seen():
    assert _share("rollback", 200, traffic=600, old=0.02, new=0.08, clump=4) >= 0.99


def test_an_outage_of_both_sides_is_nobodys_fault():
    outcomes = []
    for seed in range(100):
        draw = random.Random(seed)
        series = []
        for look in range(40):
            rate = 0.6 if 10 <= look < 17 else 0.005
            series.append(
                Interval(
                    canary=150,
                    canary_bad=min(150, _poisson(draw, 150 * rate)),
                    baseline=450,
                    baseline_bad=min(450, _poisson(draw, 450 * rate)),
                )
            )
        looks = (weigh(series[:end]).log_worse for end in range(1, 41, 3))
        outcomes.append(max(looks) >= math.log(1 / ALPHA))
    assert sum(outcomes) <= 1


def test_a_canary_that_fails_outright_is_seen_within_seconds():
    tally = Tally()
    for _ in range(4):
        tally.add(Interval(canary=5, canary_bad=5, baseline=95, baseline_bad=0))
    assert tally.evidence().log_worse >= math.log(1 / ALPHA)


@pytest.mark.parametrize(("old", "new", "low", "high"), [(0.02, 0.02, 0.0, 0.01), (0.02, 0.5, 0.99, 1.0)])
def test_looks_that_are_closer_than_requests_lose_nothing(old: float, new: float, low: float, high: float):
    """One request per look: each look sees one side alone."""
    outcomes = []
    for seed in range(100):
        draw = random.Random(seed)
        tally = Tally()
        worst = 0.0
        for look in range(1500):
            to_canary = draw.random() < 0.05
            bad = int(draw.random() < (new if to_canary else old))
            tally.add(
                Interval(
                    canary=int(to_canary),
                    canary_bad=bad * to_canary,
                    baseline=int(not to_canary),
                    baseline_bad=bad * (not to_canary),
                )
            )
            if look % 50 == 49:
                worst = max(worst, tally.evidence().log_worse)
        outcomes.append(worst >= math.log(1 / ALPHA))
    assert low <= sum(outcomes) / len(outcomes) <= high


def test_a_worse_version_is_seen_after_the_baseline_has_gone():
    seen = harmless = 0
    for seed in range(200):
        draw = random.Random(seed)
        rate = recorded_rate(_poisson(draw, 10_000 * 0.005), 10_000, fallback=0.01)
        good = [(100, _poisson(draw, 0.5)) for _ in range(60)]
        bad = [(100, _poisson(draw, 4.0)) for _ in range(60)]
        harmless += any(alone(good[:end], rate) >= math.log(1 / ALPHA) for end in range(1, 61, 4))
        seen += any(alone(bad[:end], rate) >= math.log(1 / ALPHA) for end in range(1, 61, 4))
    assert harmless <= 2
    assert seen >= 198


intervals = st.builds(
    lambda canary, baseline, one, two: Interval(
        canary=canary, canary_bad=min(one, canary), baseline=baseline, baseline_bad=min(two, baseline)
    ),
    st.integers(0, 500),
    st.integers(0, 500),
    st.integers(0, 40),
    st.integers(0, 40),
)


@given(st.lists(intervals, max_size=40))
def test_evidence_is_always_a_number_and_the_dispersion_never_under_one(series: list[Interval]):
    evidence = weigh(series)
    assert math.isfinite(evidence.log_worse)
    assert math.isfinite(evidence.log_safe)
    assert evidence.dispersion >= 1
    assert evidence.canary == sum(one.canary for one in series)


@given(st.lists(intervals, min_size=1, max_size=20), intervals.filter(lambda one: one.canary and one.baseline))
def test_without_errors_an_interval_changes_no_ratio(series: list[Interval], one: Interval):
    quiet = Interval(canary=one.canary, canary_bad=0, baseline=one.baseline, baseline_bad=0)
    before, after = Tally(), Tally()
    for each in (*series, quiet):  # the last closes whatever was open
        before.add(each)
        after.add(each)
    after.add(quiet)
    assert after._for == before._for
    assert after._against == before._against
