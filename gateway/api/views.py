"""The bases of API views: in a thread of a pool, and in a transaction that serves the calling key's workspace."""

import contextlib
from collections.abc import Callable
from typing import Any

from django.http import HttpResponseBase
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts import tenancy
from gateway.api import threads
from gateway.api.authentication import key_of
from gateway.api.threads import View


class PooledView(APIView):
    """A DRF view whose address is asynchronous, as the server is; its own code runs in a thread of `threads`."""

    @classmethod
    def as_view(cls, **initkwargs: Any) -> View:  # type: ignore[override]
        return threads.of_class(threads.pooled(super().as_view(**initkwargs)), cls)

    @classmethod
    def as_synchronous_view(cls) -> Callable[..., HttpResponseBase]:
        """For what finds threads itself, because its answer needs more than one step."""
        return super().as_view()


class TenantView(PooledView):
    """A view of one tenant: PostgreSQL shows it no row of another one, whatever a query forgets.

    A view whose one call into the domain keeps its own transactions, as those of jobs do, says so with
    `is_one_transaction = False`.
    """

    is_one_transaction = True

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        with contextlib.ExitStack() as self.transaction:
            return super().dispatch(request, *args, **kwargs)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.is_one_transaction:
            self.transaction.enter_context(tenancy.reading(key_of(request).workspace_id))
