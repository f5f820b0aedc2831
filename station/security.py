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
at boot, ``station routes`` and OpenAPI say is what happens. So a demand stands above all decorators of
other kinds: one above it could call the method without it.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import TYPE_CHECKING, Any, TypeVar

from tornado.web import RequestHandler

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from station.openapi import ErrorFormat

__all__ = [
    "PUBLIC",
    "Security",
    "SecurityScheme",
    "demand",
    "enforcer_of",
    "hides_its_demand",
    "http_methods",
    "public",
    "security_of",
]

_ENFORCED = "__station_enforced__"  # on the wrapper of a method
_DEMAND = "__station_demand__"  # on a handler class that was decorated
_UNIMPLEMENTED = RequestHandler.get  # every method that a handler lacks is this one function

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Security:
    """What a method demands: to be authenticated by ``scheme`` and to hold all ``scopes``."""

    scheme: str
    scopes: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return " ".join([self.scheme, *sorted(self.scopes)])


PUBLIC = Security("public")


@dataclasses.dataclass(frozen=True, slots=True)
class SecurityScheme:
    """A way to authenticate that a plugin offers.

    ``name`` is what `Security.scheme` refers to. ``openapi`` maps names to OpenAPI's Security Scheme Objects,
    any one of which satisfies it. ``scopes`` is the closed catalogue of scopes (name to description), or
    None if any scope may be asked for; documents for everybody do not name ``private_scopes``.

    ``refusals`` are the statuses with which it refuses (403 is understood where scopes are asked for), and
    ``error_format`` their JSON if it is not that of the handler's other errors. ``decorator`` is what handler
    developers write, ``@client_authenticated``, for the audit to propose; empty if it is not for them.
    """

    name: str
    openapi: Mapping[str, Mapping[str, object]]
    scopes: Mapping[str, str] | None = None
    private_scopes: frozenset[str] = frozenset()
    refusals: tuple[int, ...] = (401,)
    error_format: ErrorFormat | None = None
    decorator: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class _Demand:
    security: Security
    enforce: Callable[[Any, Security], Awaitable[None]]


@dataclasses.dataclass(frozen=True, slots=True)
class _Enforced:
    """What ``wrapper`` carries: the ``demand`` that it enforces before ``method``."""

    demand: _Demand
    method: Callable[..., Any]
    wrapper: Callable[..., Any]
    by_class: bool


def demand(security: Security, enforce: Callable[[Any, Security], Awaitable[None]]) -> Callable[[T], T]:
    """Make a decorator that awaits ``enforce(handler, security)`` before a method runs.

    ``enforce`` raises to refuse; if it answers the request instead, the method does not run either. The
    ``security`` it gets is what all stacked declarations add up to.
    """
    if security.scheme == PUBLIC.scheme:
        raise ValueError(f"{security} would be shown as open to everybody; name the scheme otherwise")
    return _decorator(_Demand(security, enforce))


def security_of(method: object) -> Security | None:
    """What a method enforces, or None if nothing was declared."""
    enforced = _enforced(method)
    return None if enforced is None else enforced.demand.security


def enforcer_of(method: object) -> Callable[[Any, Security], Awaitable[None]] | None:
    """The function that enforces what a method demands, or None if nothing was declared."""
    enforced = _enforced(method)
    return None if enforced is None else enforced.demand.enforce


def hides_its_demand(method: object) -> bool:
    """Whether a decorator of another kind stands above the demand, and may call the method without it."""
    return hasattr(method, _ENFORCED) and _enforced(method) is None


