"""``station new``: begin something of your own."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from station.scaffold import write_plugin

__all__ = ["new"]


@click.group()
def new() -> None:
    """Begin something of your own."""


@new.command()
@click.argument("name")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="The directory to make it in; this one by default.",
)
def plugin(name: str, into: Path) -> None:
    """Write the plugin NAME: an installable package with one protected endpoint, a setting, and tests.

    NAME is the name of the package, of its settings, and what STATION_PLUGINS says.
    """
    directory = write_plugin(name, into)
    click.echo(
        f"{directory}/ is a plugin: GET /{name.replace('_', '-')} for clients with the scope {name}:read."
    )
    click.echo("\nInstall it beside Station, run its tests, and serve it:\n")
    steps = [
        *_activation(),
        f"cd {directory}",
        "pip install -e '.[test]'",
        "pytest",
        f"STATION_PLUGINS=oauth_m2m,{name} station serve",
    ]
    click.echo("\n".join(f"  {step}" for step in steps))
    click.echo("\nIts README.md says how to call it. Then change handlers.py, and the test with it.")


def _activation() -> list[str]:
    """What makes `pip`, `pytest` and `station` those of this installation, if a shell does not find them."""
    programs = Path(sys.executable).parent
    found = shutil.which("station")
    if (found and Path(found).parent == programs) or not (programs / "activate").exists():
        return []
    here = Path.cwd()
    return [f"source {programs.relative_to(here) if programs.is_relative_to(here) else programs}/activate"]
