"""The system's Chromium, without a network: nothing is downloaded, nothing but the loopback is reached."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

__all__ = ["MISSING", "find_chromium", "running_chromium"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "needs a browser: apt-get install chromium"


def find_chromium() -> str | None:
    """Where the system's Chromium is, under whichever of its names."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@contextlib.contextmanager
def running_chromium(executable: str) -> Iterator[Browser]:
    """A headless Chromium; while it runs this thread counts as running an event loop."""
    arguments = [
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--disable-lcd-text",  # pictures are the same whatever the screen
        "--font-render-hinting=none",
        "--force-color-profile=srgb",
    ]
    as_root = os.geteuid() == 0  # for whom Chromium has no sandbox
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=arguments, chromium_sandbox=not as_root
        )
        try:
            yield browser
        finally:
            browser.close()
