"""``python -m docs.site [DIRECTORY]``: build the site there, in ``site`` unless told."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from docs.site.links import broken_links
from docs.site.reference import reference_pages
from docs.site.staging import CONFIGURATION, ROOT, stage, wrong_in_navigation


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), default=ROOT / "site")
def main(directory: Path) -> None:
    """Build the documentation into DIRECTORY, strictly: a warning or a broken link fails it."""
    with tempfile.TemporaryDirectory(prefix="station-docs-") as name:
        work = Path(name)
        with contextlib.chdir(work):  # a station.toml of the developer's own says nothing about the reference
            pages = reference_pages()
        stage(work / "docs", pages)
        if problems := wrong_in_navigation(work / "docs"):
            _fail("The navigation, docs/site/zensical.toml, is not that of the pages:", problems)
        shutil.copy(CONFIGURATION, work)
        shutil.copy(CONFIGURATION.with_name("site.css"), work / "docs")
        _zensical(work)
        if problems := broken_links(work / "site"):
            _fail("The site refers to what is not there, or to other hosts:", problems)
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(work / "site", directory)
    click.echo(f"The documentation is in {os.path.relpath(directory)}; begin with index.html.")


def _zensical(work: Path) -> None:
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    environ = os.environ | {"NO_COLOR": "1"}
    done = subprocess.run(  # noqa: S603 - our own words
        command, cwd=work, env=environ, capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    if done.returncode != 0 or "warning" in said.lower():
        _fail("Zensical complains:", said.partition("Traceback")[0].splitlines())


def _fail(message: str, problems: list[str]) -> None:
    raise click.ClickException("\n".join([message, *(f"  {problem}" for problem in problems)]))


if __name__ == "__main__":
    main()
