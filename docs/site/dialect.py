"""Markdown as repositories show it (CommonMark) in the words of Python-Markdown, which Zensical speaks.

Two things differ in what the documentation uses: a list or a table may follow a paragraph without a blank
line, and what belongs to an item of a list is indented as far as the item's text, not by four spaces.
"""

from __future__ import annotations

import re

__all__ = ["FENCE", "python_markdown"]

FENCE = re.compile(r"^ *(```+|~~~+)")

_INDENTATION = 4
_ITEM = re.compile(r"(?:[-*]|\d+\.) +(?=\S)")
_PARAGRAPH = re.compile(r"(?!#|<!--|\|)\S")


def python_markdown(text: str) -> str:
    """The same text, to be read by Python-Markdown."""
    lines: list[str] = []
    fence, indented, several = "", 0, False  # whether an item of this list has several paragraphs
    for line in text.splitlines(keepends=True):
        before = lines[-1] if lines else ""
        mark, item = FENCE.match(line), _ITEM.match(line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        elif not fence and item:
            indented = item.end()
        elif not fence and line.strip() and not line[0].isspace():
            indented, several = 0, False
        several = several or (indented > 0 and not line.strip())
        follows = _PARAGRAPH.match(before) and not _ITEM.match(before)
        if not fence and before.strip() and ((item and several) or ((item or line[0] == "|") and follows)):
            lines.append("\n")
        inside = indented and line.startswith(" " * indented) and not item
        lines.append(" " * max(0, _INDENTATION - indented) + line if inside else line)
    return "".join(lines)
