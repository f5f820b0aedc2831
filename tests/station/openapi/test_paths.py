from __future__ import annotations

import re

import pytest

from station.openapi.paths import PathTemplate, path_template


@pytest.mark.parametrize(
    ("pattern", "names", "path", "parameters"),
    [
        (r"/fleet", (), "/fleet", {}),
        (r"/openapi\.json$", (), "/openapi.json", {}),
        (r"/fleet/([a-z]+)", ("bot",), "/fleet/{bot}", {"bot": "^[a-z]+$"}),
        (r"/([a-z]{1,64})/(a|b)", ("x", "y"), "/{x}/{y}", {"x": "^[a-z]{1,64}$", "y": "^(?:a|b)$"}),
        (r"/fleet/(?P<bot>\d+)", ("other",), "/fleet/{bot}", {"bot": r"^\d+$"}),
        (r"/fleet/([^/()]+)", (), "/fleet/{value1}", {"value1": "^[^/()]+$"}),
        (r"/fleet/((?:a|b)+)", ("bot",), "/fleet/{bot}", {"bot": "^(?:(?:a|b)+)$"}),
        (r"/(?:a|b)/([0-9])", ("x",), "/{value1}/{x}", {"value1": "^(?:a|b)$", "x": "^[0-9]$"}),
        (r"/fleet/(?:ab)+", (), "/fleet/{value1}", {"value1": "^(?:ab)+$"}),
        (r"/fleet/[a-z]+", (), "/fleet/{value1}", {"value1": "^[a-z]+$"}),
        (r"/files/.+", (), "/files/{value1}", {"value1": "^.+$"}),
        # what may be empty is left out
        (r"/fleet(/.*|)", ("path",), "/fleet", {}),
        (r"/fleet/?", (), "/fleet", {}),
        (r"/fleet(?:/([a-z]+))?", ("bot",), "/fleet", {}),
        (r"^/fleet/([a-z]+)?", ("bot",), "/fleet/", {}),
    ],
)  # fmt: skip
def test_a_pattern_becomes_a_template(
    pattern: str, names: tuple[str, ...], path: str, parameters: dict[str, str]
) -> None:
    assert path_template(pattern, names) == PathTemplate(path, parameters)


def test_values_that_the_parameters_allow_are_routed() -> None:
    pattern = r"/a/([a-z0-9-]{1,128})/b/(x|yy)"
    parameters = path_template(pattern, ("one", "two")).parameters
    assert [bool(re.search(parameters["two"], value)) for value in ("x", "yy", "xyy", "")] == [
        True,
        True,
        False,
        False,
    ]
    assert re.fullmatch(pattern, "/a/bot-1/b/yy")
    assert re.search(parameters["one"], "bot-1")
