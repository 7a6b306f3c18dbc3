"""Our rendering beside that of the real `kustomize`: the same objects, field by field, for all that is said to be rendered."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from aegis.bootstrap.declarations import of_file
from aegis.gitops import overlay
from aegis.gitops.overlay import Placed
from aegis.gitops.render import RENDERED, render

pytestmark = pytest.mark.real
ROOT = Path(__file__).resolve().parents[2]

DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
  annotations: {note: kept}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers:
        - {name: prepare, image: registry.test/web:1}
      containers:
        - name: web
          image: registry.test/web:1
          ports: [{containerPort: 8000}, {containerPort: 9000, name: metrics}]
          env: [{name: A, value: "1"}, {name: B, value: "2"}]
          envFrom: [{configMapRef: {name: settings}}]
          volumeMounts: [{name: data, mountPath: /data}]
        - {name: sidecar, image: "registry.test/side@sha256:SIDE"}
      volumes: [{name: data, configMap: {name: settings}}]
""".replace("SIDE", "b" * 64)
SERVICE = """apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8000}]}
"""
JOB = """apiVersion: batch/v1
kind: Job
metadata: {name: seed}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: seed, image: registry.test/web:1}]}}}
"""
NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: elsewhere}\n"
BASE = {"base/d.yaml": DEPLOYMENT, "base/s.yaml": SERVICE, "base/j.yaml": JOB, "base/n.yaml": NAMESPACE,
        "base/kustomization.yaml": "resources: [d.yaml, s.yaml, j.yaml, n.yaml]\n"}  # fmt: skip
COMPONENT = """apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
images: [{name: registry.test/web, newTag: "2"}]
patches:
  - patch: |
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: web, annotations: {by: component}}
"""
MERGE = """patches:
  - patch: |
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: web}
      spec:
        template:
          spec:
            volumes: [{name: tmp, emptyDir: {}}]
            containers:
              - name: web
                env: [{name: B, value: "22"}, {name: C, value: "3"}, {name: A, $patch: delete}]
                ports: [{containerPort: 9000, name: more}]
                volumeMounts: [{name: tmp, mountPath: /tmp}]
                resources: {limits: {memory: 64Mi}}
              - {name: late, image: registry.test/late:1}
"""
FEATURES: dict[str, Mapping[str, str]] = {
    "resources": {"app/kustomization.yaml": "resources: [../base]\n"},
    "namespace": {"app/kustomization.yaml": "resources: [../base]\nnamespace: production\n"},
    "images-tag": {
        "app/kustomization.yaml": "resources: [../base]\nimages: [{name: registry.test/web, newTag: '2'}]\n"
    },
    "images-digest": {
        "app/kustomization.yaml": "resources: [../base]\nimages:\n"
        f"  - {{name: registry.test/web, newName: other.test/web, digest: 'sha256:{'a' * 64}'}}\n"
        "  - {name: registry.test/side, newName: other.test/side}\n"
    },
    "labels": {
        "app/kustomization.yaml": "resources: [../base]\nlabels:\n  - pairs: {team: shop}\n"
        "  - pairs: {tier: front}\n    includeTemplates: true\n"
    },
    "commonAnnotations": {"app/kustomization.yaml": "resources: [../base]\ncommonAnnotations: {owner: shop}\n"},
    "replicas": {"app/kustomization.yaml": "resources: [../base]\nreplicas: [{name: web, count: 5}]\n"},
    "components": {
        "app/kustomization.yaml": "resources: [../base]\nnamespace: production\ncomponents: [../part]\n",
        "part/kustomization.yaml": COMPONENT,
    },
    "patches-merge": {"app/kustomization.yaml": "resources: [../base]\n" + MERGE},
    "patchesStrategicMerge": {
        "app/kustomization.yaml": "resources: [../base]\npatchesStrategicMerge: [p.yaml]\n",
        "app/p.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n"
        "spec: {replicas: 3, template: {spec: {initContainers: null}}}\n",
    },
    "patches-delete": {
        "app/kustomization.yaml": "resources: [../base]\npatches:\n"
        "  - patch: '{apiVersion: batch/v1, kind: Job, metadata: {name: seed}, $patch: delete}'\n"
    },
    "patches-target": {
        "app/kustomization.yaml": "resources: [../base]\npatches:\n  - path: p.yaml\n    target: {kind: Deployment}\n",
        "app/p.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: any}\nspec: {replicas: 4}\n",
    },
    "patches-json": {
        "app/kustomization.yaml": "resources: [../base]\npatches:\n"
        "  - target: {group: apps, version: v1, kind: Deployment, name: web}\n    patch: |\n"
        "      - {op: replace, path: /spec/replicas, value: 7}\n"
        "      - {op: add, path: /spec/template/spec/containers/0/env/-, value: {name: D, value: '4'}}\n"
        "      - {op: remove, path: /spec/template/spec/initContainers}\n"
        "      - {op: add, path: /metadata/annotations/a~1b, value: 'yes'}\n"
    },
    "configMapGenerator": {
        "app/kustomization.yaml": "resources: [../base]\nnamespace: production\nconfigMapGenerator:\n"
        "  - name: settings\n    literals: ['A=1', 'TEXT=<a> & \"b\"', 'KOREAN=한국어']\n    files: [f.txt, other=f.txt]\n",
        "app/f.txt": "one\ntwo=2\n",
    },
    "generatorOptions": {
        "app/kustomization.yaml": "resources: [../base]\nconfigMapGenerator: [{name: settings, literals: [A=1]}]\n"
        "generatorOptions: {disableNameSuffixHash: true}\n"
    },
    "everything": {
        "app/kustomization.yaml": "resources: [../middle]\nnamespace: production\ncommonAnnotations: {owner: shop}\n"
        "labels: [{pairs: {team: shop}, includeTemplates: true}]\nreplicas: [{name: web, count: 2}]\n"
        "components: [../part]\nimages: [{name: registry.test/late, newTag: '9'}]\n",
        "part/kustomization.yaml": COMPONENT,
        "middle/kustomization.yaml": "resources: [../base]\n"
        "configMapGenerator: [{name: settings, literals: [A=1]}]\n" + MERGE,
    },
}


