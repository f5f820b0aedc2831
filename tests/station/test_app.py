from __future__ import annotations

import asyncio
import contextlib
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from fakeredis import FakeAsyncRedis
from mongomock_motor import AsyncMongoMockClient
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.web import Application as TornadoApplication
from tornado.web import StaticFileHandler

from station import hookimpl
from station.app import Application, RouteInfo, make_app
from station.auth import user_authenticated
from station.config import Config
from station.errors import StartError
from station.handlers import BaseHandler, route
from station.health import HealthCheck
from station.migrations import Migration, Migrator
from station.resources import Resources
from station.security import PUBLIC, Security, SecurityScheme, demand, public
from station.settings import integer, setting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from station.handlers import Route
    from tests.station.conftest import InstallPlugin

PRODUCTION = {
    "env": "production",
    "issuer": "https://station.example.com",
    "mongodb_uri": "mongodb://unused",
    "redis_url": "redis://unused",
    "internal_api_key": "an-admin-key-for-the-tests-only-0123456789",
    "allowed_origin": ("https://console.example.com",),
}


async def enforce(_handler: object, _security: Security) -> None:
    """Let everybody pass."""


def badge(*scopes: str) -> Callable[[Any], Any]:
    return demand(Security("badge", frozenset(scopes)), enforce)


def plugin(name: str, **hooks: Callable[..., Any]) -> types.ModuleType:
    """A plugin with these hooks, named without their prefix."""
    module = types.ModuleType(name)
    for hook, function in hooks.items():
        setattr(module, f"station_{hook}", hookimpl(function))
    return module


def config_of(**settings: Any) -> Config:
    defaults: dict[str, Any] = {
        "env": "test",
        "plugins": (),
        "jwt_secret": "a-signing-secret-for-the-tests-only-0123456789",
        "auth_bcrypt_cost": 4,
    }
    return Config(**(defaults | settings))


def resources() -> Resources:
    return Resources(AsyncMongoMockClient(tz_aware=True)["station"], FakeAsyncRedis())


def app_of(*plugins: object, **settings: Any) -> Application:
    return make_app(config_of(**settings), resources(), plugins)


def problems_of(*plugins: object, **settings: Any) -> tuple[str, ...]:
    with pytest.raises(StartError) as refused:
        app_of(*plugins, **settings)
    return refused.value.problems


class NotesHandler(BaseHandler):
    @public
    def get(self) -> None:
        pass

    @badge("notes:write", "notes:admin")
    def post(self) -> None:
        pass

    @user_authenticated
    def delete(self) -> None:
        pass


# The audit


def test_a_scheme_that_nobody_offers_stops_the_start() -> None:
    [found] = problems_of(plugin("notes", handlers=lambda: [route(r"/notes", NotesHandler)]))
    assert "demands badge, which no plugin that is on offers" in found


def test_a_scope_that_nothing_declares_stops_the_start_once_the_catalogue_is_closed() -> None:
    def notes(catalogue: dict[str, str] | None) -> types.ModuleType:
        return plugin(
            "notes",
            handlers=lambda: [route(r"/notes", NotesHandler)],
            security_schemes=lambda: [SecurityScheme("badge", {}, catalogue)],
        )

    app_of(notes(None))
    app_of(notes({"notes:write": "", "notes:admin": ""}))
    [found] = problems_of(notes({"notes:write": ""}))
    assert "asks for the scope notes:admin, which nothing declares" in found
    assert len(problems_of(notes({}))) == 2


def test_the_scopes_of_all_plugins_and_the_plugins_settings_reach_its_schemes() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class BadgeConfig:
        doors: int = setting("How many doors there are.", default=1, parse=integer(minimum=0))

    seen = []

    def security_schemes(settings: object, scopes: dict[str, str]) -> list[SecurityScheme]:
        seen.append(settings)
        return [SecurityScheme("badge", {}, scopes)]

    badges = plugin("badges", settings=lambda: BadgeConfig, security_schemes=security_schemes)
    notes = plugin(
        "notes",
        handlers=lambda: [route(r"/notes", NotesHandler)],
        scopes=lambda: {"notes:write": "Write", "notes:admin": "All"},
    )
    app_of(badges, notes)
    app_of(notes, badges, sections={"badges": BadgeConfig(doors=7)})
    assert seen == [BadgeConfig(doors=1), BadgeConfig(doors=7)]


