"""A flood of ``POST /auth/token`` with credentials that are wrong, run as a process of its own.

``python flood.py PORT SOURCE CONNECTIONS SECONDS CLIENT_ID`` keeps that many connections from the address
SOURCE busy and prints one JSON object: how often each status was answered, and what went wrong.
"""

from __future__ import annotations

import asyncio
import base64
import collections
import json
import sys
import time

_FORM = b"grant_type=client_credentials"


async def _attack(
    port: int, source: str, end: float, client_id: str, number: int, seen: collections.Counter[str]
) -> None:
    """One connection: every other request is for a client that exists, each with a secret of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    turn = 0
    while time.monotonic() < end:
        turn += 1
        claimed = client_id if turn % 2 else f"nobody-{number}-{turn}"
        basic = base64.b64encode(f"{claimed}:a-wrong-secret-of-the-flood-{number:04}-{turn:06}".encode())
        writer.write(
            b"POST /auth/token HTTP/1.1\r\nHost: station\r\nAuthorization: Basic %s\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s"
            % (basic, len(_FORM), _FORM)
        )
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.partition(b":")[2])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length:")
        )
        await reader.readexactly(length)
        seen[head.split(b" ", 2)[1].decode()] += 1
    writer.close()


async def _main(port: int, source: str, connections: int, seconds: float, client_id: str) -> None:
    seen: collections.Counter[str] = collections.Counter()
    end = time.monotonic() + seconds
    ended = await asyncio.gather(
        *(_attack(port, source, end, client_id, number, seen) for number in range(connections)),
        return_exceptions=True,
    )
    errors = sorted({repr(error) for error in ended if error is not None})
    print(json.dumps({"statuses": seen, "errors": errors}))


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), sys.argv[5]))
