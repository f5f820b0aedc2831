from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.declarations import Declaration, Step, make_plan, read_declarations
from plugins.oauth_m2m.hashes import imported_secrets
from plugins.oauth_m2m.models import Client

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugins.oauth_m2m.declarations import Declarations, Plan
    from plugins.oauth_m2m.models import ClientChange

NOON = datetime(2025, 1, 2, 12, tzinfo=UTC)
SALT = "abcdefghijklmnopqrstuu"
OURS = f"$bcrypt-sha256$v=2,t=2b,r=4${SALT}$/K4TiXfksR2.3ReKsEs1hxRT0B9W6ii"
OTHER = f"$bcrypt-sha256$v=2,t=2b,r=4${SALT}$AK4TiXfksR2.3ReKsEs1hxRT0B9W6ii"
RAW = f"$2b$04${SALT}/K4TiXfksR2.3ReKsEs1hxRT0B9W6ii"
BOT = Client(
    id="1",
    client_id="bot",
    name="The bot",
    salt=SALT,
    secrets=imported_secrets([OURS], max_cost=4, now=NOON)[1],
    scopes=("a", "b"),
    is_active=True,
    token_ttl=60,
    generation="g1",
    version=7,
    created_at=NOON,
    updated_at=NOON,
)


def read(text: str, catalogue: Mapping[str, str] | None = None) -> Declarations:
    return read_declarations(text, catalogue=catalogue, max_cost=5)


def table(client_id: str = "bot", scopes: str = '["a"]', **more: str) -> str:
    fields = {"client_id": f'"{client_id}"', "scopes": scopes, **more}
    return "[[clients]]\n" + "".join(f"{field} = {value}\n" for field, value in fields.items())


class TestReading:
    def test_a_file(self) -> None:
        declared = read(
            "prune = true\n"
            + table(scopes='["b", "a", "b"]', name='"Bot"', token_ttl="60", is_active="false")
            + table("other", secret_hash=f"'{RAW}'", token_ttl='"default"')
            + table("third", secret_hashes=f"['{OURS}', '{OTHER}']")
        )
        assert declared.problems == ()
        assert declared.prune is True
        assert declared.clients == (
            Declaration("bot", {"scopes": ("b", "a"), "name": "Bot", "token_ttl": 60, "is_active": False}),
            Declaration("other", {"scopes": ("a",), "secret_hashes": (RAW,), "token_ttl": None}),
            Declaration("third", {"scopes": ("a",), "secret_hashes": (OURS, OTHER)}),
        )
        assert RAW not in repr(declared)

    def test_an_empty_file(self) -> None:
        assert read("") == read("clients = []")
        assert (read("").clients, read("").prune, read("").problems) == ((), False, ())

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("[[clients]", "The file is no TOML: "),
            ("client_id = 1", "client_id: Is unknown."),
            ("prune = 1", "prune: Must be true or false."),
            ("clients = 1", "clients: Must be tables, [[clients]]."),
            ("clients = [1]", "clients: Must be tables, [[clients]]."),
            ("[clients]", "clients: Must be tables, [[clients]]."),
            ("[[clients]]\nscopes = ['a']", "The client number 1: client_id: "),
            ("[[clients]]\nscopes = ['a']\nclient_id = 3", "The client number 1: client_id: "),
            (table("Bot\x1b[31m".replace("\x1b", "\\u001b")), "The client number 1: client_id: "),
            ("[[clients]]\nclient_id = 'bot'", "bot: scopes: "),
            (table(scopes='["a b"]'), "bot: scopes.0: "),
            (table(scopes="[]"), "bot: scopes: "),
            (table(scopes='"a"'), "bot: scopes: "),
            (table(name="1"), "bot: name: "),
            (table(token_ttl="59"), "bot: token_ttl: "),
            (table(token_ttl="true"), "bot: token_ttl: "),
            (table(token_ttl='"60"'), "bot: token_ttl: "),
            (table(is_active="1"), "bot: is_active: "),
            (table(client_secret='"a-secret-that-nobody-should-see"'), "bot: client_secret: "),
            (table(clientId='"bot"'), "bot: clientId: "),
            (table(secret_hash='"a-secret-that-nobody-should-see"'), "bot: secret_hash: "),
            (table(secret_hash=f"'{RAW.replace('$04$', '$06$')}'"), "bot: secret_hash: The cost "),
            (table(secret_hashes=f"['{RAW}', '{OURS}']"), "bot: secret_hashes: A $2b$ hash "),
            (table(secret_hashes="[]"), "bot: secret_hashes: There must be at least one hash"),
            (table(secret_hash=f"'{RAW}'", secret_hashes=f"['{RAW}']"), "bot: secret_hash: Excludes "),
            (table() + table(), "bot: client_id: Is in the file twice."),
        ],
    )
    def test_a_problem_has_the_client_and_the_field(self, text: str, problem: str) -> None:
        [found] = read(text).problems
        assert found.startswith(problem)
        assert "nobody-should-see" not in found
        assert "\x1b" not in found

    def test_all_problems_come_at_once(self) -> None:
        text = (
            table(scopes='["a", "x", "y"]', name="1", secret_hash='""')
            + table("Bad", token_ttl="1")
            + table("good")
            + "[more]\n"
        )
        assert [problem.split(": ")[:2] for problem in read(text, {"a": ""}).problems] == [
            ["more", "Is unknown."],
            ["bot", "name"],
            ["bot", "scopes"],
            ["bot", "secret_hash"],
            ["The client number 2", "client_id"],
            ["The client number 2", "token_ttl"],
        ]
        assert "x is not in the catalogue. y is not in the catalogue." in read(text, {"a": ""}).problems[2]


