"""How settings are declared, read and described.

A section of settings is a frozen dataclass whose fields are made by `setting`::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class FleetConfig:
        size: int = setting("How many bots the fleet may have.", default=10, parse=integer(minimum=1))

The field's name is its key in ``station.toml``. Its environment variable is the section's name, an
underscore and the field's name in capitals (``FLEET_SIZE``); the core, which has no section, names some
variables itself. The environment wins; an empty variable counts as unset. A setting that is, or may hold, a
secret can be in a file of its own, which another variable names (``JWT_SECRET_FILE``). A parser gets the text
of the environment or the value of the file and raises `ValueError` with the end of the sentence "SETTING must
...".
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Setting", "choice", "integer", "names", "read_section", "setting", "settings_of", "text"]

_KEY = "station.setting"
_SIMILAR = 0.88
_MASK = "********"
# Up to the last @, because people forget to encode the / and @ of a password (RFC 3986 3.2.1).
_USERINFO = re.compile(r"(?<=://)(?P<user>[^:@/?]*):.*@", re.DOTALL)
_SECRET_PARAMETER = re.compile(
    r"(?i)(?<=[?&])(?P<name>[^=&]*(?:password|secret|token|properties)[^=&]*)=[^&]*"
)

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """One setting: its ``key`` in the file, its ``env`` variable, and a sentence of ``help``.

    ``file_env`` is the variable that names a file with its value; empty for what holds no secret.
    """

    key: str
    env: str
    help: str
    default: object
    default_text: str
    secret: bool
    parse: Callable[[object], object]
    file_env: str = ""

    @property
    def variables(self) -> set[str]:
        """Every environment variable that is about this setting."""
        return {self.env, self.file_env} - {""}

    def shown(self, value: object) -> str:
        """The value as ``station config`` prints it: secrets and passwords in URLs masked."""
        if value is None or value == "":
            return "(unset)"
        if value == ():
            return "(none)"
        return _MASK if self.secret else _without_password(_as_text(value))


def setting(
    help: str,  # noqa: A002 - the field's word, as in click and argparse
    *,
    default: Any,
    parse: Callable[[object], Any],
    env: str | None = None,
    secret: bool = False,
    repr: bool = True,  # noqa: A002 - the field's word, as in dataclasses
    default_text: str | None = None,
) -> Any:
    """Declare a field of a settings dataclass.

    ``secret`` masks the value wherever it is shown; ``repr=False`` is for a URL that may hold a password.
    ``default_text`` describes a default that is made at start.
    """
    declared = {"help": help, "env": env, "parse": parse, "secret": secret, "default_text": default_text}
    declared["in_file"] = secret or not repr
    return dataclasses.field(default=default, repr=repr and not secret, metadata={_KEY: declared})


def settings_of(section: type, name: str = "") -> Iterator[Setting]:
    """The settings that the dataclass ``section`` declares, in order; ``name`` is the section's name."""
    for field in dataclasses.fields(section):
        declared = field.metadata.get(_KEY)
        if declared is None:
            continue
        env = declared["env"] or (f"{name}_{field.name}" if name else field.name).upper()
        default_text = declared["default_text"]
        yield Setting(
            key=field.name,
            env=env,
            help=declared["help"],
            default=field.default,
            default_text=_default_text(field.default) if default_text is None else default_text,
            secret=declared["secret"],
            parse=declared["parse"],
            file_env=f"{env}_FILE" if declared["in_file"] else "",
        )


