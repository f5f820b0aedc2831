"""Every page of the console: nobody is kept out of it, by axe-core's rules; and what it looks like."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from accessibility import barriers
from configured import SETTINGS
from inhabitants import BOT, inhabit
from people import PASSWORD, make_admin, sign_in
from pictures import picture_names, take_pictures
from playwright.sync_api import expect

from station.app import make_app
from station.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from leaks import Leaks
    from playwright.sync_api import Page
    from watching import Watch

    from tests.conftest import Serve, Server

DOCS = Path(__file__).parents[2] / "docs"
CLIENT = f"/console/clients/{BOT}"


@dataclasses.dataclass(frozen=True)
class Shown:
    """A page: its ``path``, and what is ``done`` on it; or it is where a ``link`` on that page ``leads``."""

    path: str
    link: str = ""
    leads: str = ""
    done: Callable[[Page], None] | None = None
    picture: bool = False


def register(page: Page) -> None:
    page.get_by_label("Client id").fill("new-bot")
    page.get_by_label("Scopes").fill("demo:read")
    page.get_by_role("button", name="Register").click()
    expect(page.get_by_role("heading", name="The secret of new-bot")).to_be_visible()


def register_wrongly(page: Page) -> None:
    page.get_by_label("Client id").fill(BOT)
    page.get_by_label("Scopes").fill("demo:read, demo:write")
    page.get_by_role("button", name="Register").click()
    expect(page.locator("[aria-invalid=true]").first).to_be_visible()


def ask_to_disable(page: Page) -> None:
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def open_tables(page: Page) -> None:
    for summary in page.locator("summary").all():
        summary.click()


PAGES = {
    "login": Shown("/console/login", picture=True),
    "clients": Shown("/console/clients", picture=True),
    "clients-none": Shown("/console/clients?search=nobody"),
    "register": Shown("/console/register", picture=True),
    "register-wrong": Shown("/console/register", done=register_wrongly),
    "client": Shown(CLIENT, picture=True),
    "disable": Shown(CLIENT, done=ask_to_disable, picture=True),
    "secret-new": Shown(f"{CLIENT}/secrets/new", picture=True),
    "secret-end": Shown(CLIENT, link="End the secret", leads=f"{CLIENT}/secrets/1/end"),
    "tokens": Shown(f"{CLIENT}/tokens", picture=True),
    "tokens-revoke": Shown(f"{CLIENT}/tokens/revoke"),
    "token-revoke": Shown(f"{CLIENT}/tokens", link="Revoke the token", leads=f"{CLIENT}/tokens/1/revoke"),
    "disable-page": Shown(f"{CLIENT}/disable"),
    "enable-page": Shown("/console/clients/old-importer/enable"),
    "delete-page": Shown(f"{CLIENT}/delete"),
    "client-disabled": Shown("/console/clients/old-importer"),
    "usage": Shown("/console/usage", picture=True),
    "usage-tables": Shown("/console/usage", done=open_tables),
    "keys": Shown("/console/keys", picture=True),
    "keys-rotate": Shown("/console/keys/rotate"),
    "key-retire": Shown("/console/keys", link="Retire the key", leads="/console/keys/1/retire"),
    "audit": Shown("/console/audit", picture=True),
    "audit-wrong": Shown("/console/audit?since=never"),
    "system": Shown("/console/system", picture=True),
    "nothing": Shown("/console/no-such-page"),
    "secret": Shown("/console/register", done=register, picture=True),
}
FIRST_INSIDE = "clients"
NO_PAGES = re.compile(r"/console(/audit/latest|/static/.*)?")


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory, serve: Serve, leaks: Leaks) -> Iterator[Server]:
    """A Station of its own, with nobody in it whom other tests have made."""
    with serve(tmp_path_factory.mktemp("inhabited"), **SETTINGS) as running:
        make_admin(running.data_dir)
        inhabit(running, leaks)
        yield running


def test_no_page_is_forgotten() -> None:
    app = make_app(Config(env="test", jwt_secret="x" * 32))
    patterns = {info.path for info in app.routes if info.method == "GET" and info.path.startswith("/console")}
    looked_at = [urlsplit(shown.leads or shown.path).path for shown in PAGES.values()]
    for pattern in patterns:
        assert NO_PAGES.fullmatch(pattern) or any(re.fullmatch(pattern, path) for path in looked_at), pattern


def test_every_picture_is_shown_in_the_documentation() -> None:
    documented = (DOCS / "console.md").read_text()
    pictured = [name for name, shown in PAGES.items() if shown.picture]
    names = [file for name in pictured for file in picture_names(name)]
    assert sorted(file.name for file in (DOCS / "console").glob("*.png")) == sorted(names)
    for name in names:
        assert f"(console/{name})" in documented, name


def test_no_page_keeps_anybody_out(
    page: Page, watch: Watch, station: Server, leaks: Leaks, pictures: Path
) -> None:
    """One test for all of them, because a Station that is lived in takes its time."""
    watch.forgive("status of 4")  # pages that say what is wrong
    found: dict[str, list[str]] = {}
    for name, shown in PAGES.items():
        if name == FIRST_INSIDE:
            leaks.keep(PASSWORD, *sign_in(page.context, station.url))
        page.goto(shown.path)
        if shown.link:
            page.goto(page.get_by_role("button", name=shown.link).first.get_attribute("href") or "")
        if shown.done:
            shown.done(page)
        for field in page.locator("#secret").all():
            leaks.keep(field.input_value())
            field.evaluate("(field) => { field.value = 'Shown-once-'.repeat(4); }")  # no secret in a picture
        headings = page.locator("main").get_by_role("heading", level=1)
        expect(headings.or_(page.get_by_role("dialog")).first).to_be_visible()
        found[name] = barriers(page)
        if shown.picture:
            take_pictures(page, pictures, name)
            assert all((pictures / file).stat().st_size for file in picture_names(name))
    assert {name: barriers for name, barriers in found.items() if barriers} == {}
