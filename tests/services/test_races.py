"""Many client processes, two web processes, one workspace: nothing is overspent and nothing is done twice."""

import multiprocessing
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import httpx
import pytest

from tests.services.conftest import Fleet

pytestmark = [pytest.mark.service, pytest.mark.timeout(300)]

CLIENTS, POSTS = 8, 50
CREDITS, PRICE = 1_000, 10


def _post_many(
    base_url: str, key: str, num_images: int, idempotency_key: str | None, posts: int
) -> list[str]:
    """Runs in a client process: what each post was answered, `status code-or-job-id`."""
    headers = {"Authorization": f"Bearer {key}"}
    if idempotency_key:
        headers["Idempotency-Key"] = idempotency_key
    body: dict[str, Any] = {"prompt": "a red boat", "num_images": num_images, "seed": 7}
    with httpx.Client(base_url=base_url, headers=headers, timeout=120, trust_env=False) as client:
        answers = [client.post("/api/v1/generations", json=body) for _ in range(posts)]
    return [f"{a.status_code} {a.json().get('code') or a.json()['id']}" for a in answers]


def _race(
    fleet: Fleet, *, num_images: int = 1, idempotency_key: str | None = None, posts: int = POSTS
) -> list[str]:
    urls = [fleet.base_urls[number % len(fleet.base_urls)] for number in range(CLIENTS)]
    with ProcessPoolExecutor(CLIENTS, mp_context=multiprocessing.get_context("spawn")) as pool:
        runs = [pool.submit(_post_many, url, fleet.key, num_images, idempotency_key, posts) for url in urls]
        return [answer for run in runs for answer in run.result()]


def _balance(fleet: Fleet) -> dict[str, int]:
    headers = {"Authorization": f"Bearer {fleet.key}"}
    answer = httpx.get(f"{fleet.base_urls[0]}/api/v1/balance", headers=headers, trust_env=False)
    return dict(answer.json())


class TestCredit:
    @pytest.mark.parametrize("num_images", [1, 3])
    def test_is_never_overspent(self, fleet: Fleet, num_images: int) -> None:
        affordable = CREDITS // (PRICE * num_images)

        answers = Counter(answer.split()[0] for answer in _race(fleet, num_images=num_images))

        assert answers == {"202": affordable, "402": CLIENTS * POSTS - affordable}
        held = affordable * num_images * PRICE
        assert _balance(fleet) == {
            "available_credits": CREDITS - held,
            "held_credits": held,
            "debt_credits": 0,
            "unfinished_jobs": affordable,
        }
        assert "The ledger is clean." in fleet.manage("verify_ledger")


class TestIdempotencyKey:
    def test_makes_one_job_of_many_posts(self, fleet: Fleet) -> None:
        answers = set(_race(fleet, idempotency_key="once", posts=7))

        assert len(answers) == 1
        assert _balance(fleet)["held_credits"] == PRICE
