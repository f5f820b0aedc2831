from __future__ import annotations

import functools
from typing import Any

import pytest
from marshmallow import Schema, fields

from station.handlers import BaseHandler
from station.openapi import Response, describe
from station.openapi.declaration import described
from station.security import Security, demand, public, security_of


async def pass_everybody(_handler: object, _security: Security) -> None:
    pass


badge = demand(Security("badge"), pass_everybody)


class NoteSchema(Schema):
    text = fields.String(required=True)


def test_it_survives_every_kind_of_demand() -> None:
    @badge
    class Notes(BaseHandler):
        @describe(errors=(409,))
        def get(self) -> None:
            pass

        @public
        @describe(errors=(410,))
        def post(self) -> None:
            pass

        @badge
        @badge
        @describe(errors=(411,))
        def put(self) -> None:
            pass

    class More(Notes):
        @describe(errors=(412,))
        def delete(self) -> None:
            pass

    methods: list[Any] = [Notes.get, Notes.post, Notes.put, More.delete]
    assert [getattr(described(method), "errors", None) for method in methods] == [
        (409,), (410,), (411,), (412,),
    ]  # fmt: skip
    assert [str(security_of(method)) for method in methods] == ["badge", "public", "badge", "badge"]


def test_above_a_demand_it_is_refused_because_a_demand_above_would_lose_it() -> None:
    with pytest.raises(TypeError, match=r"Notes\.get is described above its demand; put @describe below"):

        class Notes(BaseHandler):
            @describe()
            @public
            def get(self) -> None:
                pass


def test_it_declares_no_demand_and_changes_no_method() -> None:
    def get(self: object) -> None:
        pass

    assert describe(body=NoteSchema)(get) is get
    assert security_of(get) is None


def test_a_decorator_between_it_and_the_demand_that_uses_wraps_keeps_it() -> None:
    def foreign(method: Any) -> Any:
        @functools.wraps(method)
        def wrapper(self: object) -> Any:
            return method(self)

        return wrapper

    @public
    @foreign
    @describe(errors=(409,))
    def get(self: object) -> None:
        pass

    assert described(get) is not None


@pytest.mark.parametrize("target", [BaseHandler, "get", None, functools.partial(print)])
def test_what_is_no_method_is_refused(target: object) -> None:
    with pytest.raises(TypeError, match="is not a method"):
        describe()(target)


def test_a_body_is_either_json_or_a_form_too() -> None:
    with pytest.raises(ValueError, match="either body or form"):
        describe(body=NoteSchema, form=NoteSchema)


def test_responses_may_be_written_short() -> None:
    @describe(responses={200: NoteSchema, 201: Response(NoteSchema, ("Location",)), 204: None})
    def get(self: object) -> None:
        pass

    found = described(get)
    assert found is not None
    assert found.responses == {
        200: Response(NoteSchema),
        201: Response(NoteSchema, ("Location",)),
        204: Response(),
    }


def test_what_describes_nothing_has_no_description() -> None:
    assert described(BaseHandler.options) is None
