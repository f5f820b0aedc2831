"""Where the console's style, script and icon are: files of this package, fetched from nowhere else."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

__all__ = ["ASSETS", "ASSETS_PATH", "asset_url"]

ASSETS = Path(__file__).with_name("static")
ASSETS_PATH = "/console/static"


@functools.cache
def asset_url(name: str) -> str:
    """The URL of a file, which names its content: browsers keep it until it is another one."""
    digest = hashlib.sha256((ASSETS / name).read_bytes()).hexdigest()
    return f"{ASSETS_PATH}/{name}?v={digest[:16]}"
