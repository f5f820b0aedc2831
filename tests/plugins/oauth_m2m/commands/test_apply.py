from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.config import OAuthM2MConfig
from plugins.oauth_m2m.errors import InvalidClient
from plugins.oauth_m2m.services import services_of

if TYPE_CHECKING:
    from pathlib import Path

    from station.app import Application
    from tests.plugins.oauth_m2m.commands.conftest import Commands

SECRET = "a-client-secret-for-the-tests-0123456789"
OTHER = "another-secret-for-the-tests-0123456789"


@pytest.fixture
def hashes(commands: Commands) -> list[str]:
    """Of SECRET and OTHER, made together."""
    return commands.succeed("hash-secret", "--secret-stdin", stdin=f"{SECRET}\n{OTHER}\n").split()


@pytest.fixture
def file(tmp_path: Path, hashes: list[str]) -> Path:
    file = tmp_path / "clients.toml"
    file.write_text(
        f"""
        [[clients]]
        client_id = "station-bot"
        name = "The bot"
        scopes = ["bot:api"]
        secret_hash = "{hashes[0]}"

        [[clients]]
        client_id = "fleet-bot"
        scopes = ["fleet:read", "fleet:write"]
        token_ttl = 900
        is_active = false
        secret_hashes = {hashes}
        """
    )
    return file


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


class TestHashSecret:
    def test_a_new_secret_and_its_hash(self, commands: Commands) -> None:
        result = commands.run("hash-secret")
        [secret] = re.findall(r"^secret (stn_\S+)$", result.stderr, re.MULTILINE)
        stored = result.stdout.strip()
        commands.succeed("import", "bot", "--scope", "a", "--hash-stdin", stdin=stored)
        assert commands.authenticates("bot", secret)

    def test_secrets_of_ones_own_are_not_shown(self, commands: Commands, hashes: list[str]) -> None:
        assert len(hashes) == 2
        assert all(re.fullmatch(r"\$bcrypt-sha256\$v=2,t=2b,r=4\$\S+", stored) for stored in hashes)
        assert SECRET not in str(hashes)
        assert hashes != commands.succeed("hash-secret", "--secret-stdin", stdin=f"{SECRET}\n{OTHER}").split()

    def test_a_hash_beside_another(self, commands: Commands, hashes: list[str]) -> None:
        arguments = ["hash-secret", "--secret-stdin", "--beside"]
        assert commands.succeed(*arguments, hashes[0], stdin=OTHER).split() == hashes[1:]
        raw = "$2b$04$abcdefghijklmnopqrstuuMFdJu9yVgmagVAIC24fOZkaFqd3s9JC"
        for wrong in (raw, "x", hashes[0][:-1]):
            said = commands.fail(*arguments, wrong, stdin=OTHER)
            assert said[0].startswith("Error: --beside: A ")

    @pytest.mark.parametrize("stdin", ["", "\n", "short\n", f"{SECRET}\nshort\n", f"{SECRET} x\n"])
    def test_what_is_no_secret(self, commands: Commands, stdin: str) -> None:
        said = commands.fail("hash-secret", "--secret-stdin", stdin=stdin)
        assert said == ["Error: Each secret must be 32 to 128 characters of visible ASCII."]