def test_a_plugin_may_have_routes_by_its_settings() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class NotesConfig:
        shown: int = setting("Whether notes are shown.", default=1, parse=integer(minimum=0))

    @public
    class PublicNotesHandler(BaseHandler):
        def get(self) -> None:
            pass

    def handlers(settings: NotesConfig) -> list[Route]:
        return [route(r"/notes", PublicNotesHandler)] if settings.shown else []

    notes = plugin("notes", settings=lambda: NotesConfig, handlers=handlers)
    assert "/notes" in {info.path for info in app_of(notes).routes}
    off = app_of(notes, sections={"notes": NotesConfig(shown=0)})
    assert "/notes" not in {info.path for info in off.routes}


def test_a_handler_that_would_answer_html_stops_the_start() -> None:
    files = route(r"/files/(.*)", StaticFileHandler, {"path": "."})
    found = problems_of(plugin("notes", handlers=lambda: [files]))
    assert "StaticFileHandler" in found[0]
    assert "is no BaseHandler and would answer HTML" in found[0]
    guarded = route(r"/files/(.*)", StaticFileHandler, {"path": "."}, demand=public)
    app_of(plugin("notes", handlers=lambda: [guarded]))


def test_what_is_no_route_stops_the_start() -> None:
    [found] = problems_of(plugin("notes", handlers=lambda: [(r"/notes", NotesHandler)]))
    assert found.startswith("The plugin notes gives ('/notes', ")
    assert found.endswith("make it with station.handlers.route.")


@pytest.mark.parametrize("name", ["session", "public"])
def test_a_scheme_is_offered_once(name: str) -> None:
    [found] = problems_of(plugin("notes", security_schemes=lambda: [SecurityScheme(name, {})]))
    assert found == f"The plugin notes offers the scheme {name}, which is taken already."


def test_one_message_lists_everything_that_is_wrong() -> None:
    class ForgetfulHandler(BaseHandler):
        def get(self) -> None:
            pass

    notes = plugin("notes", handlers=lambda: [("/a",), route(r"/b", ForgetfulHandler)], handler=lambda: ())
    found = problems_of(notes, plugins=("nothing",), jwt_secret="")
    for part in ("JWT_SECRET", "names nothing", "station_handler,", "('/a',)", "ForgetfulHandler.get"):
        assert sum(part in problem for problem in found) == 1, found
    assert len(found) == 5


def test_a_hook_that_fails_does_not_hide_what_else_is_wrong() -> None:
    def handlers() -> None:
        raise LookupError("lost")

    found = problems_of(plugin("notes", handlers=handlers), jwt_secret="")
    assert len(found) == 2
    assert "The plugin notes failed in station_handlers: LookupError: lost" in found[1]


def test_routes_say_who_may_do_what() -> None:
    notes = plugin(
        "notes",
        handlers=lambda: [route(r"/notes/([a-z]+)", NotesHandler)],
        security_schemes=lambda: [SecurityScheme("badge", {})],
    )
    routes = app_of(notes).routes
    assert routes[-3:] == [
        RouteInfo("/notes/([a-z]+)", "GET", PUBLIC),
        RouteInfo("/notes/([a-z]+)", "POST", Security("badge", frozenset({"notes:write", "notes:admin"}))),
        RouteInfo("/notes/([a-z]+)", "DELETE", Security("session")),
    ]
    assert RouteInfo("/health/live", "GET", PUBLIC) in routes


def test_no_route_passes_by_the_audit() -> None:
    app = app_of()
    with pytest.raises(TypeError, match="station_handlers"):
        app.add_handlers(r".*", [(r"/notes", NotesHandler)])


# The lifespan


def traced(
    name: str, events: list[str], *, entering: type[Exception] | None = None
) -> Callable[[Application], AbstractAsyncContextManager[str]]:
    @contextlib.asynccontextmanager
    async def lifespan(app: Application) -> AsyncIterator[str]:
        assert app.resources.redis is not None
        events.append(f"enter {name}")
        if entering is not None:
            raise entering
        try:
            yield f"what {name} yields"
        finally:
            events.append(f"leave {name}")

    return lifespan


def test_lifespans_are_entered_in_order_and_left_in_reverse() -> None:
    events: list[str] = []
    plugins = [plugin(name, lifespan=traced(name, events)) for name in ("one", "two")]

    async def run() -> None:
        app = app_of(plugins[0], plugin("idle"), plugins[1])
        async with app.lifespan() as entered:
            assert entered is app
            events.append("serve")
            assert app.settings["one"] == "what one yields"
            assert app.settings["two"] == "what two yields"
            assert "idle" not in app.settings

    asyncio.run(run())
    assert events == ["enter one", "enter two", "serve", "leave two", "leave one"]


