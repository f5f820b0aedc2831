"""``make bench-lifecycle``: what it costs to see and stop a client, however many tokens it has.

Runs the services of Station on embedded engines in a directory of its own, without HTTP. Every ratio compares
the same operation on two clients, measured in turns in the same run.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from plugins.oauth_m2m.config import OAuthM2MConfig
from plugins.oauth_m2m.credentials import ClientCredentials
from plugins.oauth_m2m.errors import InvalidClient
from plugins.oauth_m2m.models import Client, Registration, SecretAddition
from plugins.oauth_m2m.services import services_of
from station.app import Application, make_app
from station.config import Config

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

FEW, MANY = 10, 100_000
ROUNDS = 15
AT_ONCE = 50
SECRET = "a-client-secret-for-the-benchmark-0123456789"

console = Console()


async def main() -> None:
    """Measure, and print the table."""
    with tempfile.TemporaryDirectory(prefix="station-bench-") as directory:
        app = make_app(
            Config(
                env="test",
                data_dir=Path(directory),
                jwt_secret="a-signing-secret-for-the-benchmark-0123456789",
                sections={"oauth_m2m": OAuthM2MConfig(bcrypt_cost=12)},
            )
        )
        async with app.lifespan():
            await measure(app)


async def measure(app: Application) -> None:
    """Measure everything on one application."""
    table = Table(title=f"Medians of {ROUNDS}, in turns, on embedded engines")
    for heading in ("", "few", "many", "ratio"):
        table.add_column(heading, justify="right" if heading else "left")
    services = services_of(app)
    clients = {count: await registered(app, f"bot-{count}") for count in (FEW, MANY)}
    await fill(app, clients[FEW], FEW)
    before = await memory(app)
    await fill(app, clients[MANY], MANY)
    per_token = (await memory(app) - before) / MANY

    def page(count: int) -> Callable[[], Awaitable[object]]:
        return lambda: services.live_tokens.list(f"bot-{count}", limit=FEW)

    async def revoke_all(count: int) -> float:
        """Seconds to end the tokens; the client gets them back, as the generation is restored."""
        client = clients[count]
        started = time.perf_counter()
        ended, _ = await services.live_tokens.revoke_all(client.client_id)
        elapsed = time.perf_counter() - started
        assert ended == count
        documents: Any = app.resources.database["oauth_clients"]
        await documents.update_one(
            {"client_id": client.client_id}, {"$set": {"generation": client.generation}}
        )
        return elapsed

    add_row(
        table,
        "a page of 10 live tokens, of 10 or 100,000",
        await in_turns({n: page(n) for n in clients}),
    )
    revocations: dict[int, list[float]] = {count: [] for count in clients}
    for _ in range(ROUNDS):
        for count, times in revocations.items():
            times.append(await revoke_all(count))
    add_row(table, "end all of them", revocations)
    for _ in range(4):
        await services.secrets.add(f"bot-{MANY}", SecretAddition())
    wrong = {count: lambda count=count: guess(app, f"bot-{count}") for count in clients}
    add_row(table, "a wrong guess, at 1 or 5 live secrets", await in_turns(wrong))
    console.print(table)
    console.print(f"Redis keeps {per_token:.0f} bytes for each live token.")


async def registered(app: Application, client_id: str) -> Client:
    """A client without tokens."""
    registration = Registration(client_id, ("bot:api",), client_secret=SECRET)
    client, _ = await services_of(app).clients.register(registration)
    return client


async def fill(app: Application, client: Client, count: int) -> None:
    """Issue live tokens."""
    issue = services_of(app).tokens.issue
    for start in range(0, count, AT_ONCE):
        await asyncio.gather(
            *[
                issue(
                    client,
                    client.scopes,
                    address="203.0.113.9",
                    user_agent="bot/1.0",
                    secret_id=client.secrets[0].id,
                    admission=app.throttle.admit(),
                )
                for _ in range(min(AT_ONCE, count - start))
            ]
        )


async def memory(app: Application) -> int:
    """The bytes that Redis uses for data."""
    information: Any = await app.resources.redis.info("memory")
    return int(information["used_memory_dataset"])


async def guess(app: Application, client_id: str) -> None:
    """Present a secret of the right form that is none of the client's."""
    credentials = ClientCredentials(client_id, (b"stn_" + b"0" * 49,), "client_secret_basic")
    try:
        await services_of(app).authenticator.authenticate(credentials, admission=app.throttle.admit())
    except InvalidClient:
        return
    raise AssertionError("the guess was right")


async def in_turns(works: Mapping[int, Callable[[], Awaitable[object]]]) -> dict[int, list[float]]:
    """The seconds that each takes, time and again."""
    times: dict[int, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, work in works.items():
            started = time.perf_counter()
            await work()
            times[name].append(time.perf_counter() - started)
    return times


def add_row(table: Table, name: str, times: Mapping[int, list[float]]) -> None:
    """Add the medians in milliseconds, and their ratio."""
    few, many = (statistics.median(times[count]) for count in (FEW, MANY))
    table.add_row(name, f"{1000 * few:.2f} ms", f"{1000 * many:.2f} ms", f"{many / few:.3f}")


if __name__ == "__main__":
    asyncio.run(main())
