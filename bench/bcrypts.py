"""Counts the bcrypts of a process, whoever asks for them and in whichever thread."""

from __future__ import annotations

import threading

import bcrypt

__all__ = ["BcryptCount"]


class BcryptCount:
    """How many hashes ``bcrypt.hashpw`` has made since this was made, which takes its place."""

    def __init__(self) -> None:
        self.value = 0
        lock, hashpw = threading.Lock(), bcrypt.hashpw

        def counted(password: bytes, salt: bytes) -> bytes:
            with lock:
                self.value += 1
            return hashpw(password, salt)

        bcrypt.hashpw = counted
