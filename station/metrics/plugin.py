"""The metrics as one of the core's plugins: the endpoint, and what the core itself tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from station import hookimpl
from station.auth.decorators import admin_authenticated
from station.handlers import BaseHandler, route
from station.openapi import Response, describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from prometheus_client.registry import Collector

    from station.app import Application
    from station.handlers import Route

__all__: list[str] = []

_TEXT = {200: Response(media_type="text/plain", description="What Prometheus reads.")}


class MetricsHandler(BaseHandler):
    """``GET /metrics``."""

    @admin_authenticated
    @describe(responses=_TEXT)
    async def get(self) -> None:
        """Answer what all processes of this Station have counted, as Prometheus reads it.

        The header Accept chooses between Prometheus' own format and OpenMetrics.
        """
        await self._answer()

    @admin_authenticated
    @describe(responses=_TEXT)
    async def head(self) -> None:
        """Answer the headers alone."""
        await self._answer()

    async def _answer(self) -> None:
        accept = ",".join(self.request.headers.get_list("Accept"))
        body, media_type = await self.application.metrics.exposition(accept)
        self.set_header("Content-Type", media_type)
        self.write(body)


@hookimpl
def station_handlers() -> Sequence[Route]:
    """Route it."""
    return [route(r"/metrics", MetricsHandler)]


@hookimpl
def station_metrics(app: Application) -> Sequence[Collector]:
    """What the core has counted, and the process."""
    from station.metrics.core import CoreCollector, process_collector  # noqa: PLC0415 - see station.metrics

    return [CoreCollector(app), process_collector()]
