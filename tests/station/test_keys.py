from __future__ import annotations

from station.keys import derive_key


def test_vector_of_rfc_5869() -> None:
    # RFC 5869 A.3, SHA-256 without salt and info; the first 32 of its 42 bytes
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
    assert derive_key("\x0b" * 22, "").hex() == expected


def test_every_label_and_every_secret_has_its_own_key() -> None:
    keys = {derive_key(secret, label) for secret in ("one", "two") for label in ("sessions", "cursors")}
    assert len(keys) == 4
    assert all(len(key) == 32 for key in keys)
