from __future__ import annotations

import pytest

from plugins.oauth_m2m.config import OAuthM2MConfig
from station.settings import read_section


def read(table: dict[str, object] | None = None, /, **environ: str) -> OAuthM2MConfig:
    """The settings from the environment (names without OAUTH_M2M_) and a table of station.toml."""
    problems: list[str] = []
    variables = {f"OAUTH_M2M_{name}": value for name, value in environ.items()}
    found = read_section(OAuthM2MConfig, "oauth_m2m", variables, table or {}, problems)
    if problems:
        raise ValueError("\n".join(problems))
    return found


def test_defaults() -> None:
    settings = read()
    assert settings == OAuthM2MConfig()
    assert (settings.token_ttl, settings.bcrypt_cost, settings.scopes) == (3600, 12, None)
    assert settings.invalid_scope_status == 401
    assert settings.client_auth_methods == ("client_secret_basic", "client_secret_post")


@pytest.mark.parametrize(
    ("value", "scopes"),
    [
        ("bot:api, bot:write ,,bot:api", {"bot:api": "", "bot:write": ""}),
        ('{"bot:api": "Call the API.", "bot:write": ""}', {"bot:api": "Call the API.", "bot:write": ""}),
        (' {"a{b}": "Braces."}', {"a{b}": "Braces."}),
        (",", {}),
        ("{}", {}),
    ],
)
def test_the_catalogue_is_names_or_an_object(value: str, scopes: dict[str, str]) -> None:
    assert read(SCOPES=value).scopes == scopes


def test_the_catalogue_in_the_file_is_an_array_or_a_table() -> None:
    assert read({"scopes": ["bot:api"]}).scopes == {"bot:api": ""}
    assert read({"scopes": {"bot:api": "Call the API."}}).scopes == {"bot:api": "Call the API."}
    assert read({"scopes": {"bot:api": ""}}, SCOPES="bot:write").scopes == {"bot:write": ""}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("{", "JSON object"),
        ('{"bot:api": 1}', "list of names"),
        ('{"bot,api": ""}', "'bot,api' is not"),
        ('{"": ""}', "'' is not"),
        ("bot api", "'bot api' is not"),
        ('bot"api', "is not"),
        ("böt", "'böt' is not"),
    ],
)
def test_a_catalogue_that_is_wrong(value: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"^OAUTH_M2M_SCOPES must .*{why}"):
        read(SCOPES=value)


def test_a_catalogue_is_not_changed_after_the_start() -> None:
    scopes = read(SCOPES="bot:api").scopes
    with pytest.raises(TypeError):
        scopes["bot:write"] = ""  # type: ignore[index] # that is the point


@pytest.mark.parametrize(
    ("value", "methods"),
    [
        ("client_secret_post", ("client_secret_post",)),
        ("client_secret_post,client_secret_basic", ("client_secret_post", "client_secret_basic")),
    ],
)
def test_methods_may_be_turned_off(value: str, methods: tuple[str, ...]) -> None:
    assert read(CLIENT_AUTH_METHODS=value).client_auth_methods == methods


@pytest.mark.parametrize(("value", "status"), [("400", 400), (" 401 ", 401)])
def test_the_status_of_invalid_scope(value: str, status: int) -> None:
    assert read(INVALID_SCOPE_STATUS=value).invalid_scope_status == status
    assert read({"invalid_scope_status": status}).invalid_scope_status == status


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("TOKEN_TTL", ["59", "3601", "an hour", "60.0"]),
        ("BCRYPT_COST", ["3", "21", "x"]),
        ("INVALID_SCOPE_STATUS", ["403", "4e2", "none"]),
        ("CLIENT_AUTH_METHODS", [",", "none", "client_secret_basic,private_key_jwt"]),
    ],
)
def test_a_value_that_is_wrong_is_named(name: str, values: list[str]) -> None:
    for value in values:
        with pytest.raises(ValueError, match=f"^OAUTH_M2M_{name} must "):
            read(**{name: value})


@pytest.mark.parametrize(("ttl", "cost"), [(60, 4), (3600, 20)])
def test_bounds_are_allowed(ttl: int, cost: int) -> None:
    settings = read(TOKEN_TTL=str(ttl), BCRYPT_COST=str(cost))
    assert (settings.token_ttl, settings.bcrypt_cost) == (ttl, cost)
