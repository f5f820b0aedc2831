"""What watches the whole run for secrets finds them, and fails the run."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from exchange import own_words, secrets_of
from leaks import Leaks
from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.httputil import HTTPHeaders

if TYPE_CHECKING:
    from tests.conftest import Wire

SECRET = "a-secret/that+is=only:in&this%file-0123456789"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJib3QifQ.c2lnbmF0dXJlLW9mLWEtdG9rZW4tdGhhdC1pcy1ub25l"

RUN = """
import logging

def test_{name}(leaks):
    leaks.keep({secret!r})
    {body}
"""


@pytest.fixture
def leaks_here() -> Leaks:
    found = Leaks()
    found.keep(SECRET, TOKEN)
    return found


@pytest.mark.parametrize("padding", range(9))
@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        TOKEN.rpartition(".")[2],
        f"Authorization: Bearer {TOKEN}",
    ],
)
def test_a_secret_is_found_wherever_it_stands(leaks_here: Leaks, written: str, padding: int) -> None:
    leaks_here.write("the log", "x" * padding + written + "y" * padding)
    [found] = leaks_here.found()
    assert found.startswith("the log: ")
    assert SECRET not in found
    assert TOKEN not in found


def test_what_is_no_secret_is_not_found(leaks_here: Leaks) -> None:
    leaks_here.keep("short", None, "")
    leaks_here.write("the log", f"short {SECRET[:-1]} {TOKEN.rpartition('.')[0]}")
    assert leaks_here.found() == []


def test_an_error_may_repeat_what_its_sender_wrote_in_the_open(leaks_here: Leaks) -> None:
    body = f"The client may not have the scope {SECRET}.".encode()
    leaks_here.answer("POST /auth/token", body, f"scope={SECRET}")
    assert leaks_here.found() == []
    leaks_here.answer("POST /auth/token", body, "scope=")
    assert len(leaks_here.found()) == 1


def test_the_secrets_of_an_exchange() -> None:
    request = HTTPRequest(
        "http://station/auth/token?q=own",
        "POST",
        HTTPHeaders(
            {
                "Authorization": "Basic Ym90OmEtc2VjcmV0",
                "Cookie": "a=one; b=two",
                "x-internal-api-key": "the-key",
                "Content-Type": "application/x-www-form-urlencoded",
            }
        ),
        "client_secret=in%20body&scope=words",
    )
    response = HTTPResponse(request, 200, HTTPHeaders({"Set-Cookie": "c=three; Path=/"}))
    found = set(secrets_of(request, response))
    assert found == {"the-key", "Ym90OmEtc2VjcmV0", "a-secret", "one", "two", "three", "in body"}
    assert "q=own" in own_words(request)
    assert "words" in own_words(request)
    assert "in body" not in own_words(request)


@pytest.mark.parametrize("processes", ["0", "1"])
@pytest.mark.parametrize(
    ("name", "body", "fails"),
    [
        ("log", "logging.getLogger('station.notes').debug('got %s', {secret!r})", True),
        ("extra", "logging.getLogger('station').info('got', extra=dict(audit=[{secret!r}]))", True),
        ("written", "leaks.write('the audit', {secret!r})", True),
        ("error", "leaks.answer('GET /', {secret!r}.encode(), '')", True),
        ("nothing", "logging.getLogger('station').info('nothing')", False),
    ],
)
def test_a_run_that_wrote_a_secret_fails(
    tmp_path: Path, name: str, body: str, *, processes: str, fails: bool
) -> None:
    """A run of its own: every test in it passes, and the run does not."""
    (tmp_path / "conftest.py").write_text("")
    (tmp_path / "test_it.py").write_text(
        RUN.format(name=name, secret=SECRET, body=body.format(secret=SECRET))
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "leaks",
        "-p",
        "no:cacheprovider",
        "-n",
        processes,
        str(tmp_path),
    ]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parent)}
    run = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert "1 passed" in run.stdout, run.stdout + run.stderr
    assert run.returncode == int(fails), run.stdout
    assert ("secrets were written" in run.stdout) == fails
    assert SECRET not in run.stdout


@pytest.mark.gen_test
async def test_the_http_client_of_the_tests_tells_its_secrets(wire: Wire, leaks: Leaks) -> None:
    before, _ = leaks.size()
    logging.getLogger("station.notes").debug("this run is listened to")
    _, written = leaks.size()
    secret = f"{before}-a-secret-of-this-test-0123456789"
    await wire.access_token(await wire.register("told-bot", clientSecret=secret))
    assert leaks.size()[0] > before
    logging.getLogger("station.notes").debug("and again")
    assert leaks.size()[1] > written
