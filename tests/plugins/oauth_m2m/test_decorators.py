"""What is declared at import; what is enforced is in test_rfc6749_*.py and test_rfc6750.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m import client_authenticated, scopes
from plugins.oauth_m2m.decorators import CLIENT, CLIENT_SECRET, client_secret_authenticated
from station.auth import admin_authenticated, user_authenticated
from station.handlers import BaseHandler
from station.security import Security, public, security_of

if TYPE_CHECKING:
    from collections.abc import Callable


def get(self: BaseHandler) -> None:
    """A method of a handler."""


async def async_get(self: BaseHandler) -> None:
    """The same, async."""


@pytest.mark.parametrize("method", [get, async_get])
def test_a_demand_is_what_all_declarations_add_up_to(method: Callable[[BaseHandler], object]) -> None:
    assert security_of(client_authenticated(method)) == Security(CLIENT)
    api, both = Security(CLIENT, frozenset({"a"})), Security(CLIENT, frozenset({"a", "b"}))
    assert security_of(scopes("a")(method)) == api
    assert security_of(client_authenticated(scopes("a")(method))) == api
    assert security_of(scopes("a")(client_authenticated(method))) == api
    assert security_of(scopes("a", "b", "a")(method)) == both
    assert security_of(scopes("a")(scopes("b")(method))) == both
    assert security_of(scopes("a")(client_authenticated(scopes("b")(method)))) == both
    assert security_of(client_secret_authenticated(method)) == Security(CLIENT_SECRET)


def test_a_class_declares_for_its_methods_and_a_method_replaces_it() -> None:
    @client_authenticated
    @scopes("a")
    class Handler(BaseHandler):
        def get(self) -> None: ...

        @scopes("b")
        def post(self) -> None: ...

        @public
        def put(self) -> None: ...

    class Narrower(Handler):
        def patch(self) -> None: ...

        @user_authenticated
        def get(self) -> None: ...

    assert security_of(Handler.get) == Security(CLIENT, frozenset({"a"}))
    assert security_of(Handler.post) == Security(CLIENT, frozenset({"b"}))
    assert str(security_of(Handler.put)) == "public"
    assert security_of(Narrower.patch) == Security(CLIENT, frozenset({"a"}))
    assert str(security_of(Narrower.get)) == "session"


def test_no_scopes_are_an_error_at_import() -> None:
    with pytest.raises(ValueError, match="at least one scope"):
        scopes()


@pytest.mark.parametrize("name", ["", " ", "a b", "a\t", 'a"', "a\\", "ä", "\ud800", "a\n"])
def test_what_is_no_scope_token_is_an_error_at_import(name: str) -> None:
    with pytest.raises(ValueError, match="scope-token"):
        scopes("good", name)


@pytest.mark.parametrize(
    "other", [user_authenticated, admin_authenticated, client_secret_authenticated, public]
)
@pytest.mark.parametrize("ours", [client_authenticated, scopes("a")])
def test_two_schemes_on_one_method_are_an_error_at_import(
    ours: Callable[[object], object], other: Callable[[object], object]
) -> None:
    for first, second in [(ours, other), (other, ours)]:
        with pytest.raises(TypeError, match="choose one"):
            first(second(get))
        with pytest.raises(TypeError, match="choose one"):
            first(second(type("Handler", (BaseHandler,), {"get": get})))


@pytest.mark.parametrize("target", [object, 7, "get", staticmethod(get)])
def test_what_is_neither_a_method_nor_a_handler_is_an_error_at_import(target: object) -> None:
    for decorate in (client_authenticated, scopes("a")):
        with pytest.raises(TypeError):
            decorate(target)


def test_scopes_without_parentheses_are_an_error_at_import() -> None:
    with pytest.raises((TypeError, ValueError)):
        scopes(get)  # type: ignore[arg-type] # the mistake that is meant
