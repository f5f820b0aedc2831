from __future__ import annotations

import json
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.oauth_m2m.errors import InvalidRequest
from plugins.oauth_m2m.parameters import (
    REVOCATION_PARAMETERS,
    TOKEN_PARAMETERS,
    Parameters,
    form_decode,
    parse_parameters,
    query_names,
)

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"

encodable = st.text(st.characters(exclude_categories=["Cs"]))
parameters = st.dictionaries(st.sampled_from(sorted(TOKEN_PARAMETERS)), encodable)


def parse(
    body: bytes, content_type: str | None = FORM, *, encoding: str | None = None, query: str = ""
) -> Parameters:
    return parse_parameters(content_type, encoding, query, body, recognised=TOKEN_PARAMETERS)


def refusal(
    body: bytes, content_type: str | None = FORM, *, encoding: str | None = None, query: str = ""
) -> str:
    with pytest.raises(InvalidRequest) as refused:
        parse(body, content_type, encoding=encoding, query=query)
    # UnicodeDecodeError and JSONDecodeError hold the whole body, secrets included
    assert refused.value.__cause__ is None
    return refused.value.description


def values(found: Parameters) -> dict[str, str]:
    read = {name: found.get(name) for name in TOKEN_PARAMETERS}
    return {name: value for name, value in read.items() if value is not None}


def test_a_form_is_decoded() -> None:
    found = parse(b"grant_type=client_credentials&scope=a+b%20c%2Bd&client%5Fid=%C3%A9")
    assert values(found) == {"grant_type": "client_credentials", "scope": "a b c+d", "client_id": "é"}


def test_values_are_kept_to_the_letter() -> None:
    assert parse(b"client_secret=%20%00a=b=%0A%20").get("client_secret") == " \x00a=b=\n "


def test_an_empty_parameter_is_absent() -> None:
    assert values(parse(b"scope=&client_id&&grant_type=x")) == {"grant_type": "x"}
    assert values(parse(b'{"scope": "", "grant_type": "x"}', JSON)) == {"grant_type": "x"}


@pytest.mark.parametrize(
    "body",
    [
        b"scope=a&scope=b",
        b"scope=a&scope=a",
        b"scope=&scope=a",
        b"scope=a&sc%6fpe=a",
        b"scope=a&x=y&scope",
    ],
)
def test_a_repeated_parameter_is_refused_by_name(body: bytes) -> None:
    assert refusal(body) == "The parameter scope is repeated."


def test_what_is_not_recognised_is_ignored() -> None:
    body = b"grant_type=x&resource=a&resource=b&audience=c&audience=c&=d"
    assert values(parse(body)) == {"grant_type": "x"}
    assert values(parse(b'{"grant_type": "x", "n": [{"scope": 1}], "n": null}', JSON)) == {"grant_type": "x"}


def test_what_is_recognised_depends_on_the_endpoint() -> None:
    body = b"token=t&token_type_hint=h&scope=a&scope=b"
    found = parse_parameters(FORM, None, "", body, recognised=REVOCATION_PARAMETERS)
    assert (found.get("token"), found.get("token_type_hint"), found.get("scope")) == ("t", "h", None)


@pytest.mark.parametrize(
    "body",
    [b"scope=%", b"scope=%4", b"scope=%zz", b"%=a", b"x=%u0041", b"scope=%ff", b"scope=\xff", b"x=%ed%a0%80"],
)
def test_a_malformed_form_is_refused(body: bytes) -> None:
    assert "percent-encoding" in refusal(body)


@pytest.mark.parametrize(
    "content_type",
    [
        FORM,
        "Application/X-WWW-Form-URLEncoded",
        f"{FORM};charset=UTF-8",
        f'{FORM} ; Charset="utf-8"',
        f"{FORM};charset=utf8",
        f"{FORM};",
        f"{FORM};boundary=x",
    ],
)
def test_the_media_type_is_read_without_case_and_with_its_charset(content_type: str) -> None:
    assert parse(b"scope=a", content_type).get("scope") == "a"


@pytest.mark.parametrize(
    "content_type", [f"{FORM};charset=latin-1", f"{JSON}; charset=UTF-16", f"{FORM};charset="]
)
def test_another_charset_is_refused(content_type: str) -> None:
    assert refusal(b"{}", content_type) == "The body must be UTF-8."


@pytest.mark.parametrize(
    ("content_type", "named"),
    [
        ("text/plain", "text/plain"),
        ("multipart/form-data; boundary=x", "multipart/form-data"),
        (f"{FORM},{JSON}", f"{FORM},{JSON}"),
        (f"{FORM}x", f"{FORM}x"),
        ('a"\r\nb', "a???b"),
        (None, "missing"),
        ("", "missing"),
    ],
)
def test_another_media_type_is_refused_and_named(content_type: str | None, named: str) -> None:
    expected = f"Send {FORM} or {JSON}; the Content-Type is {named}."
    assert refusal(b"scope=a", content_type) == expected


def test_no_body_and_no_type_is_an_empty_form() -> None:
    assert values(parse(b"", None)) == {}
    assert "text/plain" in refusal(b"", "text/plain")


def test_an_encoded_body_is_not_read() -> None:
    assert "Content-Encoding" in refusal(b"scope=a", encoding="gzip")
    assert parse(b"scope=a", encoding="Identity").get("scope") == "a"


