"""What will break: said before a command that ends tokens or secrets asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from plugins.oauth_m2m.impact import impact

if TYPE_CHECKING:
    from station.app import Application
    from station.cli import Boot

__all__ = ["confirm"]


def confirm(boot: Boot, client_id: str, question: str, *, yes: bool) -> None:
    """Say what the client is doing now, and ask; the command ends here if the answer is no."""
    if yes:
        return

    async def work(app: Application) -> str:
        return await impact(app, client_id)

    click.echo(boot.run(work), err=True)
    click.confirm(question, abort=True, err=True)