class TestApplying:
    def test_a_dry_run_shows_the_plan_and_does_nothing(self, commands: Commands, file: Path) -> None:
        assert commands.succeed("apply", str(file), "--dry-run").splitlines() == [
            "+ create station-bot: scopes bot:api",
            "+ create fleet-bot: scopes fleet:read fleet:write",
            "2 to create, 0 to change, 0 to disable, 0 as they are.",
        ]
        assert commands.json("list") == []

    def test_it_asks(self, commands: Commands, file: Path) -> None:
        for stdin in ("n\n", ""):
            result = commands.run("apply", str(file), stdin=stdin)
            assert (result.exit_code, "Aborted" in result.stderr) == (1, True)
        assert commands.json("list") == []
        assert commands.run("apply", str(file), stdin="y\n").exit_code == 0
        assert len(commands.json("list")) == 2

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('["bot:api"]', '["bot:read"]'),
            ('name = "The bot"', "is_active = false"),
            ("secret_hash = ", "#"),
        ],
    )
    def test_before_it_asks_it_says_what_will_break(
        self, commands: Commands, file: Path, hashes: list[str], old: str, new: str
    ) -> None:
        commands.succeed("apply", str(file), "--yes")
        if new == "#":  # another secret
            [other] = commands.succeed("hash-secret", "--secret-stdin", stdin="n" * 40).split()
            old, new = f'secret_hash = "{hashes[0]}"', f'secret_hash = "{other}"'
        replace(file, old, new)
        replace(file, '"fleet:write"]', '"fleet:write", "fleet:more"]')
        result = commands.run("apply", str(file), stdin="n\n")
        assert result.exit_code == 1
        told = [line for line in result.stderr.splitlines() if "live tokens" in line]
        assert told == ["station-bot has 0 live tokens. It has never used a secret."]

    def test_before_others_are_disabled_it_says_what_will_break(self, commands: Commands, file: Path) -> None:
        commands.succeed("register", "other", "--scope", "a")
        result = commands.run("apply", str(file), "--prune", stdin="y\n")
        assert result.exit_code == 0
        assert result.stderr.splitlines()[0] == "other has 0 live tokens. It has never used a secret."

    def test_the_clients_are_as_the_file_says_and_a_second_run_does_nothing(
        self, commands: Commands, file: Path
    ) -> None:
        assert commands.succeed("apply", str(file), "--yes").splitlines()[-3:] == [
            "created station-bot",
            "created fleet-bot",
            "2 of 2 done.",
        ]
        fleet, bot = commands.json("list")
        assert (bot["name"], bot["scopes"], bot["tokenTtl"], bot["isActive"]) == (
            "The bot",
            ["bot:api"],
            None,
            True,
        )
        assert (fleet["name"], fleet["scopes"], fleet["tokenTtl"], fleet["isActive"]) == (
            "",
            ["fleet:read", "fleet:write"],
            900,
            False,
        )
        assert commands.authenticates("station-bot", SECRET)
        assert commands.succeed("apply", str(file)) == "Nothing to do.\n"
        commands.succeed("enable", "fleet-bot")
        for secret in (SECRET, OTHER):
            assert commands.authenticates("fleet-bot", secret)

    @pytest.mark.parametrize("settings", [OAuthM2MConfig(bcrypt_cost=5)])
    def test_a_hash_that_station_has_made_anew_is_no_change(self, commands: Commands, tmp_path: Path) -> None:
        stored = "$2b$04$abcdefghijklmnopqrstuuMFdJu9yVgmagVAIC24fOZkaFqd3s9JC"  # of the letter a
        file = tmp_path / "clients.toml"
        file.write_text(f'[[clients]]\nclient_id = "old"\nscopes = ["a"]\nsecret_hash = "{stored}"\n')
        commands.succeed("apply", str(file), "--yes")
        assert commands.authenticates("old", "a")

        async def rehashed(app: Application) -> str:
            return (await services_of(app).clients.get("old")).secrets[0].hash

        assert commands.boot.run(rehashed).startswith("$bcrypt-sha256$")
        assert commands.succeed("apply", str(file), "--yes") == "Nothing to do.\n"

    def test_what_differs_is_changed_and_what_is_left_out_stays(
        self, commands: Commands, file: Path, hashes: list[str]
    ) -> None:
        commands.succeed("apply", str(file), "--yes")
        commands.succeed("change", "station-bot", "--token-ttl", "60")
        replace(file, '["bot:api"]', '["bot:read", "bot:write"]')
        replace(file, '"The bot"', '"A bot"')
        replace(file, "token_ttl = 900", 'token_ttl = "default"')
        replace(file, "is_active = false", "is_active = true")
        replace(file, str(hashes), str(hashes[1:]))
        assert commands.succeed("apply", str(file), "--dry-run").splitlines() == [
            "~ change station-bot: name 'The bot' -> 'A bot'; +bot:read; +bot:write; -bot:api",
            "~ change fleet-bot: token_ttl 900 -> default; is_active False -> True; "
            "secrets: 0 new, 1 end at once",
            "0 to create, 2 to change, 0 to disable, 0 as they are.",
        ]
        commands.succeed("apply", str(file), "--yes")
        fleet, bot = commands.json("list")
        assert (bot["scopes"], bot["tokenTtl"]) == (["bot:read", "bot:write"], 60)
        assert (fleet["tokenTtl"], fleet["isActive"]) == (None, True)
        assert commands.succeed("apply", str(file)) == "Nothing to do.\n"

    def test_another_hash_takes_the_place_of_all_secrets(
        self, commands: Commands, file: Path, hashes: list[str]
    ) -> None:
        commands.succeed("apply", str(file), "--yes")
        [new] = commands.succeed("hash-secret", "--secret-stdin", stdin="n" * 40).split()
        replace(file, str(hashes), f'["{new}"]')
        replace(file, "is_active = false", "is_active = true")
        printed = commands.succeed("apply", str(file), "--yes").splitlines()
        assert printed[0] == ("~ change fleet-bot: is_active False -> True; secrets: 1 new, 2 end at once")
        assert printed[1] == "0 to create, 1 to change, 0 to disable, 1 as they are."
        assert commands.authenticates("fleet-bot", "n" * 40)
        for secret in (SECRET, OTHER):
            with pytest.raises(InvalidClient):
                commands.authenticates("fleet-bot", secret)

    @pytest.mark.parametrize("by", ["option", "file"])
    def test_the_others_are_disabled_only_when_asked(self, commands: Commands, file: Path, by: str) -> None:
        commands.succeed("register", "other", "--scope", "a")
        commands.succeed("apply", str(file), "--yes")
        assert commands.json("show", "other")["isActive"] is True
        options = ["--prune"] if by == "option" else []
        if by == "file":
            file.write_text("prune = true\n" + file.read_text())
        assert commands.succeed("apply", str(file), "--yes", *options).splitlines() == [
            "- disable other: is not in the file",
            "0 to create, 0 to change, 1 to disable, 2 as they are.",
            "disabled other",
            "1 of 1 done.",
        ]
        assert commands.json("show", "other")["isActive"] is False
        assert commands.succeed("apply", str(file), *options) == "Nothing to do.\n"

    def test_a_client_that_changed_since_the_plan_stops_it_and_what_was_done_is_said(
        self, commands: Commands, file: Path
    ) -> None:
        commands.succeed("apply", str(file), "--yes")
        replace(file, '"The bot"', '"A bot"')
        replace(file, "token_ttl = 900", "token_ttl = 901")
        run, runs = commands.boot.run, []

        def race(work: object) -> object:
            """Between the plan and the changes somebody else changes the second client."""
            runs.append(work)
            if len(runs) == 2:
                run(lambda app: services_of(app).clients.change("fleet-bot", {"name": "Mine"}))
            return run(work)  # type: ignore[arg-type] # whatever it was given

        commands.boot.run = race  # type: ignore[assignment,method-assign] # the seam of the fake
        result = commands.run("apply", str(file), "--yes")
        assert result.exit_code == 1
        assert result.stdout.splitlines()[-1] == "changed station-bot"
        assert result.stderr.splitlines() == [
            "1 of 2 done; 1 not, from fleet-bot on.",
            "Error: change fleet-bot: The client fleet-bot has changed; look at it again.",
        ]
        assert commands.json("show", "fleet-bot")["tokenTtl"] == 900

    def test_everything_that_is_wrong_is_said_and_nothing_is_done(
        self, commands: Commands, file: Path
    ) -> None:
        file.write_text(file.read_text() + '[[clients]]\nclient_id = "new"\nscopes = ["a b"]\n')
        replace(file, "token_ttl = 900", "token_ttl = 1")
        said = commands.fail("apply", str(file), "--yes")
        assert said[0] == "Error: 2 things are wrong:"
        assert [line.split(": ")[:2] for line in said[1:]] == [
            ["  - fleet-bot", "token_ttl"],
            ["  - new", "scopes.0"],
        ]
        assert commands.json("list") == []
        assert commands.run("apply", "no-such-file").exit_code == 2

    def test_many_are_counted_as_they_are_done(
        self, commands: Commands, file: Path, hashes: list[str]
    ) -> None:
        file.write_text(
            "".join(
                f'[[clients]]\nclient_id = "bot-{number}"\nscopes = ["a"]\nsecret_hash = "{hashes[0]}"\n'
                for number in range(45)
            )
        )
        result = commands.run("apply", str(file), "--yes")
        assert result.stderr.splitlines() == ["20 of 45", "40 of 45"]
        assert result.stdout.splitlines()[-1] == "45 of 45 done."
        assert len(commands.json("list")) == 45
