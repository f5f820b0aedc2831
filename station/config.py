"""Station's own configuration, read once from the environment and ``station.toml``.

`load_config` reports everything that is wrong in one `station.errors.ConfigError`. The settings of a
plugin are a dataclass of its own (hook ``station_settings``) and arrive in ``Config.sections`` under the
plugin's name.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import urlsplit

from station import settings
from station.addresses import parse_networks
from station.errors import ConfigError
from station.files import keep_secret
from station.plugin_manager import PluginHost, installed_plugins
from station.redis_url import parse_redis_url
from station.settings import choice, integer, names, setting, text
from station.throttle import Limit
from station.workers import parse_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from ipaddress import IPv4Network, IPv6Network

__all__ = ["Config", "load_config", "load_plugins"]

_SECRET_BYTES = 32
# As browsers write it (RFC 6454 6.2): any other spelling would never match.
_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_DATABASE = re.compile(r"[A-Za-z0-9_-]{1,63}")

ThrottleName = Literal["token", "login", "register", "forgot", "revoke", "introspect", "failure"]


def _plugins(value: object) -> tuple[str, ...]:
    chosen = names(value)
    return () if chosen == ("none",) else chosen


def _secret(value: object) -> str:
    if not isinstance(value, str) or len(value.strip().encode()) < _SECRET_BYTES:
        raise ValueError(f"have at least {_SECRET_BYTES} bytes; `openssl rand -base64 48` makes one")
    return value.strip()


def _networks(value: object) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return parse_networks(",".join(names(value)))
    except ValueError as error:
        raise ValueError(f"be addresses or CIDR networks, separated by commas: {error}") from error


def _origins(value: object) -> tuple[str, ...]:
    origins = names(value)
    if not all(map(_ORIGIN.fullmatch, origins)):
        raise ValueError(
            "be origins such as https://console.example.com, in small letters and without a path"
        )
    return origins


def _issuer(value: object) -> str:
    issuer = text(value)
    try:
        parts = urlsplit(issuer)
    except ValueError:
        parts = urlsplit("")
    # RFC 8414 2: no query, no fragment, not even empty ones
    if parts.scheme not in {"http", "https"} or not parts.hostname or set("?#") & set(issuer):
        raise ValueError("be an http or https URL without query or fragment")
    return issuer


def _reset_url(value: object) -> str:
    url = text(value)
    page, _, fragment = url.partition("#")
    try:
        _issuer(page.partition("?")[0])
    except ValueError:
        fragment = ""
    # a fragment stays in the browser: no server's log, no Referer
    if "{token}" in page or fragment.count("{token}") != 1:
        raise ValueError(
            "be an http or https URL with {token} in its fragment: https://console.example.com/reset#{token}"
        )
    return url


def _database(value: object) -> str:
    name = text(value)
    if not _DATABASE.fullmatch(name):
        raise ValueError("be the name of a database: at most 63 letters, digits, - and _")
    return name


def _url(*schemes: str) -> Callable[[object], str]:
    prefixes = tuple(f"{scheme}://" for scheme in schemes)

    def parse(value: object) -> str:
        url = text(value)
        if not url.startswith(prefixes):
            raise ValueError("be a URL that starts with " + " or ".join(prefixes))
        return url

    return parse


def _redis_url(value: object) -> str:
    url = text(value)
    parse_redis_url(url)
    return url


def _window(what: str, env: str) -> Any:
    return setting(
        f"The throttle window of {what}, in milliseconds.", env=env, default=60_000, parse=integer(minimum=1)
    )


def _limit(what: str, env: str, default: int) -> Any:
    return setting(
        f"How many {what} one window allows; 0 turns this throttle off.",
        env=env,
        default=default,
        parse=integer(minimum=0),
    )


_TOKEN, _REVOKE, _INTROSPECT = (
    f"{what} of one client from one address" for what in ("token requests", "revocations", "introspections")
)
_LOGIN, _REGISTER, _FORGOT = (
    f"{what} from one address" for what in ("logins", "registrations", "forgotten passwords")
)
_FAILURE = "failed secrets, passwords and admin keys of one address"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The core's settings, and under ``sections`` those of the plugins by plugin name."""

    env: Literal["development", "test", "production"] = setting(
        "What Station runs for: production demands real stores, keys and https.",
        env="STATION_ENV",
        default="development",
        parse=choice("development", "test", "production"),
    )
    host: str = setting("The address to listen on.", env="STATION_HOST", default="127.0.0.1", parse=text)
    port: int = setting("The port to listen on.", default=3001, parse=integer(minimum=0, maximum=65535))
    workers: int = setting(
        "How many processes serve; `auto` is one for each core.",
        env="STATION_WORKERS",
        default=1,
        parse=parse_workers,
    )
    metrics_port: int | None = setting(
        "A port of 127.0.0.1 where programs of this machine read /metrics without a key.",
        default=None,
        parse=integer(minimum=1, maximum=65535),
    )
    tracing: Literal["on", "off"] = setting(
        "Whether requests are traced by OpenTelemetry, as the variables OTEL_* say; needs the extra tracing.",
        env="STATION_TRACING",
        default="off",
        parse=choice("on", "off"),
    )
    idle_timeout_ms: int = setting(
        "How long a connection may be idle, or take to send the headers of a request, in milliseconds.",
        env="STATION_IDLE_TIMEOUT_MS",
        default=75_000,
        parse=integer(minimum=100),
    )
    transfer_timeout_ms: int = setting(
        "How long the body of a request may take to come, and a client may read nothing of an answer, in "
        "milliseconds.",
        env="STATION_TRANSFER_TIMEOUT_MS",
        default=30_000,
        parse=integer(minimum=100),
    )
    plugins: tuple[str, ...] = setting(
        "The plugins that are switched on, in order; `none` for no plugin.",
        env="STATION_PLUGINS",
        default=("oauth_m2m",),
        parse=_plugins,
    )
    data_dir: Path = setting(
        "Where the embedded stores and generated secrets live.",
        env="STATION_DATA_DIR",
        default=Path(".station"),
        parse=lambda value: Path(text(value)),
    )
    mongodb_uri: str | None = setting(
        "The MongoDB replica set; unset, development starts an embedded engine.",
        default=None,
        parse=_url("mongodb", "mongodb+srv"),
        repr=False,
    )
    mongodb_database: str = setting("The name of the database.", default="station", parse=_database)
    redis_url: str | None = setting(
        "The Redis server, Sentinels or cluster; unset, development starts an embedded engine.",
        default=None,
        parse=_redis_url,
        repr=False,
    )
    jwt_secret: str = setting(
        "The key that signs tokens and from which other keys are derived, at least 32 bytes.",
        default="",
        parse=_secret,
        secret=True,
        default_text="development makes one and keeps it in the data directory",
    )
    jwt_secret_previous: str | None = setting(
        "The former JWT_SECRET while rotating: tokens it signed are still accepted.",
        default=None,
        parse=_secret,
        secret=True,
    )
    issuer: str = setting(
        "The issuer of tokens, a URL; https in production.",
        default="",
        parse=_issuer,
        default_text="http://HOST:PORT in development",
    )
    audience: str = setting(
        "The audience of tokens: those for another one are refused.",
        default="",
        parse=text,
        default_text="the issuer",
    )
    auth_registration: Literal["open", "closed"] | None = setting(
        "Whether people may register themselves.",
        default=None,
        parse=choice("open", "closed"),
        default_text="open; closed in production",
    )
    auth_reset_url: str | None = setting(
        "The page where people choose a new password, {token} in its fragment standing for the token; unset, "
        "messages hold the token alone.",
        default=None,
        parse=_reset_url,
    )
    auth_bcrypt_cost: int = setting(
        "The bcrypt cost of people's passwords.", default=12, parse=integer(minimum=4, maximum=31)
    )
    internal_api_key: str | None = setting(
        "The key that admin programs send as x-internal-api-key; unset, the key opens nothing.",
        default=None,
        parse=_secret,
        secret=True,
    )
    internal_api_key_previous: str | None = setting(
        "The former INTERNAL_API_KEY, accepted while rotating.", default=None, parse=_secret, secret=True
    )
    allowed_origin: tuple[str, ...] = setting(
        "The web origins that may call Station from a browser, separated by commas.",
        default=(),
        parse=_origins,
    )
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = setting(
        "The proxies whose X-Forwarded-For and X-Request-ID are believed (CIDR).",
        default=(),
        parse=_networks,
    )
    docs: Literal["on", "off"] = setting(
        "Whether /docs shows the API reference; /openapi.json is there in any case.",
        env="STATION_DOCS",
        default="on",
        parse=choice("on", "off"),
    )
    audit_retention_days: int = setting(
        "How many days the events of the audit are kept.", default=400, parse=integer(minimum=1, maximum=3650)
    )
    token_throttle_ttl_ms: int = _window(_TOKEN, "AUTH_TOKEN_THROTTLE_TTL_MS")
    token_throttle_limit: int = _limit(_TOKEN, "AUTH_TOKEN_THROTTLE_LIMIT", 10)
    login_throttle_ttl_ms: int = _window(_LOGIN, "AUTH_LOGIN_THROTTLE_TTL_MS")
    login_throttle_limit: int = _limit(_LOGIN, "AUTH_LOGIN_THROTTLE_LIMIT", 10)
    register_throttle_ttl_ms: int = _window(_REGISTER, "AUTH_REGISTER_THROTTLE_TTL_MS")
    register_throttle_limit: int = _limit(_REGISTER, "AUTH_REGISTER_THROTTLE_LIMIT", 5)
    forgot_throttle_ttl_ms: int = _window(_FORGOT, "AUTH_FORGOT_THROTTLE_TTL_MS")
    forgot_throttle_limit: int = _limit(_FORGOT, "AUTH_FORGOT_THROTTLE_LIMIT", 5)
    revoke_throttle_ttl_ms: int = _window(_REVOKE, "AUTH_REVOKE_THROTTLE_TTL_MS")
    revoke_throttle_limit: int = _limit(_REVOKE, "AUTH_REVOKE_THROTTLE_LIMIT", 600)
    introspect_throttle_ttl_ms: int = _window(_INTROSPECT, "AUTH_INTROSPECT_THROTTLE_TTL_MS")
    introspect_throttle_limit: int = _limit(_INTROSPECT, "AUTH_INTROSPECT_THROTTLE_LIMIT", 600)
    failure_throttle_ttl_ms: int = _window(_FAILURE, "AUTH_FAILURE_THROTTLE_TTL_MS")
    failure_throttle_limit: int = _limit(_FAILURE, "AUTH_FAILURE_THROTTLE_LIMIT", 30)
    sections: Mapping[str, object] = dataclasses.field(default_factory=dict, repr=False)
    _limits: Mapping[str, Limit] = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Fill in what is derived from other settings."""
        issuer = self.issuer or self.url()
        object.__setattr__(self, "issuer", issuer)
        object.__setattr__(self, "audience", self.audience or issuer)
        if self.auth_registration is None:
            registration = "closed" if self.production else "open"
            object.__setattr__(self, "auth_registration", registration)
        limits = {
            name: Limit(getattr(self, f"{name}_throttle_ttl_ms"), getattr(self, f"{name}_throttle_limit"))
            for name in get_args(ThrottleName)
        }
        object.__setattr__(self, "_limits", limits)

    @property
    def production(self) -> bool:
        """Whether Station runs for real."""
        return self.env == "production"

    @property
    def embedded(self) -> bool:
        """Whether the stores are the embedded engines."""
        return self.mongodb_uri is None and self.redis_url is None

    def url(self, port: int | None = None) -> str:
        """Where Station listens; ``port`` is the real one where the configured port is 0."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port if port is None else port}"

    def throttle(self, name: ThrottleName) -> Limit:
        """The fixed window of the throttle ``name``."""
        return self._limits[name]

    def problems(self) -> list[str]:
        """What is wrong with the settings taken together, one sentence each with the remedy."""
        found = []
        if not self.jwt_secret:
            found.append("JWT_SECRET must be set (at least 32 bytes); `openssl rand -base64 48` makes one.")
        if (self.mongodb_uri is None) != (self.redis_url is None):
            found.append("MONGODB_URI and REDIS_URL must be set together, or both left unset (embedded).")
        if self.production:
            required = {
                "MONGODB_URI": self.mongodb_uri,
                "REDIS_URL": self.redis_url,
                "INTERNAL_API_KEY": self.internal_api_key,
                "ALLOWED_ORIGIN": self.allowed_origin,
            }
            found += [f"{name} must be set in production." for name, value in required.items() if not value]
            if not self.issuer.startswith("https://"):
                found.append("ISSUER must be set to an https URL in production.")
            if self.auth_reset_url and not self.auth_reset_url.startswith("https://"):
                found.append("AUTH_RESET_URL must be an https URL in production.")
        return found


