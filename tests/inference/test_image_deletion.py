from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.core.files.storage import storages

from accounts import audit, clock, workspaces
from accounts.models import AuditEvent, Entitlements, Membership, Side, User, Workspace
from accounts.roles import Role, RoleForbids
from inference import image_deletion, jobs, reconciliation, retention, storage
from inference.image_deletion import ImageNotFound
from inference.models import Image, Job, ModelVersion
from inference.requests import Delivery
from tests import factories
from tests.inference import stubborn_storage
from tests.inference.steps import judge


@pytest.fixture(autouse=True)
def _pictures_in_order(db: None, settings: Any) -> Iterator[None]:
    judge(settings)
    yield
    assert reconciliation.verify() == []


@pytest.fixture
def pair(workspace: Workspace, model: ModelVersion) -> Job:
    """A job with two pictures."""
    return factories.run(factories.job(workspace, num_images=2))


@pytest.fixture
def charlies_image(charlies_workspace: Workspace, model: ModelVersion) -> Image:
    caller = factories.caller(charlies_workspace, side=Side.TEST)
    job = factories.run(jobs.submit(caller, factories.request(), Delivery()))
    return jobs.images_of(job)[0]


def fresh(image: Image) -> Image:
    return Image.objects.across_workspaces().get(pk=image.pk)


def has_bytes(image: Image) -> bool:
    return storages["images"].exists(image.storage_key)


def later(image: Image, **age: float) -> datetime:
    return image.created_at + timedelta(**age)


class TestDelete:
    def test_hides_the_picture_at_once(self, pair: Job, workspace: Workspace) -> None:
        first, second = jobs.images_of(pair)

        image_deletion.delete(factories.caller(workspace), first.pk)

        assert jobs.images_of(pair) == [second]

    def test_lets_its_bytes_go_with_the_next_sweep(self, pair: Job, workspace: Workspace) -> None:
        first, second = jobs.images_of(pair)
        image_deletion.delete(factories.caller(workspace), first.pk)

        assert image_deletion.erase_hidden(clock.now()) == 1
        assert (has_bytes(first), has_bytes(second)) == (False, True)

    def test_is_written_down(self, pair: Job, workspace: Workspace) -> None:
        first, _ = jobs.images_of(pair)

        image_deletion.delete(factories.caller(workspace), first.pk)

        event = AuditEvent.objects.for_workspace(workspace).get(action=audit.Event.IMAGE_DELETED)
        assert (event.target, event.request_id) == (first.public_id, "req_test")

    def test_finds_nothing_the_second_time(self, pair: Job, workspace: Workspace) -> None:
        first, _ = jobs.images_of(pair)
        image_deletion.delete(factories.caller(workspace), first.pk)

        with pytest.raises(ImageNotFound):
            image_deletion.delete(factories.caller(workspace), first.pk)

        events = AuditEvent.objects.for_workspace(workspace).filter(action=audit.Event.IMAGE_DELETED)
        assert events.count() == 1

    def test_is_not_for_who_may_not_generate(self, pair: Job, workspace: Workspace, bob: User) -> None:
        viewer = workspaces.add_member(workspace, bob, Role.VIEWER)

        with pytest.raises(RoleForbids):
            image_deletion.delete(factories.caller(workspace, membership=viewer), jobs.images_of(pair)[0].pk)

    def test_is_not_for_a_member_who_cannot_see_it(
        self, pair: Job, workspace: Workspace, bobs_membership: Membership
    ) -> None:
        first, _ = jobs.images_of(pair)

        with pytest.raises(ImageNotFound):
            image_deletion.delete(factories.caller(workspace, membership=bobs_membership), first.pk)

        assert fresh(first).deleted_at is None

    def test_is_not_for_a_stranger(self, pair: Job, charlies_workspace: Workspace) -> None:
        first, _ = jobs.images_of(pair)

        with pytest.raises(ImageNotFound):
            image_deletion.delete(factories.caller(charlies_workspace), first.pk)

        assert fresh(first).deleted_at is None

    def test_is_not_for_the_other_side(self, pair: Job, workspace: Workspace) -> None:
        with pytest.raises(ImageNotFound):
            image_deletion.delete(factories.caller(workspace, side=Side.TEST), jobs.images_of(pair)[0].pk)


