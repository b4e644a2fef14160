import io

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Workspace
from billing.models import Balance
from inference import jobs, storage
from inference.models import Job
from tests import factories

pytestmark = pytest.mark.usefixtures("model")


@pytest.fixture
def done(workspace: Workspace) -> Job:
    return factories.run(factories.job(workspace))


def verify(*options: str) -> str:
    printed = io.StringIO()
    call_command("verify_ledger", *options, stdout=printed)
    return printed.getvalue()


def lose_the_picture(job: Job) -> None:
    (image,) = jobs.images_of(job)
    storage.discard(image.storage_key)


class TestVerifyLedger:
    def test_says_that_the_ledger_is_clean(self, done: Job) -> None:
        assert verify() == "The ledger is clean.\n"

    def test_is_content_with_an_empty_database(self) -> None:
        assert verify() == "The ledger is clean.\n"

    def test_is_content_with_images_of_a_free_model(self, workspace: Workspace) -> None:
        free = factories.fake_model("free", credits=0)

        factories.run(factories.job(workspace, model=free.model.slug))

        assert verify() == "The ledger is clean.\n"

    def test_fails_with_the_count(self, done: Job) -> None:
        Balance.objects.for_workspace(done.workspace_id).update(open_holds=7)
        lose_the_picture(done)

        with pytest.raises(CommandError, match=r"^3 discrepancies\.$"):
            verify()

    def test_prints_what_it_found(self, done: Job) -> None:
        lose_the_picture(done)
        printed = io.StringIO()

        with pytest.raises(CommandError):
            call_command("verify_ledger", stdout=printed)

        (line,) = printed.getvalue().splitlines()
        assert line.startswith("picture has no readable bytes: img_")

    def test_reads_no_pictures_on_request(self, done: Job) -> None:
        lose_the_picture(done)

        assert verify("--without-pictures") == "The ledger is clean.\n"
