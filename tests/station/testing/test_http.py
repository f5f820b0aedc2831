"""The HTTP client of tests, against a server that says what it was sent."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from station import hookimpl
from station.handlers import BaseHandler, Route, route
from station.security import public

if TYPE_CHECKING:
    from collections.abc import Sequence

    from station.testing import Http


@public
class EchoHandler(BaseHandler):
    def get(self, *_args: str) -> None:
        self.set_header("Set-Cookie", "one=1; Path=/; HttpOnly")
        self.add_header("Set-Cookie", "deep=2; Path=/echo/deep")
        headers = {name.lower(): value for name, value in self.request.headers.get_all()}
        body = self.request.body.decode()
        self.write_json({"method": self.request.method, "headers": headers, "body": body})

    post = put = patch = get

    def delete(self, *_args: str) -> None:
        self.clear_cookie("one")
        self.redirect("/elsewhere")


class EchoPlugin:
    @hookimpl
    def station_handlers(self) -> list[Route]:
        return [route(r"/echo(/.*)?", EchoHandler)]


@pytest.fixture
def station_plugins() -> Sequence[object]:
    return [EchoPlugin()]


def test_what_is_given_is_sent(station_http: Http) -> None:
    sent = station_http.get("/echo?a=b", token="t", headers={"X-One": "1"}).json
    assert (sent["method"], sent["headers"]["authorization"], sent["headers"]["x-one"]) == (
        "GET",
        "Bearer t",
        "1",
    )
    basic = station_http.get("/echo", basic=("user", "pass:word")).json["headers"]["authorization"]
    assert base64.b64decode(basic.removeprefix("Basic ")) == b"user:pass:word"
    posted = station_http.post("/echo", json={"a": [1]}).json
    assert (posted["body"], posted["headers"]["content-type"]) == ('{"a": [1]}', "application/json")
    form = station_http.put("/echo", form={"a": "b c"}).json
    assert (form["body"], form["headers"]["content-type"]) == ("a=b+c", "application/x-www-form-urlencoded")
    other = station_http.patch(
        "/echo", json={}, headers={"Content-Type": "application/merge-patch+json"}
    ).json
    assert (other["body"], other["headers"]["content-type"]) == ("{}", "application/merge-patch+json")
    assert station_http.post("/echo", body="täxt").json["body"] == "täxt"


def test_cookies_go_where_they_belong_until_they_are_cleared(station_http: Http) -> None:
    assert "cookie" not in station_http.get("/echo").json["headers"]
    assert station_http.cookies == {"one": "1", "deep": "2"}
    for path, cookies in {
        "/echo": "one=1",
        "/echo/deep": "one=1; deep=2",
        "/echo/deep/er?a=b": "one=1; deep=2",
        "/echo/deeper": "one=1",
    }.items():
        assert station_http.get(path).json["headers"]["cookie"] == cookies, path
    answer = station_http.delete("/echo")
    assert (answer.status, answer.headers["location"]) == (302, "/elsewhere")  # which is not followed
    assert station_http.cookies == {"deep": "2"}


def test_an_answer_shows_what_went_wrong(station_http: Http) -> None:
    answer = station_http.get("/nothing")
    assert (answer.json["status"], '"status": 404' in answer.text) == (404, True)
    assert "Answer(status=404, body=b'{" in repr(answer)
