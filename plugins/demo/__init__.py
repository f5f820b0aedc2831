"""The smallest real plugin: one resource, two scopes. ``station demo`` and the tour of the README use it."""
