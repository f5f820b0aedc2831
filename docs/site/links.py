"""Follows every link of the built site, and finds what it would fetch from other hosts."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["broken_links"]

_REFERENCES = {"href", "src", "srcset", "poster", "data", "action"}
_CSS_URL = re.compile(r"""(?:url\(\s*|@import\s+)["']?([^"')\s]+)""")


class _Page(HTMLParser):
    """What a page links to, what it fetches, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.anchors: set[str] = {"", "top"}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what it refers to (called by HTMLParser)."""
        for name, value in attrs:
            if name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value or "")
            elif name in _REFERENCES and value:
                (self.links if tag == "a" else self.fetched).append(value)
            elif name == "style" and value:
                self.fetched += _CSS_URL.findall(value)


def broken_links(site: Path) -> list[str]:
    """What is wrong, as ``page: reference`` sentences.

    A link may lead to another host, where a reader goes by choice; whatever a page fetches may not.
    """
    pages = {file: _Page(file.read_text()) for file in site.rglob("*.html")}
    fetched = [(file, url) for file, page in pages.items() for url in page.fetched]
    fetched += [(file, url) for file in site.rglob("*.css") for url in _CSS_URL.findall(file.read_text())]
    foreign = {f"{file.relative_to(site)} fetches {url}" for file, url in fetched if _is_foreign(url)}
    broken = {
        f"{file.relative_to(site)} links to {url}"
        for file, page in pages.items()
        for url in (*page.links, *page.fetched)
        if not (urlsplit(url).scheme or _is_foreign(url) or _leads_somewhere(site, file, url, pages))
    }
    return sorted(foreign | broken)


def _is_foreign(reference: str) -> bool:
    return urlsplit(reference).scheme in {"http", "https"} or reference.startswith("//")


def _leads_somewhere(site: Path, file: Path, reference: str, pages: dict[Path, _Page]) -> bool:
    url = urlsplit(reference)
    start = site if url.path.startswith("/") else file.parent
    found = (start / unquote(url.path).lstrip("/")).resolve() if url.path else file
    if found.is_dir():
        found /= "index.html"
    if not found.is_file():
        return False
    return found not in pages or unquote(url.fragment) in pages[found].anchors
