"""Pages for the files and directories of the repository that documentation links to."""

from __future__ import annotations

import re
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Sources"]

_LANGUAGES = {".py": "python", ".mjs": "js", ".sh": "sh", ".toml": "toml", ".cfg": "ini", ".json": "json"}
_NOT_SHOWN = re.compile(r"__pycache__|\.egg-info|^build$|^\.(?!env\.example$)")
_UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"


class Sources:
    """Gives files their pages; iterating yields all, also those that are asked for meanwhile."""

    DIRECTORY = "source"

    def __init__(self, root: Path) -> None:
        self._root = root
        self._pages: dict[Path, Path] = {}
        self._waiting: deque[Path] = deque()

    def __iter__(self) -> Iterator[tuple[Path, Path]]:
        while self._waiting:
            source = self._waiting.popleft()
            yield source, self._pages[source]

    def page_of(self, source: Path) -> Path:
        """The page of a file or a directory, below the site's root."""
        if source not in self._pages:
            # a name that begins with a dot would be left out
            parts = [part.lstrip(".") for part in source.relative_to(self._root).parts]
            page = Path(self.DIRECTORY, *parts)
            name = "index" if source.is_dir() else page.name.removesuffix(".md")
            page = (page if source.is_dir() else page.parent) / f"{name}.md"
            self._pages[source] = page
            self._waiting.append(source)
        return self._pages[source]

    def text(self, source: Path) -> str:
        """The page's text: a directory's README and files, a page as it is, any other file as code."""
        if source.is_dir():
            return _UNSEARCHED + self._directory(source)
        if source.suffix == ".md":
            return _UNSEARCHED + source.read_text()
        code = source.read_text().rstrip("\n")
        title = source.relative_to(self._root)
        return f"{_UNSEARCHED}# `{title}`\n\n````{_LANGUAGES.get(source.suffix, 'text')}\n{code}\n````\n"

    def _directory(self, directory: Path) -> str:
        files = [file.relative_to(directory) for file in sorted(directory.rglob("*")) if file.is_file()]
        shown = [file for file in files if not any(_NOT_SHOWN.search(part) for part in file.parts)]
        readme = directory / "README.md"
        text = readme.read_text() if readme.exists() else f"# `{directory.relative_to(self._root)}/`\n"
        return text + "\n## Files\n\n" + "".join(f"- [{name}]({name})\n" for name in shown)
