"""The story of `fault_story` on a small disk, which has no byte left from one crossing on, for a moment (`full`).

The disk is a file system in memory, mounted where the story's data directory is; it needs root. A run that the full disk made fail is
tried again by a person, once: it says what was wrong.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from support.fault_story import Stories
from support.server import TeamServer

SIZE = 96 << 20


@dataclass(kw_only=True)
class DiskStories(Stories):
    """Every story has a disk of its own."""

    def server(self, name: str) -> TeamServer:
        """See `Stories`."""
        root = self.root / name
        (root / "data").mkdir(parents=True, mode=0o700)
        disk = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "aegis-test", str(root / "data")]
        subprocess.run(disk, check=True)
        subprocess.run(["cp", "-a", f"{self.root}/template/data/.", str(root / "data")], check=True)
        return TeamServer(root=root, declaration=self.declaration, people=dict(self.people))

    def ended(self, root: Path) -> None:
        """See `Stories`."""
        subprocess.run(["umount", "--lazy", str(root / "data")], capture_output=True, check=False)
