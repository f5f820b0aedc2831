"""Access tokens: issued, verified and revoked by `TokenService`.

``codec`` writes and reads them (JWTs, RFC 9068), ``verified`` remembers those that were read.
"""

from plugins.oauth_m2m.tokens.service import TokenService

__all__ = ["TokenService"]
