"""With the real helm: generated charts are linted and rendered by it, and what was pushed to a live registry is pulled."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from starlette.applications import Starlette

from aegis.bootstrap.chart import generate_chart, package_chart, push_chart
from aegis.web import oci_api
from support.live_server import serving
from support.registry_doors import WRITER, DoorsHolder, TokenDoors

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
import go_programs

pytestmark = pytest.mark.real


def helm(home: Path, *arguments: str) -> str:
    program = go_programs.program("helm")
    assert program is not None
    seen = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [str(program), *arguments], env=seen, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_helm_renders_a_generated_chart_and_pulls_it_from_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "orders"\nversion = "2.0.0"\n')
    generate_chart(tmp_path, out=tmp_path / "chart", image="registry.example/shop/orders", health="/healthz")
    assert "0 chart(s) failed" in helm(tmp_path, "lint", "--strict", str(tmp_path / "chart"))
    report = package_chart(tmp_path / "chart", version="2.1.0", out=tmp_path / "dist")
    on = "autoscaling.enabled=true,disruption.enabled=true,env.LEVEL=debug,image.digest=sha256:00"
    objects = list(yaml.safe_load_all(helm(tmp_path, "template", "live", report.path, "--set", on)))
    kinds = {one["kind"]: one for one in objects}
    assert set(kinds) == {"ServiceAccount", "Service", "Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget"}
    (container,) = kinds["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example/shop/orders@sha256:00"
    assert {"name": "LEVEL", "value": "debug"} in container["env"]
    holder = DoorsHolder()
    holder.doors = doors = TokenDoors(tmp_path / "server")
    with serving(Starlette(routes=[*oci_api.routes(holder)])) as address:
        monkeypatch.setenv("CI_REGISTRY", address)
        monkeypatch.setenv("CI_REGISTRY_PASSWORD", WRITER)
        monkeypatch.setenv("CI_REGISTRY_USER", "any")
        pushed = push_chart(Path(report.path), f"oci://{address}/shop/charts")
        helm(tmp_path, "registry", "login", address, "--username", "any", "--password", WRITER, "--plain-http")
        (tmp_path / "pulled").mkdir()
        where = pushed.reference.rpartition(":")[0]
        helm(tmp_path, "pull", where, "--version", "2.1.0", "--plain-http", "--destination", str(tmp_path / "pulled"))
    doors.close()
    assert (tmp_path / "pulled" / "orders-2.1.0.tgz").read_bytes() == Path(report.path).read_bytes()
