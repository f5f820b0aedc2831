"""Pictures of a page, light and dark, small enough for the documentation."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from accessibility import SCHEMES
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

__all__ = ["picture_names", "take_pictures"]

_SIZE = (1120, 700)
_COLOURS = 128


def picture_names(name: str) -> list[str]:
    """The files of a page."""
    return [f"{name}-{scheme}.png" for scheme in SCHEMES]


def take_pictures(page: Page, directory: Path, name: str) -> None:
    """Write the page as it is now; a page with a dialog only as far as the window shows it."""
    width, height = _SIZE
    page.set_viewport_size({"width": width, "height": height})
    for scheme, file in zip(SCHEMES, picture_names(name), strict=True):
        page.emulate_media(color_scheme=scheme)
        whole = not page.get_by_role("dialog").is_visible()
        png = page.screenshot(full_page=whole, animations="disabled", caret="hide")
        whole_colours = Image.open(io.BytesIO(png)).convert("RGB")
        # by octree, which keeps a colour that few points have: a red button
        small = whole_colours.quantize(_COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        small.save(directory / file, optimize=True)
