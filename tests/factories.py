"""One maker per thing, with defaults that do not matter to the test."""

from datetime import timedelta
from typing import Any

from accounts import clock
from accounts.models import ApiKey, Membership, Side, User, Workspace
from billing import pricing
from billing.models import PriceUnit
from billing.pricing import NewPrice
from inference import catalog, dispatch, jobs, relay, runner
from inference.catalog import NewModel
from inference.models import Job, ModelVersion
from inference.requests import Caller, Delivery, GenerationRequest, Operation

MODEL = "fake"
CREDITS_PER_IMAGE = 10
WORKER = "test-worker"


def user(email: str) -> User:
    return User.objects.create_user(email, "correct horse battery")


def fake_model(
    slug: str = MODEL,
    *,
    credits: int = CREDITS_PER_IMAGE,
    unit: PriceUnit = PriceUnit.PER_IMAGE,
    **fields: Any,
) -> ModelVersion:
    """A registered and priced model of the fake engine: 64 px steps up to 512, 4 steps."""
    defaults: dict[str, Any] = {
        "sizes": [[64, 64]],
        "max_side": 512,
        "schedulers": ["euler", "ddim", "heun"],
        "default_steps": 4,
        "max_steps": 50,
        "max_images": 10,
    }
    new = NewModel(
        slug, slug.title(), "For tests.", "fake", {**defaults, **fields}, aliases=(f"{slug}-alias",)
    )
    version = catalog.register(new)
    pricing.publish([NewPrice(version.sku, str(Operation.TEXT_TO_IMAGE), unit, credits * 1_000)])
    return version


def caller(
    workspace: Workspace,
    *,
    membership: Membership | None = None,
    key: ApiKey | None = None,
    side: Side = Side.LIVE,
) -> Caller:
    return Caller(workspace.pk, side, key, membership, "native", "req_test")


def request(prompt: str = "a red boat", **fields: Any) -> GenerationRequest:
    return GenerationRequest(prompt=prompt, **{"seed": 7, **fields})


def job(workspace: Workspace, prompt: str = "a red boat", **fields: Any) -> Job:
    """An accepted, queued job."""
    return jobs.submit(caller(workspace), request(prompt, **fields), Delivery())


def run(one: Job) -> Job:
    """Run a queued job to its end in this thread."""
    runner.run(one.pk, WORKER)
    one.refresh_from_db()
    return one


def drain() -> None:
    """Publish and run everything that is queued, in this thread."""
    while relay.run_once(clock.now() + timedelta(hours=1)):
        inprocess = dispatch.get()
        assert isinstance(inprocess, dispatch.InProcessDispatch)
        while not inprocess._jobs.empty():
            job_id = inprocess._jobs.get()
            assert job_id is not None
            runner.run(job_id, WORKER)
