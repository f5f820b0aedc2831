"""The shipped nginx configuration, before a pair of Stations: ports, paths and addresses are other ones."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pair import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pair import Pair

__all__ = ["nginx_before"]

SHIPPED = Path(__file__).parents[3] / "deploy" / "nginx" / "station.conf"


def rendered(shipped: str, changes: Mapping[str, str]) -> str:
    """The shipped file with these parts changed, each of which is there."""
    for before, after in changes.items():
        assert before in shipped, f"the shipped file has no {before}"
        shipped = shipped.replace(before, after)
    return shipped


@contextlib.contextmanager
def nginx_before(pair: Pair) -> Iterator[None]:
    """Run nginx with the shipped configuration before both Stations."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("needs nginx: apt-get install nginx")
    directory = pair.directory / "nginx"
    directory.mkdir()
    changes = {
        "listen 80;": f"listen 127.0.0.1:{pair.http};",
        "listen [::]:80;": "",
        "listen 443 ssl http2;": f"listen 127.0.0.1:{pair.https} ssl http2;",
        "listen [::]:443 ssl http2;": "",
        "127.0.0.1:3001": f"127.0.0.1:{pair.ports['a']}",
        "127.0.0.1:3002": f"127.0.0.1:{pair.ports['b']}",
        "/etc/nginx/station/fullchain.pem": str(pair.certificate),
        "/etc/nginx/station/privkey.pem": str(pair.directory / "key.pem"),
        "/var/log/nginx/station.log": str(directory / "access.log"),
    }
    shipped = SHIPPED.read_text()
    (directory / "station.conf").write_text(rendered(shipped, changes))
    temporary = "".join(
        f"{what}_temp_path {directory}/{what};\n"
        for what in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (directory / "nginx.conf").write_text(
        f"{'user root;' if os.geteuid() == 0 else ''}\n"
        f"daemon off;\nworker_processes 1;\npid {directory}/pid;\nerror_log {directory}/error.log notice;\n"
        "events { worker_connections 1024; }\n"
        f"http {{\naccess_log off;\n{temporary}include {directory}/station.conf;\n}}\n"
    )
    command = [program, "-p", str(directory), "-c", str(directory / "nginx.conf")]
    tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as nginx:
        try:
            wait_until_listening(pair.https)
            yield
        finally:
            nginx.terminate()
            nginx.wait(PATIENCE)


def wait_until_listening(port: int) -> None:
    """Wait until somebody accepts connections there."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError(f"nobody listens on port {port}")
