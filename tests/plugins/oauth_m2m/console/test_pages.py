"""What holds for every page: its headers, who may read and send it, and that everybody can use it."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import re
from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.client_fields import CLIENT_ID
from plugins.oauth_m2m.console.assets import ASSETS
from station.app import make_app
from station.errors import ServiceUnavailable
from tests.plugins.oauth_m2m.console.conftest import HTML, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plugins.oauth_m2m.config import OAuthM2MConfig
    from station.app import Application
    from station.config import Config
    from tests.conftest import Answer, Wire
    from tests.plugins.oauth_m2m.console.conftest import Browser, Element

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
BOT = "/console/clients/station-bot"


def filled(path: str) -> str:
    """A path of a route, for the client station-bot."""
    return re.sub(r"\([^()|]*\)", "no-such", path.replace(rf"({CLIENT_ID})", "station-bot"))


def pages(app: Application) -> list[str]:
    """A path of every page that is read by GET, save those that lead elsewhere."""
    # and the last, which is a part of a page
    elsewhere = ("/console", "/console(/.*|)", "/auth/console", "/console/audit/latest")
    paths = [filled(info.path) for info in app.routes if info.method == "GET" and "console" in info.path]
    return [path for path in dict.fromkeys(paths) if path not in elsewhere and "static" not in path]


def faults(path: str, tree: Element) -> Iterator[str]:
    """What is in the way of somebody, or of the content security policy."""
    for one in tree.all():
        where = f"{path}: <{one.tag} {one.attributes}>"
        if "style" in one.attributes or any(name.startswith("on") for name in one.attributes):
            yield f"{where} is inline"
        if one.tag == "style" or (one.tag == "script" and (one.text or "src" not in one.attributes)):
            yield f"{where} is inline"
        if one.tag in {"script", "link", "img"}:
            url = one.attributes.get("src") or one.attributes["href"]
            if not url.startswith("/console/static/"):
                yield f"{where} comes from elsewhere"
        is_field = one.tag in {"input", "select", "textarea"} and one.attributes.get("type") != "hidden"
        if is_field and len(tree.all("label", for_=one.attributes["id"])) != 1:
            yield f"{where} has no label"
        if one.tag == "table" and not (
            one.all("caption") and one.all("thead") and one.all("th", scope="row")
        ):
            yield f"{where} has no caption or no headings"
        if one.tag in {"a", "button", "summary"} and not (one.text or one.attributes.get("aria-label")):
            yield f"{where} has no name"
        described = [
            *one.attributes.get("aria-describedby", "").split(),
            *one.attributes.get("aria-labelledby", "").split(),
        ]
        for other in described:
            if len(tree.all(id=other)) != 1:
                yield f"{where} is described by {other}, which is not there"
        if one.tag == "form" and one.attributes.get("method") == "post" and not one.all("button"):
            yield f"{where} has no button"
    ids = [one.attributes["id"] for one in tree.all() if "id" in one.attributes]
    if len(set(ids)) != len(ids):
        yield f"{path}: an id is there twice"
    levels = [int(one.tag[1]) for one in tree.all() if re.fullmatch(r"h[1-6]", one.tag)]
    if levels[:1] != [1] or levels.count(1) != 1 or any(b > a + 1 for a, b in itertools.pairwise(levels)):
        yield f"{path}: the headings are {levels}"
    if tree.one("html").attributes["lang"] != "en" or not tree.one("head").one("title").text:
        yield f"{path}: has no language or no title"
    if [len(tree.all(tag)) for tag in ("main", "header", "footer")] != [1, 1, 1]:
        yield f"{path}: has not its landmarks"
    skip = tree.one("body").all("a")[0].attributes["href"]
    if skip != "#main" or not tree.all("main", id="main"):
        yield f"{path}: does not begin with a way to its content"


@pytest.mark.gen_test
async def test_every_page_can_be_used_by_everybody(browser: Browser, wire: Wire, app: Application) -> None:
    credentials = await wire.register()
    await wire.access_token(credentials)
    await wire.token(("station-bot", "w" * 40))
    await app.audit.flush()
    (secret,) = (await wire.admin("GET", "/oauth-clients/station-bot/secrets")).json["secrets"]
    found: list[str] = []
    listed = pages(app)
    assert len(listed) > 10
    for path in [*listed, f"{BOT}/secrets/{secret['id']}/end", "/console/clients?search=nothing"]:
        page = await browser.get(path)
        assert page.status in {200, 404}, path
        found += faults(path, page.tree)
    wrong = await browser.post("/console/register", {"clientId": "?", "clientSecret": "x", "tokenTtl": "x"})
    found += faults("a form that is wrong", wrong.tree)
    shown = await browser.post("/console/register", {"clientId": "new-bot", "scopes": "a"})
    found += faults("a secret", shown.tree)
    assert found == []


def check_headers(answer: Answer) -> None:
    assert answer.headers["Content-Type"] == HTML
    assert answer.headers.get_list("Content-Security-Policy") == [CSP]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "ETag" not in answer.headers
    assert "Access-Control-Allow-Origin" not in answer.headers


ORIGIN = "https://app.example"


@pytest.fixture
def config(config: Config) -> Config:
    return dataclasses.replace(config, allowed_origin=(ORIGIN,))


@pytest.mark.gen_test
async def test_every_page_has_a_strict_policy_and_is_for_nobody_else(
    browser: Browser, wire: Wire, app: Application
) -> None:
    await wire.register()
    for path in [*pages(app), "/console/no/such/page"]:
        answer = await browser.fetch("GET", path, Origin=ORIGIN)
        check_headers(answer)
        stranger = await wire.fetch("GET", path, headers={"Origin": ORIGIN})
        check_headers(stranger)


FOREIGN: list[dict[str, str]] = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ORIGIN},  # may call the API, and send no form here
    {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.mark.gen_test
async def test_no_form_of_another_origin_is_taken(browser: Browser, wire: Wire, app: Application) -> None:
    await wire.register()
    before = (await wire.admin("GET", "/oauth-clients/station-bot")).json
    cookies = "; ".join(f"{name}={value}" for (name, _), value in browser.cookies.items())
    posts = [info.path for info in app.routes if info.method == "POST" and "console" in info.path]
    assert len(posts) > 8
    form = {"version": "1", "name": "Changed", "scopes": "changed", "clientId": "changed"}
    for path, headers in itertools.product(map(filled, posts), FOREIGN):
        answer = await wire.fetch("POST", path, headers={"Cookie": cookies, **headers}, form=form)
        assert answer.status == 403, (path, headers)
        assert parse(answer.body).one("h1").text == "403 Forbidden"
        check_headers(answer)
    assert (await wire.admin("GET", "/oauth-clients/station-bot")).json == before
    assert (await browser.get("/console/clients")).status == 200  # and nobody is logged out


@pytest.mark.gen_test
async def test_what_browsers_send_of_their_own_pages_passes(browser: Browser, wire: Wire) -> None:
    await wire.register()
    form = (await browser.get(BOT)).form(BOT)
    for number, headers in enumerate(({"Sec-Fetch-Site": "same-origin"}, {"Origin": wire.base_url})):
        answer = await browser.fetch("POST", BOT, {**form, "version": str(number + 1)}, **headers)
        assert answer.status == 303


@pytest.mark.gen_test
async def test_errors_are_pages_of_the_console_and_others_stay_json(browser: Browser, wire: Wire) -> None:
    for method, path, form, status in [
        ("GET", "/console/no/such/page", None, 404),
        ("POST", "/console/no-such-page", {}, 404),
        ("DELETE", "/console/clients", None, 405),
        ("PUT", BOT, {}, 405),
        ("POST", "/console/register", {"scopes": "x" * 70_000}, 413),
        ("GET", "/console/clients?search=%ff", None, 400),
        ("GET", "/console/clients?search=%00", None, 400),
        ("GET", "/console/static/no-such.css", None, 404),
        ("GET", "/console/static/..", None, 404),
    ]:
        answer = await browser.fetch(method, path, form)
        assert answer.status == status, (method, path)
        check_headers(answer)
        page = parse(answer.body)
        assert page.one("h1").text.startswith(str(status))
        assert answer.headers["X-Request-ID"] in page.one("main").text
    for path in ("/consoles", "/no-such-page", "/auth/consoles"):
        assert (await wire.fetch("GET", path)).headers["Content-Type"] == "application/problem+json"


@pytest.mark.gen_test
async def test_a_failure_of_ours_says_nothing_of_itself(
    browser: Browser, app: Application, caplog: pytest.LogCaptureFixture
) -> None:
    services = app.settings.pop("oauth_m2m")
    try:
        page = await browser.get("/console/clients")
    finally:
        app.settings["oauth_m2m"] = services
    assert (page.status, page.heading) == (500, "500 Internal Server Error")
    assert "KeyError" not in page.answer.body.decode()
    assert [record.name for record in caplog.records if record.levelname == "ERROR"] == ["station.handlers"]


class Away:
    """Stands in for a service whose store is away."""

    async def list(self, _query: object) -> None:
        await asyncio.sleep(0)
        raise ServiceUnavailable("A store that Station needs does not answer.")


@pytest.mark.gen_test
async def test_a_store_that_is_away_is_said_to_be(browser: Browser, app: Application) -> None:
    services = app.settings["oauth_m2m"]
    app.settings["oauth_m2m"] = dataclasses.replace(services, clients=Away())
    try:
        page = await browser.get("/console/clients")
    finally:
        app.settings["oauth_m2m"] = services
    assert (page.status, page.heading) == (503, "503 Service Unavailable")
    assert "A store that Station needs does not answer." in page.tree.one("main").text
    assert page.answer.headers["Retry-After"] == "1"


@pytest.mark.gen_test
async def test_style_and_script_are_ours_and_kept_by_browsers(browser: Browser, wire: Wire) -> None:
    tree = (await browser.get("/console/login")).tree
    urls = [
        one.attributes.get("href") or one.attributes["src"]
        for one in [*tree.all("link"), *tree.all("script")]
    ]
    assert len(urls) == 4
    types = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    for url in urls:
        answer = await wire.fetch("GET", url)
        assert answer.status == 200
        assert answer.headers["Content-Type"] == types[url.partition("?")[0].rpartition(".")[2]]
        assert answer.headers["Cache-Control"].startswith("max-age=")
        assert b"@import" not in answer.body
        assert not re.search(rb"url\((?!\"?'?(data:|#))", answer.body), url
        assert b"https://" not in re.sub(rb"/\*!?.*?\*/", b"", answer.body, flags=re.DOTALL).replace(
            b"http://www.w3.org", b""
        )


def test_the_library_has_its_licence_and_its_version_beside_it() -> None:
    assert "MIT License" in (ASSETS / "pico.LICENSE.txt").read_text()
    assert "Pico CSS" in (ASSETS / "pico.min.css").read_text()[:200]


class TestOff:
    """``OAUTH_M2M_CONSOLE=off``."""

    @pytest.fixture
    def m2m_settings(self, m2m_settings: OAuthM2MConfig) -> OAuthM2MConfig:
        return dataclasses.replace(m2m_settings, console="off")

    @pytest.mark.gen_test
    async def test_there_is_no_console(self, wire: Wire, app: Application) -> None:
        assert not [info.path for info in app.routes if "console" in info.path]
        for path in ("/console", "/console/login", "/console/static/console.css", "/auth/console"):
            answer = await wire.fetch("GET", path)
            assert (answer.status, answer.headers["Content-Type"]) == (404, "application/problem+json")


def test_what_a_page_demands_is_what_the_table_says(config: Config) -> None:
    app = make_app(config)
    public = {"/console", "/console(/.*|)", "/console/login", "/auth/console", "/auth/console/logout"}
    for info in app.routes:
        if "console" in info.path and info.path not in public and "static" not in info.path:
            assert str(info.security) == "console", info.path
