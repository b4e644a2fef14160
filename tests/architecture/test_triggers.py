"""What the database does by itself is still there after the last migration.

SQLite makes a table anew to alter a column, and its triggers are gone without a word: this is where that shows.
"""

import importlib
import pkgutil
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from accounts import audit, cache_versions
from accounts.models import CacheVersion
from billing import immutability
from tests import factories
from tests.gateway import tenant_world

PACKAGES = ("accounts", "billing", "inference")


def _watched() -> Iterator[tuple[str, str, str]]:
    """Topic, table and verb of every trigger that migrations made to raise a version."""
    for module in _migrations():
        watched = getattr(module, "WATCHED", None)
        if watched is None and hasattr(module, "watch"):
            watched = [("catalog", table, cache_versions.EVERY_CHANGE) for table in module.TABLES]
        for topic, table, verbs in watched or ():
            yield from ((topic, table, verb) for verb in verbs)


def _migrations() -> Iterator[Any]:
    for package in PACKAGES:
        path = importlib.import_module(f"{package}.migrations").__path__
        for found in pkgutil.iter_modules(path):
            yield importlib.import_module(f"{package}.migrations.{found.name}")


WATCHED = list(_watched())


@pytest.fixture(autouse=True)
def _rows_everywhere(db: None) -> None:
    factories.fake_model()
    tenant_world.furnish("alice")


class TestCacheVersion:
    def test_is_watched_by_several_tables_of_each_topic(self) -> None:
        """That the walk finds what it looks for."""
        assert {topic for topic, _, _ in WATCHED} == {"keys", "limits", "catalog"}
        assert len(WATCHED) > 25

    @pytest.mark.parametrize("topic, table, verb", WATCHED, ids=[" ".join(one)[:60] for one in WATCHED])
    def test_rises_with_every_change(self, topic: str, table: str, verb: str) -> None:
        with transaction.atomic():
            for change in _changes(table, verb):
                before = _version(topic)

                _execute(change)

                assert _version(topic) > before, change
            transaction.set_rollback(True)


class TestImmutableTable:
    @pytest.mark.parametrize("table", [*audit.TABLES, *immutability.TABLES])
    def test_refuses_to_change_and_to_delete(self, table: str) -> None:
        rows = _count(table)

        for change in [*map(partial(_update, table), _columns(table)), f"DELETE FROM {table}"]:
            with pytest.raises(DatabaseError, match="never changed or deleted"), transaction.atomic():
                _execute(change)

        assert rows > 0
        assert _count(table) == rows


def _changes(table: str, verb: str) -> list[str]:
    """Statements that a trigger for the verb must notice; an update of each column that it is for."""
    if verb.startswith("UPDATE OF"):
        names = verb.removeprefix("UPDATE OF").split(",")
        return [_update(table, name.strip()) for name in names]
    if verb == "UPDATE":
        return [_update(table, name) for name in _columns(table)]
    if verb == "INSERT":
        _execute(f"CREATE TEMPORARY TABLE kept AS SELECT * FROM {table}")
        _execute(f"DELETE FROM {table}")
        return [f"INSERT INTO {table} SELECT * FROM kept"]
    return [f"DELETE FROM {table}"]


def _update(table: str, column: str) -> str:
    name = connection.ops.quote_name(column)
    return f"UPDATE {table} SET {name} = {name}"


def _columns(table: str) -> list[str]:
    with connection.cursor() as cursor:
        return [column.name for column in connection.introspection.get_table_description(cursor, table)]


def _version(topic: str) -> int:
    found = CacheVersion.objects.filter(topic=topic).values_list("version", flat=True).first()
    return found or 0  # before its first change a topic has no row


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _count(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return int(cursor.fetchone()[0])
