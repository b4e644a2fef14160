"""Addresses of the native API."""

from django.urls import path

from gateway.api import faces
from gateway.api.streaming import streaming
from gateway.api.waiting import waiting
from gateway.dialects.native import key_leaks, keys, quotas, usage, views, workspace
from gateway.dialects.native.errors import draw_problem

faces.register(faces.Face("native", "/api/", draw_problem))
faces.register(faces.Face("files", "/files/", draw_problem))
# Probes ask by address, so the host check of pages is not for them.
faces.register(faces.Face("liveness", "/livez", draw_problem))
faces.register(faces.Face("readiness", "/readyz", draw_problem))

urlpatterns = [
    path("generations", waiting(views.GenerationsView)),
    path("quote", views.QuoteView.as_view()),
    path("jobs", views.JobsView.as_view()),
    path("jobs/<str:job_id>", views.JobView.as_view()),
    path("jobs/<str:job_id>/cancel", views.CancelView.as_view()),
    path("images/<str:image_id>", views.ImageView.as_view()),
    path("models", views.ModelsView.as_view()),
    path("prompt-templates", views.TemplatesView.as_view()),
    path("usage", usage.UsageView.as_view()),
    path("quotas", quotas.QuotasView.as_view()),
    path("quotas/trial", quotas.QuotaTrialView.as_view()),
    path("quotas/<str:quota_id>", quotas.QuotaView.as_view()),
    path("balance", views.BalanceView.as_view()),
    path("workspace", workspace.WorkspaceView.as_view()),
    path("workspace/close", workspace.CloseWorkspaceView.as_view()),
    path("workspace/reopen", workspace.ReopenWorkspaceView.as_view()),
    path("workspace/export", streaming(workspace.ExportWorkspaceView)),
    path("key", keys.KeyView.as_view()),
    path("key/rotate", keys.RotateKeyView.as_view()),
    path("keys", keys.KeysView.as_view()),
    path("keys/<str:key_id>", keys.ManagedKeyView.as_view()),
    path("keys/<str:key_id>/rotate", keys.RotateManagedKeyView.as_view()),
    path("key-leaks", key_leaks.KeyLeaksView.as_view()),
]
