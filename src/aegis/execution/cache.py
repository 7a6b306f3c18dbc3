"""Under which key a cache is kept, and which keys are tried. Reads files of the work tree; stores nothing."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aegis.core.plan import CacheSpec
from aegis.execution.archive import choose, open_file
from aegis.execution.environment import expand

_KEY_LIMIT: Final = 64 * 1024 * 1024
_PULL: Final = frozenset({"pull", "pull-push"})
_LONGEST: Final = 200
_PUSH: Final = frozenset({"push", "pull-push"})


def key(spec: CacheSpec, root: Path, variables: Mapping[str, str]) -> str:
    """The key of a cache: literal with variables put in, or made of the contents of `key:files`.

    GitLab hashes the last commits that touched those files; the contents say the same and need no history. Files that
    are missing leave `default`, as there.
    """
    if not spec.key_files:
        return _clean(expand(spec.key, variables)) or "default"
    digest = hashlib.sha256()
    found = choose(root, [expand(name, variables) for name in spec.key_files]).files
    for name in found:
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
        path = root / name
        if not path.is_symlink():
            with open_file(path) as file:
                # A file with a huge hole is no lock file: its beginning and its size must do.
                beginning = file.read(_KEY_LIMIT)
                digest.update(hashlib.sha256(beginning).digest())
                if len(beginning) == _KEY_LIMIT:
                    digest.update(str(os.fstat(file.fileno()).st_size).encode())
    body = digest.hexdigest()[:40] if found else "default"
    prefix = expand(spec.key_prefix, variables) if spec.key_prefix else ""
    return _clean(f"{prefix}-{body}" if prefix else body)


def keys(spec: CacheSpec, root: Path, variables: Mapping[str, str]) -> tuple[str, ...]:
    """The keys to look for, best first: the cache's own, its fallbacks, the one of `CACHE_FALLBACK_KEY`."""
    wanted = [key(spec, root, variables)]
    wanted.extend(_clean(expand(one, variables)) for one in spec.fallback_keys)
    if variables.get("CACHE_FALLBACK_KEY"):
        wanted.append(_clean(variables["CACHE_FALLBACK_KEY"]))
    return tuple(dict.fromkeys(one for one in wanted if one))


def pulls(spec: CacheSpec, variables: Mapping[str, str]) -> bool:
    """Whether the cache is fetched before the script."""
    return expand(spec.policy, variables) in _PULL


def pushes(spec: CacheSpec, variables: Mapping[str, str], *, succeeded: bool) -> bool:
    """Whether the cache is kept after the script."""
    wanted = {"always": True, "on_success": succeeded, "on_failure": not succeeded}.get(spec.when, succeeded)
    return wanted and expand(spec.policy, variables) in _PUSH


def _clean(text: str) -> str:
    """A key as it is shown. What had to be changed has a mark of what it was, so that no two keys become one."""
    plain = text.strip()
    shown = re.sub(r"[^\w.@-]", "-", plain)[:_LONGEST].strip(".")
    if shown == plain or not plain:
        return shown
    return f"{shown[: _LONGEST - 17]}-{hashlib.sha256(plain.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"
