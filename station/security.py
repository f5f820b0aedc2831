"""What a method of a handler demands, declared once as data on the method.

A scheme is a decorator made by `demand`::

    user_authenticated = demand(Security("session"), enforce_session)

    class NotesHandler(BaseHandler):
        @user_authenticated
        async def get(self): ...

It works on a method or on a whole handler class, on sync and async methods, and in any order with the
other decorators of its scheme. On a class it wraps every HTTP method that the class has or inherits, and
those that subclasses add; a method's own declaration replaces the class's. Stacked declarations of one
scheme add up; two schemes on one method are a `TypeError` at import.

Only the wrapper that enforces a demand carries it, and `security_of` reads nothing else: what the audit
at boot, ``station routes`` and OpenAPI say is what happens.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from tornado.web import RequestHandler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

__all__ = ["PUBLIC", "Security", "SecurityScheme", "demand", "http_methods", "public", "security_of"]

_DEMAND = "__station_demand__"
_UNIMPLEMENTED = RequestHandler.get  # every method that a handler lacks is this one function

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Security:
    """What a method demands: to be authenticated by ``scheme`` and to hold all ``scopes``."""

    scheme: str
    scopes: frozenset[str] = frozenset()

    def __or__(self, other: Security) -> Security:
        return Security(self.scheme, self.scopes | other.scopes)

    def __str__(self) -> str:
        return " ".join([self.scheme, *sorted(self.scopes)])


PUBLIC = Security("public")


@dataclasses.dataclass(frozen=True, slots=True)
class SecurityScheme:
    """A way to authenticate that a plugin offers.

    ``name`` is what `Security.scheme` refers to, ``openapi`` its Security Scheme Object, and ``scopes``
    the closed catalogue of scopes (name to description), or None if any scope may be asked for.
    """

    name: str
    openapi: Mapping[str, object]
    scopes: Mapping[str, str] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class _Demand:
    security: Security
    enforce: Callable[[Any, Security], Awaitable[None]]
    method: Callable[..., Any]
    by_class: bool
    wrapper: Callable[..., Any] | None = None


def demand(security: Security, enforce: Callable[[Any, Security], Awaitable[None]]) -> Callable[[T], T]:
    """Make a decorator that awaits ``enforce(handler, security)`` before a method runs.

    ``enforce`` raises to refuse. The ``security`` it gets is what all stacked declarations add up to.
    """

    def decorate(target: T) -> T:
        if isinstance(target, type):
            return _protect_class(target, security, enforce)  # type: ignore[return-value] # target itself
        if not callable(target):
            raise TypeError(f"{target!r} is neither a method nor a handler class")
        return _protect(target, security, enforce, by_class=False)  # type: ignore[return-value] # same signature

    return decorate


async def _enforce_nothing(_handler: object, _security: Security) -> None:
    """Let everybody pass."""


public = demand(PUBLIC, _enforce_nothing)
"""Declare that a method, or every method of a class, is open to everybody."""


def security_of(method: object) -> Security | None:
    """What a method enforces, or None if nothing was declared."""
    declared = _demand_of(method)
    return None if declared is None else declared.security


def _demand_of(method: object) -> _Demand | None:
    declared: _Demand | None = getattr(method, _DEMAND, None)
    # functools.wraps of a foreign decorator copies the attribute to a function that may enforce nothing
    return declared if declared is not None and declared.wrapper is method else None


def http_methods(handler: type[RequestHandler]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The HTTP methods that a handler class implements: name in capitals, function."""
    for name in handler.SUPPORTED_METHODS:
        method = getattr(handler, name.lower(), _UNIMPLEMENTED)
        if method is not _UNIMPLEMENTED:
            yield name, method


def _protect(
    method: Callable[..., Any],
    security: Security,
    enforce: Callable[[Any, Security], Awaitable[None]],
    *,
    by_class: bool,
) -> Callable[..., Any]:
    declared = _demand_of(method)
    if declared is not None:
        if declared.security.scheme != security.scheme:
            raise TypeError(
                f"{method.__qualname__} demands {declared.security.scheme} and {security.scheme}; "
                "a method has one scheme"
            )
        security |= declared.security
        method = declared.method

    @functools.wraps(method)
    async def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        await enforce(self, security)
        result = method(self, *args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    setattr(wrapper, _DEMAND, _Demand(security, enforce, method, by_class, wrapper))
    return wrapper


def _protect_class(
    handler: type, security: Security, enforce: Callable[[Any, Security], Awaitable[None]]
) -> type:
    if not issubclass(handler, RequestHandler):
        raise TypeError(f"{handler.__qualname__} is not a RequestHandler")
    stacked: _Demand | None = handler.__dict__.get(_DEMAND)
    if stacked is not None:
        if stacked.security.scheme != security.scheme:
            raise TypeError(
                f"{handler.__qualname__} demands {stacked.security.scheme} and {security.scheme}; "
                "a class has one scheme"
            )
        security |= stacked.security
    declared = _Demand(security, enforce, _UNIMPLEMENTED, by_class=True)
    setattr(handler, _DEMAND, declared)
    _apply(handler, declared)
    if stacked is None:
        _follow_subclasses(handler)
    return handler


def _follow_subclasses(handler: type[RequestHandler]) -> None:
    inherited = handler.__init_subclass__

    def init_subclass(cls: type[RequestHandler], /, **kwargs: Any) -> None:
        inherited.__func__(cls, **kwargs) if inspect.ismethod(inherited) else inherited(**kwargs)
        _apply(cls, getattr(cls, _DEMAND))

    handler.__init_subclass__ = classmethod(init_subclass)  # type: ignore[assignment] # how Python reads it


def _apply(handler: type[RequestHandler], declared: _Demand) -> None:
    """Wrap every HTTP method of ``handler`` that does not declare for itself."""
    for name, method in http_methods(handler):
        own = _demand_of(method)
        if own is not None and not own.by_class:
            continue
        if own is not None and own.security == declared.security and own.enforce == declared.enforce:
            continue
        original = method if own is None else own.method
        setattr(handler, name.lower(), _protect(original, declared.security, declared.enforce, by_class=True))
