"""docs/metrics.md says everything that is exported, and its alerts ask for nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Wire

PAGE = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text()
SUFFIX = re.compile(r"_(?:bucket|sum|count)$")


async def exported(wire: Wire) -> dict[str, str]:
    """The type of every family, by the name that Prometheus knows."""
    text = (await wire.admin("GET", "/metrics")).body.decode()
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))


@pytest.mark.gen_test
async def test_every_family_is_documented_with_its_type(wire: Wire) -> None:
    families = await exported(wire)
    assert len(families) > 30
    rows = dict(re.findall(r"^\| `(\w+)` \| (\w+)", PAGE, re.MULTILINE))
    info = {name: "gauge" for name, kind in rows.items() if kind == "info"}
    assert rows | info == families


@pytest.mark.gen_test
async def test_every_label_is_documented(wire: Wire) -> None:
    await wire.access_token()
    text = (await wire.admin("GET", "/metrics")).body.decode()
    rows = {
        name: set(re.findall(r"`(\w+)`", labels))
        for name, labels in re.findall(r"^\| `(\w+)` \| \w+: (.+?) \|", PAGE, re.MULTILINE)
    }
    for name, labels in re.findall(r"^(\w+)\{(.+)\} \S+$", text, re.MULTILINE):
        family = SUFFIX.sub("", name)
        if not family.endswith("_info"):
            found = set(re.findall(r'(\w+)="', labels)) - {"le", "worker"}
            assert found == rows.get(family, set()), family


@pytest.mark.gen_test
async def test_the_alerts_ask_for_what_there_is(wire: Wire) -> None:
    families = await exported(wire)
    asked = re.findall(
        r"\b((?:station|oauth_m2m)_\w+)[{\[ ]", "".join(re.findall(r"expr: .+|  (?:sum|>).+", PAGE))
    )
    assert len(asked) >= 8
    assert {SUFFIX.sub("", name) for name in asked} <= families.keys()
    assert PAGE.count("- alert: ") == 5
