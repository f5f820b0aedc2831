"""Scope (RFC 6749 3.3): table S of docs/protocol.md, with the status of invalid_scope as 401 and as 400."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from plugins.oauth_m2m.config import OAuthM2MConfig

if TYPE_CHECKING:
    from station.app import Application
    from tests.conftest import Wire
    from tests.plugins.oauth_m2m.conftest import Refusal

CLIENT = "station-bot"
SECRET = "the-secret-of-these-tests-0123456789"
CREDENTIALS = (CLIENT, SECRET)
REGISTERED = ["bot:api", "bot:write", "a+b", "https://station.example/fleet", "!#[]^~"]


@pytest.fixture(params=[401, 400])
def status(request: pytest.FixtureRequest) -> int:
    """What OAUTH_M2M_INVALID_SCOPE_STATUS is set to."""
    return int(request.param)


@pytest.fixture
def catalogue() -> dict[str, str] | None:
    """What OAUTH_M2M_SCOPES is set to."""
    return None


@pytest.fixture
def m2m_settings(status: int, catalogue: dict[str, str] | None) -> OAuthM2MConfig:
    """The plugin's settings, with the status."""
    return OAuthM2MConfig(bcrypt_cost=4, invalid_scope_status=status, scopes=catalogue)


async def register(wire: Wire, scopes: list[str] = REGISTERED) -> None:
    await wire.register(CLIENT, clientSecret=SECRET, scopes=scopes)


async def ask(wire: Wire, scope: bytes, basic: tuple[str, str] = CREDENTIALS) -> Any:
    """Ask for this scope, encoded already."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    body = b"grant_type=client_credentials&scope=" + scope
    return await wire.fetch("POST", "/auth/token", headers=headers, body=body, basic=basic)


async def issued(app: Application) -> int:
    return len(await app.resources.redis.keys("client-token:*"))


def test_the_default_status() -> None:
    """Station's clients were built against 401."""
    assert OAuthM2MConfig().invalid_scope_status == 401


@pytest.mark.row("S1")
@pytest.mark.gen_test
async def test_scopes_outside_the_grammar(wire: Wire, app: Application, refusal: Refusal) -> None:
    r"""3.3: scope-token = 1*( %x21 / %x23-5B / %x5D-7E ): a malformed one is 400 whatever the setting."""
    await register(wire)
    forbidden = [*map(chr, range(0x20)), '"', "\\", "\x7f", "\x80", "\xa0", "\u00fc", "\u2028", "\U0001f916"]
    for character in forbidden:
        for scope in (character, f"bot:api{character}", f"{character} bot:api", f"bot:{character}api"):
            answer = await ask(wire, quote(scope).encode())
            assert scope not in refusal(answer, 400, "invalid_scope")
    assert await issued(app) == 0


@pytest.mark.row("S1")
@pytest.mark.gen_test
async def test_every_character_of_the_grammar(wire: Wire) -> None:
    """3.3: all of %x21, %x23-5B and %x5D-7E, but for the comma that Station's settings need."""
    alphabet = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"\\,')
    await register(wire, [alphabet, "x"])
    answer = await ask(wire, quote(alphabet, safe="").encode())
    assert (answer.status, answer.json["scope"]) == (200, alphabet)


@pytest.mark.row("S2")
@pytest.mark.parametrize(
    ("requested", "granted"),
    [
        ("bot:write bot:api", {"bot:api", "bot:write"}),
        ("bot:api bot:write", {"bot:api", "bot:write"}),
        ("bot:api bot:api  bot:api", {"bot:api"}),
        ("bot:write bot:api bot:write", {"bot:api", "bot:write"}),
    ],
)
@pytest.mark.gen_test
async def test_order_and_repeats_mean_nothing(wire: Wire, requested: str, granted: set[str]) -> None:
    """3.3: If the value contains multiple space-delimited strings, their order does not matter."""
    await register(wire)
    answer = await ask(wire, quote(requested).encode())
    assert answer.status == 200
    assert sorted(answer.json["scope"].split(" ")) == sorted(granted)


