from __future__ import annotations

import asyncio
import functools
import inspect
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from tornado import gen
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from station.errors import Forbidden
from station.security import PUBLIC, Security, demand, http_methods, public, security_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

T = TypeVar("T")

USER, CLIENT = Security("user"), Security("client")


async def enforce_user(handler: Any, security: Security) -> None:
    handler.events.append(security)


async def enforce_client(handler: Any, security: Security) -> None:
    await asyncio.sleep(0)
    handler.events.append(security)


user = demand(USER, enforce_user)
client = demand(CLIENT, enforce_client)


def scopes(*names: str) -> Callable[[T], T]:
    return demand(client_with(*names), enforce_client)


def client_with(*names: str) -> Security:
    return Security("client", frozenset(names))


def foreign(method: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator as others write them: it looks like what it wraps."""

    @functools.wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return wrapper


class Connection:
    """As much of a connection as a handler needs that does not answer."""

    def set_close_callback(self, callback: object) -> None:
        pass


class Handler(RequestHandler):
    """Notes what was enforced and which bodies ran, in order."""

    def initialize(self) -> None:
        self.events: list[object] = []

    def body(self) -> None:
        self.events.append("body")


def call(handler: type[RequestHandler], method: str = "get", *args: object) -> list[object]:
    """Call a method of a new handler, as Tornado does, and return what happened."""

    async def run() -> list[object]:
        connection: Any = Connection()
        line = RequestStartLine("GET", "/", "HTTP/1.1")
        request = HTTPServerRequest(
            start_line=line, headers=HTTPHeaders({"Host": "x"}), connection=connection
        )
        made: Any = handler(Application(), request)
        result = getattr(made, method)(*args)
        if result is not None:
            await result
        return list(made.events)

    return asyncio.run(run())


def demands(handler: type[RequestHandler]) -> dict[str, Security | None]:
    """What the audit sees."""
    return {name: security_of(method) for name, method in http_methods(handler)}


class Undecorated(Handler):
    def get(self) -> None:
        self.body()


def test_a_method_runs_after_its_demand_was_enforced() -> None:
    class Notes(Handler):
        @user
        def get(self) -> None:
            self.body()

        @client
        async def post(self) -> None:
            await asyncio.sleep(0)
            self.body()

        @user
        @gen.coroutine
        def put(self) -> Generator[Any, Any, None]:
            yield gen.moment
            self.body()

    assert demands(Notes) == {"GET": USER, "POST": CLIENT, "PUT": USER}
    assert call(Notes, "get") == [USER, "body"]
    assert call(Notes, "post") == [CLIENT, "body"]
    assert call(Notes, "put") == [USER, "body"]


def test_a_refusal_means_that_the_body_never_runs() -> None:
    ran = []

    async def refuse(_handler: object, _security: Security) -> None:
        await asyncio.sleep(0)
        raise Forbidden

    class Notes(Handler):
        @demand(USER, refuse)
        def get(self) -> None:
            ran.append("get")

        @demand(USER, refuse)
        async def post(self) -> None:
            ran.append("post")

    for method in ("get", "post"):
        with pytest.raises(Forbidden):
            call(Notes, method)
    assert not ran


def test_an_answer_instead_of_a_refusal_is_one_too() -> None:
    async def redirect(handler: Any, _security: Security) -> None:
        handler._finished = True  # what finish() and redirect() do

    class Notes(Handler):
        @demand(USER, redirect)
        def get(self) -> None:
            self.body()

    assert call(Notes) == []


def test_what_does_not_await_refuses() -> None:
    def forgotten_async(_handler: object, _security: Security) -> None:
        pass

    class Notes(Handler):
        @demand(USER, forgotten_async)  # type: ignore[arg-type] # the mistake
        def get(self) -> None:
            raise AssertionError

    with pytest.raises(TypeError, match="await"):
        call(Notes)


def test_a_body_that_cannot_be_awaited_fails_as_in_tornado() -> None:
    class Notes(Handler):
        @user
        def get(self) -> Generator[Any, Any, None]:  # type: ignore[override] # @gen.coroutine is forgotten
            yield
            self.body()

    with pytest.raises(TypeError, match="await"):
        call(Notes)


def test_arguments_and_name_and_signature_stay() -> None:
    class Notes(Handler):
        @scopes("a")
        @client
        async def get(self, note: str, *, full: bool = False) -> None:
            """Show a note."""
            self.events.append((note, full))

    assert call(Notes, "get", "n1") == [client_with("a"), ("n1", False)]
    assert Notes.get.__name__ == "get"
    assert Notes.get.__qualname__.endswith("Notes.get")
    assert Notes.get.__doc__ == "Show a note."
    assert list(inspect.signature(Notes.get).parameters) == ["self", "note", "full"]


def test_stacked_declarations_add_up_in_any_order() -> None:
    class Notes(Handler):
        @client
        @scopes("a")
        def get(self) -> None:
            self.body()

        @scopes("a")
        @client
        def post(self) -> None:
            self.body()

        @scopes("a", "b")
        @scopes("c")
        @scopes("b")
        def put(self) -> None:
            self.body()

    for method, security in {
        "get": client_with("a"),
        "post": client_with("a"),
        "put": client_with("a", "b", "c"),
    }.items():
        assert demands(Notes)[method.upper()] == security
        assert call(Notes, method) == [security, "body"]  # enforced once, whole


def test_stacked_declarations_on_a_class_add_up() -> None:
    @scopes("a")
    @client
    @scopes("b")
    class Notes(Undecorated):
        pass

    class Sub(Notes):
        def post(self) -> None:
            self.body()

    assert demands(Sub) == {"GET": client_with("a", "b"), "POST": client_with("a", "b")}
    assert call(Sub, "get") == [client_with("a", "b"), "body"]
    assert call(Sub, "post") == [client_with("a", "b"), "body"]


def test_two_schemes_on_one_method_are_refused() -> None:
    for outer, inner in ((user, client), (client, user), (public, user), (user, public), (user, scopes("a"))):
        with pytest.raises(TypeError, match=r"Undecorated\.get demands"):
            outer(inner(Undecorated.get))


def test_two_schemes_on_one_class_are_refused() -> None:
    for outer, inner in ((user, client), (public, user), (scopes("a"), public)):

        class Notes(Undecorated):
            pass

        with pytest.raises(TypeError, match="Notes demands"):
            outer(inner(Notes))


def test_one_scheme_with_two_enforcers_is_refused() -> None:
    lenient = demand(client_with("a"), enforce_user)
    with pytest.raises(TypeError, match="enforced differently"):
        lenient(client(Undecorated.get))


def test_nobody_else_makes_a_scheme_that_is_shown_as_public() -> None:
    for disguised in (PUBLIC, Security("public", frozenset({"a"}))):
        with pytest.raises(ValueError, match="public"):
            demand(disguised, enforce_user)


def test_public_lets_everybody_pass() -> None:
    class Notes(Handler):
        @public
        def get(self) -> None:
            self.body()

    assert demands(Notes) == {"GET": PUBLIC}
    assert call(Notes) == ["body"]


@pytest.mark.parametrize(
    "target",
    [
        staticmethod(Undecorated.get),
        classmethod(foreign),
        property(Undecorated.get),
        functools.partial(Undecorated.get),
        functools.partialmethod(Undecorated.get),
        print,
        "get",
        None,
        object(),
    ],
)
def test_what_is_neither_a_method_nor_a_handler_is_refused(target: object) -> None:
    with pytest.raises(TypeError, match="neither a method nor a handler class"):
        user(target)


def test_a_class_that_is_no_handler_is_refused() -> None:
    class Mixin:
        def get(self) -> None:
            pass

    with pytest.raises(TypeError, match="Mixin is not a RequestHandler"):
        user(Mixin)


def test_a_class_with_something_else_for_a_method_is_refused() -> None:
    class Notes(Handler):
        get = None  # type: ignore[assignment] # the mistake

    with pytest.raises(TypeError, match="neither a method"):
        user(Notes)


def test_a_class_protects_what_it_has_and_inherits() -> None:
    @user
    class Notes(Undecorated):
        async def post(self) -> None:
            self.body()

    assert demands(Notes) == {"GET": USER, "POST": USER}
    assert call(Notes, "get") == [USER, "body"]
    assert call(Notes, "post") == [USER, "body"]
    assert demands(Undecorated) == {"GET": None}  # the base stays as it was


def test_a_methods_declaration_replaces_the_classs() -> None:
    @user
    class Notes(Handler):
        def get(self) -> None:
            self.body()

        @scopes("a")
        def post(self) -> None:
            self.body()

        @public
        def put(self) -> None:
            self.body()

    assert demands(Notes) == {"GET": USER, "POST": client_with("a"), "PUT": PUBLIC}
    assert call(Notes, "post") == [client_with("a"), "body"]
    assert call(Notes, "put") == ["body"]


def test_a_declaration_on_a_method_that_the_class_protects_already_replaces_too() -> None:
    @user
    class Notes(Undecorated):
        pass

    class Sub(Notes):
        get = scopes("a")(Notes.get)

    assert demands(Sub) == {"GET": client_with("a")}
    assert call(Sub) == [client_with("a"), "body"]
    assert call(Notes) == [USER, "body"]


def test_subclasses_are_protected_too() -> None:
    @user
    class Notes(Undecorated):
        pass

    class Sub(Notes):
        def get(self) -> None:
            self.events.append("sub")

        def post(self) -> None:
            self.body()

        @client
        def put(self) -> None:
            self.body()

    class SubSub(Sub):
        def put(self) -> None:
            self.events.append("subsub")

        def delete(self) -> None:
            self.body()

    assert demands(Sub) == {"GET": USER, "POST": USER, "PUT": CLIENT}
    assert call(Sub, "get") == [USER, "sub"]
    assert demands(SubSub) == {"GET": USER, "POST": USER, "DELETE": USER, "PUT": USER}
    assert call(SubSub, "put") == [USER, "subsub"]


def test_super_of_a_protected_method_can_be_awaited() -> None:
    @user
    class Notes(Undecorated):
        pass

    class Sub(Notes):
        async def get(self) -> None:  # type: ignore[override] # the decorator made it async
            await super().get()  # type: ignore[misc] # likewise
            self.events.append("sub")

    assert call(Sub) == [USER, USER, "body", "sub"]


def test_a_subclass_may_take_another_scheme() -> None:
    @user
    class Notes(Undecorated):
        @public
        def head(self) -> None:
            self.body()

    @scopes("a")
    class Sub(Notes):
        def post(self) -> None:
            self.body()

    class SubSub(Sub):
        def put(self) -> None:
            self.body()

    wanted = client_with("a")
    assert demands(Sub) == {"GET": wanted, "POST": wanted, "HEAD": PUBLIC}
    assert demands(SubSub) == {"GET": wanted, "POST": wanted, "PUT": wanted, "HEAD": PUBLIC}
    assert call(SubSub, "get") == [wanted, "body"]
    assert demands(Notes) == {"GET": USER, "HEAD": PUBLIC}
    assert call(Notes, "get") == [USER, "body"]


@pytest.mark.parametrize("mixin_first", [True, False])
def test_what_a_mixin_brings_is_protected(mixin_first: bool) -> None:
    @user
    class Notes(Handler):
        pass

    class Mixin:
        def get(self) -> None:
            self.body()  # type: ignore[attr-defined] # a mixin for Handler

    bases = (Mixin, Notes) if mixin_first else (Notes, Mixin)
    mixed = type("Mixed", bases, {})
    if mixin_first:
        assert demands(mixed) == {"GET": USER}
        assert call(mixed) == [USER, "body"]
    else:
        assert demands(mixed) == {}  # RequestHandler's own get comes before the mixin's


def test_a_diamond_is_protected_by_the_nearest_class() -> None:
    @user
    class Base(Undecorated):
        pass

    class Left(Base):
        def post(self) -> None:
            self.body()

    @client
    class Right(Base):
        def put(self) -> None:
            self.body()

    class Bottom(Left, Right):
        def delete(self) -> None:
            self.body()

    assert demands(Bottom) == {"GET": CLIENT, "POST": USER, "PUT": CLIENT, "DELETE": CLIENT}
    for name, security in demands(Bottom).items():
        assert call(Bottom, name.lower()) == [security, "body"]


def test_two_unrelated_demands_are_inherited_by_no_new_method() -> None:
    @public
    class Open(Handler):
        def get(self) -> None:
            self.body()

    @user
    class Closed(Handler):
        def post(self) -> None:
            self.body()

    class Both(Open, Closed):
        @client
        def put(self) -> None:
            self.body()

    assert demands(Both) == {"GET": PUBLIC, "POST": USER, "PUT": CLIENT}
    assert call(Both, "post") == [USER, "body"]
    with pytest.raises(TypeError, match=r"More\.post inherits the demands of .*Open and .*Closed"):

        class More(Open, Closed):
            def post(self) -> None:
                pass


def test_two_unrelated_demands_that_agree_are_one() -> None:
    @user
    class One(Handler):
        pass

    @user
    class Two(Handler):
        pass

    class Both(One, Two):
        def get(self) -> None:
            self.body()

    assert call(Both) == [USER, "body"]


def test_init_subclass_stays_cooperative() -> None:
    seen = []

    class Registered:
        def __init_subclass__(cls, **kwargs: Any) -> None:
            seen.append((cls.__name__, "mixin", kwargs))
            super().__init_subclass__()

    @user
    class Notes(Handler):
        def __init_subclass__(cls, title: str = "", **kwargs: Any) -> None:
            seen.append((cls.__name__, "own", {"title": title}))
            super().__init_subclass__(**kwargs)

    @client
    class Sub(Notes, Registered, title="sub", shelf=1):  # Sub has no __init_subclass__ of its own
        pass

    class SubSub(Sub, title="subsub", shelf=2):
        def get(self) -> None:
            self.body()

    assert seen == [
        ("Sub", "own", {"title": "sub"}),
        ("Sub", "mixin", {"shelf": 1}),
        ("SubSub", "own", {"title": "subsub"}),
        ("SubSub", "mixin", {"shelf": 2}),
    ]
    assert call(SubSub) == [CLIENT, "body"]


def test_a_mixin_after_a_decorated_class_is_told_of_its_subclasses() -> None:
    seen = []

    @user
    class Notes(Handler):
        pass

    class Registered:
        def __init_subclass__(cls, **kwargs: Any) -> None:
            seen.append((cls.__name__, kwargs))
            super().__init_subclass__()

    class Sub(Notes, Registered, shelf=1):
        pass

    assert seen == [("Sub", {"shelf": 1})]


def test_keywords_that_nobody_takes_are_refused_as_ever() -> None:
    @user
    class Notes(Handler):
        pass

    with pytest.raises(TypeError, match="keyword"):
        type("Sub", (Notes,), {}, shelf=1)


def test_a_chain_that_is_cut_leaves_methods_undeclared() -> None:
    @user
    class Notes(Handler):
        pass

    class Sub(Notes):
        def __init_subclass__(cls) -> None:
            """Forget super()."""

    class SubSub(Sub):
        def get(self) -> None:
            pass

    assert demands(SubSub) == {"GET": None}  # which stops the start


def test_a_foreign_decorator_above_does_not_carry_the_demand() -> None:
    class Notes(Handler):
        @foreign
        @user
        def get(self) -> None:
            pass

        @gen.coroutine
        @user
        def post(self) -> None:
            pass

        @classmethod
        @user
        def put(cls) -> None:
            pass

    assert demands(Notes) == {"GET": None, "POST": None, "PUT": None}


def test_a_foreign_decorator_below_is_protected() -> None:
    class Notes(Handler):
        @user
        @foreign
        def get(self) -> None:
            self.body()

    assert call(Notes) == [USER, "body"]


def test_a_foreign_decorator_between_two_demands_is_refused() -> None:
    for outer, inner in ((user, client), (client, scopes("a")), (public, user)):
        with pytest.raises(TypeError, match="another decorator above its demand"):
            outer(foreign(inner(Undecorated.get)))


def test_a_foreign_decorator_above_a_demand_is_refused_within_a_class_that_demands() -> None:
    class Notes(Handler):
        @foreign
        @scopes("a")
        def get(self) -> None:
            pass

    with pytest.raises(TypeError, match=r"Notes\.get has another decorator above"):
        client(Notes)


def test_methods_that_are_assigned_later_are_seen() -> None:
    @user
    class Notes(Undecorated):
        pass

    def late(self: Handler) -> None:
        self.body()

    Notes.post = late
    assert demands(Notes) == {"GET": USER, "POST": None}
    Notes.get = late  # type: ignore[method-assign] # the mistake
    assert demands(Notes) == {"GET": None, "POST": None}


def test_methods_beyond_the_usual_are_protected_and_seen() -> None:
    class Undeclared(Handler):
        SUPPORTED_METHODS = (*Handler.SUPPORTED_METHODS, "PURGE")

        def purge(self) -> None:
            self.body()

    assert demands(Undeclared) == {"PURGE": None}
    assert call(user(type("Sub", (Undeclared,), {})), "purge") == [USER, "body"]


def test_the_handshake_of_a_websocket_is_protected() -> None:
    @user
    class Socket(WebSocketHandler):
        pass

    assert demands(Socket) == {"GET": USER}
    assert security_of(WebSocketHandler.get) is None


def test_security_reads_as_text() -> None:
    assert str(client_with("b", "a")) == "client a b"
    assert str(PUBLIC) == "public"


@pytest.mark.parametrize("value", [None, "get", Undecorated, Undecorated.get])
def test_what_declares_nothing_has_no_security(value: object) -> None:
    assert security_of(value) is None
