"""The Prometheus text format, tolerant of what its reader does not know."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aegis.adapters.metrics_prometheus import points
from aegis.adapters.traffic_traefik import routes
from aegis.adapters.traffic_traefik.routes import Backend, Counts, Place

TEXT = r"""# HELP traefik_service_requests_total How many
# TYPE traefik_service_requests_total counter
traefik_service_requests_total{code="200",method="GET",protocol="http",service="orders-1@file"} 1.5e+01
traefik_service_requests_total{code="502",method="GET",protocol="http",service="orders-1@file"} 2 1700000000000
traefik_service_request_duration_seconds_bucket{code="200",service="orders-1@file",le="0.1"} 12
traefik_service_request_duration_seconds_bucket{code="200",service="orders-1@file",le="+Inf"} 15
traefik_service_request_duration_seconds_sum{code="200",service="orders-1@file"} 0.75
broken line without a number
other{label="with \"quotes\", commas\nand } braces"} NaN
"""


def test_the_samples_are_read_and_the_rest_passed_over():
    found = list(points(TEXT))
    assert [one.name for one in found][-1] == "other"
    assert found[-1].labels["label"] == 'with "quotes", commas\nand } braces'
    totals = routes.totals(points(TEXT, "traefik_service"))
    sample = routes.sample("orders@1", totals["orders-1"])
    assert (sample.requests, sample.errors, sample.latency_sum) == (17, 2, 0.75)
    assert sample.buckets == {"0.1": 12, "+Inf": 15}


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str):
    list(points(text))


def test_counters_grow_over_a_restart_of_traefik():
    counts = Counts()
    assert counts.see({"requests": 10, "errors": 1})["requests"] == 10
    assert counts.see({})["requests"] == 10
    assert counts.see({"requests": 4, "errors": 2}) == {"requests": 14, "errors": 3}
    assert counts.see({"requests": 6, "errors": 2}) == {"requests": 16, "errors": 3}


def test_versions_with_alike_names_stay_apart():
    place = Place(service="orders", environment="production", port=1)
    names = {routes.backend_name(place, version) for version in ("orders@1.0", "orders-1.0", "orders@1+0")}
    assert len(names) == 3
    assert not any("@" in name for name in names)


def test_a_version_without_weight_or_address_gets_nothing():
    backends = {
        "a@1": Backend(addresses=("http://127.0.0.1:1",), weight=100),
        "a@2": Backend(addresses=("http://127.0.0.1:2",), weight=0),
        "a@3": Backend(addresses=(), weight=50),
    }
    place = Place(service="a", environment="e", port=1, backends=backends)
    body = routes.dynamic([place], hold="nothing")["http"]
    assert [one["weight"] for one in body["services"]["a-e"]["weighted"]["services"]] == [100]
    assert body["routers"]["a-e"]["service"] == "a-e"
    empty = routes.dynamic([Place(service="a", environment="e", port=1)], hold="nothing")["http"]
    assert empty["routers"]["a-e"]["service"] == "nothing"
