from __future__ import annotations

import pytest

from plugins.oauth_m2m.console.wording import confirmed
from plugins.oauth_m2m.models import Confirmation


@pytest.mark.parametrize(
    ("number", "pending", "said"),
    [
        (1, 0, "1 process confirms it, and no other is left."),
        (3, 1, "3 processes confirm it, and 1 more will when they hear of it."),
        (2, None, "2 processes confirm it; which others there are is not known now."),
    ],
)
def test_how_far_a_change_has_come(number: int, pending: int | None, said: str) -> None:
    assert confirmed(Confirmation(number, pending)) == said
