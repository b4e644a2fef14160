"""The pages through which people without a session come in, each with its guard."""

import functools
from collections.abc import Callable

from allauth.account import views
from django.http import HttpRequest, HttpResponseBase

from gateway.api import guards, pages
from gateway.api.guards import Guard, TooManyCalls

Page = Callable[..., HttpResponseBase]


def _guarded(page: Page, guard: Guard, by_name: Guard | None = None) -> Page:
    """A page whose form may be sent so often by an address, and for the login that it names."""

    @functools.wraps(page)
    def guarded_page(request: HttpRequest, **kwargs: object) -> HttpResponseBase:
        try:
            if request.method == "POST":
                guards.count(request, guard)
                if by_name is not None:
                    guards.count_for_login(request, by_name, request.POST.get("login", ""))
        except TooManyCalls as error:
            return pages.too_many_calls(request, error.retry_after_seconds)
        return page(request, **kwargs)

    return guarded_page


login = _guarded(views.login, guards.LOGIN, guards.LOGIN_BY_NAME)
sign_up = _guarded(views.signup, guards.SIGN_UP)
reset_password = _guarded(views.password_reset, guards.PASSWORD_RESET)
