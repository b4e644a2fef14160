"""Writing new rows and nothing else, for the transaction that accepts jobs.

`Model.save` compiles its statement anew, sends signals and reads back what the database filled in; for the rows of one
accepted job that is a quarter of the time. Here the statement of a table is made once. Columns that the database fills
in (a serial key, a `db_default`) are left out unless they have a value, and are not read back.
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import connection, models
from django.db.models.expressions import DatabaseDefault


def insert(*rows: models.Model) -> None:
    """Insert rows of one model, all with the same columns set. Raises IntegrityError as `save` does."""
    statement, values = composed(*rows)
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
    for row in rows:
        row._state.adding = False


def composed(*rows: models.Model) -> tuple[str, list[Any]]:
    """The statement that `insert` makes and its values, for whoever has more to say after it."""
    model = type(rows[0])
    names = tuple(field.name for field in model._meta.concrete_fields if _is_set(field, rows[0]))
    fields = [model._meta.get_field(name) for name in names]
    values = [_prepared(field, row) for row in rows for field in fields]
    return _statement(connection.vendor, model, names, len(rows)), values


def _is_set(field: "models.Field[Any, Any]", row: models.Model) -> bool:
    value = getattr(row, field.attname)
    return not isinstance(value, DatabaseDefault) and not (value is None and field.primary_key)


def _prepared(field: Any, row: models.Model) -> Any:
    return field.get_db_prep_save(getattr(row, field.attname), connection)


@functools.cache
def _statement(vendor: str, model: type[models.Model], names: Sequence[str], rows: int) -> str:
    quote = connection.ops.quote_name
    columns = ", ".join(quote(str(model._meta.get_field(name).column)) for name in names)  # type: ignore[union-attr]
    places = f"({', '.join(['%s'] * len(names))})"
    return f"INSERT INTO {quote(model._meta.db_table)} ({columns}) VALUES {', '.join([places] * rows)}"  # noqa: S608


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Statements inside go to PostgreSQL without waiting for each other's answers (a pipeline of libpq).

    For statements whose answers nobody reads. What one of them raises comes later, from another or at the end.
    """
    if connection.vendor != "postgresql":
        yield
        return
    connection.ensure_connection()
    assert connection.connection is not None
    with connection.wrap_database_errors, connection.connection.pipeline():
        yield
