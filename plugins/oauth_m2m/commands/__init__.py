"""What the plugin adds to the command ``station``."""

from plugins.oauth_m2m.commands import apply, changes, hints, secrets, tokens
from plugins.oauth_m2m.commands.clients import oauth_clients
from plugins.oauth_m2m.commands.conformance import conformance
from plugins.oauth_m2m.commands.keys import oauth_keys
from plugins.oauth_m2m.commands.why import why

__all__ = ["conformance", "oauth_clients", "oauth_keys", "why"]

for _command in (
    changes.change,
    changes.disable,
    changes.enable,
    changes.delete,
    apply.apply,
    apply.hash_secret,
    secrets.secrets,
    tokens.tokens,
    hints.hints,
):
    oauth_clients.add_command(_command)
