from __future__ import annotations

from plugins.oauth_m2m.mirror import RevokedTokens


def test_it_holds_what_was_revoked_and_not_forgotten() -> None:
    revoked = RevokedTokens()
    assert "j1" not in revoked
    revoked.add("j1")
    revoked.add("j1")
    assert ("j1" in revoked, "j2" in revoked, len(revoked)) == (True, False, 1)
    revoked.discard("j1")
    revoked.discard("j2")  # the end of a revocation that was never heard of
    assert ("j1" in revoked, len(revoked)) == (False, 0)


def test_what_is_read_again_takes_back_nothing_that_was_heard() -> None:
    revoked = RevokedTokens()
    revoked.add("heard")
    revoked.update(["read", "heard"])
    revoked.update([])
    assert all(jti in revoked for jti in ("heard", "read"))
    assert len(revoked) == 2
