"""Calls side by side: tasks share a token, and one of them replaces it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import load_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from station.config import Config
    from tests.conftest import Wire
    from tests.examples.clients.conftest import Access, Script, Work

EXAMPLES = Path(__file__).parents[3] / "examples" / "clients"
SECRET = "a-client-secret-for-the-tests-0123456789"


def load(file: str, url: str, client_id: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A Python script as a module, for who wants to use its parts."""
    for name, value in (("URL", url), ("CLIENT_ID", client_id), ("CLIENT_SECRET", SECRET)):
        monkeypatch.setenv(f"STATION_{name}", value)
    return load_file(EXAMPLES / file)


@contextlib.asynccontextmanager
async def tornado_calls(module: Any) -> AsyncIterator[Callable[[], Awaitable[str]]]:
    station = module.Station(module.URL, module.os.environ["STATION_CLIENT_ID"], SECRET)
    yield functools.partial(station.get, "/job")


@contextlib.asynccontextmanager
async def authlib_calls(module: Any) -> AsyncIterator[Callable[[], Awaitable[str]]]:
    async with module.connect() as client:
        await client.fetch_token()
        yield functools.partial(module.call, client, "/job")


@pytest.mark.gen_test(timeout=60)
@pytest.mark.parametrize(
    ("file", "calls"), [("tornado_client.py", tornado_calls), ("authlib_httpx.py", authlib_calls)]
)
async def test_tasks_share_a_token_and_one_replaces_it(
    file: str, calls: Any, wire: Wire, access: Access, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    client_id, _ = await wire.register(clientSecret=SECRET)
    async with calls(load(file, config.issuer, client_id, monkeypatch)) as call:
        await asyncio.gather(*(call() for _ in range(8)))
        assert access.tokens == 1
        await wire.admin("DELETE", f"/oauth-clients/{client_id}/tokens")
        await asyncio.gather(*(call() for _ in range(8)))
    assert (access.tokens, access.count("/job", 200), access.count("/job", 401)) == (2, 16, 8)


ONE_BY_ONE = re.compile(r"^for .*\n\Z", re.MULTILINE)
SIDE_BY_SIDE = """
const all = () => Promise.all(Array.from({ length: 8 }, () => station.get(path)))
await all()
await station.get(path)
await all()
"""


@pytest.mark.gen_test(timeout=60)
@pytest.mark.parametrize("script", ["openid_client.mjs", "simple_oauth2.mjs"], indirect=True)
async def test_calls_side_by_side_share_a_token_and_one_replaces_it(
    script: Script, work: Work, wire: Wire, access: Access
) -> None:
    client_id, _ = await wire.register(clientSecret=script.secret)
    program, changed = ONE_BY_ONE.subn(SIDE_BY_SIDE, script.file.read_text())
    assert changed == 1
    script.file = script.file.with_name(f"parallel_{script.file.name}")
    script.file.write_text(program)

    async def revoke(call: int) -> None:
        if call == 9:
            await wire.admin("DELETE", f"/oauth-clients/{client_id}/tokens")

    work.interrupt = revoke
    done = await script.run(client_id, times=0)
    assert done.status == 0, done.errors
    assert (access.tokens, access.count("/job", 200), access.count("/job", 401)) == (2, 17, 8)