def load_config(
    environ: Mapping[str, str], *, file: Path | None = None, overrides: Mapping[str, object] | None = None
) -> Config:
    """Read the configuration of the core and of the plugins that are switched on.

    ``file`` defaults to ``station.toml`` in the working directory, which may be absent; ``overrides``
    (command-line options, by field) win over everything. Raises `ConfigError` with every problem found.
    """
    problems: list[str] = []
    core, tables = _read_core(environ, file, overrides, problems)
    host = PluginHost.load(core.plugins, problems=problems)
    sections = _read_plugins(host, environ, file, tables, problems)

    refused = set().union(*map(_settings_named, problems))
    if not core.production:
        refused.add("JWT_SECRET")  # made below, when nothing else is wrong
    problems += [problem for problem in core.problems() if not _settings_named(problem) & refused]
    if problems:
        raise ConfigError(problems)
    secret = core.jwt_secret or keep_secret(core.data_dir / "jwt.secret")
    return dataclasses.replace(core, jwt_secret=secret, sections=MappingProxyType(sections))


def load_plugins(environ: Mapping[str, str], *, file: Path | None = None) -> PluginHost:
    """Load the plugins that are switched on, as far as it goes: `load_config` says what is wrong."""
    problems: list[str] = []
    core, _ = _read_core(environ, file, None, problems)
    return PluginHost.load(core.plugins, problems=problems)


