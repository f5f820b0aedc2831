"""What Station tells Prometheus, in whatever number of processes it serves.

Whoever does something counts it, in a plain number of its own: nothing is asked for permission, and a request
pays next to nothing. A collector (as prometheus_client means it: an object with ``collect()``) reads these
numbers when somebody asks::

    @hookimpl
    def station_metrics(app):
        return [FleetCollector(app.settings["fleet"])]

`station.metrics.families` makes what it yields. Commands never import prometheus_client, which takes them a
tenth of a second: so import your collector within the hook.
"""

from station.metrics.histogram import Histogram

__all__ = ["Histogram"]
