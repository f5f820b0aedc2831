"""Station: a Tornado application made of plugins.

``hookimpl`` marks a plugin's implementation of a hook of `station.hookspecs`.
"""

from importlib.metadata import version

import pluggy

__all__ = ["__version__", "hookimpl"]

__version__ = version("station")

hookimpl = pluggy.HookimplMarker("station")
