"""The variables and protections that an `aegis.yaml` on this machine gives the project one works on.

Without a file nothing is declared, and nothing of the reader of declarations is loaded. A file that is there and cannot be
read is an error: a pipeline without its variables would be another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aegis.core.errors import ExternalError, UserError
from aegis.pipeline.declared import DeclaredVariable, given
from aegis.pipeline.request import CompileRequest

if TYPE_CHECKING:
    from aegis.delivery.options import Options

FILE: Final = "aegis.yaml"


def with_declared(request: CompileRequest, root: Path, named: str | None) -> CompileRequest:
    """The question with what `named` declares for its project, or `aegis.yaml` in the project's root; else as it was."""
    path = Path(named) if named else root / FILE
    if not path.is_file():
        if named:
            raise UserError("no-declaration", f"there is no {named}", hint="name an aegis.yaml: docs/declaration.md")
        return request
    levels, rules = _declared(path, named or FILE, request.project)
    merge = request.merge_request
    if merge is None:
        protected = rules.is_protected(f"refs/{'tags' if request.ref_kind == 'tag' else 'heads'}/{request.ref}")
    else:
        protected = False
        merge = replace(
            merge,
            source_protected=rules.is_protected(f"refs/heads/{merge.source_branch}"),
            target_protected=rules.is_protected(f"refs/heads/{merge.target_branch}"),
        )
    own = given(levels, protected=protected)
    return replace(
        request,
        protected=protected,
        merge_request=merge,
        project_variables=own.everywhere,
        scoped_variables=own.scoped,
    )


def _declared(path: Path, name: str, project: str) -> tuple[Sequence[Sequence[DeclaredVariable]], Options]:
    """The variables for the project by level, and what is protected."""
    try:
        from aegis.config.load import load  # noqa: PLC0415 - only projects with a declaration need it
        from aegis.config.variables import levels  # noqa: PLC0415 - as above
        from aegis.delivery.options import Options  # noqa: PLC0415 - as above
        from aegis.source.branches import ProtectedBranch  # noqa: PLC0415 - as above
    except ImportError as error:
        raise ExternalError(
            "declaration-not-readable",
            f"{name} is read by a part of Aegis that is not installed here",
            hint="pip install 'aegis-delivery[up]'",
        ) from error
    try:
        declared = load(path.read_bytes(), file=name)
    except OSError as error:
        raise UserError("no-declaration", f"{name} cannot be read: {error.strerror}") from error
    return levels(declared, project), Options(branches=tuple(ProtectedBranch(pattern=one) for one in declared.branches))
