"""What plugins have to say when a token is issued, over real HTTP and with plugins of the tests' own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from plugins.oauth_m2m import Issuance, IssuanceRefused
from plugins.oauth_m2m.extensions import Extensions
from station import hookimpl
from station.audit import AuditFilter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plugins.oauth_m2m.extensions import ClaimProvider, IssuanceCheck
    from station.app import Application
    from tests.conftest import Wire

SECRET_CAUSE = "a cause that nobody shall be told"


class Rules:
    """A plugin whose claims and whose check the tests choose."""

    __name__ = "rules"

    def __init__(self) -> None:
        self.claims: Any = {"office": "berlin"}
        self.refuse: Exception | None = None
        self.asked: list[Issuance] = []

    @hookimpl
    def oauth_m2m_claims(self) -> ClaimProvider:
        """The claims chosen."""

        async def provide(_issuance: Issuance) -> Mapping[str, object]:
            if isinstance(self.claims, Exception):
                raise self.claims
            claims: Mapping[str, object] = self.claims
            return claims

        return provide

    @hookimpl
    def oauth_m2m_issuance_checks(self, app: Application) -> IssuanceCheck:
        """The refusal chosen."""

        async def check(issuance: Issuance) -> None:
            assert app.resources is not None
            self.asked.append(issuance)
            if self.refuse is not None:
                raise self.refuse

        return check


@pytest.fixture
def rules() -> Rules:
    return Rules()


@pytest.fixture
def plugins(plugins: list[object], rules: Rules) -> list[object]:
    return [*plugins, rules]


def claims_of(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


@pytest.mark.gen_test
async def test_a_claim_of_a_plugin_is_in_the_token_which_works(wire: Wire, rules: Rules) -> None:
    rules.claims = {"office": "berlin", "levels": [1, {"deep": None}]}
    token = await wire.access_token()
    claims = claims_of(token)
    assert (claims["office"], claims["levels"]) == ("berlin", [1, {"deep": None}])
    assert (await wire.fetch("GET", "/probe", bearer=token)).status == 200


@pytest.mark.gen_test
async def test_a_check_knows_who_asks_for_what(wire: Wire, rules: Rules) -> None:
    await wire.access_token()
    [asked] = rules.asked
    assert (asked.client.client_id, asked.scopes, asked.address) == ("station-bot", ("bot:api",), "127.0.0.1")


@pytest.mark.parametrize(
    "name",
    ["iss", "aud", "sub", "exp", "iat", "nbf", "jti", "client_id", "type", "scope", "scopes", "gen", "cnf"],
)
@pytest.mark.gen_test
async def test_a_claim_of_ours_cannot_be_replaced(
    wire: Wire, rules: Rules, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    rules.claims = {name: "ours", "office": "berlin"}
    token = await wire.access_token()
    claims = claims_of(token)
    assert claims.get(name) != "ours"
    assert claims["office"] == "berlin"
    assert f"the claim {name} of the plugin rules is left out: it is taken" in caplog.text
    assert (await wire.fetch("GET", "/probe", bearer=token)).status == 200


@pytest.mark.gen_test
async def test_a_refusal_is_told_safely_and_leaves_no_record(
    wire: Wire, app: Application, rules: Rules
) -> None:
    basic = await wire.register()
    rules.refuse = IssuanceRefused('Not on "Sundays".')
    answer = await wire.token(basic)
    assert answer.status == 400
    assert answer.json == {"error": "unauthorized_client", "error_description": "Not on ?Sundays?."}
    assert [key async for key in app.resources.redis.scan_iter("client-token*")] == []
    await app.audit.flush()
    [event] = await app.audit.find(AuditFilter(action="token.refused"), limit=2)
    assert event.reason is not None
    assert (event.reason.code, event.client_id) == ("vetoed", "station-bot")
    assert await app.audit.find(AuditFilter(action="token.issued"), limit=2) == []


@pytest.mark.parametrize("where", ["check", "claims"])
@pytest.mark.gen_test
async def test_an_error_refuses_and_tells_nothing(
    wire: Wire, app: Application, rules: Rules, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    basic = await wire.register()
    if where == "check":
        rules.refuse = RuntimeError(SECRET_CAUSE)
    else:
        rules.claims = RuntimeError(SECRET_CAUSE)
    answer = await wire.token(basic)
    assert (answer.status, answer.json["error"]) == (503, "temporarily_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    assert SECRET_CAUSE not in answer.body.decode()
    assert "the plugin rules failed when a token was to be issued" in caplog.text
    assert [key async for key in app.resources.redis.scan_iter("client-token*")] == []
    await app.audit.flush()
    [event] = await app.audit.find(AuditFilter(action="token.refused"), limit=2)
    assert event.reason is not None
    assert event.reason.code == "check_failed"
    assert SECRET_CAUSE not in str(event)


@pytest.mark.parametrize("claims", [{"x": object()}, {"x": float("nan")}, {"x": "y" * 3000}, [1], None])
@pytest.mark.gen_test
async def test_claims_that_a_token_cannot_hold_refuse_it(wire: Wire, rules: Rules, claims: object) -> None:
    basic = await wire.register()
    rules.claims = claims
    assert (await wire.token(basic)).status == 503


def issuance() -> Any:
    return None  # nothing below looks at it


@pytest.mark.gen_test
async def test_who_is_too_late_refuses() -> None:
    async def slow(_issuance: Issuance) -> None:
        await asyncio.Event().wait()

    extensions = Extensions(checks={"rules": slow}, seconds=0.01)
    with pytest.raises(Exception, match="cannot decide") as refused:
        await extensions.check(issuance())
    assert refused.value.reason.because.startswith("the plugin rules failed (TimeoutError)")  # type: ignore[attr-defined] # it is a ServiceUnavailable


@pytest.mark.gen_test
async def test_the_first_that_refuses_decides_and_the_first_claim_stays() -> None:
    async def pass_(_issuance: Issuance) -> None:
        return None

    async def refuse(_issuance: Issuance) -> None:
        raise IssuanceRefused("No.")

    async def fail(_issuance: Issuance) -> None:
        raise AssertionError("it was asked")

    async def one(_issuance: Issuance) -> Mapping[str, object]:
        return {"a": 1}

    async def two(_issuance: Issuance) -> Mapping[str, object]:
        return {"a": 2, "b": 2}

    extensions = Extensions({"one": one, "two": two}, {"one": pass_, "two": refuse, "three": fail})
    with pytest.raises(IssuanceRefused):
        await extensions.check(issuance())
    claims: dict[str, object] = {}
    await extensions.add_claims(claims, issuance())
    assert claims == {"a": 1, "b": 2}
