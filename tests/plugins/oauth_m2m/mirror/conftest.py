"""A change stream that a test writes, and a clock that it sets."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from plugins.oauth_m2m.stores import ChangeStore, ChangeStream
from tests.plugins.oauth_m2m.conftest import BOT

if TYPE_CHECKING:
    from tornado.ioloop import IOLoop

    from plugins.oauth_m2m.models import Change, Client


@dataclasses.dataclass
class Clock:
    """Tells the time that it was set to."""

    time: float = 1000.0

    def __call__(self) -> float:
        return self.time


class Feed(ChangeStore):
    """Streams what a test tells it; ``opened`` are the tokens that streams were to go on from.

    ``refusals`` are raised, one by one, instead of opening a stream, and ``opening`` is called when one is
    open.
    """

    def __init__(self) -> None:
        self.opened: list[object] = []
        self.refusals: list[Exception] = []
        self.opening: Callable[[], object] = lambda: None
        self.items: asyncio.Queue[tuple[Change | Exception | None, float]] = asyncio.Queue()
        self.told = 0

    def tell(self, item: Change | Exception | None, *, heard_at: float = float("-inf")) -> None:
        """Let the stream return a change or a quarter of a second without (None), or raise."""
        self.items.put_nowait((item, heard_at))

    @contextlib.asynccontextmanager
    async def watch(self, after: Mapping[str, Any] | None = None) -> AsyncIterator[ChangeStream]:
        self.opened.append(after)
        if self.refusals:
            raise self.refusals.pop(0)
        self.opening()
        yield Fed(self)


class Fed(ChangeStream):
    """A stream of a `Feed`; its token is how many items were told."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.heard_at = float("-inf")

    @property
    def token(self) -> Mapping[str, Any]:
        return {"told": self.feed.told}

    async def next(self) -> Change | None:
        item, heard_at = await self.feed.items.get()
        self.feed.told += 1
        if isinstance(item, Exception):
            raise item
        self.heard_at = heard_at
        return item


@pytest.fixture
def bot() -> Client:
    return BOT


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def feed(io_loop: IOLoop) -> Feed:
    return Feed()


Until = Callable[[Callable[[], object]], Any]


@pytest.fixture
def until() -> Until:
    """Let others run until something is so."""

    async def wait(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - what the engines send comes when it comes
                await asyncio.sleep(0.001)

    return wait
