"""A handler whose ``client_token`` editors and type checkers know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from station.handlers import BaseHandler

if TYPE_CHECKING:
    from plugins.oauth_m2m.models import ClientToken

__all__ = ["ClientHandler"]


class ClientHandler(BaseHandler):
    """A `BaseHandler` for machines: what `client_authenticated` and `scopes` set is declared here.

    It demands nothing by itself, and they work on every `BaseHandler` alike: it is there so that
    ``self.client_token`` completes. Before a method that demands a client, ``client_token`` is set; in others
    there is none.
    """

    client_token: ClientToken
