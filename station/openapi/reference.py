"""``GET /docs``: an API reference in which one can fetch a token and call, made from ``/openapi.json``.

It is Swagger UI, whose files are part of this package (``static/``, with their licence and version), so that
it works without network. Everything of the page comes from this origin and talks to this origin alone; a
client's secret that is typed in stays in the page and is forgotten with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tornado.web import StaticFileHandler

from station.errors import NotFound
from station.handlers import BaseHandler, route
from station.security import public

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["ReferenceHandler", "routes"]

_HERE = Path(__file__).parent
# no inline code or style; `data:` is for the icons in Swagger UI's style sheet
_CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)


@public
class ReferenceHandler(StaticFileHandler, BaseHandler):
    """A page for people, and the style sheets and scripts that it is made of."""

    in_openapi = False

    def prepare(self) -> None:
        """Refuse where ``STATION_DOCS`` is off, as if nothing were here; send no parts.

        To a wrong range Tornado answers text; a server may ignore all of them (RFC 9110 14.2).
        """
        super().prepare()
        self.request.headers.pop("Range", None)
        if self.application.config.docs == "off":
            raise NotFound("There is nothing at this path.")

    async def get(self, path: str = "", include_body: bool = True) -> None:
        """Answer the page, or a file of it."""
        await super().get(f"static/{path}" if path else "reference.html", include_body)

    def head(self, path: str = "") -> Awaitable[None]:
        """Answer the headers of the page, or of a file of it."""
        return self.get(path, include_body=False)

    def set_extra_headers(self, path: str) -> None:
        """Let the page work, and be kept but asked for again: an upgrade changes all its files at once."""
        self.set_header("Content-Security-Policy", _CONTENT_SECURITY_POLICY)
        self.set_header("Cache-Control", "public, no-cache")
        self.set_header("Accept-Ranges", "none")


routes = [
    route(r"/docs", ReferenceHandler, {"path": str(_HERE)}),
    route(r"/docs/([a-z0-9-]+\.[a-z]+)", ReferenceHandler, {"path": str(_HERE)}),
]
