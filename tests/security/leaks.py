"""A pytest plugin: nothing secret that the run used may be in what the run wrote.

The tests' HTTP client and their servers say what is secret: whatever they sent or were given as a secret,
a token, a password, a cookie or a key. Every log record of the run, what servers wrote to standard error, the
audit of every test's database and the body of every error are kept, and searched for all of it when the run
ends. A secret that was found fails the run, and is named by where it was found and a fingerprint, never
repeated. Where pytest-xdist runs the tests in several processes, each searches what it has written itself.
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["LEAKS", "Leaks"]

MIN_LENGTH = 16
"""Shorter ones are found in innocent words."""

MIN_VARIETY = 8
"""So many characters must differ: tests of limits send one character many times, in all kinds of places."""

_WINDOW = 8
_EVERYTHING = 1  # a level that nobody else sets
# Below WARNING pymongo logs whole commands, and Tornado headers: `station.logging` never lets them
_QUIET = ("pymongo", "tornado.general", "asyncio", "fakeredis")
# The tests' own clients, which are not Station: requests_oauthlib logs the secrets that it sends
_FOREIGN = frozenset({"requests_oauthlib", "oauthlib", "urllib3", "httpx2", "httpcore2", "authlib"})
# Development's way to deliver a reset token is the developer's own log
_DELIVERS = "station.auth.links"
_ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


class Leaks:
    """What is secret, what was written, and what of the one is in the other."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._written: defaultdict[str, list[str]] = defaultdict(list)
        self._errors: set[tuple[str, str, str]] = set()

    def keep(self, *secrets: str | None) -> None:
        """Keep secrets; of a JWT its signature, which nothing else holds."""
        for secret in filter(None, secrets):
            *_, last = secret.split(".")
            if secret.count(".") == 2 and len(last) >= MIN_LENGTH:
                self._secrets.add(last)
            elif len(secret) >= MIN_LENGTH and len(set(secret)) >= MIN_VARIETY and not _is_alphabet(secret):
                self._secrets |= {secret, quote(secret), quote(secret, safe=""), repr(secret)[1:-1]}

    def write(self, where: str, text: str) -> None:
        """Remember what was written."""
        self._written[where].append(text)

    def answer(self, where: str, body: bytes, own_words: str) -> None:
        """Remember the body of an error, which may repeat what its sender wrote where no secret belongs."""
        self._errors.add((where, body.decode(errors="replace"), own_words))

    def found(self) -> list[str]:
        """Where something secret was written, sorted."""
        index = _index(self._secrets)
        leaks = set()
        for where, texts in self._written.items():
            leaks |= {f"{where}: {_fingerprint(secret)}" for secret in _search(index, "\n".join(texts))}
        for where, body, own_words in self._errors:
            repeated = _search(index, body) - _search(index, own_words)
            leaks |= {f"the body of an error, {where}: {_fingerprint(secret)}" for secret in repeated}
        return sorted(leaks)

    def size(self) -> tuple[int, int]:
        """How many secrets there are, and how many characters were written."""
        return len(self._secrets), sum(len(text) for texts in self._written.values() for text in texts)


def _is_alphabet(text: str) -> bool:
    """Whether it is every character in order, which tests of what is allowed send everywhere."""
    return sorted(text) == list(text)


def _index(secrets: set[str]) -> dict[str, list[tuple[int, str]]]:
    """The first windows of every secret.

    A text is looked at every ``_WINDOW`` characters, so one of the first ``_WINDOW`` windows is met.
    """
    index: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for secret in secrets:
        for offset in range(_WINDOW):
            index[secret[offset : offset + _WINDOW]].append((offset, secret))
    return dict(index)


def _search(index: dict[str, list[tuple[int, str]]], text: str) -> set[str]:
    """Every secret that is in the text."""
    found = set()
    for place in range(0, len(text), _WINDOW):
        for offset, secret in index.get(text[place : place + _WINDOW], ()):
            if place >= offset and text.startswith(secret, place - offset):
                found.add(secret)
    return found


