"""Guessing secrets (RFC 6749 2.3.1 and 10.10): rows C4 and C15 to C20 of docs/protocol.md."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

import pytest

if TYPE_CHECKING:
    from station.app import Application
    from tests.conftest import Answer, Wire
    from tests.plugins.oauth_m2m.conftest import Raw, Refusal

CLIENT = "station-bot"
SECRET = "the-secret-of-these-tests-0123456789"
CREDENTIALS = (CLIENT, SECRET)
WRONG = (CLIENT, "not-the-secret-of-these-tests-012345")
ENDPOINTS = ["/auth/token", "/auth/revoke"]
VARYING = {"Date", "X-Request-Id"}
BEHIND_A_PROXY = {"trusted_proxies": (ip_network("127.0.0.1/32"),)}


async def register(wire: Wire, client_id: str = CLIENT, secret: str = SECRET) -> None:
    await wire.register(client_id, clientSecret=secret)


async def change(app: Application, changes: dict[str, object], client_id: str = CLIENT) -> None:
    clients = app.resources.database["oauth_clients"]
    assert (await clients.update_one({"client_id": client_id}, {"$set": changes})).matched_count == 1


async def ask(
    wire: Wire,
    basic: tuple[str, str] | None = None,
    *,
    in_body: tuple[str, str] | None = None,
    path: str = "/auth/token",
    address: str = "",
) -> Answer:
    """Call an endpoint with these credentials, and from this address where we are behind a proxy."""
    headers = {"X-Forwarded-For": address} if address else {}
    form = {"grant_type": "client_credentials", "token": "x"}
    if in_body is not None:
        form |= dict(zip(("client_id", "client_secret"), in_body, strict=True))
    return await wire.fetch("POST", path, headers=headers, form=form, basic=basic)


@pytest.mark.row("C4", "C18")
@pytest.mark.gen_test
async def test_what_the_server_issues(wire: Wire) -> None:
    """10.10: The probability of an attacker guessing generated tokens [...] MUST be at most 2^(-128)."""
    registered = [
        await wire.admin("POST", "/oauth-clients", {"clientId": f"bot-{n}", "scopes": ["bot:api"]})
        for n in range(12)
    ]
    secrets = {str(answer.json["clientSecret"]) for answer in registered}
    assert len(secrets) == 12
    # 43 characters of 62 hold 256 bits, and 6 their checksum: no place is the same in all
    assert all(re.fullmatch(r"stn_[0-9A-Za-z]{49}", secret) for secret in secrets)
    assert all(len(set(place)) > 1 for place in zip(*(secret[4:] for secret in secrets), strict=True))
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", answer.json["id"]) for answer in registered)
    assert all(quote_plus(secret) == secret for secret in secrets)

    tokens = [await wire.access_token(("bot-0", registered[0].json["clientSecret"])) for _ in range(12)]
    claims = [json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "==")) for token in tokens]
    assert len({claim["jti"] for claim in claims}) == 12
    assert all(re.fullmatch(r"[0-9a-f]{32}", claim["jti"]) for claim in claims)
    # the signature is a keyed hash of 256 bits
    assert all(len(base64.urlsafe_b64decode(token.split(".")[2] + "=")) == 32 for token in tokens)


def bare(answer: Answer) -> tuple[int, bytes, list[tuple[str, str]]]:
    """All of an answer but its date and request id."""
    headers = sorted(answer.headers.get_all())
    assert {name for name, _ in headers} >= VARYING
    return answer.status, answer.body, [pair for pair in headers if pair[0] not in VARYING]


@pytest.mark.row("C15")
@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.gen_test
async def test_every_failure_is_the_same_answer(
    wire: Wire, app: Application, refusal: Refusal, path: str
) -> None:
    """10.10, and 5.2: nothing tells whether the client exists."""
    for client_id in (CLIENT, "disabled", "expired", "other-bot"):
        await register(wire, client_id)
    assert (await wire.admin("PATCH", "/oauth-clients/disabled", {"isActive": False})).status == 200
    past = datetime.now(UTC) - timedelta(seconds=1)
    await change(app, {"secrets.0.expires_at": past}, "expired")
    assert (await ask(wire, ("other-bot", SECRET), path=path)).status == 200

    refused = {
        "unknown": ("nobody", SECRET),
        "never valid": ("No Such Client", SECRET),
        "disabled": ("disabled", SECRET),
        "disabled and wrong": ("disabled", WRONG[1]),
        "expired": ("expired", SECRET),
        "wrong": WRONG,
        "short": (CLIENT, "x"),
    }
    answers = []
    for client_id, secret in refused.values():
        answers.append(await ask(wire, (client_id, secret), path=path))
        answers.append(await ask(wire, path=path, in_body=(client_id, secret)))
    answers.append(await ask(wire, (CLIENT, "\0"), path=path))
    answers.append(await ask(wire, path=path))
    for answer in answers:
        refusal(answer, 401, "invalid_client")
        assert bare(answer) == bare(answers[0])
    assert len({answer.headers["X-Request-ID"] for answer in answers}) == len(answers)


@pytest.mark.row("C15")
@pytest.mark.gen_test
async def test_every_failure_is_the_same_bytes(wire: Wire, raw: Raw) -> None:
    """The headers come in one order, too."""
    await register(wire)
    answers = []
    for client_id in (CLIENT, "nobody"):
        credentials = base64.b64encode(f"{client_id}:{WRONG[1]}".encode()).decode()
        form = "Content-Type: application/x-www-form-urlencoded"
        body = b"grant_type=client_credentials"
        answer = await raw("POST /auth/token", form, f"Authorization: Basic {credentials}", body=body)
        assert answer.status == 401
        answers.append((answer.body, [pair for pair in answer.headers.get_all() if pair[0] not in VARYING]))
    assert answers[0] == answers[1]


@pytest.mark.row("C15")
@pytest.mark.gen_test
async def test_a_secret_that_expires_later_is_good(wire: Wire, app: Application) -> None:
    """The test above expires it, and nothing else does."""
    await register(wire)
    await change(app, {"secrets.0.expires_at": datetime.now(UTC) + timedelta(minutes=1)})
    assert (await ask(wire, CREDENTIALS)).status == 200


def assert_retry_after(answer: Answer) -> None:
    [seconds] = answer.headers.get_list("Retry-After")
    assert re.fullmatch(r"[1-9][0-9]?", seconds)
    assert 1 <= int(seconds) <= 60


@pytest.mark.row("C16")
@pytest.mark.parametrize("config", [{"failure_throttle_limit": 3}], indirect=True)
@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.gen_test
async def test_failures_are_limited(wire: Wire, refusal: Refusal, path: str) -> None:
    """2.3.1: MUST protect any endpoint utilizing it against brute force attacks."""
    await register(wire)
    assert (await ask(wire, CREDENTIALS, path=path)).status == 200
    guesses = [(CLIENT, "x"), ("nobody", "x"), (CLIENT, "y")]
    assert [(await ask(wire, guess, path=path)).status for guess in guesses] == [401, 401, 401]
    # from now on nobody learns whether a secret is right, anywhere
    for endpoint in ENDPOINTS:
        for answer in (
            await ask(wire, (CLIENT, "z"), path=endpoint),
            await ask(wire, CREDENTIALS, path=endpoint),
            await ask(wire, path=endpoint, in_body=CREDENTIALS),
            await ask(wire, ("third-bot", "z"), path=endpoint),
        ):
            refusal(answer, 429, "temporarily_unavailable")
            assert_retry_after(answer)


@pytest.mark.row("C16")
@pytest.mark.parametrize("config", [{"token_throttle_limit": 2, "revoke_throttle_limit": 2}], indirect=True)
@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.gen_test
async def test_requests_are_limited(wire: Wire, refusal: Refusal, path: str) -> None:
    """6585 4: 429, with a Retry-After header indicating how long to wait."""
    await register(wire)
    await register(wire, client_id="other-bot")
    assert [(await ask(wire, CREDENTIALS, path=path)).status for _ in range(2)] == [200, 200]
    # one client is one client, however it authenticates
    for answer in (
        await ask(wire, CREDENTIALS, path=path),
        await ask(wire, path=path, in_body=CREDENTIALS),
        await ask(wire, ("%73tation-bot", SECRET), path=path),
    ):
        refusal(answer, 429, "temporarily_unavailable")
        assert_retry_after(answer)
    assert (await ask(wire, ("other-bot", SECRET), path=path)).status == 200


@pytest.mark.row("C16")
@pytest.mark.parametrize(
    "config", [{"token_throttle_limit": 1, "token_throttle_ttl_ms": 1100}], indirect=True
)
@pytest.mark.gen_test
async def test_who_waits_as_told_is_served(wire: Wire) -> None:
    """9110 10.2.3: how long the user agent ought to wait before making a follow-up request."""
    await register(wire)
    assert (await ask(wire, CREDENTIALS)).status == 200
    refused = await ask(wire, CREDENTIALS)
    assert refused.status == 429
    await asyncio.sleep(int(refused.headers["Retry-After"]))
    assert (await ask(wire, CREDENTIALS)).status == 200


@pytest.mark.row("C16")
@pytest.mark.parametrize("config", [{"failure_throttle_limit": 2}], indirect=True)
@pytest.mark.gen_test
async def test_guesses_of_the_registration_key_are_limited(wire: Wire) -> None:
    """6585 4, as problem details."""
    document = {"clientId": CLIENT, "scopes": ["bot:api"]}
    wrong = {"x-internal-api-key": "k" * 40}
    for _ in range(2):
        assert (await wire.fetch("POST", "/oauth-clients", headers=wrong, document=document)).status == 401
    answer = await wire.fetch("POST", "/oauth-clients", headers=wrong, document=document)
    assert (answer.status, answer.json["code"]) == (429, "too-many-requests")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert_retry_after(answer)


@pytest.mark.row("C17")
@pytest.mark.parametrize("config", [{**BEHIND_A_PROXY, "failure_throttle_limit": 3}], indirect=True)
@pytest.mark.gen_test
async def test_a_flood_of_failures_locks_nobody_else(wire: Wire) -> None:
    """The same client goes on from every other address."""
    await register(wire)
    flood = [(await ask(wire, WRONG, address="198.51.100.1")).status for _ in range(8)]
    assert flood == [401] * 3 + [429] * 5
    assert (await ask(wire, CREDENTIALS, address="198.51.100.1")).status == 429
    for address in ("198.51.100.2", "203.0.113.9", "2001:db8::1", "127.0.0.1"):
        assert (await ask(wire, CREDENTIALS, address=address)).status == 200


@pytest.mark.row("C17")
@pytest.mark.parametrize("config", [{**BEHIND_A_PROXY, "token_throttle_limit": 2}], indirect=True)
@pytest.mark.gen_test
async def test_the_limit_is_per_client_and_address(wire: Wire) -> None:
    """A flood of requests in a client's name from one address leaves it alone at another."""
    await register(wire)
    flood = [(await ask(wire, address="198.51.100.1", in_body=(CLIENT, ""))).status for _ in range(4)]
    assert flood == [401, 401, 429, 429]
    assert (await ask(wire, CREDENTIALS, address="198.51.100.1")).status == 429
    assert (await ask(wire, CREDENTIALS, address="198.51.100.2")).status == 200