def test_lifespans_are_left_after_an_error_too() -> None:
    events: list[str] = []
    plugins = [plugin(name, lifespan=traced(name, events)) for name in ("one", "two")]

    async def run() -> None:
        async with app_of(*plugins).lifespan():
            raise KeyError("while serving")

    with pytest.raises(KeyError, match="while serving"):
        asyncio.run(run())
    assert events == ["enter one", "enter two", "leave two", "leave one"]


def test_a_lifespan_that_cannot_be_entered_leaves_those_before_it() -> None:
    events: list[str] = []
    plugins = [
        plugin("one", lifespan=traced("one", events)),
        plugin("two", lifespan=traced("two", events, entering=ConnectionError)),
        plugin("three", lifespan=traced("three", events)),
    ]

    async def run() -> None:
        async with app_of(*plugins).lifespan():
            raise AssertionError

    with pytest.raises(ConnectionError):
        asyncio.run(run())
    assert events == ["enter one", "enter two", "leave one"]


def test_the_health_checks_of_all_plugins_are_known_while_it_lives() -> None:
    async def check() -> None:
        pass

    notes = plugin("notes", health_checks=lambda app: [HealthCheck(str(app.settings["notes"]), check)])
    notes.station_lifespan = hookimpl(lambda app: contextlib.nullcontext(len(app.routes)))  # type: ignore[attr-defined] # a module

    async def run() -> None:
        app = app_of(notes)
        async with app.lifespan():
            names = [check.name for check in app.health_checks]
            assert names == ["mongodb", "redis", str(len(app.routes))]

    asyncio.run(run())


def test_given_resources_are_used_and_stay_open() -> None:
    given = resources()

    async def run() -> None:
        app = make_app(config_of(), given)
        async with app.lifespan():
            assert app.resources is given
            await app.throttle.hit("login", "203.0.113.9", app.config.throttle("login"))
        assert await given.redis.get("throttle:login:203.0.113.9") == b"1"

    asyncio.run(run())


# Migrations


def migrating(applied: list[str]) -> types.ModuleType:
    async def up(_database: object) -> None:
        applied.append("up")

    async def down(_database: object) -> None:
        applied.append("down")

    return plugin("notes", migrations=lambda: [Migration("0001", "Index the notes", up, down)])


def test_development_migrates() -> None:
    applied: list[str] = []

    async def run() -> None:
        app = app_of(migrating(applied))
        for _ in range(2):
            async with app.lifespan():
                assert await app.migrator().pending() == []

    asyncio.run(run())
    assert applied == ["up"]


def test_production_refuses_while_migrations_are_pending() -> None:
    applied: list[str] = []
    given = resources()

    async def run() -> None:
        app = make_app(config_of(**PRODUCTION), given, [migrating(applied)])
        async with app.lifespan(migrate=False):
            pending = await app.migrator().pending()
            assert pending[-1] == "notes/0001"
        with pytest.raises(StartError) as refused:
            await app.lifespan().__aenter__()
        assert refused.value.problems == (
            f"Migrations are pending: {', '.join(pending)}. Run `station migrate up`.",
        )
        assert applied == []
        await Migrator(given.database, app.plugins.call("station_migrations")).up()
        async with app.lifespan():
            assert applied == ["up"]

    asyncio.run(run())


# Plugins that are off, and listening


