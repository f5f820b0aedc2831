"""Real Redis servers in every form that ``REDIS_URL`` knows, made to be broken.

A test that asks for ``redis_servers`` runs once for each form; one that asks for ``redis_sentinel``, say, has
that one. The servers live for the whole run on free ports of the loopback with their data in temporary
directories, and are emptied before each test. Their methods block: call them with `asyncio.to_thread` while
clients go on. ::

    redis_sentinel.master.kill()          # this process of the form
    redis_sentinel.wait_for_new_master()
    redis_single.pause()                  # every process of the form
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import shutil
import signal
import socket
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis.backoff import NoBackoff
from redis.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

# every character that must be encoded in a URL
PASSWORD = "a/pass?word#with@every:trap%1,"
SENTINEL_PASSWORD = "another@one/for:sentinels"
PATIENCE = 30.0
HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the machine to these tests: what runs beside them would take the time that a bound grants."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("alone")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(done: Callable[[], bool], what: str) -> None:
    """Wait for something that only asking tells."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with contextlib.suppress(redis.RedisError):
            if done():
                return
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {PATIENCE:.0f} s")


class RedisProcess:
    """One ``redis-server`` with these ``settings``; ``access`` is how redis-py's client gets in."""

    def __init__(
        self, directory: Path, settings: str, access: Mapping[str, Any], *, sentinel: bool = False
    ) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.port = int(access.get("port", 0))
        self._file = directory / "redis.conf"
        start = f'bind 127.0.0.1\ndir "{directory}"\nlogfile "{directory}/log"\nshutdown-timeout 0'
        self._file.write_text(f"{start}\n{settings}\n")
        self._access = access
        self._words = ["redis-server", str(self._file), *(["--sentinel"] if sentinel else [])]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether there is a process, paused or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process on the data that it left, and wait for its answer."""
        if not self.running:
            self._process = subprocess.Popen(self._words, stdin=subprocess.DEVNULL)
        until(lambda: self.ask("PING") in {True, b"PONG"}, f"an answer of {self.directory.name}")

    def stop(self) -> None:
        """End the process as an operator does."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the process at once (``kill -9``)."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Let it hang: its connections stay, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def ask(self, *command: object) -> Any:
        """Send one command on a connection of its own."""
        with redis.Redis(**self._access, protocol=2, socket_timeout=2, retry=Retry(NoBackoff(), 0)) as client:
            return client.execute_command(*command)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        end = time.monotonic() + PATIENCE
        while self.running and time.monotonic() < end:
            self._signal(
                number
            )  # again and again: while it writes a first file of its data, it does not stop
            self.resume()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.5)
        assert not self.running, f"{self.directory.name} does not end"

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(number)


class RedisServers:
    """A form of Redis: its ``processes`` hold data, and ``url`` is what ``REDIS_URL`` says."""

    name: str
    url: str

    def __init__(self) -> None:
        self.processes: list[RedisProcess] = []

    def start(self) -> None:
        """Start what does not run, and wait until all of it works together."""
        for process in self.processes:
            process.resume()
            process.start()
        self.wait_until_well()

    def stop(self) -> None:
        """End every process as an operator does."""
        self._each(RedisProcess.stop)

    def kill(self) -> None:
        """End every process at once."""
        self._each(RedisProcess.kill)

    def pause(self) -> None:
        """Let every process hang."""
        self._each(RedisProcess.pause)

    def resume(self) -> None:
        """Let every process go on after `pause`."""
        self._each(RedisProcess.resume)

    def restart(self) -> None:
        """Stop all and start all."""
        self.stop()
        self.start()

    def empty(self) -> None:
        """Lose all data."""
        for process in self.masters():
            process.ask("FLUSHALL")

    def masters(self) -> list[RedisProcess]:
        """The processes that take writes now."""
        return self.processes

    def wait_until_well(self) -> None:
        """Wait until the form is complete: replicas follow, Sentinels know each other, slots are covered."""

    def close(self) -> None:
        """End everything that was started."""
        self.kill()

    def _each(self, act: Callable[[RedisProcess], None]) -> None:
        for process in self.processes:
            act(process)


class SingleRedis(RedisServers):
    """One server with a password."""

    name = "single"

    def __init__(self, directory: Path) -> None:
        super().__init__()
        port = free_port()
        settings = f'port {port}\nappendonly yes\nsave ""\nrequirepass "{PASSWORD}"'
        self.processes = [RedisProcess(directory / "redis", settings, {"port": port, "password": PASSWORD})]
        self.url = f"redis://:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/3"


