"""Requests per minute of keys and workspaces, as token buckets.

A bucket holds the requests that may come at once and gains what its limit allows in a minute, evenly. Start reading at
`limiter.take`: it asks Redis (`shared`), where all web processes meet, or counts in this process (`local`) where there
is none. How fast a bucket fills and what an answer says of it is in `buckets`.
"""
