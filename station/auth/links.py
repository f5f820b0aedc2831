"""Where a person goes with a reset token: the link of the front end, or a line for a shell."""

from __future__ import annotations

import json
import logging
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from station.config import Config
    from station.messages import Deliver, Message

__all__ = ["deliver_to_the_log", "reset_command", "reset_link"]

_log = logging.getLogger(__name__)
_EXAMPLE = "choose-a-better-one"


def reset_link(config: Config, token: str) -> str | None:
    """The page of ``AUTH_RESET_URL`` with the token in its fragment, which browsers send to no server."""
    return config.auth_reset_url and config.auth_reset_url.replace("{token}", token)


def reset_command(config: Config, token: str) -> str:
    """A line of curl that works as pasted; the password in it is an example."""
    document = shlex.quote(json.dumps({"token": token, "newPassword": _EXAMPLE}))
    url = shlex.quote(config.issuer.rstrip("/") + "/auth/reset-password")
    return f"curl -sS -w '%{{http_code}}\\n' {url} -H 'Content-Type: application/json' -d {document}"


def deliver_to_the_log(config: Config) -> Deliver:
    """Development's way to deliver: the log is the developer's own terminal."""

    async def deliver(message: Message) -> None:
        _log.info(
            "a message for %s (%s); until %s this resets the password:\n%s",
            message.recipient,
            message.kind,
            f"{message.expires_at:%H:%M} UTC",
            "\n".join(filter(None, [message.link, reset_command(config, message.token)])),
        )

    return deliver
