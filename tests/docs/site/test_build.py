"""``make docs``: the site is built strictly, says everything, and fetches nothing from elsewhere."""

from __future__ import annotations

import html
import inspect
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from plugins.oauth_m2m import hookspecs as oauth_m2m_hooks
from station import hookspecs as station_hooks
from station.cli import main
from station.config import Config, load_plugins
from station.settings import settings_of

if TYPE_CHECKING:
    from tests.docs.site.conftest import Build

ROOT = Path(__file__).parents[3]
PARTS = ("Tutorial", "How-to", "Reference", "Explanation")


def text(page: Path) -> str:
    """What a page shows."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", page.read_text())).split())


def headings(page: Path) -> set[str]:
    found = re.findall(r"<h[23][^>]*>(.*?)<a ", page.read_text(), re.DOTALL)
    return {html.unescape(re.sub(r"<[^>]+>", "", heading)) for heading in found}


def test_it_has_four_parts(site: Path) -> None:
    tabs = re.findall(
        r'class="md-tabs__link"[^>]*>\s*(.*?)\s*</a>', (site / "index.html").read_text(), re.DOTALL
    )
    assert tuple(tabs[-4:]) == PARTS


def test_every_hook_is_in_the_reference_with_what_it_says(site: Path) -> None:
    page = site / "reference" / "hooks.html"
    shown, documented = text(page), headings(page)
    hooks = {
        name: inspect.getdoc(hook)
        for module, prefix in ((station_hooks, "station_"), (oauth_m2m_hooks, "oauth_m2m_"))
        for name, hook in vars(module).items()
        if name.startswith(prefix)
    }
    assert len(hooks) > 10
    for name, says in hooks.items():
        assert name in documented
        assert says is not None
        assert " ".join(says.replace("`", "").split()).rstrip(":") in shown, name


def commands(command: click.Command, path: str) -> set[str]:
    found = {path}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            if below := command.get_command(context, name):
                found |= commands(below, f"{path} {name}")
    return found


def test_every_command_is_in_the_reference_with_its_help(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATION_PLUGINS", raising=False)
    page = site / "reference" / "commands.html"
    expected = commands(main, "station")
    assert {"station serve", "station oauth-clients secrets add"} <= expected
    assert expected == {heading for heading in headings(page) if heading.startswith("station")}
    assert "Register CLIENT_ID; without --secret-stdin Station makes a secret" in text(page)


def test_every_setting_is_on_the_site(site: Path) -> None:
    shown = text(site / "configuration.html")
    for name, section in {"": Config, **load_plugins({}).sections()}.items():
        for setting in settings_of(section, name):
            assert setting.env in shown
            assert setting.help.replace("`", "") in shown


def test_every_operation_is_in_the_reference(site: Path) -> None:
    document = json.loads((site / "reference" / "openapi.json").read_text())
    operations = {
        f"{method.upper()} {path}"
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if isinstance(operation, dict)
    }
    assert {"GET /oauth-clients", "POST /auth/token"} <= operations
    assert operations | document["components"]["schemas"].keys() == headings(
        site / "reference" / "operations.html"
    ) - {"Schemas"}


def test_files_of_the_repository_have_pages(site: Path) -> None:
    """What a page links to outside docs/ is on the site, with everything in it."""
    assert 'href="source/examples/fleet/index.html"' in (site / "plugins.html").read_text()
    assert 'href="fleet/plugin.py.html"' in (site / "source/examples/fleet/index.html").read_text()


def test_no_page_shows_markdown(site: Path) -> None:
    for page in site.rglob("*.html"):
        for paragraph in re.findall(r"<p>(.*?)</p>", page.read_text(), re.DOTALL):
            assert not re.search(r"^\s*([-*|]|\d+\.) ", paragraph, re.MULTILINE), (page.name, paragraph)


def test_the_search_index_is_part_of_the_site(site: Path) -> None:
    index = (site / "search.json").read_text()
    assert "safe to retire" in index
    assert "lockfileVersion" not in index


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The repository, with a copy of docs/ to break."""
    root = tmp_path / "repository"
    root.mkdir()
    for entry in ROOT.iterdir():
        if entry.name not in {"docs", "site"}:
            (root / entry.name).symlink_to(entry)
    shutil.copytree(ROOT / "docs", root / "docs")
    return root


def add_to_index(repository: Path, text: str) -> None:
    with (repository / "docs" / "index.md").open("a") as page:
        page.write(f"\n{text}\n")


def test_a_link_that_leads_nowhere_fails_the_build(repository: Path, build: Build) -> None:
    add_to_index(repository, "[a](nowhere.md) [b](tour.md#nowhere)")
    done = build(repository, repository / "site")
    assert done.returncode == 1
    for target in ("nowhere.md", "tour.md#nowhere"):
        assert f"({target})" in done.stderr
    assert "2 issues found" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (repository / "site").exists()


def test_a_file_that_is_missing_or_elsewhere_fails_the_build(repository: Path, build: Build) -> None:
    add_to_index(
        repository, "![a](nothing.svg) [b](../nothing.py) ![c](https://elsewhere.example/theirs.svg)"
    )
    done = build(repository, repository / "site")
    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == [
        "  index.html fetches https://elsewhere.example/theirs.svg",
        "  index.html links to ../nothing.py",
        "  index.html links to nothing.svg",
    ]


def test_a_page_that_the_navigation_does_not_name_once_fails_the_build(
    repository: Path, build: Build
) -> None:
    (repository / "docs" / "lost.md").write_text("# Lost\n")
    (repository / "docs" / "fast-path.md").rename(repository / "docs" / "fast.md")
    configuration = repository / "docs" / "site" / "zensical.toml"
    configuration.write_text(configuration.read_text().replace('"fast-path.md"', '"tour.md"'))
    done = build(repository, repository / "site")
    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == [
        "  fast.md is missing",
        "  lost.md is missing",
        "  tour.md is there 2 times",
    ]
