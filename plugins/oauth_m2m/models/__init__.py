"""What the plugin knows: clients, their secrets and tokens, and the processes that serve them."""

from plugins.oauth_m2m.models.changes import (
    Change,
    ClientChanged,
    Confirmation,
    KeysChanged,
    Position,
    TokenRevoked,
)
from plugins.oauth_m2m.models.clients import (
    AuthenticatedClient,
    Client,
    ClientChange,
    ClientPage,
    ClientQuery,
    ClientSecret,
    Registration,
    SecretAddition,
    SecretUse,
    new_generation,
)
from plugins.oauth_m2m.models.keys import KeyState, SigningKey, SigningKeys
from plugins.oauth_m2m.models.processes import Process
from plugins.oauth_m2m.models.tokens import ClientToken, IssuedToken, TokenPage, TokenRecord
from plugins.oauth_m2m.models.usage import Hint, Usage, UsageKey, UsageTotals

__all__ = [
    "AuthenticatedClient",
    "Change",
    "Client",
    "ClientChange",
    "ClientChanged",
    "ClientPage",
    "ClientQuery",
    "ClientSecret",
    "ClientToken",
    "Confirmation",
    "Hint",
    "IssuedToken",
    "KeyState",
    "KeysChanged",
    "Position",
    "Process",
    "Registration",
    "SecretAddition",
    "SecretUse",
    "SigningKey",
    "SigningKeys",
    "TokenPage",
    "TokenRecord",
    "TokenRevoked",
    "Usage",
    "UsageKey",
    "UsageTotals",
    "new_generation",
]
