"""Clients as a file declares them: what ``station oauth-clients apply`` reads, plans and does.

::

    prune = true                      # disable every client that is not in this file

    [[clients]]
    client_id = "station-bot"
    scopes = ["bot:api"]
    name = "The bot"
    token_ttl = 900                   # or "default"
    is_active = true
    secret_hash = "$bcrypt-sha256$…"  # from station oauth-clients hash-secret; or secret_hashes = [...]

What is left out stays as it is; what a file says of secrets, it says of all of them: a client's other secrets
end. A secret is known by the hash that it came with, also after Station has made that hash anew.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from marshmallow import Schema, ValidationError, fields, post_load, validates_schema

from plugins.oauth_m2m import client_fields
from plugins.oauth_m2m.hashes import imported_secrets, secret_id
from plugins.oauth_m2m.models import Client, ClientChange, Registration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from plugins.oauth_m2m.clients import ClientService

__all__ = ["Declaration", "Declarations", "Plan", "Step", "apply_step", "make_plan", "read_declarations"]


@dataclasses.dataclass(frozen=True, slots=True)
class Declaration:
    """A client of the file, and all that the file says of it."""

    client_id: str
    says: ClientChange = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Declarations:
    """What a file declares, and a sentence for everything that is wrong with it."""

    clients: tuple[Declaration, ...] = ()
    prune: bool = False
    problems: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: ``diff`` says it to people, ``version`` is that of the client it was planned for."""

    kind: Literal["create", "change", "disable"]
    client_id: str
    change: ClientChange = dataclasses.field(repr=False)
    diff: tuple[str, ...]
    version: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What is to do, in order, and how many clients are as they should be."""

    steps: tuple[Step, ...]
    unchanged: int
    problems: tuple[str, ...] = ()


class DeclarationSchema(Schema):
    """A table ``[[clients]]``; ``catalogue`` and ``max_cost`` are those of the configuration."""

    error_messages = {"unknown": "Is nothing that a file can declare."}  # noqa: RUF012 - marshmallow's own way

    client_id = client_fields.client_id(required=True)
    scopes = client_fields.scopes(required=True)
    name = client_fields.name()
    token_ttl = client_fields.token_ttl(allow_none=True)
    is_active = client_fields.Boolean()
    secret_hashes = fields.List(fields.String())
    secret_hash = fields.String()

    def __init__(self, catalogue: Mapping[str, str] | None, max_cost: int) -> None:
        super().__init__()
        self._catalogue = catalogue
        self._max_cost = max_cost

    def load_table(self, table: Mapping[str, Any]) -> Declaration:
        """The declaration; raises marshmallow's ``ValidationError`` with all that is wrong."""
        default = {"token_ttl": None} if table.get("token_ttl") == "default" else {}
        declaration: Declaration = self.load({**table, **default})
        return declaration

    @validates_schema(skip_on_field_errors=False)
    def check(self, data: dict[str, Any], **_kwargs: object) -> None:
        """Check scopes and hashes against the configuration, whatever else is wrong."""
        problems: dict[str, list[str]] = {}
        if self._catalogue is not None:
            unknown = [scope for scope in data.get("scopes", ()) if scope not in self._catalogue]
            problems["scopes"] = [f"{scope} is not in the catalogue." for scope in unknown]
        if {"secret_hash", "secret_hashes"} <= data.keys():
            problems["secret_hash"] = ["Excludes secret_hashes."]
        for field in ("secret_hash", "secret_hashes"):
            try:
                if field in data:
                    imported_secrets(_hashes(data[field]), max_cost=self._max_cost, now=datetime.now(UTC))
            except ValueError as error:
                problems[field] = [f"{error}."]
        if problems := {field: texts for field, texts in problems.items() if texts}:
            raise ValidationError(cast("dict[str, Any]", problems))

    @post_load
    def make(self, data: dict[str, Any], **_kwargs: object) -> Declaration:
        """Return a `Declaration`; repeated scopes collapse."""
        data["scopes"] = tuple(dict.fromkeys(data["scopes"]))
        for field in ("secret_hash", "secret_hashes"):
            if field in data:
                data["secret_hashes"] = _hashes(data.pop(field))
        return Declaration(data.pop("client_id"), cast("ClientChange", data))


