"""A fleet of bots: each reports how it is, and whoever may read sees them all."""
