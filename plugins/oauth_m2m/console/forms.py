"""Forms as the schemas read them: what is typed becomes the JSON that the endpoints take."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from marshmallow import ValidationError

from station.errors import ValidationFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from marshmallow import Schema

    from station.handlers import BaseHandler

__all__ = ["load_form", "number", "typed", "words"]


def typed(handler: BaseHandler, *names: str) -> dict[str, str]:
    """What stands in these fields of the form that was sent; a field that was not sent is empty."""
    return {name: handler.get_body_argument(name, "").strip() for name in names}


def words(text: str) -> list[str]:
    """The words of a field, however they are set apart."""
    return re.split(r"[\s,]+", text.strip()) if text.strip() else []


def number(text: str) -> int | str:
    """A number of a few digits, and anything else as it is, for the schema to refuse."""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else text


def load_form(schema: Schema, document: Mapping[str, object]) -> Any:
    """What ``schema`` makes of a form; `ValidationFailed` with the messages of every bad field."""
    try:
        return schema.load(dict(document))
    except ValidationError as error:
        messages: Mapping[str, object] = error.messages_dict
        raise ValidationFailed({field: list(_texts(own)) for field, own in messages.items()}) from error


def _texts(messages: object) -> Iterator[str]:
    """The messages of a field: those of its parts too, each once."""
    if isinstance(messages, dict):
        yield from dict.fromkeys(text for own in messages.values() for text in _texts(own))
    else:
        yield from messages if isinstance(messages, list) else [str(messages)]