@pytest.mark.row("C17")
@pytest.mark.parametrize(
    "config",
    [{**BEHIND_A_PROXY, "failure_throttle_limit": 3, "token_throttle_limit": 2}],
    indirect=True,
)
@pytest.mark.gen_test
async def test_a_fleet_behind_one_address_is_served(wire: Wire) -> None:
    """Success is no failure, and each client has a limit of its own."""
    fleet = [f"bot-{n}" for n in range(12)]
    for client_id in fleet:
        await register(wire, client_id)
    for _ in range(2):
        answers = [await ask(wire, (client_id, SECRET), address="198.51.100.1") for client_id in fleet]
        assert [answer.status for answer in answers] == [200] * len(fleet)


@pytest.mark.row("C17")
@pytest.mark.parametrize("config", [{**BEHIND_A_PROXY, "failure_throttle_limit": 3}], indirect=True)
@pytest.mark.gen_test
async def test_spraying_is_limited(wire: Wire) -> None:
    """Many ids from one address, which for IPv6 is a network of /64."""
    sprayed = [(await ask(wire, (f"bot-{n}", "x"), address=f"2001:db8:0:1::{n}")).status for n in range(5)]
    assert sprayed == [401, 401, 401, 429, 429]
    assert (await ask(wire, ("bot-9", "x"), address="2001:db8:0:2::1")).status == 401


