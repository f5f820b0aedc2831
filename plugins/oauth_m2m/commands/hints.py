"""``station oauth-clients hints``: clients that would do better with a word to their developers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from plugins.oauth_m2m.services import services_of
from plugins.oauth_m2m.usage_schemas import hint_json
from station.table import as_json_option, print_table

if TYPE_CHECKING:
    from plugins.oauth_m2m.models import Hint
    from station.app import Application
    from station.cli import Boot

__all__ = ["hints"]


@click.command()
@as_json_option
@click.pass_obj
def hints(boot: Boot, as_json: bool) -> None:
    """Name the clients that fetched a token for every call within the last hour.

    That is 20 tokens or more, each used less than twice: by calls here, and by introspection.
    """

    async def work(app: Application) -> tuple[Hint, ...]:
        return await services_of(app).hints.find()

    found = boot.run(work)
    if as_json:
        click.echo(json.dumps([hint_json(hint) for hint in found], indent=2))
    elif not found:
        click.echo("No hints: no client fetches a token for every call.")
    else:
        rows = [(hint.client_id, str(hint.issued), f"{hint.ratio:.1f}", hint.advice) for hint in found]
        print_table(("CLIENT", "TOKENS IN AN HOUR", "USES OF EACH", "WHAT TO DO"), rows)
