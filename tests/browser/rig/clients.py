"""Clients that a test needs and no person has registered."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from leaks import Leaks

    from tests.conftest import Server

__all__ = ["be_refused", "new_client"]


def new_client(station: Server, leaks: Leaks) -> tuple[str, str]:
    """Register a client by the admin key; its id and secret."""
    answer = httpx2.post(
        f"{station.url}/oauth-clients",
        headers={"x-internal-api-key": station.admin_key},
        json={"clientId": f"bot-{uuid.uuid4().hex[:8]}", "scopes": ["demo:read"]},
    )
    client = answer.raise_for_status().json()
    leaks.keep(client["clientSecret"])
    return client["clientId"], client["clientSecret"]


def be_refused(station: Server, client_id: str) -> None:
    """Ask for a token with a wrong secret."""
    form = {"grant_type": "client_credentials"}
    answer = httpx2.post(f"{station.url}/auth/token", data=form, auth=(client_id, "x" * 40))
    assert answer.status_code == 401
