"""Two pages about what is in releases: everything about one, and how two differ. Shows values; asks for nothing else."""

from __future__ import annotations

from aegis.web.portal.doors import Ask
from aegis.web.portal.rendering import Page


def contents(ask: Ask) -> Page:
    """What is in it, and what was proven?"""
    view = ask.queries.release(ask.actor, ask.path["release"], min_seq=ask.min_seq)
    one = ask.queries.dossier(ask.actor, view.release.id)
    others = [
        each.id
        for each in ask.queries.releases(ask.actor, service=view.release.service)
        if each.project == view.release.project and each.id != one.release
    ]
    values = {"view": view, "dossier": one, "others": others, "files": one.files}
    title = ask.words("contents.title", release=one.release)
    return Page("contents.html", title, values, f"aegis release show {one.release}", (), view.seq, "releases")


def compared(ask: Ask) -> Page:
    """What changes from one release to another?"""
    before, after = ask.request.query_params.get("from", ""), ask.path["release"]
    found = ask.queries.comparison(ask.actor, before, after)
    title = ask.words("compare.title", before=before, after=after)
    values = {"found": found, "before": before, "after": after}
    return Page("compare.html", title, values, f"aegis release compare {before} {after}", (), 0, "releases")
