"""The reference of `accept`: the same rows in one transaction, written by psycopg and nothing else."""

import json
import multiprocessing
import os
import random
import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import psycopg
import uuid6

STATEMENTS = (
    """INSERT INTO inference_idempotencyrecord
       (workspace_id, side, endpoint, key, fingerprint, job_id, resource, created_at)
       VALUES (%(ws)s, 'live', 'native/text-to-image', %(key)s, %(hash)s, %(job)s, '', now())""",
    """INSERT INTO inference_job (id, workspace_id, side, state, end_user_hash, dialect, request_id, model_version_id,
       operation, width, height, num_images, num_inference_steps, guidance_scale, seed, scheduler, output_format,
       output_quality, delivery, prompt_hash, prompt_hash_key_id, price_book_version, price_unit, credits_per_image,
       evaluations_per_image, captured_credits, job_class, attempt, given_back, worker, start_deadline_at,
       created_at, error_code, error_message, moderation_category, moderation_rule, is_flagged, generate_ms, gpu_ms,
       store_ms, api_key_id) VALUES (%(job)s, %(ws)s, 'live', 'queued', '', 'native', %(key)s, %(version)s,
       'text-to-image', 64, 64, 1, 4, 7.0, 7, 'euler', 'png', 90, '{"response_format": "url", "metadata": {}}',
       %(hash)s, 'abcdefabcdef', 1, 'per_image', 10, 4, 0, 0, 0, 0, '', now() + interval '10 minutes', now(),
       '', '', '', '', false, 0, 0, 0, %(api_key)s)""",
    """INSERT INTO inference_jobcontent (job_id, workspace_id, ciphertext, expires_at)
       VALUES (%(job)s, %(ws)s, %(ciphertext)s, now() + interval '30 days')""",
    """INSERT INTO accounts_auditevent
       (workspace_id, action, actor, target, data, prompt_hash, prompt_hash_key_id, request_id)
       VALUES (%(ws)s, 'job:accepted', 'key:x', %(key)s, %(data)s, %(hash)s, 'abcdefabcdef', %(key)s)""",
    """INSERT INTO accounts_outboxmessage (topic, key, partition, workspace_id, rank, payload)
       VALUES ('job.queued', %(key)s, 'fake', %(ws)s, 0, %(data)s)""",
    """UPDATE billing_balance SET available_credits = available_credits - 10, held_credits = held_credits + 10,
       open_holds = open_holds + 1 WHERE workspace_id = %(ws)s AND side = 'live' AND available_credits >= 10""",
    """INSERT INTO inference_quotause (workspace_id, side, subject, subject_id, unit, "window", period_start_at, used)
       VALUES (%(ws)s, 'live', 'workspace', '', 'credits', 'month', '2000-01-01', 10),
       (%(ws)s, 'live', 'key', %(lineage)s, 'images', 'day', '2000-01-01', 1)
       ON CONFLICT (workspace_id, side, subject, subject_id, unit, "window", period_start_at)
       DO UPDATE SET used = inference_quotause.used + EXCLUDED.used""",
    """INSERT INTO billing_operation (id, workspace_id, operation_id, kind, side, amount_credits, revenue_micros,
       reference, created_at) VALUES (%(op)s, %(ws)s, %(key)s, 'hold', 'live', 10, 0, %(key)s, now())""",
    """INSERT INTO billing_entry (workspace_id, operation_id, side, account, source, grant_id, amount_credits)
       VALUES (%(ws)s, %(op)s, 'live', 'available', '', %(grant)s, -10),
       (%(ws)s, %(op)s, 'live', 'held', '', %(grant)s, 10)""",
    """UPDATE billing_grant SET remaining_credits = remaining_credits - 10, held_credits = held_credits + 10
       WHERE id = %(grant)s""",
)


@dataclass(frozen=True)
class Place:
    """One workspace with what its rows refer to."""

    workspace_id: str
    api_key_id: str
    lineage_id: str
    grant_id: str
    model_version_id: str


def run(url: str, places: Sequence[Place], *, seconds: float, processes: int, threads: int) -> float:
    """Transactions a second."""
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        runs = [pool.submit(_process, url, list(places), seconds, threads) for _ in range(processes)]
        return sum(done.result() for done in runs)


def _process(url: str, places: list[Place], seconds: float, threads: int) -> float:
    counts: list[int] = []
    workers = [
        threading.Thread(target=lambda: counts.append(_transactions(url, places, seconds)))
        for _ in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / seconds


def _transactions(url: str, places: list[Place], seconds: float) -> int:
    done = 0
    with psycopg.connect(url) as connection:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            place = random.choice(places)
            job = uuid.UUID(int=uuid6.uuid7().int)
            values = {
                "ws": place.workspace_id,
                "api_key": place.api_key_id,
                "lineage": place.lineage_id,
                "grant": place.grant_id,
                "version": place.model_version_id,
                "job": job,
                "op": uuid.UUID(int=uuid6.uuid7().int),
                "key": str(job),
                "hash": os.urandom(32).hex(),
                "ciphertext": os.urandom(160),
                "data": json.dumps({"job_id": str(job)}),
            }
            with connection.transaction():
                for statement in STATEMENTS:
                    connection.execute(statement, values)
            done += 1
    return done
