from __future__ import annotations

import dataclasses
from pathlib import Path  # noqa: TC003 - hypothesis reads annotations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.settings import (
    Setting,
    choice,
    did_you_mean,
    integer,
    misspelt_variables,
    names,
    read_section,
    setting,
    settings_of,
    text,
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    size: int = setting("How many bots there may be.", default=10, parse=integer(minimum=1, maximum=99))
    bots: tuple[str, ...] = setting("Their names.", default=("a", "b"), parse=names)
    mood: str = setting("Their mood.", default="calm", parse=choice("calm", "wild"), env="MOOD")
    key: str | None = setting(
        "Their key.", default=None, parse=text, secret=True, default_text="made at start"
    )
    store: str | None = setting("Where they live.", default=None, parse=text, repr=False)
    scopes: dict[str, str] | None = setting("What they may.", default=None, parse=text)
    derived: int = dataclasses.field(default=0)


def read(
    environ: dict[str, str] | None = None, table: dict[str, object] | None = None, **more: Any
) -> tuple[Fleet, list[str]]:
    problems: list[str] = []
    return read_section(Fleet, "fleet", environ or {}, table or {}, problems, **more), problems


def declared(key: str) -> Setting:
    return next(item for item in settings_of(Fleet, "fleet") if item.key == key)


def test_every_declared_field_is_a_setting_in_order() -> None:
    found = [(item.key, item.env, item.default_text) for item in settings_of(Fleet, "fleet")]
    assert found == [
        ("size", "FLEET_SIZE", "10"),
        ("bots", "FLEET_BOTS", "a,b"),
        ("mood", "MOOD", "calm"),
        ("key", "FLEET_KEY", "made at start"),
        ("store", "FLEET_STORE", "unset"),
        ("scopes", "FLEET_SCOPES", "unset"),
    ]


def test_a_section_without_a_name_has_plain_variables() -> None:
    assert [item.env for item in settings_of(Fleet)][:3] == ["SIZE", "BOTS", "MOOD"]


def test_the_environment_wins_over_the_file_and_options_over_both() -> None:
    fleet, problems = read({"FLEET_SIZE": "7"}, {"size": 8, "mood": "wild"})
    assert (fleet.size, fleet.mood, fleet.bots, problems) == (7, "wild", ("a", "b"), [])
    fleet, problems = read({"FLEET_SIZE": "none"}, {"size": 8}, overrides={"size": 9})
    assert (fleet.size, problems) == (9, [])


def test_an_empty_variable_counts_as_unset() -> None:
    fleet, problems = read({"FLEET_SIZE": " ", "MOOD": ""}, {"mood": "wild"})
    assert (fleet.size, fleet.mood, problems) == (10, "wild", [])


def test_a_secret_may_be_in_a_file_that_a_variable_names(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("  a-secret-of-a-file\n")
    assert declared("key").variables == {"FLEET_KEY", "FLEET_KEY_FILE"}
    assert declared("store").file_env == "FLEET_STORE_FILE"  # a URL may hold a password
    assert declared("size").variables == {"FLEET_SIZE"}
    fleet, problems = read({"FLEET_KEY_FILE": f"{file}\n"}, {"key": "of the table"})
    assert (fleet.key, problems) == ("a-secret-of-a-file", [])
    assert read({"FLEET_SIZE_FILE": str(file)})[0].size == 10


def test_a_file_that_cannot_be_is_reported_without_its_content(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"a-secret-\xff")
    _, [unreadable] = read({"FLEET_KEY_FILE": str(file)})
    assert unreadable == f"FLEET_KEY (by FLEET_KEY_FILE) must be UTF-8 text in {file}. It is: Their key."
    file.write_text(" \n")
    _, [blank] = read({"FLEET_KEY_FILE": str(file)})
    assert blank.startswith("FLEET_KEY (by FLEET_KEY_FILE) must be text and not blank")
    file.unlink()
    _, [missing] = read({"FLEET_KEY_FILE": str(file)})
    assert f"must be in a file that Station may read: {file}: No such file or directory" in missing
    _, [both] = read({"FLEET_KEY": "a-secret", "FLEET_KEY_FILE": str(file)})
    assert both == "FLEET_KEY and FLEET_KEY_FILE are both set: unset one of them."


def test_everything_wrong_is_reported_and_leaves_the_default() -> None:
    fleet, problems = read({"FLEET_SIZE": "100", "MOOD": "sad"}, {"bots": "a,b", "bats": 1, "alpha": 2})
    assert fleet == Fleet()
    assert problems == [
        "station.toml has an unknown key, [fleet] alpha.",
        "station.toml has an unknown key, [fleet] bats. Did you mean bots?",
        "FLEET_SIZE must be a whole number from 1 to 99. It is: How many bots there may be.",
        "MOOD must be one of calm, wild. It is: Their mood.",
    ]


def test_a_value_of_the_file_is_named_by_both_of_its_names() -> None:
    _, problems = read({}, {"size": "many"}, file="other.toml")
    assert problems == [
        "FLEET_SIZE ([fleet] size in other.toml) must be a whole number from 1 to 99. "
        "It is: How many bots there may be."
    ]


def test_bytes_that_are_no_utf_8_are_refused_and_not_repeated() -> None:
    _, problems = read({"FLEET_KEY": "secret\udcff", "FLEET_BOTS": "a,\udcff"})
    assert problems == [
        "FLEET_BOTS must be UTF-8 text. It is: Their names.",
        "FLEET_KEY must be UTF-8 text. It is: Their key.",
    ]


def test_a_refused_secret_is_not_repeated() -> None:
    _, problems = read({}, {"key": ["hunter2"]})
    assert len(problems) == 1
    assert "hunter2" not in problems[0]


def test_secrets_and_urls_stay_out_of_the_repr() -> None:
    fleet, _ = read({"FLEET_KEY": "hunter2", "FLEET_STORE": "mongodb://me:hunter2@host"})
    assert "hunter2" not in repr(fleet)
    assert "size=10" in repr(fleet)


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("size", 7, "7"),
        ("bots", ("x", "y"), "x,y"),
        ("bots", (), "(none)"),
        ("key", "hunter2", "********"),
        ("key", None, "(unset)"),
        ("key", "", "(unset)"),
        ("scopes", {"bot:api": "Be a bot"}, '{"bot:api": "Be a bot"}'),
        ("store", "mongodb://host:27017/?tls=true", "mongodb://host:27017/?tls=true"),
        ("store", "mongodb://me:hunter2@h1:1,h2:2/db?w=1", "mongodb://me:********@h1:1,h2:2/db?w=1"),
        ("store", "redis://:hunter2@[::1]:6379/0", "redis://:********@[::1]:6379/0"),
        (
            "store",
            "unix://me@/run/redis.sock?password=hunter2&db=1",
            "unix://me@/run/redis.sock?password=********&db=1",
        ),
        ("store", "redis://h?Client_Secret=hunter2", "redis://h?Client_Secret=********"),
    ],
)
def test_values_are_shown_without_secrets(key: str, value: object, shown: str) -> None:
    assert declared(key).shown(value) == shown


