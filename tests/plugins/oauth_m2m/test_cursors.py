from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.oauth_m2m.cursors import Cursors
from station.errors import ValidationFailed

SECRET = "a-signing-secret-for-the-tests-only-0123456789"


@pytest.mark.parametrize("position", ["", "a", "station-bot", "s" * 128, "1700000000:3f"])
def test_a_cursor_is_read_back(position: str) -> None:
    cursors = Cursors(SECRET, "clients")
    assert cursors.open(cursors.seal(position)) == position
    assert cursors.seal(position) == cursors.seal(position)
    assert cursors.seal(position).isascii()


def test_nobody_else_can_make_one() -> None:
    cursors = Cursors(SECRET, "clients")
    good = cursors.seal("station-bot")
    bad = ["", "station-bot", "é", "=", good + "=", good + "A", good[:-1], good.swapcase(), " " + good]
    bad += [
        good[:place] + ("A" if good[place] != "A" else "B") + good[place + 1 :] for place in range(len(good))
    ]
    bad += [
        Cursors(SECRET, "tokens").seal("station-bot"),
        Cursors(SECRET + "x", "clients").seal("station-bot"),
    ]
    for cursor in bad:
        with pytest.raises(ValidationFailed) as error:
            cursors.open(cursor)
        assert set(error.value.errors) == {"cursor"}


@given(st.text())
def test_any_position_is_read_back(position: str) -> None:
    cursors = Cursors(SECRET, "clients")
    assert cursors.open(cursors.seal(position)) == position


@given(
    st.text()
    | st.text("-_AQgw=", max_size=60)
    | st.binary(max_size=60).map(lambda raw: urlsafe_b64encode(raw).decode())
)
def test_any_text_is_no_cursor(text: str) -> None:
    with pytest.raises(ValidationFailed):
        Cursors(SECRET, "clients").open(text)
