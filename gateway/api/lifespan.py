"""What happens when the server starts and when it stops."""

import asyncio

import structlog
from django.conf import settings
from django.db import Error as DatabaseFault
from django.db import connection

from accounts import key_use, row_security
from accounts.row_security import WallMissing
from gateway.api.body_limit import Application, Receive, Scope, Send

log = structlog.get_logger(__name__)


class Lifespan:
    """Refuses to start in production without row-level security; writes what is still in memory at the end."""

    def __init__(self, application: Application) -> None:
        self.application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.application(scope, receive, send)
            return
        await receive()
        try:
            await asyncio.to_thread(_require_wall)
        except WallMissing as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.to_thread(key_use.finish)
        await send({"type": "lifespan.shutdown.complete"})


def _require_wall() -> None:
    if not settings.IS_PRODUCTION:
        return
    try:
        row_security.require_wall()
    except DatabaseFault as error:  # it may come up later; /readyz asks again
        log.warning("row security unknown", error=type(error).__name__)
    finally:
        connection.close()
