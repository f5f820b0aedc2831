"""``station users``: accounts, from the command line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from station.auth.models import ADMIN
from station.auth.schemas import RegisterSchema
from station.errors import ResponseError

if TYPE_CHECKING:
    from station.app import Application
    from station.auth.models import User
    from station.auth.service import AuthService
    from station.cli import Boot

__all__ = ["users"]


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

    async def make(app: Application) -> User:
        auth: AuthService = app.settings["auth"]
        return await auth.create_user(email, password, roles=[ADMIN] if admin else [])

    try:
        user = boot.run(make)
    except ResponseError as error:
        raise click.ClickException(error.description) from error
    click.echo(f"{user.id}  {user.email}  {' '.join(user.roles) or '-'}")
