"""What goes wrong in a browser without anybody seeing it: errors, violations of the policy, strange hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Request, Response, WebError

__all__ = ["Watch"]

_TELL = """
addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} in ${event.sourceFile}`);
});
"""


class Watch:
    """Watches every page of a context; ``troubles`` is what it saw, which should be nothing."""

    def __init__(self, context: BrowserContext, origin: str) -> None:
        self.troubles: list[str] = []
        self._origin = origin
        self._forgiven: list[str] = []
        context.add_init_script(_TELL)
        context.on("console", self._hear)
        context.on("weberror", self._fail)
        context.on("request", self._ask)
        context.on("response", self._answer)

    def forgive(self, text: str) -> None:
        """Expect troubles with this text, which the test makes on purpose: ``status of 401``."""
        self._forgiven.append(text)

    def seen(self) -> list[str]:
        """The troubles that nobody expected."""
        return [found for found in self.troubles if not any(text in found for text in self._forgiven)]

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.troubles.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def _fail(self, error: WebError) -> None:
        self.troubles.append(f"uncaught: {error.error}")

    def _ask(self, request: Request) -> None:
        url = request.url
        if not url.startswith((f"{self._origin}/", "data:", "blob:")):
            self.troubles.append(f"a request to another host: {url}")

    def _answer(self, response: Response) -> None:
        if response.status >= 500:
            self.troubles.append(f"{response.status} for {response.request.method} {response.url}")
