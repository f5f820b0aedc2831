"""``/docs`` over HTTP; `tests/browser/test_reference.py` looks at it."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from station.config import Config
    from tests.conftest import Wire

TYPES = {
    "/docs": "text/html",
    "/docs/reference.css": "text/css",
    "/docs/reference.js": "text/javascript",
    "/docs/swagger-ui-bundle.js": "text/javascript",
    "/docs/swagger-ui.css": "text/css",
}


@pytest.mark.gen_test
async def test_everybody_may_read_it_and_is_asked_for_the_newest(wire: Wire) -> None:
    for path, media_type in TYPES.items():
        answer = await wire.fetch("GET", path)
        assert answer.status == 200, path
        assert answer.headers["Content-Type"] == media_type
        assert answer.headers["Cache-Control"] == "public, no-cache"
        etag = answer.headers["ETag"]
        again = await wire.fetch("GET", path, headers={"If-None-Match": etag})
        assert (again.status, again.body) == (304, b"")
        head = await wire.fetch("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["ETag"] == etag
        assert head.headers["Content-Length"] == str(len(answer.body))


@pytest.mark.gen_test
async def test_it_is_sent_as_a_whole(wire: Wire) -> None:
    for wanted in ("bytes=0-9", "bytes=99999999-", "bytes=5-1"):
        answer = await wire.fetch("GET", "/docs", headers={"Range": wanted})
        assert answer.status == 200
        assert answer.headers["Accept-Ranges"] == "none"
        assert b"</html>" in answer.body


@pytest.mark.gen_test
async def test_the_page_is_made_of_what_is_there_without_inline_code(wire: Wire) -> None:
    page = await wire.fetch("GET", "/docs")
    text = page.body.decode()
    linked = re.findall(r'(?:href|src)="(docs/[^"]+)"', text)
    assert {f"/{path}" for path in linked} == TYPES.keys() - {"/docs"}
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! src=)", text)
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    "path",
    [
        "/docs/",
        "/docs/nothing.js",
        "/docs/reference.html",
        "/docs/reference.py",
        "/docs/../openapi/reference.py",
        "/docs/..%2freference.py",
        "/docs/%2e%2e/reference.py",
        "/docs/swagger-ui.js/",
        "/docs/swagger-ui.css%00",
        "/docs//etc/passwd",
    ],
)
@pytest.mark.gen_test
async def test_nothing_else_is_there(wire: Wire, path: str) -> None:
    for method in ("GET", "HEAD"):
        answer = await wire.fetch(method, path)
        assert answer.status == 404
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "unsafe" not in answer.headers["Content-Security-Policy"]


class TestOff:
    @pytest.fixture
    def config(self, config: Config) -> Config:
        return dataclasses.replace(config, docs="off")

    @pytest.mark.gen_test
    async def test_it_is_not_there_and_the_document_is(self, wire: Wire) -> None:
        for path in TYPES:
            answer = await wire.fetch("GET", path)
            assert (answer.status, answer.json["code"]) == (404, "not-found")
        assert (await wire.fetch("GET", "/openapi.json")).status == 200
