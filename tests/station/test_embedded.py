"""The embedded engines as real processes: who starts, shares, replaces and stops them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import IO, TYPE_CHECKING, cast

import psutil  # type: ignore[import-untyped]  # it has no type stubs of its own
import pytest
from pymongo import MongoClient, WriteConcern
from pymongo.errors import PyMongoError
from redis import Redis
from redis.exceptions import RedisError

from station.embedded import Endpoints, embedded_engines
from station.embedded.engine import SECANTUS, VALKEY
from station.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

USER = """
import asyncio, sys
from pathlib import Path
from station.embedded import embedded_engines

async def main():
    async with embedded_engines(Path(sys.argv[1])) as endpoints:
        print(endpoints.mongodb_uri, endpoints.redis_url, flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


class User:
    """Another process inside the context, as a Station or a command would be."""

    def __init__(self, data_dir: Path) -> None:
        command = [sys.executable, "-c", USER, str(data_dir)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def endpoints(self) -> Endpoints:
        """Wait until it is inside the context."""
        return Endpoints(*cast("IO[str]", self.process.stdout).readline().split())

    def leave(self) -> None:
        self.process.communicate()
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A data directory whose processes do not outlive the test, even if it fails."""
    path = tmp_path / "with a space"
    yield path
    for process in processes_of(path) + engines_of(path):
        process.kill()


def processes_of(*paths: Path) -> list[psutil.Process]:
    """The living processes with one of the paths in their command line."""
    words = set(map(str, paths))
    processes = psutil.process_iter(["cmdline"])
    return [process for process in processes if words.intersection(process.info["cmdline"] or ())]


def engines_of(data_dir: Path) -> list[psutil.Process]:
    """The engines that work in a data directory, whatever the port file says."""
    return processes_of(data_dir / "mongodb", data_dir / "redis")


def pids(data_dir: Path) -> dict[str, int]:
    places = json.loads((data_dir / "engines.json").read_text())
    return {name: place["pid"] for name, place in places.items()}


def write(endpoints: Endpoints, value: str) -> None:
    """One acknowledged write to each engine, with the weakest acknowledgement there is."""
    with MongoClient[dict[str, str]](endpoints.mongodb_uri) as mongodb:
        things = mongodb.test.get_collection("things", write_concern=WriteConcern(w=1, j=False))
        things.insert_one({"_id": value})
    with Redis.from_url(endpoints.redis_url) as redis:
        redis.set(value, value)


def holds(endpoints: Endpoints, value: str) -> bool:
    """Whether both engines answer and know the value."""
    with MongoClient[dict[str, str]](endpoints.mongodb_uri) as mongodb:
        known = mongodb.test.things.find_one({"_id": value}) is not None
    with Redis.from_url(endpoints.redis_url) as redis:
        return known and redis.get(value) == value.encode()


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        try:
            if condition():
                return True
        except (PyMongoError, RedisError):
            pass
        time.sleep(0.05)
    return False


def test_both_engines_answer_and_keep_their_files_private(data_dir: Path) -> None:
    user = User(data_dir)
    endpoints = user.endpoints()
    write(endpoints, "a")
    assert holds(endpoints, "a")
    with MongoClient[dict[str, object]](endpoints.mongodb_uri) as mongodb:
        assert "setName" in mongodb.admin.command("hello"), (
            "transactions and change streams need a replica set"
        )
    assert data_dir.stat().st_mode & 0o777 == 0o700
    assert (data_dir / "engines.json").stat().st_mode & 0o777 == 0o600
    user.leave()


def test_data_survives_a_full_restart_and_no_process_does(data_dir: Path) -> None:
    first = User(data_dir)
    write(first.endpoints(), "a")
    first.leave()
    assert engines_of(data_dir) == []
    second = User(data_dir)
    assert holds(second.endpoints(), "a")
    second.leave()


def test_an_attached_process_uses_the_same_engines_and_leaves_them_running(data_dir: Path) -> None:
    owner = User(data_dir)
    endpoints = owner.endpoints()
    before = pids(data_dir)
    guest = User(data_dir)
    assert guest.endpoints() == endpoints
    guest.leave()
    assert pids(data_dir) == before
    write(endpoints, "a")
    owner.leave()
    assert engines_of(data_dir) == []


def test_the_last_to_leave_stops_the_engines_whoever_started_them(data_dir: Path) -> None:
    owner = User(data_dir)
    endpoints = owner.endpoints()
    guest = User(data_dir)
    guest.endpoints()
    owner.leave()
    write(endpoints, "a")
    guest.leave()
    assert engines_of(data_dir) == []


def test_processes_that_start_together_share_one_pair_of_engines(data_dir: Path) -> None:
    users = [User(data_dir) for _ in range(3)]
    assert len({user.endpoints() for user in users}) == 1
    assert len(engines_of(data_dir)) == 2
    for user in users:
        user.leave()
    assert engines_of(data_dir) == []


def test_engines_that_survived_a_killed_owner_are_taken_over(data_dir: Path) -> None:
    owner = User(data_dir)
    endpoints = owner.endpoints()
    before = pids(data_dir)
    owner.kill()
    heir = User(data_dir)
    assert heir.endpoints() == endpoints
    assert pids(data_dir) == before
    heir.leave()
    assert engines_of(data_dir) == []


def test_a_hung_engine_is_replaced_at_the_next_start(data_dir: Path) -> None:
    owner = User(data_dir)
    write(owner.endpoints(), "a")
    before = pids(data_dir)
    owner.kill()
    os.kill(before["redis"], signal.SIGSTOP)
    heir = User(data_dir)
    assert holds(heir.endpoints(), "a")
    assert pids(data_dir)["mongodb"] == before["mongodb"]
    assert pids(data_dir)["redis"] != before["redis"]
    heir.leave()


def test_killed_engines_come_back_on_their_ports_with_every_acknowledged_write(data_dir: Path) -> None:
    owner = User(data_dir)
    endpoints = owner.endpoints()
    guest = User(data_dir)
    guest.endpoints()
    owner.kill()  # the one that started them is gone: the guest watches as well
    before = pids(data_dir)
    write(endpoints, "a")
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: holds(endpoints, "a"))
    assert not set(pids(data_dir).values()) & set(before.values())
    guest.leave()
    assert engines_of(data_dir) == []


def test_a_pid_that_now_belongs_to_somebody_else_is_left_alone(data_dir: Path) -> None:
    data_dir.mkdir()
    sleep = [sys.executable, "-c", "import time; time.sleep(60)", str(data_dir / "mongodb")]
    with subprocess.Popen(sleep) as stranger:
        place = {"pid": stranger.pid, "port": 20000}
        (data_dir / "engines.json").write_text(json.dumps({"mongodb": place, "redis": place}))
        user = User(data_dir)
        user.endpoints()
        assert stranger.pid not in pids(data_dir).values()
        user.leave()
        assert stranger.poll() is None
        stranger.kill()


def test_an_unreadable_port_file_is_replaced(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "engines.json").write_text("")
    user = User(data_dir)
    write(user.endpoints(), "a")
    user.leave()


def test_an_error_inside_the_context_leaves_no_process(data_dir: Path) -> None:
    async def fail() -> None:
        async with embedded_engines(data_dir):
            assert len(engines_of(data_dir)) == 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(fail())
    assert engines_of(data_dir) == []


def test_a_cancelled_start_leaves_no_process(data_dir: Path) -> None:
    async def start() -> None:
        async with embedded_engines(data_dir):
            pytest.fail("cancelled before it was ready")

    async def cancel() -> None:
        starting = asyncio.create_task(start())
        while len(engines_of(data_dir)) < 2:  # noqa: ASYNC110 (another process has no event to wait for)
            await asyncio.sleep(0.001)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)

    asyncio.run(cancel())
    assert engines_of(data_dir) == []


def test_an_engine_that_exits_stops_the_start_with_its_last_words(data_dir: Path) -> None:
    broken = replace(VALKEY, arguments=(*VALKEY.arguments, "--no-such-setting", "1"))

    async def start() -> None:
        async with embedded_engines(data_dir, redis=broken):
            pytest.fail("it cannot have started")

    with pytest.raises(StartError, match=r"(?s)valkey-server did not start.*no-such-setting"):
        asyncio.run(start())
    assert engines_of(data_dir) == []


def test_missing_packages_are_named_with_the_command_that_installs_them(data_dir: Path) -> None:
    absent = replace(SECANTUS, package="no-such-distribution")

    async def start() -> None:
        async with embedded_engines(data_dir, mongodb=absent):
            pytest.fail("it cannot have started")

    with pytest.raises(StartError) as caught:
        asyncio.run(start())
    assert caught.value.problems == (
        "The embedded stores need no-such-distribution: run pip install 'station[embedded]'.",
    )
    assert not data_dir.exists()