def read_section(
    section: type[T],
    name: str,
    environ: Mapping[str, str],
    table: Mapping[str, object],
    problems: list[str],
    *,
    overrides: Mapping[str, object] | None = None,
    file: str = "station.toml",
) -> T:
    """Read a section from the environment and its table of ``file``; ``overrides`` win over both.

    Everything that is wrong is appended to ``problems``, each a sentence that begins with the variable; a
    bad value leaves the default in place, so that the caller can go on and find the rest of what is wrong.
    """
    values = dict(overrides or {})
    declared = {item.key: item for item in settings_of(section, name)}
    for key in sorted(table.keys() - declared.keys()):
        place = f"[{name}] {key}" if name else key
        problems.append(f"{file} has an unknown key, {place}.{did_you_mean(key, declared)}")
    for item in declared.values():
        raw: object
        if item.key in values:
            continue
        if environ.get(item.env, "").strip():
            source, raw = item.env, environ[item.env]
            if environ.get(item.file_env, "").strip():
                problems.append(f"{item.env} and {item.file_env} are both set: unset one of them.")
        elif environ.get(item.file_env, "").strip():
            source, raw = f"{item.env} (by {item.file_env})", Path(environ[item.file_env].strip())
        elif item.key in table:
            place = f"[{name}] {item.key}" if name else item.key
            source, raw = f"{item.env} ({place} in {file})", table[item.key]
        else:
            continue
        try:
            values[item.key] = item.parse(_content(raw) if isinstance(raw, Path) else raw)
        except UnicodeEncodeError:
            problems.append(f"{source} must be UTF-8 text. It is: {item.help}")
        except ValueError as error:
            problems.append(f"{source} must {error}. It is: {item.help}")
    return section(**values)


def misspelt_variables(environ: Iterable[str], known: set[str], prefixes: Iterable[str]) -> list[str]:
    """A problem for each variable that looks like a setting and is none.

    That is: it is close to a known name, in any case, or it starts with the prefix of an enabled plugin.
    """
    owned = tuple(prefixes)
    return [
        f"{variable} is set in the environment and is not a setting.{did_you_mean(variable.upper(), known)}"
        for variable in sorted(set(environ) - known)
        if variable.startswith(owned) or difflib.get_close_matches(variable.upper(), known, 1, _SIMILAR)
    ]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of an error message: " Did you mean X?", or nothing."""
    close = difflib.get_close_matches(word, list(known), 1, 0.6)
    return f" Did you mean {close[0]}?" if close else ""


def text(value: object) -> str:
    """Parse any text that is not blank; white space around it is dropped."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("be text and not blank")
    value.encode()  # the environment holds any bytes, and what is not UTF-8 would fail later on
    return value.strip()


def integer(*, minimum: int, maximum: int | None = None) -> Callable[[object], int]:
    """Parse a whole number within bounds."""
    bounds = f"from {minimum} to {maximum}" if maximum is not None else f"of at least {minimum}"

    def parse(value: object) -> int:
        try:
            number = int(value) if isinstance(value, str) else value
        except ValueError:
            number = None
        if not isinstance(number, int) or isinstance(number, bool):
            raise ValueError(f"be a whole number {bounds}")
        if number < minimum or (maximum is not None and number > maximum):
            raise ValueError(f"be a whole number {bounds}")
        return number

    return parse


def choice(*allowed: str) -> Callable[[object], str]:
    """Parse one of a few words."""

    def parse(value: object) -> str:
        word = value.strip() if isinstance(value, str) else value
        if word not in allowed:
            raise ValueError("be one of " + ", ".join(allowed))
        return str(word)

    return parse


def names(value: object) -> tuple[str, ...]:
    """Parse a list of names: separated by commas in the environment, an array in the file."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("be a list of names")
    "".join(value).encode()
    return tuple(dict.fromkeys(item.strip() for item in value if item.strip()))


def _content(file: Path) -> str:
    """What a file holds; no error repeats a part of it."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"be in a file that Station may read: {file}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ValueError(f"be UTF-8 text in {file}") from None


def _default_text(default: object) -> str:
    return "unset" if default is None or default in ("", ()) else _as_text(default)


def _as_text(value: object) -> str:
    """Write a value as the environment would hold it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return json.dumps(dict(value)) if isinstance(value, Mapping) else str(value)


def _without_password(value: str) -> str:
    value = _USERINFO.sub(rf"\g<user>:{_MASK}@", value)
    return _SECRET_PARAMETER.sub(rf"\g<name>={_MASK}", value)
