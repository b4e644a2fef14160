"""The Celery application: `celery -A gateway worker` and `celery -A gateway beat`."""

import os

from celery import Celery
from celery.signals import setup_logging

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

app = Celery("atelier")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["inference"])


@setup_logging.connect
def keep_our_logging(**options: object) -> None:
    """Settings have set up structlog; Celery would add handlers of its own that print task arguments."""