def _fingerprint(secret: str) -> str:
    digest = hashlib.sha256(secret.encode(errors="replace")).hexdigest()
    return f"a secret of {len(secret)} characters, sha256 {digest[:12]}"


class _Listener(logging.Handler):
    """Hears every record of the run, at every level."""

    def __init__(self, leaks: Leaks) -> None:
        super().__init__()
        self.where = "the log before the first test"
        self._leaks = leaks
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == _DELIVERS or record.name.partition(".")[0] in _FOREIGN:
            return
        try:
            extra = [f"{name}={value!r}" for name, value in vars(record).items() if name not in _ORDINARY]
            self._leaks.write(self.where, " ".join([self.format(record), *extra]))
        except Exception:
            self.handleError(record)

    def listen(self) -> None:
        """Listen to the root, wherever a test has left it."""
        root = logging.getLogger()
        root.setLevel(_EVERYTHING)
        if self not in root.handlers:
            root.addHandler(self)
        for name in _QUIET:
            logging.getLogger(name).setLevel(logging.WARNING)


def _as_before(record: logging.LogRecord) -> bool:
    """Whether ``caplog`` would get the record if nobody listened: WARNING, unless a test asks for more."""
    return record.levelno >= logging.WARNING or logging.getLogger().level != _EVERYTHING


class _Findings:
    """What all processes of the run have found, and in how much."""

    def __init__(self) -> None:
        self.leaks: set[str] = set()
        self.secrets = self.characters = 0

    def add(self, leaks: list[str], secrets: int, characters: int) -> None:
        """Add what one process has found."""
        self.leaks.update(leaks)
        self.secrets += secrets
        self.characters += characters


LEAKS = pytest.StashKey[Leaks]()
_LISTENER = pytest.StashKey[_Listener]()
_FINDINGS = pytest.StashKey[_Findings]()
_OF_A_WORKER = "leaks"


@pytest.fixture(scope="session")
def leaks(request: pytest.FixtureRequest) -> Leaks:
    """The run's: tell it what is secret and what was written."""
    return request.config.stash[LEAKS]


def pytest_configure(config: pytest.Config) -> None:
    """Begin to listen."""
    config.stash[LEAKS] = Leaks()
    config.stash[_FINDINGS] = _Findings()
    config.stash[_LISTENER] = _Listener(config.stash[LEAKS])


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let no test see more in its ``caplog`` because everything is listened to."""
    # pytest has no other way to its handler, which is the same in all tests
    of_pytest: Any = session.config.pluginmanager.get_plugin("logging-plugin")
    handler = of_pytest.caplog_handler
    handler.addFilter(lambda record: handler.level > 0 or _as_before(record))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Listen to this test, from before pytest's own listeners are there."""
    listener = item.config.stash[_LISTENER]
    listener.where = f"the log of {item.nodeid}"
    listener.listen()
    return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None]:
    """Search when all fixtures are gone, servers included; fail the run for what is found."""
    yield
    if session.exitstatus not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
        return
    run, findings = session.config.stash[LEAKS], session.config.stash[_FINDINGS]
    found = (run.found(), *run.size())
    findings.add(*found)
    if hasattr(session.config, "workeroutput"):  # of pytest-xdist, which sends it on
        session.config.workeroutput[_OF_A_WORKER] = found
    elif findings.leaks:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


class _Worker(Protocol):
    """A process of pytest-xdist, as the run sees it."""

    config: pytest.Config


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: _Worker) -> None:
    """Take what a process of pytest-xdist has found; one that crashed has failed the run itself."""
    output = getattr(node, "workeroutput", {})
    node.config.stash[_FINDINGS].add(*output.get(_OF_A_WORKER, ([], 0, 0)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was found, and where."""
    findings = config.stash[_FINDINGS]
    if findings.leaks:
        terminalreporter.section("secrets were written", red=True)
        for leak in sorted(findings.leaks):
            terminalreporter.line(leak)
    elif findings.secrets:
        secrets, characters = findings.secrets, findings.characters
        terminalreporter.line(
            f"None of {secrets} secrets is in the {characters} characters that the run wrote."
        )
