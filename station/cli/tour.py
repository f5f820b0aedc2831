"""The three lines that ``station serve --make-admin-key`` ends with: a machine registers and gets in.

They run in any POSIX shell with curl and sed, and no secret can be read in them: the admin key and the
bot's secret stay in files of the data directory.
"""

from __future__ import annotations

import dataclasses
import shlex
from typing import TYPE_CHECKING

from station.files import keep_secret

if TYPE_CHECKING:
    from pathlib import Path

    from station.config import Config

__all__ = ["Tour", "prepare_tour"]


@dataclasses.dataclass(frozen=True, slots=True)
class Tour:
    """Where the secrets are: ``admin_key`` and ``bot_secret`` are shell words that expand to them."""

    admin_key: str
    bot_secret: str

    def lines(self, url: str) -> list[str]:
        """Register ``station-bot``, keep a token in ``TOKEN``, and call with it: one line each."""
        clients, token, whoami = (
            shlex.quote(url + path) for path in ("/oauth-clients", "/auth/token", "/auth/client")
        )
        body = (
            """'{"clientId":"station-bot","clientSecret":"'"""
            f'"{self.bot_secret}"'
            """'","scopes":["bot:api"]}'"""
        )
        pick = """'s/.*"access_token": *"\\([^"]*\\)".*/\\1/p'"""
        curl = """curl -sS -w '\\n'"""
        return [
            f'{curl} {clients} -H "x-internal-api-key: {self.admin_key}" '
            f"-H 'Content-Type: application/json' -d {body}",
            f'TOKEN=$({curl} {token} -u "station-bot:{self.bot_secret}" '
            f"-d grant_type=client_credentials | sed -n {pick})",
            f'{curl} {whoami} -H "Authorization: Bearer $TOKEN"',
        ]


def prepare_tour(config: Config) -> tuple[Config, Tour]:
    """Make the secrets that are missing; the admin key is put in force unless one is configured."""
    bot_file, key_file = config.data_dir / "station-bot.secret", config.data_dir / "admin.key"
    keep_secret(bot_file)
    if config.internal_api_key is not None:
        return config, Tour("$INTERNAL_API_KEY", _content_of(bot_file))
    config = dataclasses.replace(config, internal_api_key=keep_secret(key_file))
    return config, Tour(_content_of(key_file), _content_of(bot_file))


def _content_of(file: Path) -> str:
    return f"$(cat {shlex.quote(str(file))})"