def test_the_number_of_parameters_is_bounded() -> None:
    assert parse(b"&".join([b"x=1"] * 99 + [b"scope=a"])).get("scope") == "a"
    assert "more than 100" in refusal(b"&".join([b"x=1"] * 101))
    members = ", ".join(f'"{number}": ""' for number in range(101))
    assert "more than 100" in refusal(f"{{{members}}}".encode(), JSON)


@pytest.mark.parametrize("body", [b'{"scope": "a", "scope": "a"}', b'{"scope": "a", "sc\\u006fpe": ""}'])
def test_a_repeated_json_member_is_a_repeated_parameter(body: bytes) -> None:
    assert refusal(body, JSON) == "The parameter scope is repeated."


@pytest.mark.parametrize("value", ["1", "1.5", "true", "null", '["a"]', '{"a": "b"}', "[]", "{}", "1e999"])
def test_a_json_member_that_is_no_string_is_refused(value: str) -> None:
    assert refusal(f'{{"scope": {value}}}'.encode(), JSON) == "The parameter scope must be text."


def test_a_lone_surrogate_is_no_text() -> None:
    assert refusal(b'{"scope": "a\\ud800"}', JSON) == "The parameter scope must be text."
    assert parse(b'{"scope": "\\ud83d\\ude00"}', JSON).get("scope") == "\U0001f600"


@pytest.mark.parametrize("body", [b"[]", b"null", b'"scope"', b"1", b'[{"scope": "a"}]', b'[["scope", "a"]]'])
def test_json_that_is_no_object_is_refused(body: bytes) -> None:
    assert refusal(body, JSON) == "The body must be a JSON object of strings."


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"scope=a",
        b'{"scope": "a"} x',
        b'{"scope": "a\n"}',
        b'{"scope": "\xff"}',
        b'\xef\xbb\xbf{"scope": "a"}',
        '{"scope": "a"}'.encode("utf-16"),
        b'{"x": NaN}',
        b'{"x": -Infinity}',
        b'{"x": ' + b"9" * 5000 + b"}",
        b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"x":' * 100_000,
    ],
    ids=repr,
)
def test_malformed_json_is_refused(body: bytes) -> None:
    assert refusal(body, JSON) == "The body is not valid JSON in UTF-8."


@pytest.mark.parametrize(
    "name",
    [
        "client_secret",
        "client_assertion",
        "access_token",
        "token",
        "client%5fsecret",
        "%74oken",
        "client_secre%74",
    ],
)
def test_a_secret_in_the_query_is_refused_and_not_repeated(name: str) -> None:
    for query in (f"{name}=hunter2", f"a=b&{name}=hunter2", f"{name}"):
        description = refusal(b"grant_type=x", query=query)
        assert "query" in description
        assert "hunter2" not in description


@pytest.mark.parametrize(
    "query", ["scope=a", "grant_type=x&grant_type=y", "%", "&&=&%zz=%ff", "%ff", "é", "\ud800"]
)
def test_the_rest_of_the_query_is_ignored(query: str) -> None:
    assert values(parse(b"client_id=c", query=query)) == {"client_id": "c"}


def test_a_representation_holds_names_and_no_values() -> None:
    assert repr(parse(b"client_secret=hunter2&client_id=bot")) == "Parameters(client_id, client_secret)"


def test_the_names_of_a_query_are_decoded() -> None:
    assert query_names("a+b=1&%63=2&a+b=3") == {"a b", "c"}


@given(encodable)
def test_what_is_form_encoded_is_decoded_again(text: str) -> None:
    assert form_decode(quote_plus(text)) == text
    assert form_decode(quote(text, safe="")) == text


@given(parameters)
def test_a_form_survives_the_wire(sent: dict[str, str]) -> None:
    expected = {name: value for name, value in sent.items() if value}
    assert values(parse(urlencode(sent).encode())) == expected


@given(parameters)
def test_a_json_object_survives_the_wire(sent: dict[str, str]) -> None:
    expected = {name: value for name, value in sent.items() if value}
    assert values(parse(json.dumps(sent).encode(), JSON)) == expected
    assert values(parse(json.dumps(sent, ensure_ascii=False).encode(), f"{JSON};charset=utf-8")) == expected


# bytes that come near to what the parsers look at
fragments = st.lists(
    st.sampled_from(
        [b"scope", b"client_secret", b"=", b"&", b"%", b"+", b"%41", b"%ff", b"{", b"}", b'"', b":", b","]
    )
    | st.binary(max_size=4)
).map(b"".join)
json_text = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists)
documents = st.dictionaries(st.sampled_from(["scope", "token", "x"]) | st.text(), json_text).map(
    lambda document: json.dumps(document).encode()
)


@given(
    st.binary() | fragments | documents,
    st.none() | st.sampled_from([FORM, JSON, f"{FORM};charset=utf-8"]) | st.text(),
    st.none() | st.text(),
    st.text(st.characters() | st.sampled_from("%&=token")),
)
def test_anything_is_parsed_or_an_invalid_request(
    body: bytes, content_type: str | None, encoding: str | None, query: str
) -> None:
    try:
        found = parse(body, content_type, encoding=encoding, query=query)
    except InvalidRequest:
        return
    for value in values(found).values():
        value.encode()  # no lone surrogate