@pytest.mark.row("C19")
@pytest.mark.parametrize("length", [32, 55, 56, 71, 72, 73, 127, 128])
@pytest.mark.gen_test
async def test_secrets_are_compared_whole(wire: Wire, refusal: Refusal, length: int) -> None:
    """Bcrypt alone reads 72 bytes, and what is cut or added there must still be wrong."""
    secret = ("s3cret-" * 20)[:length]
    await register(wire, secret=secret)
    assert (await ask(wire, (CLIENT, secret))).status == 200
    assert (await ask(wire, in_body=(CLIENT, secret))).status == 200
    for wrong in (secret[:-1], secret[:-1] + "~", "~" + secret[1:], secret + "x", secret[:72] + "x"):
        refusal(await ask(wire, (CLIENT, wrong)), 401, "invalid_client")
        refusal(await ask(wire, in_body=(CLIENT, wrong)), 401, "invalid_client")


@pytest.mark.row("C19")
@pytest.mark.gen_test
async def test_long_secrets_that_differ_in_the_last_character(wire: Wire, refusal: Refusal) -> None:
    """Two clients with secrets of 128 characters, the first 127 of them the same."""
    secrets = {"bot-a": "s" * 127 + "a", "bot-b": "s" * 127 + "b"}
    for client_id, secret in secrets.items():
        await register(wire, client_id, secret)
    for client_id, own in secrets.items():
        for secret in secrets.values():
            answer = await ask(wire, (client_id, secret))
            if secret == own:
                assert answer.status == 200
            else:
                refusal(answer, 401, "invalid_client")


