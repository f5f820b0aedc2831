"""Opening a Redis client, whatever form of server `station.redis_url` reads from ``REDIS_URL``.

All forms give the same promises. A command waits for one of 64 connections rather than fail; one that finds
its connection broken is sent once more, on a new one, and no further: an outage is told in two or three
seconds, and nobody's retries pile up behind it. A server that has become a replica is left at once: the next
command asks the name, the Sentinels or the cluster for the master.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode, ClusterPipeline
from redis.asyncio.connection import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    MasterNotFoundError,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisClusterException, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from station.background import in_background

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from station.redis_url import RedisAddress

__all__ = ["open_redis", "ping"]

_SECONDS = 2.0
# Sentinels, and the nodes of a cluster, are asked one after the other: who hangs must leave time for the next
_SECONDS_OF_ONE = 1.0
_CONNECTIONS = 64
_SLOTS = 16_384


@contextlib.asynccontextmanager
async def open_redis(address: RedisAddress) -> AsyncIterator[Redis | RedisCluster]:
    """A client that has had an answer, closed with the context; the driver's error if there is none."""
    async with contextlib.AsyncExitStack() as stack:
        redis: Redis | RedisCluster
        if address.form == "cluster":
            redis = cluster = _cluster(address)
            stack.push_async_callback(cluster.disconnect)
        else:
            if address.form == "sentinel":
                redis = await stack.enter_async_context(_behind_sentinels(address))
            else:
                redis = _one_server(address)
            stack.push_async_callback(redis.aclose)
        await ping(redis)
        yield redis


async def ping(redis: Redis | RedisCluster) -> None:
    """Raise the driver's error unless Redis answers: in a cluster every master, and these for all slots."""
    await redis.ping()
    if isinstance(redis, RedisCluster):
        about: dict[str, Any] = await redis.cluster_info()
        if about["cluster_state"] != "ok" or int(about["cluster_slots_ok"]) != _SLOTS:
            raise RedisClusterException("Not every slot of the cluster is covered.")


class _LeavesFormerMasters:
    """A connection that ends when its server is, or may be, the master no more: the next finds the master.

    It does so by a name, a proxy or the Sentinels. A replica says what it is; a master that was replaced and
    does not know it yet has lost its replicas, and says so if it needs them (``min-replicas-to-write``).
    """

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)  # type: ignore[misc] # of the class mixed in
        except ResponseError as error:
            if not isinstance(error, ReadOnlyError) and not str(error).startswith("NOREPLICAS"):
                raise
            await self.disconnect()  # type: ignore[attr-defined] # of the class mixed in
            raise RedisConnectionError("This may be the master no more.") from error


