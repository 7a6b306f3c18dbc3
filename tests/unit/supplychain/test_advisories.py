"""Advisories in OSV form concern exactly the versions that the schema says."""

from __future__ import annotations

import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from aegis.core.types import Severity
from aegis.supplychain.advisories import AdvisoryStore, match, read_advisory
from aegis.supplychain.packages import Package
from aegis.supplychain.scan import NOT_LOOKED_UP, UNREADABLE, scan_dependencies

DATABASE = Path(__file__).parents[4] / "shared" / "data" / "pypa-advisories-2024-10.tar.xz"
EXAMPLE = Path(__file__).parents[3] / "examples" / "shop" / "platform" / "advisories"


def osv(name: str = "OSV-1", package: str = "thing", **more: Any) -> bytes:
    affected = {"package": {"ecosystem": "PyPI", "name": package}}
    for key in ("ranges", "versions"):
        if key in more:
            affected[key] = more.pop(key)
    return json.dumps({"id": name, "modified": "2026-01-02T03:04:05Z", "affected": [affected], **more}).encode()


def ranges(*events: dict[str, str], kind: str = "ECOSYSTEM") -> list[dict[str, Any]]:
    return [{"type": kind, "events": list(events)}]


def concerned(data: bytes, version: str) -> bool:
    advisory, problem = read_advisory(data)
    assert advisory is not None, problem
    found = match(advisory, "thing", Version(version), version)
    return found is not None and not found.undecided


@pytest.mark.parametrize(
    ("events", "inside", "outside"),
    [
        ([{"introduced": "0"}, {"fixed": "2.0"}], ["0.1", "1.9.9", "2.0rc1", "2.0.dev1"], ["2.0", "2.0.post1", "3"]),
        ([{"introduced": "1.0"}, {"last_affected": "1.5"}], ["1.0", "1.5"], ["0.9", "1.5.1", "1.5.post1"]),
        ([{"introduced": "1.0"}], ["1.0", "99"], ["0.9", "1.0rc1"]),
        (
            [{"introduced": "2.0.0"}, {"fixed": "2.0.6"}, {"introduced": "0"}, {"fixed": "1.26.17"}],
            ["1.0", "1.26.16", "2.0.5"],
            ["1.26.17", "1.26.18", "2.0.6"],
        ),
        ([{"introduced": "1!1.0"}, {"fixed": "1!2.0"}], ["1!1.5"], ["99", "1!2.0"]),
    ],
)
def test_ranges_follow_their_events(events: list[dict[str, str]], inside: list[str], outside: list[str]) -> None:
    data = osv(ranges=ranges(*events))
    assert all(concerned(data, version) for version in inside)
    assert not any(concerned(data, version) for version in outside)


def test_listed_versions_count_beside_ranges() -> None:
    data = osv(versions=["1.0", "1.10"], ranges=ranges({"introduced": "2.0"}, {"fixed": "2.1"}))
    assert [concerned(data, version) for version in ("1.0", "1.0.0", "1.10", "1.1", "2.0", "2.1")] == [
        True, True, True, False, True, False,
    ]  # fmt: skip


def test_unquoted_versions_in_yaml_stay_what_they_are() -> None:
    advisory, _ = read_advisory(b"id: A\naffected:\n- package: {ecosystem: PyPI, name: thing}\n  versions: [1.10]\n")
    assert advisory is not None
    assert match(advisory, "thing", Version("1.10")) is not None
    assert match(advisory, "thing", Version("1.1")) is None


def test_a_bound_that_is_no_version_widens_the_range() -> None:
    assert concerned(osv(ranges=ranges({"introduced": "long-ago"}, {"fixed": "2.0"})), "1.0")
    assert concerned(osv(ranges=ranges({"introduced": "0"}, {"fixed": "some day"})), "99")


def test_the_smallest_fix_at_or_after_the_installed_version_is_told() -> None:
    data = osv(ranges=ranges({"introduced": "0"}, {"fixed": "1.26.17"}, {"introduced": "2.0"}, {"fixed": "2.0.6"}))
    advisory, _ = read_advisory(data)
    assert advisory is not None
    one, two = match(advisory, "thing", Version("1.0")), match(advisory, "thing", Version("2.0.1"))
    assert one is not None
    assert two is not None
    assert (one.fixed, two.fixed) == (("1.26.17",), ("2.0.6",))


def test_commits_alone_decide_nothing_and_say_so() -> None:
    store = AdvisoryStore([("a.json", osv(ranges=ranges({"introduced": "0"}, kind="GIT")))])
    scan = scan_dependencies([Package(name="thing", version="1.0")], store)
    assert scan.findings[0].rule == NOT_LOOKED_UP
    assert "names commits" in scan.findings[0].message


def test_withdrawn_and_foreign_advisories_do_not_count() -> None:
    everything = ranges({"introduced": "0"})
    foreign = osv(ranges=everything).replace(b"PyPI", b"npm")
    store = AdvisoryStore([("a", osv(ranges=everything, withdrawn="2025-01-01T00:00:00Z")), ("b", foreign)])
    assert not scan_dependencies([Package(name="thing", version="1.0")], store).findings


