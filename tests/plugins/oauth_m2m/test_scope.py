from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.oauth_m2m.errors import InvalidScope
from plugins.oauth_m2m.scope import format_scope, grant, is_registrable, is_scope_token, parse_scope

# RFC 6749 3.3, spelled out one character at a time
ALLOWED = [chr(code) for code in (0x21, *range(0x23, 0x5C), *range(0x5D, 0x7F))]
scope_tokens = st.text(ALLOWED, min_size=1)


@given(st.characters())
def test_a_scope_token_is_made_of_the_characters_of_the_rfc(character: str) -> None:
    assert is_scope_token(f"a{character}b") == (character in ALLOWED)


@pytest.mark.parametrize("text", ["", " ", "a b", "a\n", "\na", 'a"', "a\\b", "a\x7f", "é"])
def test_what_is_no_scope_token(text: str) -> None:
    assert not is_scope_token(text)
    assert not is_registrable(text)


def test_a_comma_is_a_scope_token_and_cannot_be_registered() -> None:
    assert is_scope_token("a,b")
    assert not is_registrable("a,b")
    assert is_registrable("bot:api")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", ()),
        ("   ", ()),
        ("a", ("a",)),
        ("  b   a ", ("b", "a")),
        ("a b a a", ("a", "b")),
        ("a A", ("a", "A")),
    ],
)
def test_parses_by_spaces_in_order_without_repeats(text: str, tokens: tuple[str, ...]) -> None:
    assert parse_scope(text) == tokens


@pytest.mark.parametrize(
    "bad", ["\t", "\n", "\r", "\x00", "\x7f", '"', "\\", "\xa0", "é", "\u2003", "\ud800"]
)
def test_a_forbidden_character_anywhere_is_an_invalid_scope(bad: str) -> None:
    for text in (bad, f"a{bad}b", f"a {bad}", f"{bad} a"):
        with pytest.raises(InvalidScope) as refused:
            parse_scope(text)
        assert refused.value.status == 400


@given(st.text() | st.text(' ab"\\\t,:'))
def test_any_text_is_a_scope_or_an_invalid_scope(text: str) -> None:
    if set(text) <= {" ", *ALLOWED}:
        assert parse_scope(text) == tuple(dict.fromkeys(re.findall("[^ ]+", text)))
    else:
        with pytest.raises(InvalidScope):
            parse_scope(text)


@given(st.lists(scope_tokens, unique=True))
def test_a_scope_survives_the_wire(tokens: list[str]) -> None:
    assert list(parse_scope(format_scope(tokens))) == tokens


REGISTERED = ("bot:api", "bot:read")


@pytest.mark.parametrize("requested", [None, "", " ", "   "])
def test_without_a_request_everything_registered_is_granted(requested: str | None) -> None:
    assert grant(requested, REGISTERED, status=401) == REGISTERED


def test_what_is_requested_is_granted_and_no_more() -> None:
    assert grant("bot:read", REGISTERED, status=401) == ("bot:read",)
    assert grant(" bot:read  bot:api bot:read", REGISTERED, status=401) == ("bot:read", "bot:api")


@pytest.mark.parametrize("status", [400, 401])
def test_anything_beyond_refuses_the_whole_and_names_what_is_refused(status: int) -> None:
    with pytest.raises(InvalidScope) as refused:
        grant("bot:api fleet:write BOT:READ", REGISTERED, status=status)
    assert refused.value.status == status
    assert refused.value.description == "The client may not have the scope fleet:write BOT:READ."


def test_a_malformed_scope_is_400_whatever_the_setting() -> None:
    with pytest.raises(InvalidScope) as refused:
        grant("bot:api\tbot:read", REGISTERED, status=401)
    assert refused.value.status == 400


@given(st.lists(scope_tokens, unique=True, min_size=1), st.text(), st.sampled_from([400, 401]))
def test_nothing_is_granted_that_is_not_registered(registered: list[str], text: str, status: int) -> None:
    try:
        granted = grant(text, registered, status=status)
    except InvalidScope:
        return
    assert granted
    assert set(granted) <= set(registered)
