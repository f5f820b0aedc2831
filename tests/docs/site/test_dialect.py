from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import load_file

if TYPE_CHECKING:
    from types import ModuleType

FILE = Path(__file__).parents[3] / "docs" / "site" / "dialect.py"


@pytest.fixture(scope="module")
def dialect() -> ModuleType:
    return load_file(FILE)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("A list:\n- one\n- two\n", "A list:\n\n- one\n- two\n"),
        ("**A table**\n| a |\n|---|\n| b |\n", "**A table**\n\n| a |\n|---|\n| b |\n"),
        ("1. one\n   of it\n2. two\n", "1. one\n    of it\n2. two\n"),
        ("- one\n\n  of it\n- two\n", "- one\n\n    of it\n\n- two\n"),
        ("- one\n\n  ```sh\n  a\n    b\n  ```\n", "- one\n\n    ```sh\n    a\n      b\n    ```\n"),
        ("- one\n\nText\n  and on\n", "- one\n\nText\n  and on\n"),
        ("```\nText\n- one\n| a |\n```\n", "```\nText\n- one\n| a |\n```\n"),
        ("# Title\n- one\n", "# Title\n- one\n"),
    ],
)
def test_the_repositorys_markdown_is_that_of_the_site(dialect: ModuleType, given: str, expected: str) -> None:
    assert dialect.python_markdown(given) == expected
