from __future__ import annotations

import dataclasses
import json
import logging
import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from station.auth.links import deliver_to_the_log, reset_command, reset_link
from station.messages import Message

if TYPE_CHECKING:
    from station.config import Config

TOKEN = "a-token_0123456789"


def test_the_link_has_the_token_in_its_fragment(config: Config) -> None:
    assert reset_link(config, TOKEN) is None
    with_page = dataclasses.replace(config, auth_reset_url="https://x.example/?a=b#/reset/{token}")
    assert reset_link(with_page, TOKEN) == f"https://x.example/?a=b#/reset/{TOKEN}"


def test_the_command_is_one_that_a_shell_reads(config: Config) -> None:
    words = shlex.split(reset_command(config, TOKEN))
    assert "https://station.example/auth/reset-password" in words
    assert "Content-Type: application/json" in words
    document = json.loads(words[-1])
    assert document["token"] == TOKEN
    assert len(document["newPassword"]) >= 12


@pytest.mark.parametrize("settings", [{"auth_reset_url": "https://console.example/reset#{token}"}])
@pytest.mark.gen_test
async def test_development_reads_messages_in_the_log(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    link = reset_link(config, TOKEN)
    await deliver_to_the_log(config)(
        Message("password-reset", "ada@example.com", TOKEN, link, datetime(2025, 1, 2, 3, 4, tzinfo=UTC))
    )
    assert "ada@example.com (password-reset); until 03:04 UTC" in caplog.text
    assert f"https://console.example/reset#{TOKEN}\n" in caplog.text
    assert reset_command(config, TOKEN) in caplog.text
