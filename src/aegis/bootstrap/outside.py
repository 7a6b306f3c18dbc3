"""Composes what a server's pipelines may include from other hosts: those that the declaration names, and nothing else.

No credential is sent: what other hosts tell everybody is all that a server reads for its pipelines.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from aegis.adapters.egress_http import EgressRules, HttpEgress
from aegis.adapters.elsewhere_gitlab import GitLabElsewhere
from aegis.delivery.options import IncludeOptions

_SECONDS: Final = 5.0
"""For one answer: whoever pushes waits for it."""


class Outside:
    """The way to other hosts, made anew when the declaration changes."""

    def __init__(self, options: Callable[[], IncludeOptions], kept: Path) -> None:
        self._options = options
        self._kept = kept
        self._made: tuple[IncludeOptions, GitLabElsewhere] | None = None

    def __call__(self) -> GitLabElsewhere | None:
        """None where nothing is declared."""
        options = self._options()
        if options == IncludeOptions():
            return None
        made = self._made
        if made is None or made[0] != options:
            made = self._made = (options, self._connected(options))
        return made[1]

    def _connected(self, options: IncludeOptions) -> GitLabElsewhere:
        own = urlsplit(options.gitlab).hostname
        rules = EgressRules(allowed=(*options.hosts, *((own,) if own else ())), private=frozenset(options.private))
        return GitLabElsewhere(HttpEgress(rules), options.gitlab, kept=self._kept, seconds=_SECONDS)
