"""What a method says of itself for the document, as data on the method."""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING, TypeVar

from marshmallow import EXCLUDE, Schema, fields

from station.errors import ProblemError
from station.security import security_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["PROBLEM", "Described", "ErrorFormat", "ProblemSchema", "Response", "describe", "described"]

_DESCRIBED = "__station_described__"  # on a method; functools.wraps carries it to the wrapper of its demand

F = TypeVar("F")


class ProblemSchema(Schema):
    """Problem details (RFC 9457) as `station.errors.ProblemError` makes them."""

    class Meta:
        """Extension members may be added (RFC 9457 3.2)."""

        unknown = EXCLUDE

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    code = fields.String(required=True)
    request_id = fields.String(required=True, data_key="requestId")
    detail = fields.String()
    errors_by_field = fields.Dict(
        keys=fields.String(), values=fields.List(fields.String()), data_key="errors"
    )


@dataclasses.dataclass(frozen=True, slots=True)
class ErrorFormat:
    """The media type and the JSON of errors."""

    media_type: str
    schema: type[Schema]


PROBLEM = ErrorFormat(ProblemError.content_type, ProblemSchema)
"""What every `station.handlers.BaseHandler` answers unless its ``error_format`` says otherwise."""


@dataclasses.dataclass(frozen=True, slots=True)
class Response:
    """An answer: its JSON, None for no body, the names of headers it has, and a sentence about it.

    A ``media_type`` other than JSON is of a text that has no schema.
    """

    schema: type[Schema] | Schema | None = None
    headers: tuple[str, ...] = ()
    description: str = ""
    media_type: str = "application/json"


@dataclasses.dataclass(frozen=True, slots=True)
class Described:
    """What `describe` was given."""

    query: type[Schema] | Schema | None = None
    headers: type[Schema] | Schema | None = None
    body: type[Schema] | Schema | None = None
    form: type[Schema] | Schema | None = None
    optional_body: bool = False
    responses: Mapping[int, Response] = dataclasses.field(default_factory=dict)
    errors: tuple[int, ...] = ()


def describe(
    *,
    query: type[Schema] | Schema | None = None,
    headers: type[Schema] | Schema | None = None,
    body: type[Schema] | Schema | None = None,
    form: type[Schema] | Schema | None = None,
    optional_body: bool = False,
    responses: Mapping[int, type[Schema] | Schema | Response | None] | None = None,
    errors: Sequence[int] = (),
) -> Callable[[F], F]:
    """Say what a method takes and answers; it stands below the demand, next to the method.

    ``query`` and ``headers`` are schemas of parameters, ``body`` that of a JSON body, and ``form`` that of a
    body which may be a form as well as JSON. ``responses`` maps a status to the schema of its body, to
    None for no body, or to a `Response`. ``errors`` are refusals of the method's own: those of its demand,
    of the framework and of paths with parameters are known.

    It changes nothing about what is checked. Raises `TypeError` at import above a demand.
    """
    if body is not None and form is not None:
        raise ValueError("a form is read as JSON too: give either body or form")
    found = Described(
        query=query,
        headers=headers,
        body=body,
        form=form,
        optional_body=optional_body,
        responses={
            status: answer if isinstance(answer, Response) else Response(answer)
            for status, answer in (responses or {}).items()
        },
        errors=tuple(errors),
    )

    def decorate(method: F) -> F:
        if not inspect.isfunction(method):
            raise TypeError(f"{method!r} is not a method")
        if security_of(method) is not None:
            # a demand above would wrap what is below this one, and lose it
            raise TypeError(f"{method.__qualname__} is described above its demand; put @describe below")
        setattr(method, _DESCRIBED, found)
        return method

    return decorate


def described(method: object) -> Described | None:
    """What a method says of itself, or None."""
    found: Described | None = getattr(method, _DESCRIBED, None)
    return found
