"""``station conformance`` as it is typed."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import os
import re
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import jsonschema
import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tornado.httpclient import HTTPClient, HTTPResponse

from plugins.oauth_m2m.commands import conformance
from plugins.oauth_m2m.conformance.masking import MASK

if TYPE_CHECKING:
    from leaks import Leaks

    from tests.conftest import Server
    from tests.plugins.oauth_m2m.conformance.conftest import Passing, Proxy

ROOT = Path(__file__).parents[4]
ADMIN_KEY = "an-admin-key-for-the-tests-only-0123456789"
SECRET = "a-client-secret-for-the-tests-0123456789"
KEY = "STATION_CONFORMANCE_ADMIN_KEY"


class Type(Protocol):
    """Type the command with the admin key in the environment, unless told otherwise."""

    def __call__(self, *arguments: str, environ: dict[str, str] | None = None) -> Result: ...


@pytest.fixture
def type_(leaks: Leaks) -> Type:
    """See `Type`."""

    def run(*arguments: str, environ: dict[str, str] | None = None) -> Result:
        env = {KEY: ADMIN_KEY} if environ is None else environ
        result = CliRunner().invoke(conformance, arguments, env=env)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        leaks.write("the output of station conformance", result.output)
        return result

    return run


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    """A file with the admin key."""
    file = tmp_path / "admin.key"
    file.write_text(f"{ADMIN_KEY}\n")
    return str(file)


def ask(server: Server, path: str, **request: Any) -> HTTPResponse:
    """Ask the admin interface."""
    client = HTTPClient()
    headers = {"x-internal-api-key": ADMIN_KEY, "Content-Type": "application/json"}
    try:
        return client.fetch(f"{server.url}/oauth-clients{path}", headers=headers, **request)
    finally:
        client.close()


def clients_of(server: Server) -> list[str]:
    """The clients of the rules that are registered."""
    answer = ask(server, "?search=conformance-&limit=200")
    return [one["clientId"] for one in json.loads(answer.body)["clients"]]


def documented_schema() -> dict[str, Any]:
    """The JSON Schema in docs/conformance.md."""
    [text] = re.findall(
        r"<!-- schema -->\n```json\n(.*?)```", (ROOT / "docs/conformance.md").read_text(), re.DOTALL
    )
    schema: dict[str, Any] = json.loads(text)
    return schema


def test_json_of_a_station_that_passes(server: Server, type_: Type, key_file: str) -> None:
    result = type_(
        server.url, "--json", "--admin-key-file", key_file, "--only", "t", "--only", "C7,A1", environ={}
    )
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    schema = documented_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    assert (document["schema"], document["url"], document["clientsLeft"]) == (1, server.url, [])
    assert document["summary"] == {"passed": 16, "failed": 0, "skipped": 3}
    rows = {row["row"]: row for row in document["rows"]}
    assert rows["C7"]["level"] == "M"
    assert rows["C7"]["reason"] is rows["C7"]["request"] is rows["C7"]["unseen"] is None
    assert "logs" in rows["T12"]["unseen"]
    assert rows["A1"]["reason"] == "reserved for a later capability"
    assert clients_of(server) == []


def test_text_of_a_station_that_passes(server: Server, type_: Type) -> None:
    result = type_(server.url, "--only", "R,R6,C16,M")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert not [line for line in lines if line.endswith(" ")]
    assert [line for line in lines if line and " " * 3 not in line and ":" not in line] == [
        *("Client authentication", "Success response", "Metadata / JWKS")
    ]
    assert re.search(r"^R1 +M +passed +200, `application/json`", result.stdout, re.MULTILINE)
    assert re.search(r"^R6 +B +skipped +needs to take a store away", result.stdout, re.MULTILINE)
    assert re.search(r"^C16 +M +skipped +.*--flood", result.stdout, re.MULTILINE)
    assert re.fullmatch(rf"{server.url}: 15 passed, 0 failed, 2 skipped in \d+ s", lines[-1])
    assert [line for line in result.stderr.splitlines() if line] == [
        *("Client authentication ...", "Success response ...", "Metadata / JWKS ...")
    ]


def test_verbose_says_what_nobody_sees(server: Server, type_: Type) -> None:
    result = type_(server.url, "--only", "T12", "-v")
    assert "Not seen: that the secret is absent from the server's logs." in result.stdout
    assert type_(server.url, "--only", "T12").stdout.count("Not seen") == 0


def remember_scope(p: Passing) -> None:
    if "access_token" in p.json:
        p.members(refresh_token="a-refresh-token-that-is-secret-too")


@pytest.mark.gen_test
async def test_a_failure_shows_the_exchange_without_secrets(
    server: Server, proxy: Proxy, type_: Type
) -> None:
    async with proxy(server.url, after=remember_scope) as url:
        result = await asyncio.to_thread(type_, url, "--only", "R4,R5")
        as_json = await asyncio.to_thread(type_, url, "--only", "R4,R5", "--json")
    assert (result.exit_code, as_json.exit_code) == (1, 1)
    assert "R4 failed: there is a refresh_token" in result.stdout
    assert "POST /auth/token HTTP/1.1" in result.stdout
    assert f"Authorization: Basic {MASK}" in result.stdout
    assert f'"access_token": "{MASK}"' in result.stdout
    assert "secret-too" not in result.output + as_json.output
    assert "1 passed, 1 failed, 0 skipped" in result.stdout
    document = json.loads(as_json.stdout)
    jsonschema.validate(document, documented_schema())
    [failed] = [row for row in document["rows"] if row["fate"] == "failed"]
    assert failed["response"].startswith("HTTP/1.1 200\n")


def test_with_one_client(server: Server, type_: Type, tmp_path: Path) -> None:
    document = {"clientId": "a-bot", "clientSecret": SECRET, "scopes": ["demo:read"]}
    ask(server, "", method="POST", body=json.dumps(document))
    file = tmp_path / "secret"
    file.write_text(SECRET)
    by_file = type_(
        server.url, "--client-id", "a-bot", "--client-secret-file", str(file), "--only", "T1,S,G1", environ={}
    )
    assert by_file.exit_code == 0, by_file.output
    assert re.search(r"^G1 +M +skipped +needs admin access", by_file.stdout, re.MULTILINE)
    environ = {"STATION_CONFORMANCE_CLIENT_SECRET": SECRET}
    assert type_(server.url, "--client-id", "a-bot", "--only", "T1", environ=environ).exit_code == 0
    environ = {"STATION_CONFORMANCE_CLIENT_SECRET": "w" * 40}
    wrong = type_(server.url, "--client-id", "a-bot", "--only", "T1", environ=environ)
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert (
        wrong.stderr
        == "Error: The server does not accept the secret of a-bot by HTTP Basic; see --client-secret-file.\n"
    )


USAGE: list[tuple[tuple[str, ...], dict[str, str] | None, str]] = [
    ((), {}, "--admin-key-file"),
    (("--client-id", "x"), {}, "--client-secret-file"),
    (("--only", "C99"), None, "there is no row C99"),
    (("--admin-key-file", __file__), {}, "one line of ASCII"),
    (("--ca-file", __file__), None, "holds no certificates"),
    (("--token-endpoint", "ftp://x"), None, "is not a URL"),
]


@pytest.mark.parametrize(("arguments", "environ", "says"), USAGE)
def test_wrong_usage(
    type_: Type, arguments: tuple[str, ...], environ: dict[str, str] | None, says: str
) -> None:
    result = type_("http://127.0.0.1:1", *arguments, environ={KEY: ""} if environ == {} else environ)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    "url", ["x", "ftp://x", "http://", "http://a b", "http://x:99999", "http://u:p@x", "http://x/\n"]
)
def test_what_is_no_url(type_: Type, url: str) -> None:
    result = type_(url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "URL" in result.stderr


def test_a_server_that_is_not_there(type_: Type) -> None:
    result = type_("http://127.0.0.1:1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert re.fullmatch(
        r"Error: http://127\.0\.0\.1:1 cannot be asked: the connection failed: .*\n", result.stderr
    )


def a_page(p: Passing) -> None:
    p.answer(200, "hello", "text/html")


def no_room(p: Passing) -> None:
    if p.path.startswith("/oauth-clients"):
        p.answer(429)
        p.set("Retry-After", "9999")


def html_registration(p: Passing) -> None:
    if p.path == "/oauth-clients":
        p.answer(404)


def wrong_key(p: Passing) -> None:
    p.send("x-internal-api-key", "wrong" * 10)


def gone(p: Passing) -> None:
    if p.path.startswith("/oauth-clients"):
        p.status = -1


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (a_page, "does not describe an authorization server (RFC 8414); name its --token-endpoint."),
        (
            html_registration,
            "is not there, so this is no Station; give --client-id and --client-secret-file.",
        ),
        (no_room, "AUTH_TOKEN_THROTTLE_LIMIT and AUTH_FAILURE_THROTTLE_LIMIT."),
        (wrong_key, "does not accept the admin key; give its INTERNAL_API_KEY in --admin-key-file."),
        (gone, "/oauth-clients cannot be asked: what came back is not HTTP."),
    ],
)
@pytest.mark.gen_test
async def test_what_cannot_be_checked_is_one_sentence(
    server: Server, proxy: Proxy, type_: Type, spoil: Any, says: str
) -> None:
    async with proxy(server.url, before=spoil) as url:
        result = await asyncio.to_thread(type_, url)
    assert (result.exit_code, result.stdout) == (2, "")
    *lines, last = result.stderr.splitlines()
    assert last.startswith("Error: ")
    assert last.endswith(says)
    # of a registration without an answer nobody knows whether it was made
    assert [line.partition(",")[0] for line in lines] == (["Not deleted"] if spoil in {gone, no_room} else [])


class Dies:
    """Closes every connection once a token was asked for in JSON, which row T4 does."""

    def __init__(self) -> None:
        self.dead = False

    def __call__(self, p: Passing) -> None:
        self.dead = self.dead or (p.sent("Content-Type") == "application/json" and p.path == "/auth/token")
        if self.dead:
            p.status = -1


@pytest.mark.gen_test
async def test_a_server_that_dies_meanwhile(server: Server, proxy: Proxy, type_: Type) -> None:
    async with proxy(server.url, before=Dies()) as url:
        result = await asyncio.to_thread(type_, url, "--only", "T", "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    fates = {row["row"]: (row["fate"], row["reason"]) for row in document["rows"]}
    assert fates["T3"] == ("passed", None)
    assert [fates[row] for row in ("T4", "T5", "T6")] == [("failed", "what came back is not HTTP")] * 3
    assert fates["T7"] == ("skipped", "the server does not answer any more")
    assert document["clientsLeft"]
    assert f"station oauth-clients delete: {' '.join(document['clientsLeft'])}" in " ".join(
        result.stderr.split()
    )
    for client_id in document["clientsLeft"]:
        await asyncio.to_thread(ask, server, f"/{client_id}", method="DELETE", raise_error=False)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that nobody trusts, and a server's context with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "station")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "certificate.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = tmp_path / "key.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)
    return str(pem), context


@pytest.mark.gen_test
async def test_tls_is_verified(
    server: Server, proxy: Proxy, type_: Type, certificate: tuple[str, ssl.SSLContext]
) -> None:
    ca_file, context = certificate
    async with proxy(server.url, tls=context) as url:
        refused = await asyncio.to_thread(type_, url, "--only", "T1,B1,G1")
        trusted = await asyncio.to_thread(type_, url, "--only", "T1,B1,G1", "--ca-file", ca_file)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "cannot be asked: the certificate is not trusted: self" in refused.stderr
    assert trusted.exit_code == 0, trusted.output
    assert "3 passed" in trusted.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_who_interrupts_it_leaves_nothing_behind(
    server: Server, tmp_path: Path, leaks: Leaks, number: signal.Signals
) -> None:
    environ = {"PATH": os.environ["PATH"], KEY: ADMIN_KEY}
    command = [sys.executable, "-m", "station", "conformance", server.url]
    with subprocess.Popen(
        command, env=environ, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("Client authentication"):
                assert clients_of(server)
                process.send_signal(number)
                break
        out, err = process.communicate(timeout=30)
    leaks.write("the output of station conformance", out + err)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "Interrupted. Every client that was registered is deleted."
    assert "Traceback" not in err
    assert clients_of(server) == []