class TestPlanning:
    @staticmethod
    def plan(*says: ClientChange, prune: bool = False, **client: object) -> Plan:
        existing = {"bot": dataclasses.replace(BOT, **client)}  # type: ignore[arg-type] # fields by name
        return make_plan([Declaration("bot", one) for one in says], existing, prune=prune)

    def test_a_client_that_is_as_declared_is_left_alone(self) -> None:
        for says in (
            {"scopes": ("a", "b")},
            {"scopes": ("b", "a"), "name": "The bot", "token_ttl": 60, "is_active": True},
            {"scopes": ("a", "b"), "secret_hashes": (OURS,)},
        ):
            plan = self.plan(says, prune=True)  # type: ignore[arg-type] # a ClientChange
            assert (plan.steps, plan.unchanged, plan.problems) == ((), 1, ())

    @pytest.mark.parametrize(
        ("field", "value", "diff"),
        [
            ("name", "Bot", "name 'The bot' -> 'Bot'"),
            ("token_ttl", 61, "token_ttl 60 -> 61"),
            ("token_ttl", None, "token_ttl 60 -> default"),
            ("is_active", False, "is_active True -> False"),
            ("secret_hashes", (RAW,), "secrets: 1 new, 1 end at once"),
            ("secret_hashes", (OURS, OTHER), "secrets: 1 new, 0 end at once"),
        ],
    )
    def test_only_what_differs_is_changed(self, field: str, value: object, diff: str) -> None:
        plan = self.plan({"scopes": ("a", "b"), field: value})  # type: ignore[misc] # a key of ClientChange
        assert plan.steps == (Step("change", "bot", {field: value}, (diff,), 7),)  # type: ignore[misc] # the same
        assert plan.unchanged == 0

    def test_scopes_are_changed_as_a_whole(self) -> None:
        [step] = self.plan({"scopes": ("c", "b", "d")}).steps
        assert (step.change, step.diff) == ({"scopes": ("c", "b", "d")}, ("+c", "+d", "-a"))

    def test_a_secret_that_has_ended_does_not_count(self) -> None:
        ended = dataclasses.replace(BOT.secrets[0], expires_at=NOON)
        [step] = self.plan({"scopes": ("a", "b"), "secret_hashes": (OURS,)}, secrets=(ended,)).steps
        assert step.diff == ("secrets: 1 new, 0 end at once",)
        other = dataclasses.replace(BOT.secrets[0], id="by-hand")
        [step] = self.plan(
            {"scopes": ("a", "b"), "secret_hashes": (OURS,)}, secrets=(*BOT.secrets, other)
        ).steps
        assert step.diff == ("secrets: 0 new, 1 end at once",)

    def test_a_new_client_needs_a_hash(self) -> None:
        new = Declaration("new", {"scopes": ("a",)})
        assert make_plan([new], {}, prune=False).problems == ("new: secret_hash: Is needed to create it.",)
        new = Declaration("new", {"scopes": ("a", "b"), "secret_hashes": (RAW,)})
        plan = make_plan([new], {}, prune=False)
        assert plan.steps == (Step("create", "new", new.says, ("scopes a b",)),)

    def test_pruning_disables_what_is_active_and_absent(self) -> None:
        assert self.plan(prune=False).steps == ()
        [step] = self.plan(prune=True).steps
        assert (step.kind, step.client_id, step.change, step.version) == (
            "disable",
            "bot",
            {"is_active": False},
            7,
        )
        assert self.plan(prune=True, is_active=False).steps == ()
