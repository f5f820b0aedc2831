"""House rules: a claim in every token, a freeze of scopes, and a copy of the audit in a file."""
