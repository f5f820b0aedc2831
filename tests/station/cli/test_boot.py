from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from station.cli import Boot
from station.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from station.app import Application
    from station.embedded import Endpoints


@pytest.fixture(autouse=True)
def _no_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATION_PLUGINS", "none")


def test_nothing_is_read_before_it_is_needed_and_then_once(
    monkeypatch: pytest.MonkeyPatch, working_directory: Path
) -> None:
    boot = Boot()
    monkeypatch.setenv("PORT", "4000")
    assert boot.config.port == 4000
    monkeypatch.setenv("PORT", "x")
    assert boot.config.port == 4000
    with pytest.raises(ConfigError):
        _ = Boot().config
    assert (working_directory / ".station").exists()


def test_options_that_were_given_override() -> None:
    boot = Boot().override(host="", port=None).override(port=0)
    assert boot.overrides == {"port": 0}
    assert (boot.config.host, boot.config.port) == ("127.0.0.1", 0)


def test_a_file_that_was_asked_for_is_read(tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text("port = 4000")
    assert Boot(file).config.port == 4000
    assert Boot(file).override(host="::1").config.issuer == "http://[::1]:4000"


@pytest.mark.parametrize("migrate", [True, False])
def test_work_runs_in_an_application_that_is_open(
    engines: Endpoints, monkeypatch: pytest.MonkeyPatch, migrate: bool
) -> None:
    monkeypatch.setenv("MONGODB_URI", engines.mongodb_uri)
    monkeypatch.setenv("MONGODB_DATABASE", f"test_boot_{migrate}")
    monkeypatch.setenv("REDIS_URL", engines.redis_url)

    async def work(app: Application) -> bool:
        assert "auth" in app.settings
        pending = await app.migrator().pending()
        await app.resources.database.client.drop_database(app.resources.database.name)
        return not pending

    assert Boot().run(work, migrate=migrate) is migrate
