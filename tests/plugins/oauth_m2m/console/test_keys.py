from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from plugins.oauth_m2m.config import OAuthM2MConfig
from plugins.oauth_m2m.services import services_of

if TYPE_CHECKING:
    from station.app import Application
    from tests.plugins.oauth_m2m.console.conftest import Browser

KEYS = "/console/keys"


class TestAsymmetric:
    """With keys that rotate."""

    @pytest.fixture
    def m2m_settings(self) -> OAuthM2MConfig:
        return OAuthM2MConfig(bcrypt_cost=4, signing_alg="EdDSA")

    @pytest.mark.gen_test
    async def test_keys_are_listed_the_one_that_signs_first(self, browser: Browser, app: Application) -> None:
        page = await browser.get(KEYS)
        active, following = page.tree.one("tbody").all("tr")
        assert "active: signs" in active.text
        assert "next: published" in following.text
        kids = {key.state: key.kid for key in services_of(app).keyring.current()}
        assert (kids["active"] in active.text, kids["next"] in following.text) == (True, True)
        assert active.all("a") == []
        assert following.one("a").attributes["href"] == f"{KEYS}/{kids['next']}/retire"

    @pytest.mark.gen_test
    async def test_rotating_says_what_happens_waits_and_can_be_forced(
        self, browser: Browser, app: Application
    ) -> None:
        keyring = services_of(app).keyring
        before = {key.state: key.kid for key in keyring.current()}
        rotate = f"{KEYS}/rotate"
        asked = await browser.get(rotate)
        assert before["next"] in asked.tree.one(id="ask").text
        assert "no client notices" in asked.tree.one(id="ask").text
        refused = await browser.post(rotate, asked.form(rotate))
        assert (refused.status, refused.heading) == (409, "Rotate the signing key?")
        assert "is so new" in refused.tree.one("p", role="alert").text
        assert {key.state: key.kid for key in keyring.current()} == before
        done = await browser.post(rotate, {**refused.form(rotate), "force": "true"})
        assert (done.url, done.status) == (KEYS, 200)
        assert done.notice == f"{before['next']} signs now. Every process takes it within seconds."
        assert {key.state: key.kid for key in keyring.current()}["active"] == before["next"]
        assert "retired: verifies only" in done.tree.one("tbody").text

    @pytest.mark.gen_test
    async def test_a_key_is_retired_after_a_question(self, browser: Browser, app: Application) -> None:
        keyring = services_of(app).keyring
        following = next(key.kid for key in keyring.current() if key.state == "next")
        retire = f"{KEYS}/{following}/retire"
        asked = await browser.get(retire)
        assert "Nothing: it has signed no token yet." in asked.tree.one("p", class_="breaks").text
        done = await browser.post(retire, asked.form(retire))
        assert done.notice == f"{following} is retired: what it signed is refused."
        assert following not in {key.kid for key in keyring.current()}
        assert (await browser.get(retire)).status == 404

    @pytest.mark.gen_test
    async def test_the_key_that_signs_cannot_be_retired(self, browser: Browser, app: Application) -> None:
        active = next(key.kid for key in services_of(app).keyring.current() if key.state == "active")
        retire = f"{KEYS}/{active}/retire"
        asked = await browser.get(retire)
        assert f"Every token that {active} signed is refused" in asked.tree.one("p", class_="breaks").text
        refused = await browser.post(retire, asked.form(retire))
        assert refused.status == 409
        assert "rotate first" in refused.tree.one("p", role="alert").text


@pytest.mark.gen_test
async def test_a_shared_secret_is_explained_and_not_rotated_here(browser: Browser) -> None:
    page = await browser.get(KEYS)
    assert "JWT_SECRET_PREVIOUS" in page.tree.one("main").text
    assert [link for link in page.tree.all("a") if link.text == "Rotate"] == []
    assert (await browser.get(f"{KEYS}/rotate")).status == 404
