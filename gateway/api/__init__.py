"""Plumbing that all dialects share: who is calling, errors, parsing, waiting, files."""
