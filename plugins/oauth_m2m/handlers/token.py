"""``POST /auth/token``: the client credentials grant (RFC 6749 4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from plugins.oauth_m2m.decorators import client_secret_authenticated
from plugins.oauth_m2m.errors import InvalidRequest, UnsupportedGrantType
from plugins.oauth_m2m.handlers.oauth import OAuthHandler
from plugins.oauth_m2m.oauth_schemas import TokenRequestSchema, TokenSchema
from plugins.oauth_m2m.parameters import TOKEN_PARAMETERS
from plugins.oauth_m2m.scope import format_scope, grant
from plugins.oauth_m2m.services import services_of
from station.errors import ResponseError
from station.handlers import route
from station.openapi import describe

if TYPE_CHECKING:
    from plugins.oauth_m2m.models import IssuedToken
    from plugins.oauth_m2m.parameters import Parameters
    from plugins.oauth_m2m.services import Services
    from station.config import ThrottleName

GRANT_TYPE = "client_credentials"


class TokenHandler(OAuthHandler):
    """Trades a client's secret for an access token."""

    recognised = TOKEN_PARAMETERS
    throttle_name: ClassVar[ThrottleName] = "token"
    settles = True  # the throttles' counters travel with the token's record

    def check_parameters(self, parameters: Parameters) -> None:
        """Refuse every other grant (RFC 6749 5.2)."""
        grant_type = parameters.get("grant_type")
        if grant_type is None:
            raise InvalidRequest("The parameter grant_type is missing.")
        if grant_type != GRANT_TYPE:
            raise UnsupportedGrantType(f"The only grant_type here is {GRANT_TYPE}.")

    @client_secret_authenticated
    @describe(form=TokenRequestSchema, responses={200: TokenSchema})
    async def post(self) -> None:
        """Grant the scope that was asked for and answer a token (RFC 6749 5.1)."""
        services = services_of(self.application)
        try:
            issued = await self._issue(services)
        except ResponseError:
            await self.admission.settled()  # a throttle refuses before everything else
            raise
        body: dict[str, object] = {
            "access_token": issued.access_token,
            "token_type": "Bearer",
            "expires_in": issued.expires_in,
            "scope": format_scope(issued.scopes),
        }
        if ends := self.client_secret.expires_at:
            body["client_secret_expires_at"] = int(ends.timestamp())  # as RFC 7591 3.2.1 names it
        self.write_json(body)

    async def _issue(self, services: Services) -> IssuedToken:
        status = services.settings.invalid_scope_status
        granted = grant(self.parameters.get("scope"), self.client.scopes, status=status)
        return await services.tokens.issue(
            self.client,
            granted,
            admission=self.admission,
            address=self.client_address,
            user_agent=self.request.headers.get("User-Agent", ""),
            secret_id=self.client_secret.id,
        )


routes = [route(r"/auth/token", TokenHandler)]