def test_names_are_compared_as_indexes_do() -> None:
    store = AdvisoryStore([("a", osv(package="Zope.Interface_x", ranges=ranges({"introduced": "0"})))])
    assert scan_dependencies([Package(name="zope-interface-x", version="1")], store).findings


def test_advisories_that_share_an_alias_are_one_finding() -> None:
    first = osv("PYSEC-1", aliases=["CVE-1"], ranges=ranges({"introduced": "0"}, {"fixed": "2"}), summary="bad")
    second = osv(
        "GHSA-1", aliases=["CVE-1", "X-1"], ranges=ranges({"introduced": "0"}), database_specific={"severity": "HIGH"}
    )
    third = osv("Y-1", aliases=["X-1"], ranges=ranges({"introduced": "0"}))
    scan = scan_dependencies(
        [Package(name="thing", version="1")], AdvisoryStore([("a", first), ("b", second), ("c", third)])
    )
    assert len(scan.findings) == 1
    assert scan.vulnerabilities[0].names == ("CVE-1", "GHSA-1", "PYSEC-1", "X-1", "Y-1")
    assert scan.findings[0].severity is Severity.HIGH
    assert scan.findings[0].fixed_in == ("2",)


@pytest.mark.parametrize(
    ("package", "said"),
    [
        (Package(name="thing", version=None), "no version"),
        (Package(name="thing", version="latest"), "'latest'"),
        (Package(name="thing", version="1.0", source="vcs"), "repository"),
        (Package(name="thing", version=None, source="url"), "address"),
        (Package(name="thing", version=None, source="path"), "local path"),
    ],
)
def test_what_cannot_be_looked_up_is_a_finding(package: Package, said: str) -> None:
    scan = scan_dependencies([package], AdvisoryStore([]))
    assert scan.findings[0].rule == NOT_LOOKED_UP
    assert said in scan.findings[0].message
    assert scan.findings[0].mend


def test_a_broken_advisory_about_a_wanted_package_is_a_finding() -> None:
    broken = osv(ranges=ranges({"introduced": "0"}))[:-3]
    scan = scan_dependencies([Package(name="thing", version="1")], AdvisoryStore([("broken.json", broken)]))
    assert scan.findings[0].rule == UNREADABLE
    assert "broken.json" in scan.findings[0].message
    odd = b'{"id": "A", "affected": [{"package": {"name": "thing"}}]}'
    scan = scan_dependencies([Package(name="thing", version="1")], AdvisoryStore([("odd.json", odd)]))
    assert scan.findings[0].rule == UNREADABLE


def test_a_name_that_cannot_be_told_from_the_bytes_is_still_found() -> None:
    data = osv(ranges=ranges({"introduced": "0"})).replace(b'"thing"', b'"th\\u0069ng"')
    assert scan_dependencies([Package(name="thing", version="1")], AdvisoryStore([("a", data)])).findings


def test_the_age_is_that_of_the_youngest_advisory() -> None:
    store = AdvisoryStore([("a", osv(ranges=ranges({"introduced": "0"}))), ("b", b"no advisory")])
    assert store.newest == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert len(store) == 1
    scan = scan_dependencies([], store)
    assert scan.age_days(datetime(2026, 1, 12, 4, tzinfo=UTC)) == 10
    assert AdvisoryStore([]).newest is None


def test_the_examples_advisories_say_what_was_published() -> None:
    files = [(path.name, path.read_bytes()) for path in EXAMPLE.glob("*.yaml")]
    store = AdvisoryStore(files)
    packages = [Package(name="Jinja2", version="3.1.2"), Package(name="h11", version="0.14.0")]
    scan = scan_dependencies(packages, store)
    worst = {finding.package: finding.severity for finding in reversed(scan.findings)}
    assert worst == {"Jinja2": Severity.HIGH, "h11": Severity.CRITICAL}
    assert {one.finding.fixed_in for one in scan.vulnerabilities if one.package.name == "h11"} == {("0.16.0",)}
    assert not scan_dependencies([Package(name="jinja2", version="3.1.6")], store).findings
    for name, data in files:
        advisory, problem = read_advisory(data)
        assert advisory is not None, (name, problem)
        assert advisory.severity is not Severity.UNKNOWN


@pytest.mark.skipif(not DATABASE.exists(), reason="the PyPA database of the shared folder is not here")
def test_the_pypa_database_gives_the_known_numbers() -> None:
    with tarfile.open(DATABASE, "r:xz") as archive:
        files = [
            (member.name, content.read())
            for member in archive
            if member.name.endswith(".yaml") and (content := archive.extractfile(member))
        ]
    store = AdvisoryStore(files)
    counts = {
        (name, version): len(scan_dependencies([Package(name=name, version=version)], store).findings)
        for name, version in (("jinja2", "2.4.1"), ("requests", "2.19.0"), ("pyyaml", "5.1"))
    }
    assert counts == {("jinja2", "2.4.1"): 5, ("requests", "2.19.0"): 2, ("pyyaml", "5.1"): 3}
    assert len(store) > 2600
