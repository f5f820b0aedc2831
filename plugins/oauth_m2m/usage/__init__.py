"""How much clients use Station, and what can be told from that.

`UsageCounter` counts in memory what this process sees and adds it to MongoDB, `UsageReports` reads what all
have counted, and `HintService` names the clients that fetch a token for every call. Usage is a chart, not a
ledger: a process that is killed takes a few seconds of it along.
"""

from plugins.oauth_m2m.usage.counter import UsageCounter
from plugins.oauth_m2m.usage.hints import HintService
from plugins.oauth_m2m.usage.reports import UsageReport, UsageReports

__all__ = ["HintService", "UsageCounter", "UsageReport", "UsageReports"]
