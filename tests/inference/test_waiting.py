"""Rows of a test's transaction are invisible to the watcher's thread; finding ended jobs is shown in the flows."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import pytest

from accounts import ids
from inference import bus, jobs, waiting
from inference.waiting import Watcher

pytestmark = pytest.mark.usefixtures("db")


def run(story: Callable[[Watcher], Awaitable[object]]) -> object:
    """Play a story with the watcher of a fresh event loop."""

    async def play() -> object:
        return await story(waiting.watcher())

    return asyncio.run(play())


async def start(watcher: Watcher, *job_ids: uuid.UUID) -> "list[asyncio.Task[bool]]":
    """Waiters who would wait long."""
    waiters = [asyncio.create_task(watcher.wait(job_id, 30)) for job_id in job_ids]
    await asyncio.sleep(0)
    return waiters


class TestWait:
    def test_ends_with_the_time(self) -> None:
        async def story(watcher: Watcher) -> bool:
            return await jobs.wait(ids.new_id(), 0.05)

        assert run(story) is False

    def test_ends_at_once_without_time(self) -> None:
        async def story(watcher: Watcher) -> bool:
            return await watcher.wait(ids.new_id(), 0)

        assert run(story) is False

    def test_leaves_no_waiter_behind(self) -> None:
        async def story(watcher: Watcher) -> object:
            await asyncio.gather(*(watcher.wait(ids.new_id(), 0.05) for _ in range(3)))
            return watcher._waiters

        assert run(story) == {}

    def test_leaves_no_waiter_behind_when_the_client_goes_away(self) -> None:
        async def story(watcher: Watcher) -> object:
            (waiter,) = await start(watcher, ids.new_id())
            waiter.cancel()
            await asyncio.wait([waiter])
            return watcher._waiters

        assert run(story) == {}

    def test_keeps_the_other_waiters_of_a_job(self) -> None:
        job_id = ids.new_id()

        async def story(watcher: Watcher) -> object:
            leaver, stayer = await start(watcher, job_id, job_id)
            leaver.cancel()
            await asyncio.wait([leaver])
            watcher._resolve([job_id])
            return await stayer

        assert run(story) is True

    def test_survives_more_than_one_look_at_the_database(self) -> None:
        async def story(watcher: Watcher) -> bool:
            return await watcher.wait(ids.new_id(), waiting.POLL_SECONDS * 1.5)

        assert run(story) is False


class TestResolve:
    def test_wakes_every_waiter_of_the_job(self) -> None:
        job_id = ids.new_id()

        async def story(watcher: Watcher) -> object:
            waiters = await start(watcher, job_id, job_id)
            watcher._resolve([job_id])
            return await asyncio.gather(*waiters)

        assert run(story) == [True, True]

    def test_leaves_waiters_of_other_jobs_waiting(self) -> None:
        ended, running = ids.new_id(), ids.new_id()

        async def story(watcher: Watcher) -> object:
            first, second = await start(watcher, ended, running)
            watcher._resolve([ended])
            await first
            second.cancel()
            return set(watcher._waiters)

        assert run(story) == {running}

    def test_may_name_a_job_twice_or_one_that_nobody_awaits(self) -> None:
        job_id = ids.new_id()

        async def story(watcher: Watcher) -> object:
            (waiter,) = await start(watcher, job_id)
            watcher._resolve([job_id, job_id, ids.new_id()])
            return await waiter

        assert run(story) is True


class TestWatcher:
    def test_is_one_per_event_loop(self) -> None:
        async def story(watcher: Watcher) -> bool:
            return waiting.watcher() is watcher

        assert run(story) is True

    def test_is_another_in_another_loop(self) -> None:
        async def story(watcher: Watcher) -> Watcher:
            return watcher

        assert run(story) is not run(story)

    def test_may_be_nudged_after_its_loop_ended(self) -> None:
        async def story(watcher: Watcher) -> bool:
            return await watcher.wait(ids.new_id(), 0.01)

        run(story)

        bus.job_ended.send()

    def test_may_be_nudged_by_two_jobs_that_end_at_once_after_its_loop_ended(self) -> None:
        async def story(watcher: Watcher) -> object:
            return watcher, asyncio.get_running_loop()

        watcher, loop = run(story)  # type: ignore[misc]

        # Two worker threads that both took the list of subscribers before the first of them unsubscribed.
        watcher._wake(loop)
        watcher._wake(loop)
