"""Rows about the pages of projects."""

from __future__ import annotations

from typing import Any

from aegis.web.gitlab_api import shapes
from aegis.web.gitlab_api.calls import Call, Made, row


@row("GET", "projects/:id/pages", "where its pages are, and what is published", "project.pages.get()")
def pages(call: Call) -> Any:
    url, served = call.door.pages(call.actor, call.project)
    return {
        "url": url, "is_unique_domain_enabled": False, "force_https": False, "primary_domain": None,
        "deployments": [
            {"created_at": shapes.time(one.created_at), "url": f"{url}/{one.prefix}".rstrip("/"),
             "path_prefix": one.prefix or None, "root_directory": one.root or None}
            for one in served
        ],
    }  # fmt: skip


@row("DELETE", "projects/:id/pages", "serve them no longer", "project.pages.delete()")
def remove_pages(call: Call) -> Any:
    call.run("remove-pages", project=call.project.name)
    return Made()
