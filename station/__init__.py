"""Station: a Tornado application made of plugins.

``hookimpl`` marks a plugin's implementation of a hook of `station.hookspecs` or of another plugin,
``hookspec`` a hook that a plugin declares itself.
"""

from importlib.metadata import version

import pluggy

__all__ = ["__version__", "hookimpl", "hookspec"]

__version__ = version("station")

hookimpl = pluggy.HookimplMarker("station")
hookspec = pluggy.HookspecMarker("station")
