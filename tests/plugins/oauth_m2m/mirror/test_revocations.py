from __future__ import annotations

import contextlib

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


def test_what_is_read_again_takes_back_nothing_that_is_heard_meanwhile() -> None:
    revoked = RevokedTokens()
    revoked.add("forgotten")
    with revoked.reloading() as loaded:
        loaded.update(["read", "heard"])
        revoked.add("heard")
        revoked.add("new")
        assert "forgotten" in revoked  # until all is read
        assert "read" not in revoked
    assert all(jti in revoked for jti in ("heard", "new", "read"))
    assert ("forgotten" in revoked, len(revoked)) == (False, 3)  # MongoDB has forgotten it unheard


def test_what_cannot_be_read_changes_nothing() -> None:
    revoked = RevokedTokens()
    revoked.add("known")
    with contextlib.suppress(ConnectionError), revoked.reloading() as loaded:
        loaded.add("read")
        revoked.add("new")
        raise ConnectionError
    assert ("known" in revoked, "new" in revoked, "read" in revoked) == (True, True, False)
