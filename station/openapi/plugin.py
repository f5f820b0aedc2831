"""The document as one of the core's plugins: made when an application begins to serve."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING

from marshmallow import EXCLUDE, Schema, fields

from station import hookimpl
from station.handlers import BaseHandler, Route, route
from station.openapi import reference
from station.openapi.declaration import describe
from station.security import public

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from contextlib import AbstractAsyncContextManager

    from station.app import Application

MAX_AGE = 300
"""For how many seconds anybody may keep the document; an ETag answers afterwards."""


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """The document as it is sent."""

    body: bytes
    etag: str


class OpenAPISchema(Schema):
    """An OpenAPI 3.1 document."""

    class Meta:
        """It has more members than these."""

        unknown = EXCLUDE

    openapi = fields.String(required=True)
    info = fields.Dict(required=True)
    paths = fields.Dict(required=True)


class OpenAPIHandler(BaseHandler):
    """``GET /openapi.json``."""

    @public
    @describe(responses={200: OpenAPISchema})
    def get(self) -> None:
        """Answer this document."""
        self.set_header("Cache-Control", f"public, max-age={MAX_AGE}")
        self.write(self._document.body)

    def compute_etag(self) -> str:
        """The hash that was made with the document (called by Tornado, which compares If-None-Match)."""
        return self._document.etag

    @property
    def _document(self) -> Document:
        document: Document = self.application.settings["openapi"]
        return document


@hookimpl
def station_handlers() -> Sequence[Route]:
    """Route it, and the page that is made from it."""
    return [route(r"/openapi\.json", OpenAPIHandler), *reference.routes]


@hookimpl
def station_lifespan(app: Application) -> AbstractAsyncContextManager[Document | None]:
    """Keep the `Document` in ``app.settings["openapi"]``; commands need none."""
    return _lifespan(app)


@contextlib.asynccontextmanager
async def _lifespan(app: Application) -> AsyncIterator[Document | None]:
    yield make_document(app) if app.serving else None


def make_document(app: Application) -> Document:
    """Describe every route of an application."""
    from station.openapi.document import openapi_document  # noqa: PLC0415 - commands do without apispec

    body = json.dumps(openapi_document(app.config.issuer, app.rules, app.security_schemes)).encode()
    return Document(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
