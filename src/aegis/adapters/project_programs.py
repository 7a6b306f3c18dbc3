"""Starts programs in a project's folder, their output shown as it comes."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from aegis.core.errors import ExternalError
from aegis.projects.ports import Finished


class LocalPrograms:
    """`projects.ports.Programs` in `directory`, with `environment` as the whole environment that programs start from.

    `to_errors` sends what programs print to standard error, for callers whose standard output is a document.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str], *, to_errors: bool = False) -> None:
        self._directory = directory
        self._environment = dict(environment)
        self._out = 2 if to_errors else None

    def run(
        self, argv: Sequence[str], *, environment: Mapping[str, str] | None = None, capture: bool = False
    ) -> Finished:
        """See the port."""
        try:
            done = subprocess.run(
                argv,
                cwd=self._directory,
                env=self._environment | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if capture else self._out,
                check=False,
            )
        except OSError as error:
            raise ExternalError("program-missing", f"{argv[0]} could not be started: {error.strerror}") from error
        return Finished(code=done.returncode, output=done.stdout or b"")
