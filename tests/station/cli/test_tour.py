from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from station.cli.tour import prepare_tour
from station.config import Config

if TYPE_CHECKING:
    from pathlib import Path

KEY = "0123456789abcdef0123456789abcdef"


def test_an_admin_key_is_made_kept_and_put_in_force(tmp_path: Path) -> None:
    config, tour = prepare_tour(Config(data_dir=tmp_path))
    key_file, bot_file = tmp_path / "admin.key", tmp_path / "station-bot.secret"
    assert config.internal_api_key == key_file.read_text().strip()
    assert stat.S_IMODE(key_file.stat().st_mode) == stat.S_IMODE(bot_file.stat().st_mode) == 0o600
    again, _ = prepare_tour(Config(data_dir=tmp_path))
    assert again.internal_api_key == config.internal_api_key
    assert tour.admin_key == f"$(cat {key_file})"


def test_a_configured_key_stays_in_force(tmp_path: Path) -> None:
    config, tour = prepare_tour(Config(data_dir=tmp_path, internal_api_key=KEY))
    assert config.internal_api_key == KEY
    assert tour.admin_key == "$INTERNAL_API_KEY"
    assert not (tmp_path / "admin.key").exists()


def test_the_lines_are_three_and_hold_no_secret(tmp_path: Path) -> None:
    config, tour = prepare_tour(Config(data_dir=tmp_path / "it's here"))
    lines = tour.lines("http://[::1]:3001")
    assert len(lines) == 3
    for line in lines:
        assert "\n" not in line
        assert "'http://[::1]:3001/" in line
        assert str(config.internal_api_key) not in line
        assert (config.data_dir / "station-bot.secret").read_text().strip() not in line
