from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import load_file

if TYPE_CHECKING:
    from types import ModuleType

FILE = Path(__file__).parents[3] / "docs" / "site" / "links.py"


@pytest.fixture(scope="module")
def links() -> ModuleType:
    return load_file(FILE)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ('<a href="there.html">', None),
        ('<a href="there.html#here">', None),
        ('<a href="sub/">', None),
        ('<a href="/there.html">', None),
        ('<a href="https://elsewhere.example/">', None),
        ('<a href="mailto:somebody@elsewhere.example">', None),
        ('<a href="#">', None),
        ('<a href="nowhere.html">', "page.html links to nowhere.html"),
        ('<a href="there.html#nowhere">', "page.html links to there.html#nowhere"),
        ('<a href="#nowhere">', "page.html links to #nowhere"),
        ('<img src="nowhere.svg">', "page.html links to nowhere.svg"),
        ('<img src="https://elsewhere.example/i.svg">', "page.html fetches https://elsewhere.example/i.svg"),
        ('<script src="//elsewhere.example/s.js">', "page.html fetches //elsewhere.example/s.js"),
        ('<link href="http://elsewhere.example/f.css">', "page.html fetches http://elsewhere.example/f.css"),
        (
            '<p style="background: url(https://elsewhere.example/b.png)">',
            "page.html fetches https://elsewhere.example/b.png",
        ),
    ],
)
def test_every_link_leads_somewhere_and_nothing_is_fetched_from_elsewhere(
    links: ModuleType, tmp_path: Path, body: str, problem: str | None
) -> None:
    (tmp_path / "page.html").write_text(f"<html><body>{body}</body></html>")
    (tmp_path / "there.html").write_text('<h1 id="here">')
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "index.html").write_text("")
    assert links.broken_links(tmp_path) == ([problem] if problem else [])


@pytest.mark.parametrize(
    "rule", ["@import 'https://elsewhere.example/f.css'", "p {a: url(//elsewhere.example/f)}"]
)
def test_style_sheets_fetch_nothing_from_elsewhere(links: ModuleType, tmp_path: Path, rule: str) -> None:
    (tmp_path / "site.css").write_text(rule + "p {b: url(data:image/png;base64,AAAA)} q {c: url(own.png)}")
    (found,) = links.broken_links(tmp_path)
    assert found.startswith("site.css fetches ")
