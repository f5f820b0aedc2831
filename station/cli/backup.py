"""``station backup`` and ``station restore``: all that Station has in MongoDB, in one file and back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

import click

from station.app import make_app
from station.audit import Actor, AuditLog, AuditStore, acting
from station.backup import BackupError, BackupRules, BackupService, DatabaseStore
from station.cli.progress import Progress
from station.files import private_file
from station.logging import configure_logging
from station.resources import open_resources

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from station.backup import Contents
    from station.cli.boot import Boot
    from station.resources import Resources

__all__ = ["backup", "restore"]

T = TypeVar("T")
_STREAM = Path("-")
_file = click.argument("file", type=click.Path(dir_okay=False, path_type=Path, allow_dash=True))


@click.command()
@_file
@click.option("--without-audit", is_flag=True, help="Leave out the events of the audit.")
@click.pass_obj
def backup(boot: Boot, file: Path, without_audit: bool) -> None:
    """Write all that is in MongoDB into FILE: clients, revocations, keys, people, the audit.

    FILE is replaced when all of it is written; - is standard output. JWT_SECRET is not in it, and
    without that nobody can use the signing keys: keep it apart.
    """

    async def work(service: BackupService, _resources: Resources) -> Contents:
        with _writing(file) as target, Progress("Reading") as progress:
            return await service.make(target, audit=not without_audit, progress=progress)

    contents = _run(boot, work)
    click.echo(f"Backed up {_counted(contents.counts)}. JWT_SECRET is not in it: keep that apart.", err=True)


@click.command()
@_file
@click.option("--replace", is_flag=True, help="Also where there is something: what is there is lost.")
@click.option(
    "--keep-tokens",
    is_flag=True,
    help="Let tokens and sessions of the time of the backup live on, even those that were ended since.",
)
@click.option(
    "--leave-out",
    "left_out",
    metavar="COLLECTION",
    multiple=True,
    help="Restore this collection empty; may be given several times.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def restore(
    boot: Boot, file: Path, replace: bool, keep_tokens: bool, left_out: tuple[str, ...], yes: bool
) -> None:
    """Put a backup in the place of all that is in MongoDB; the audit is added to.

    FILE is read to its end and checked before anything is changed; - is standard input. No Station may serve
    meanwhile. All tokens and sessions end, because a backup does not know which were ended after it was made.
    """
    if replace and not yes and file == _STREAM:
        raise click.UsageError("Nobody can be asked when the backup comes from standard input: add --yes.")

    async def work(service: BackupService, resources: Resources) -> tuple[Contents, list[str]]:
        with _reading(file) as source:
            await service.refuse_while_serving(resources)
            contents = service.check(source, left_out=left_out)
            lost = await service.would_lose()
            if lost and not replace:
                raise BackupError(
                    f"The database {resources.database.name} holds {_counted(lost)}; nothing was changed. "
                    "With --replace the backup takes the place of all that."
                )
            if lost and not yes:
                made = f"the backup of {contents.header.made_at}"
                click.confirm(f"Put {made} in the place of {_counted(lost)}?", abort=True, err=True)
            audit = AuditLog(AuditStore(resources, timedelta(days=boot.config.audit_retention_days)))
            with acting(Actor.cli()), Progress("Writing") as progress:
                async with audit.running({}), audit.change("database.restored", target="database") as change:
                    change.detail = {"made_at": contents.header.made_at, "tokens_kept": keep_tokens}
                    await service.restore(
                        source, contents, keep_tokens=keep_tokens, left_out=left_out, progress=progress
                    )
            return contents, await service.pending()

    contents, pending = _run(boot, work)
    click.echo(f"Restored {_counted(contents.counts)} of {contents.header.made_at}.", err=True)
    if keep_tokens:
        click.echo("Warning: whatever was revoked, disabled or changed since then is undone.", err=True)
    else:
        click.echo("All tokens and sessions have ended: bots get new tokens, people log in again.", err=True)
    if pending:
        click.echo(f"Migrations are pending: {', '.join(pending)}. Run `station migrate up`.", err=True)


def _run(boot: Boot, work: Callable[[BackupService, Resources], Awaitable[T]]) -> T:
    """Work on the database alone: no plugin needs to understand what is in it."""
    configure_logging(boot.config.env, logging.WARNING)
    plugins = make_app(boot.config).plugins
    migrations = [
        f"{plugin}/{migration.id}"
        for plugin, own in plugins.call("station_migrations").items()
        for migration in own
    ]
    rules = cast("Sequence[BackupRules]", list(plugins.call("station_backup", config=boot.config).values()))

    async def run() -> T:
        async with open_resources(boot.config) as resources:
            service = BackupService(DatabaseStore(resources), rules=rules, migrations=migrations)
            return await work(service, resources)

    return asyncio.run(run())


@contextlib.contextmanager
def _writing(file: Path) -> Iterator[BinaryIO]:
    if file == _STREAM:
        if sys.stdout.isatty():
            raise click.UsageError("A backup is no text for a terminal: redirect it, or name a file.")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        with private_file(file) as target:
            yield target
    except OSError as error:
        raise BackupError(f"{file} cannot be written: {error.strerror}.") from error


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[BinaryIO]:
    """The file, or what comes from standard input: it is read twice."""
    try:
        if file != _STREAM:
            with file.open("rb") as source:
                yield source
            return
        with tempfile.TemporaryFile() as kept:
            shutil.copyfileobj(sys.stdin.buffer, kept)
            yield kept
    except OSError as error:
        raise BackupError(f"{file} cannot be read: {error.strerror}.") from error


def _counted(counts: Mapping[str, int]) -> str:
    """How many documents of each collection, in words."""
    return ", ".join(f"{number} {name}" for name, number in counts.items() if number) or "nothing"
