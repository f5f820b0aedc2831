"""Telling the service manager that Station listens (``Type=notify`` of systemd, sd_notify(3)).

The manager names a socket in ``NOTIFY_SOCKET``; without one there is nobody to tell.
"""

from __future__ import annotations

import logging
import os
import socket

__all__ = ["tell_service_manager"]

_log = logging.getLogger(__name__)


def tell_service_manager(state: str = "READY=1") -> None:
    """Send ``state`` to whoever started this process and asked to be told; a failure is only logged."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # a socket without a file
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
            manager.connect(address)
            manager.sendall(state.encode())
    except OSError as error:
        _log.warning("the service manager cannot be told %s: %s", state, error.strerror)
