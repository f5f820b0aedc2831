"""``POST /auth/introspect``: whether a token is valid, and what it says (RFC 7662)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, ClassVar

from plugins.oauth_m2m.decorators import client_either_authenticated
from plugins.oauth_m2m.errors import InvalidRequest, InvalidToken
from plugins.oauth_m2m.handlers.oauth import OAuthHandler
from plugins.oauth_m2m.oauth_schemas import IntrospectionRequestSchema, IntrospectionSchema
from plugins.oauth_m2m.parameters import INTROSPECTION_PARAMETERS
from plugins.oauth_m2m.scope import INTROSPECT
from plugins.oauth_m2m.services import services_of
from station.handlers import route
from station.openapi import describe

if TYPE_CHECKING:
    from plugins.oauth_m2m.models import ClientToken
    from station.config import ThrottleName


class IntrospectHandler(OAuthHandler):
    """Tells of the token in the parameter ``token``; ``token_type_hint`` changes nothing (RFC 7662 2.1).

    A caller that holds the scope oauth:introspect may ask about every token, others about their own.
    """

    recognised = INTROSPECTION_PARAMETERS
    throttle_name: ClassVar[ThrottleName] = "introspect"

    @client_either_authenticated
    @describe(form=IntrospectionRequestSchema, responses={200: IntrospectionSchema})
    async def post(self) -> None:
        """Answer what a handler would find out: inactive and nothing else, unless it accepts the token."""
        token = self.parameters.get("token")
        if token is None:
            raise InvalidRequest("The parameter token is missing.")
        services = services_of(self.application)
        answer: dict[str, object] = {"active": False}
        with contextlib.suppress(InvalidToken):
            found = await services.tokens.verify(token)
            # RFC 7662 2.2: what the caller may not know of is inactive too
            if self._may_see(found):
                services.usage.introspected(found.client_id)
                answer = services.tokens.describe(found)
        self.write_json(answer)

    def _may_see(self, token: ClientToken) -> bool:
        return token.client_id == self.caller_id or INTROSPECT in self.caller_scopes


routes = [route(r"/auth/introspect", IntrospectHandler)]
