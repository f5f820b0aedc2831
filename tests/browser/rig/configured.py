"""What the Stations of these tests are told."""

from __future__ import annotations

__all__ = ["SETTINGS"]

SETTINGS = {
    # one address does all that the tests do
    **{f"AUTH_{name}_THROTTLE_LIMIT": "0" for name in ("TOKEN", "LOGIN", "REGISTER", "FAILURE")},
    "ISSUER": "https://station.example/here",  # is not where it is found, as behind a proxy or a tunnel
    "OAUTH_M2M_SIGNING_ALG": "EdDSA",  # whose keys rotate
}
