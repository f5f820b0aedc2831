"""Where clients and tokens are kept: the only part of the plugin that knows MongoDB and Redis.

MongoDB is the truth about clients and revocations; Redis holds the record of every live token. Stores return
the dataclasses of `plugins.oauth_m2m.models`, never documents.
"""

from plugins.oauth_m2m.stores.changes import ChangeStore, ChangeStream, StreamLost
from plugins.oauth_m2m.stores.clients import ClientStore
from plugins.oauth_m2m.stores.hints import HintStore
from plugins.oauth_m2m.stores.keys import KeyStore
from plugins.oauth_m2m.stores.memory import MemoryStore
from plugins.oauth_m2m.stores.nodes import NodeStore
from plugins.oauth_m2m.stores.processes import ProcessStore
from plugins.oauth_m2m.stores.secrets import SecretStore
from plugins.oauth_m2m.stores.tokens import TokenStore
from plugins.oauth_m2m.stores.usage import UsageStore

__all__ = [
    "ChangeStore",
    "ChangeStream",
    "ClientStore",
    "HintStore",
    "KeyStore",
    "MemoryStore",
    "NodeStore",
    "ProcessStore",
    "SecretStore",
    "StreamLost",
    "TokenStore",
    "UsageStore",
]
