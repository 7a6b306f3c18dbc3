"""DORA's measures: what counts, what does not, and that nothing is nothing and not zero."""

from dataclasses import replace
from datetime import timedelta

import pytest

from aegis.observe.dora import Delivered, measure
from support.records import START

GOOD = Delivered(
    service="orders", environment="production", release="orders@1.0.0", started_at=START - timedelta(minutes=10),
    finished_at=START - timedelta(minutes=5), ok=True, lead_seconds=(3600.0,),
)  # fmt: skip
FAILED = replace(GOOD, ok=False, lead_seconds=(), recovered_at=START)


def test_without_deployments_nothing_is_known():
    dora = measure([], until=START)
    assert dora.deployments == 0
    assert (dora.frequency_per_day, dora.lead_seconds, dora.change_failure_rate) == (None, None, None)
    assert (dora.recovery_seconds, dora.rework_rate) == (None, None)


def test_the_failure_rate_divides_failed_deployments_by_deployments_and_not_by_changes():
    many_changes = replace(GOOD, lead_seconds=(60.0,) * 20)
    assert measure([many_changes, GOOD, GOOD, FAILED], until=START).change_failure_rate == 0.25


def test_a_deployment_that_was_good_and_then_returned_has_failed():
    assert measure([GOOD, replace(GOOD, returned=True)], until=START).change_failure_rate == 0.5


def test_a_rollback_is_no_deployment_forward_and_is_rework():
    dora = measure([GOOD, FAILED, replace(GOOD, rollback=True)], until=START, days=1)
    assert (dora.deployments, dora.frequency_per_day) == (2, 1.0)
    assert dora.rework_rate == pytest.approx(1 / 3)


def test_an_emergency_is_rework():
    assert measure([GOOD, replace(GOOD, emergency=True)], until=START).rework_rate == 0.5


def test_lead_time_is_the_median_of_changes():
    assert (
        measure(
            [replace(GOOD, lead_seconds=(10.0, 20.0)), replace(GOOD, lead_seconds=(600.0,))], until=START
        ).lead_seconds
        == 20.0
    )


def test_recovery_counts_from_the_start_of_the_failed_deployment():
    assert measure([FAILED], until=START).recovery_seconds == 600.0
    assert measure([replace(FAILED, recovered_at=None)], until=START).recovery_seconds is None


@pytest.mark.parametrize(
    "other",
    [
        {"environment": "staging"},
        {"finished_at": START - timedelta(days=31)},
        {"finished_at": START + timedelta(seconds=1)},
        {"service": "payments"},
    ],
)
def test_other_environments_times_and_services_are_not_counted(other):
    assert measure([replace(GOOD, **other)], until=START, service="orders").deployments == 0
