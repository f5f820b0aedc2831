"""RequestCounts: how many requests were answered, how, and how quickly."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from station.metrics.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from station.handlers import BaseHandler, Route

__all__ = ["RequestCounts"]

UNMATCHED = "unmatched"
"""The route of all paths that there are none for."""

_OTHER = "other"
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.")  # an escape, a set, or a character

_Key = tuple[type, "str | None", int]


class _Series:
    __slots__ = ("count", "durations")

    def __init__(self) -> None:
        self.count = 0
        self.durations = Histogram()


class RequestCounts:
    """Counts what an application with these ``routes`` has answered, by route, method and status.

    A route is its pattern, with ``{}`` for what may vary: what a client sends is never a label. The durations
    leave out answers that were streamed, which take as long as somebody wants to listen.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes: dict[type, list[Route]] = {}
        for route in routes:
            self._routes.setdefault(route.handler_class, []).append(route)
        self._series: dict[tuple[str, str, int], _Series] = {}
        self._known: dict[_Key, _Series] = {}

    def note(self, handler: BaseHandler) -> None:
        """A request was answered."""
        request = handler.request
        key = (type(handler), request.method, handler.get_status())
        series = self._known.get(key)
        if series is None:
            series = self._find(handler, key)
        series.count += 1
        if not handler.streams:
            # by the wall clock, which may be set back meanwhile; no sum of durations falls
            series.durations.observe(max(0.0, request.request_time()))

    def route(self, handler_class: type, path: str) -> str:
        """The route by which a handler of this class answers the path."""
        routes = self._routes.get(handler_class, ())
        return next((_label(one.regex.pattern) for one in routes if one.regex.match(path)), UNMATCHED)

    def counts(self) -> Iterator[tuple[tuple[str, str, str], int]]:
        """Route, method and status, and how many."""
        for (route, method, status), series in self._series.items():
            yield (route, method, str(status)), series.count

    def durations(self) -> dict[tuple[str, ...], Histogram]:
        """How long they took, by route and method."""
        found: dict[tuple[str, ...], Histogram] = {}
        for (route, method, _), series in self._series.items():
            found.setdefault((route, method), Histogram()).add(series.durations)
        return found

    def _find(self, handler: BaseHandler, key: _Key) -> _Series:
        handler_class, method, status = key
        supported = method in handler.SUPPORTED_METHODS  # the others are whatever a client sends
        label = self.route(handler_class, handler.request.path)
        series = self._series.setdefault((label, str(method) if supported else _OTHER, status), _Series())
        if supported and len(self._routes.get(handler_class, ())) <= 1:
            self._known[key] = series
        return series


def _label(pattern: str) -> str:
    label, depth = "", 0
    for part in _TOKEN.findall(pattern.removesuffix("$")):
        if part == "(":
            label += "" if depth else "{}"
            depth += 1
        elif part == ")":
            depth -= 1
        elif not depth:
            label += part[1:] if part[0] == "\\" and not part[1].isalnum() else part
    return label
