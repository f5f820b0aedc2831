"""One round trip to Redis for all that one turn of the event loop asks of it.

A command that is sent alone costs more CPU than everything else that a request does; in company it costs a
tenth of that. So commands wait until the turn is over and then travel together, and what several requests add
to one key is added up before::

    turn = pipeline.turn()
    counted = turn.count("throttle:login:203.0.113.9", window_ms=60_000)
    turn.set("client-token:station-bot:3f0c", detail, seconds=3600)
    await turn.flushed()     # all of this is acknowledged
    counted.hits

A turn takes commands until something is awaited. If its round trip fails, exactly the requests that wait for
it fail. Every command is about one key, as a cluster demands.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import orjson
from redis.asyncio import RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from station.errors import ServiceUnavailable
from station.metrics import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

__all__ = ["Counted", "Read", "Turn", "TurnPipeline"]

_SECONDS = 2.0
_IN_FLIGHT = 2
_MAX_REQUESTS = 256
_AT_ONCE = 64
_SIZES = (2, 5, 10, 25, 50, 100, 250, 500, 1000)

# All commands of a turn as one: a reply for each costs more CPU than the command, and so does an argument.
# KEYS are the keys, and the one argument holds for each, in JSON, its command and what follows the key.
_SCRIPT = """
local commands, replies = cjson.decode(ARGV[1]), {}
for number, key in ipairs(KEYS) do
  local command = commands[number]
  replies[number] = redis.call(command[1], key, unpack(command, 2))
end
return replies
"""

_Command = tuple[str, str, tuple[str | int, ...]]
"""A command's name, its key, and its further arguments."""


class Counted:
    """A hit that is counted: once its turn is flushed, ``hits`` says the how manieth of its window it was."""

    __slots__ = ("hits",)

    def __init__(self) -> None:
        self.hits = 0


