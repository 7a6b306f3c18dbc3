"""A repository's hooks in another folder, and exactly as they were again.

It sets `core.hooksPath` in the repository's own configuration, of which it remembers every byte; what somebody changed there
meanwhile is kept.
"""

from __future__ import annotations

import base64
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from aegis.adapters import git_program
from aegis.core.errors import ExternalError

_KEY = "core.hooksPath"


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """How it was: the configuration's bytes (base64), the digest of what it was made to, the key's own earlier value."""

    configuration: str
    after: str
    value: str | None


class GitHooks:
    """The hooks of the work tree at `root`. `user` is the user's own configuration file, which may name a folder too."""

    def __init__(self, root: Path, git_directory: Path, user: str) -> None:
        self._root = root
        self._directory = git_directory
        self._user = {"GIT_CONFIG_GLOBAL": user} if user else {}

    def folder(self) -> Path:
        """Where Git looks for hooks now."""
        named = self._ask("config", "--path", "--get", _KEY)
        if named:
            return self._root / named
        found = self._ask("rev-parse", "--git-path", "hooks") or str(self._directory / "hooks")
        return Path(os.path.normpath(self._root / found))

    def take(self, folder: Path) -> Before:
        """Let Git look in `folder`; how it was."""
        before = self._configuration.read_bytes()
        value = self._ask("config", "--local", "--get", _KEY)
        self._set("config", "--local", _KEY, str(folder))
        after = hashlib.sha256(self._configuration.read_bytes()).hexdigest()
        return Before(configuration=base64.b64encode(before).decode(), after=after, value=value)

    def give_back(self, before: Before, folder: Path) -> bool:
        """As it was; False where somebody has named another folder meanwhile, which stays."""
        now = self._configuration.read_bytes()
        if hashlib.sha256(now).hexdigest() == before.after:
            self._write(base64.b64decode(before.configuration))
            return True
        if self._ask("config", "--local", "--get", _KEY) != str(folder):
            return False
        if before.value is None:
            self._set("config", "--local", "--unset", _KEY)
        else:
            self._set("config", "--local", _KEY, before.value)
        return True

    @property
    def _configuration(self) -> Path:
        """The repository's own: of a linked work tree that of the repository."""
        common = self._directory / "commondir"
        place = self._directory / common.read_text().strip() if common.is_file() else self._directory
        return place.resolve() / "config"

    def _write(self, data: bytes) -> None:
        """Aside and renamed, with the mode that it had."""
        made = self._configuration.with_name("config.aegis")
        made.write_bytes(data)
        made.chmod(self._configuration.stat().st_mode)
        made.replace(self._configuration)

    def _ask(self, *arguments: str) -> str | None:
        answer = git_program.run(list(arguments), directory=self._directory, cwd=self._root, extra=self._user)
        return answer.out.decode("utf-8", "surrogateescape").rstrip("\n") if answer.code == 0 else None

    def _set(self, *arguments: str) -> None:
        answer = git_program.run(list(arguments), directory=self._directory, cwd=self._root)
        if answer.code != 0:
            raise ExternalError("git-failed", f"git {' '.join(arguments[:3])}: {answer.error}")


def staged(root: Path, git_directory: Path, index: str) -> tuple[str, ...]:
    """The paths that the next commit adds or changes. `index` is the index that Git names to a hook, empty otherwise."""
    extra = {"GIT_INDEX_FILE": str(root / index)} if index else {}
    answer = git_program.run(
        ["diff", "--cached", "--name-only", "-z", "--no-renames", "--diff-filter=ACMT"],
        directory=git_directory, cwd=root, extra=extra,
    )  # fmt: skip
    if answer.code != 0:
        raise ExternalError("git-failed", f"git diff --cached: {answer.error}")
    return tuple(os.fsdecode(one) for one in answer.out.split(b"\0") if one)