@pytest.mark.row("C19")
@pytest.mark.parametrize("length", [129, 1024, 7000])
@pytest.mark.gen_test
async def test_oversized_secrets(wire: Wire, refusal: Refusal, length: int) -> None:
    """They cannot be registered, and presented they are wrong."""
    secret = (SECRET * 200)[:length]
    document = {"clientId": "long-bot", "clientSecret": secret, "scopes": ["bot:api"]}
    answer = await wire.admin("POST", "/oauth-clients", document)
    assert (answer.status, list(answer.json["errors"])) == (400, ["clientSecret"])
    await register(wire, secret=secret[:128])
    for path in ENDPOINTS:
        refusal(await ask(wire, (CLIENT, secret), path=path), 401, "invalid_client")
        refusal(await ask(wire, path=path, in_body=(CLIENT, secret)), 401, "invalid_client")


@pytest.mark.row("C20")
@pytest.mark.gen_test
async def test_what_is_stored_is_no_secret(wire: Wire, app: Application, refusal: Refusal) -> None:
    """Who has read the database still cannot authenticate."""
    await register(wire)
    stored = await app.resources.database["oauth_clients"].find_one({"client_id": CLIENT})
    assert stored is not None
    hashed = stored["secrets"][0]["hash"]
    assert hashed.startswith("$bcrypt-sha256$v=2,t=2b,r=4$")
    assert SECRET not in str(stored)
    for leaked in (
        hashed,
        hashed.rpartition("$")[2],
        stored["salt"],
        stored["generation"],
        str(stored["_id"]),
    ):
        for spelling in (leaked, quote_plus(leaked)):
            refusal(await ask(wire, (CLIENT, spelling)), 401, "invalid_client")
        refusal(await ask(wire, in_body=(CLIENT, leaked)), 401, "invalid_client")


@pytest.mark.row("C16")
@pytest.mark.gen_test
@pytest.mark.parametrize("config", [{"failure_throttle_limit": 3}], indirect=True)
async def test_attempts_without_a_secret_count_too(wire: Wire) -> None:
    """Else one address could fill Redis with throttles of client ids that it makes up."""
    form = {"grant_type": "client_credentials"}
    statuses = [
        (await wire.fetch("POST", "/auth/token", form=form | {"client_id": f"made-up-{number}"})).status
        for number in range(5)
    ]
    assert statuses == [401, 401, 401, 429, 429]