class Read:
    """A value that is read: it is in ``value`` once its turn is flushed."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: bytes | None = None


class _Window:
    __slots__ = ("counted", "window_ms")

    def __init__(self, window_ms: int) -> None:
        self.window_ms = window_ms
        self.counted: list[Counted] = []


class _Index:
    __slots__ = ("members", "now", "seconds")

    def __init__(self) -> None:
        self.members: dict[str, int] = {}
        self.now: int | None = None
        self.seconds = 0


class Turn:
    """What one turn of the loop asks of Redis."""

    __slots__ = ("_failure", "_indexes", "_reads", "_sets", "_state", "_windows", "requests", "started_at")

    def __init__(self, started_at: float) -> None:
        self.started_at = started_at
        self.requests: list[asyncio.Future[None]] = []
        self._state = "open"
        self._failure: BaseException | None = None
        self._windows: dict[str, _Window] = {}
        self._reads: dict[str, Read] = {}
        self._indexes: dict[str, _Index] = {}
        self._sets: list[_Command] = []

    def count(self, key: str, *, window_ms: int) -> Counted:
        """Count a hit in the window that the first one opened; see `Counted`."""
        self._check_open()
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window(window_ms)
        window.counted.append(counted := Counted())
        return counted

    def get(self, key: str) -> Read:
        """Read a value; see `Read`."""
        self._check_open()
        return self._reads.setdefault(key, Read())

    def set(self, key: str, value: str, *, seconds: int) -> None:
        """Set a value that expires after so many seconds, which Redis counts.

        A time of day would be by our clock: what is past by Redis's own it acknowledges and does not keep.
        """
        self._check_open()
        self._sets.append(("SET", key, (value, "EX", seconds)))

    def add(self, key: str, member: str, *, score: int, seconds: int, now: int | None = None) -> None:
        """Add a member to a sorted set, which then lives for ``seconds``; scores up to ``now`` leave it."""
        self._check_open()
        index = self._indexes.get(key)
        if index is None:
            index = self._indexes[key] = _Index()
        index.members[member] = score
        index.seconds = max(index.seconds, seconds)
        if now is not None:
            index.now = now

    async def flushed(self) -> None:
        """Return once Redis has acknowledged everything; `ServiceUnavailable` if it has not."""
        if self._state != "over":
            request: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.requests.append(request)
            await request
        if self._failure is not None:
            raise ServiceUnavailable("A store that Station needs does not answer.") from self._failure

    def begin(self) -> tuple[list[_Command], list[Callable[[Any], None]]]:
        """Close the turn: its commands, and who takes the replies of the first of them."""
        self._state = "sent"
        commands: list[_Command] = []
        takers: list[Callable[[Any], None]] = []
        for key, window in self._windows.items():
            commands.append(("INCRBY", key, (len(window.counted),)))
            takers.append(_numbering(window.counted))
        for key, read in self._reads.items():
            commands.append(("GET", key, ()))
            takers.append(_keeping(read))
        # sent each time: a connection lost after INCRBY would otherwise leave a count that never expires
        commands += [("PEXPIRE", key, (one.window_ms, "NX")) for key, one in self._windows.items()]
        commands += self._sets
        for key, index in self._indexes.items():
            pairs: list[str | int] = [
                part for member, score in index.members.items() for part in (score, member)
            ]
            commands.append(("ZADD", key, tuple(pairs)))
            commands.append(("EXPIRE", key, (index.seconds,)))
            if index.now is not None:
                commands.append(("ZREMRANGEBYSCORE", key, ("-inf", index.now)))
        return commands, takers

    def end(self, failure: BaseException | None) -> None:
        """Let everybody go on who waits for this turn."""
        self._state, self._failure = "over", failure
        self._wake(0)

    def _wake(self, first: int) -> None:
        """Let so many requests go on in a turn of the loop, that they do not hold up all others.

        Fewer would ask for more in smaller turns, which costs more than it saves.
        """
        following = first + _AT_ONCE
        for request in self.requests[first:following]:
            if not request.done():  # unless its request has ended
                request.set_result(None)
        if following < len(self.requests):
            asyncio.get_running_loop().call_soon(self._wake, following)

    def _check_open(self) -> None:
        if self._state != "open":
            raise RuntimeError("this turn is over: take the next one from the pipeline")


class TurnPipeline:
    """Sends to ``redis`` what each turn of the loop asks for, when the turn is over.

    A turn that Redis has not acknowledged after two seconds has failed. ``durations`` are the seconds until a
    turn that was sent was acknowledged, ``sizes`` its commands, and ``failures`` is how many were not.
    """

    def __init__(self, redis: Redis | RedisCluster) -> None:
        self._redis = redis
        # the keys of one script must be in one slot of a cluster
        self._script = None if isinstance(redis, RedisCluster) else redis.register_script(_SCRIPT)
        self._turn: Turn | None = None
        self._in_flight = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.durations = Histogram()
        self.sizes = Histogram(_SIZES)
        self.failures = 0

    def turn(self) -> Turn:
        """The turn that takes commands now."""
        turn = self._turn
        if turn is not None and len(turn.requests) < _MAX_REQUESTS:
            return turn
        if turn is not None:
            self._send(turn)
        loop = asyncio.get_running_loop()
        turn = self._turn = Turn(loop.time())
        # while several are under way the next one goes on collecting: it is sent when one of them is over
        if self._in_flight < _IN_FLIGHT:
            loop.call_soon(self._send, turn)
        return turn

    def _send(self, turn: Turn) -> None:
        if turn is not self._turn:
            return  # it was full and has left
        self._turn = None
        self._in_flight += 1
        task = asyncio.create_task(self._flush(turn))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _flush(self, turn: Turn) -> None:
        failure: BaseException | None = None
        try:
            sent_at = time.monotonic()
            commands, takers = turn.begin()
            self.sizes.observe(len(commands))
            async with asyncio.timeout_at(turn.started_at + _SECONDS):
                replies = await self._execute(commands)
            self.durations.observe(time.monotonic() - sent_at)
            for take, reply in zip(takers, replies, strict=False):  # the others are only acknowledgements
                take(reply)
        except (RedisError, RedisClusterException, OSError, TimeoutError) as error:
            failure = error
        except BaseException as error:
            failure = error
            raise
        finally:
            self._in_flight -= 1
            self.failures += failure is not None
            turn.end(failure)
            if self._turn is not None:
                self._send(self._turn)

    async def _execute(self, commands: list[_Command]) -> list[Any]:
        if self._script is not None:
            arguments = orjson.dumps([(name, *more) for name, _, more in commands])
            replies: list[Any] = await self._script([key for _, key, _ in commands], [arguments])
            return replies
        async with self._redis.pipeline(transaction=False) as pipe:
            for name, key, more in commands:
                pipe.execute_command(name, key, *more)
            return await pipe.execute()


def _numbering(counted: list[Counted]) -> Callable[[Any], None]:
    """Number the hits of one window, the last of which made it what the reply says."""

    def take(total: int) -> None:
        for number, one in enumerate(counted, start=total - len(counted) + 1):
            one.hits = number

    return take


def _keeping(read: Read) -> Callable[[Any], None]:
    def take(value: bytes | None) -> None:
        read.value = value

    return take
