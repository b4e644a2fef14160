"""PostgreSQL shows a web process the rows of one workspace, also when a query of ours forgets to ask for them alone."""

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import dj_database_url
import httpx
import psycopg
import pytest
from django.apps import apps
from django.db import ProgrammingError, connection, connections, models, transaction
from django.db.backends.postgresql.base import DatabaseWrapper
from psycopg import sql

from accounts import row_security, tenancy
from accounts.models import Entitlements, OutboxMessage, Workspace, WorkspaceKeyring
from accounts.tenancy import EVERY_WORKSPACE
from tests.gateway import tenant_matrix, tenant_world
from tests.gateway.tenant_matrix import Call, Send, Shown
from tests.gateway.tenant_world import World
from tests.services.conftest import Fleet, start_fleet
from tests.services.web_process import PRODUCT, web_process

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]

FORGETFUL = "tests.services.bad_variants:forgotten_filter"
# By the policy, or because web processes may not do that to the table at all.
REFUSED = r"row-level security|permission denied"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Without a web process: each test has its own or none."""
    with start_fleet(
        tmp_path_factory.mktemp("tenants"), web_processes=0, ATELIER_MAX_WAIT_SECONDS="1"
    ) as one:
        yield one


@pytest.fixture(scope="module")
def worlds(fleet: Fleet) -> dict[str, World]:
    """Workspaces with one of everything: charlie's is the one that nobody may touch."""
    told, *_ = fleet.run("-m", "tests.gateway.tenant_world", "alice", "dora", "charlie").splitlines()
    return {one["name"]: World(**one) for one in json.loads(told)}


@pytest.fixture
def alice(worlds: dict[str, World]) -> uuid.UUID:
    return worlds["alice"].workspace_id


@pytest.fixture
def charlie(worlds: dict[str, World]) -> uuid.UUID:
    return worlds["charlie"].workspace_id


@pytest.fixture
def as_web(fleet: Fleet, django_db_blocker: Any) -> Iterator[None]:
    """This process's ORM as the web processes have it: their role, and here one connection in the pool."""
    with django_db_blocker.unblock(), _connected(fleet.web_database):
        yield


