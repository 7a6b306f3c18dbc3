"""A pipeline as a picture: stages are columns, needs are edges, the critical path stands out. Pure: a plan in, text out.

Writes SVG itself: a picture that explains itself to a reader who does not see it (title, description, a name for each
job), follows the reader's light or dark colours, and needs no script, font or style from elsewhere. `page` puts a table
with the same content beside it. Parallel jobs of one definition are one box.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Final

from aegis.core.plan import JobSpec, Plan
from aegis.pipeline.forecast import Forecast, base_name, spoken

_WIDTH: Final = 208
_HEIGHT: Final = 46
_GAP_X: Final = 84
_GAP_Y: Final = 16
_TOP: Final = 92
_LEFT: Final = 28
_READ: Final = frozenset('"<>#;&`{}|')
_LETTERS: Final = 24
"""How many letters of a name fit into a box."""

_STYLE: Final = """
.g{font-family:ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;font-size:13px;--ink:#1b2430;--soft:#5b6675;
--line:#9aa5b4;--box:#fff;--edge:#c9d1dc;--back:#f4f6f9;--lane:#e9edf3;--hot:#b45309;--hotbox:#fff7ed}
@media (prefers-color-scheme:dark){.g{--ink:#e8edf4;--soft:#9fabbb;--line:#6b7889;--box:#1c2532;--edge:#3a4758;--back:#10161f;
--lane:#18202c;--hot:#fbbf24;--hotbox:#2b2413}}
.g .back{fill:var(--back)}.g .lane{fill:var(--lane)}.g text{fill:var(--ink)}.g .soft{fill:var(--soft);font-size:11px}
.g .title{font-size:16px;font-weight:600}.g .stage{font-weight:600;font-size:12px;letter-spacing:.02em}
.g .box{fill:var(--box);stroke:var(--edge);stroke-width:1}.g .manual .box{stroke-dasharray:4 3}
.g .hot .box{fill:var(--hotbox);stroke:var(--hot);stroke-width:2}
.g .edge{fill:none;stroke:var(--line);stroke-width:1.4}.g .edge.hot{stroke:var(--hot);stroke-width:2.4}
.g .tip{fill:var(--line)}.g .tip.hot{fill:var(--hot)}.g .name{font-weight:500}
""".replace("\n", "")


@dataclass(slots=True, kw_only=True)
class Box:
    """One job, or all parallel instances of one, with what it waits for (boxes by name)."""

    name: str
    stage: str
    jobs: list[JobSpec] = field(default_factory=list)
    needs: dict[str, None] = field(default_factory=dict)
    explicit: bool = False
    x: int = 0
    y: int = 0
    seconds: float | None = None
    critical: bool = False

    @property
    def count(self) -> int:
        """How many jobs it stands for."""
        return len(self.jobs)

    def words(self) -> str:
        """What is said of it beside its name."""
        first = self.jobs[0]
        parts = [f"×{self.count}"] if self.count > 1 else []
        if first.when != "on_success":
            parts.append(first.when.replace("_", " "))
        if first.allow_failure and first.when != "manual":
            parts.append("may fail")
        if first.environment is not None:
            parts.append(f"→ {first.environment.name}")
        if self.seconds is not None:
            parts.append(spoken(self.seconds))
        return " · ".join(parts)


def boxes(plan: Plan, forecast: Forecast | None = None) -> list[Box]:
    """The boxes of a plan in the order of its jobs."""
    found: dict[str, Box] = {}
    owner: dict[str, str] = {}
    for job in plan.jobs:
        name = base_name(job.name) if job.parallel_total else job.name
        box = found.setdefault(name, Box(name=name, stage=job.stage))
        box.jobs.append(job)
        owner[job.name] = name
    critical = set(forecast.critical) if forecast is not None else set()
    for job in plan.jobs:
        box = found[owner[job.name]]
        box.explicit = box.explicit or job.needs is not None
        for need in job.needs or ():
            if need.job in owner:
                box.needs[owner[need.job]] = None
        box.critical = box.critical or job.name in critical
        span = forecast.spans.get(job.name) if forecast is not None else None
        if span is not None and span.known:
            box.seconds = max(box.seconds or 0.0, span.end - span.start)
    return list(found.values())


def _columns(plan: Plan, found: Iterable[Box]) -> dict[str, list[Box]]:
    """The boxes by stage; within a stage near what they wait for, so that few edges cross."""
    columns: dict[str, list[Box]] = {stage: [] for stage in plan.stages}
    for box in found:
        columns[box.stage].append(box)
    row: dict[str, float] = {}
    for column in columns.values():
        wanted = {}
        for index, box in enumerate(column):
            rows = [row[name] for name in box.needs if name in row]
            wanted[box.name] = sum(rows) / len(rows) if rows else float(index)
        column.sort(key=lambda box: (wanted[box.name], box.name in row))
        for index, box in enumerate(column):
            row[box.name] = float(index)
    return columns


def svg(plan: Plan, forecast: Forecast | None = None) -> str:
    """The picture."""
    found = boxes(plan, forecast)
    columns = _columns(plan, found)
    tallest = max((len(column) for column in columns.values()), default=1)
    width = 2 * _LEFT + len(columns) * _WIDTH + (len(columns) - 1) * _GAP_X
    height = _TOP + tallest * (_HEIGHT + _GAP_Y) + 24
    for at, column in enumerate(columns.values()):
        for index, box in enumerate(column):
            box.x, box.y = _LEFT + at * (_WIDTH + _GAP_X), _TOP + index * (_HEIGHT + _GAP_Y)
    known = {box.name: box for box in found}
    title = _title(plan)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {max(width, 420)} {height}" width="{max(width, 420)}" '
            f'height="{height}" class="g" role="img" aria-labelledby="pipeline-title pipeline-desc">'
        ),
        f'<title id="pipeline-title">{escape(title)}</title>',
        f'<desc id="pipeline-desc">{escape(description(plan, found, forecast))}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect class="back" width="{max(width, 420)}" height="{height}" rx="10"/>',
        f'<text class="title" x="{_LEFT}" y="32">{escape(_cut(title, 60))}</text>',
        f'<text class="soft" x="{_LEFT}" y="50">{escape(_summary(plan, forecast))}</text>',
    ]
    for at, (stage, column) in enumerate(columns.items()):
        x = _LEFT + at * (_WIDTH + _GAP_X)
        parts.append(f'<rect class="lane" x="{x - 10}" y="62" width="{_WIDTH + 20}" height="{height - 74}" rx="8"/>')
        parts.append(f'<text class="stage" x="{x}" y="81">{escape(_cut(stage, 28))}</text>')
        parts.append(f'<text class="soft" x="{x + _WIDTH}" y="81" text-anchor="end">{_jobs(column)}</text>')
    edges = [(known[name], box) for box in found for name in box.needs]
    parts += [
        _edge(before, box, forecast)
        for before, box in sorted(edges, key=lambda one: one[0].critical and one[1].critical)
    ]
    parts += _barriers(columns, forecast)
    parts += [_drawn(box) for box in found]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _jobs(column: list[Box]) -> str:
    count = sum(box.count for box in column)
    return f"{count} job{'' if count == 1 else 's'}"


def _title(plan: Plan) -> str:
    return plan.name or f"Pipeline of {plan.ref}"


def _summary(plan: Plan, forecast: Forecast | None) -> str:
    count = len(plan.jobs)
    text = f"{count} job{'' if count == 1 else 's'} in {len(plan.stages)} stage{'' if len(plan.stages) == 1 else 's'}"
    if forecast is None:
        return text
    unknown = f", {len(forecast.unknown)} without history" if forecast.unknown else ""
    return f"{text} · about {spoken(forecast.seconds)} with free runners{unknown}"


def description(plan: Plan, found: list[Box], forecast: Forecast | None) -> str:
    """The picture in words."""
    text = [_summary(plan, forecast) + "."]
    for stage in plan.stages:
        names = [
            box.name + (f" ({box.count} parallel)" if box.count > 1 else "") for box in found if box.stage == stage
        ]
        text.append(f"Stage {stage}: {', '.join(names)}.")
    if forecast is not None and forecast.critical:
        text.append(f"Critical path: {', then '.join(forecast.critical)}.")
    return " ".join(text)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _edge(before: Box, box: Box, forecast: Forecast | None) -> str:
    hot = " hot" if forecast is not None and _follows(before, box, forecast.critical) else ""
    top, end = before.y + _HEIGHT // 2, box.y + _HEIGHT // 2
    if before.x < box.x:
        start, stop = before.x + _WIDTH, box.x - 7
        bend = min(_GAP_X, (stop - start)) // 2 if stop - start <= _GAP_X else _GAP_X // 2
        # Over several columns an edge runs in the gap above the boxes that it passes.
        path = f"M{start} {top}C{start + bend} {top} {stop - bend} {end} {stop} {end}"
        if stop - start > _GAP_X:
            lane = max(top, end) + (_HEIGHT + _GAP_Y) // 2 if top == end else (top + end) // 2
            middle = (start + stop) // 2
            path = (
                f"M{start} {top}C{start + 40} {top} {start + 30} {lane} {middle} {lane}S{stop - 40} {end} {stop} {end}"
            )
        tip = f"M{stop} {end - 4}l7 4l-7 4z"
    else:
        # Within a column the edge bows out to the left, so that it crosses no box.
        x, bow = before.x, 22 + min(abs(end - top) // 12, 34)
        path = f"M{x} {top}C{x - bow} {top} {x - bow} {end} {x - 7} {end}"
        tip = f"M{x - 7} {end - 4}l7 4l-7 4z"
    return f'<path class="edge{hot}" d="{path}"/><path class="tip{hot}" d="{tip}"/>'


def _follows(before: Box, box: Box, critical: tuple[str, ...]) -> bool:
    way = [base_name(name) if base_name(name) in {before.name, box.name} else name for name in critical]
    return any(one == before.name and other == box.name for one, other in itertools.pairwise(way))


def _barriers(columns: Mapping[str, list[Box]], forecast: Forecast | None) -> list[str]:
    """Where jobs wait for a whole stage, one arrow between the columns' heads says so."""
    found = []
    stages = list(columns.values())
    for before, column in itertools.pairwise(stages):
        waiting = [box for box in column if not box.explicit]
        if not before or not waiting:
            continue
        hot = any(box.critical for box in before) and any(box.critical for box in waiting) and forecast is not None
        kind = " hot" if hot else ""
        x, end = before[0].x + _WIDTH + 10, column[0].x - 17
        title = f"{', '.join(box.name for box in waiting)}: after the whole stage {before[0].stage}"
        found.append(
            f'<g><title>{escape(title)}</title><path class="edge{kind}" d="M{x} 77H{end}"/><path class="tip{kind}" d="M{end} 73l7 4l-7 4z"/></g>'
        )
    return found


def _drawn(box: Box) -> str:
    words = box.words()
    kinds = " ".join(one for one, on in (("hot", box.critical), ("manual", box.jobs[0].when == "manual")) if on)
    waits = f"; needs {', '.join(box.needs)}" if box.needs else "; needs nothing" if box.explicit else ""
    title = f"{box.name}, stage {box.stage}{f', {words}' if words else ''}{waits}{', on the critical path' if box.critical else ''}"
    y = box.y + (20 if words else 28)
    second = f'<text class="soft" x="{box.x + 12}" y="{box.y + 36}">{escape(_cut(words, 34))}</text>' if words else ""
    return (
        f'<g class="{kinds}"><title>{escape(title)}</title><rect class="box" x="{box.x}" y="{box.y}" width="{_WIDTH}" height="{_HEIGHT}" rx="7"/>'
        f'<text class="name" x="{box.x + 12}" y="{y}">{escape(_cut(box.name, _LETTERS))}</text>{second}</g>'
    )


def rows(plan: Plan, forecast: Forecast | None = None) -> list[tuple[str, ...]]:
    """The same as a table: stage, job, waits for, remarks, critical."""
    found: list[tuple[str, ...]] = []
    for box in boxes(plan, forecast):
        first = box.explicit or box.stage == plan.stages[0]
        waits = ", ".join(box.needs) or ("nothing" if first else "all earlier stages")
        found.append((box.stage, box.name, waits, box.words(), "yes" if box.critical else ""))
    return found


HEADS: Final = ("stage", "job", "waits for", "remarks", "critical path")


def page(plan: Plan, forecast: Forecast | None = None) -> str:
    """An HTML page with the picture and, for those who do not see it, the table."""
    heads = "".join(f'<th scope="col">{one}</th>' for one in HEADS)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows(plan, forecast))
    title = escape(_title(plan))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>:root{{color-scheme:light dark}}body{{font:14px/1.5 system-ui,sans-serif;margin:24px}}"
        f".scroll{{overflow-x:auto}}table{{border-collapse:collapse;margin-top:24px}}th,td{{text-align:left;padding:4px 16px 4px 0;"
        f"border-bottom:1px solid #8884}}</style>"
        f'<main><div class="scroll" tabindex="0">{svg(plan, forecast)}</div>'
        f"<table><caption>{escape(_summary(plan, forecast))}</caption><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></main></html>\n"
    )


def mermaid(plan: Plan, forecast: Forecast | None = None) -> str:
    """The picture in Mermaid's language, as Git hosts draw it in Markdown."""
    found = boxes(plan, forecast)
    ids = {box.name: f"j{index}" for index, box in enumerate(found)}
    lines = [
        "flowchart LR",
        f"  accTitle: {_plain(_title(plan))}",
        f"  accDescr: {_plain(description(plan, found, forecast))}",
    ]
    for at, stage in enumerate(plan.stages):
        lines.append(f'  subgraph s{at}["{_plain(stage)}"]')
        for box in found:
            if box.stage == stage:
                words = box.words()
                lines.append(f'    {ids[box.name]}["{_plain(box.name)}{f"<br/>{_plain(words)}" if words else ""}"]')
        lines.append("  end")
    known = {box.name: box for box in found}
    hot: list[str] = []
    edges = 0
    for box in found:
        for name in box.needs:
            before = known[name]
            lines.append(f"  {ids[name]} --> {ids[box.name]}")
            if forecast is not None and _follows(before, box, forecast.critical):
                hot.append(str(edges))
            edges += 1
    waiting = {box.stage for box in found if not box.explicit}
    lines += [f"  s{at} -.-> s{at + 1}" for at, stage in enumerate(plan.stages[1:]) if stage in waiting]
    critical = [ids[box.name] for box in found if box.critical]
    if critical:
        lines += ["  classDef critical stroke:#b45309,stroke-width:3px", f"  class {','.join(critical)} critical"]
    if hot:
        lines.append(f"  linkStyle {','.join(hot)} stroke:#b45309,stroke-width:3px")
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Text that ends no label: what Mermaid reads becomes its entities."""
    return "".join(f"#{ord(one)};" if one in _READ else one for one in text.replace("\n", " "))
