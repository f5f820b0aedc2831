"""``POST /auth/revoke``: a client ends one of its own tokens (RFC 7009)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from plugins.oauth_m2m.decorators import client_secret_authenticated
from plugins.oauth_m2m.errors import InvalidRequest
from plugins.oauth_m2m.handlers.oauth import OAuthHandler
from plugins.oauth_m2m.oauth_schemas import RevocationRequestSchema, RevocationSchema
from plugins.oauth_m2m.parameters import REVOCATION_PARAMETERS
from plugins.oauth_m2m.services import services_of
from station.handlers import route
from station.openapi import describe

if TYPE_CHECKING:
    from station.config import ThrottleName


class RevokeHandler(OAuthHandler):
    """Revokes the token in the parameter ``token``; ``token_type_hint`` changes nothing (RFC 7009 2.1)."""

    recognised = REVOCATION_PARAMETERS
    throttle_name: ClassVar[ThrottleName] = "revoke"

    @client_secret_authenticated
    @describe(form=RevocationRequestSchema, responses={200: RevocationSchema})
    async def post(self) -> None:
        """Answer 200 once the token is dead, or was no live token at all (RFC 7009 2.2)."""
        token = self.parameters.get("token")
        if token is None:
            raise InvalidRequest("The parameter token is missing.")
        await services_of(self.application).tokens.revoke(self.client, token)
        self.write_json({})


routes = [route(r"/auth/revoke", RevokeHandler)]
