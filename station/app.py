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
import logging
from typing import TYPE_CHECKING, Any

import tornado.web

from station.errors import StartError
from station.handlers import BaseHandler, NotFoundHandler
from station.logging import log_request
from station.migrations import Migrator
from station.plugin_manager import PluginHost
from station.resources import Resources, open_resources
from station.security import PUBLIC, Security, SecurityScheme, http_methods, security_of
from station.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tornado.httpserver import HTTPServer

    from station.config import Config
    from station.handlers import Route
    from station.health import HealthCheck

__all__ = ["Application", "RouteInfo", "make_app"]

_log = logging.getLogger(__name__)
_MAX_BODY_SIZE = 1024 * 1024
_MAX_HEADER_SIZE = 128 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class RouteInfo:
    """A row of ``station routes``: who may call ``method`` on ``path``."""

    path: str
    method: str
    security: Security


class Application(tornado.web.Application):
    """A Station: its ``config``, ``plugins``, ``routes`` and, within `lifespan`, its ``resources``."""

    resources: Resources
    throttle: Throttle
    health_checks: Sequence[HealthCheck] = ()

    def __init__(
        self, config: Config, plugins: PluginHost, rules: Sequence[Route], resources: Resources | None
    ) -> None:
        super().__init__(
            list(rules),
            default_handler_class=NotFoundHandler,
            log_function=log_request,
            cross_origin_protection=True,
            trusted_origins=list(config.allowed_origin),
        )
        self.config = config
        self.plugins = plugins
        self._given_resources = resources
        self.routes = [
            RouteInfo(rule.regex.pattern.rstrip("$"), method, security)
            for rule in rules
            for method, function in http_methods(rule.handler_class)
            if method != "OPTIONS" and (security := security_of(function))
        ]

    def listen(self, port: int, address: str | None = None, **kwargs: Any) -> HTTPServer:
        """Listen for HTTP; bodies over 1 MiB are refused unread, and ``xheaders`` stays off.

        A request with more than 128 KiB of headers gets no answer: Tornado closes the connection.
        """
        sizes = {"max_body_size": _MAX_BODY_SIZE, "max_header_size": _MAX_HEADER_SIZE}
        return super().listen(port, address or "", **sizes, **kwargs)

    @contextlib.asynccontextmanager
    async def lifespan(self, *, migrate: bool = True) -> AsyncIterator[Application]:
        """Open the resources, migrate, and enter every plugin's lifespan; leave all in reverse order.

        In production pending migrations raise `StartError` instead of being applied. ``migrate=False``
        skips the question, for commands that answer it.
        """
        async with contextlib.AsyncExitStack() as stack:
            if self._given_resources is not None:
                self.resources = self._given_resources
            else:
                self.resources = await stack.enter_async_context(open_resources(self.config))
            self.throttle = Throttle(self.resources.redis)
            if migrate:
                await self._migrate()
            for name in self.plugins.names:
                lifespan = self.plugins.call_one(name, "station_lifespan", app=self)
                if lifespan is not None:
                    self.settings[name] = await stack.enter_async_context(lifespan)
            checks = self.plugins.call("station_health_checks", app=self)
            self.health_checks = [check for own in checks.values() for check in own]
            yield self

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
    rules = [rule for own in host.call("station_handlers").values() for rule in own]
    schemes = _security_schemes(config, host)
    problems += _audit(rules, schemes)
    if problems:
        raise StartError(problems)
    return Application(config, host, rules, resources)


def _security_schemes(config: Config, host: PluginHost) -> dict[str, SecurityScheme]:
    sections = host.sections()
    schemes: dict[str, SecurityScheme] = {}
    for name in host.names:
        settings = config.sections.get(name) or (sections[name]() if name in sections else None)
        own = host.call_one(name, "station_security_schemes", settings=settings, scopes=host.scopes())
        schemes |= {scheme.name: scheme for scheme in own or ()}
    return schemes


def _audit(rules: Sequence[Route], schemes: dict[str, SecurityScheme]) -> list[str]:
    """Find every method that declares nothing, or what nobody offers."""
    problems = []
    for rule in rules:
        if not issubclass(rule.handler_class, BaseHandler):
            problems.append(
                f"{rule.handler_class.__qualname__} ({rule.regex.pattern}) is no BaseHandler and would answer "
                "HTML: derive it from BaseHandler, or give the route a demand."
            )
        for name, method in http_methods(rule.handler_class):
            where = f"{rule.handler_class.__module__}.{rule.handler_class.__qualname__}.{name.lower()}"
            security = security_of(method)
            if security is None:
                problems.append(
                    f"{where} ({rule.regex.pattern}) declares neither a demand nor @public: put "
                    f"@public or the decorator of one of {', '.join(schemes)} outermost on it."
                )
            elif security != PUBLIC and security.scheme not in schemes:
                problems.append(f"{where} demands {security.scheme}, which no plugin that is on offers.")
            elif security != PUBLIC:
                catalogue = schemes[security.scheme].scopes
                unknown = sorted(security.scopes - catalogue.keys()) if catalogue is not None else []
                problems += [
                    f"{where} asks for the scope {scope}, which nothing declares." for scope in unknown
                ]
    return problems
