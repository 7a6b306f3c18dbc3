"""Pictures drawn from data as SVG: the graph of a pipeline, a job's bar, a traffic split, evidence over time.

Pure: values in, markup out. Every picture is decoration for a table or sentence beside it that says the same, so
the pictures themselves are hidden from screen readers or carry one short label. Colours are classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from markupsafe import Markup

from aegis.core.types import JobRun
from aegis.delivery.views import JobView, RolloutPoint
from aegis.observe.spans import phase
from aegis.web.portal.shown import job_shown, seconds_between

_BOX: Final = (188, 36)
_GAP: Final = (48, 12)
_NAME: Final = 19
_HEAD: Final = 28


def split(weight: int) -> Markup:
    """The share of traffic of the new version, 0 to 100 percent, as one bar."""
    new = min(max(weight, 0), 100)
    return Markup(
        '<svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="old" width="100" height="4"/><rect class="new" width="{}" height="4"/></svg>'
    ).format(new)


def graph(stages: Sequence[str], jobs: Sequence[JobView], link: str) -> Markup:
    """The jobs in columns by stage, with the edges of `needs`; `link` is the prefix of a job's page."""
    columns = [[one for one in jobs if one.job.stage == stage] for stage in stages]
    columns = [column for column in columns if column]
    places = {
        view.job.name: (x * (_BOX[0] + _GAP[0]), _HEAD + y * (_BOX[1] + _GAP[1]))
        for x, column in enumerate(columns)
        for y, view in enumerate(column)
    }
    width = len(columns) * (_BOX[0] + _GAP[0]) - _GAP[0] + 2
    height = _HEAD + max((len(column) for column in columns), default=0) * (_BOX[1] + _GAP[1])
    parts = [
        Markup('<svg class="graph" width="{w}" height="{h}" viewBox="-1 0 {w} {h}" aria-hidden="true">').format(
            w=width, h=height
        )
    ]
    for x, column in enumerate(columns):
        at = x * (_BOX[0] + _GAP[0])
        parts.append(Markup('<text class="stage" x="{}" y="14">{}</text>').format(at, column[0].job.stage))
    parts += [_edge(places[need], places[view.job.name]) for view in jobs for need in _edges(view, places)]
    parts += [_box(view, places[view.job.name], link) for column in columns for view in column]
    return Markup("").join([*parts, Markup("</svg>")])


def _edges(view: JobView, places: Mapping[str, tuple[int, int]]) -> list[str]:
    return [need for need in view.needs if need in places and view.job.name in places]


def _edge(start: tuple[int, int], end: tuple[int, int]) -> Markup:
    x1, y1, x2, y2 = start[0] + _BOX[0], start[1] + _BOX[1] // 2, end[0], end[1] + _BOX[1] // 2
    middle = (x1 + x2) // 2
    return Markup('<path class="edge" d="M{} {}C{} {},{} {},{} {}"/>').format(x1, y1, middle, y1, middle, y2, x2, y2)


