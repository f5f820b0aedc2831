"""What a ``REDIS_URL`` says, in each of its forms.

::

    redis://[user:password@]host[:6379][/db]
    unix://[user:password@]/path/of/the/socket[?db=0]
    redis+sentinel://[user:password@]host[:26379],host,host/service[/db][?sentinel_password=...]
    redis+cluster://[user:password@]host[:6379],host,host

``rediss`` instead of ``redis`` is TLS, to the Sentinels too. In a password ``/ ? # @ %`` are percent-encoded.
No message of this module repeats a part of the URL: where somebody forgot that, it may be of the password.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["RedisAddress", "parse_redis_url"]

Form = Literal["single", "socket", "sentinel", "cluster"]

_SCHEMES: dict[str, tuple[Form, bool]] = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "unix": ("socket", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
_PORTS: dict[Form, int] = {"single": 6379, "sentinel": 26379, "cluster": 6379}
_HOST = re.compile(r"(?:(?P<name>[A-Za-z0-9._-]+)|\[(?P<address>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?")
_NUMBER = re.compile(r"[0-9]{1,9}")
_SERVICE = re.compile(r"[A-Za-z0-9._-]+")  # what Sentinel itself allows
_TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """A ``REDIS_URL`` that was read, whose repr has no password; ``hosts`` are servers or Sentinels."""

    form: Form
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = dataclasses.field(default=None, repr=False)
    tls: bool = False
    tls_options: Mapping[str, str | bool] = dataclasses.field(default_factory=dict)


def parse_redis_url(url: str) -> RedisAddress:
    """Read a ``REDIS_URL``; `ValueError` with the end of the sentence "REDIS_URL must ..." otherwise."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise ValueError("be a URL that starts with " + " or ".join(f"{known}://" for known in _SCHEMES))
    if "#" in rest:
        raise ValueError("have no # in it; in a password it is written %23")
    form, tls = _SCHEMES[scheme]
    location, _, query = rest.partition("?")
    authority, _, path = location.partition("/")
    userinfo, _, hosts = authority.rpartition("@")
    username, colon, password = userinfo.partition(":")
    options = _options(query, form, tls=tls)
    place = _socket(hosts, path, options) if form == "socket" else _network(form, hosts, path, options)
    return dataclasses.replace(
        place,
        username=_decoded(username) or None,
        password=_decoded(password) if colon else None,
        sentinel_username=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
        tls=tls,
        tls_options=_tls_options(options),
    )


def _socket(hosts: str, path: str, options: Mapping[str, str]) -> RedisAddress:
    if hosts or not path:
        raise ValueError("name a socket by its whole path, as in unix:///run/redis/redis.sock")
    return RedisAddress(form="socket", path="/" + _decoded(path), db=_database(options.get("db", "0")))


def _network(form: Form, hosts: str, path: str, options: Mapping[str, str]) -> RedisAddress:
    places = _hosts(hosts, form)
    words = [_decoded(word) for word in path.split("/")] if path.strip("/") else []
    if words and not words[-1]:
        words.pop()
    service = ""
    if form == "sentinel":
        service = words.pop(0) if words else ""
        if not _SERVICE.fullmatch(service):
            raise ValueError(
                "name the service that the Sentinels watch after the hosts, as in "
                "redis+sentinel://host1:26379,host2:26379/mymaster"
            )
    if len(words) > 1:
        raise ValueError("end with the number of a database, if anything; / in a password is written %2F")
    if words and "db" in options:
        raise ValueError("name the database once: in the path, or with db=")
    db = _database(words[0] if words else options.get("db", "0"))
    if form == "cluster" and db:
        raise ValueError("name no database but 0: a cluster has only that one")
    return RedisAddress(form=form, hosts=places, service=service, db=db)


def _hosts(text: str, form: Form) -> tuple[tuple[str, int], ...]:
    found = [_HOST.fullmatch(host) for host in text.split(",")]
    places = [
        (host["name"] or host["address"], int(host["port"] or _PORTS[form]))
        for host in found
        if host is not None
    ]
    if len(places) < len(found) or not all(0 < port < 65536 for _, port in places):
        raise ValueError(
            "name each host as host or host:port with an IPv6 address in [], and several with commas between "
            "them; in a password @ is written %40, / %2F, ? %3F and % %25"
        )
    if form == "single" and len(places) > 1:
        raise ValueError("name one host; several are redis+sentinel:// or redis+cluster://")
    return tuple(places)


def _database(word: str) -> int:
    if not _NUMBER.fullmatch(word):
        raise ValueError("end with the number of a database, if anything; / in a password is written %2F")
    return int(word)


def _options(query: str, form: Form, *, tls: bool) -> dict[str, str]:
    """The options behind the ``?``, all of which must be of this form."""
    allowed: tuple[str, ...] = () if form == "cluster" else ("db",)
    allowed += _SENTINEL_OPTIONS if form == "sentinel" else ()
    allowed += _TLS_OPTIONS if tls else ()
    options: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        if name not in allowed or name in options:
            known = "has the options " + ", ".join(allowed) if allowed else "has no options"
            raise ValueError(f"have only options that Station knows, once each: this form {known}")
        options[name] = _decoded(value)
    return options


def _tls_options(options: Mapping[str, str]) -> dict[str, str | bool]:
    chosen: dict[str, str | bool] = {name: options[name] for name in _TLS_OPTIONS if name in options}
    if chosen.get("ssl_cert_reqs", "required") not in {"required", "none"}:
        raise ValueError("have required or none as ssl_cert_reqs")
    if "ssl_check_hostname" in chosen:
        if chosen["ssl_check_hostname"] not in {"true", "false"}:
            raise ValueError("have true or false as ssl_check_hostname")
        chosen["ssl_check_hostname"] = chosen["ssl_check_hostname"] == "true"
    return chosen


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        # the driver's error would show what it could not read
        raise ValueError("be percent-encoded UTF-8") from None