@pytest.mark.row("S2", "S3")
@pytest.mark.parametrize(
    ("requested", "refused"),
    [
        ("admin", "admin"),
        ("bot:api admin", "admin"),
        ("admin bot:api root", "admin root"),
        ("BOT:API", "BOT:API"),
        ("bot:Api", "bot:Api"),
        ("bot", "bot"),
        ("bot:", "bot:"),
        ("bot:api,bot:write", "bot:api,bot:write"),
        ("bot:*", "bot:*"),
        (".*", ".*"),
        ("x" * 9000, None),
    ],
)
@pytest.mark.gen_test
async def test_scopes_that_the_client_does_not_have(
    wire: Wire, app: Application, refusal: Refusal, status: int, requested: str, refused: str | None
) -> None:
    """5.2: The requested scope is invalid, unknown, malformed, or exceeds the scope granted."""
    await register(wire)
    for answer in (
        await ask(wire, quote(requested).encode()),
        await wire.fetch(
            "POST",
            "/auth/token",
            document={"grant_type": "client_credentials", "scope": requested},
            basic=CREDENTIALS,
        ),
    ):
        description = refusal(answer, status, "invalid_scope")
        if refused is not None:
            assert description == f"The client may not have the scope {refused}."
    assert await issued(app) == 0


@pytest.mark.row("S3")
@pytest.mark.parametrize("scope", [b"bot:api", b"admin", b"%22", b"%0d%0a", b""])
@pytest.mark.gen_test
async def test_the_scope_is_looked_at_after_authentication(
    wire: Wire, refusal: Refusal, scope: bytes
) -> None:
    """Nobody learns from a refused scope what a client may have, or that it exists."""
    await register(wire)
    for basic in ((CLIENT, "not-the-secret-of-these-tests-012345"), ("nobody", SECRET)):
        refusal(await ask(wire, scope, basic), 401, "invalid_client")


@pytest.mark.row("S4", "S5", "S6")
@pytest.mark.parametrize("scope", [None, b"", b"+", b"%20", b"+++%20+"])
@pytest.mark.gen_test
async def test_no_scope_is_the_registered_set(wire: Wire, scope: bytes | None) -> None:
    """3.3: either process the request using a pre-defined default value or fail; 5.1: and say which."""
    await register(wire)
    answer = await (wire.token(CREDENTIALS) if scope is None else ask(wire, scope))
    assert (answer.status, answer.json["scope"]) == (200, " ".join(REGISTERED))


@pytest.mark.row("S5")
@pytest.mark.parametrize("scope", [b"+bot:api", b"bot:api+", b"++bot:api++bot:write+", b"%20bot:api%20%20"])
@pytest.mark.gen_test
async def test_spaces_around_scopes(wire: Wire, scope: bytes) -> None:
    """3.3: space-delimited, and more spaces than needed do no harm."""
    await register(wire)
    answer = await ask(wire, scope)
    expected = "bot:api bot:write" if b"write" in scope else "bot:api"
    assert (answer.status, answer.json["scope"]) == (200, expected)


@pytest.mark.row("S5")
@pytest.mark.parametrize("scope", [b"%09", b"%0a", b"+%0d+", b"%c2%a0", b"bot:api%09bot:write", b"%00"])
@pytest.mark.gen_test
async def test_other_white_space_is_no_space(wire: Wire, refusal: Refusal, scope: bytes) -> None:
    """3.3: only %x20 delimits."""
    await register(wire)
    refusal(await ask(wire, scope), 400, "invalid_scope")


@pytest.mark.row("S6")
@pytest.mark.gen_test
async def test_the_response_says_what_was_granted(wire: Wire) -> None:
    """5.1: if different from the scope requested, REQUIRED; here it always says, and the token agrees."""
    await register(wire)
    answer = await ask(wire, b"bot:write+bot:write+bot:api")
    assert answer.status == 200
    granted = answer.json["scope"].split(" ")
    assert sorted(granted) == ["bot:api", "bot:write"]
    whoami = await wire.fetch("GET", "/auth/client", bearer=answer.json["access_token"])
    assert (whoami.status, whoami.json["scopes"]) == (200, ["bot:api", "bot:write"])
    narrow = await ask(wire, b"bot:write")
    assert narrow.json["scope"] == "bot:write"
    assert (await wire.fetch("GET", "/probe", bearer=narrow.json["access_token"])).status == 403


