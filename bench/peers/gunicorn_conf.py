"""How gunicorn serves `bench.peers.flask_authlib`: one worker, no log, and the port on standard output."""

from __future__ import annotations

from typing import Any

bind = "127.0.0.1:0"
workers = 1
# it closes every connection, and yet issues more tokens than gthread does with 1, 2, 4 or 8 threads
worker_class = "sync"
loglevel = "error"


def when_ready(server: Any) -> None:
    """Tell the port (called by gunicorn)."""
    print(server.LISTENERS[0].sock.getsockname()[1], flush=True)
