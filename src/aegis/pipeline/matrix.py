"""`parallel`: the jobs that one job becomes, with GitLab's names. Pure.

`parallel: 3` makes `job 1/3` … `job 3/3`; a matrix makes `job: [a, b]` for each combination, in the order of its keys.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from aegis.pipeline.diagnostics import Report
from aegis.pipeline.document import Map, Node, Scalar, Seq
from aegis.pipeline.patterns import Rare

MAX_JOBS: Final = 200
_EXPRESSION: Final = Rare(r"\$\[\[\s*matrix\.([A-Za-z_]\w*)\s*\]\]")


class Instance(NamedTuple):
    """One of the jobs that a definition becomes. `number` is None where there is no `parallel`."""

    name: str
    number: int | None = None
    total: int | None = None
    values: Mapping[str, str] = MappingProxyType({})


def instances(name: str, parallel: Node | None, report: Report) -> tuple[Instance, ...]:
    """All jobs of a definition, in order."""
    if isinstance(parallel, Scalar) and isinstance(parallel.value, int):
        total = parallel.value
        return tuple(Instance(name=f"{name} {i}/{total}", number=i, total=total) for i in range(1, total + 1))
    if not isinstance(parallel, Map):
        return (Instance(name=name),)
    combined = combinations(parallel.get("matrix"))
    if len(combined) > MAX_JOBS:
        report.error(
            "too-many-parallel",
            f"`{name}: parallel` makes {len(combined)} jobs; at most {MAX_JOBS} are allowed",
            parallel.where,
        )
        return ()
    total = len(combined)
    return tuple(
        Instance(name=matrix_name(name, values), number=number, total=total, values=values)
        for number, values in enumerate(combined, 1)
    )


def matrix_name(name: str, values: Mapping[str, str]) -> str:
    """The name of one combination."""
    return f"{name}: [{', '.join(values.values())}]"


def combinations(matrix: Node | None) -> list[dict[str, str]]:
    """Every combination of a matrix. A matrix far beyond the limit is counted, not built."""
    found: list[dict[str, str]] = []
    for entry in matrix.items if isinstance(matrix, Seq) else ():
        if not isinstance(entry, Map):
            continue
        keys = list(entry.entries)
        lists = [_texts(value) for _, value in entry.items()]
        count = math.prod(len(one) for one in lists)
        if len(found) + count > 100 * MAX_JOBS:
            return [{}] * (100 * MAX_JOBS)
        found.extend(dict(zip(keys, one, strict=True)) for one in itertools.product(*lists))
    return found


def selected(matrix: Node, own: Mapping[str, str]) -> list[dict[str, str]]:
    """The combinations that `needs: parallel: matrix` names; `$[[ matrix.X ]]` stands for the job's own value."""
    return [
        {
            key: _EXPRESSION.sub(lambda match: own.get(match.group(1), match.group()), value)
            for key, value in one.items()
        }
        for one in combinations(matrix)[: MAX_JOBS + 1]
    ]


def _texts(value: Node) -> list[str]:
    nodes = value.items if isinstance(value, Seq) else (value,)
    return [node.text if isinstance(node.value, str) else str(node.value) for node in nodes if isinstance(node, Scalar)]
