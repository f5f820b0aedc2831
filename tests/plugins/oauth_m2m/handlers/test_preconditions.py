from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


_versions = st.integers(1, 10**18 - 1)


@given(st.lists(_versions, min_size=1), st.sampled_from([",", ", ", " ,\t", ",,"]))
def test_every_version_that_is_named_is_read(versions: list[int], comma: str) -> None:
    assert versions_of(comma.join(f'"{version}"' for version in versions)) == frozenset(versions)


@given(
    st.text(st.characters(max_codepoint=255))
    | st.lists(st.sampled_from(['"1"', 'W/"2"', '"', ",", " ", "*"])).map("".join)
)
def test_any_header_names_versions_or_is_malformed(header: str) -> None:
    try:
        found = versions_of(header)
    except BadRequest:
        return
    # a version that is found stands there, in quotes and not weak
    assert found is None or all(f'"{version}"' in header for version in found)
    assert found is not None or header.strip() == "*"
