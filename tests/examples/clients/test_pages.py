"""docs/clients shows each script as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "examples" / "clients").iterdir())
SCRIPTS = [file for file in FILES if file.suffix in {".py", ".mjs", ".sh"}]


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_one_page_holds_the_script_as_it_is(file: Path) -> None:
    pages = (ROOT / "docs" / "clients").glob("*.md")
    assert sum(f"\n{file.read_text()}```\n" in page.read_text() for page in pages) == 1
