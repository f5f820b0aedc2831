"""The hooks that ``oauth_m2m`` declares for other plugins.

They are called once, when oauth_m2m starts, and return callables; a callable that needs its own plugin's
services finds them in ``app.settings`` when it is called. A plugin that can do without oauth_m2m marks its
implementations with ``@hookimpl(optionalhook=True)``. Audit events have a hook of the core,
``station_audit_sinks``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from station import hookspec

if TYPE_CHECKING:
    from plugins.oauth_m2m.extensions import ClaimProvider, IssuanceCheck
    from station.app import Application


@hookspec
def oauth_m2m_claims(app: Application) -> ClaimProvider:  # type: ignore[empty-body]
    """Return an async function from an `Issuance` to claims that the token shall hold besides its own.

    A claim that is there already, or that changes how a token is read, cannot be replaced: it is left out
    and logged. An error, or more than a second, refuses the token with 503.
    """


@hookspec
def oauth_m2m_issuance_checks(app: Application) -> IssuanceCheck:  # type: ignore[empty-body]
    """Return an async function that raises `IssuanceRefused` for a token that shall not be issued.

    The client is told the description of the refusal and nothing else. An error, or more than a second,
    refuses with 503.
    """
