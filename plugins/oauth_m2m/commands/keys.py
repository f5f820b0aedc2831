"""``station oauth-keys``: the keys that sign tokens, from the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from plugins.oauth_m2m.schemas import timestamp
from plugins.oauth_m2m.services import services_of
from station.table import as_json_option, print_table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from plugins.oauth_m2m.keyring import Keyring
    from plugins.oauth_m2m.models import SigningKey
    from station.app import Application
    from station.cli import Boot

__all__ = ["oauth_keys"]


@click.group("oauth-keys")
def oauth_keys() -> None:
    """List, rotate and retire the keys that sign tokens."""


@oauth_keys.command("list")
@as_json_option
@click.pass_obj
def list_(boot: Boot, as_json: bool) -> None:
    """List the keys that sign, will sign, or still verify."""
    _show(_run(boot, _nothing), as_json=as_json)


@oauth_keys.command()
@click.option("--force", is_flag=True, help="Even if others may not have seen the next key yet.")
@click.option("--yes", is_flag=True, help="Do not ask before --force.")
@as_json_option
@click.pass_obj
def rotate(boot: Boot, force: bool, yes: bool, as_json: bool) -> None:
    """Sign with the next key, and publish a new next one.

    The key that signed so far verifies until its last token has expired.
    """
    if force and not yes:
        question = "Whoever has not seen the next key yet will refuse new tokens until then. Go on?"
        click.confirm(question, abort=True, err=True)
    _show(_run(boot, lambda keyring: keyring.rotate(force=force)), as_json=as_json)


@oauth_keys.command()
@click.argument("kid")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json_option
@click.pass_obj
def retire(boot: Boot, kid: str, yes: bool, as_json: bool) -> None:
    """End the key KID now: every token that it signed is refused within seconds."""
    if not yes:
        click.confirm(f"Every token that {kid} signed will be refused. Go on?", abort=True, err=True)
    _show(_run(boot, lambda keyring: keyring.retire(kid)), as_json=as_json)


@oauth_keys.command()
@as_json_option
@click.pass_obj
def reencrypt(boot: Boot, as_json: bool) -> None:
    """Encrypt the private keys under JWT_SECRET, where JWT_SECRET_PREVIOUS still opens them."""
    _show(_run(boot, lambda keyring: keyring.reencrypt()), as_json=as_json)


async def _nothing(_keyring: Keyring) -> None:
    """Change nothing."""


def _run(boot: Boot, change: Callable[[Keyring], Awaitable[None]]) -> tuple[SigningKey, ...]:
    """Change the keyring and return its keys."""

    async def work(app: Application) -> tuple[SigningKey, ...]:
        keyring = services_of(app).keyring
        await change(keyring)
        return keyring.current()

    return boot.run(work)


def _show(keys: tuple[SigningKey, ...], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([_key_json(key) for key in keys], indent=2))
        return
    if not keys:
        click.echo("No keys yet: the first station serve makes them.")
        return
    rows = [
        (key.kid, key.alg, key.state, *map(_time, (key.published_at, key.activated_at, key.verifies_until)))
        for key in keys
    ]
    print_table(("KEY", "ALGORITHM", "STATE", "PUBLISHED", "SIGNS SINCE", "VERIFIES UNTIL"), rows)


def _time(time: datetime | None) -> str:
    return "" if time is None else time.strftime("%Y-%m-%d %H:%M:%S")


def _key_json(key: SigningKey) -> dict[str, str | None]:
    times = {
        "publishedAt": key.published_at,
        "activatedAt": key.activated_at,
        "verifiesUntil": key.verifies_until,
    }
    written = {name: None if time is None else timestamp(time) for name, time in times.items()}
    return {"kid": key.kid, "alg": key.alg, "state": key.state, **written}
