"""A browser, as far as the console needs one: cookies with their paths, redirects, and forms."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tornado.ioloop import IOLoop

    from station.app import Application
    from tests.conftest import Answer, Wire

EMAIL, PASSWORD = "operator@example.com", "correct horse battery staple"
VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})
HTML = "text/html; charset=utf-8"


@dataclasses.dataclass(eq=False)
class Element:
    """An element of a page; ``text`` is all that is written in it."""

    tag: str
    attributes: dict[str, str]
    parent: Element | None = None
    content: list[Element | str] = dataclasses.field(default_factory=list)

    def all(self, tag: str = "", **attributes: str) -> list[Element]:
        """The elements within, in order, that have this tag and these attributes (``class_`` one of many)."""
        return [one for one in self._within() if one.is_like(tag, attributes)]

    def one(self, tag: str = "", **attributes: str) -> Element:
        """The only one."""
        found = self.all(tag, **attributes)
        assert len(found) == 1, f"{len(found)} of {tag} {attributes}"
        return found[0]

    def is_like(self, tag: str, attributes: Mapping[str, str]) -> bool:
        """Whether it has this tag and these attributes."""
        return (not tag or self.tag == tag) and all(
            value in self.attributes.get("class", "").split()
            if name == "class_"
            else self.attributes.get(name.rstrip("_").replace("_", "-")) == value
            for name, value in attributes.items()
        )

    @property
    def text(self) -> str:
        """What is written in it, with single spaces."""
        return " ".join(self.raw_text.split())

    @property
    def raw_text(self) -> str:
        """What is written in it."""
        return "".join(part if isinstance(part, str) else part.raw_text for part in self.content)

    def _within(self) -> Iterator[Element]:
        for child in self.content:
            if isinstance(child, Element):
                yield child
                yield from child._within()


class _Parser(HTMLParser):
    """Builds the tree, and fails on what is not closed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = self.open = Element("", {})

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), f"<{tag}> repeats an attribute"
        element = Element(tag, {name: value or "" for name, value in attrs}, self.open)
        self.open.content.append(element)
        if tag not in VOID:
            self.open = element

    def handle_endtag(self, tag: str) -> None:
        assert self.open.tag == tag, f"</{tag}> closes <{self.open.tag}>"
        assert self.open.parent is not None
        self.open = self.open.parent

    def handle_data(self, data: str) -> None:
        self.open.content.append(data)


def parse(body: bytes) -> Element:
    """The tree of a page."""
    parser = _Parser()
    parser.feed(body.decode())
    parser.close()
    assert parser.open is parser.root, f"<{parser.open.tag}> is not closed"
    return parser.root


@dataclasses.dataclass(frozen=True)
class Page:
    """An answer that is a page, and where it was found."""

    url: str
    answer: Answer
    tree: Element

    @property
    def status(self) -> int:
        """The status."""
        return self.answer.status

    @property
    def heading(self) -> str:
        """What it is about."""
        return self.tree.one("h1").text

    @property
    def notice(self) -> str:
        """What the page before has left to say."""
        return self.tree.one(id="status").text

    def form(self, action: str) -> dict[str, str]:
        """What stands in the form of this action, as a browser would send it."""
        form = self.tree.one("form", action=action)
        sent = {}
        for field in [*form.all("input"), *form.all("textarea"), *form.all("select")]:
            name = field.attributes.get("name", "")
            if not name or field.attributes.get("type") == "checkbox":
                continue
            value = field.attributes.get("value", "")
            if field.tag == "textarea":
                value = field.raw_text.removeprefix("\n")
            elif field.tag == "select":
                chosen = [*field.all("option", selected=""), *field.all("option")]
                value = chosen[0].attributes["value"]
            sent[name] = value
        return sent

    def field(self, name: str) -> str:
        """The value of a field, wherever it is."""
        return self.tree.one(name=name).attributes.get("value", "")


class Browser:
    """Keeps cookies by path, as browsers do, follows redirects, and remembers where it was."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.cookies: dict[tuple[str, str], str] = {}
        self.visited: list[str] = []

    async def fetch(
        self, method: str, url: str, form: Mapping[str, str] | None = None, **headers: str
    ) -> Answer:
        """One request, with the cookies of its path."""
        path = urlsplit(url).path
        sent = [
            f"{name}={value}"
            for (name, scope), value in self.cookies.items()
            if path == scope or path.startswith(scope.rstrip("/") + "/")
        ]
        headers |= {"Cookie": "; ".join(sent)} if sent else {}
        if method == "POST":
            headers = {"Origin": self.wire.base_url, **headers}
        self.visited.append(f"{method} {url}")
        answer = await self.wire.fetch(method, url, headers=headers, form=form)
        for header in answer.headers.get_list("Set-Cookie"):
            for name, morsel in SimpleCookie(header).items():
                self.cookies[name, morsel["path"]] = morsel.value
                if not morsel.value:
                    del self.cookies[name, morsel["path"]]
        return answer

    async def go(self, method: str, url: str, form: Mapping[str, str] | None = None, **headers: str) -> Page:
        """A page, wherever it is in the end."""
        for _ in range(6):
            answer = await self.fetch(method, url, form, **headers)
            if answer.status not in {303, 307}:
                assert answer.headers["Content-Type"] == HTML, answer.headers["Content-Type"]
                return Page(url, answer, parse(answer.body))
            url = urljoin(url, answer.headers["Location"])
            if answer.status == 303:
                method, form = "GET", None
        raise AssertionError(f"redirected without end: {self.visited}")

    async def get(self, url: str) -> Page:
        """A page."""
        return await self.go("GET", url)

    async def post(self, url: str, form: Mapping[str, str]) -> Page:
        """The page after a form."""
        return await self.go("POST", url, form)

    async def log_in(self, email: str = EMAIL, password: str = PASSWORD) -> Page:
        """Log in by the form, and land on the first page."""
        page = await self.get("/console")
        return await self.post(
            "/console/login", {**page.form("/console/login"), "email": email, "password": password}
        )

    def forget(self, name: str) -> None:
        """Drop a cookie, as its end does."""
        for key in [key for key in self.cookies if key[0] == name]:
            del self.cookies[key]


@pytest.fixture
def admin(app: Application, io_loop: IOLoop) -> str:
    """The id of an account with the role admin."""

    async def make() -> str:
        user = await app.settings["auth"].create_user(EMAIL, PASSWORD, roles=["admin"])
        return str(user.id)

    made: str = io_loop.run_sync(make)
    return made


@pytest.fixture
def stranger(wire: Wire) -> Browser:
    """A browser that nobody has logged in with."""
    return Browser(wire)


@pytest.fixture
def browser(wire: Wire, admin: str, io_loop: IOLoop) -> Browser:
    """A browser of an admin who is logged in."""
    assert admin
    made = Browser(wire)
    io_loop.run_sync(made.log_in)
    return made
