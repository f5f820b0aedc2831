"""Reading answers from the bytes of a connection, and what no answer may be."""

from __future__ import annotations

import dataclasses
import json
import re

INJECTED = b"X-Injected"
"""The name of the header that the fuzzer tries to make Station answer."""

_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [\x20-\x7e]+")
_HEADER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\x20-\x7e]*")
_LENGTH = re.compile(rb"\r\nContent-Length: ([0-9]+)\r\n", re.IGNORECASE)
_TYPE = re.compile(rb"\r\nContent-Type: ([^\r;]*)", re.IGNORECASE)
_JSON = {b"application/json", b"application/problem+json"}
_PAGE_OR_STACK = re.compile(rb"\s*<|.*Traceback \(most recent|.*File \\?\"/", re.DOTALL)
_BARE = b"HTTP/1.1 400 Bad Request\r\n\r\n"  # what Tornado answers to what it cannot parse
_PAGES = {b"/docs"}  # what people read in a browser may be HTML, when it is there
_CONSOLE = re.compile(rb"/(auth/)?console([/?]|$)")  # ... and here errors are pages too


class Malformed(Exception):
    """What came is no HTTP answer."""


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """One answer; ``head`` includes the status line."""

    status: int
    head: bytes
    body: bytes


def take_answer(buffer: bytearray, *, to_head: bool, closed: bool) -> Answer | None:
    """Cut the first whole answer off the buffer; None if there is none yet. Raises `Malformed`."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(buffer[: end + 2])
    match = _STATUS_LINE.match(head)
    if match is None:
        raise Malformed(f"no status line: {head[:200]!r}")
    status = int(match[1])
    if status < 200:
        del buffer[: end + 4]
        return take_answer(buffer, to_head=to_head, closed=closed)
    length = _LENGTH.search(head)
    size = 0 if to_head or status in {204, 304} or length is None else int(length[1])
    if len(buffer) < end + 4 + size:
        if closed:
            raise Malformed(f"cut off: {bytes(buffer)[:300]!r}")
        return None
    answer = Answer(status, head, bytes(buffer[end + 4 : end + 4 + size]))
    del buffer[: end + 4 + size]
    return answer


def what_is_wrong(answer: Answer, *, to_head: bool, path: bytes) -> str | None:
    """Why Station may not answer this, to anything."""
    if answer.status >= 500 and answer.status != 503:
        return f"status {answer.status}"
    for line in answer.head.split(b"\r\n")[1:-1]:
        if not _HEADER.fullmatch(line):
            return f"malformed header {line[:200]!r}"
        if line.lower().startswith(INJECTED.lower()):
            return "a header was injected"
    found = _TYPE.search(answer.head)
    content_type = found[1].strip().lower() if found else b""
    if content_type == b"text/html" and answer.status == 200 and path.partition(b"?")[0] in _PAGES:
        return None
    if content_type == b"text/html" and _CONSOLE.match(path):
        return "a stack" if b"Traceback" in answer.body else None
    if _PAGE_OR_STACK.match(answer.body) or content_type == b"text/html":
        return "HTML, or a stack"
    if answer.status >= 400 and answer.head + b"\r\n" != _BARE:
        if content_type not in _JSON:
            return f"an error of the type {content_type!r}"
        if not to_head and not _is_object(answer.body):
            return "an error that is no JSON object"
    return None


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False
