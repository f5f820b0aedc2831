from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.oauth_m2m.errors import (
    BearerError,
    InsufficientScope,
    InvalidBearerRequest,
    InvalidClient,
    InvalidGrant,
    InvalidRequest,
    InvalidScope,
    InvalidToken,
    MissingToken,
    OAuthError,
    ServerError,
    TemporarilyUnavailable,
    UnauthorizedClient,
    UnsupportedGrantType,
    UnsupportedTokenType,
    from_response_error,
)
from station import errors

if TYPE_CHECKING:
    from collections.abc import Callable

BASIC = 'Basic realm="station"'
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]{0,300}")  # RFC 6749 5.2
QUOTED = r'"[\x20-\x21\x23-\x5b\x5d-\x7e]*"'
CHALLENGE = re.compile(
    rf"Bearer realm={QUOTED}(, error={QUOTED}, error_description={QUOTED})?(, scope={QUOTED})?"
)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (InvalidRequest("x"), 400, "invalid_request"),
        (InvalidGrant("x"), 400, "invalid_grant"),
        (UnauthorizedClient("x"), 400, "unauthorized_client"),
        (UnsupportedGrantType("x"), 400, "unsupported_grant_type"),
        (UnsupportedTokenType("x"), 400, "unsupported_token_type"),
        (InvalidScope("x"), 400, "invalid_scope"),
        (TemporarilyUnavailable("x"), 503, "temporarily_unavailable"),
        (ServerError("x"), 500, "server_error"),
    ],
)
def test_an_error_is_its_code_its_status_and_what_it_says(error: OAuthError, status: int, code: str) -> None:
    assert error.status == status
    assert error.content_type == "application/json"
    assert error.headers == {"Cache-Control": "no-store", "Pragma": "no-cache"}
    assert error.body("request-1") == {"error": code, "error_description": "x"}


def test_without_a_description_the_body_is_the_code() -> None:
    assert ServerError().body("request-1") == {"error": "server_error"}


def test_a_failed_client_gets_a_basic_challenge() -> None:
    assert (InvalidClient().status, InvalidClient.code) == (401, "invalid_client")
    assert InvalidClient().headers["WWW-Authenticate"] == BASIC
    assert InvalidClient().headers["Cache-Control"] == "no-store"


def test_a_refused_scope_carries_a_challenge_exactly_with_401() -> None:
    assert InvalidScope("x", status=401).status == 401
    assert InvalidScope("x", status=401).headers["WWW-Authenticate"] == BASIC
    assert "WWW-Authenticate" not in InvalidScope("x", status=400).headers


def test_forbidden_characters_are_replaced() -> None:
    assert InvalidRequest('a"b\\c\r\nd\té').description == "a?b?c??d??"


@pytest.mark.parametrize(
    ("error", "status", "challenge"),
    [
        (MissingToken(), 401, 'Bearer realm="station"'),
        (
            InvalidToken(),
            401,
            'Bearer realm="station", error="invalid_token", error_description="The token is not valid."',
        ),
        (
            InvalidBearerRequest("Once."),
            400,
            'Bearer realm="station", error="invalid_request", error_description="Once."',
        ),
        (
            InsufficientScope(["a:b", "c"]),
            403,
            'Bearer realm="station", error="insufficient_scope", '
            'error_description="This needs the scope a:b c.", scope="a:b c"',
        ),
    ],
)
def test_a_bearer_refusal_says_in_the_challenge_what_its_body_says(
    error: BearerError, status: int, challenge: str
) -> None:
    assert (error.status, error.headers["WWW-Authenticate"]) == (status, challenge)
    assert error.body("request-1") == {"error": error.code, "error_description": error.description}


def test_a_long_list_of_scopes_is_whole_in_the_challenge() -> None:
    needed = [f"scope-{number:03}" for number in range(100)]
    error = InsufficientScope(needed)
    assert f'scope="{" ".join(needed)}"' in error.headers["WWW-Authenticate"]
    assert len(error.description) == 300


@given(st.text(max_size=400))
def test_whatever_is_quoted_a_description_is_within_the_rfc(text: str) -> None:
    makers: list[Callable[[str], OAuthError]] = [InvalidRequest, InvalidScope, InvalidBearerRequest]
    for make in makers:
        error = make(text)
        assert DESCRIPTION.fullmatch(error.description)
        assert len(error.description) == min(len(text), 300)


@given(st.text(), st.lists(st.text()))
def test_whatever_is_quoted_a_challenge_is_well_formed(text: str, needed: list[str]) -> None:
    for error in (InvalidBearerRequest(text), InsufficientScope(needed)):
        assert CHALLENGE.fullmatch(error.headers["WWW-Authenticate"])


@pytest.mark.parametrize(
    ("error", "status", "code", "header"),
    [
        (errors.BadRequest("x"), 400, "invalid_request", {}),
        (errors.Forbidden("x"), 403, "invalid_request", {}),
        (errors.NotFound("x"), 404, "invalid_request", {}),
        (errors.MethodNotAllowed(["POST", "OPTIONS"]), 405, "invalid_request", {"Allow": "POST, OPTIONS"}),
        (errors.ContentTooLarge("x"), 413, "invalid_request", {}),
        (errors.UnsupportedMediaType("x"), 400, "invalid_request", {}),
        (errors.TooManyRequests(7), 429, "temporarily_unavailable", {"Retry-After": "7"}),
        (errors.InternalError(), 500, "server_error", {}),
        (
            errors.ServiceUnavailable("x", retry_after=2),
            503,
            "temporarily_unavailable",
            {"Retry-After": "2"},
        ),
    ],
)
def test_a_refusal_of_the_core_is_told_in_the_words_of_oauth(
    error: errors.ResponseError, status: int, code: str, header: dict[str, str]
) -> None:
    found = from_response_error(error)
    assert (found.status, found.code, found.description) == (status, code, error.description)
    assert found.headers == {"Cache-Control": "no-store", "Pragma": "no-cache", **header}