async def raw(port: int, request: bytes) -> bytes:
    """Send bytes and return all that comes until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = b""
    with contextlib.suppress(ConnectionError):  # closed before all was read
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        await writer.wait_closed()
    return answer


async def statuses(app: Application, *requests: bytes) -> list[bytes]:
    """The status lines of the answers; empty where the server closed without one."""
    server = app.listen(0, "127.0.0.1")
    port = next(iter(server._sockets.values())).getsockname()[1]
    try:
        return [(await raw(port, request)).partition(b"\r\n")[0] for request in requests]
    finally:
        server.stop()
        await server.close_all_connections()


def request(method: str, path: str, *headers: str) -> bytes:
    return "\r\n".join(
        [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
    ).encode()


def test_a_plugin_that_is_off_is_not_imported_and_its_routes_are_404(install_plugin: InstallPlugin) -> None:
    install_plugin("broken", "raise RuntimeError('imported')")

    async def run() -> None:
        app = app_of()
        async with app.lifespan():
            assert await statuses(
                app,
                request("GET", "/health/live"),
                request("POST", "/auth/token", "Content-Length: 0"),
                request("GET", "/oauth-clients"),
            ) == [b"HTTP/1.1 200 OK", b"HTTP/1.1 404 Not Found", b"HTTP/1.1 404 Not Found"]
            assert "oauth_m2m" not in app.settings

    asyncio.run(run())


def test_long_headers_are_read_and_endless_ones_are_not() -> None:
    async def run() -> None:
        app = app_of()
        async with app.lifespan():
            found = await statuses(
                app,
                request("GET", "/health/live", "X: " + "x" * 100 * 1024),
                request("GET", "/health/live", "X: " + "x" * 200 * 1024),
            )
        assert found == [b"HTTP/1.1 200 OK", b""]

    asyncio.run(run())


# Finding a handler


class OtherHandler(NotesHandler):
    """Another one."""


def found(app: Application, method: str, target: str, *, by_tornado: bool = False) -> tuple[object, ...]:
    """Who answers, with what: as Station finds it, or as Tornado does by going through the patterns."""
    line = RequestStartLine(method, target, "HTTP/1.1")
    asked = HTTPServerRequest(start_line=line, headers=HTTPHeaders({"Host": "x"}))
    find: Any = TornadoApplication.find_handler if by_tornado else Application.find_handler
    handler = find(app, asked)
    return (
        handler.handler_class,
        handler.handler_kwargs,
        handler.path_args,
        handler.path_kwargs,
        handler.request is asked,
    )


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "PURGE"])
def test_every_route_is_found_as_tornado_finds_it(method: str) -> None:
    app = app_of(plugins=("oauth_m2m", "demo"))
    paths = {info.path for info in app.routes}
    assert app._literal_rules.keys() <= paths
    assert app._literal_rules.keys() >= {"/auth/token", "/auth/client", "/oauth-clients", "/health/live"}
    patterns = {"/oauth-clients/station-bot", "/oauth-clients/station-bot/tokens/3f0c", "/oauth-clients/A"}
    near = {f"{path}{more}" for path in paths for more in ("/", "x", "?a=b", "%0A", ";", "//")}
    near |= {path[:-1] for path in paths} | {path.upper() for path in paths} | {f"/{path}" for path in paths}
    for target in {*paths, *patterns, *near, "*", "/"}:
        assert found(app, method, target) == found(app, method, target, by_tornado=True), target


def test_a_path_that_an_earlier_pattern_takes_stays_with_it() -> None:
    routes = [
        route(r"/notes/first", NotesHandler, {"place": 1}),
        route(r"/notes/([a-z]+)", NotesHandler),
        route(r"/notes/first", OtherHandler),
        route(r"/notes/second", OtherHandler),
        route(r"/notes/third-3", OtherHandler, {"place": 3}),
    ]
    badges = [SecurityScheme("badge", {})]
    app = app_of(plugin("notes", handlers=lambda: routes, security_schemes=lambda: badges))
    assert found(app, "GET", "/notes/first") == (NotesHandler, {"place": 1}, [], {}, True)
    assert found(app, "GET", "/notes/second") == (NotesHandler, {}, [b"second"], {}, True)
    assert found(app, "GET", "/notes/third-3") == (OtherHandler, {"place": 3}, [], {}, True)
    for path in ("/notes/first", "/notes/second", "/notes/third-3", "/notes/fourth", "/notes/"):
        assert found(app, "GET", path) == found(app, "GET", path, by_tornado=True)


@pytest.mark.parametrize(
    "pattern", [r"/a\.b", r"/a.b", r"/a\$$", r"/a\$", r"/a|/b", r"/a\d", r"/\w", r"/(?i:a)", r"/ä"]
)
def test_only_a_path_that_is_text_is_found_without_its_pattern(pattern: str) -> None:
    badges = [SecurityScheme("badge", {})]
    routes = [route(pattern, NotesHandler)]
    app = app_of(plugin("notes", handlers=lambda: routes, security_schemes=lambda: badges))
    targets = [
        "/a.b",
        "/axb",
        "/a",
        "/b",
        "/A",
        "/a$",
        "/a\\",
        "/a\\$",
        "/a1",
        "/a\\d",
        "/w",
        "/\\w",
        "/ä",
        "/a$x",
    ]
    for target in targets:
        assert found(app, "GET", target) == found(app, "GET", target, by_tornado=True), target


def test_what_nobody_answers_is_404_and_a_method_that_it_lacks_405() -> None:
    async def run() -> None:
        app = app_of(plugins=())
        async with app.lifespan():
            requests = (("HEAD", "/health/live"), ("OPTIONS", "/health/live"), ("PUT", "/health/live"))
            assert await statuses(app, *(request(*one, "Content-Length: 0") for one in requests)) == [
                b"HTTP/1.1 405 Method Not Allowed",
                b"HTTP/1.1 204 No Content",
                b"HTTP/1.1 405 Method Not Allowed",
            ]
            assert await statuses(app, request("GET", "/health/live/")) == [b"HTTP/1.1 404 Not Found"]

    asyncio.run(run())
