"""The figures of docs/performance.md: what one run has found, between two marks, and its plots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.plots import draw

if TYPE_CHECKING:
    from bench.report import Report

__all__ = ["publish"]

_DOCUMENT = Path("docs/performance.md")
_BEGIN, _END = "<!-- make bench writes from here -->", "<!-- to here -->"
_CAPTIONS = {
    "throughput": "Answers a second",
    "latency": "Time to the answer by percentile",
    "growth": "Memory of a worker over half a million issuances",
    "flatness": "Tokens a second by clients and by live tokens",
}


def publish(report: Report) -> Path:
    """Replace the figures and plots of the document; returns it."""
    text = _DOCUMENT.read_text(encoding="utf-8")
    before, rest = text.split(_BEGIN)
    _, after = rest.split(_END)
    plots = [
        f"![{_CAPTIONS[path.stem]}]({path.relative_to(_DOCUMENT.parent).as_posix()})"
        for path in draw(report, _DOCUMENT.parent / "performance")
    ]
    figures = "\n\n".join([report.markdown(), *plots])
    _DOCUMENT.write_text(f"{before}{_BEGIN}\n\n{figures}\n\n{_END}{after}", encoding="utf-8")
    return _DOCUMENT
