"""bcrypt for secrets and passwords: off the event loop, bounded, and the same work for every failure.

::

    hasher = PasswordHasher(cost=12)
    stored = await hasher.hash(b"correct horse battery staple")
    await hasher.verify([b"wrong"], [stored])    # None, after one bcrypt
    await hasher.verify([b"wrong"], [])          # None, after one bcrypt: nobody of that name
    hasher.close()

A hash is ``$bcrypt-sha256$v=2,t=2b,r=12$<salt, 22>$<digest, 31>``, passlib's ``bcrypt_sha256``. bcrypt reads
72 bytes and stops at a NUL, so what it gets is the base64 of HMAC-SHA256, keyed by the salt, over the secret.

What other tools made of the secret alone, ``$2b$12$<salt><digest>``, is verified as well. Many of them cut a
secret at 72 bytes, so a longer candidate never matches such a hash, after the same work.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import os
import re
import sys
import threading
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import bcrypt

from station.errors import ServiceUnavailable
from station.fair_pool import FairPool, PoolFull

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

__all__ = ["PasswordHasher", "StoredHash", "Verified", "parse_hash"]

_WORKERS = min(4, os.cpu_count() or 1)
_QUEUE_SIZE = 64
_NICENESS = 10
_BCRYPT_BYTES = 72

# 22 characters hold 132 bits and the salt has 128: the last character is one of four.
_SALT = re.compile(r"[./A-Za-z0-9]{21}[.Oeu]")
_HASH = re.compile(
    r"\$bcrypt-sha256\$v=2,t=2b,r=(?P<cost>[1-9][0-9]?)"
    rf"\$(?P<salt>{_SALT.pattern})\$(?P<digest>[./A-Za-z0-9]{{31}})"
)
_RAW_HASH = re.compile(
    rf"\$2b\$(?P<cost>[0-9]{{2}})\$(?P<salt>{_SALT.pattern})(?P<digest>[./A-Za-z0-9]{{31}})"
)

T = TypeVar("T")

_Groups = dict[tuple[str, int, bool], list[tuple[int, str]]]
"""Salt, cost and raw -> the digests made with them, each with its place in the caller's sequence."""


@dataclass(frozen=True, slots=True)
class StoredHash:
    """The parts of a hash; ``raw`` for ``$2b$``, which bcrypt made of the secret itself."""

    salt: str = field(repr=False)
    cost: int
    digest: str = field(repr=False)
    raw: bool


@dataclass(frozen=True, slots=True)
class Verified:
    """Which ``candidate`` matched which ``hash``, by index.

    ``outdated`` when that hash has another cost, or is raw; ``ended`` when it is no success.
    """

    candidate: int
    hash: int
    outdated: bool
    ended: bool = False