class SocketRedis(RedisServers):
    """One server that listens on a socket of the file system alone."""

    name = "socket"

    def __init__(self, directory: Path) -> None:
        super().__init__()
        path = f"{directory}/redis.sock"
        settings = f'port 0\nunixsocket "{path}"\nappendonly yes\nsave ""\nrequirepass "{PASSWORD}"'
        access = {"unix_socket_path": path, "password": PASSWORD}
        self.processes = [RedisProcess(directory / "redis", settings, access)]
        self.url = f"unix://:{quote(PASSWORD, safe='')}@{path}?db=3"


class Tls:
    """What servers and clients need to speak TLS alone, with certificates on both sides."""

    def __init__(self, directory: Path) -> None:
        authority, certificate, key = make_certificates(directory)
        self.settings = (
            f"tls-auth-clients yes\ntls-replication yes\ntls-cluster yes\n"
            f"tls-ca-cert-file {authority}\ntls-cert-file {certificate}\ntls-key-file {key}"
        )
        files = {"ssl_ca_certs": str(authority), "ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
        self.access = {"ssl": True, **files}
        self.options = "&".join(f"{name}={path}" for name, path in files.items())


class TlsRedis(RedisServers):
    """One server that speaks TLS alone, with a named user."""

    name = "tls"

    def __init__(self, directory: Path) -> None:
        super().__init__()
        port, tls = free_port(), Tls(directory)
        settings = (
            f'port 0\ntls-port {port}\n{tls.settings}\nappendonly yes\nsave ""\n'
            f'user default off\nuser station on ">{PASSWORD}" ~* &* +@all'
        )
        access = {
            "host": "localhost",
            "port": port,
            "username": "station",
            "password": PASSWORD,
            **tls.access,
        }
        self.processes = [RedisProcess(directory / "redis", settings, access)]
        self.url = f"rediss://station:{quote(PASSWORD, safe='')}@localhost:{port}?{tls.options}"


class SentinelRedis(RedisServers):
    """A master, two replicas, and three Sentinels with a password of their own.

    A write needs a replica that follows, so that a master that was cut off takes none for long.
    """

    name = "sentinel"
    tls = False
    SERVICE = "station"

    def __init__(self, directory: Path) -> None:
        super().__init__()
        tls = Tls(directory) if self.tls else None
        ports = [free_port() for _ in range(3)]
        for number, port in enumerate(ports):
            settings = (
                f'{listening(port, tls)}\nappendonly yes\nsave ""\n'
                f'requirepass "{PASSWORD}"\nmasterauth "{PASSWORD}"\n'
                "min-replicas-to-write 1\nmin-replicas-max-lag 3\nrepl-diskless-sync-delay 0\n"
                "repl-ping-replica-period 1\n" + (f"replicaof 127.0.0.1 {ports[0]}" if number else "")
            )
            access = {"port": port, "password": PASSWORD, **(tls.access if tls else {})}
            self.processes.append(RedisProcess(directory / f"redis{number}", settings, access))
        self.sentinels = []
        for number in range(3):
            port, service = free_port(), self.SERVICE
            settings = (
                f'{listening(port, tls)}\nrequirepass "{SENTINEL_PASSWORD}"\n'
                f'sentinel sentinel-pass "{SENTINEL_PASSWORD}"\n'
                f"sentinel monitor {service} 127.0.0.1 {ports[0]} 2\n"
                f'sentinel auth-pass {service} "{PASSWORD}"\nsentinel parallel-syncs {service} 2\n'
                f"sentinel down-after-milliseconds {service} 1000\nsentinel failover-timeout {service} 3000"
            )
            access = {"port": port, "password": SENTINEL_PASSWORD, **(tls.access if tls else {})}
            self.sentinels.append(
                RedisProcess(directory / f"sentinel{number}", settings, access, sentinel=True)
            )
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        self.url = (
            f"{'rediss' if tls else 'redis'}+sentinel://:{quote(PASSWORD, safe='')}@{hosts}/{self.SERVICE}/3"
            f"?sentinel_password={quote(SENTINEL_PASSWORD, safe='')}" + (f"&{tls.options}" if tls else "")
        )

    @property
    def master(self) -> RedisProcess:
        """The process that the Sentinels name."""
        port = self._announced(self.sentinels[0])
        return next(process for process in self.processes if process.port == port)

    def masters(self) -> list[RedisProcess]:
        return [self.master]

    def start(self) -> None:
        for process in [*self.processes, *self.sentinels]:
            process.resume()
            process.start()
        self.wait_until_well()

    def promote(self) -> RedisProcess:
        """Let the Sentinels promote a replica of a master that works; returns the new master."""
        before = self.master
        until(
            lambda: self.sentinels[0].ask("SENTINEL", "FAILOVER", self.SERVICE) in {True, b"OK"}, "failover"
        )
        return self.wait_for_new_master(before)

    def wait_for_new_master(self, before: RedisProcess) -> RedisProcess:
        """Wait until every Sentinel names another master than this one."""
        until(
            lambda: before.port not in (ports := {*map(self._announced, self.sentinels)}) and len(ports) == 1,
            "the announcement of a new master",
        )
        return self.master

    def wait_until_well(self) -> None:
        def agree() -> bool:
            states = [self._about(sentinel) for sentinel in self.sentinels]
            return (
                all(
                    (state["num-slaves"], state["num-other-sentinels"], state["flags"])
                    == ("2", "2", "master")
                    for state in states
                )
                and len({state["port"] for state in states}) == 1
            )

        until(agree, "agreement of the Sentinels")
        until(lambda: int(self.master.ask("INFO", "replication")["connected_slaves"]) == 2, "replication")
        until(
            lambda: self.master.ask("INFO", "replication").get("min_slaves_good_slaves") == 2, "good replicas"
        )

    def close(self) -> None:
        for process in [*self.sentinels, *self.processes]:
            process.kill()

    def _announced(self, sentinel: RedisProcess) -> int:
        return int(sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.SERVICE)[1])

    def _about(self, sentinel: RedisProcess) -> dict[str, str]:
        words = [word.decode() for word in sentinel.ask("SENTINEL", "MASTER", self.SERVICE)]
        return dict(zip(words[::2], words[1::2], strict=True))


