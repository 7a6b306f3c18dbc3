"""Programs of others, run by tests with an environment of their own: no settings of this machine reach them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def run(*argv: str, cwd: Path) -> str:
    kept = {key: value for key, value in os.environ.items() if key in {"PATH", "LANG"}}
    environment = {**kept, "HOME": str(cwd), "UV_CACHE_DIR": str(cwd / "uv"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    environment |= {"PIP_CONFIG_FILE": os.devnull, "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        argv, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