@given(
    password=st.text(min_size=8).filter(
        lambda password: password not in "mongodb://me:********@host:27017/db"
    )
)
def test_no_password_of_a_url_is_shown(password: str) -> None:
    assert password not in declared("store").shown(f"mongodb://me:{password}@host:27017/db")


@pytest.mark.parametrize("value", ["1", " 42 ", 1, 99])
def test_whole_numbers(value: object) -> None:
    assert integer(minimum=1, maximum=99)(value) == int(str(value))


@pytest.mark.parametrize("value", ["0", "100", "1.0", "", "x", "9" * 5000, 1.0, True, None, [1]])
def test_what_is_no_whole_number_within_bounds(value: object) -> None:
    with pytest.raises(ValueError, match=r"^be a whole number from 1 to 99$"):
        integer(minimum=1, maximum=99)(value)


def test_whole_numbers_without_an_upper_bound() -> None:
    assert integer(minimum=0)("0") == 0
    with pytest.raises(ValueError, match=r"^be a whole number of at least 0$"):
        integer(minimum=0)("-1")


def test_choices() -> None:
    assert choice("open", "closed")(" open ") == "open"
    for value in ("Open", "", 1, None, ["open"]):
        with pytest.raises(ValueError, match=r"^be one of open, closed$"):
            choice("open", "closed")(value)


def test_names_are_stripped_and_kept_once_in_order() -> None:
    assert names(" b, a ,,b") == names(["b", "a", "b"]) == ("b", "a")
    for value in (1, [1], {"a": 1}, None):
        with pytest.raises(ValueError, match=r"^be a list of names$"):
            names(value)


def test_text_is_stripped_and_not_blank() -> None:
    assert text(" x ") == "x"
    for value in ("", "  ", 1, None):
        with pytest.raises(ValueError, match=r"^be text and not blank$"):
            text(value)


def test_close_variables_are_problems() -> None:
    known = {"MONGODB_URI", "STATION_PLUGINS", "FLEET_SIZE", "PORT"}
    environ = [
        "MONGODB_URL",
        "mongodb_uri",
        "STATION_PLUGIN",
        "FLEET_COLOUR",
        "PATH",
        "HOME",
        "EXPORT",
        "PORT",
    ]
    assert misspelt_variables(environ, known, ["FLEET_"]) == [
        "FLEET_COLOUR is set in the environment and is not a setting.",
        "MONGODB_URL is set in the environment and is not a setting. Did you mean MONGODB_URI?",
        "STATION_PLUGIN is set in the environment and is not a setting. Did you mean STATION_PLUGINS?",
        "mongodb_uri is set in the environment and is not a setting. Did you mean MONGODB_URI?",
    ]


def test_without_plugins_no_prefix_is_owned() -> None:
    assert misspelt_variables(["FLEET_COLOUR", "PATH"], {"PORT"}, []) == []


def test_did_you_mean_offers_close_words_only() -> None:
    assert did_you_mean("fleat", ["fleet", "other"]) == " Did you mean fleet?"
    assert did_you_mean("xyz", ["fleet", "other"]) == ""


_values = st.text() | st.sampled_from(["1", "99", "100", " ", "calm", "a,b", "\udcff", "{", "[]", "\0"])


@given(
    st.dictionaries(
        st.sampled_from(["FLEET_SIZE", "FLEET_BOTS", "MOOD", "FLEET_KEY", "FLEET_STORE", "FLEET_SIZES"]),
        _values,
    ),
    st.dictionaries(
        st.sampled_from(["size", "bots", "mood", "key", "sizes"]) | st.text(),
        _values
        | st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.lists(st.integers() | st.text()),
    ),
)
def test_whatever_is_configured_is_in_bounds_or_a_problem(
    environ: dict[str, str], table: dict[str, object]
) -> None:
    fleet, problems = read(environ, table)
    assert 1 <= fleet.size <= 99
    assert fleet.mood in {"calm", "wild"}
    assert all(fleet.bots)
    # a secret is never repeated, whatever is wrong with it
    secret = environ.get("FLEET_KEY", "")
    assert len(secret) < 16 or not any(secret in problem for problem in problems)