class SentinelTlsRedis(SentinelRedis):
    """The same with TLS everywhere."""

    name = "sentinel-tls"
    tls = True


class ClusterRedis(RedisServers):
    """Three masters, each with a replica that takes over when it dies."""

    name = "cluster"
    tls = False
    NODE_TIMEOUT_MS = 1500

    def __init__(self, directory: Path) -> None:
        super().__init__()
        tls = Tls(directory) if self.tls else None
        self._buses = [free_port() for _ in range(6)]
        for number, bus in enumerate(self._buses):
            port = free_port()
            settings = (
                f'{listening(port, tls)}\nappendonly yes\nsave ""\n'
                f'requirepass "{PASSWORD}"\nmasterauth "{PASSWORD}"\n'
                f"cluster-enabled yes\ncluster-port {bus}\ncluster-node-timeout {self.NODE_TIMEOUT_MS}\n"
                "cluster-replica-validity-factor 0\nrepl-diskless-sync-delay 0\nrepl-ping-replica-period 1"
            )
            access = {"port": port, "password": PASSWORD, **(tls.access if tls else {})}
            self.processes.append(RedisProcess(directory / f"node{number}", settings, access))
        hosts = ",".join(f"127.0.0.1:{process.port}" for process in self.processes[:2])
        scheme, options = ("rediss+cluster", f"?{tls.options}") if tls else ("redis+cluster", "")
        self.url = f"{scheme}://:{quote(PASSWORD, safe='')}@{hosts}{options}"
        self._formed = False

    def masters(self) -> list[RedisProcess]:
        running = [process for process in self.processes if process.running]
        return [process for process in running if process.ask("ROLE")[0] == b"master"]

    def master_of(self, key: str) -> RedisProcess:
        """The process that has this key's slot, as the others say."""
        slot = int(self._asked().ask("CLUSTER", "KEYSLOT", key))
        for first, last, master, *_ in self._asked().ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(process for process in self.processes if process.port == master[1])
        raise AssertionError(f"nobody has the slot {slot}")

    def start(self) -> None:
        for process in self.processes:
            process.resume()
            process.start()
        if not self._formed:
            self._form()
        self.wait_until_well()

    def wait_for_new_master(self, before: RedisProcess) -> None:
        """Wait until all slots that this process had are somebody else's, for everybody."""

        def moved() -> bool:
            others = [process for process in self.processes if process is not before and process.running]
            return all(
                process.ask("CLUSTER INFO")["cluster_state"] == "ok"
                and before.port not in {slots[2][1] for slots in process.ask("CLUSTER", "SLOTS")}
                for process in others
            )

        until(moved, "the election of a new master")

    def promote(self, key: str) -> RedisProcess:
        """Let the replica of the key's master, which works, take over; returns the new master."""
        before = self.master_of(key)
        name = before.ask("CLUSTER", "MYID").decode()
        replica = next(
            process
            for process in self.processes
            if f"slave {name}" in process.ask("CLUSTER", "NODES").decode().split("myself,")[1].splitlines()[0]
        )
        replica.ask("CLUSTER", "FAILOVER")
        self.wait_for_new_master(before)
        return replica

    def wait_until_well(self) -> None:
        def whole() -> bool:
            for process in self.processes:
                about = process.ask("CLUSTER INFO")
                role = process.ask("ROLE")
                if about["cluster_state"] != "ok" or about["cluster_known_nodes"] != "6":
                    return False
                if role[0] == b"slave" and role[3] != b"connected":
                    return False
                if any(len(slots) < 4 for slots in process.ask("CLUSTER", "SLOTS")):
                    return False
            return len(self.masters()) == 3

        until(whole, "a whole cluster")

    def _asked(self) -> RedisProcess:
        return next(process for process in self.processes if process.running)

    def _form(self) -> None:
        first = self.processes[0]
        bounds = [0, 5461, 10923, 16384]
        for number, process in enumerate(self.processes):
            process.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            if number < 3:
                process.ask("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1)
            if number:
                process.ask("CLUSTER", "MEET", "127.0.0.1", first.port, self._buses[0])
        for process in self.processes:
            until(partial(_knows_all, process), "a meeting")
        for master, replica in zip(self.processes[:3], self.processes[3:], strict=True):
            until(partial(_follows, replica, master.ask("CLUSTER", "MYID")), "replication")
        self._formed = True


class ClusterTlsRedis(ClusterRedis):
    """The same with TLS everywhere."""

    name = "cluster-tls"
    tls = True


def listening(port: int, tls: Tls | None) -> str:
    """The settings of a server that listens there."""
    return f"port 0\ntls-port {port}\n{tls.settings}" if tls else f"port {port}"


def _knows_all(node: RedisProcess) -> bool:
    return bool(node.ask("CLUSTER INFO")["cluster_known_nodes"] == "6")


def _follows(replica: RedisProcess, master: bytes) -> bool:
    return replica.ask("CLUSTER", "REPLICATE", master) in {True, b"OK"}


def make_certificates(directory: Path) -> tuple[Path, Path, Path]:
    """An authority, a certificate of it for the loopback, for servers and clients, and its key."""
    now = datetime.datetime.now(datetime.UTC)

    def certify(
        name: str,
        key: ec.EllipticCurvePrivateKey,
        issuer: str,
        by: ec.EllipticCurvePrivateKey,
        *,
        authority: bool,
    ) -> x509.Certificate:
        def called(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=authority,
            crl_sign=authority,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        return (
            x509.CertificateBuilder()
            .subject_name(called(name))
            .issuer_name(called(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False
            )
            .sign(by, hashes.SHA256())
        )

    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    pem = serialization.Encoding.PEM
    files = {
        "ca.pem": certify("tests", authority_key, "tests", authority_key, authority=True).public_bytes(pem),
        "server.pem": certify("server", key, "tests", authority_key, authority=False).public_bytes(pem),
        "server.key": key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    }
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory / "ca.pem", directory / "server.pem", directory / "server.key"


FORMS: dict[str, type[RedisServers]] = {
    form.name: form
    for form in (
        SingleRedis,
        SocketRedis,
        TlsRedis,
        SentinelRedis,
        SentinelTlsRedis,
        ClusterRedis,
        ClusterTlsRedis,
    )
}


@pytest.fixture(scope="session")
def all_redis_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], RedisServers]]:
    """Starts a form of Redis when it is first asked for, and finds it well again later."""
    started: dict[str, RedisServers] = {}

    def ask(name: str) -> RedisServers:
        if shutil.which("redis-server") is None:
            pytest.skip("needs Debian's Redis: apt-get install redis-server redis-sentinel")
        if name not in started:
            started[name] = FORMS[name](tmp_path_factory.mktemp(name))  # type: ignore[call-arg] # of each form
        started[name].start()
        started[name].empty()
        return started[name]

    yield ask
    for servers in started.values():
        servers.close()


@pytest.fixture(params=FORMS)
def redis_servers(
    request: pytest.FixtureRequest, all_redis_servers: Callable[[str], RedisServers]
) -> RedisServers:
    """Redis in each form."""
    return all_redis_servers(request.param)


@pytest.fixture
def redis_single(all_redis_servers: Callable[[str], RedisServers]) -> SingleRedis:
    """One server."""
    return cast("SingleRedis", all_redis_servers("single"))


@pytest.fixture
def redis_sentinel(all_redis_servers: Callable[[str], RedisServers]) -> SentinelRedis:
    """A master, two replicas and three Sentinels."""
    return cast("SentinelRedis", all_redis_servers("sentinel"))


@pytest.fixture
def redis_cluster(all_redis_servers: Callable[[str], RedisServers]) -> ClusterRedis:
    """Three masters with a replica each."""
    return cast("ClusterRedis", all_redis_servers("cluster"))