@pytest.fixture
def as_superuser(fleet: Fleet, django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock(), _connected(fleet.environment["DATABASE_URL"]):
        yield


@contextlib.contextmanager
def _connected(url: str) -> Iterator[None]:
    other = connections["default"]
    pool = {"pool": {"min_size": 1, "max_size": 1, "timeout": 10}}
    config = {**other.settings_dict, **dj_database_url.parse(url), "CONN_MAX_AGE": 0, "OPTIONS": pool}
    ours = DatabaseWrapper(config, "default")
    connections["default"] = ours
    try:
        yield
    finally:
        ours.close()
        ours.close_pool()
        connections["default"] = other


def _tables() -> list[tuple[type[models.Model], str]]:
    """Every table with rows of a tenant, and the column that names it."""
    owned = [(model, "workspace_id") for model in tenant_world.tables()]
    others: list[type[models.Model]] = [WorkspaceKeyring, Entitlements, OutboxMessage]
    return [*owned, *((model, "workspace_id") for model in others), (Workspace, "id")]


def _all(model: type[models.Model]) -> models.QuerySet[Any]:
    """A query that forgets the workspace."""
    return models.QuerySet(model)


def _owners() -> dict[str, set[uuid.UUID]]:
    """Whose rows show in which table."""
    return {
        model._meta.db_table: set(_all(model).values_list(column, flat=True).distinct())
        for model, column in _tables()
    }


def _everywhere(*workspaces: uuid.UUID) -> dict[str, set[uuid.UUID]]:
    return {model._meta.db_table: set(workspaces) for model, _ in _tables()}


def _jobs() -> set[uuid.UUID]:
    """Whose jobs show, in one short query."""
    return _owners_of(apps.get_model("inference", "Job"))


def _owners_of(model: type[models.Model]) -> set[uuid.UUID]:
    return set(_all(model).values_list("workspace_id", flat=True).distinct())


@pytest.mark.usefixtures("as_web")
class TestWall:
    def test_shows_the_rows_of_the_workspace_that_is_served(
        self, worlds: dict[str, World], alice: uuid.UUID, charlie: uuid.UUID
    ) -> None:
        with tenancy.reading(alice):
            assert _owners() == _everywhere(alice)
        with tenancy.reading(charlie):
            assert _owners() == _everywhere(charlie)
        with tenancy.reading(EVERY_WORKSPACE):
            assert all({alice, charlie} <= owners for owners in _owners().values())

    def test_shows_nothing_to_whoever_serves_nobody(self, worlds: dict[str, World]) -> None:
        assert _owners() == _everywhere()
        with transaction.atomic():
            assert _owners() == _everywhere()

    @pytest.mark.parametrize("model, column", _tables())
    def test_takes_no_row_of_another(
        self, alice: uuid.UUID, charlie: uuid.UUID, model: type[models.Model], column: str
    ) -> None:
        with tenancy.reading(EVERY_WORKSPACE):
            theirs = _all(model).filter(**{column: charlie}).first()
            mine = _all(model).filter(**{column: alice}).first()
        assert theirs is not None
        assert mine is not None

        with pytest.raises(ProgrammingError, match=REFUSED), tenancy.writing(alice):
            theirs.save(force_insert=True)
        with pytest.raises(ProgrammingError, match=REFUSED), tenancy.writing(alice):
            _all(model).filter(pk=mine.pk).update(**{column: charlie})

    @pytest.mark.parametrize("model, column", _tables())
    def test_changes_no_row_of_another(
        self, alice: uuid.UUID, charlie: uuid.UUID, model: type[models.Model], column: str
    ) -> None:
        table, name = sql.Identifier(model._meta.db_table), sql.Identifier(column)
        with contextlib.suppress(ProgrammingError), tenancy.writing(alice), connection.cursor() as cursor:
            cursor.execute(
                sql.SQL("UPDATE {} SET {} = {} WHERE {} = %s").format(table, name, name, name), [charlie]
            )
            assert cursor.rowcount == 0
            cursor.execute(sql.SQL("DELETE FROM {} WHERE {} = %s").format(table, name), [charlie])
            assert cursor.rowcount == 0


@pytest.mark.usefixtures("as_web")
class TestServedWorkspace:
    """The name lasts as long as its transaction, on a connection that all of them share."""

    def test_is_forgotten_with_the_transaction(self, alice: uuid.UUID, charlie: uuid.UUID) -> None:
        sessions = set()
        for served in [alice, charlie] * 5:
            with tenancy.reading(served):
                sessions.add(_session())
                assert _jobs() == {served}
            assert _jobs() == set()
            connection.close()  # back into the pool

        assert len(sessions) == 1

    def test_is_forgotten_with_an_error(self, alice: uuid.UUID, charlie: uuid.UUID) -> None:
        with pytest.raises(ZeroDivisionError), tenancy.writing(alice):
            raise ZeroDivisionError
        assert _jobs() == set()
        with pytest.raises(ProgrammingError), tenancy.writing(alice), connection.cursor() as cursor:
            cursor.execute("SELECT nothing")

        assert _jobs() == set()
        with tenancy.reading(charlie):
            assert _jobs() == {charlie}

    def test_stays_when_a_savepoint_is_rolled_back(self, alice: uuid.UUID) -> None:
        with tenancy.writing(alice):
            with contextlib.suppress(ZeroDivisionError), tenancy.writing(alice):
                raise ZeroDivisionError
            with contextlib.suppress(ZeroDivisionError), transaction.atomic():
                raise ZeroDivisionError

            assert _jobs() == {alice}

    def test_is_everybody_again_after_one_of_them(self, alice: uuid.UUID, charlie: uuid.UUID) -> None:
        with tenancy.writing(EVERY_WORKSPACE):
            with tenancy.writing(alice):
                assert _jobs() == {alice}
            assert _jobs() >= {alice, charlie}
            with contextlib.suppress(ZeroDivisionError), tenancy.writing(alice):
                raise ZeroDivisionError
            assert _jobs() >= {alice, charlie}

    def test_cannot_become_another(self, alice: uuid.UUID, charlie: uuid.UUID) -> None:
        with tenancy.writing(alice):
            with pytest.raises(tenancy.CrossedWorkspaces), tenancy.reading(charlie):
                pass
            with pytest.raises(tenancy.CrossedWorkspaces), tenancy.reading(EVERY_WORKSPACE):
                pass

            assert _jobs() == {alice}


def _session() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


class TestRole:
    def test_is_bound_even_as_the_tables_owner(self, as_web: None, fleet: Fleet, alice: uuid.UUID) -> None:
        """FORCE does that: without it the owner would see everything."""
        with _owning(fleet) as superuser:
            assert row_security.is_binding()
            assert _owners() == _everywhere()
            with tenancy.reading(alice):
                assert _owners() == _everywhere(alice)

            superuser.execute("ALTER TABLE inference_job NO FORCE ROW LEVEL SECURITY")
            try:
                assert len(_jobs()) > 1
            finally:
                superuser.execute("ALTER TABLE inference_job FORCE ROW LEVEL SECURITY")

    def test_is_bound_as_web_processes_are(self, as_web: None) -> None:
        assert row_security.is_binding()

    def test_is_not_bound_as_superuser(
        self, as_superuser: None, worlds: dict[str, World], alice: uuid.UUID
    ) -> None:
        """Nothing but `is_binding` tells that the wall is not there."""
        assert not row_security.is_binding()
        with tenancy.reading(alice):
            assert len(_jobs()) > 1


@contextlib.contextmanager
def _owning(fleet: Fleet) -> Iterator[psycopg.Connection]:
    """Give the web role all tenants' tables for a while."""
    role = dj_database_url.parse(fleet.web_database)["USER"]
    change = sql.SQL("ALTER TABLE {} OWNER TO {}")
    with psycopg.connect(fleet.environment["DATABASE_URL"], autocommit=True) as superuser:
        (me,) = superuser.execute("SELECT current_user").fetchone() or ("",)
        tables = [sql.Identifier(model._meta.db_table) for model, _ in _tables()]
        for table in tables:
            superuser.execute(change.format(table, sql.Identifier(role)))
        try:
            yield superuser
        finally:
            for table in tables:
                superuser.execute(change.format(table, sql.Identifier(me)))
            fleet.manage("grant_web_role", role)  # what an owner gives away, it has no more


@pytest.mark.usefixtures("as_superuser")
class TestPolicies:
    def test_are_on_every_table_of_a_tenant(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT c.relname FROM pg_class c JOIN pg_policy p ON p.polrelid = c.oid"
                " WHERE c.relrowsecurity AND c.relforcerowsecurity AND p.polcmd = '*'"
                " AND p.polqual IS NOT NULL AND p.polwithcheck IS NOT NULL"
            )
            guarded = {table for (table,) in cursor.fetchall()}

        assert guarded == {model._meta.db_table for model, _ in _tables()}

    def test_are_missing_on_no_table_that_names_a_workspace(self) -> None:
        guarded = {model for model, _ in _tables()}
        naming = {
            model
            for model in apps.get_models()
            for field in model._meta.concrete_fields
            if field.attname == "workspace_id" or field.related_model is Workspace
        }

        assert naming - guarded == set()


class TestTenantMatrix:
    """Every address over HTTP, by web processes that the wall binds."""

    def test_holds(self, fleet: Fleet, worlds: dict[str, World], untouched: Callable[[], None]) -> None:
        with _client(fleet, PRODUCT, fleet.web_database) as send:
            _check_all(send, worlds["alice"], worlds["charlie"])

        untouched()

    def test_holds_though_every_filter_is_forgotten(
        self, fleet: Fleet, worlds: dict[str, World], untouched: Callable[[], None]
    ) -> None:
        with _client(fleet, FORGETFUL, fleet.web_database) as send:
            _check_all(send, worlds["dora"], worlds["charlie"])

        untouched()

    def test_finds_a_forgotten_filter_where_there_is_no_wall(
        self, fleet: Fleet, worlds: dict[str, World]
    ) -> None:
        with _client(fleet, FORGETFUL, fleet.environment["DATABASE_URL"]) as send:
            templates = send(Call("get", "/api/v1/prompt-templates", worlds["alice"].key, None, {}))
            with pytest.raises(AssertionError):
                tenant_matrix.check_own(send, worlds["alice"], worlds["charlie"])

        assert worlds["charlie"].template in templates.text


@pytest.fixture
def untouched(as_superuser: None, charlie: uuid.UUID) -> Callable[[], None]:
    """Call it at the end: nothing of charlie's has changed since the beginning."""
    before = tenant_world.state(charlie)

    def compare() -> None:
        assert tenant_world.state(charlie) == before

    return compare


def _check_all(send: Send, mine: World, other: World) -> None:
    """The refusals first, while everything is there."""
    tenant_matrix.check_without_key(send, mine)
    tenant_matrix.check_foreign(send, mine, other)
    tenant_matrix.check_test_side(send, mine, other)
    tenant_matrix.check_own(send, mine, other)


@contextlib.contextmanager
def _client(fleet: Fleet, application: str, database: str) -> Iterator[Send]:
    environment = {**fleet.environment, "DATABASE_URL": database}
    with (
        web_process(environment, application) as web,
        httpx.Client(base_url=web.base_url, timeout=60, trust_env=False) as client,
    ):

        def send(call: Call) -> Shown:
            headers = call.headers | ({"Authorization": f"Bearer {call.key}"} if call.key else {})
            answer = client.request(call.method, call.path, json=call.body, headers=headers)
            return Shown(answer.status_code, f"{dict(answer.headers)} {answer.text}")

        yield send
