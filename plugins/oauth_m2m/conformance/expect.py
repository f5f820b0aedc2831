"""What rules say of answers: each function returns what it was asked for, or raises `Failed`.

They look at nothing but what their name says, so that one defect of a server fails one row.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from plugins.oauth_m2m.conformance.rows import Failed

if TYPE_CHECKING:
    from plugins.oauth_m2m.conformance.wire import Answer

__all__ = ["challenge", "json_object", "refusal", "status", "that", "token"]

# RFC 6750 3: quoted, of the characters that RFC 6749 5.2 and RFC 9728 5.1 allow
_ATTRIBUTE = re.compile(r'\s*([A-Za-z0-9_-]+)="([\x20\x21\x23-\x5b\x5d-\x7e]*)"\s*(?:,|$)')


def that(holds: object, why: str, answer: Answer | None = None) -> None:
    """Any condition; ``why`` says what is wrong if it does not hold."""
    if not holds:
        raise Failed(why, answer)


def status(answer: Answer, *allowed: int, case: str = "") -> None:
    """One of these status codes."""
    expected = " or ".join(map(str, allowed))
    that(answer.status in allowed, f"{_about(case)}expected {expected}, got {answer.status}", answer)


def json_object(answer: Answer, case: str = "") -> dict[str, Any]:
    """A body that is a JSON object and says so."""
    document = answer.json
    named = answer.media_type == "application/json" or answer.media_type.endswith("+json")
    that(isinstance(document, dict) and named, f"{_about(case)}the body is no JSON object", answer)
    found: dict[str, Any] = document
    return found


def token(answer: Answer, case: str = "") -> str:
    """200 with an access token."""
    status(answer, 200, case=case)
    found = json_object(answer, case).get("access_token")
    that(isinstance(found, str) and found, f"{_about(case)}there is no access_token", answer)
    return str(found)


def refusal(answer: Answer, error: str, *statuses: int, case: str = "") -> str:
    """An error of RFC 6749 5.2, 400 unless told; returns its description, empty if there is none."""
    status(answer, *(statuses or (400,)), case=case)
    document = json_object(answer, case)
    found = document.get("error")
    that(found == error, f"{_about(case)}expected the error {error}, got {found!r}", answer)
    return str(document.get("error_description", ""))


def challenge(answer: Answer, scheme: str) -> dict[str, str]:
    """The attributes of the one challenge of this scheme in WWW-Authenticate."""
    values = answer.all("WWW-Authenticate")
    that(len(values) == 1, f"expected one WWW-Authenticate header, got {len(values)}", answer)
    named, _, rest = values[0].partition(" ")
    that(named.lower() == scheme.lower(), f"expected a {scheme} challenge, got {named!r}", answer)
    attributes: list[tuple[str, str]] = []
    place = 0
    while place < len(rest):
        match = _ATTRIBUTE.match(rest, place)
        if match is None:
            raise Failed("the challenge is no list of quoted attributes", answer)
        attributes.append((match[1], match[2]))
        place = match.end()
    that(len(dict(attributes)) == len(attributes), "an attribute of the challenge is repeated", answer)
    return dict(attributes)


def _about(case: str) -> str:
    return f"{case}: " if case else ""
