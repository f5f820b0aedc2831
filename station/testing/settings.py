"""The settings with which a Station of a test starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from station.config import ThrottleName

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["settings_for_tests"]

_LEAST_COST = "4"


def settings_for_tests(plugins: Sequence[str], data_dir: Path) -> dict[str, str]:
    """Environment variables: secrets that are known, cheap bcrypt, and every throttle off."""
    settings = {
        "STATION_ENV": "test",
        "STATION_DATA_DIR": str(data_dir),
        "STATION_PLUGINS": ",".join(plugins) or "none",
        "JWT_SECRET": "a-signing-secret-for-the-tests-only-0123456789",
        "INTERNAL_API_KEY": "an-admin-key-for-the-tests-only-0123456789",
        "AUTH_BCRYPT_COST": _LEAST_COST,
    }
    if "oauth_m2m" in plugins:
        settings["OAUTH_M2M_BCRYPT_COST"] = _LEAST_COST
    return settings | {f"AUTH_{name.upper()}_THROTTLE_LIMIT": "0" for name in get_args(ThrottleName)}
