"""The rows that nobody can check from outside, each with the reason that the report gives."""

from __future__ import annotations

from types import MappingProxyType

__all__ = ["UNTESTABLE"]

_RESERVED = "reserved for a later capability"
_SIGNING_KEY = "needs the key that signs tokens"
_STORES = "needs to see the stores"
_STORE_DOWN = "needs to take a store away from the server"
_START = "is about how handlers are written: the server checks it when it starts"

UNTESTABLE = MappingProxyType(
    {
        "T14": "reserved until clients can be limited to grants",
        "C17": "needs requests from two addresses",
        "C20": _STORES,
        "R6": _STORE_DOWN,
        "E6": "needs an unexpected failure in the server, and its log",
        "B10": _START,
        "B11": _START,
        "B12": _SIGNING_KEY,
        "J2": "is about the key that signs tokens: the server checks it when it starts",
        "J7": f"{_SIGNING_KEY}, or a clock that can be set",
        "J9": "needs to rotate the keys that sign tokens",
        "J10": "needs two nodes of the server",
        "J11": _SIGNING_KEY,
        "V7": _STORE_DOWN,
        "V9": _STORES,
        "G7": "needs to read the audit",
        **dict.fromkeys(("A1", "A2", "A3", "A4", "A5", "X1", "X2", "X3", "X4"), _RESERVED),
    }
)
"""Row to reason."""
