"""The wire rules, row by row, against any running server: ``station conformance URL``.

- A *row* is one statement of ``docs/protocol.md``; its *rule* is the function that checks it (`rows`).
- A *need* is what a rule asks of a server beside a client, such as admin access or a revocation endpoint.
- A *fate* is what became of a row: passed, failed with the exchange that shows it, or skipped with a reason.

Nothing here imports Station's services or its handlers: the server under test may be any. What is sent is
bytes (`wire`), since rules need repeated headers and broken ones. No secret gets into a report (`masking`).
"""

from plugins.oauth_m2m.conformance.clients import Client
from plugins.oauth_m2m.conformance.endpoints import CannotRun
from plugins.oauth_m2m.conformance.examination import Examination, Listener, examine
from plugins.oauth_m2m.conformance.rows import read_rows, select
from plugins.oauth_m2m.conformance.runner import Result

__all__ = ["CannotRun", "Client", "Examination", "Listener", "Result", "examine", "read_rows", "select"]
