"""Addresses of the OpenAI dialect."""

from django.urls import path

from gateway.api import faces
from gateway.api.waiting import waiting
from gateway.dialects.openai import views
from gateway.dialects.openai.errors import draw_problem

faces.register(faces.Face("openai", "/v1/", draw_problem))

urlpatterns = [
    path("images/generations", waiting(views.GenerationsView)),
    path("models", views.ModelsView.as_view()),
    # A model's name may hold a slash; newer clients escape it, older ones do not.
    path("models/<path:name>", views.ModelView.as_view()),
]
