"""The Celery application: `celery -A gateway worker` and `celery -A gateway beat`."""

import os

from celery import Celery
from celery.signals import setup_logging, worker_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

app = Celery("atelier")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["inference", "gateway"])


@setup_logging.connect
def keep_our_logging(**options: object) -> None:
    """Settings have set up structlog; Celery would add handlers of its own that print task arguments."""


@worker_init.connect
def refuse_a_blind_worker(**options: object) -> None:
    """A worker behind row-level security would find nothing to do and say nothing."""
    from accounts import row_security  # Django is set up only now

    row_security.require_no_wall()
