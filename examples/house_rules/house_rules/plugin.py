"""The plugin's hook implementations, and nothing else.

`station.hookspecs` and `plugins.oauth_m2m.hookspecs` say when each is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from house_rules.config import HouseRulesConfig
from house_rules.rules import HouseRules
from station import hookimpl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plugins.oauth_m2m.extensions import ClaimProvider, IssuanceCheck
    from station.app import Application
    from station.audit import Sink


@hookimpl
def station_settings() -> type:
    """``HOUSE_RULES_*``."""
    return HouseRulesConfig


@hookimpl
def oauth_m2m_claims(app: Application) -> ClaimProvider:
    """The claim ``office``."""
    return _rules(app).office


@hookimpl
def oauth_m2m_issuance_checks(app: Application) -> IssuanceCheck:
    """The freeze."""
    return _rules(app).freeze


@hookimpl
def station_audit_sinks(app: Application) -> Sequence[Sink]:
    """The file."""
    return [_rules(app).keep]


def _rules(app: Application) -> HouseRules:
    return HouseRules(cast("HouseRulesConfig", app.config.sections["house_rules"]))
