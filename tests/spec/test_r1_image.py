"""R1 Build, as far as building reaches: an image is built and tagged automatically (R1.2)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SOURCE = "async def app(scope, receive, send):\n    ...\n"
COMMIT = "89abcdef0123456789abcdef0123456789abcdef"


def test_r1_2_an_image_is_built_and_tagged_automatically(tmp_path: Path) -> None:
    """Nobody names a tag, a base, a Dockerfile or an entry point: the commit and the server's version are enough."""
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "main.py").write_text(SOURCE)
    (tmp_path / "service" / "pyproject.toml").write_text(
        '[project]\nname = "service"\nversion = "0"\n[tool.aegis]\ncommand = ["python", "main.py"]\n'
    )
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "AEGIS_VERSION": "1.4.0", "CI_COMMIT_SHA": COMMIT,
        "CI_COMMIT_REF_NAME": "main", "SOURCE_DATE_EPOCH": "1700000000",
    }  # fmt: skip
    command = [sys.executable, "-m", "aegis", "image", "build", "--json"]
    done = subprocess.run(
        command, cwd=tmp_path / "service", env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["schema"] == "aegis.image/1"
    assert report["tags"] == ["1.4.0", f"1.4.0-{COMMIT[:8]}", COMMIT, "main"]
    assert report["digest"].startswith("sha256:")