class _SharesTls:
    """A TLS connection with a context that all share: to make one takes 50 ms, in which nothing else runs."""

    def __init__(self, *, tls_context: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = tls_context  # type: ignore[attr-defined] # of the class mixed in


class _Tcp(_LeavesFormerMasters, Connection):
    pass


class _Tls(_SharesTls, _LeavesFormerMasters, SSLConnection):
    pass


class _ClosedByOthers:
    """A connection of a cluster: who finds that the layout has changed closes it under whoever uses it."""

    async def send_packed_command(self, *args: Any, **options: Any) -> None:
        try:
            await super().send_packed_command(*args, **options)  # type: ignore[misc] # of the class mixed in
        except AttributeError as error:  # there is no writer any more
            raise RedisConnectionError("The connection was closed meanwhile.") from error


class _ClusterTcp(_ClosedByOthers, Connection):
    pass


class _ClusterTls(_ClosedByOthers, _SharesTls, SSLConnection):
    pass


class _Socket(_LeavesFormerMasters, UnixDomainSocketConnection):
    pass


class _SentinelTcp(_LeavesFormerMasters, SentinelManagedConnection):
    pass


class _SentinelTls(_SharesTls, _LeavesFormerMasters, SentinelManagedSSLConnection):
    pass


class _Sentinels(Sentinel):
    """Goes by what most Sentinels say: while they change over they differ, and the library believes any.

    All are asked at once, and those who want to know meanwhile share the answer.
    """

    _asking: asyncio.Task[tuple[str, int]] | None = None

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Host and port of the master; `MasterNotFoundError` when no Sentinel knows one that is up."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(service_name))
            self._asking.add_done_callback(lambda asked: asked.cancelled() or asked.exception())
        return await asyncio.shield(self._asking)

    async def aclose(self) -> None:
        """Close the connections to the Sentinels, whoever waits for an answer."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        await super().aclose()

    async def _ask(self, service_name: str) -> tuple[str, int]:
        votes: Counter[tuple[str, int]] = Counter()
        asked = [asyncio.ensure_future(self._masters(sentinel)) for sentinel in self.sentinels]
        try:
            for answer in asyncio.as_completed(asked):
                with contextlib.suppress(RedisError):
                    state = (await answer).get(service_name)
                    if state and self.check_master_state(state, service_name):
                        votes[state["ip"], state["port"]] += 1
                if any(2 * count > len(asked) for count in votes.values()):
                    break
        finally:
            for one in asked:
                one.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        if not votes:
            raise MasterNotFoundError("No Sentinel knows a master that is up.")
        return votes.most_common(1)[0][0]

    @staticmethod
    async def _masters(sentinel: Redis) -> dict[str, Any]:
        masters: Any = await sentinel.sentinel_masters()
        return dict(masters)


class _SentinelPool(SentinelConnectionPool, BlockingConnectionPool):
    """A pool of connections to the master that the Sentinels name, which waits when all are in use."""

    async def release(self, connection: Any) -> None:
        """Take a connection back, and close it if it leads to a master that was replaced meanwhile."""
        if (connection.host, connection.port) != self.master_address:
            await connection.disconnect()
        await super().release(connection)

    async def follow(self) -> None:
        """Ask every second, until cancelled: a master that was replaced may take writes for ten more."""
        while True:
            await asyncio.sleep(_SECONDS_OF_ONE)
            with contextlib.suppress(RedisError):
                await self.get_master_address()  # type: ignore[no-untyped-call] # as the library leaves it


def _one_server(address: RedisAddress) -> Redis:
    options = _options(address, _Tcp, _Tls)
    if address.form == "socket":
        options |= {"connection_class": _Socket, "path": address.path}
    else:
        [(host, port)] = address.hosts
        options |= {"host": host, "port": port}
    options |= _timeouts(_SECONDS)
    pool = BlockingConnectionPool(max_connections=_CONNECTIONS, timeout=_SECONDS, db=address.db, **options)
    return Redis.from_pool(pool)


@contextlib.asynccontextmanager
async def _behind_sentinels(address: RedisAddress) -> AsyncIterator[Redis]:
    sentinel = _Sentinels([])  # type: ignore[no-untyped-call] # as the library leaves it
    options = _options(address, _Tcp, _Tls) | _timeouts(_SECONDS_OF_ONE)
    options |= {"username": address.sentinel_username, "password": address.sentinel_password}
    for host, port in address.hosts:
        pool = BlockingConnectionPool(timeout=_SECONDS_OF_ONE, host=host, port=port, **options)
        sentinel.sentinels.append(Redis.from_pool(pool))
    master = _SentinelPool(  # type: ignore[no-untyped-call] # as the library leaves it
        address.service,
        sentinel,
        max_connections=_CONNECTIONS,
        timeout=_SECONDS,
        db=address.db,
        **_options(address, _SentinelTcp, _SentinelTls),
        **_timeouts(_SECONDS),
    )
    try:
        async with in_background(master.follow()):
            yield Redis.from_pool(master)
    finally:
        await sentinel.aclose()


def _cluster(address: RedisAddress) -> _BoundedCluster:
    options = _options(address, _ClusterTcp, _ClusterTls)
    connection: dict[str, Any] = {"connection_class": options.pop("connection_class")}
    if address.tls:
        connection["tls_context"] = options.pop("tls_context")
    nodes = [ClusterNode(host, port) for host, port in address.hosts]
    cluster = _BoundedCluster(
        startup_nodes=nodes, max_connections=2 * _CONNECTIONS, **options, **_timeouts(_SECONDS_OF_ONE)
    )
    # what all nodes are made with, those of the beginning included, which are made again
    cluster.connection_kwargs.update(connection)
    cluster.nodes_manager.startup_nodes = {
        name: ClusterNode(node.host, node.port, **cluster.connection_kwargs)
        for name, node in cluster.nodes_manager.startup_nodes.items()
    }
    return cluster


def _options(address: RedisAddress, plain: type[Connection], tls: type[_SharesTls]) -> dict[str, Any]:
    """How to connect and to get in, by connections that are ``plain`` or speak ``tls``."""
    options: dict[str, Any] = {
        "connection_class": tls if address.tls else plain,
        "username": address.username,
        "password": address.password,
        # not after a time-out: a server that hangs would be waited for twice
        "retry": Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
    }
    if address.tls:
        options["tls_context"] = _tls_context(address.tls_options)
    return options


def _tls_context(options: Mapping[str, Any]) -> ssl.SSLContext:
    """What the options say; authorities that are given are the only ones."""
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    if "ssl_certfile" in options:
        context.load_cert_chain(options["ssl_certfile"], options.get("ssl_keyfile"))
    verified = options.get("ssl_cert_reqs") != "none"
    context.check_hostname = verified and options.get("ssl_check_hostname", True)
    context.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
    return context


def _timeouts(seconds: float) -> dict[str, float]:
    return {"socket_timeout": seconds, "socket_connect_timeout": seconds}


class _BoundedCluster(RedisCluster):
    """A cluster whose commands wait for their turn, as a pool makes them, and end in time.

    The library itself refuses the command that finds no connection free, gives each of its attempts a time of
    its own, and closes every connection, those in use too, when one command finds the layout changed.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._turns = asyncio.Semaphore(_CONNECTIONS)

    async def aclose(self) -> None:
        """Learn the layout anew before the next command; `disconnect` is what closes the client."""
        self._initialize = True

    async def disconnect(self) -> None:
        """Close every connection."""
        self._initialize = False
        await super().aclose()

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run a command on the nodes that it is for."""
        async with self.turn():
            return await super().execute_command(*args, **options)

    def pipeline(self, transaction: Any | None = None, shard_hint: Any | None = None) -> ClusterPipeline:
        """Collect commands, each of which is for one node."""
        return _BoundedPipeline(self, transaction)

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold one of the turns; a command that a pipeline redirects has that of the pipeline."""
        if _has_turn.get():
            yield
            return
        token = _has_turn.set(True)
        try:
            async with asyncio.timeout(_SECONDS), self._turns:
                yield
        except TimeoutError as error:
            raise RedisTimeoutError("The cluster does not answer.") from error
        finally:
            _has_turn.reset(token)


class _BoundedPipeline(ClusterPipeline):
    _event_dispatcher: Any  # declared by the library's base class, and never set for a cluster's pipeline

    def __init__(self, cluster: _BoundedCluster, transaction: bool | None) -> None:
        super().__init__(cluster, transaction)
        self._turn = cluster.turn

    async def execute(self, raise_on_error: bool = True, allow_redirections: bool = True) -> list[Any]:
        """Send the commands, and return what was answered to each."""
        async with self._turn():
            return await super().execute(raise_on_error, allow_redirections)


_has_turn: ContextVar[bool] = ContextVar("_has_turn", default=False)
