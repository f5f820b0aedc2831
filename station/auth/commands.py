"""``station users``: accounts, from the command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

import click

from station.auth.links import reset_command
from station.auth.models import ADMIN
from station.auth.schemas import RegisterSchema
from station.errors import ResponseError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from station.app import Application
    from station.auth.models import User
    from station.auth.service import AuthService
    from station.cli import Boot
    from station.messages import Message

__all__ = ["users"]

T = TypeVar("T")


@click.group()
def users() -> None:
    """The accounts of people."""


@users.command()
@click.argument("email")
@click.option("--admin", is_flag=True, help="Give the account the role admin.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input; do not ask.")
@click.pass_obj
def create(boot: Boot, email: str, admin: bool, password_stdin: bool) -> None:
    """Make an account for EMAIL, also where registration is closed."""
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    problems = RegisterSchema().validate({"email": email, "password": password})
    if problems:
        raise click.ClickException(
            "; ".join(f"{field}: {' '.join(messages)}" for field, messages in sorted(problems.items()))
        )

    async def make(auth: AuthService) -> User:
        return await auth.create_user(email, password, roles=[ADMIN] if admin else [])

    user = _run(boot, make)
    click.echo(f"{user.id}  {user.email}  {' '.join(user.roles) or '-'}")


@users.command("reset-password")
@click.argument("email")
@click.pass_obj
def reset_password(boot: Boot, email: str) -> None:
    """Make a link by which the owner of EMAIL chooses a new password.

    It is a secret, works once, and takes the place of the one before. Nothing else ends until it is used.
    """

    async def make(auth: AuthService) -> Message:
        return await auth.passwords.make_reset(email)

    message = _run(boot, make)
    click.echo(f"Until {message.expires_at:%Y-%m-%d %H:%M} UTC:", err=True)
    click.echo(message.link or reset_command(boot.config, message.token))


@users.command()
@click.argument("email")
@click.pass_obj
def disable(boot: Boot, email: str) -> None:
    """Disable the account of EMAIL: all its sessions end at once, and enabling it again revives none."""

    async def change(auth: AuthService) -> User:
        return await auth.disable(email)

    click.echo(f"{_run(boot, change).id}  disabled")


@users.command()
@click.argument("email")
@click.pass_obj
def enable(boot: Boot, email: str) -> None:
    """Let the owner of EMAIL log in again."""

    async def change(auth: AuthService) -> User:
        return await auth.enable(email)

    click.echo(f"{_run(boot, change).id}  enabled")


def _run(boot: Boot, work: Callable[[AuthService], Awaitable[T]]) -> T:
    async def run(app: Application) -> T:
        return await work(app.settings["auth"])

    try:
        return boot.run(run)
    except ResponseError as error:
        raise click.ClickException(error.description) from error
