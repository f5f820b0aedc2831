"""``station migrate``: applying, reversing and listing the migrations of MongoDB."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from station.table import as_json_option, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from station.app import Application
    from station.cli.boot import Boot
    from station.migrations import MigrationStatus

__all__ = ["migrate"]


@click.group()
def migrate() -> None:
    """Apply, reverse or list the migrations of MongoDB."""


@migrate.command()
@click.pass_obj
def up(boot: Boot) -> None:
    """Apply the migrations that are pending, in order."""

    async def work(app: Application) -> list[str]:
        return await app.migrator().up(partial(_begin, "applying"))

    _report("applied", boot.run(work, migrate=False))


@migrate.command()
@click.option("--steps", type=click.IntRange(min=1), default=1, show_default=True, help="How many.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def down(boot: Boot, steps: int, yes: bool) -> None:
    """Reverse the migrations that were applied last, newest first; data may be lost."""
    config = boot.config
    if not yes:
        database = f"the database {config.mongodb_database} ({config.env})"
        click.confirm(f"Reverse the last {steps} migrations of {database}?", abort=True)

    async def work(app: Application) -> list[str]:
        return await app.migrator().down(steps, partial(_begin, "reversing"))

    _report("reversed", boot.run(work, migrate=False))


@migrate.command()
@as_json_option
@click.pass_obj
def status(boot: Boot, as_json: bool) -> None:
    """List every migration and when it was applied."""

    async def work(app: Application) -> list[MigrationStatus]:
        return await app.migrator().status()

    rows = [
        {
            "name": row.name,
            "applied_at": row.applied_at.isoformat(timespec="seconds") if row.applied_at else None,
            "description": row.description,
        }
        for row in boot.run(work, migrate=False)
    ]
    show(rows, as_json=as_json)


def _begin(verb: str, name: str) -> None:
    """Say on standard error what goes on now: a migration of a large collection takes its time."""
    click.echo(f"{verb} {name} ...", err=True)


def _report(verb: str, names: Sequence[str]) -> None:
    for name in names:
        click.echo(f"{verb} {name}")
    if not names:
        click.echo(f"Nothing to be {verb}.")