@pytest.mark.row("S7")
@pytest.mark.gen_test
async def test_a_plus_is_a_space_unless_it_is_encoded(wire: Wire, refusal: Refusal, status: int) -> None:
    """Appendix B: a space is encoded as "+", and a "+" as "%2B"."""
    await register(wire)
    answer = await ask(wire, b"a%2Bb")
    assert (answer.status, answer.json["scope"]) == (200, "a+b")
    assert refusal(await ask(wire, b"a+b"), status, "invalid_scope").endswith("the scope a b.")
    answer = await ask(wire, b"bot:api+bot%3Awrite%20a%2bb")
    assert (answer.status, answer.json["scope"]) == (200, "bot:api bot:write a+b")
    assert "bot:api+bot:write" in refusal(await ask(wire, b"bot:api%2Bbot:write"), status, "invalid_scope")


@pytest.mark.row("S7")
@pytest.mark.gen_test
async def test_a_plus_in_json_is_a_plus(wire: Wire) -> None:
    """JSON has an encoding of its own."""
    await register(wire)
    document = {"grant_type": "client_credentials", "scope": "a+b bot:api"}
    answer = await wire.fetch("POST", "/auth/token", document=document, basic=CREDENTIALS)
    assert (answer.status, answer.json["scope"]) == (200, "a+b bot:api")


UNREGISTRABLE: list[object] = [
    *([], [""], [" "], ["bot:api", ""], ["bot api"], ["bot:api "], ["bot\tapi"], ["bot:api\n"], ['bot"api']),
    *(
        ["bot\\api"],
        ["bot,api"],
        ["b\u00f6t"],
        ["bot\x7f"],
        ["bot\0"],
        ["\U0001f916"],
        [None],
        [1],
        [["bot:api"]],
    ),
    *("bot:api", None, {"bot:api": "x"}, [f"s{n}" for n in range(101)]),
]


@pytest.mark.row("S8")
@pytest.mark.gen_test
async def test_scopes_that_cannot_be_registered(wire: Wire, app: Application) -> None:
    """7591 3.2.2: the authorization server returns an error response, and nothing is stored."""
    for scopes in UNREGISTRABLE:
        document = {"clientId": CLIENT, "clientSecret": SECRET, "scopes": scopes}
        answer = await wire.admin("POST", "/oauth-clients", document)
        assert (answer.status, answer.headers["Content-Type"]) == (400, "application/problem+json"), scopes
        assert {field.partition(".")[0] for field in answer.json["errors"]} == {"scopes"}, scopes
    assert await app.resources.database["oauth_clients"].count_documents({}) == 0


@pytest.mark.row("S8")
@pytest.mark.parametrize("plugins", [[]])
@pytest.mark.parametrize("catalogue", [{"bot:api": "call the bot's interface", "a+b": ""}])
@pytest.mark.gen_test
async def test_a_closed_catalogue(wire: Wire, app: Application) -> None:
    """Every scope that is not in it is named."""
    for scopes, unknown in ((["bot:write"], ["bot:write"]), (["bot:api", "x", "BOT:API"], ["x", "BOT:API"])):
        document = {"clientId": CLIENT, "scopes": scopes}
        answer = await wire.admin("POST", "/oauth-clients", document)
        assert answer.status == 400
        assert answer.json["errors"] == {"scopes": [f"{scope} is not in the catalogue." for scope in unknown]}
    assert await app.resources.database["oauth_clients"].count_documents({}) == 0
    await register(wire, ["a+b", "bot:api", "a+b"])
    answer = await wire.token(CREDENTIALS)
    assert (answer.status, answer.json["scope"]) == (200, "a+b bot:api")


@pytest.mark.row("S3")
@pytest.mark.gen_test
async def test_a_refused_scope_is_no_failure(wire: Wire, app: Application) -> None:
    """The secret was right, so the address is not counted as one that guesses."""
    await register(wire)
    for scope in (b"admin", b"%22"):
        assert (await ask(wire, scope)).json["error"] == "invalid_scope"
    assert await app.resources.redis.keys("throttle:failure:*") == []
    await ask(wire, b"admin", (CLIENT, "not-the-secret-of-these-tests-012345"))
    assert len(await app.resources.redis.keys("throttle:failure:*")) == 1
