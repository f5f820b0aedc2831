"""What changes in MongoDB, as it happens: one change stream over all collections that a token depends on."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure, PyMongoError

from plugins.oauth_m2m.models import Change, ClientChanged, KeysChanged, TokenRevoked
from plugins.oauth_m2m.stores.clients import client_of
from plugins.oauth_m2m.stores.keys import keys_of
from station.errors import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from plugins.oauth_m2m.models import Client, Position
    from station.resources import Resources

__all__ = ["ChangeStore", "ChangeStream", "StreamLost"]

_log = logging.getLogger(__name__)
_DOCUMENT_CHANGES = frozenset({"insert", "update", "replace", "delete"})
_QUIET_MS = 250
_SAME_VERSION = 0
# That a secret was used concerns nobody's token (`SecretStore.note_uses`)
_PIPELINE = [
    {
        "$match": {
            "ns.coll": {"$in": ["oauth_clients", "revoked_tokens", "signing_keys"]},
            "updateDescription.updatedFields.used_at": {"$exists": False},
        }
    }
]


class StreamLost(Exception):
    """The stream cannot go on where it was, and changes may be missed: everything must be read again."""


class ChangeStore:
    """Opens the stream, which is lost once nothing came of it for ``max_silence`` seconds.

    An answer need not hold all that there is: it has a size, and MongoDB ends it after some time of looking
    through changes that concern nobody here. So who was stopped, or cut off, for long cannot tell when it has
    caught up, and reads everything again. After a shorter silence the rest comes within moments.
    """

    def __init__(self, resources: Resources, *, max_silence: float = float("inf")) -> None:
        self._resources = resources
        self._silence = _Silence(max_silence)

    @contextlib.asynccontextmanager
    async def watch(self, after: Mapping[str, Any] | None = None) -> AsyncIterator[ChangeStream]:
        """The changes from now on, or those ``after`` the token of a stream that was cut off.

        `ServiceUnavailable` if MongoDB does not answer, `StreamLost` if it has forgotten that token.
        """
        if after is None:
            self._silence.forget()
        self._silence.end()
        watching = self._resources.database.watch(
            _PIPELINE, full_document="updateLookup", max_await_time_ms=_QUIET_MS, resume_after=after
        )
        with _failures():
            opened = await watching.__aenter__()
        stream = ChangeStream(self._resources, opened, self._silence)
        try:
            yield stream
        finally:
            # a driver's thread may be in it still; MongoDB ends it with its session, or when it is idle
            if not stream.is_asking:
                with contextlib.suppress(PyMongoError):
                    await opened.close()


class ChangeStream:
    """A stream of changes that is open.

    Everything that MongoDB knew at ``heard_at`` (by `time.monotonic`) has been returned, and whatever was
    returned before the last call counts as done.
    """

    def __init__(self, resources: Resources, opened: Any, silence: _Silence) -> None:
        self._listener = resources.streams
        self._silence = silence
        self._opened = opened
        self._answers = self._listener.answers
        self._asked_at = self._listener.asked_at
        self.heard_at = float("-inf")
        self.is_asking = False

    @property
    def token(self) -> Mapping[str, Any] | None:
        """Where another stream may go on."""
        token: Mapping[str, Any] | None = self._opened.resume_token
        return token

    async def next(self) -> Change | None:
        """The next change; None after a quarter of a second without. Raises as `ChangeStore.watch`."""
        self.is_asking = True
        self._silence.begin()
        with _failures():
            event = await self._opened.try_next()
        self.is_asking = False
        self._silence.end()
        if self._answers != self._listener.answers:
            # it asked anew: what came with the answer before has all been returned
            self.heard_at, self._asked_at = self._asked_at, self._listener.asked_at
            self._answers = self._listener.answers
        if event is None:
            self.heard_at = self._asked_at
            return None
        return _change(event)


class _Silence:
    """For how long nothing came of a stream, and of the one that goes on where it was cut off."""

    def __init__(self, longest: float) -> None:
        self._longest = longest
        self._since: float | None = None

    def forget(self) -> None:
        """Another stream begins: what happened before it is read elsewhere, however long that takes."""
        self._since = None

    def begin(self) -> None:
        """Something is asked for; it is silent since the last answer."""
        if self._since is None:
            self._since = time.monotonic()

    def end(self) -> None:
        """Something came, or may come again; `StreamLost` if that took too long."""
        if self._since is None:
            return
        since, self._since = self._since, time.monotonic()
        if self._since - since > self._longest:
            raise StreamLost("it was silent for too long")


@contextlib.contextmanager
def _failures() -> Any:
    try:
        yield
    except OperationFailure as error:
        raise StreamLost(type(error).__name__) from error
    except PyMongoError as error:
        raise ServiceUnavailable("A store that Station needs does not answer.") from error


def _change(event: Mapping[str, Any]) -> Change:
    if event["operationType"] not in _DOCUMENT_CHANGES:
        raise StreamLost(event["operationType"])  # a collection was dropped, or renamed
    at = event["clusterTime"]
    position: Position = (at.time, at.inc)
    key, document = event["documentKey"]["_id"], event.get("fullDocument")
    match event["ns"]["coll"]:
        case "oauth_clients":
            client = None if document is None else _readable(document)
            return ClientChanged(position, str(key), client, _version(event))
        case "revoked_tokens":
            return TokenRevoked(position, key, forgotten=event["operationType"] == "delete")
        case _:
            keys = None if document is None else keys_of(document)
            return KeysChanged(position, keys, _version(event))


def _readable(document: Mapping[str, Any]) -> Client | None:
    """The client, or None if somebody has written what is none by hand: then it is as good as gone."""
    try:
        return client_of(dict(document))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        _log.error("a document of oauth_clients is no client: %s", type(error).__name__)
        return None


def _version(event: Mapping[str, Any]) -> int | None:
    """The version that this very change made; ``fullDocument`` may be newer already.

    None for a deletion, which must not be taken for a change that made no version: a hash of another cost.
    """
    if event["operationType"] == "update":
        version: int | None = event["updateDescription"]["updatedFields"].get("version", _SAME_VERSION)
    else:
        version = (event.get("fullDocument") or {}).get("version")
    return version