def _box(view: JobView, at: tuple[int, int], link: str) -> Markup:
    look = job_shown(view.job)
    name = view.job.name
    if len(name) > _NAME:  # both ends say more than the middle: `integration-test 1/2`
        name = f"{name[: _NAME - 7]}…{name[-6:]}"
    return Markup(
        '<a href="{link}{id}" tabindex="-1" class="{colour}"><rect class="box" x="{x}" y="{y}" width="{w}" height="{h}" rx="6"/>'
        '<text class="sym" x="{sx}" y="{ty}">{symbol}</text><text x="{tx}" y="{ty}">{name}</text></a>'
    ).format(
        link=link, id=view.job.id, colour=look.colour, x=at[0], y=at[1], w=_BOX[0], h=_BOX[1],
        sx=at[0] + 12, tx=at[0] + 32, ty=at[1] + 23, symbol=look.symbol, name=name,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bar:
    """One job on the time axis: its picture, seconds it waited and ran, whether it is on the critical path."""

    view: JobView
    picture: Markup
    queued: float | None
    ran: float | None
    critical: bool


def bars(jobs: Sequence[JobView], now: datetime, critical: frozenset[str] = frozenset()) -> tuple[Bar, ...]:
    """The jobs along the run's time, in the order in which they began (those that have not come last)."""
    begun = [one.job.queued_at or one.job.started_at for one in jobs]
    start = min((at for at in begun if at), default=now)
    end = max((one.job.finished_at or (now if one.job.started_at else start) for one in jobs), default=start)
    span = max((end - start).total_seconds(), 0.001)

    def order(view: JobView) -> tuple[int, float]:
        at = view.job.started_at or view.job.queued_at
        return (0, (at - start).total_seconds()) if at else (1, 0.0)

    return tuple(_bar(view, start, span, now, view.job.name in critical) for view in sorted(jobs, key=order))


def _bar(view: JobView, start: datetime, span: float, now: datetime, critical: bool) -> Bar:
    job = view.job
    queued = seconds_between(job.queued_at, job.started_at, now)
    ran = seconds_between(job.started_at, job.finished_at, now)
    scale = 1000 / span
    rects = Markup("")
    if job.queued_at and queued:
        at = (job.queued_at - start).total_seconds() * scale
        rects += Markup('<rect class="queue" x="{:.1f}" y="8" width="{:.1f}" height="8"/>').format(at, queued * scale)
    if job.started_at and ran is not None:
        at = (job.started_at - start).total_seconds() * scale
        shape = Markup('<rect class="{}" x="{:.1f}" y="3" width="{:.1f}" height="18"/>')
        rects += shape.format("critical" if critical else "", at, max(ran * scale, 4))
        rects += _parts(job, start, scale)
        if view.usual_seconds:
            usual = at + view.usual_seconds * scale
            if usual <= 1000:
                rects += Markup('<path class="usual" d="M{:.1f} 0V24"/>').format(usual)
    picture = Markup(
        '<svg viewBox="0 0 1000 24" preserveAspectRatio="none" class="{}" aria-hidden="true">{}</svg>'
    ).format(job_shown(job).colour, rects)
    return Bar(view, picture, queued, ran, critical)


def _parts(job: JobRun, start: datetime, scale: float) -> Markup:
    """What of a job was not its script: making ready before it, keeping what it left after it."""
    parts = Markup("")
    for step in job.steps:
        if (kind := phase(step.name)) in {"prepare", "upload"}:
            at = (step.started_at - start).total_seconds() * scale
            shape = Markup('<rect class="part {}" x="{:.1f}" y="3" width="{:.1f}" height="18"/>')
            parts += shape.format(kind, at, step.seconds * scale)
    return parts


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a value lies in the picture."""

    left: float
    right: float
    top: float
    bottom: float
    last: float
    low: float
    high: float

    def x(self, seconds: float) -> float:
        """Pixels from the left."""
        return self.left + (self.right - self.left) * seconds / self.last

    def y(self, evidence: float) -> float:
        """Pixels from the top, kept inside."""
        share = (min(max(evidence, self.low), self.high) - self.low) / (self.high - self.low)
        return self.bottom - (self.bottom - self.top) * share


def evidence(
    points: Sequence[RolloutPoint], *, upper: float, lower: float, width: int, names: tuple[str, str], label: str
) -> Markup:
    """Log-evidence over time between its two bounds; `names` label the upper and the lower one."""
    values = [point.evidence for point in points]
    margin = (upper - lower) * 0.18 or 1.0
    scale = Scale(
        left=8, right=width - 8, top=12, bottom=188,
        last=max([point.seconds for point in points] + [1.0]),
        low=min([*values, lower]) - margin, high=max([*values, upper]) + margin,
    )  # fmt: skip
    parts = [
        Markup('<svg class="chart" viewBox="0 0 {w} 216" width="{w}" height="216" role="img" aria-label="{l}">').format(
            w=width, l=label
        )
    ]
    parts += _weights(points, scale)
    parts.append(_line("axis", scale, 0.0))
    for value, name, side, shift in ((upper, names[0], "upper", -6), (lower, names[1], "lower", 15)):
        parts.append(_line(f"bound {side}", scale, value))
        text = Markup('<text class="t-{}" x="{:.0f}" y="{:.1f}" text-anchor="end">{}</text>')
        parts.append(text.format(side, scale.right - 2, scale.y(value) + shift, name))
    course = " ".join(f"{scale.x(point.seconds):.1f},{scale.y(point.evidence):.1f}" for point in points)
    parts.append(Markup('<polyline class="course" points="{}"/>').format(course))
    if points:
        end = Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="4.5"/>')
        parts.append(end.format(scale.x(points[-1].seconds), scale.y(points[-1].evidence)))
    foot = Markup('<text x="{x:.0f}" y="208" text-anchor="{anchor}">{text}</text>')
    parts.append(foot.format(x=scale.left, anchor="start", text="0 s"))
    parts.append(foot.format(x=scale.right, anchor="end", text=f"{scale.last:.0f} s"))
    return Markup("").join([*parts, Markup("</svg>")])


def _line(kind: str, scale: Scale, value: float) -> Markup:
    path = Markup('<path class="{}" d="M{:.1f} {:.1f}H{:.1f}"/>')
    return path.format(kind, scale.left, scale.y(value), scale.right)


def _weights(points: Sequence[RolloutPoint], scale: Scale) -> list[Markup]:
    """The steps of traffic as quiet columns behind the course, labelled where they change."""
    parts: list[Markup] = []
    since, weight = 0.0, -1
    ends = [*points, None]
    for point in ends:
        at = point.seconds if point else scale.last
        if point and point.weight == weight:
            continue
        if weight > 0 and at > since:
            height = (scale.bottom - scale.top) * weight / 100
            box = Markup('<rect class="weight" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>')
            parts.append(box.format(scale.x(since), scale.bottom - height, scale.x(at) - scale.x(since), height))
            word = Markup('<text x="{:.1f}" y="{:.1f}">{} %</text>')
            parts.append(word.format(scale.x(since) + 4, scale.bottom - 4, weight))
        if point:
            since, weight = point.seconds, point.weight
    return parts
