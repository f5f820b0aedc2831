from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from plugins.oauth_m2m.secret_format import PREFIX, generate_secret

OPERATING = (Path(__file__).parents[3] / "docs" / "operating.md").read_text()


@pytest.fixture
def documented() -> dict[str, Any]:
    """What the page for operators says in Python about secrets that leaked."""
    [code] = [
        code for code in re.findall(r"```python\n(.*?)```", OPERATING, re.DOTALL) if "is_generated" in code
    ]
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def number(secret: str, digits: str) -> int:
    """The random part as a number."""
    value = 0
    for character in secret[len(PREFIX) : -6]:
        value = value * 62 + digits.index(character)
    return value


def test_a_secret_is_what_the_documentation_says(documented: dict[str, Any]) -> None:
    [expression] = re.findall(r"`(stn_\[.*?)`", OPERATING)
    for _ in range(100):
        secret = generate_secret()
        assert re.fullmatch(expression, secret)
        assert documented["is_generated"](secret)
        assert number(secret, documented["DIGITS"]) < 2**256


def test_the_checksum_tells_what_only_looks_like_a_secret(documented: dict[str, Any]) -> None:
    secret = generate_secret()
    for place in range(len(PREFIX), len(secret)):
        other = "a" if secret[place] != "a" else "b"
        assert not documented["is_generated"](secret[:place] + other + secret[place + 1 :])


def test_the_random_part_has_256_bits(documented: dict[str, Any]) -> None:
    numbers = [number(generate_secret(), documented["DIGITS"]) for _ in range(200)]
    assert len(set(numbers)) == 200
    # every bit is set in some and clear in others
    for bit in range(256):
        assert {value >> bit & 1 for value in numbers} == {0, 1}
