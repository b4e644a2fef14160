"""The one clock: the database's.

Leases, deadlines and expiry are compared between machines, so no host clock takes part. Read `now()` once
per transaction and pass it down; tests pass a time instead.
"""

from datetime import UTC, datetime

from django.db import connection

# clock_timestamp moves inside a transaction; now() would stand still and hand out leases already half used.
QUERIES = {
    "postgresql": "SELECT clock_timestamp()",
    "sqlite": "SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')",
}


def now() -> datetime:
    """Current time of the database, aware, in UTC."""
    with connection.cursor() as cursor:
        cursor.execute(QUERIES[connection.vendor])
        (value,) = cursor.fetchone()
    return (
        value.astimezone(UTC)
        if isinstance(value, datetime)
        else datetime.fromisoformat(value).replace(tzinfo=UTC)
    )
