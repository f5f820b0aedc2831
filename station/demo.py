"""``station demo``: the whole story of a machine, told against a Station of its own in a temporary directory.

Station runs as a child process on embedded stores, with the plugins ``oauth_m2m`` and ``demo``; the caller is
``examples/station_bot.py``, an ordinary OAuth client. Every HTTP exchange is printed as it happens, secrets
and tokens shortened.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import re
import secrets
import socket
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from station.errors import StartError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import ModuleType

    import httpx2

__all__ = ["demo"]

_START_SECONDS = 15.0
_LISTENS = re.compile(rb"Station listens on (\S+)")
_SECRETS = re.compile(
    r'((?:Basic|Bearer) |"(?:access_token|clientSecret)": ?"|token=)([\w.~+/=-]{12})[\w.~+/=-]+'
)


@click.command()
def demo() -> None:
    """Register a bot, get a token, call, be refused, revoke, call again: each exchange printed."""
    started = time.monotonic()
    asyncio.run(_tell())
    click.echo(f"\nThat was all of it, in {time.monotonic() - started:.1f} s. Next: make serve.")


async def _tell() -> None:
    bot_module = _load_bot()
    admin_key = secrets.token_urlsafe(32)
    with tempfile.TemporaryDirectory(prefix="station-demo-") as directory:
        click.echo("Starting Station on embedded stores in a temporary directory ...")
        async with _station(Path(directory), admin_key) as url:
            await _story(bot_module, url, admin_key)


async def _story(bot_module: ModuleType, url: str, admin_key: str) -> None:
    import httpx2  # noqa: PLC0415 - comes with the extra demo

    hooks = {"response": [_print_exchange]}
    _chapter("An admin registers station-bot for one scope; Station makes the secret.")
    async with httpx2.AsyncClient(base_url=url, event_hooks=hooks) as admin:
        registration = {"clientId": "station-bot", "scopes": ["demo:read"]}
        answer = await admin.post(
            "/oauth-clients", json=registration, headers={"x-internal-api-key": admin_key}
        )
        client_secret = _expect(answer, 201).json()["clientSecret"]

    bot = bot_module.StationBot(url, "station-bot", client_secret, event_hooks=hooks)
    _chapter("The bot trades its id and secret for a token (RFC 6749 4.4).")
    async with bot:
        _chapter("It calls a handler that asks for demo:read.")
        _expect(await bot.http.get("/demo/greeting"), 200)
        _chapter("It calls a method that asks for demo:write, which it does not have.")
        _expect(await bot.http.put("/demo/greeting"), 403)
        _chapter("It revokes its token (RFC 7009).")
        token = bot.http.token["access_token"]
        credentials = httpx2.BasicAuth("station-bot", client_secret)
        _expect(await bot.http.post("/auth/revoke", data={"token": token}, auth=credentials), 200)
        _chapter("It calls again with the dead token.")
        _expect(await bot.http.get("/demo/greeting"), 401)


def _chapter(sentence: str) -> None:
    click.secho(f"\n{sentence}", bold=True)


def _expect(answer: httpx2.Response, status: int) -> httpx2.Response:
    if answer.status_code != status:
        raise StartError([f"The demo expected {status} and got {answer.status_code}: {answer.text}"])
    return answer


async def _print_exchange(response: httpx2.Response) -> None:
    await response.aread()
    request = response.request
    shown = {
        name: request.headers.get(name) for name in ("authorization", "x-internal-api-key", "content-type")
    }
    if shown["x-internal-api-key"]:
        shown["x-internal-api-key"] = "********"
    lines = [f"> {request.method} {request.url.path}"]
    lines += [f"> {name}: {value}" for name, value in shown.items() if value]
    if request.content:
        lines.append(f"> {request.content.decode()}")
    lines.append(f"< {response.status_code} {response.reason_phrase}")
    if challenge := response.headers.get("www-authenticate"):
        lines.append(f"< www-authenticate: {challenge}")
    if response.text:
        lines.append(f"< {response.text}")
    click.echo(_SECRETS.sub(r"\1\2...", "\n".join(f"  {line}" for line in lines)))


@contextlib.asynccontextmanager
async def _station(data_dir: Path, admin_key: str) -> AsyncIterator[str]:
    """Run ``station serve`` on a free port and yield its URL; what it logs is shown if it does not start."""
    environ = {
        name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}
    }
    environ |= {
        "STATION_DATA_DIR": str(data_dir),
        "STATION_PLUGINS": "oauth_m2m,demo",
        "INTERNAL_API_KEY": admin_key,
        "PORT": str(_free_port()),  # not 0, because the issuer names the port
    }
    log = data_dir / "station.log"
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "station", "serve",
            env=environ, cwd=data_dir, stdout=asyncio.subprocess.PIPE, stderr=errors,
        )  # fmt: skip
    try:
        url = await _listening(process)
        if url is None:
            raise StartError([f"Station did not start; it logged:\n{log.read_text()}"])
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listening(process: asyncio.subprocess.Process) -> str | None:
    """The URL where Station listens; None if it ends first, or takes too long."""
    assert process.stdout is not None  # noqa: S101 - PIPE was asked for
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_START_SECONDS):
            async for line in process.stdout:
                if found := _LISTENS.search(line):
                    return found[1].decode()
    return None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _load_bot() -> ModuleType:
    """The module of ``examples/station_bot.py``: of the checkout, or as the wheel installs it."""
    places = (
        Path(__file__).parents[1] / "examples" / "station_bot.py",
        Path(sysconfig.get_path("data")) / "share" / "station" / "examples" / "station_bot.py",
    )
    file = next((place for place in places if place.exists()), None)
    spec = importlib.util.spec_from_file_location("station_bot", file) if file else None
    if spec is None or spec.loader is None:
        raise StartError(
            ["examples/station_bot.py, which the demo runs, is not installed; install the wheel."]
        )
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        remedy = "The demo's bot needs Authlib and httpx2: pip install 'station[demo]'."
        raise StartError([remedy]) from error
    return module
