"""The accepting transaction is short: its statements are counted, because each holds locks that others want."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import QuotaUnit, Subject, Window, Workspace
from inference import jobs, quotas
from inference.requests import Delivery
from tests import factories

MAX_STATEMENTS = 12
# The outermost savepoint stands for BEGIN and COMMIT, since the test itself is inside a transaction.
MARKERS = ("SAVEPOINT", "RELEASE SAVEPOINT")


def _accepting_statements(workspace: Workspace, **fields: Any) -> list[str]:
    """The statements between BEGIN and COMMIT of one `submit`; nested savepoints cost a round trip and count."""
    with CaptureQueriesContext(
        connection,
    ) as captured:
        jobs.submit(factories.caller(workspace), factories.request(**fields), Delivery(), "once")
    statements = [query["sql"] for query in captured.captured_queries]
    ends = [number for number, sql in enumerate(statements) if sql.startswith(MARKERS)]
    return statements[ends[0] + 1 : ends[-1]]


class TestAccepting:
    def test_takes_few_statements(self, workspace: Workspace, model: Any) -> None:
        statements = _accepting_statements(workspace)

        assert len(statements) <= MAX_STATEMENTS, "\n".join(statements)

    @pytest.mark.parametrize("images", [1, 10])
    def test_takes_no_more_for_more_images(self, workspace: Workspace, model: Any, images: int) -> None:
        statements = _accepting_statements(workspace, num_images=images)

        assert len(statements) <= MAX_STATEMENTS, "\n".join(statements)

    def test_takes_few_with_quotas_of_every_kind(self, workspace: Workspace, model: Any) -> None:
        for unit in QuotaUnit:
            for window in Window:
                quotas.set_limit(workspace.pk, Subject.WORKSPACE, "", unit, window, 1_000)
        jobs.submit(factories.caller(workspace), factories.request(), Delivery())  # makes the counters

        statements = _accepting_statements(workspace)

        assert len(statements) <= MAX_STATEMENTS, "\n".join(statements)

    def test_touches_the_contended_rows_last(self, workspace: Workspace, model: Any) -> None:
        statements = _accepting_statements(workspace)

        tables = [sql.partition('"')[2].partition('"')[0] for sql in statements if sql.startswith("INSERT")]
        first_of_billing = next(n for n, sql in enumerate(statements) if '"billing_' in sql)
        assert tables[0] == "inference_idempotencyrecord"
        assert [sql for sql in statements[first_of_billing:] if '"inference_' in sql] == []  # no quota is set
        assert [sql for sql in statements[first_of_billing:] if '"accounts_' in sql] == []
