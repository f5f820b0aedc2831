"""An admin: the account, made on the command line, and its way into the console."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import BrowserContext, Page

__all__ = ["EMAIL", "PASSWORD", "log_in", "make_admin", "sign_in"]

EMAIL = "ada@example.com"
PASSWORD = "a-password-for-the-console-of-the-tests"


def make_admin(data_dir: Path) -> None:
    """Make the account at the Station that runs in this directory."""
    environ = {"PATH": os.environ["PATH"], "STATION_DATA_DIR": str(data_dir), "AUTH_BCRYPT_COST": "4"}
    command = [sys.executable, "-m", "station", "users", "create", EMAIL, "--admin", "--password-stdin"]
    done = subprocess.run(
        command, env=environ, cwd=data_dir, input=PASSWORD, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def log_in(page: Page, password: str = PASSWORD) -> None:
    """Fill in the login that the page shows."""
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def sign_in(context: BrowserContext, url: str) -> list[str]:
    """Begin a session past the login; the values of its cookies."""
    answer = context.request.post(f"{url}/auth/login", data={"email": EMAIL, "password": PASSWORD})
    assert answer.ok, answer.status
    return [cookie["value"] for cookie in context.cookies()]
