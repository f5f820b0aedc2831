"""What MongoDB says of clients, revocations and keys, in the memory of every process.

MongoDB is the truth. Each process opens one change stream, then reads what is revoked already, then follows
the stream, and only then listens; so a request asks nobody whether its token still lives. What keeps that
honest:

- A read that a change overtook is not kept (`ClientCache`).
- A process that has not heard MongoDB for too long answers 503 (`Follower.check`), never open.
- The process that made a change applies it at once, and waits for the others (`Propagation`).
"""

from plugins.oauth_m2m.mirror.clients import ClientCache
from plugins.oauth_m2m.mirror.follower import Follower
from plugins.oauth_m2m.mirror.propagation import Propagation
from plugins.oauth_m2m.mirror.revocations import RevokedTokens

__all__ = ["ClientCache", "Follower", "Propagation", "RevokedTokens"]
