"""Kustomize, as far as Aegis writes it: overlays to manifests, deterministic, without a binary or a network.

Rendered: `resources` (files and folders), `components`, `namespace`, `images`, `labels`, `commonAnnotations`, `patches` (strategic merge and JSON 6902, inline or by path, with targets), `replicas`,
`configMapGenerator` with the hash suffix. Every other field is refused by name: a rendering that leaves something
out would be a lie about what will run. Order of transformations as in Kustomize's built-in plugins (patches,
namespace, labels, annotations, replicas, images). `tests/contract/test_kustomize_real.py` compares it with `kustomize build`.
"""

from __future__ import annotations

import copy
import hashlib
import json
import posixpath
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from aegis.core.errors import NotFound, UserError, Where
from aegis.gitops import patches
from aegis.gitops.manifest import Manifest, load, manifest

Files = Mapping[str, bytes]
Objects = list[dict[str, Any]]

RENDERED: Final = (
    "apiVersion", "kind", "metadata", "resources", "components", "namespace", "images", "labels",
    "commonAnnotations", "patches", "patchesStrategicMerge", "replicas", "configMapGenerator", "generatorOptions",
)  # fmt: skip
_CLUSTER_WIDE: Final = frozenset({"Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"})
_WORKLOADS: Final = frozenset({"Deployment", "Job", "StatefulSet", "DaemonSet", "ReplicaSet"})
# Kustomize's order for output is the order of accumulation; `legacy` sorting is an option nobody needs here.


def render(files: Files, path: str) -> tuple[Manifest, ...]:
    """The manifests of the kustomization in folder `path`; `UserError` with the file for what is not supported."""
    objects = _build(files, posixpath.normpath(path), [], ())
    result = tuple(manifest(one, path=path) for one in objects)
    seen: set[object] = set()
    for one in result:
        if one.ref in seen:
            raise UserError("manifest-twice", f"{one.ref} is defined twice", where=Where(path))
        seen.add(one.ref)
    return result


def _build(files: Files, path: str, inherited: Objects, trail: tuple[str, ...]) -> Objects:
    if path in trail:
        raise UserError("kustomize-cycle", f"{path} includes itself: {' → '.join((*trail, path))}", where=Where(path))
    file = f"{path}/kustomization.yaml"
    body = _kustomization(files, file)
    component = body.get("kind") == "Component"
    objects = inherited if component else []
    for entry in body.get("resources") or []:
        objects += _resource(files, path, file, str(entry), (*trail, path))
    for entry in body.get("components") or []:
        objects = _build(files, _inside(path, str(entry), file), objects, (*trail, path))
    renamed: dict[str, str] = {}
    for entry in body.get("configMapGenerator") or []:
        made, original = _config_map(files, path, file, entry, body.get("generatorOptions") or {})
        renamed[original] = made["metadata"]["name"]
        objects.append(made)
    for transform in _TRANSFORMS:
        objects = transform(files, path, file, body, objects)
    return _rename_references(objects, renamed) if renamed else objects


def _kustomization(files: Files, file: str) -> dict[str, Any]:
    if file not in files:
        raise NotFound("kustomization-missing", f"there is no {file}", hint="`resources` names folders that hold one")
    documents = load(files[file], file)
    body = documents[0] if documents else {}
    if body.get("kind", "Kustomization") not in ("Kustomization", "Component"):
        raise UserError("kustomize-kind", f"{body['kind']} is no kustomization", where=Where(file))
    for name in body:
        if name not in RENDERED:
            raise UserError(
                "kustomize-unsupported",
                f"the Kustomize field {name!r} is not rendered by Aegis",
                where=Where(file),
                hint="use one of: " + ", ".join(RENDERED[3:]),
            )
    return body


def _inside(path: str, entry: str, file: str) -> str:
    target = posixpath.normpath(posixpath.join(path, entry))
    if "://" in entry or target.startswith(("..", "/")) or entry.startswith("/"):
        raise UserError(
            "kustomize-outside",
            f"{entry!r} lies outside the repository",
            where=Where(file),
            hint="remote and absolute resources are not loaded; copy them into the repository",
        )
    return target


def _resource(files: Files, path: str, file: str, entry: str, trail: tuple[str, ...]) -> Objects:
    target = _inside(path, entry, file)
    if target in files:
        return [copy.deepcopy(one) for one in load(files[target], target)]
    if f"{target}/kustomization.yaml" in files:
        return _build(files, target, [], trail)
    raise NotFound("resource-missing", f"{file} names {entry}, which is neither a file nor a folder here")


# -- generators -------------------------------------------------------------------------------------------


