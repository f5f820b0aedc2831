"""What Station is compared with: token endpoints that others wrote, each installed and started here."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bench.run import Missing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["CLIENT_ID", "FLASK", "NODE", "PEERS", "SECRET", "Peer"]

CLIENT_ID = "bench-bot"
SECRET = "a-client-secret-for-the-benchmark-0123456789"
NODE = "node-oidc-provider, ES256"
FLASK = "Authlib on Flask, ES256"

_HERE = Path(__file__).parent
_ENVIRONMENT = {"BENCH_CLIENT_ID": CLIENT_ID, "BENCH_CLIENT_SECRET": SECRET}
_MACHINES = {"x86_64": "x64", "aarch64": "arm64"}


@dataclasses.dataclass(frozen=True, slots=True)
class Peer:
    """A server that prints its port once it listens; its token endpoint is ``/token``."""

    command: Sequence[str]
    directory: Path
    environment: Mapping[str, str] = dataclasses.field(default_factory=lambda: _ENVIRONMENT)


def node_peer(cache: Path) -> Peer:
    """node-oidc-provider on the Node.js that it asks for, both from npm; raises `Missing`."""
    npm = shutil.which("npm")
    if npm is None:
        raise Missing("needs npm: apt-get install npm")
    directory = cache / "node"
    shutil.copytree(_HERE / "node", directory, dirs_exist_ok=True)
    lock = hashlib.sha256((directory / "package-lock.json").read_bytes()).hexdigest()
    stamp = directory / "installed"
    if not stamp.exists() or stamp.read_text() != lock:
        install = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(install, cwd=directory, capture_output=True, text=True, check=False)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "ERR!" in line or "error" in line]
            raise Missing(f"npm ci failed: {(errors or ['without a word'])[0]}")
        stamp.write_text(lock)
    machine = _MACHINES.get(platform.machine(), platform.machine())
    shipped = directory / "node_modules" / f"node-{sys.platform}-{machine}" / "bin" / "node"
    node = str(shipped) if shipped.exists() else shutil.which("node")
    if node is None:
        raise Missing("needs Node.js 22 or later: apt-get install nodejs")
    return Peer([node, "server.mjs"], directory)


def flask_peer(_cache: Path) -> Peer:
    """Authlib on Flask under gunicorn, one sync worker, its fastest kind here; raises `Missing`."""
    if not all(map(find_spec, ("authlib", "flask", "gunicorn"))):
        raise Missing("needs the extra: pip install 'station[bench]'")
    configuration = str(_HERE / "gunicorn_conf.py")
    command = [sys.executable, "-m", "gunicorn", "--config", configuration, "bench.peers.flask_authlib:app"]
    return Peer(command, Path.cwd(), {**_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(sys.path)})


PEERS: Mapping[str, Callable[[Path], Peer]] = {NODE: node_peer, FLASK: flask_peer}
"""How each is installed; what must be fetched is kept in the cache."""
