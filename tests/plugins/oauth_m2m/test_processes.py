"""What a process that serves says of itself, and that it says it."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.processes import Processes
from plugins.oauth_m2m.services import services_of
from plugins.oauth_m2m.stores import ProcessStore
from station import __version__

if TYPE_CHECKING:
    from plugins.oauth_m2m.models import Process
    from station.app import Application
    from station.resources import Resources
    from tests.conftest import Wire


class ToldStore(ProcessStore):
    """Tells when a process has said something."""

    def __init__(self, resources: Resources) -> None:
        super().__init__(resources)
        self.said = asyncio.Event()

    async def say(self, process: Process) -> None:
        await super().say(process)
        self.said.set()


def made(app: Application, store: ProcessStore) -> Processes:
    services = services_of(app)
    return Processes(store, app, follower=services.follower, hasher=services.hasher)


@pytest.mark.gen_test
async def test_a_process_that_serves_says_how_it_is_until_it_ends(app: Application) -> None:
    store = ToldStore(app.resources)
    processes = made(app, store)
    async with processes.announcing(serving=True):
        await store.said.wait()
        said = {process.id: process for process in await store.list()}[processes.this.id]
        assert (said.pid, said.worker, said.version) == (os.getpid(), 0, __version__)
        assert (said.bcrypt_waiting, said.throttled) == (0, {})
        assert 0 <= said.silence < 15
        app.throttle.refusals["token"] += 2
        now = {process.id: process for process in await processes.all()}[processes.this.id]
        assert now.throttled == {"token": 2}
    assert processes.this.id not in {process.id for process in await store.list()}


@pytest.mark.gen_test
async def test_a_command_says_nothing(app: Application) -> None:
    store = ToldStore(app.resources)
    async with made(app, store).announcing(serving=False):
        await asyncio.sleep(0)
        assert not store.said.is_set()


@pytest.mark.gen_test
async def test_it_says_how_far_it_has_followed_mongodb(app: Application, wire: Wire) -> None:
    services, heard = services_of(app), asyncio.Event()
    services.follower.watch(lambda _change: heard.set())
    before = services.processes.this.position
    await wire.register()
    await heard.wait()
    assert services.processes.this.position > before
