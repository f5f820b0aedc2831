"""What the OAuth endpoints share: errors of RFC 6749 5.2, one way to read parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from plugins.oauth_m2m.errors import OAuthError, from_response_error
from plugins.oauth_m2m.oauth_schemas import OAUTH_ERROR
from plugins.oauth_m2m.parameters import Parameters, parse_parameters
from station.handlers import BaseHandler

if TYPE_CHECKING:
    from plugins.oauth_m2m.models import Client, ClientSecret, ClientToken
    from station.config import ThrottleName
    from station.errors import ResponseError
    from station.throttle import Admission

__all__ = ["OAuthHandler"]


class OAuthHandler(BaseHandler):
    """An endpoint that clients call with their own credentials.

    ``recognised`` are the parameters it knows, ``throttle_name`` the throttle that counts its requests. One
    that ``settles`` awaits ``admission`` itself, before anything leaves.
    Behind `client_secret_authenticated`, ``client``, the ``client_secret`` it used, and ``parameters`` are
    set; behind `client_either_authenticated`, ``caller_id``, ``caller_scopes`` and ``parameters``.
    """

    error_format = OAUTH_ERROR
    max_body_size: ClassVar[int] = 16 * 1024
    recognised: ClassVar[frozenset[str]]
    throttle_name: ClassVar[ThrottleName]

    settles: ClassVar[bool] = False
    client: Client
    client_secret: ClientSecret
    client_token: ClientToken
    admission: Admission
    caller_id: str
    caller_scopes: frozenset[str]
    parameters: Parameters

    def initialize(self) -> None:
        """Keep Tornado from parsing the body, which `read_parameters` does by the letter."""
        self.request._parse_body = _parse_nothing  # type: ignore[method-assign] # noqa: SLF001 - of this request

    def set_default_headers(self) -> None:
        """Forbid every cache to keep an answer, an error included (RFC 6749 5.1)."""
        super().set_default_headers()
        self.set_header("Pragma", "no-cache")

    def read_parameters(self) -> Parameters:
        """The parameters of the body (RFC 6749 3.2); the query is no place for them."""
        headers = self.request.headers
        return parse_parameters(
            headers.get("Content-Type"),
            headers.get("Content-Encoding"),
            self.request.query,
            self.request.body,
            recognised=self.recognised,
        )

    def check_parameters(self, parameters: Parameters) -> None:
        """Refuse what can be refused before the client is known; subclasses add their checks."""

    def response_error(self, error: BaseException | None, status: int) -> ResponseError:
        """Speak RFC 6749 5.2 for every error, those of the framework included."""
        found = super().response_error(error, status)
        return found if isinstance(found, OAuthError) else from_response_error(found)


def _parse_nothing() -> None:
    """The body stays bytes."""
