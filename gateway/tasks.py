"""Celery tasks that need the whole product; those of jobs are in `inference.tasks`."""

from celery import shared_task

from gateway import emails


@shared_task(name="gateway.tasks.deliver_emails")
def deliver_emails() -> None:
    emails.deliver_waiting()