class PasswordHasher:
    """Makes and verifies hashes at ``cost`` in ``workers`` threads, with ``queue_size`` more jobs waiting.

    Both methods raise `station.errors.ServiceUnavailable` at once when all places are taken. Who asks a lot,
    by ``source``, keeps nobody else waiting: see `station.fair_pool.FairPool`.
    """

    def __init__(self, cost: int = 12, *, workers: int = _WORKERS, queue_size: int = _QUEUE_SIZE) -> None:
        self.cost = cost
        self._dummy_salt = self.new_salt()
        self._pool = FairPool(workers, queue_size=queue_size, name="bcrypt", initializer=_lower_priority)

    @property
    def pool(self) -> FairPool:
        """The threads that it works in."""
        return self._pool

    def close(self) -> None:
        """End the threads after the jobs they are at; jobs that still wait are cancelled."""
        self._pool.close()

    def check(self, source: str = "") -> None:
        """Raise `station.errors.ServiceUnavailable` now if another job of this source would be refused."""
        try:
            self._pool.check(source)
        except PoolFull as error:
            raise _full() from error

    @staticmethod
    def new_salt() -> str:
        """A random salt of 128 bits, 22 characters; hashes that shall cost one bcrypt together share it."""
        return bcrypt.gensalt().decode()[-22:]

    async def hash(self, secret: bytes, *, salt: str | None = None, cost: int | None = None) -> str:
        """The hash to store for ``secret``, of any length and content.

        ``salt`` and ``cost`` are those of hashes that it shall share one bcrypt with: new and the configured
        one unless given.
        """
        salt = self.new_salt() if salt is None else salt
        cost = self.cost if cost is None else cost
        if not _SALT.fullmatch(salt):
            raise ValueError("not a bcrypt salt of 22 characters")
        digest = await self._run(partial(_digest, secret, salt, cost))
        return f"$bcrypt-sha256$v=2,t=2b,r={cost}${salt}${digest}"

    async def verify(
        self,
        candidates: Sequence[bytes],
        hashes: Sequence[str],
        *,
        ended: Collection[int] = (),
        source: str = "",
    ) -> Verified | None:
        """The first candidate that one of ``hashes`` was made from, or None; ``source`` says who asks.

        All candidates are tried in one job, in one place of the queue. Hashes that share salt and cost take
        one bcrypt per candidate together. None always costs one bcrypt of the configured cost per candidate:
        no hashes are verified against a dummy, and those of a lower cost are topped up. (Several salts or a
        higher cost take more.) A match with one of the ``ended`` hashes, by index, is told after the work of
        None. `ValueError` for a stored hash in neither format.
        """
        groups = _group(hashes)
        top_up = list(_top_up(self.cost, [cost for _, cost, _ in groups]))

        def work() -> Verified | None:
            found = None
            for index, candidate in enumerate(candidates):
                for (salt, cost, raw), members in groups.items():
                    digest = _digest(candidate, salt, cost, raw=raw)
                    matches = [place for place, stored in members if hmac.compare_digest(stored, digest)]
                    if live := [place for place in matches if place not in ended]:
                        return Verified(index, live[0], outdated=raw or cost != self.cost)
                    if matches and found is None:
                        found = Verified(index, matches[0], outdated=False, ended=True)
                for cost in top_up:
                    _digest(candidate, self._dummy_salt, cost)
            return found

        return await self._run(work, source)

    async def _run(self, work: Callable[[], T], source: str = "") -> T:
        try:
            job = self._pool.submit(work, source=source)
        except PoolFull as error:
            raise _full() from error
        except RuntimeError as error:  # closed
            raise ServiceUnavailable("Station is stopping; try again later.", retry_after=1) from error
        # The job gives its place back, not the caller, who may be cancelled: a waiting job then ends at
        # once, a running one keeps its place until its thread is free.
        return await asyncio.wrap_future(job)


def _full() -> ServiceUnavailable:
    return ServiceUnavailable("Too many secrets are being verified; try again later.", retry_after=1)


def parse_hash(stored: str) -> StoredHash:
    """The parts of a hash in one of the two formats; `ValueError`, which does not repeat it, for another."""
    raw = stored.startswith("$2b$")
    parsed = (_RAW_HASH if raw else _HASH).fullmatch(stored)
    if not parsed or not 4 <= int(parsed["cost"]) <= 31:
        raise ValueError(
            "A stored hash is not in the format $bcrypt-sha256$v=2,t=2b,r=COST$SALT$DIGEST, nor in bcrypt's "
            "own, $2b$COST$SALTDIGEST"
        )
    return StoredHash(parsed["salt"], int(parsed["cost"]), parsed["digest"], raw)


def _digest(secret: bytes, salt: str, cost: int, *, raw: bool = False) -> str:
    """What is compared with a stored digest: nothing that matches any for a raw secret that is too long."""
    too_long = raw and len(secret) > _BCRYPT_BYTES
    key = secret if raw and not too_long else base64.b64encode(hmac.digest(salt.encode(), secret, "sha256"))
    digest = bcrypt.hashpw(key, f"$2b${cost:02}${salt}".encode()).decode()[-31:]
    return "" if too_long else digest


def _group(hashes: Sequence[str]) -> _Groups:
    groups: _Groups = defaultdict(list)
    for place, stored in enumerate(hashes):
        parsed = parse_hash(stored)
        groups[parsed.salt, parsed.cost, parsed.raw].append((place, parsed.digest))
    return groups


def _top_up(target: int, costs: Sequence[int]) -> Iterator[int]:
    """The costs whose work, added to that of ``costs``, is the work of one bcrypt of cost ``target``.

    A cost of n is 2**n rounds, so these are the bits of what is missing; with nothing done, ``target``.
    """
    missing = max(0, 2**target - sum(2**cost for cost in costs))
    return (bit for bit in range(missing.bit_length()) if missing >> bit & 1)


def _lower_priority() -> None:
    """Let the event loop go first: on Linux niceness belongs to the thread, elsewhere to the process."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        # An initializer that raises would break the pool; a sandbox may forbid the call.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICENESS)