def read_declarations(text: str, *, catalogue: Mapping[str, str] | None, max_cost: int) -> Declarations:
    """What a TOML file declares; it never raises, but has ``problems``, each with client and field."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return Declarations(problems=(f"The file is no TOML: {error}.",))
    problems = [f"{key}: Is unknown." for key in document.keys() - {"clients", "prune"}]
    prune, tables = document.get("prune", False), document.get("clients", [])
    if not isinstance(prune, bool):
        problems.append("prune: Must be true or false.")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        return Declarations(problems=(*problems, "clients: Must be tables, [[clients]]."))
    schema = DeclarationSchema(catalogue, max_cost)
    found: dict[str, Declaration] = {}
    for number, table in enumerate(tables, 1):
        named = table.get("client_id")
        if not isinstance(named, str) or not re.fullmatch(client_fields.CLIENT_ID, named):
            named = f"The client number {number}"
        try:
            declaration = schema.load_table(table)
        except ValidationError as error:
            problems += [f"{named}: {message}" for message in client_fields.messages_of(error)]
            continue
        if declaration.client_id in found:
            problems.append(f"{named}: client_id: Is in the file twice.")
        found[declaration.client_id] = declaration
    return Declarations(tuple(found.values()), prune is True, tuple(problems))


def make_plan(declared: Sequence[Declaration], existing: Mapping[str, Client], *, prune: bool) -> Plan:
    """What makes the clients what the file declares; with ``prune`` the others are disabled."""
    steps: list[Step] = []
    problems: list[str] = []
    for one in declared:
        client = existing.get(one.client_id)
        if client is not None:
            steps += _changes(client, one.says)
        elif "secret_hashes" in one.says:
            steps.append(Step("create", one.client_id, one.says, (f"scopes {' '.join(one.says['scopes'])}",)))
        else:
            problems.append(f"{one.client_id}: secret_hash: Is needed to create it.")
    unchanged = len(declared) - len(problems) - len(steps)
    if prune:
        kept = {one.client_id for one in declared}
        steps += [
            Step("disable", client.client_id, {"is_active": False}, ("is not in the file",), client.version)
            for client in existing.values()
            if client.is_active and client.client_id not in kept
        ]
    return Plan(tuple(steps), unchanged, tuple(problems))


async def apply_step(clients: ClientService, step: Step) -> None:
    """Do one step of a plan; `station.errors.PreconditionFailed` if the client has changed since."""
    if step.kind != "create":
        await clients.change(step.client_id, step.change, versions={step.version})
        return
    registration = Registration(
        client_id=step.client_id,
        scopes=step.change["scopes"],
        name=step.change.get("name", ""),
        token_ttl=step.change.get("token_ttl"),
        is_active=step.change.get("is_active", True),
    )
    await clients.import_client(registration, step.change["secret_hashes"])


def _changes(client: Client, says: ClientChange) -> list[Step]:
    """The step that changes what differs, if anything does."""
    change: dict[str, Any] = {}
    diff = []
    for field in ("name", "token_ttl", "is_active"):
        if field in says and says[field] != getattr(client, field):
            change[field] = says[field]
            diff.append(f"{field} {_word(getattr(client, field))} -> {_word(change[field])}")
    if set(says["scopes"]) != set(client.scopes):
        change["scopes"] = says["scopes"]
        diff += [f"+{scope}" for scope in says["scopes"] if scope not in client.scopes]
        diff += [f"-{scope}" for scope in client.scopes if scope not in says["scopes"]]
    live = {secret.id for secret in client.secrets if secret.is_live(datetime.now(UTC))}
    declared = {secret_id(stored) for stored in says.get("secret_hashes", ())}
    if declared and declared != live:
        change["secret_hashes"] = says["secret_hashes"]
        diff.append(f"secrets: {len(declared - live)} new, {len(live - declared)} end at once")
    if not change:
        return []
    return [Step("change", client.client_id, cast("ClientChange", change), tuple(diff), client.version)]


def _word(value: object) -> str:
    return "default" if value is None else repr(value)


def _hashes(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
