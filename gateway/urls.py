"""Every address of Atelier."""

from django.urls import include, path
from drf_spectacular.views import SpectacularJSONAPIView

from gateway import health
from gateway.api import files, pages, schema
from gateway.dashboard import entrance
from gateway.dashboard import views as dashboard

urlpatterns = [
    # API faces
    path("api/v1/", include("gateway.dialects.native.urls")),
    path("v1/", include("gateway.dialects.openai.urls")),
    path("files/<str:public_id>.<str:extension>", files.image),
    # Documentation
    path("api/schema", SpectacularJSONAPIView.as_view(), name="schema"),
    path("api/docs", schema.SwaggerView.as_view(url_name="schema"), name="docs"),
    path("api/docs/redoc", schema.RedocView.as_view(url_name="schema"), name="redoc"),
    path("api/docs/errors", pages.list_error_codes, name="errors"),
    # Pages
    path("", dashboard.home, name="home"),
    path("accounts/login/", entrance.login),
    path("accounts/signup/", entrance.sign_up),
    path("accounts/password/reset/", entrance.reset_password),
    path("accounts/", include("allauth.account.urls")),
    # Operations
    path("livez", health.livez),
    path("readyz", health.readyz),
]
handler400 = "gateway.api.pages.bad_request"
handler403 = "gateway.api.pages.forbidden"
handler404 = "gateway.api.pages.not_found"
handler500 = "gateway.api.pages.server_error"
