"""`manage.py quickstart`: the whole product in one process, from nothing to a served picture.

Migrates, makes a demo workspace with credit, starts web, relay, sweeper and worker, makes the first picture through
the HTTP API, and keeps serving. A second run keeps the data; jobs that a killed run left behind are finished first.
"""

import fcntl
import importlib.util
import os
import signal
import socket
import sys
import threading
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import IO, Any

import uvicorn
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from gateway import demo, emails, embedded, first_picture
from gateway.demo import Demo
from gateway.first_picture import FirstPicture, NoPicture
from inference import sweeper
from inference.inprocess import Loop, Runtime

HOST = "127.0.0.1"
GRACE_SECONDS = 3  # for running jobs when the quickstart is stopped
MAIL_SECONDS = 5.0
PROMPT = "a red house in the snow"


class Command(BaseCommand):
    fault = ""  # why the first picture could not be made
    help = "Run web, relay and worker in this process and make a first picture; no services needed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="stop after the first picture")
        parser.add_argument("--prompt", default=PROMPT, help=f"what to draw first (default: {PROMPT})")
        parser.add_argument(
            "--output", type=Path, help="file of the first picture (default: in the data folder)"
        )
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument(
            "--data-dir", type=Path, help="where database, pictures and logs live (default: .atelier)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        _restart_with_environment(options["port"], options["data_dir"])
        self._refuse_if_impossible(options["port"])
        with _exclusive(settings.DATA_DIR):
            self._prepare()
            self._serve(options)

    def _refuse_if_impossible(self, port: int) -> None:
        if settings.IS_PRODUCTION:
            raise CommandError(
                "The quickstart shows its key and password, so it does not run with ATELIER_ENV=production."
            )
        if settings.DISPATCH != "inprocess":
            raise CommandError(
                "The quickstart makes pictures in its own process. Unset ATELIER_DISPATCH and the broker."
            )
        if importlib.util.find_spec("torch") is None:
            raise CommandError("PyTorch is missing, which the worker needs. Run: pip install -e '.[worker]'")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                raise CommandError(f"Port {port} is taken. Choose another with --port.") from None

    def _prepare(self) -> None:
        self.stdout.write(f"Atelier quickstart in {settings.DATA_DIR}")
        call_command("migrate", verbosity=0)
        self.demo: Demo = demo.ensure(settings.DATA_DIR)
        embedded.install()
        # The lock says that no other process works under this name, so its jobs are free at once.
        if recovered := sweeper.recover_from(_worker_name()):
            self.stdout.write(f"{recovered} unfinished job(s) of the last run go on.")
        connections.close_all()

    def _serve(self, options: dict[str, Any]) -> None:
        mails = Loop("emails", emails.deliver_waiting, MAIL_SECONDS)
        runtime = Runtime(_worker_name(), [mails])
        runtime.start()
        config = uvicorn.Config(
            "gateway.asgi:application",
            HOST,
            options["port"],
            log_config=None,
            lifespan="off",
            http="h11",
            ws="none",
            proxy_headers=False,  # `gateway.api.client_address` reads them
            timeout_graceful_shutdown=GRACE_SECONDS,  # waiting clients may ask again for their job
        )
        server = uvicorn.Server(config)
        story = threading.Thread(target=self._tell, args=(server, options), daemon=True)
        story.start()
        # uvicorn raises the signal that stopped it once more; what follows must still happen.
        for stopping in (signal.SIGINT, signal.SIGTERM):
            signal.signal(stopping, lambda *caught: None)
        server.run()
        self.stdout.write("Stopping; unfinished jobs go on at the next start.")
        story.join(timeout=5)
        runtime.stop(GRACE_SECONDS)
        if options["once"] and self.fault:
            raise CommandError(self.fault)

    def _tell(self, server: uvicorn.Server, options: dict[str, Any]) -> None:
        """In a second thread: the first picture, then what the reader needs to go on."""
        while not server.started and not server.should_exit:
            time.sleep(0.02)
        self.stdout.write(f"Drawing “{options['prompt']}” ...")
        output = options["output"] or settings.DATA_DIR / "first-picture.png"
        base_url = f"http://{HOST}:{options['port']}"
        try:
            picture = first_picture.make(base_url, self.demo.api_key, options["prompt"], output, sys.stdout)
            self._show_picture(picture)
        except (NoPicture, OSError, ValueError) as error:
            self.fault = f"No picture was made. {error}"
            self.stderr.write(self.style.ERROR(self.fault))
        finally:
            self._show_ways_in(base_url)
            if options["once"]:
                server.should_exit = True
            else:
                self.stdout.write(f"Serving until Ctrl-C. Logs: {settings.LOG_FILE}")

    def _show_picture(self, picture: FirstPicture) -> None:
        about = f"{picture.seconds:.1f} s, {picture.credits} credits, seed {picture.seed}"
        self.stdout.write(f"\n  Picture    {picture.path}  ({about})")

    def _show_ways_in(self, base_url: str) -> None:
        shown = self.demo
        self.stdout.write(f"""  API key    {shown.api_key}
  Dashboard  {base_url}/   {shown.email}   password {shown.password}
  API docs   {base_url}/api/docs

  curl {base_url}/api/v1/generations \\
    -H 'Authorization: Bearer {shown.api_key}' -H 'Prefer: wait=60' \\
    -d '{{"prompt": "two yellow stars at night"}}'
""")


def _worker_name() -> str:
    """Of this machine and folder: the lock on the folder says that no other process works under it."""
    return f"quickstart {socket.gethostname()} {settings.DATA_DIR}"[:120]


def _restart_with_environment(port: int, data_dir: Path | None) -> None:
    """Settings are read from the environment once, so what the options change is set before a second start."""
    wanted = {
        "ATELIER_DATA_DIR": str(data_dir.resolve() if data_dir else settings.DATA_DIR),
        "ATELIER_PUBLIC_URL": os.environ.get("ATELIER_PUBLIC_URL") or f"http://{HOST}:{port}",
    }
    # Log lines would tear the progress bar apart.
    wanted["ATELIER_LOG_FILE"] = (
        os.environ.get("ATELIER_LOG_FILE") or f"{wanted['ATELIER_DATA_DIR']}/atelier.log"
    )
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **wanted})  # noqa: S606


def _exclusive(data_dir: Path) -> IO[str]:
    """Hold the data folder for this process; the system lets go of it even when the process is killed."""
    lock = (data_dir / "quickstart.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CommandError(
            f"Another quickstart is using {data_dir}. Stop it or choose another --data-dir."
        ) from None
    return lock
