"""What an editor knows of a protected handler. mypy reads this file, too: `assert_type` is its check."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, assert_type

import pytest
from tornado.websocket import WebSocketHandler

from plugins.oauth_m2m import ClientHandler, ClientToken, client_authenticated, scopes
from station.handlers import BaseHandler
from station.security import Security, security_of

if TYPE_CHECKING:
    from tests.conftest import Wire

ROOT = Path(__file__).parents[3]


class TypedHandler(ClientHandler):
    @client_authenticated
    @scopes("bot:api")
    async def get(self, name: str, *, deep: bool = False) -> None:
        assert_type(self.client_token, ClientToken)
        assert_type(self.client_token.client_id, str)
        assert_type(self.client_token.scopes, frozenset[str])
        assert_type(self.client_token.exp, int)

    @scopes("bot:api")
    def post(self) -> None:
        assert_type(self.client_token, ClientToken)


@client_authenticated
class TypedSocket(ClientHandler, WebSocketHandler):
    async def on_message(self, message: str | bytes) -> None:
        assert_type(self.client_token.sub, str)
        await self.write_message(message)


class Annotated(BaseHandler):
    client_token: ClientToken

    @scopes("bot:api")
    async def get(self) -> None:
        assert_type(self.client_token, ClientToken)


async def calls(handler: TypedHandler) -> None:
    """The decorators leave the signature as it is."""
    assert_type(await handler.get("a", deep=True), None)
    assert_type(handler.post(), None)
    assert_type(TypedSocket, type[TypedSocket])


# each line, and what mypy must say to it
WRONG = {
    "self.client_token.clientid": '"ClientToken" has no attribute "clientid"',
    "self.client_token.exp = 1": 'Property "exp" defined in "ClientToken" is read-only',
    "await self.get(1)": 'Argument 1 to "get" of "Handler" has incompatible type "int"; expected "str"',
    "await self.get()": 'Missing positional argument "name" in call to "get" of "Handler"',
}


def test_a_type_checker_says_no_to_what_is_wrong(tmp_path: Path) -> None:
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is missing: pip install 'station[lint]'")
    lines = [
        "from plugins.oauth_m2m import ClientHandler, client_authenticated, scopes",
        "class Handler(ClientHandler):",
        "    @client_authenticated",
        "    @scopes('bot:api')",
        "    async def get(self, name: str) -> None:",
        *(f"        {line}" for line in WRONG),
    ]
    file = tmp_path / "handlers.py"
    file.write_text("\n".join(lines) + "\n")
    # here, where what `make types` has found out is remembered
    done = subprocess.run(
        [sys.executable, "-m", "mypy", str(file)],
        cwd=ROOT,
        env=os.environ | {"MYPYPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    said = [line for line in done.stdout.splitlines() if line.startswith(str(file))]
    assert len(said) == len(WRONG), done.stdout + done.stderr
    for number, (line, expected) in enumerate(zip(said, WRONG.values(), strict=True), 6):
        assert line.startswith(f"{file}:{number}: error: {expected}"), line


def test_it_demands_nothing_by_itself() -> None:
    assert ClientHandler.get is BaseHandler.get
    assert security_of(TypedHandler.get) == Security("client", frozenset({"bot:api"}))
    assert not hasattr(ClientHandler, "client_token")


@pytest.mark.gen_test
async def test_what_is_declared_is_what_is_set(wire: Wire) -> None:
    token = await wire.access_token()
    assert (await wire.fetch("GET", "/probe", bearer=token)).json == {"client_id": "station-bot"}
