"""What the audit at boot says: the handler, the method, where it is written, and the remedy, in one line."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tornado.web import RequestHandler, StaticFileHandler

from plugins.oauth_m2m import client_authenticated
from station.app import make_app
from station.auth import user_authenticated
from station.config import Config
from station.handlers import BaseHandler, route
from station.route_audit import audit_routes
from station.security import Security, SecurityScheme, demand, public

if TYPE_CHECKING:
    from collections.abc import Callable

    from station.handlers import Route

SESSION = SecurityScheme("session", {}, decorator="@user_authenticated")
BADGE = SecurityScheme("badge", {}, {"notes:read": "Read.", "notes:write": "Write."}, decorator="@badged")


async def enforce(_handler: object, _security: Security) -> None:
    """Let everybody pass."""


def badge(*scopes: str) -> Callable[[Any], Any]:
    return demand(Security("badge", frozenset(scopes)), enforce)


def foreign(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrapper(*args: Any) -> Any:
        return method(*args)

    return wrapper


def partial(method: Callable[..., Any]) -> Callable[..., Any]:
    return functools.wraps(method)(functools.partial(method))


class NotesHandler(BaseHandler):
    def get(self) -> None:
        pass

    @foreign
    @public
    def post(self) -> None:
        pass

    @partial
    @user_authenticated
    def put(self) -> None:
        pass

    @badge("notes:raed", "notes:write")
    def delete(self) -> None:
        pass


class Inherited(NotesHandler):
    get = public(NotesHandler.get)
    post = public(BaseHandler.options)
    put = NotesHandler.get
    delete = badge("notes:read")(NotesHandler.get)


@public
class Plain(RequestHandler):
    def get(self) -> None:
        pass


def place(text: str) -> str:
    """The file and the line of this text in this file."""
    file = Path(__file__)
    number = 1 + file.read_text().splitlines().index(text)
    return f"{file.relative_to(Path.cwd())}:{number}"


def audit(*routes: Route) -> list[str]:
    return audit_routes(routes, {"session": SESSION, "badge": BADGE})


def test_each_problem_is_one_line_with_the_place_and_the_remedy() -> None:
    hidden = (
        "hides its demand under another decorator, which may pass it by: move the decorator of Station above "
        "all others."
    )
    expected = {
        ("get", "    def get(self) -> None:"): (
            "declares neither a demand nor @public: "
            "put one of @user_authenticated, @badged or @public above it."
        ),
        ("post", "    @foreign"): hidden,
        ("delete", '    @badge("notes:raed", "notes:write")'): (
            "asks for the scope notes:raed, which nothing declares: "
            "return it from the plugin's station_scopes, or correct it. Did you mean notes:read?"
        ),
        ("put", "    @partial"): hidden,
    }
    found = dict(zip(expected, audit(route(r"/notes", NotesHandler)), strict=True))
    for (method, first_line), wrong in expected.items():
        where = f"{__name__}.NotesHandler.{method} ({place(first_line)}) on /notes"
        assert found[method, first_line] == f"{where} {wrong}"


def test_what_was_replaced_later_is_found_as_well() -> None:
    [found] = audit(route(r"/inherited", Inherited))
    assert found.startswith(f"{__name__}.Inherited.put (")
    assert " on /inherited declares neither a demand nor @public" in found


def test_a_handler_that_is_no_base_handler_would_answer_html() -> None:
    [found] = audit(route(r"/plain", Plain))
    assert found == (
        f"{__name__}.Plain ({place('@public')}) on /plain is no BaseHandler and would answer HTML: derive it "
        "from station.handlers.BaseHandler; if it is not yours, give its route a demand=."
    )
    files = audit(route(r"/files/(.*)", StaticFileHandler, {"path": "."}))
    assert len(files) == 3  # and get and head
    # relative to where the command runs, if it is there
    assert re.match(r"tornado\.web\.StaticFileHandler \(\S*tornado/web\.py:\d+\) on /files/", files[0])
    assert audit(route(r"/files/(.*)", StaticFileHandler, {"path": "."}, demand=public)) == []


def test_a_demand_that_nobody_offers_names_the_plugin_that_does() -> None:
    class FleetHandler(BaseHandler):
        @client_authenticated
        def get(self) -> None:
            pass

        @demand(Security("ticket"), enforce)
        def post(self) -> None:
            pass

    client, ticket = audit(route(r"/fleet", FleetHandler))
    offers = "which no plugin that is on offers"
    assert client.endswith(f"demands client, {offers}: add oauth_m2m to STATION_PLUGINS.")
    assert ticket.endswith(
        f"demands ticket, {offers}: switch on the plugin that its decorator comes from, in STATION_PLUGINS."
    )


def test_a_method_that_no_file_has_is_named_without_one() -> None:
    class Made(BaseHandler):
        pass

    namespace: dict[str, Any] = {}
    exec("def get(self): pass", namespace)
    Made.get = namespace["get"]
    [found] = audit(route(r"/made", Made))
    assert ".get (no file) on /made declares neither" in found


@pytest.mark.parametrize("plugins", [(), ("oauth_m2m",)])
def test_the_decorators_of_those_that_are_on_are_proposed(plugins: tuple[str, ...]) -> None:
    app = make_app(Config(env="test", plugins=plugins, jwt_secret="x" * 32))
    found = audit_routes([route(r"/notes", NotesHandler)], app.security_schemes)[0]
    proposed = ["@user_authenticated", "@admin_authenticated", *["@client_authenticated"] * len(plugins)]
    assert f"put one of {', '.join(proposed)} or @public above it." in found
