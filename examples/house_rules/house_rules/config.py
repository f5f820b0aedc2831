"""The plugin's settings: ``HOUSE_RULES_*`` in the environment, ``[house_rules]`` in ``station.toml``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from station.settings import names, setting, text

__all__ = ["HouseRulesConfig"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class HouseRulesConfig:
    """What the house demands; unset, a rule demands nothing."""

    office: str | None = setting("The value of the claim `office`.", default=None, parse=text)
    frozen_scopes: tuple[str, ...] = setting(
        "The scopes that nobody gets a token for.", default=(), parse=names
    )
    audit_file: Path | None = setting(
        "Where the events of the audit are appended.", default=None, parse=lambda value: Path(text(value))
    )
