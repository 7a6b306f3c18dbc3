"""A Kubernetes object as a value, and the one way in which it is read from and written to YAML.

Decides: what a manifest is called, and its bytes (two renderings of one value are equal). Does not decide
whether a cluster would accept it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import yaml

from aegis.core import ids
from aegis.core.errors import UserError, Where

RELEASE: Final = "aegis.io/release"
COMMIT: Final = "aegis.io/commit"
PROMOTION: Final = "aegis.io/promotion"
STRATEGY: Final = "aegis.io/strategy"
SERVICE: Final = "app.kubernetes.io/name"
VERSION: Final = "app.kubernetes.io/version"
ENVIRONMENT: Final = "aegis.io/environment"
WAVE: Final = "argocd.argoproj.io/sync-wave"  # Argo CD's own name, so that both reconcilers keep one order

Body: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """What identifies an object within a cluster."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}" + (f" in {self.namespace}" if self.namespace else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One object. `body` is the whole document and is never changed in place."""

    kind: str
    name: str
    namespace: str
    body: Body

    @property
    def ref(self) -> Ref:
        """Its identity."""
        return Ref(kind=self.kind, namespace=self.namespace, name=self.name)

    @property
    def annotations(self) -> Mapping[str, str]:
        """`metadata.annotations`, empty where there are none."""
        return self.body.get("metadata", {}).get("annotations") or {}

    @property
    def labels(self) -> Mapping[str, str]:
        """`metadata.labels`, empty where there are none."""
        return self.body.get("metadata", {}).get("labels") or {}

    @property
    def wave(self) -> int:
        """The sync wave: lower waves are applied and healthy first; 0 without an annotation."""
        text = self.annotations.get(WAVE, "0")
        try:
            return int(text)
        except ValueError as error:
            raise UserError(
                "sync-wave", f"{self.ref}: the sync wave {text!r} is not a number", hint=f'{WAVE}: "0"'
            ) from error

    @property
    def digest(self) -> str:
        """The sha256 digest of its YAML."""
        return ids.sha256(dump([self]).encode())


class _Dumper(yaml.SafeDumper):
    """Block style with indented lists, as people write manifests."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's hook
        super().increase_indent(flow, False)  # noqa: FBT003 - PyYAML's hook takes it by position

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's hook
        return True


def to_yaml(value: object) -> str:
    """`value` as YAML: block style, keys in their given order, long lines kept whole."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)


def dump(manifests: Iterable[Manifest]) -> str:
    """Several manifests as one YAML stream; deterministic."""
    return "---\n".join(to_yaml(one.body) for one in manifests)


def load(data: bytes, path: str) -> tuple[dict[str, Any], ...]:
    """The documents in a YAML file; `UserError` with file and line where it is none."""
    try:
        documents = [one for one in yaml.load_all(data, Loader=yaml.CSafeLoader) if one is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = Where(path, mark.line + 1, mark.column + 1) if mark else Where(path)
        raise UserError(
            "manifest-yaml",
            f"not YAML: {getattr(error, 'problem', None) or error}",
            where=where,
            hint="mend the file; `git log -- " + path + "` shows who changed it last",
        ) from error
    for one in documents:
        if not isinstance(one, dict):
            raise UserError("manifest-shape", "a manifest is a mapping", where=Where(path))
    return tuple(documents)


def manifest(body: Body, *, path: str = "") -> Manifest:
    """The manifest that `body` is; `UserError` when kind or name are missing."""
    metadata = body.get("metadata")
    kind, name = body.get("kind"), metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(kind, str) or not isinstance(name, str) or not body.get("apiVersion"):
        raise UserError(
            "manifest-shape",
            "a manifest needs apiVersion, kind and metadata.name",
            where=Where(path) if path else None,
            hint="apiVersion: v1, kind: Service, metadata: {name: …}",
        )
    namespace = metadata.get("namespace", "") if isinstance(metadata, dict) else ""
    return Manifest(kind=kind, name=name, namespace=str(namespace), body=body)
