import pytest
from django.db import IntegrityError

from accounts import ids
from accounts.models import Side, Workspace
from billing import usage
from billing.ledger import Settlement
from billing.models import UsageRecord
from billing.usage import Consumer
from tests.billing.steps import NOW, QUANTITIES, QUOTE, TOMORROW

SETTLEMENT = Settlement(captured_credits=10, released_credits=5, revenue_micros=2_500_000)


def record(workspace: Workspace, reference: str = "job_1", side: Side = Side.LIVE) -> UsageRecord:
    consumer = Consumer(workspace.pk, side, ids.new_id(), ids.new_id(), "a hash")
    return record_for(consumer, reference)


def record_for(consumer: Consumer, reference: str = "job_1") -> UsageRecord:
    times = {"accepted_at": NOW, "created_at": TOMORROW}
    return usage.record(reference, consumer, QUOTE, QUANTITIES, SETTLEMENT, **times)


class TestRecord:
    def test_keeps_what_was_sold(self, workspace: Workspace) -> None:
        row = record(workspace)

        assert (row.sku, row.operation, row.price_book_version) == ("a model", "text-to-image", 1)

    def test_keeps_the_quantities(self, workspace: Workspace) -> None:
        row = record(workspace)

        assert (row.images, row.pixels, row.evaluations, row.gpu_ms) == (1, 4_096, 4, 120)

    def test_keeps_what_was_captured_and_earned(self, workspace: Workspace) -> None:
        row = record(workspace)

        assert (row.credits, row.revenue_micros, row.currency) == (10, 2_500_000, "usd")

    def test_keeps_when_the_job_was_accepted_and_when_settled(self, workspace: Workspace) -> None:
        row = record(workspace)

        row.refresh_from_db()
        assert (row.accepted_at, row.created_at) == (NOW, TOMORROW)

    def test_belongs_to_its_workspace_and_side(
        self, workspace: Workspace, charlies_workspace: Workspace
    ) -> None:
        row = record(workspace, side=Side.TEST)

        assert list(UsageRecord.objects.for_workspace(workspace).filter(side=Side.TEST)) == [row]
        assert not UsageRecord.objects.for_workspace(charlies_workspace).exists()

    def test_keeps_the_consumer_by_ids_that_need_no_row(self, workspace: Workspace) -> None:
        consumer = Consumer(workspace.pk, Side.LIVE, ids.new_id(), ids.new_id(), "a hash")

        row = record_for(consumer)

        assert (row.api_key_id, row.membership_id) == (consumer.api_key_id, consumer.membership_id)
        assert row.end_user_hash == "a hash"

    def test_takes_a_consumer_without_key_and_member(self, workspace: Workspace) -> None:
        consumer = Consumer(workspace.pk, Side.LIVE, None, None, "")

        row = record_for(consumer)

        assert (row.api_key_id, row.membership_id) == (None, None)

    def test_refuses_a_second_row_of_one_job(self, workspace: Workspace) -> None:
        record(workspace, "job_1")

        with pytest.raises(IntegrityError):
            record(workspace, "job_1")