def _config_map(
    files: Files, path: str, file: str, entry: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    unknown = set(entry) - {"name", "literals", "files"} | set(options) - {"disableNameSuffixHash"}
    if unknown or "name" not in entry:
        raise UserError(
            "kustomize-unsupported",
            f"configMapGenerator: {', '.join(sorted(unknown)) or 'a name is needed'}",
            where=Where(file),
            hint="name, literals and files are rendered",
        )
    data: dict[str, str] = {}
    for literal in entry.get("literals") or []:
        key, _, value = str(literal).partition("=")
        data[key] = value
    for source in entry.get("files") or []:
        key, _, name = str(source).rpartition("=")
        target = _inside(path, name, file)
        if target not in files:
            raise NotFound("resource-missing", f"{file} names {name}, which is not here")
        data[key or posixpath.basename(name)] = files[target].decode()
    name = str(entry["name"])
    suffix = "" if options.get("disableNameSuffixHash") else f"-{_hash(data)}"
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name + suffix},
        "data": dict(sorted(data.items())),
    }
    return body, name


def _hash(data: Mapping[str, str]) -> str:
    """Kustomize's suffix (`api/hasher`): sha256 of the object's JSON, ten hex digits without vowels.

    The name in it is empty: Kustomize looks for a field that is called `metadata/name`.
    """
    text = json.dumps(
        {"data": data or "", "kind": "ConfigMap", "name": ""}, separators=(",", ":"), sort_keys=True, ensure_ascii=False
    )
    # Go's encoder escapes these three; the hash is over its bytes.
    for char, escaped in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):
        text = text.replace(char, escaped)
    digits = hashlib.sha256(text.encode()).hexdigest()[:10]
    return digits.translate(str.maketrans("013ae", "ghkmt"))


def _rename_references(objects: Objects, renamed: Mapping[str, str]) -> Objects:
    """References to a generated ConfigMap get its new name: env, envFrom and volumes."""

    def walk(value: Any, key: str) -> Any:
        if isinstance(value, dict):
            result = {name: walk(one, name) for name, one in value.items()}
            if key in ("configMapRef", "configMapKeyRef", "configMap") and result.get("name") in renamed:
                result["name"] = renamed[result["name"]]
            return result
        if isinstance(value, list):
            return [walk(one, key) for one in value]
        return value

    return [walk(one, "") for one in objects]


# -- transformers, in Kustomize's order -------------------------------------------------------------------


def _patches(files: Files, path: str, file: str, body: Mapping[str, Any], objects: Objects) -> Objects:
    entries = [{"path": one} for one in body.get("patchesStrategicMerge") or []] + list(body.get("patches") or [])
    for entry in entries:
        unknown = set(entry) - {"patch", "path", "target"}
        if unknown:
            raise UserError(
                "kustomize-unsupported", f"patches: {', '.join(sorted(unknown))} is not rendered", where=Where(file)
            )
        if "path" in entry:
            source = _inside(path, str(entry["path"]), file)
            if source not in files:
                raise NotFound("resource-missing", f"{file} names {entry['path']}, which is not here")
            content = files[source]
        else:
            content, source = str(entry.get("patch", "")).encode(), file
        objects = _apply_patch(content, source, entry.get("target"), objects, file)
    return objects


def _apply_patch(content: bytes, source: str, target: Mapping[str, Any] | None, objects: Objects, file: str) -> Objects:
    operations = _operations(content)
    if operations is None:
        for patch in load(content, source):
            objects = _merge_patch(patch, source, target, objects, file)
        return objects
    if not target:
        raise UserError("patch-target", "a JSON patch needs a target", where=Where(file), hint="target: {kind: …}")
    found = _aimed_at(target, objects, source, file)
    return [patches.json6902(one, operations) if index in found else one for index, one in enumerate(objects)]


def _merge_patch(
    patch: dict[str, Any], source: str, target: Mapping[str, Any] | None, objects: Objects, file: str
) -> Objects:
    aim = target or {"kind": patch.get("kind"), "name": patch.get("metadata", {}).get("name")}
    found = _aimed_at(aim, objects, source, file)
    if target:  # the name in the patch is then only a placeholder
        patch.pop("kind", None)
        patch.pop("apiVersion", None)
        patch.get("metadata", {}).pop("name", None)
    if patch.get("$patch") == "delete":
        return [one for index, one in enumerate(objects) if index not in found]
    return [patches.merge(one, patch) if index in found else one for index, one in enumerate(objects)]


def _aimed_at(target: Mapping[str, Any], objects: Objects, source: str, file: str) -> set[int]:
    found = {index for index, one in enumerate(objects) if _matches(one, target, file)}
    if not found:
        raise UserError(
            "patch-target",
            f"no object here is meant by the patch in {source}",
            where=Where(file),
            hint="kind and name of the patch are those of an object in `resources`",
        )
    return found


