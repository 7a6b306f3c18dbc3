"""The system's Chromium for browser tests, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def executable() -> str | None:
    """Where Chromium is: `AEGIS_CHROMIUM`, else by its usual names on PATH; None where there is none."""
    given = os.environ.get("AEGIS_CHROMIUM")
    names = ("chromium", "chromium-browser", "google-chrome")
    return given or next((found for name in names if (found := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with an empty profile of its own, closed at the end."""
    from playwright.sync_api import sync_playwright

    found = executable()
    assert found, "no Chromium: install Debian's `chromium`, or set AEGIS_CHROMIUM"
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=flags, headless=True)
        try:
            yield browser
        finally:
            browser.close()
