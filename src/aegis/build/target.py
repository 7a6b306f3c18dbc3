"""What an image is built for: Python version, architecture, and what markers mean there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName

from aegis.core.errors import UserError

_MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
_PYTHON: Final = re.compile(r"3\.\d{1,2}")


@dataclass(frozen=True, slots=True)
class Target:
    """Linux with glibc. `python` is `3.11`, `architecture` OCI's name (`amd64`, `arm64`)."""

    python: str
    architecture: str = "amd64"

    def __post_init__(self) -> None:
        if _PYTHON.fullmatch(self.python) is None:
            raise UserError("target-python", f"{self.python!r} is not a Python version", hint="for example 3.12")
        if self.architecture not in _MACHINES:
            raise UserError("target-architecture", f"{self.architecture!r} is neither amd64 nor arm64")

    @property
    def machine(self) -> str:
        """The kernel's name of the architecture."""
        return _MACHINES[self.architecture]

    @property
    def triple(self) -> str:
        """The platform in the form that uv takes."""
        return f"{self.machine}-unknown-linux-gnu"

    def environment(self, extras: tuple[str, ...] = ()) -> dict[str, str]:
        """What environment markers see (PEP 508)."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
            "extra": extras[0] if extras else "",
        }

    def applies(self, marker: str, *, extras: tuple[str, ...] = ()) -> bool:
        """Whether a marker holds here; an empty one does. `UserError` for one that cannot be read."""
        if not marker:
            return True
        try:
            parsed = Marker(marker)
            return any(parsed.evaluate(self.environment((one,))) for one in (extras or ("",)))
        except (InvalidMarker, UndefinedComparison, UndefinedEnvironmentName) as error:
            raise UserError("lock-marker", f"the marker {marker!r} cannot be read: {error}") from error
