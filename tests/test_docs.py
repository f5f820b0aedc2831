"""The documentation says everything: each setting, each hook, each endpoint; and its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from station import hookspecs
from station.app import make_app
from station.config import Config
from station.plugin_manager import PluginHost
from station.settings import settings_of

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def test_every_setting_is_in_the_configuration_page_with_its_default_and_help() -> None:
    documented = page("configuration.md")
    sections = {"": Config, **PluginHost.load(("oauth_m2m",)).sections()}
    for name, section in sections.items():
        for setting in settings_of(section, name):
            row = f"| `{setting.env}` | `{setting.key}` | {setting.default_text} | {setting.help} |"
            assert row in documented, row


def test_every_hook_is_explained_to_those_who_write_plugins() -> None:
    documented = page("plugins.md")
    for hook in vars(hookspecs):
        assert not hook.startswith("station_") or f"| `{hook}` |" in documented, hook


def test_every_route_is_in_the_page_about_http() -> None:
    documented = re.sub(r"\{\w+\}", "{}", page("http.md"))
    app = make_app(Config(env="test", jwt_secret="x" * 32))
    for route in app.routes:
        path = re.sub(r"\(\[.*?\)", "{}", route.path)
        assert path.removesuffix("(/.*|)") in documented, path


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(file: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", file.read_text()):
        if "://" not in target:
            assert (file.parent / target).exists(), target
