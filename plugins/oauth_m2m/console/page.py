"""What every page of the console is made from.

::

    class KeysHandler(ConsoleHandler):
        section = "/console/keys"

        @console_authenticated
        async def get(self):
            self.show("keys.html", keys=await ...)

A page is a template in ``templates/`` that extends ``_base.html``. Errors are pages too.
"""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from tornado.escape import xhtml_escape
from tornado.template import Loader

from plugins.oauth_m2m.console.assets import asset_url
from plugins.oauth_m2m.console.navigation import NAVIGATION
from plugins.oauth_m2m.console.notices import take_notice
from station.handlers import BaseHandler

if TYPE_CHECKING:
    from station.errors import ResponseError

__all__ = ["CONTENT_SECURITY_POLICY", "ConsoleHandler", "when"]

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",  # the style sheet has its small pictures in itself
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)
_HTML = "text/html; charset=utf-8"
_HEADERS = {
    "Content-Type": _HTML,
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # with no-referrer browsers send Origin: null with forms, and where they send nothing else that is refused
    "Referrer-Policy": "same-origin",
}
_CORS = ("Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Access-Control-Expose-Headers")
_TEMPLATES = Loader(str(Path(__file__).with_name("templates")))


class ConsoleHandler(BaseHandler):
    """A page for people: HTML, errors included.

    ``section`` is the path of its entry in the navigation. A demand is `console_authenticated`.
    """

    in_openapi: ClassVar[bool] = False
    audit_action = "console.refused"
    section: ClassVar[str] = ""

    def set_default_headers(self) -> None:
        """Let a page load what is ours and nothing else, and let nobody frame or read it."""
        super().set_default_headers()
        for name, value in _HEADERS.items():
            self.set_header(name, value)
        for name in _CORS:
            self.clear_header(name)

    def check_trusted_origin(self, origin: str) -> bool:
        """Take forms from the console's own pages alone, whatever ``ALLOWED_ORIGIN`` says."""
        return False

    def show(self, template: str, status: int = 200, **values: object) -> None:
        """Answer a page, which says first what the page before left to say."""
        self.set_status(status)
        self.write(self.page(template, notice=take_notice(self), **values))

    def page(self, template: str, **values: object) -> bytes:
        """Make a page of a template; ``values`` are what it shows."""
        names = {
            "asset": asset_url,
            "navigation": NAVIGATION,
            "notice": "",
            "request_id": self.request_id,
            "section": self.section,
            "user": self.current_user,
            "when": when,
            "when_seconds": lambda seconds: when(datetime.fromtimestamp(seconds, UTC)),
        }
        return _TEMPLATES.load(template).generate(**names | values)

    def error_body(self, error: ResponseError) -> tuple[str, bytes]:
        """Errors are pages (called by `write_error`)."""
        return _HTML, self.error_page(error)

    def error_page(self, error: ResponseError) -> bytes:
        """The page for an error that left the handler; a form overrides it and is shown again."""
        return self.page("error.html", error=error, phrase=HTTPStatus(error.status).phrase)

    def compute_etag(self) -> str | None:
        """None: nobody keeps a page (called by Tornado)."""
        return None


def when(moment: datetime | None, never: str = "never") -> str:
    """Write a time as HTML, to the minute in UTC; templates take it raw."""
    if moment is None:
        return xhtml_escape(never)
    return f'<time datetime="{moment:%Y-%m-%dT%H:%M:%SZ}">{moment:%Y-%m-%d %H:%M} UTC</time>'
