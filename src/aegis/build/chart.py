"""Helm charts: generated for a service, checked without helm, packed the same bytes for the same files. Pure.

A hand-written chart is packed as it is, with another version in its Chart.yaml where one is asked for. Checked is what can
be told without carrying templates out: Chart.yaml's fields, values that are YAML, blocks that are closed, values and
templates that are named and exist. What templates render is helm's to say. Sources: Helm 3's chart format and its OCI media types.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from aegis.core.errors import UserError, Where
from aegis.core.ids import sha256

CONFIG: Final = "application/vnd.cncf.helm.config.v1+json"
CONTENT: Final = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
VERSION: Final = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?"
)
_ACTION: Final = re.compile(r"\{\{-?\s*(/\*.*?\*/|.*?)\s*-?\}\}", re.DOTALL)
_OPENS: Final = frozenset({"if", "with", "range", "define", "block"})
_VALUE: Final = re.compile(r"(?<![\w.$)\]])\.Values((?:\.[A-Za-z_]\w*)+)")
_NAMED: Final = re.compile(r"\b(?:include|template)\s+\"([^\"]+)\"")
_DEFINED: Final = re.compile(r"\b(?:define|block)\s+\"([^\"]+)\"")
_IGNORED: Final = frozenset({".git", ".DS_Store", "__pycache__", ".idea", ".vscode"})
_LIMIT: Final = 20 << 20  # what helm itself takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something wrong with a chart. `fatal` when helm would refuse it."""

    code: str
    message: str
    hint: str = ""
    where: Where | None = None
    fatal: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A packed chart: its file's name, its bytes, and its Chart.yaml as values."""

    name: str
    version: str
    filename: str
    data: bytes
    about: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartArtifact:
    """A chart as a registry takes it: blobs by digest, the manifest, the tag (helm writes `+` as `_`)."""

    name: str
    tag: str
    digest: str
    manifest: bytes
    blobs: Mapping[str, bytes]


# -- packing ----------------------------------------------------------------------------------------------


