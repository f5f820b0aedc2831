"""Exchanges as text for a report: no secret, no token, nothing that a terminal would act on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from plugins.oauth_m2m.conformance.wire import header_lines

if TYPE_CHECKING:
    from plugins.oauth_m2m.conformance.wire import Answer, Request

__all__ = ["MASK", "Masking"]

MASK = "********"

_MAX_SHOWN = 2000
_SHORTEST = 8
_SECRET_HEADERS = re.compile(r"(?im)^(authorization|cookie|set-cookie|x-[\w-]*key): *((?:basic|bearer) )?.*$")
_MEMBERS = r"access_token|refresh_token|client_?secret|client_assertion|token|password"
_FORM_FIELD = re.compile(rf"(?i)((?:^|[?&\s])(?:{_MEMBERS})=)[^&\s]+")
_JSON_MEMBER = re.compile(rf'(?i)("(?:{_MEMBERS})"\s*:\s*")(?:[^"\\]|\\.)*')
_JWT = re.compile(r"\beyJ[\w-]*\.[\w-]+\.[\w-]*")


class Masking:
    """Knows every secret that was sent or received, and keeps it out of what is shown."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()

    def keep(self, *secrets: str | None) -> None:
        """Never show these, nor their percent-encoded forms; very short ones are no secrets."""
        for secret in secrets:
            if secret and len(secret) >= _SHORTEST:
                self._secrets |= {secret, quote(secret, safe=""), quote_plus(secret)}

    def request(self, request: Request) -> str:
        """The request as text."""
        lines = [f"{request.method} {request.target} HTTP/1.1", *header_lines(request.headers)]
        return self._shown(lines, request.body)

    def answer(self, answer: Answer) -> str:
        """The answer as text."""
        return self._shown([f"HTTP/1.1 {answer.status}", *header_lines(answer.headers)], answer.body)

    def text(self, text: str) -> str:
        """Any text without secrets and control characters."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, MASK)
        for pattern in (_FORM_FIELD, _JSON_MEMBER):
            text = pattern.sub(rf"\g<1>{MASK}", text)
        text = _JWT.sub(MASK, text)
        return "".join(map(_visible, text))

    def _shown(self, lines: list[str], body: bytes) -> str:
        # masked first: what is cut in the middle is no longer known for a secret
        head = _cut(self.text(_SECRET_HEADERS.sub(_mask_header, "\n".join(lines))))
        return f"{head}\n\n{_cut(self.text(body.decode(errors='backslashreplace')))}" if body else head


def _mask_header(match: re.Match[str]) -> str:
    return f"{match[1]}: {match[2] or ''}{MASK}"


def _cut(text: str) -> str:
    more = len(text) - _MAX_SHOWN
    return text if more <= 0 else f"{text[:_MAX_SHOWN]}... and {more} characters more"


def _visible(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
