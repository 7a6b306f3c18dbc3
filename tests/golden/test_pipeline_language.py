"""Each folder of `pipeline/` is one behaviour of the language: files, an occasion and what must come of it.

`expected.json` names what is checked: `jobs` (all of them, in order, each with the fields that matter), `excluded` (a part
of the reason), `stages`, `skipped` (a part), `plan` (fields), `errors` (all, with code and place; `contains` is a part of
the message) and `warnings` (their codes).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aegis.core import codec
from aegis.core.plan import JobSpec, Variable
from aegis.pipeline.compile import compile_pipeline
from aegis.pipeline.declared import DeclaredVariable, given
from aegis.pipeline.request import Compilation, CompileRequest, MemoryFiles, MergeRequest

CASES = sorted(path for path in (Path(__file__).parent / "pipeline").iterdir() if path.is_dir())


def request(folder: Path) -> CompileRequest:
    args = json.loads((folder / "args.json").read_text())
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in {"args.json", "expected.json"}
    }
    merge = args.get("merge_request")
    changed = args.get("changed")
    protected = args.get("protected", False)
    levels = [[DeclaredVariable(**one) for one in level] for level in args.get("declared", [])]
    declared = given(levels, protected=protected)
    return CompileRequest(
        files=MemoryFiles(files),
        ref=args.get("tag") or args.get("ref", "main"),
        ref_kind="tag" if "tag" in args else "branch",
        source=args.get("source") or ("merge_request_event" if merge else "push"),
        project=args.get("project", "shop/orders"),
        commit=args.get("commit", "c" * 40),
        before=args.get("before"),
        commit_message=args.get("message", ""),
        tag_message=args.get("tag_message", ""),
        open_merge_requests=tuple(args.get("open_merge_requests", ())),
        predefined=args.get("predefined", {}),
        changed=tuple(changed) if changed is not None else None,
        comparisons={ref: tuple(paths) for ref, paths in args["comparisons"].items()} if "comparisons" in args else None,
        protected=protected,
        scoped_variables=declared.scoped,
        project_variables=(
            *declared.everywhere,
            *(Variable(key=key, value=value) for key, value in args.get("project_variables", {}).items()),
            *(Variable(key=key, value="", secret=name, masked=True) for key, name in args.get("secrets", {}).items()),
        ),
        pipeline_variables=tuple(Variable(key=key, value=value) for key, value in args.get("variables", {}).items()),
        merge_request=MergeRequest(**merge) if merge else None,
    )


def check_job(job: JobSpec, wanted: dict[str, Any]) -> None:
    seen = json.loads(codec.encode(job))
    variables = {one.key: one.value for one in job.variables}
    for field, value in wanted.items():
        if field == "variables":
            assert {key: variables.get(key) for key in value} == value
        elif field == "without_variables":
            assert not set(value) & set(variables)
        elif field == "needs" and value and isinstance(value[0], str):
            assert [need["job"] for need in seen["needs"]] == value
        else:
            assert seen[field] == value, field


def check_errors(found: Compilation, wanted: list[dict[str, str]]) -> None:
    assert [(one.code, str(one.where)) for one in found.errors] == [(one["code"], one["place"]) for one in wanted]
    for seen, one in zip(found.errors, wanted, strict=True):
        assert one.get("contains", "") in seen.message
        assert one.get("hint", seen.hint) == seen.hint


def check(folder: Path) -> None:
    wanted = json.loads((folder / "expected.json").read_text())
    found = compile_pipeline(request(folder))
    check_errors(found, wanted.get("errors", []))
    if "errors" in wanted:
        assert found.plan is None
        return
    assert [one.code for one in found.warnings] == wanted.get("warnings", [])
    reasons = {one.name: one.reason for one in found.excluded}
    for name, reason in wanted.get("excluded", {}).items():
        assert reason in reasons[name]
    if "skipped" in wanted:
        assert found.plan is None
        assert wanted["skipped"] in found.skipped
        return
    assert found.plan is not None, found.skipped
    assert found.plan.id.startswith("sha256:")
    assert [job.name for job in found.plan.jobs] == list(wanted["jobs"])
    assert set(reasons) == set(wanted.get("excluded", {}))
    for name, fields in wanted["jobs"].items():
        check_job(found.plan.job(name), fields)
    if "stages" in wanted:
        assert list(found.plan.stages) == wanted["stages"]
    plan = json.loads(codec.encode(found.plan))
    for field, value in wanted.get("plan", {}).items():
        assert plan[field] == value, field


@pytest.mark.parametrize("folder", CASES, ids=lambda folder: folder.name)
def test_a_pipeline_file_means_what_its_folder_says(folder: Path) -> None:
    check(folder)
