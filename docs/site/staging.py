"""Lays out what the site is made from: the pages, the reference, and the files that pages link to."""

from __future__ import annotations

import os
import re
import shutil
import tomllib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docs.site.dialect import FENCE, python_markdown
from docs.site.sources import Sources

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["CONFIGURATION", "ROOT", "stage", "wrong_in_navigation"]

ROOT = Path(__file__).parents[2]
CONFIGURATION = Path(__file__).with_name("zensical.toml")

_DOCS = ROOT / "docs"
_TARGET = re.compile(r"(?<=\]\()(?P<path>[^)#\s:]+)(?P<rest>#[^)\s]*)?(?=\))")


def stage(into: Path, generated: Mapping[str, str]) -> None:
    """Copy ``docs/`` there, write the ``generated`` pages and those of the files that are linked to.

    A link that leaves ``docs/``, which is good where the repository is read, leads to a page of that file.
    """
    sources = Sources(ROOT)
    for file in sorted(_DOCS.rglob("*")):
        if not file.is_file() or file.is_relative_to(CONFIGURATION.parent) or "__pycache__" in file.parts:
            continue
        copy = into / file.relative_to(_DOCS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".md":
            linked = _linked(file.read_text(), file, copy.relative_to(into), sources)
            copy.write_text(python_markdown(linked))
        else:
            shutil.copy(file, copy)
    for name, text in generated.items():
        page = into / name
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text)
    for source, page in sources:
        copy = into / page
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(python_markdown(_linked(sources.text(source), source, page, sources)))


def wrong_in_navigation(staged: Path) -> list[str]:
    """What is wrong with the navigation, which names every page once; those of linked files may be absent."""
    project: dict[str, Any] = tomllib.loads(CONFIGURATION.read_text())["project"]
    named = Counter(_pages(project["nav"]))
    pages = {str(page.relative_to(staged)) for page in staged.rglob("*.md")}
    own = {page for page in pages if not page.startswith(Sources.DIRECTORY)}
    missing = [f"{page} is missing" for page in sorted(own - named.keys())]
    absent = [f"{page} does not exist" for page in sorted(named.keys() - pages)]
    return missing + absent + [f"{page} is there {n} times" for page, n in sorted(named.items()) if n > 1]


def _pages(navigation: Any) -> Iterator[str]:
    if isinstance(navigation, str):
        yield navigation
    else:
        for item in navigation.values() if isinstance(navigation, dict) else navigation:
            yield from _pages(item)


def _linked(text: str, file: Path, page: Path, sources: Sources) -> str:
    """The text of ``file`` as the site's ``page``: links to files of the repository lead to their pages."""

    def target(match: re.Match[str]) -> str:
        linked = (file.parent if file.is_file() else file) / match["path"]
        found = Path(os.path.normpath(linked))
        if not found.exists():
            return match[0]  # the generator says what is wrong
        if (found / "index.md").exists():
            found /= "index.md"
        if found.is_relative_to(_DOCS) and not found.is_dir():
            there = found.relative_to(_DOCS)
        else:
            there = sources.page_of(found)
        return os.path.relpath(there, page.parent) + (match["rest"] or "")

    lines: list[str] = []
    fence = ""
    for line in text.splitlines(keepends=True):
        mark = FENCE.match(line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        lines.append(line if fence or mark else _TARGET.sub(target, line))
    return "".join(lines)