def package(files: Mapping[str, bytes], *, version: str, epoch: int) -> Packed:
    """The package of a chart's files (paths relative to the chart) as `version`; `UserError` for one with problems."""
    kept = {path: data for path, data in files.items() if not _IGNORED & set(path.split("/"))}
    if version:
        kept["Chart.yaml"] = with_version(kept.get("Chart.yaml", b""), version)
    fatal = [one for one in lint(kept) if one.fatal]
    if fatal:
        first = fatal[0]
        raise UserError(first.code, first.message, hint=first.hint, where=first.where)
    about = yaml.safe_load(kept["Chart.yaml"])
    name, said = str(about["name"]), str(about["version"])
    held = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=held, mode="wb", filename="", mtime=0, compresslevel=9) as squeezed,
        tarfile.open(fileobj=squeezed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        # helm looks for Chart.yaml first; the rest by name
        for path in sorted(kept, key=lambda one: (one != "Chart.yaml", one)):
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size, entry.mtime, entry.mode = len(kept[path]), epoch, 0o644
            archive.addfile(entry, io.BytesIO(kept[path]))
    return Packed(name=name, version=said, filename=f"{name}-{said}.tgz", data=held.getvalue(), about=about)


def with_version(chart: bytes, version: str) -> bytes:
    """Chart.yaml with another version (and the same appVersion), everything else as it was written."""
    if not VERSION.fullmatch(version):
        hint = "charts have semantic versions: 1.2.3, 1.2.3-rc.1"
        raise UserError("chart-version", f"{version!r} is no version that a chart can have", hint=hint)
    text = chart.decode("utf-8", "replace")
    for key, value in (("version", version), ("appVersion", f'"{version}"')):
        line = re.compile(rf"^{key}:[^\n]*$", re.MULTILINE)
        if line.search(text):
            text = line.sub(f"{key}: {value}", text, count=1)
        elif key == "version":
            text = f"{text.rstrip()}\n{key}: {value}\n"
    return text.encode()


def read_package(filename: str, data: bytes) -> Packed:
    """A packed chart, as it came; `UserError` for what is none."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            member = next(one for one in archive if one.name.count("/") == 1 and one.name.endswith("/Chart.yaml"))
            file = archive.extractfile(member)
            about = yaml.safe_load(file.read() if file is not None else b"")
            name, version = str(about["name"]), str(about["version"])
    except (tarfile.TarError, OSError, EOFError, StopIteration, yaml.YAMLError, KeyError, TypeError) as error:
        hint = "make it with: aegis chart package PATH --version V --out DIR"
        raise UserError("chart-package", f"{filename} is no packed chart: {error}", hint=hint) from error
    return Packed(name=name, version=version, filename=f"{name}-{version}.tgz", data=data, about=about)


def artifact(packed: Packed, *, created: str) -> ChartArtifact:
    """The chart as an OCI artifact, as `helm push` makes it."""
    config = json.dumps(packed.about, sort_keys=True, default=str, separators=(",", ":")).encode()
    annotations = {
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.description": str(packed.about.get("description", "")),
        "org.opencontainers.image.title": packed.name,
        "org.opencontainers.image.version": packed.version,
    }
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": sha256(config), "size": len(config)},
            "layers": [{"mediaType": CONTENT, "digest": sha256(packed.data), "size": len(packed.data)}],
            "annotations": {key: value for key, value in annotations.items() if value},
        },
        separators=(",", ":"),
    ).encode()
    return ChartArtifact(
        name=packed.name, tag=packed.version.replace("+", "_"), digest=sha256(manifest), manifest=manifest,
        blobs={sha256(config): config, sha256(packed.data): packed.data},
    )  # fmt: skip


# -- checking ---------------------------------------------------------------------------------------------


def lint(files: Mapping[str, bytes]) -> tuple[Problem, ...]:
    """What is wrong with a chart, in the order of its files."""
    values: dict[str, Any] = {}
    found = list(_chart(files))
    if "values.yaml" in files:
        read = _yaml(files["values.yaml"], "values.yaml")
        if isinstance(read, Problem):
            found.append(read)
        elif isinstance(read, dict):
            values = read
        elif read is not None:
            found.append(Problem(code="chart-values", message="values.yaml is no mapping", where=Where("values.yaml")))
    if "values.schema.json" in files:
        try:
            json.loads(files["values.schema.json"])
        except ValueError as error:
            where = Where("values.schema.json")
            found.append(Problem(code="chart-schema", message=f"the schema is no JSON: {error}", where=where))
    templates = {path: data for path, data in sorted(files.items()) if path.startswith("templates/")}
    if not templates and "dependencies" not in _fields(files):
        found.append(Problem(code="chart-empty", message="the chart has no templates", fatal=False))
    defined = {name for data in templates.values() for name in _DEFINED.findall(data.decode("utf-8", "replace"))}
    for path, data in templates.items():
        found += _template(path, data.decode("utf-8", "replace"), values, defined)
    if sum(len(data) for data in files.values()) > _LIMIT:
        found.append(Problem(code="chart-size", message="the chart is larger than the 20 MiB that helm takes"))
    return tuple(found)


def _fields(files: Mapping[str, bytes]) -> dict[str, Any]:
    read = _yaml(files.get("Chart.yaml", b""), "Chart.yaml")
    return read if isinstance(read, dict) else {}


def _yaml(data: bytes, path: str) -> Any:
    try:
        return yaml.safe_load(data)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = Where(path, mark.line + 1 if mark is not None else 1)
        return Problem(code="chart-yaml", message=f"{path} is no YAML: {error}".splitlines()[0], where=where)


def _chart(files: Mapping[str, bytes]) -> Iterator[Problem]:
    where = Where("Chart.yaml")
    if "Chart.yaml" not in files:
        hint = "write one, or let it be made: aegis chart generate"
        yield Problem(code="chart-missing", message="there is no Chart.yaml", hint=hint, where=where)
        return
    read = _yaml(files["Chart.yaml"], "Chart.yaml")
    if isinstance(read, Problem):
        yield read
        return
    if not isinstance(read, dict):
        yield Problem(code="chart-field", message="Chart.yaml is no mapping", where=where)
        return
    if read.get("apiVersion") != "v2":
        hint = "v1 is Helm 2's" if read.get("apiVersion") == "v1" else "write apiVersion: v2"
        fatal = read.get("apiVersion") != "v1"
        yield Problem(code="chart-field", message="apiVersion is not v2", hint=hint, where=where, fatal=fatal)
    if not _NAME.fullmatch(str(read.get("name", ""))):
        hint = "lower-case letters, digits and '-'"
        yield Problem(
            code="chart-field", message=f"name {read.get('name')!r} is no chart's name", hint=hint, where=where
        )
    if not VERSION.fullmatch(str(read.get("version", ""))):
        hint = "for example 1.2.3; `--version` sets it"
        message = f"version {read.get('version')!r} is no semantic version"
        yield Problem(code="chart-field", message=message, hint=hint, where=where)
    if read.get("type", "application") not in {"application", "library"}:
        message = f"type {read['type']!r} is neither application nor library"
        yield Problem(code="chart-field", message=message, where=where)


def _template(path: str, text: str, values: Mapping[str, Any], defined: set[str]) -> Iterator[Problem]:
    opened: list[tuple[str, int]] = []
    for match in _ACTION.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        where, words = Where(path, line), match[1].split(None, 1)
        word = words[0] if words else ""
        if word.startswith("/*"):
            continue
        if word in _OPENS:
            opened.append((word, line))
        elif word == "end" and not opened:
            yield Problem(code="chart-block", message="an `end` closes nothing", where=where)
        elif word == "end":
            opened.pop()
        for name in _NAMED.findall(match[1]):
            if name not in defined and not any(
                name.startswith(f"{known.partition('.')[0]}.") for known in ("common.",)
            ):
                message = f"the template {name!r} is defined nowhere"
                yield Problem(code="chart-template", message=message, where=where, fatal=False)
        if "default" not in match[1] and "hasKey" not in match[1]:
            yield from _missing(match[1], values, where)
    for word, line in opened:
        yield Problem(
            code="chart-block", message=f"`{word}` is not closed", hint="add {{- end }}", where=Where(path, line)
        )
    rest = _ACTION.sub("", text)
    if "{{" in rest or (rest.count("}}") and not path.endswith(".txt") and "}}" in rest and "{" not in rest):
        line = text.count("\n", 0, text.rfind("{{")) + 1
        yield Problem(code="chart-action", message="a `{{` is not closed", where=Where(path, line))


def _missing(action: str, values: Mapping[str, Any], where: Where) -> Iterator[Problem]:
    for match in _VALUE.finditer(action):
        at: Any = values
        for word in match[1].lstrip(".").split("."):
            if not isinstance(at, Mapping) or not at:
                break  # an empty mapping is there to be filled
            if word not in at:
                message = f".Values{match[1]} is not in values.yaml"
                hint = "give it a default there"
                yield Problem(code="chart-value", message=message, hint=hint, where=where, fatal=False)
                break
            at = at[word]


# -- generating -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What a generated chart is for. `health` is a path, `image` a repository without a tag."""

    name: str
    version: str = "0.1.0"
    image: str = ""
    port: int = 8000
    health: str = "/healthz"
    description: str = ""


def generate(service: Service) -> dict[str, bytes]:
    """The files of a chart for a service: deployment, address, budget, autoscaler, account; safe by default."""
    if not _NAME.fullmatch(service.name):
        raise UserError(
            "name-invalid", f"{service.name!r} is no chart's name", hint="lower-case letters, digits and '-'"
        )
    about = {
        "apiVersion": "v2", "name": service.name, "description": service.description or f"The service {service.name}.",
        "type": "application", "version": service.version, "appVersion": service.version,
    }  # fmt: skip
    values: dict[str, Any] = {
        "image": {"repository": service.image or f"registry.example/{service.name}", "tag": "", "digest": ""},
        "imagePullSecrets": [],
        "replicas": 1,
        "service": {"port": 80},
        "port": service.port,
        "health": service.health,
        "env": {},
        "resources": {
            "requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"},
        },
        "autoscaling": {"enabled": False, "minReplicas": 2, "maxReplicas": 6, "cpu": 80},
        "disruption": {"enabled": False, "maxUnavailable": 1},
        "podAnnotations": {},
        "nodeSelector": {},
        "tolerations": [],
    }  # fmt: skip
    files = {
        "Chart.yaml": yaml.safe_dump(about, sort_keys=False),
        "values.yaml": "# Everything that differs between environments.\n" + yaml.safe_dump(values, sort_keys=False),
        **{f"templates/{name}": text.replace("NAME", service.name) for name, text in TEMPLATES.items()},
    }
    return {path: text.encode() for path, text in files.items()}


