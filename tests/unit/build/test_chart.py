"""Charts: generated ones are in order, mistakes are found at their place, the same files give the same package."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
import yaml
from starlette.applications import Starlette

from aegis.bootstrap.chart import files_of, generate_chart, package_chart, push_chart
from aegis.build.chart import CONFIG, CONTENT, Service, artifact, generate, lint, package, read_package, with_version
from aegis.core.errors import UserError
from aegis.web import oci_api
from support.live_server import serving
from support.registry_doors import WRITER, DoorsHolder, TokenDoors

CHART = b"# by hand\napiVersion: v2\nname: orders # the name\nversion: 0.0.0\n"


def test_a_generated_chart_is_in_order_and_runs_as_nobody() -> None:
    files = generate(Service(name="orders", version="1.2.0", image="registry.example/shop/orders", port=9000))
    assert lint(files) == ()
    about = yaml.safe_load(files["Chart.yaml"])
    assert (about["name"], about["version"], about["appVersion"]) == ("orders", "1.2.0", "1.2.0")
    assert yaml.safe_load(files["values.yaml"])["port"] == 9000
    deployment = files["templates/deployment.yaml"]
    assert b"runAsNonRoot: true" in deployment
    assert b"NAME" not in deployment


def test_the_same_files_give_the_same_package_and_the_version_alone_is_written_in() -> None:
    files = {
        "Chart.yaml": CHART,
        "values.yaml": b"a: 1\n",
        "templates/x.yaml": b"a: {{ .Values.a }}\n",
        ".git/x": b"no",
    }
    packed = package(files, version="1.2.0+build.1", epoch=7)
    assert packed == package(dict(reversed(files.items())), version="1.2.0+build.1", epoch=7)
    assert packed.filename == "orders-1.2.0+build.1.tgz"
    with tarfile.open(fileobj=io.BytesIO(packed.data)) as archive:
        assert archive.getnames() == ["orders/Chart.yaml", "orders/templates/x.yaml", "orders/values.yaml"]
        text = archive.extractfile("orders/Chart.yaml").read()  # type: ignore[union-attr]
    assert text == CHART.replace(b"0.0.0", b"1.2.0+build.1")
    assert read_package("x.tgz", packed.data).about == packed.about
    assert artifact(packed, created="2026-01-01T00:00:00Z").tag == "1.2.0_build.1"


@pytest.mark.parametrize(
    ("files", "code", "line"),
    [
        ({"Chart.yaml": b""}, "chart-field", 1),
        ({}, "chart-missing", 1),
        ({"Chart.yaml": CHART.replace(b"orders", b"Orders_1")}, "chart-field", 1),
        ({"Chart.yaml": CHART.replace(b"0.0.0", b"1.2")}, "chart-field", 1),
        ({"Chart.yaml": b"a: [\n"}, "chart-yaml", 2),
        ({"Chart.yaml": CHART, "values.yaml": b"a:\n b\n  c: d\n"}, "chart-yaml", 3),
        ({"Chart.yaml": CHART, "values.yaml": b"- a\n"}, "chart-values", 1),
        ({"Chart.yaml": CHART, "values.schema.json": b"{"}, "chart-schema", 1),
        ({"Chart.yaml": CHART, "templates/x.yaml": b"a\n{{- if .Values.b }}\n"}, "chart-block", 2),
        ({"Chart.yaml": CHART, "templates/x.yaml": b"a: 1\n{{ end }}\n"}, "chart-block", 2),
        ({"Chart.yaml": CHART, "templates/x.yaml": b"a: {{ .Release.Name\n"}, "chart-action", 1),
    ],
)
def test_a_mistake_is_named_with_its_place(files: dict[str, bytes], code: str, line: int) -> None:
    first = next(one for one in lint(files) if one.fatal)
    assert first.code == code
    assert first.where is not None
    assert first.where.line == line
    with pytest.raises(UserError):
        package(files, version="", epoch=0)


def test_values_and_templates_that_are_not_there_are_warned_of() -> None:
    text = b'{{ .Values.a.b }}{{ .Values.c | default 1 }}{{ include "nothing" . }}{{/* end .Values.x */}}'
    found = lint({"Chart.yaml": CHART, "values.yaml": b"a: {d: 1}\n", "templates/x.yaml": text})
    assert sorted(one.code for one in found) == ["chart-template", "chart-value"]
    assert not any(one.fatal for one in found)
    assert ".Values.a.b" in next(one.message for one in found if one.code == "chart-value")


@pytest.mark.parametrize("version", ["1", "v1.2.0", "1.2.0.4", ""])
def test_a_version_that_no_chart_can_have_is_refused(version: str) -> None:
    with pytest.raises(UserError):
        with_version(CHART, version)


@pytest.mark.parametrize("data", [b"", b"\x1f\x8b", b"plain"])
def test_what_is_no_package_is_told(data: bytes) -> None:
    with pytest.raises(UserError) as caught:
        read_package("x.tgz", data)
    assert caught.value.code == "chart-package"


def test_a_service_gets_its_chart_and_the_registry_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEGIS_CACHE_DIR", str(tmp_path / "cache"))
    service = tmp_path / "orders"
    service.mkdir()
    (service / "pyproject.toml").write_text('[project]\nname = "Shop_Orders"\nversion = "2.0.0"\n')
    generate_chart(service, out=service / "chart", image="", health="/healthz")
    generate_chart(service, out=service / "chart", image="", health="/healthz")
    (service / "chart" / "values.yaml").write_text("mine: 1\n")
    with pytest.raises(UserError, match="there already"):
        generate_chart(service, out=service / "chart", image="", health="/healthz")
    assert {one.code for one in lint(files_of(service / "chart"))} == {"chart-value"}
    report = package_chart(service / "chart", version="2.1.0", out=tmp_path / "dist")
    assert report.path.endswith("shop-orders-2.1.0.tgz")
    holder = DoorsHolder()
    holder.doors = doors = TokenDoors(tmp_path / "server")
    with serving(Starlette(routes=[*oci_api.routes(holder)])) as address:
        monkeypatch.setenv("CI_REGISTRY", address)
        monkeypatch.setenv("CI_REGISTRY_USER", "any")
        monkeypatch.setenv("CI_REGISTRY_PASSWORD", WRITER)
        pushed = push_chart(Path(report.path), f"oci://{address}/shop/charts")
        again = push_chart(Path(report.path), f"oci://{address}/shop/charts/")
    assert pushed == again
    assert pushed.reference == f"oci://{address}/shop/charts/shop-orders:2.1.0"
    manifest = json.loads(doors.registry.repository("shop/charts/shop-orders", actor="x").manifest("2.1.0").body)
    assert (manifest["config"]["mediaType"], manifest["layers"][0]["mediaType"]) == (CONFIG, CONTENT)
    assert manifest["layers"][0]["digest"] == report.digest
    doors.close()
