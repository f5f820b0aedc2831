from __future__ import annotations

import pytest

from plugins.oauth_m2m.handlers.preconditions import versions_of
from station.errors import BadRequest


@pytest.mark.parametrize(
    ("header", "versions"),
    [
        (None, None),
        ("*", None),
        (" * ", None),
        ('"1"', {1}),
        ('"1", "22"', {1, 22}),
        (' "1" ,\t"2"', {1, 2}),
        ('"1",', {1}),
        (' ,, "1",,"2" , ,', {1, 2}),
        ('W/"1"', set()),
        ('W/"1", "2"', {2}),
        ('""', set()),
        ('"0", "01", "-1", "1.0", "x"', set()),
        ('"1,2"', set()),
        (f'"{10**17}", "{10**18}"', {10**17}),  # MongoDB's integers have 64 bits
        ('"\xe9"', set()),
    ],
)
def test_versions(header: str | None, versions: set[int] | None) -> None:
    assert versions_of(header) == versions


@pytest.mark.parametrize(
    "header", ["", ",", "1", '"1', '1"', '"1" "2"', '*, "1"', '"a b"', 'w/"1"', '"\u0661"']
)
def test_what_is_malformed(header: str) -> None:
    with pytest.raises(BadRequest, match="If-Match"):
        versions_of(header)