def http_methods(handler: type[RequestHandler]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The HTTP methods that a handler class implements: name in capitals, function."""
    for name in handler.SUPPORTED_METHODS:
        method = getattr(handler, name.lower(), _UNIMPLEMENTED)
        if method is not _UNIMPLEMENTED:
            yield name, method


def _decorator(declared: _Demand) -> Callable[[T], T]:
    def decorate(target: T) -> T:
        if isinstance(target, type):
            return _protect_class(target, declared)  # type: ignore[return-value] # target itself
        return _protect(target, declared, by_class=False)  # type: ignore[return-value] # same signature

    return decorate


async def _enforce_nothing(_handler: object, _security: Security) -> None:
    """Let everybody pass."""


public = _decorator(_Demand(PUBLIC, _enforce_nothing))
"""Declare that a method, or every method of a class, is open to everybody."""


def _enforced(method: object) -> _Enforced | None:
    found: _Enforced | None = getattr(method, _ENFORCED, None)
    # functools.wraps of a foreign decorator copies the attribute to a function that may enforce nothing
    return found if found is not None and found.wrapper is method else None


def _protect(method: object, declared: _Demand, *, by_class: bool) -> Callable[..., Any]:
    """Wrap a method; what it declared before adds up, and what its class declared is replaced."""
    if not inspect.isfunction(method):
        raise TypeError(f"{method!r} is neither a method nor a handler class")
    below = _enforced(method)
    if below is not None:
        if not below.by_class:
            declared = _add_up(method.__qualname__, declared, below.demand)
        method = below.method
    elif hides_its_demand(method):
        raise TypeError(
            f"{method.__qualname__} has another decorator above its demand, which may pass it by; "
            "put the demand above"
        )

    @functools.wraps(method)
    async def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        await declared.enforce(self, declared.security)
        if self._finished:
            return None
        result = method(self, *args, **kwargs)
        return result if result is None else await result  # as Tornado does

    setattr(wrapper, _ENFORCED, _Enforced(declared, method, wrapper, by_class))
    return wrapper


def _protect_class(handler: type, declared: _Demand) -> type:
    if not issubclass(handler, RequestHandler):
        raise TypeError(f"{handler.__qualname__} is not a RequestHandler")
    stacked: _Demand | None = vars(handler).get(_DEMAND)
    if stacked is not None:
        declared = _add_up(handler.__qualname__, declared, stacked)
    setattr(handler, _DEMAND, declared)
    for name, method in http_methods(handler):
        enforced = _enforced(method)
        if enforced is None or enforced.by_class:
            setattr(handler, name.lower(), _protect(method, declared, by_class=True))
    if stacked is None:
        _follow_subclasses(handler)
    return handler


def _add_up(name: str, declared: _Demand, below: _Demand) -> _Demand:
    ours, theirs = declared.security, below.security
    if ours.scheme != theirs.scheme or declared.enforce != below.enforce:
        raise TypeError(f"{name} demands {theirs} and {ours}, which are enforced differently; choose one")
    return _Demand(Security(ours.scheme, ours.scopes | theirs.scopes), declared.enforce)


def _follow_subclasses(handler: type[RequestHandler]) -> None:
    """Wrap what subclasses add, when they are made."""
    own = vars(handler).get("__init_subclass__")

    def init_subclass(cls: type[RequestHandler], /, **kwargs: Any) -> None:
        if own is None:
            super(handler, cls).__init_subclass__(**kwargs)
        else:
            own.__get__(None, cls)(**kwargs)
        for name, method in http_methods(cls):
            if _enforced(method) is None:
                inherited = _inherited_demand(cls, name)
                setattr(cls, name.lower(), _protect(method, inherited, by_class=True))

    handler.__init_subclass__ = classmethod(init_subclass)  # type: ignore[assignment] # how Python reads it


def _inherited_demand(handler: type[RequestHandler], method: str) -> _Demand:
    """The demand of the nearest class that declares one; of two unrelated classes neither is nearer."""
    nearest, *others = [base for base in handler.__mro__ if _DEMAND in vars(base)]
    declared: _Demand = vars(nearest)[_DEMAND]
    for other in others:
        if not issubclass(nearest, other) and vars(other)[_DEMAND] != declared:
            raise TypeError(
                f"{handler.__qualname__}.{method.lower()} inherits the demands of {nearest.__qualname__} and "
                f"{other.__qualname__}; declare one on the method"
            )
    return declared
