"""Where accounts and sessions live: ``users`` in MongoDB, ``session:{id}`` in Redis.

The only module of `station.auth` that knows Motor and Redis. Every method raises
`station.errors.ServiceUnavailable` when its store does not answer.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pymongo.errors import DuplicateKeyError

from station.auth.models import REFRESH_SECONDS, User
from station.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from station.resources import Resources

__all__ = ["SessionStore", "UserStore"]

_log = logging.getLogger(__name__)
_GRACE_MS = 10_000
_ENDED, _REUSED = 0, -1

_START = """
redis.call('HSET', KEYS[1], 'user_id', ARGV[1], 'n', 1, 'rotated_at', 0)
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
"""

# The time is Redis's own, so that nodes whose clocks differ agree on the grace.
_ROTATE = """
local stored = redis.call('HGET', KEYS[1], 'n')
if not stored then return 0 end
local current, presented = tonumber(stored), tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if presented == current then
    redis.call('HSET', KEYS[1], 'n', current + 1, 'rotated_at', now)
    redis.call('EXPIRE', KEYS[1], ARGV[3])
    return current + 1
end
local age = now - tonumber(redis.call('HGET', KEYS[1], 'rotated_at'))
if presented == current - 1 and age < tonumber(ARGV[2]) then return current end
redis.call('DEL', KEYS[1])
return -1
"""


class UserStore:
    """Accounts, in the collection ``users``.

    ``{_id, email, password, roles, is_active, created_at, generation, reset?: {hash, expires_at}}``: a reset
    token is known by its hash alone, and an account has one at most.
    """

    def __init__(self, resources: Resources) -> None:
        self._users = resources.database["users"]
        self._available = resources.available

    async def add(self, user: User) -> None:
        """Store a new account; `station.errors.Conflict` when the email has one (by the unique index)."""
        document = {
            "_id": user.id,
            "email": user.email,
            "password": user.password,
            "roles": list(user.roles),
            "is_active": user.is_active,
            "created_at": user.created_at,
            "generation": user.generation,
        }
        with self._available():
            try:
                await self._users.insert_one(document)
            except DuplicateKeyError as error:
                raise Conflict("This email has an account already.") from error

    async def find(self, user_id: str) -> User | None:
        """The account with this id."""
        return await self._find({"_id": user_id})

    async def find_by_email(self, email: str) -> User | None:
        """The account with this email, which is in lower case."""
        return await self._find({"email": email})

    async def has_role(self, role: str) -> bool:
        """Whether any account has this role."""
        return await self._find({"roles": role}) is not None

    async def replace_password(self, user: User, password: str) -> None:
        """Store another hash, unless the one in ``user`` was replaced in the meantime."""
        with self._available():
            await self._users.update_one(
                {"_id": user.id, "password": user.password}, {"$set": {"password": password}}
            )

    async def change_password(self, user: User, renewed: User) -> bool:
        """Store the password and generation of ``renewed``, unless ``user`` has another generation by now.

        The reset token ends. False when nothing was changed, also for an account that is not active.
        """
        # an account from before generations has none: None finds it
        mine = {"_id": user.id, "generation": user.generation or None, "is_active": True}
        return await self._renew(mine, renewed)

    async def set_reset(self, user: User, token_hash: str, expires_at: datetime) -> bool:
        """Let a reset token take the place of the one that was; False for an account that is not active."""
        reset = {"hash": token_hash, "expires_at": expires_at}
        with self._available():
            done = await self._users.update_one(
                {"_id": user.id, "is_active": True}, {"$set": {"reset": reset}}
            )
        return done.matched_count == 1

    async def find_by_reset(self, token_hash: str) -> tuple[User, datetime] | None:
        """The account that has this reset token, and when the token expires: maybe it has."""
        with self._available():
            document = await self._users.find_one({"reset.hash": token_hash})
        return None if document is None else (_user(document), document["reset"]["expires_at"])

    async def reset_password(self, token_hash: str, renewed: User, now: datetime) -> bool:
        """Use a reset token up: store the password and generation of ``renewed``.

        False, and nothing is changed, when the token was used or replaced, has expired by ``now``, or when
        the account is not active.
        """
        mine = {
            "_id": renewed.id,
            "reset.hash": token_hash,
            "reset.expires_at": {"$gt": now},
            "is_active": True,
        }
        return await self._renew(mine, renewed)

    async def disable(self, user: User, generation: str) -> None:
        """Disable an account and end its sessions and its reset token, for good."""
        change = {"$set": {"is_active": False, "generation": generation}, "$unset": {"reset": ""}}
        with self._available():
            await self._users.update_one({"_id": user.id}, change)

    async def enable(self, user: User) -> None:
        """Enable an account again."""
        with self._available():
            await self._users.update_one({"_id": user.id}, {"$set": {"is_active": True}})

    async def _renew(self, mine: Mapping[str, Any], renewed: User) -> bool:
        change = {
            "$set": {"password": renewed.password, "generation": renewed.generation},
            "$unset": {"reset": ""},
        }
        with self._available():
            done = await self._users.update_one(mine, change)
        return done.modified_count == 1

    async def _find(self, query: Mapping[str, Any]) -> User | None:
        with self._available():
            document = await self._users.find_one(query)
        return None if document is None else _user(document)


class SessionStore:
    """Live sessions, as hashes that expire: ``session:{id}`` -> ``{user_id, n, rotated_at}``.

    ``n`` is the counter of the refresh token that is current, ``rotated_at`` when it became so (Redis's
    time in milliseconds). A session that is not there has ended.
    """

    def __init__(self, resources: Resources) -> None:
        self._redis = resources.redis
        self._available = resources.available

    async def start(self, session_id: str, user_id: str) -> int:
        """Begin a session and return the counter of its first refresh token."""
        return await self._run(_START, session_id, user_id, REFRESH_SECONDS)

    async def find_user_id(self, session_id: str) -> str | None:
        """Whose session it is, or None when it has ended."""
        with self._available():
            user_id = await self._redis.hget(_key(session_id), "user_id")
        return user_id.decode() if isinstance(user_id, bytes) else user_id

    async def rotate(self, session_id: str, counter: int) -> int | None:
        """Trade in the refresh token ``counter``: the counter to hand out next, or None.

        The current one is traded for its successor and the session lives seven days from now. Its
        predecessor, less than ten seconds after that, is another tab that was late and gets the current
        one. Any other was used before: somebody else has it too, and the session ends.
        """
        following = await self._run(_ROTATE, session_id, counter, _GRACE_MS, REFRESH_SECONDS)
        if following == _REUSED:
            _log.warning("the session %s ended: an old refresh token of it was used", session_id)
        return None if following in {_ENDED, _REUSED} else following

    async def end(self, session_id: str) -> None:
        """End a session at once; one that has ended already is no error."""
        with self._available():
            await self._redis.delete(_key(session_id))

    async def _run(self, script: str, session_id: str, *arguments: str | int) -> int:
        # The script's whole text, each time: a server that has just become the master may not know it, and
        # to load it a cluster would ask all its masters, also those that this session does not need.
        with self._available():
            answer: Any = await self._redis.eval(script, 1, _key(session_id), *arguments)
        return int(answer)


def _user(document: Mapping[str, Any]) -> User:
    return User(
        id=document["_id"],
        email=document["email"],
        password=document["password"],
        roles=tuple(document["roles"]),
        is_active=document["is_active"],
        created_at=document["created_at"],
        generation=document.get("generation", ""),
    )


def _key(session_id: str) -> str:
    return f"session:{session_id}"
