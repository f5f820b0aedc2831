"""Runs a command under the system call filter of a unit, as systemd would: ``sandbox.py UNIT COMMAND ...``.

What of the unit a process can put on itself without privileges: NoNewPrivileges, SystemCallFilter,
RestrictAddressFamilies and MemoryDenyWriteExecute. The sets of system calls are systemd's own
(``systemd-analyze syscall-filter``), the filter is made by libseccomp, which systemd brings along.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from units import read_unit

_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | errno.EPERM
_UNKNOWN_CALL = -1
_NO_NEW_PRIVS, _SET_MDWE, _MDWE_REFUSE_EXEC_GAIN = 38, 65, 1
_NOT_EQUAL, _EQUAL, _MASKED_EQUAL = 1, 4, 7
_PROT_WRITE, _PROT_EXEC = 2, 4


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


def system_calls(words: list[str]) -> set[str]:
    """The system calls that these words of SystemCallFilter= name, sets (@...) resolved."""
    calls: set[str] = set()
    for word in words:
        if not word.startswith("@"):
            calls.add(word)
            continue
        listed = subprocess.run(
            ["systemd-analyze", "syscall-filter", word], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        members = [line.strip() for line in listed[1:] if line.strip() and not line.strip().startswith("#")]
        calls |= system_calls(members)
    return calls


def allowed_calls(filters: list[str]) -> set[str]:
    """What is left when each line has added to, or (with ~) taken away from, what those before allow."""
    allowed: set[str] = set()
    for line in filters:
        named = system_calls(line.removeprefix("~").split())
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed


def restrict(service: dict[str, list[str]]) -> None:
    """Put on this process what the section [Service] says."""
    libc = ctypes.CDLL(None, use_errno=True)
    seccomp = ctypes.CDLL(ctypes.util.find_library("seccomp") or "libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    calls = allowed_calls(service["SystemCallFilter"])
    families = {getattr(socket, name) for name in service["RestrictAddressFamilies"][0].split()}
    assert libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(_REFUSE)))
    for name in sorted(calls):
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        if number == _UNKNOWN_CALL:
            continue
        rules: list[list[_Comparison]] = [[]]
        if name == "socket":
            rules = [[_Comparison(0, _EQUAL, family, 0)] for family in sorted(families)]
        elif name == "mmap":  # not both
            both = _PROT_WRITE | _PROT_EXEC
            rules = [[_Comparison(2, _MASKED_EQUAL, both, some)] for some in (0, _PROT_WRITE, _PROT_EXEC)]
        elif name in {"mprotect", "pkey_mprotect"}:
            rules = [[_Comparison(2, _MASKED_EQUAL, _PROT_EXEC, 0)]]
        for rule in rules:
            array = (_Comparison * len(rule))(*rule)
            added = seccomp.seccomp_rule_add_array(context, ctypes.c_uint32(_ALLOW), number, len(rule), array)
            assert added == 0, f"{name}: {os.strerror(-added)}"
    loaded = seccomp.seccomp_load(context)
    assert loaded == 0, os.strerror(-loaded)


if __name__ == "__main__":
    restrict(read_unit(Path(sys.argv[1]))["Service"])
    os.execv(sys.argv[2], sys.argv[2:])
