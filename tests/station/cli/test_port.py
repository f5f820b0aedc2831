from __future__ import annotations

import socket

import pytest
from tornado.netutil import bind_sockets

from station.cli.port import reserve_port
from station.errors import StartError

# Tornado leaves a socket that cannot be bound to the garbage collector
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
TAKEN = "^Station cannot listen on 127.0.0.1 port [0-9]+: Address already in use; choose another "


def test_what_is_reserved_is_nobody_elses() -> None:
    with reserve_port("127.0.0.1", 0) as held:
        with pytest.raises(StartError, match=TAKEN), reserve_port("127.0.0.1", held.number):
            pass
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", held.number), timeout=10)
    with reserve_port("127.0.0.1", held.number) as again:
        assert again.number == held.number


def test_every_worker_listens_on_what_is_reserved() -> None:
    with reserve_port("127.0.0.1", 0) as held:
        first, second = (bind_sockets(held.number, "127.0.0.1", reuse_port=True)[0] for _ in range(2))
        with first, second, pytest.raises(StartError, match=TAKEN), reserve_port("127.0.0.1", held.number):
            pass


def test_a_name_with_several_addresses_has_one_port() -> None:
    with reserve_port("localhost", 0) as held:
        assert {one.getsockname()[1] for one in held.sockets} == {held.number}


def test_what_is_released_is_free() -> None:
    with reserve_port("127.0.0.1", 0) as held:
        held.release()
        with reserve_port("127.0.0.1", held.number):
            pass
