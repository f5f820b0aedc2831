"""What the commands about clients share: reading what was typed, and printing clients."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from marshmallow import ValidationError

from plugins.oauth_m2m.client_fields import messages_of
from plugins.oauth_m2m.schemas import client_json
from station.table import print_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from marshmallow import Schema

    from plugins.oauth_m2m.models import Client, Confirmation

__all__ = [
    "given",
    "lifetime",
    "load",
    "print_clients",
    "problems",
    "show_client",
    "tell",
]


def load(schema: Schema, document: Mapping[str, object]) -> Any:
    """What ``schema`` makes of what was typed; says everything that is wrong with it."""
    try:
        return schema.load(document)
    except ValidationError as error:
        raise problems(messages_of(error)) from None


def given(**document: object) -> dict[str, object]:
    """The fields that were typed."""
    return {field: value for field, value in document.items() if value is not None}


def problems(found: Sequence[str]) -> click.ClickException:
    """One error for everything that is wrong."""
    bullets = [f"{len(found)} things are wrong:", *(f"  - {one}" for one in found)]
    return click.ClickException("\n".join(found if len(found) == 1 else bullets))


def lifetime(text: str) -> int | str:
    """Seconds, or the word default (a type of click's)."""
    return text if text == "default" else int(text)


def show_client(client: Client, *, as_json: bool) -> None:
    """Print one client."""
    if as_json:
        click.echo(json.dumps(client_json(client), indent=2))
    else:
        print_clients([client])


def tell(confirmation: Confirmation) -> None:
    """Say on standard error which servers apply a change already."""
    if confirmation.pending is None:
        click.echo("Redis could not tell which servers run; each learns of it by MongoDB.", err=True)
    elif confirmation.pending:
        click.echo(
            f"{confirmation.confirmed_by} servers apply it, {confirmation.pending} have not said so yet; "
            "each learns of it by MongoDB, or refuses once it is stale.",
            err=True,
        )


def print_clients(clients: Sequence[Client]) -> None:
    """Print clients as a table."""
    rows = []
    for client in clients:
        state = "active" if client.is_active else "disabled"
        created = client.created_at.strftime("%Y-%m-%d %H:%M")
        rows.append((client.client_id, client.name, " ".join(client.scopes), state, created))
    print_table(("CLIENT", "NAME", "SCOPES", "STATE", "CREATED"), rows)
