"""``station backup`` and ``restore``, as they are typed, on the embedded engines."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import uuid
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import jwt
import pymongo
import pytest
from bson import Binary, Int64, ObjectId
from cryptography.hazmat.primitives.asymmetric import ed25519

from plugins.oauth_m2m.keyring.sealing import KeySealer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result
    from pymongo.database import Database

    from station.embedded import Endpoints
    from tests.station.cli.conftest import Station

JWT_SECRET = "a-signing-secret-for-the-tests-only-0123456789"
NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
CLIENT = {
    "_id": ObjectId(),
    "client_id": "station-bot",
    "name": "Ümläut \u2028 \0",
    "generation": "a-generation",
    "scopes": ["bot:api"],
    "secrets": [{"id": "one", "last_used_at": None}],
    "version": 3,
    "large": Int64(3),
    "created_at": NOW,
}
USER = {"_id": "usr_1", "email": "ada@example.com", "generation": "of-ada", "reset": {"hash": "abc"}}
EVENT = {"_id": "before", "time": NOW, "action": "client.registered", "outcome": "ok"}


PRIVATE = ed25519.Ed25519PrivateKey.generate()
PUBLIC = jwt.get_algorithm_by_name("EdDSA").to_jwk(PRIVATE.public_key(), as_dict=True)
KEY = {
    "kid": "kid1",
    "alg": "EdDSA",
    "state": "active",
    "published_at": NOW,
    "jwk": PUBLIC,
    "sealed": KeySealer([JWT_SECRET]).seal("kid1", "EdDSA", PRIVATE),
    "activated_at": NOW,
    "verifies_until": None,
}


class Site:
    """A database, and the command on it."""

    def __init__(self, station: Station, environ: dict[str, str], database: Database[Any]) -> None:
        self.database = database
        self._station = station
        self._environ = environ

    def run(self, *arguments: str, input: str | None = None, **environ: str) -> Result:  # noqa: A002 - as in click
        return self._station(*arguments, input=input, **{**self._environ, **environ})

    def fill(self) -> None:
        """Migrate, and put one of everything in."""
        assert self.run("migrate", "up").exit_code == 0
        self.database["oauth_clients"].insert_one(CLIENT)
        self.database["users"].insert_one(USER)
        self.database["signing_keys"].insert_one({"_id": "keyring", "version": 1, "keys": [KEY]})
        self.database["revoked_tokens"].insert_one({"_id": "jti1", "expires_at": NOW.replace(year=2099)})
        self.database["audit_events"].insert_one(EVENT)

    def content(self) -> dict[str, list[Any]]:
        """Every document of every collection, and its indexes."""
        return {
            name: [sorted(self.database[name].find(), key=lambda one: str(one["_id"])),
                   self.database[name].index_information()]
            for name in sorted(self.database.list_collection_names())
        }  # fmt: skip


@pytest.fixture
def site(station: Station, engines: Endpoints) -> Iterator[Site]:
    name = f"test_{uuid.uuid4().hex}"
    environ = {
        "STATION_PLUGINS": "oauth_m2m",
        "MONGODB_URI": engines.mongodb_uri,
        "MONGODB_DATABASE": name,
        "REDIS_URL": engines.redis_url,
        "JWT_SECRET": JWT_SECRET,
    }
    with pymongo.MongoClient[dict[str, Any]](engines.mongodb_uri, tz_aware=True) as mongodb:
        yield Site(station, environ, mongodb[name])
        mongodb.drop_database(name)


@pytest.fixture
def backup(site: Site, tmp_path: Path) -> str:
    """A file with one of everything."""
    site.fill()
    file = tmp_path / "station.gz"
    made = site.run("backup", str(file))
    assert made.exit_code == 0, made.output
    return str(file)


def wreck(site: Site) -> None:
    site.database.client.drop_database(site.database.name)


def test_all_comes_back_of_every_type_with_its_indexes(site: Site, backup: str) -> None:
    before = site.content()
    wreck(site)
    restored = site.run("restore", backup, "--keep-tokens")
    assert restored.exit_code == 0, restored.output
    assert "1 oauth_clients" in restored.stderr
    assert "Warning: whatever was revoked" in restored.stderr
    after = site.content()
    [events, _] = after["audit_events"]
    events[:] = [event for event in events if event["action"] != "database.restored"]
    assert after == before
    assert isinstance(site.database["oauth_clients"].find_one({})["large"], Int64)  # type: ignore[index] # it is there
    assert site.run("migrate", "up").stdout == "Nothing to be applied.\n"


def test_a_restore_ends_tokens_sessions_and_resets(site: Site, backup: str) -> None:
    wreck(site)
    restored = site.run("restore", backup)
    assert restored.exit_code == 0, restored.output
    assert "All tokens and sessions have ended" in restored.stderr
    client, user = (site.database[name].find_one({}) for name in ("oauth_clients", "users"))
    assert client is not None
    assert user is not None
    assert client.pop("generation") not in {"a-generation", "", None}
    assert user.pop("generation") not in {"of-ada", "", None}
    assert client == {name: value for name, value in CLIENT.items() if name != "generation"}
    assert user == {"_id": "usr_1", "email": "ada@example.com"}


def test_the_file_is_private_whole_and_without_what_is_nobodys(
    site: Site, backup: str, tmp_path: Path
) -> None:
    file = tmp_path / "station.gz"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.glob("*.gz*")] == ["station.gz"]
    text = gzip.decompress(file.read_bytes()).decode()
    assert JWT_SECRET not in text
    header, *_, end = map(json.loads, text.splitlines())
    assert header["header"]["database"] == site.database.name
    assert header["header"]["migrations"][0] == "auth/0001_users_email"
    assert end["end"]["counts"]["users"] == 1
    # what lets somebody in is read first
    order = re.findall(r'^\{"collection": "(\w+)"', text, re.MULTILINE)
    assert order.index("oauth_clients") < order.index("revoked_tokens")


def test_what_is_there_is_not_replaced_unless_that_is_said(site: Site, backup: str) -> None:
    site.database["oauth_clients"].insert_one({"_id": 1, "client_id": "newer"})
    site.database["of_nobody"].insert_one({"_id": 1})
    before = site.content()
    refused = site.run("restore", backup)
    assert refused.exit_code == 1
    assert "holds 2 oauth_clients, 1 of_nobody, 1 revoked_tokens" in refused.stderr
    assert site.run("restore", backup, "--replace", input="n\n").exit_code == 1
    assert site.content() == before
    agreed = site.run("restore", backup, "--replace", input="y\n")
    assert agreed.exit_code == 0, agreed.output
    assert [client["client_id"] for client in site.database["oauth_clients"].find()] == ["station-bot"]
    assert "of_nobody" not in site.database.list_collection_names()
    assert not [name for name in site.database.list_collection_names() if name.startswith("restoring")]


def test_the_audit_is_added_to(site: Site, backup: str) -> None:
    site.database["audit_events"].insert_one({**EVENT, "_id": "after", "action": "client.disabled"})
    site.database["audit_events"].delete_one({"_id": "before"})
    assert site.run("restore", backup, "--replace", "--yes").exit_code == 0
    events = {event["_id"]: event for event in site.database["audit_events"].find()}
    assert {"before", "after"} <= events.keys()
    [restored] = [event for event in events.values() if event["action"] == "database.restored"]
    assert (restored["outcome"], restored["actor"]["kind"]) == ("ok", "cli")
    assert restored["detail"]["tokens_kept"] is False
    assert "expires_at" in site.database["audit_events"].index_information()


def test_a_change_that_had_not_ended_then_has_ended_after_a_restore(site: Site, tmp_path: Path) -> None:
    site.fill()
    events, file = site.database["audit_events"], str(tmp_path / "station.gz")
    events.insert_many([{**EVENT, "_id": name, "outcome": "begun"} for name in ("ended", "died")])
    now = datetime.now(UTC)
    events.insert_one({**EVENT, "_id": "counted", "time": now, "count": 1})
    assert site.run("backup", file).exit_code == 0
    events.update_one({"_id": "ended"}, {"$set": {"outcome": "ok"}})
    events.update_one({"_id": "counted"}, {"$set": {"count": 5}})
    assert site.run("restore", file, "--replace", "--yes").exit_code == 0
    after = {event["_id"]: event for event in events.find()}
    assert [after[name]["outcome"] for name in ("ended", "died", "before")] == ["ok", "begun", "ok"]
    assert after["counted"]["count"] == 5


def test_without_the_audit(site: Site, backup: str, tmp_path: Path) -> None:
    file = str(tmp_path / "small.gz")
    assert "audit_events" not in site.run("backup", file, "--without-audit").stderr
    wreck(site)
    assert site.run("restore", file).exit_code == 0
    assert "expires_at" in site.database["audit_events"].index_information()
    assert site.database["audit_events"].count_documents({"action": "client.registered"}) == 0
    assert backup


def test_what_is_damaged_changes_nothing(site: Site, backup: str, tmp_path: Path) -> None:
    before = site.content()
    whole = (tmp_path / "station.gz").read_bytes()
    (tmp_path / "station.gz").write_bytes(whole[: len(whole) // 2])
    refused = site.run("restore", backup, "--replace", "--yes")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: The backup is damaged")
    assert site.content() == before


def test_a_restore_that_fails_half_way_is_seen_changes_nothing_and_can_be_repeated(
    site: Site, backup: str, tmp_path: Path
) -> None:
    # a document twice: no checksum finds that, and MongoDB refuses it when most is written
    lines = gzip.decompress((tmp_path / "station.gz").read_bytes()).decode().splitlines()
    [place] = [place for place, line in enumerate(lines) if '"usr_1"' in line]
    before = site.content()
    twice = tmp_path / "twice.gz"
    twice.write_bytes(again(lines[: place + 1] + lines[place:-1]))
    failed = site.run("restore", str(twice), "--replace", "--yes")
    assert failed.exit_code == 1
    assert failed.stderr.startswith("Error: MongoDB does not do it")
    after = site.content()
    [events, _] = after["audit_events"]
    [event] = [event for event in events if event["action"] == "database.restored"]
    assert event["outcome"] == "failed"
    for name, content in before.items():
        if name != "audit_events":
            assert after[name] == content
    assert site.run("restore", backup, "--replace", "--yes").exit_code == 0
    assert not [name for name in site.database.list_collection_names() if name.startswith("restoring")]


def again(lines: list[str]) -> bytes:
    """The archive of these lines, with an end that fits them."""
    counts: Counter[str] = Counter()
    name = ""
    for line in lines[1:]:
        if line.startswith('{"collection"'):
            name = json.loads(line)["collection"]
            counts[name] = 0
        else:
            counts[name] += 1
    text = "".join(f"{line}\n" for line in lines)
    end = {"counts": counts, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    return gzip.compress((text + json.dumps({"end": end}) + "\n").encode())


def test_keys_must_open(site: Site, backup: str) -> None:
    wreck(site)
    refused = site.run("restore", backup, JWT_SECRET="another-signing-secret-for-the-tests-0123456789")
    assert refused.exit_code == 1
    assert "kid1 was sealed under another JWT_SECRET" in refused.stderr
    assert site.database.list_collection_names() == []
    former = {
        "JWT_SECRET": "another-signing-secret-for-the-tests-0123456789",
        "JWT_SECRET_PREVIOUS": JWT_SECRET,
    }
    assert site.run("restore", backup, **former).exit_code == 0


def test_keys_can_be_left_out(site: Site, backup: str) -> None:
    wreck(site)
    restored = site.run(
        "restore",
        backup,
        "--leave-out",
        "signing_keys",
        JWT_SECRET="another-signing-secret-0123456789-0123456789",
    )
    assert restored.exit_code == 0, restored.output
    assert site.database["signing_keys"].count_documents({}) == 0
    assert site.database["oauth_clients"].count_documents({}) == 1
    misspelt = site.run("restore", backup, "--replace", "--yes", "--leave-out", "signing_kees")
    assert "holds no signing_kees" in misspelt.stderr


def test_a_plugin_that_is_off_could_not_end_its_tokens(site: Site, backup: str) -> None:
    wreck(site)
    refused = site.run("restore", backup, STATION_PLUGINS="none")
    assert refused.exit_code == 1
    assert "oauth_m2m/0001-clients-and-revocations" in refused.stderr
    assert "Switch the same plugins on" in refused.stderr
    assert site.database.list_collection_names() == []


def test_a_database_of_nobody_is_no_backup(site: Site, tmp_path: Path) -> None:
    refused = site.run("backup", str(tmp_path / "none.gz"))
    assert refused.exit_code == 1
    assert "holds nothing of Station's" in refused.stderr
    assert not list(tmp_path.glob("*none*"))


def test_standard_output_and_input(site: Site, backup: str) -> None:
    piped = site.run("backup", "-")
    assert piped.exit_code == 0
    assert gzip.decompress(piped.stdout_bytes).startswith(b'{"header"')
    assert "Backed up" in piped.stderr
    assert site.run("restore", "-", "--replace").exit_code == 2  # nobody could be asked
    assert backup


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_a_file_that_cannot_be_is_a_sentence(site: Site, command: str, tmp_path: Path) -> None:
    site.fill()
    result = site.run(command, str(tmp_path / "nowhere" / "station.gz"))
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "No such file or directory" in result.stderr


def test_binary_values_survive(site: Site, tmp_path: Path) -> None:
    site.fill()
    site.database["of_a_plugin"].insert_one(
        {"_id": 1, "data": Binary(b"\0\1", 128), "uuid": Binary(b"a" * 16, 4)}
    )
    before = site.database["of_a_plugin"].find_one({})
    file = str(tmp_path / "station.gz")
    assert site.run("backup", file).exit_code == 0
    wreck(site)
    assert site.run("restore", file).exit_code == 0
    assert site.database["of_a_plugin"].find_one({}) == before
    assert (
        base64.b64encode(b"\0\1").decode() in gzip.decompress((tmp_path / "station.gz").read_bytes()).decode()
    )