TEMPLATES: Final = {
    "_helpers.tpl": """{{- define "NAME.fullname" -}}
{{- if contains "NAME" .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}{{ printf "%s-NAME" .Release.Name | trunc 63 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "NAME.selector" -}}
app.kubernetes.io/name: NAME
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "NAME.labels" -}}
{{ include "NAME.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}
""",
    "serviceaccount.yaml": """apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "NAME.fullname" . }}
  labels: {{- include "NAME.labels" . | nindent 4 }}
automountServiceAccountToken: false
""",
    "deployment.yaml": """apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "NAME.fullname" . }}
  labels: {{- include "NAME.labels" . | nindent 4 }}
spec:
  {{- if not .Values.autoscaling.enabled }}
  replicas: {{ .Values.replicas }}
  {{- end }}
  selector:
    matchLabels: {{- include "NAME.selector" . | nindent 6 }}
  template:
    metadata:
      labels: {{- include "NAME.labels" . | nindent 8 }}
      {{- with .Values.podAnnotations }}
      annotations: {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ include "NAME.fullname" . }}
      {{- with .Values.imagePullSecrets }}
      imagePullSecrets: {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        runAsNonRoot: true
        seccompProfile: {type: RuntimeDefault}
      containers:
        - name: NAME
          {{- if .Values.image.digest }}
          image: "{{ .Values.image.repository }}@{{ .Values.image.digest }}"
          {{- else }}
          image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
          {{- end }}
          ports:
            - {name: http, containerPort: {{ .Values.port }}}
          env:
            - {name: HOST, value: "0.0.0.0"}
            - {name: PORT, value: {{ .Values.port | quote }}}
            {{- range $name, $value := .Values.env }}
            - {name: {{ $name }}, value: {{ $value | quote }}}
            {{- end }}
          readinessProbe:
            httpGet: {path: {{ .Values.health }}, port: http}
          livenessProbe:
            httpGet: {path: {{ .Values.health }}, port: http}
            initialDelaySeconds: 10
          resources: {{- toYaml .Values.resources | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities: {drop: [ALL]}
          volumeMounts:
            - {name: tmp, mountPath: /tmp}
      volumes:
        - {name: tmp, emptyDir: {}}
      {{- with .Values.nodeSelector }}
      nodeSelector: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.tolerations }}
      tolerations: {{- toYaml . | nindent 8 }}
      {{- end }}
""",
    "service.yaml": """apiVersion: v1
kind: Service
metadata:
  name: {{ include "NAME.fullname" . }}
  labels: {{- include "NAME.labels" . | nindent 4 }}
spec:
  selector: {{- include "NAME.selector" . | nindent 4 }}
  ports:
    - {name: http, port: {{ .Values.service.port }}, targetPort: http}
""",
    "autoscaler.yaml": """{{- if .Values.autoscaling.enabled }}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ include "NAME.fullname" . }}
  labels: {{- include "NAME.labels" . | nindent 4 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ include "NAME.fullname" . }}}
  minReplicas: {{ .Values.autoscaling.minReplicas }}
  maxReplicas: {{ .Values.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: {{ .Values.autoscaling.cpu }}}}
{{- end }}
""",
    "disruption.yaml": """{{- if .Values.disruption.enabled }}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "NAME.fullname" . }}
  labels: {{- include "NAME.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .Values.disruption.maxUnavailable }}
  selector:
    matchLabels: {{- include "NAME.selector" . | nindent 6 }}
{{- end }}
""",
}  # fmt: skip
"""What a generated chart renders, with NAME for the service's name."""
