"""The image registry and the charts door under programs of others that are built for it (`make test-real`)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from defusedxml.ElementTree import parse
from starlette.applications import Starlette

from aegis.web import charts_api, oci_api
from support.live_server import serving
from support.real_programs import real_program
from support.registry_doors import WRITER, DoorsHolder, TokenDoors

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def holder() -> DoorsHolder:
    return DoorsHolder()


@pytest.fixture(scope="module")
def address(holder: DoorsHolder) -> Iterator[str]:
    with serving(Starlette(routes=[*oci_api.routes(holder), *charts_api.routes(holder)])) as made:
        yield made


@pytest.fixture
def doors(tmp_path: Path, holder: DoorsHolder) -> Iterator[TokenDoors]:
    made = TokenDoors(tmp_path / "server")
    holder.doors = made
    yield made
    made.close()


def run(*argv: str, **more: str) -> str:
    kept = {"PATH": os.environ["PATH"], **more}
    done = subprocess.run(argv, env=kept, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


@pytest.mark.usefixtures("doors")
@pytest.mark.parametrize("version", ["1.1", "dev"])
def test_the_conformance_suite_of_the_distribution_specification_finds_nothing(
    address: str, tmp_path: Path, version: str
) -> None:
    results = tmp_path / "results"
    results.mkdir()
    done = subprocess.run(
        [real_program("conformance")],
        env={
            "OCI_REGISTRY": address, "OCI_TLS": "disabled", "OCI_REPO1": "conformance/one", "OCI_REPO2": "conformance/two",
            "OCI_VERSION": version, "OCI_RESULTS_DIR": str(results), "OCI_USERNAME": "suite", "OCI_PASSWORD": WRITER,
        },
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    suite = parse(results / "junit.xml").getroot()
    failed = [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None]
    assert failed == []
    assert int(suite.get("tests", "0")) > 800
    assert (suite.get("failures", "0"), done.returncode) == ("0", 0), done.stdout[-3000:]


@pytest.mark.usefixtures("doors")
def test_crane_pushes_copies_lists_pulls_and_deletes(address: str, tmp_path: Path) -> None:
    crane, home = real_program("crane"), {"HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path)}
    layer = tmp_path / "layer.tar.gz"
    (tmp_path / "hello").write_bytes(os.urandom(100_000))
    run("tar", "-czf", str(layer), "-C", str(tmp_path), "hello")
    run(crane, "auth", "login", address, "-u", "me", "-p", WRITER, **home)
    one = f"{address}/shop/orders"
    run(crane, "append", "--insecure", "-f", str(layer), "-t", f"{one}:1.0.0", **home)
    digest = run(crane, "digest", "--insecure", f"{one}:1.0.0", **home).strip()
    run(crane, "copy", "--insecure", f"{one}:1.0.0", f"{address}/shop/copied:1.0.0", **home)
    assert run(crane, "digest", "--insecure", f"{address}/shop/copied:1.0.0", **home).strip() == digest
    run(crane, "tag", "--insecure", f"{one}:1.0.0", "latest", **home)
    assert run(crane, "ls", "--insecure", one, **home).split() == ["1.0.0", "latest"]
    run(crane, "pull", "--insecure", "--format", "oci", f"{one}@{digest}", str(tmp_path / "layout"), **home)
    run(crane, "validate", "--insecure", "--remote", f"{one}:latest", **home)
    run(crane, "delete", "--insecure", f"{one}@{digest}", **home)
    with pytest.raises(AssertionError, match="NAME_UNKNOWN"):
        run(crane, "ls", "--insecure", one, **home)


@pytest.mark.usefixtures("doors")
def test_helm_pushes_a_chart_finds_it_in_the_index_and_renders_it(address: str, tmp_path: Path) -> None:
    helm, home = real_program("helm"), {"HOME": str(tmp_path)}
    chart = tmp_path / "orders"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: orders\nversion: 1.2.0+build.1\nappVersion: 1.2.0\n")
    (chart / "templates" / "map.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\n"
    )
    run(helm, "package", str(chart), "-d", str(tmp_path), **home)
    run(helm, "registry", "login", address, "--plain-http", "-u", "me", "-p", WRITER, **home)
    package = str(tmp_path / "orders-1.2.0+build.1.tgz")
    run(helm, "push", package, f"oci://{address}/shop/charts", "--plain-http", **home)
    run(helm, "repo", "add", "aegis", f"http://{address}/charts/shop", "--username", "me", "--password", WRITER, **home)
    assert "1.2.0+build.1" in run(helm, "search", "repo", "aegis/orders", "--devel", **home)
    rendered = run(helm, "template", "mine", "aegis/orders", "--devel", **home)
    assert "kind: ConfigMap" in rendered
    assert "name: mine" in rendered
    again = run(helm, "template", "mine", f"oci://{address}/shop/charts/orders", "--plain-http", "--devel", **home)
    assert "name: mine" in again