def _read_core(
    environ: Mapping[str, str],
    file: Path | None,
    overrides: Mapping[str, object] | None,
    problems: list[str],
) -> tuple[Config, dict[str, object]]:
    """Read the core's settings; the tables of plugins, on or off, are returned beside them."""
    document = _read_file(file, problems)
    installed = installed_plugins()
    tables = {key: document.pop(key) for key in installed if key in document}
    for key in [key for key, value in document.items() if isinstance(value, dict)]:
        del document[key]
        guess = settings.did_you_mean(key, installed)
        problems.append(f"{_name(file)} has the section [{key}], but no such plugin is installed.{guess}")
    core = settings.read_section(
        Config, "", environ, document, problems, overrides=overrides, file=_name(file)
    )
    return core, tables


def _read_plugins(
    host: PluginHost,
    environ: Mapping[str, str],
    file: Path | None,
    tables: Mapping[str, object],
    problems: list[str],
) -> dict[str, object]:
    """Read the settings of the plugins that are on, and look for misspelt variables."""
    sections: dict[str, object] = {}
    known = set().union(*(item.variables for item in settings.settings_of(Config)))
    for name, section in host.sections(problems).items():
        table = tables.get(name, {})
        if not isinstance(table, dict):
            problems.append(f"{name} in {_name(file)} must be a table, [{name}].")
            table = {}
        known = known.union(*(item.variables for item in settings.settings_of(section, name)))
        sections[name] = settings.read_section(section, name, environ, table, problems, file=_name(file))
    problems += settings.misspelt_variables(environ, known, (f"{name.upper()}_" for name in sections))
    return sections


def _settings_named(problem: str) -> set[str]:
    """The settings that a problem is about: the names before its "must"."""
    subject, _, demand = problem.partition(" must ")
    return {word for word in subject.split() if word.isupper()} if demand else set()


def _name(file: Path | None) -> str:
    return str(file or "station.toml")


def _read_file(file: Path | None, problems: list[str]) -> dict[str, object]:
    path = Path(_name(file))
    if file is None and not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{path} cannot be read: {error.strerror}.")
    except ValueError as error:
        problems.append(f"{path} is not valid TOML: {error}.")
    return {}
