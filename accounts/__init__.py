"""Who calls and how much they may: people, workspaces, memberships, API keys, audit, outbox.

Start reading at `models.py`, then `api_keys.py`. This package imports none of the others.
"""
