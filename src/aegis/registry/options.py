"""What the declaration says of the registries: indexes, mirrors, clean-up. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRule:
    """A package index. A project that it has never had is looked for in `then`, in order, one index answering for all.

    `own` are patterns of names that are this index's alone: no mirror is asked for them, whoever uploads them there.
    `mirror` is the simple API of another index; `fresh` the seconds for which its pages are not asked for again. Where it wants
    a login, `password` is a reference to what it takes for `user`.
    """

    then: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    mirror: str = ""
    fresh: float = 600.0
    user: str = ""
    password: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMirrorRule:
    """Another registry whose repositories are served under `mirror/<name>/`; `fresh`: seconds before a tag is asked anew.

    Where it wants a login, `password` is a reference to what it takes for `user`.
    """

    url: str
    fresh: float = 300.0
    user: str = ""
    password: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanUpRule:
    """Which images go: those of `repositories` whose tags match `tags`, beyond the newest `keep`, once older than `older`.

    Patterns are those of the shell (`*` also matches `/`). `untagged` includes images that no tag names. `older` is seconds.
    """

    repositories: str
    tags: str = "*"
    keep: int = 0
    older: float = 0.0
    untagged: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedRule:
    """The registries that GitLab hosts for one project. `token` is a reference; with `packages` those are cleaned up, too."""

    url: str
    project: str
    token: str
    packages: bool = False

    @property
    def host(self) -> str:
        """The instance as it stands in reports."""
        return urlsplit(self.url).netloc


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryOptions:
    """All of it. `every` is the seconds between two clean-ups, `scrub` those in which every blob is read once.

    `hosts` may be reached for mirrors, `private` are those (`host:port`) in this network.
    """

    indexes: Mapping[str, IndexRule] = field(default_factory=dict)
    mirrors: Mapping[str, ImageMirrorRule] = field(default_factory=dict)
    cleanup: tuple[CleanUpRule, ...] = ()
    gitlab: tuple[HostedRule, ...] = ()
    every: float = 86400.0
    scrub: float = 30 * 86400.0
    hosts: tuple[str, ...] = ()
    private: tuple[str, ...] = ()

    def order(self, index: str) -> tuple[str, ...]:
        """The indexes that are asked on behalf of one, itself first, each once."""
        found: dict[str, None] = {}
        waiting = [index]
        while waiting:
            name = waiting.pop(0)
            if name not in found:
                found[name] = None
                waiting += self.indexes.get(name, IndexRule()).then
        return tuple(found)

    def is_own(self, project: str) -> bool:
        """Whether a name belongs to one of the indexes here, so that no mirror may answer for it."""
        return any(fnmatchcase(project, pattern) for rule in self.indexes.values() for pattern in rule.own)
