"""The application: routes, plugins and resources put together, and audited before it listens.

::

    app = make_app(load_config(os.environ))
    async with app.lifespan():
        server = app.listen(app.config.port, app.config.host)
        await asyncio.Event().wait()
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import tornado.web

from station.audit import AuditLog, AuditStore
from station.connections import Connections
from station.errors import StartError
from station.handlers import NotFoundHandler, Route
from station.http_server import Server
from station.logging import log_request
from station.messages import Messenger
from station.metrics.requests import RequestCounts
from station.migrations import Migrator
from station.plugin_manager import PluginHost
from station.resources import Resources, open_resources
from station.route_audit import audit_routes
from station.security import PUBLIC, Security, SecurityScheme, http_methods, security_of
from station.throttle import Throttle
from station.tracing import open_tracing
from station.workers import Worker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from tornado.httpserver import HTTPServer
    from tornado.httputil import HTTPServerRequest
    from tornado.web import RequestHandler

    from station.config import Config
    from station.handlers import BaseHandler
    from station.health import HealthCheck
    from station.metrics.service import Metrics
    from station.metrics.shared import SharedSnapshots
    from station.tracing.service import Tracing

__all__ = ["Application", "RouteInfo", "make_app"]

_MAX_MESSAGE_SIZE = 1024 * 1024
_PING_SECONDS = 30.0  # a WebSocket whose other end is gone is found out
_LITERAL = re.compile(r"(?:[\w/-]|\\\W)*\$")  # a pattern that matches one text only


@dataclasses.dataclass(frozen=True, slots=True)
class RouteInfo:
    """A row of ``station routes``: who may call ``method`` on ``path``."""

    path: str
    method: str
    security: Security


class Application(tornado.web.Application):
    """A Station: its ``config``, ``plugins``, ``security_schemes``, ``rules`` and the ``routes`` they make.

    Within `lifespan` it has its ``resources``, ``throttle``, ``audit`` and ``messages`` as well.
    ``serving`` is False for a command, which changes nothing that nodes share merely because it runs.
    ``worker`` says which of several processes that serve this one is, and ``shared_metrics`` is where all of
    them leave their numbers. ``connections`` are its WebSockets, and the answers that it streams;
    ``requests`` counts what it has answered. Where it serves, ``metrics`` tells all that, and ``tracing``
    makes spans if it is to.
    """

    resources: Resources
    throttle: Throttle
    audit: AuditLog
    messages: Messenger
    metrics: Metrics
    health_checks: Sequence[HealthCheck] = ()
    shared_metrics: SharedSnapshots | None = None
    tracing: Tracing | None = None
    serving: bool = True
    worker: Worker = Worker()

    def __init__(
        self,
        config: Config,
        plugins: PluginHost,
        rules: Sequence[Route],
        security_schemes: Mapping[str, SecurityScheme],
        resources: Resources | None,
    ) -> None:
        super().__init__(
            list(rules),
            default_handler_class=NotFoundHandler,
            cross_origin_protection=True,
            trusted_origins=list(config.allowed_origin),
            websocket_max_message_size=_MAX_MESSAGE_SIZE,
            websocket_ping_interval=_PING_SECONDS,
        )
        self.config = config
        self.plugins = plugins
        self.rules = tuple(rules)
        self.security_schemes = security_schemes
        self.connections = Connections()
        self.requests = RequestCounts(self.rules)
        self._given_resources = resources
        self._literal_rules = _literal_rules(rules)
        self.routes = [
            RouteInfo(_path(rule), method, security)
            for rule in rules
            for method, function in http_methods(rule.handler_class)
            if method != "OPTIONS" and (security := security_of(function))
        ]

    def listen(self, port: int, address: str | None = None, **kwargs: Any) -> HTTPServer:
        """Listen for HTTP with a `station.http_server.Server`; ``kwargs`` are those of its ``listen``."""
        server = Server(
            self,
            idle_seconds=self.config.idle_timeout_ms / 1000,
            transfer_seconds=self.config.transfer_timeout_ms / 1000,
        )
        server.listen(port, address or "", **kwargs)
        return server

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        """Find a route (called by Tornado): one without a pattern at once, which most are."""
        rule = self._literal_rules.get(request.path)
        if rule is None:
            delegate = super().find_handler(request, **kwargs)
        else:
            delegate = self.get_handler_delegate(request, rule.handler_class, rule.kwargs)
        if self.tracing is None:
            return delegate
        return self.tracing.follow(delegate, self.config.trusted_proxies)

    def log_request(self, handler: RequestHandler) -> None:
        """Count a request that was answered, and log it (called by Tornado)."""
        self.requests.note(cast("BaseHandler", handler))
        log_request(handler)
        if self.tracing is not None:
            self.tracing.end(handler)

    def add_handlers(self, host_pattern: str, host_handlers: object) -> None:
        """Refuse: what is added past the hook ``station_handlers`` would pass by the audit."""
        raise TypeError("Routes come from the hook station_handlers, so that each of them is audited.")

    @contextlib.asynccontextmanager
    async def lifespan(self, *, migrate: bool = True, serving: bool = True) -> AsyncIterator[Application]:
        """Open the resources, migrate, and enter every plugin's lifespan; leave all in reverse order.

        In production pending migrations raise `StartError` instead of being applied. ``migrate=False``
        skips the question, for commands that answer it.
        """
        self.serving = serving
        async with contextlib.AsyncExitStack() as stack:
            if serving and self.tracing is None and self.config.tracing == "on":
                self.tracing = stack.enter_context(open_tracing(self.requests, self.worker))
            if self._given_resources is not None:
                self.resources = self._given_resources
            else:
                self.resources = await stack.enter_async_context(open_resources(self.config, self.tracing))
            self.throttle = Throttle(self.resources.redis, self.resources.pipeline)
            retention = timedelta(days=self.config.audit_retention_days)
            self.audit = AuditLog(AuditStore(self.resources, retention))
            self.messages = Messenger()
            if migrate:
                await self._migrate()
            for name in self.plugins.names:
                lifespan = self.plugins.call_one(name, "station_lifespan", app=self)
                if lifespan is not None:
                    self.settings[name] = await stack.enter_async_context(lifespan)
            checks = self.plugins.call("station_health_checks", app=self)
            self.health_checks = [check for own in checks.values() for check in own]
            # last in and first out, so that the plugins whose sinks get the last events are still there
            sinks = self.plugins.call("station_audit_sinks", app=self)
            await stack.enter_async_context(self.audit.running(sinks))
            offered = self.plugins.call("station_messages", app=self)
            warn = serving and self.config.production
            await stack.enter_async_context(self.messages.running(offered, warn=warn))
            if serving:
                self.metrics = await stack.enter_async_context(self._telling_metrics())
            yield self

    def _telling_metrics(self) -> AbstractAsyncContextManager[Metrics]:
        """Ask the plugins for what they have counted."""
        from station.metrics.service import Metrics  # noqa: PLC0415 - see station.metrics

        collectors = self.plugins.call("station_metrics", app=self)
        return Metrics(collectors, worker=self.worker.number, shared=self.shared_metrics).publishing()

    def migrator(self) -> Migrator:
        """The migrations of the core and of every plugin that is on."""
        return Migrator(self.resources.database, self.plugins.call("station_migrations"))

    async def _migrate(self) -> None:
        migrator = self.migrator()
        if not self.config.production:
            await migrator.up()
        elif pending := await migrator.pending():
            raise StartError([f"Migrations are pending: {', '.join(pending)}. Run `station migrate up`."])


def make_app(
    config: Config, resources: Resources | None = None, plugins: Sequence[object] = ()
) -> Application:
    """Put an application together and audit it.

    ``resources`` replaces the configured stores (tests pass fakes); ``plugins`` are plugin objects on
    besides those that ``config`` names. Raises one `StartError` with everything that is wrong.
    """
    problems = config.problems()
    host = PluginHost.load(config.plugins, extra=plugins, problems=problems)
    rules: list[Route] = []
    schemes: dict[str, SecurityScheme] = {}
    try:
        rules += _routes(config, host, problems)
        schemes |= _security_schemes(config, host, problems)
        problems += audit_routes(rules, schemes)
    except StartError as error:
        problems += error.problems
    if problems:
        raise StartError(problems)
    return Application(config, host, rules, schemes, resources)


def _literal_rules(rules: Sequence[Route]) -> dict[str, Route]:
    """The routes by path whose path is text, unless another one comes first there."""
    literal: dict[str, Route] = {}
    for rule in rules:
        path = _path(rule)
        first = next(other for other in rules if other is rule or other.regex.match(path))
        if first is rule and _LITERAL.fullmatch(rule.regex.pattern):
            literal[path] = rule
    return literal


def _path(rule: Route) -> str:
    """The path of a route as people read it."""
    return re.sub(r"\\([^A-Za-z0-9])", r"\1", rule.regex.pattern.removesuffix("$"))


def _routes(config: Config, host: PluginHost, problems: list[str]) -> list[Route]:
    sections = host.sections()
    routes: list[Route] = []
    for name in host.names:
        settings = _settings(config, sections, name)
        for rule in host.call_one(name, "station_handlers", settings=settings) or ():
            if isinstance(rule, Route):
                routes.append(rule)
            else:
                problems.append(
                    f"The plugin {name} gives {rule!r} as a route; make it with station.handlers.route."
                )
    return routes


def _settings(config: Config, sections: Mapping[str, type], name: str) -> object:
    """The settings of a plugin: as configured, or the defaults."""
    return config.sections.get(name) or (sections[name]() if name in sections else None)


def _security_schemes(config: Config, host: PluginHost, problems: list[str]) -> dict[str, SecurityScheme]:
    sections = host.sections()
    schemes: dict[str, SecurityScheme] = {}
    for name in host.names:
        settings = _settings(config, sections, name)
        own = host.call_one(name, "station_security_schemes", settings=settings, scopes=host.scopes())
        for scheme in own or ():
            if scheme.name in {PUBLIC.scheme, *schemes}:
                problems.append(f"The plugin {name} offers the scheme {scheme.name}, which is taken already.")
            schemes[scheme.name] = scheme
    return schemes