def _operations(content: bytes) -> list[dict[str, Any]] | None:
    import yaml  # noqa: PLC0415 - one look at the outermost shape

    try:
        value = yaml.load(content, Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        return None  # several documents, or no YAML: `load` says which
    return value if isinstance(value, list) else None


def _matches(body: Mapping[str, Any], target: Mapping[str, Any], file: str) -> bool:
    unknown = set(target) - {"kind", "name", "namespace", "group", "version"}
    if unknown:
        raise UserError(
            "kustomize-unsupported", f"a target's {', '.join(sorted(unknown))} is not rendered", where=Where(file)
        )
    metadata = body.get("metadata", {})
    group, _, version = str(body.get("apiVersion", "")).rpartition("/")
    actual = {
        "kind": body.get("kind"),
        "name": metadata.get("name"),
        "namespace": metadata.get("namespace"),
        "group": group,
        "version": version,
    }
    return all(actual[key] == value for key, value in target.items() if value is not None)


def _namespace(_files: Files, _path: str, _file: str, body: Mapping[str, Any], objects: Objects) -> Objects:
    name = body.get("namespace")
    if name:
        for one in objects:
            if one.get("kind") == "Namespace":
                one["metadata"] = {**(one.get("metadata") or {}), "name": name}
            elif one.get("kind") not in _CLUSTER_WIDE:
                metadata = dict(one.get("metadata") or {})
                kept = {"name": metadata.pop("name", None), "namespace": name}
                metadata.pop("namespace", None)
                one["metadata"] = {**kept, **metadata}
    return objects


def _labels(_files: Files, _path: str, file: str, body: Mapping[str, Any], objects: Objects) -> Objects:
    for entry in body.get("labels") or []:
        if set(entry) - {"pairs", "includeTemplates", "includeSelectors"} or entry.get("includeSelectors"):
            raise UserError(
                "kustomize-unsupported",
                "labels: only pairs and includeTemplates are rendered",
                where=Where(file),
                hint="a selector is immutable in Kubernetes; write it into the base",
            )
        for one in objects:
            _annotate(one, "labels", entry.get("pairs") or {}, templates=bool(entry.get("includeTemplates")))
    return objects


def _annotations(_files: Files, _path: str, _file: str, body: Mapping[str, Any], objects: Objects) -> Objects:
    for one in objects:
        _annotate(one, "annotations", body.get("commonAnnotations") or {}, templates=True)
    return objects


def _annotate(body: dict[str, Any], field: str, pairs: Mapping[str, str], *, templates: bool) -> None:
    if not pairs:
        return
    places = [body]
    if templates and body.get("kind") in _WORKLOADS:
        places.append(body.get("spec", {}).setdefault("template", {}))
    for place in places:
        metadata = place.setdefault("metadata", {})
        metadata[field] = {**(metadata.get(field) or {}), **pairs}


def _replicas(_files: Files, _path: str, file: str, body: Mapping[str, Any], objects: Objects) -> Objects:
    for entry in body.get("replicas") or []:
        found = [
            one
            for one in objects
            if one.get("metadata", {}).get("name") == entry.get("name") and one.get("kind") in _WORKLOADS
        ]
        if not found:
            raise UserError("replicas-target", f"replicas: no workload {entry.get('name')!r}", where=Where(file))
        for one in found:
            one["spec"]["replicas"] = entry.get("count")
    return objects


def _images(_files: Files, _path: str, _file: str, body: Mapping[str, Any], objects: Objects) -> Objects:
    entries = {str(one.get("name")): one for one in body.get("images") or []}
    if not entries:
        return objects
    for one in objects:
        if one.get("kind") not in _WORKLOADS:
            continue
        pod = one.get("spec", {}).get("template", {}).get("spec", {})
        for container in [*(pod.get("containers") or []), *(pod.get("initContainers") or [])]:
            name, tail = _split_image(str(container.get("image", "")))
            entry = entries.get(name)
            if entry is not None:
                container["image"] = str(entry.get("newName") or name) + _image_tail(entry, tail)
    return objects


def _split_image(image: str) -> tuple[str, str]:
    name, at, digest = image.partition("@")
    if at:
        return name, f"@{digest}"
    head, colon, tag = name.rpartition(":")
    return (head, f":{tag}") if colon and "/" not in tag else (name, "")


def _image_tail(entry: Mapping[str, Any], before: str) -> str:
    if entry.get("digest"):
        return f"@{entry['digest']}"
    return f":{entry['newTag']}" if entry.get("newTag") else before


_TRANSFORMS: Final[Sequence[Callable[[Files, str, str, Mapping[str, Any], Objects], Objects]]] = (
    _patches,
    _namespace,
    _labels,
    _annotations,
    _replicas,
    _images,
)
