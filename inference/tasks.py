"""Celery's way into the same functions: a worker's job, and the clocks that beat runs."""

import uuid

from celery import current_task, shared_task

from inference import relay as relay_module
from inference import runner, sweeper


@shared_task(name="inference.tasks.run_job")
def run_job(job_id: str) -> None:
    """Run one job; a second delivery of the same message finds the state changed and does nothing."""
    runner.run(uuid.UUID(job_id), worker=current_task.request.hostname or "celery")


@shared_task(name="inference.tasks.relay")
def relay() -> None:
    relay_module.run_once()


@shared_task(name="inference.tasks.sweep")
def sweep() -> None:
    sweeper.run_once()
