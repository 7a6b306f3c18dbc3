"""One file per noun: authorise, decide, append the intent, act, append the outcome."""

from __future__ import annotations

import importlib
from typing import Final

NOUNS: Final = (
    "runs",
    "downstream",
    "places",
    "publications",
    "pages",
    "verdicts",
    "releases",
    "merge_requests",
    "promotions",
    "deployments",
    "rollouts",
    "access",
    "projects",
    "runners",
    "sources",
    "verifications",
    "rescans",
    "registries",
    "hosted_registries",
    "packages",
    "artifacts",
    "retention",
    "erasures",
    "variables",
)


def load() -> None:
    """Import every noun, so that its handlers are registered."""
    for noun in NOUNS:
        importlib.import_module(f"aegis.delivery.handlers.{noun}")