class TestHideOld:
    def test_hides_what_is_exactly_as_old_as_it_is_kept(self, pair: Job) -> None:
        first, second = jobs.images_of(pair)

        assert image_deletion.hide_old(later(first, days=90, milliseconds=-1)) == 0
        assert image_deletion.hide_old(later(second, days=90)) == 2
        assert jobs.images_of(pair) == []

    def test_hides_nothing_twice(self, pair: Job) -> None:
        now = later(jobs.images_of(pair)[0], days=91)
        image_deletion.hide_old(now)

        assert image_deletion.hide_old(now + timedelta(days=1)) == 0
        assert {image.deleted_at for image in Image.objects.across_workspaces()} == {now}

    def test_leaves_the_pictures_of_others(
        self, pair: Job, workspace: Workspace, charlies_image: Image
    ) -> None:
        Entitlements.objects.create(workspace=workspace, picture_retention_days=1)

        image_deletion.hide_old(later(charlies_image, days=2))

        assert jobs.images_of(pair) == []
        assert fresh(charlies_image).deleted_at is None

    def test_leaves_those_of_a_workspace_that_keeps_them(
        self, pair: Job, workspace: Workspace, charlies_image: Image
    ) -> None:
        Entitlements.objects.create(workspace=workspace, picture_retention_days=0)

        image_deletion.hide_old(later(charlies_image, days=5_000))

        assert len(jobs.images_of(pair)) == 2
        assert fresh(charlies_image).deleted_at is not None

    def test_takes_the_oldest_of_many_first(self, pair: Job, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retention, "BATCH", 1)
        first, second = jobs.images_of(pair)
        Image.objects.across_workspaces().filter(pk=second.pk).update(created_at=later(first, days=-1))

        image_deletion.hide_old(later(first, days=100))

        assert jobs.images_of(pair) == [first]


class TestEraseHidden:
    @pytest.fixture
    def hidden(self, pair: Job) -> list[Image]:
        images = jobs.images_of(pair)
        image_deletion.hide_old(later(images[0], days=100))
        return images

    def test_says_when_the_bytes_went(self, hidden: list[Image]) -> None:
        now = clock.now()

        assert image_deletion.erase_hidden(now) == 2
        assert [fresh(image).bytes_deleted_at for image in hidden] == [now, now]

    def test_leaves_what_is_shown(self, pair: Job) -> None:
        assert image_deletion.erase_hidden(clock.now()) == 0
        assert all(has_bytes(image) for image in jobs.images_of(pair))

    def test_goes_on_after_a_crash_between_bytes_and_mark(self, hidden: list[Image]) -> None:
        storage.erase(hidden[0].storage_key)

        assert image_deletion.erase_hidden(clock.now()) == 2
        assert not any(has_bytes(image) for image in hidden)

    def test_asks_a_storage_that_failed_again(self, hidden: list[Image], settings: Any) -> None:
        stubborn_storage.keep(settings, hidden[0].storage_key)

        assert image_deletion.erase_hidden(clock.now()) == 1
        assert [has_bytes(image) for image in hidden] == [True, False]
        assert fresh(hidden[0]).bytes_deleted_at is None

        stubborn_storage.keep(settings)

        assert image_deletion.erase_hidden(clock.now()) == 1
        assert not has_bytes(hidden[0])

    def test_lives_with_whatever_a_storage_raises(self, hidden: list[Image], settings: Any) -> None:
        stubborn_storage.use(settings, stubborn_storage.UnreachableStorage)

        assert image_deletion.erase_hidden(clock.now()) == 0

    def test_gets_to_the_others_though_a_batch_of_pictures_fails(
        self, hidden: list[Image], settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "BATCH", 1)
        stubborn_storage.keep(settings, hidden[0].storage_key)

        for _ in range(60):  # each time it is one of the two, so all 60 miss once in 10^18 runs
            image_deletion.erase_hidden(clock.now())

        assert [has_bytes(image) for image in hidden] == [True, False]

    def test_takes_no_more_than_its_time(self, hidden: list[Image], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retention.for_a_while, "__defaults__", (0.0,))

        assert [image_deletion.erase_hidden(clock.now()) for _ in range(3)] == [1, 1, 0]
