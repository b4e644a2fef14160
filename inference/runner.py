"""One job from claim to result, in a worker.

1. Load the job's engine (kept after the first time).
2. Claim the job: queued to processing, with a lease and an attempt number.
3. Generate, while a keeper renews the lease as long as the engine advances.
4. Check the pictures, encode and store them under keys of this attempt.
5. Complete: state, images, charge and usage in one transaction. A worker that lost its claim changes nothing and
   removes what it stored.
"""

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator

import structlog
from django.db import Error as DatabaseFault
from django.db import connection

from inference import engine, jobs, moderation, pictures, progress, storage
from inference.attempts import Claim, Result, StoredPicture, Timings
from inference.engine.base import Canceled, Control, Engine, EngineClosing, EngineError, ModelUnavailable
from inference.models import Job, State
from inference.pictures import PictureRejected
from inference.requests import GeneratedImage, OutputFormat
from inference.storage import StorageFailed

log = structlog.get_logger(__name__)

RENEW_SECONDS = 5.0


def run(job_id: uuid.UUID, worker: str) -> None:
    """Run a queued job to an end, or back into the queue. A job that is not queued is left alone."""
    job = Job.objects.across_workspaces().select_related("model_version").filter(pk=job_id).first()
    if job is None or job.state != State.QUEUED:
        log.info("nothing to run", job_id=str(job_id), state=job.state if job else None)
        return
    with structlog.contextvars.bound_contextvars(job_id=job.public_id, request_id=job.request_id):
        try:
            ready = engine.of(job)
        except ModelUnavailable as error:
            _fail_unloadable(job_id, worker, error)
            return
        if mine := jobs.claim(job_id, worker):
            _attempt(mine, ready)


def _fail_unloadable(job_id: uuid.UUID, worker: str, error: ModelUnavailable) -> None:
    log.error("model unavailable", reason=str(error))
    if mine := jobs.claim(job_id, worker):
        # The reason names folders of ours; the caller gets a sentence without them.
        jobs.fail(mine, error.code, "The model cannot be loaded at present.")


def _attempt(mine: Claim, ready: Engine) -> None:
    """Every way out of an attempt leads through one function of `jobs`."""
    try:
        with _kept(mine, ready):
            _generate_and_complete(mine, ready)
    except EngineClosing:
        jobs.give_back(mine)
    except EngineError as error:
        log.warning("attempt failed", attempt=mine.attempt, code=error.code, error=type(error).__name__)
        end = jobs.retry if error.is_retryable else jobs.fail
        end(mine, error.code, "The model failed to draw this request.")
    except PictureRejected as error:
        jobs.fail(mine, error.code, str(error))
    except StorageFailed as error:
        log.error("storage failed", attempt=mine.attempt, reason=str(error))
        jobs.retry(mine, "storage_unavailable", "The picture could not be stored.")
    except DatabaseFault:
        # Nothing can be written now; the lease runs out and the sweeper takes the job back.
        log.exception("database failed during an attempt", attempt=mine.attempt)
    except Exception:
        log.exception("unexpected fault in an attempt", attempt=mine.attempt)
        jobs.retry(mine, "internal_error", "Something went wrong on our side.")


def _generate_and_complete(mine: Claim, ready: Engine) -> None:
    started = time.monotonic()
    is_canceled = False
    if not connection.in_atomic_block:
        connection.close()  # generating may take minutes, and the database counts its connections
    try:
        images = ready.generate(mine.request, _control(mine))
    except Canceled as error:
        images, is_canceled = error.finished, True
    generated = time.monotonic()
    stored, is_flagged = _check_and_store(mine, ready, images, may_be_empty=is_canceled)
    timings = Timings(
        generate_ms=round((generated - started) * 1000),
        gpu_ms=sum(image.gpu_ms for image in images),
        store_ms=round((time.monotonic() - generated) * 1000),
    )
    # If this raises, it may have committed all the same: the bytes stay.
    if not jobs.complete(mine, Result(stored, timings, len(images), is_flagged, is_canceled)):
        log.warning("claim lost", attempt=mine.attempt)
        _discard(stored)


def _check_and_store(
    mine: Claim, ready: Engine, images: list[GeneratedImage], *, may_be_empty: bool
) -> tuple[list[StoredPicture], bool]:
    """The pictures to deliver, and whether one is flagged for review.

    A picture that is no good is left out; PictureRejected is raised only when that leaves none of a job that
    was not canceled. Whatever else goes wrong, nothing stays behind.
    """
    stored: list[StoredPicture] = []
    is_flagged = False
    rejected: PictureRejected | None = None
    try:
        for image in images:
            try:
                pictures.check(image.picture, mine.request)
            except PictureRejected as error:
                log.warning("picture rejected", attempt=mine.attempt, index=image.index, code=error.code)
                rejected = rejected or error
                continue
            verdict = moderation.get_backend().check_image(image.picture, image.index)
            is_flagged = is_flagged or verdict.is_flagged
            if not verdict.is_blocked:
                stored.append(_store(mine, image))
                ready.advance()  # slow storage is progress too: the lease is renewed
    except Exception:
        _discard(stored)
        raise
    if rejected and not stored and not may_be_empty:
        raise rejected
    return stored, is_flagged


def _control(mine: Claim) -> Control:
    job_id = mine.job.pk
    progress.publish(job_id, 0, mine.request.num_inference_steps)
    return Control(
        attempt=mine.attempt,
        run_limit_seconds=mine.job.model_version.run_limit_seconds,
        is_canceled=lambda: progress.is_canceled(job_id),
        report=lambda step, steps: progress.publish(job_id, step, steps),
    )


def _store(mine: Claim, image: GeneratedImage) -> StoredPicture:
    output_format = OutputFormat(mine.job.output_format)
    content = pictures.encode(image.picture, output_format, mine.job.output_quality)
    key = storage.key_of(mine.job, mine.attempt, image.index, output_format)
    sha256 = storage.save(key, content)
    return StoredPicture(image.index, key, sha256, len(content), output_format.content_type)


def _discard(stored: list[StoredPicture]) -> None:
    for picture in stored:
        storage.discard(picture.storage_key)


@contextlib.contextmanager
def _kept(mine: Claim, ready: Engine) -> Iterator[None]:
    """Renew the lease from a second thread while the engine advances; bring cancels of other processes in."""
    stop = threading.Event()

    def keep() -> None:
        seen = -1.0
        while not stop.wait(RENEW_SECONDS):
            try:
                if jobs.is_cancel_requested(mine):
                    progress.ask_to_cancel(mine.job.pk)
                if ready.advanced_at > seen:
                    seen = ready.advanced_at
                    jobs.renew(mine)
            except DatabaseFault as error:
                log.warning("lease not renewed", error=type(error).__name__)
            finally:
                connection.close()

    keeper = threading.Thread(target=keep, name=f"lease {mine.job.public_id}", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join()
        progress.forget(mine.job.pk)
