"""docs/security.md names for each attack a test that exists; and dependencies are pinned and explained."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()

# Attacks whose defence is not built, or not tested, yet
NOT_TESTED: set[str] = set()


def rows() -> dict[str, list[str]]:
    """Attack -> the tests that prove its defence."""
    found = re.findall(r"^\| (.+) \| .+ \| (.+) \|$", PAGE, re.MULTILINE)
    return {attack: re.findall(r"`([^`]+)`", tests) for attack, tests in found if attack != "attack"}


@pytest.mark.parametrize("named", sorted({test for tests in rows().values() for test in tests}))
def test_a_test_that_is_named_exists(named: str) -> None:
    file, _, test = named.partition("::")
    text = (ROOT / "tests" / file).read_text()
    assert re.search(rf"^ *(async )?def {test}\(", text, re.MULTILINE), named


def test_every_attack_has_a_test() -> None:
    assert len(rows()) > 40
    assert {attack for attack, tests in rows().items() if not tests} == NOT_TESTED


def test_every_dependency_is_pinned_and_explained() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lists = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    pins = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    pinned = {name.lower().replace("_", "-") for name in pins}
    explained = (ROOT / "docs" / "dependencies.md").read_text().lower()
    for requirement in "\n".join(lists).split():
        name, bound = re.findall(r"^([\w-]+)(?:\[\w+\])?(.*)$", requirement)[0]
        assert bound, f"{name} has no bound"
        assert name.lower().replace("_", "-") in pinned, f"{name} is not in constraints.txt"
        assert name.lower() in explained, f"{name} is not in docs/dependencies.md"