@pytest.fixture(scope="session")
def kustomize() -> str:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import go_programs
    finally:
        sys.path.pop(0)
    program = go_programs.program("kustomize")
    assert program is not None, "`make test-real` builds it"
    return str(program)


def real(kustomize: str, files: Mapping[str, bytes], path: str, folder: Path) -> list[dict[str, Any]]:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    done = subprocess.run([kustomize, "build", str(folder / path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def ours(files: Mapping[str, bytes], path: str) -> list[dict[str, Any]]:
    return [dict(one.body) for one in render(files, path)]


def same(kustomize: str, files: Mapping[str, bytes], path: str, folder: Path) -> None:
    theirs, mine = by_name(real(kustomize, files, path, folder)), by_name(ours(files, path))
    assert sorted(theirs) == sorted(mine)
    for name, body in theirs.items():
        assert mine[name] == body, name


def by_name(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The order of objects says nothing: waves are annotations."""
    found = {f"{one['kind']}/{one['metadata'].get('namespace', '')}/{one['metadata']['name']}": one for one in objects}
    assert len(found) == len(objects)
    return found


@pytest.mark.parametrize("feature", FEATURES)
def test_each_feature_is_rendered_as_kustomize_renders_it(kustomize: str, feature: str, tmp_path: Path) -> None:
    files = {name: text.encode() for name, text in {**BASE, **FEATURES[feature]}.items()}
    same(kustomize, files, "app", tmp_path)


def test_no_feature_that_is_said_to_be_rendered_is_left_out() -> None:
    used = "\n".join(text for files in FEATURES.values() for text in files.values())
    assert [name for name in RENDERED[3:] if f"{name}:" not in used] == []


def example() -> list[tuple[str, str]]:
    services = of_file(ROOT / "examples/shop/platform/aegis.yaml").options.services
    return [(spec.name, one.name) for spec in services.values() for one in spec.environments]


@pytest.mark.parametrize(("service", "environment"), example())
@pytest.mark.parametrize("released", [False, True], ids=["before", "released"])
def test_the_example_is_rendered_as_kustomize_renders_it(
    kustomize: str, service: str, environment: str, tmp_path: Path, *, released: bool
) -> None:
    spec = of_file(ROOT / "examples/shop/platform/aegis.yaml").options.services[service]
    files = dict(overlay.generate(spec))
    if released:
        placed = Placed(
            release=f"{service}@1.2.0", image=f"127.0.0.1:8080/shop/{service}", digest="sha256:" + "a" * 64,
            commit="c" * 40, promotion="p1",
        )  # fmt: skip
        files |= overlay.set_release(spec, environment, placed)
    same(kustomize, files, overlay.overlay_path(service, environment), tmp_path)
