"""Each script of examples/clients as a process against a real Station."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Wire
    from tests.examples.clients.conftest import Access, Script, Work


@pytest.mark.gen_test(timeout=120)
async def test_a_token_serves_many_calls_until_it_is_revoked_also_while_station_is_busy(
    script: Script, work: Work, wire: Wire, access: Access
) -> None:
    client_id, _ = await wire.register(clientSecret=script.secret)

    async def interrupt(call: int) -> None:
        shown = script.command_lines()
        assert script.secret not in shown
        assert "Bearer" not in shown
        if call == 2:
            assert access.tokens == 1
        elif call > 2 and not access.count("/auth/token", 429):
            before = len(access.requests)
            answer = await wire.admin("DELETE", f"/oauth-clients/{client_id}/tokens")
            assert answer.status == 200
            while (await wire.token((client_id, script.secret))).status != 429:
                pass  # until the window is full; should it end too soon, the next call tries again
            del access.requests[before:]

    work.interrupt = interrupt
    done = await script.run(client_id, times=8)
    assert (done.status, done.errors) == (0, "")
    assert done.lines == 8 * ['{"worked_for": "station-bot"}']
    assert access.count("/auth/token", 429) >= 1
    assert 1 <= access.count("/job", 401) < 6
    # each dead token was tried once, and replaced by one
    assert access.tokens == 1 + access.count("/job", 401)


@pytest.mark.gen_test(timeout=120)
async def test_a_token_is_renewed_before_it_ends_and_no_earlier(
    script: Script, wire: Wire, access: Access
) -> None:
    client_id, _ = await wire.register(clientSecret=script.secret, tokenTtl=60)
    done = await script.run(client_id, times=3)
    assert (done.status, access.tokens) == (0, 1), done.errors
    access.requests.clear()
    # it lives for a minute, which is too short for who wants more than that: each call needs a new one
    done = await script.run(client_id, times=3, STATION_RENEW_BEFORE="61")
    assert (done.status, len(done.lines)) == (0, 3), done.errors
    assert access.tokens >= 3
    assert access.count("/job", 401) == 0


@pytest.mark.gen_test(timeout=120)
async def test_a_client_that_is_refused_asks_no_second_time(
    script: Script, work: Work, wire: Wire, access: Access
) -> None:
    client_id, _ = await wire.register(clientSecret=script.secret)

    async def disable(_call: int) -> None:
        await wire.admin("PATCH", f"/oauth-clients/{client_id}", {"isActive": False})

    work.interrupt = disable
    done = await script.run(client_id, times=3)
    assert (done.status != 0, len(done.lines)) == (True, 1)
    assert re.search("invalid_client|401", done.errors)
    assert (access.count("/job", 401), access.count("/auth/token", 401)) == (1, 1)


@pytest.mark.gen_test(timeout=60)
@pytest.mark.parametrize("script", ["curl.sh"], indirect=True)
async def test_the_shell_keeps_its_token_in_a_file_of_its_own(
    script: Script, wire: Wire, access: Access
) -> None:
    client_id, _ = await wire.register(clientSecret=script.secret)
    for _ in range(2):
        assert (await script.run(client_id, times=1)).status == 0
    assert (access.tokens, access.count("/job", 200)) == (1, 2)
    (cache,) = script.home.glob("*.token")
    assert cache.stat().st_mode & 0o777 == 0o600
