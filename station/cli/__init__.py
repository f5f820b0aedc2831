"""The ``station`` command.

Each module of this package is one group of commands. Plugins add theirs by the hook `station_commands`,
and so do the core's own; such a command gets a `Boot`, which runs the application for it::

    @click.command()
    @click.pass_obj
    def count(boot: Boot) -> None:
        \"\"\"Count the bots.\"\"\"

        async def work(app: Application) -> int:
            return await app.settings["fleet"].count()

        click.echo(boot.run(work))

Errors of Station leave as sentences: exit code 2 for the configuration (and wrong usage), 1 for the rest.
"""

from __future__ import annotations

from pathlib import Path

import click

from station import __version__
from station.cli import audit, backup, inspection, migrate, new, serve
from station.cli.boot import Boot
from station.cli.group import StationGroup
from station.demo import demo

__all__ = ["Boot", "main"]


@click.group(cls=StationGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    is_eager=True,  # before --help, which lists the commands of the plugins that the file switches on
    help="The settings file; station.toml by default, which may be absent.",
)
@click.version_option(__version__, prog_name="station")
@click.pass_context
def main(ctx: click.Context, file: Path | None) -> None:
    """Station: a Tornado application made of plugins, for people and machines.

    Settings come from the environment and from station.toml; `station config` prints them all.
    """
    ctx.obj = Boot(file)


main.add_command(audit.audit)
main.add_command(backup.backup)
main.add_command(backup.restore)
main.add_command(serve.serve)
main.add_command(inspection.config)
main.add_command(inspection.plugins)
main.add_command(inspection.routes)
main.add_command(migrate.migrate)
main.add_command(new.new)
main.add_command(demo)
