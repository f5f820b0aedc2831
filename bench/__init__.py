"""``make bench``: what Station costs, against the bars of its design and against its peers.

::

    python -m bench             # everything, about twelve minutes
    python -m bench --quick     # everything, roughly, in about two
    python -m bench --only throughput --check

``__main__`` calls one module for each thing that is measured (`throughput`, `revocation`, `growth`,
`restart`, `flatness`, `refusals`); each starts the servers that it needs (`station`, `peers`), asks them
(`load`, `connection`) and adds to the `report`, which prints the bars and is drawn by `plots`. `lifecycle`
is a benchmark of its own.
"""
