"""ETag and If-Match: two admins do not overwrite each other (RFC 9110 13)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from marshmallow import Schema, fields

from station.errors import BadRequest

if TYPE_CHECKING:
    from plugins.oauth_m2m.models import Client

__all__ = ["PreconditionSchema", "entity_tag", "versions_of"]

_ENTITY_TAG = r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"'  # RFC 9110 8.8.3
# empty elements are ignored (RFC 9110 5.6.1.2)
_LIST = re.compile(rf"([ \t]*,)*[ \t]*{_ENTITY_TAG}[ \t]*(,[ \t]*({_ENTITY_TAG}[ \t]*)?)*")


class PreconditionSchema(Schema):
    """The header that `versions_of` reads, as /openapi.json shows it."""

    if_match = fields.String(
        data_key="If-Match", metadata={"pattern": r'^(\*|(W/)?"[!#-~]*"(, (W/)?"[!#-~]*")*)$'}
    )


def entity_tag(client: Client) -> str:
    """The strong entity tag of a client as `client_json` shows it: its version."""
    return f'"{client.version}"'


def versions_of(if_match: str | None) -> frozenset[int] | None:
    """The versions that If-Match names, None for any; `BadRequest` if it is malformed (RFC 9110 13.1.1).

    A weak tag names none, since If-Match compares strongly, and neither does one that is not ours.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    if not _LIST.fullmatch(if_match):
        raise BadRequest('If-Match must be * or entity tags, such as "1" (RFC 9110 13.1.1).')
    tags = re.findall(_ENTITY_TAG, if_match)
    return frozenset(int(tag) for weak, tag in tags if not weak and re.fullmatch(r"[1-9][0-9]{0,17}", tag))
