import pytest

from accounts.models import Workspace
from billing.models import Operation as Posting
from inference import jobs
from inference.attempts import Result
from inference.models import Job
from tests import factories
from tests.inference.steps import TIMINGS, claim, fresh, stored, usage_of

pytestmark = pytest.mark.usefixtures("model")


@pytest.fixture
def done(workspace: Workspace) -> Job:
    """One image of three delivered."""
    mine = claim(factories.job(workspace, num_images=3))
    jobs.complete(mine, Result(stored(mine, 1), TIMINGS))
    return fresh(mine.job)


class TestCapture:
    def test_gives_ledger_and_usage_the_time_of_the_jobs_end(self, done: Job) -> None:
        """So that a report of any time holds the credits that the ledger captured in it."""
        settled = Posting.objects.for_workspace(done.workspace_id).get(resolves__operation_id=done.hold_id)

        assert settled.created_at == usage_of(done).created_at == done.finished_at

    def test_tells_usage_when_the_job_was_accepted(self, done: Job) -> None:
        assert usage_of(done).accepted_at == done.created_at

    def test_records_what_was_delivered(self, done: Job) -> None:
        used = usage_of(done)

        assert (used.images, used.pixels, used.evaluations, used.gpu_ms) == (1, 64 * 64, 4, 30)
        assert used.credits == done.captured_credits == 10
