"""Reports of keys that were found in public. No key is needed to make one: the text itself is the right to end it."""

import re
from typing import Any
from urllib.parse import urlsplit

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import clock, key_leaks, key_text
from accounts.audit import Origin
from accounts.key_leaks import Outcome, Reported
from gateway.api import context, guards
from gateway.api.serializers import StrictSerializer, Text
from gateway.api.views import PooledView
from inference.requests import InvalidRequest

MAX_TEXT_CHARACTERS, MAX_SOURCE_CHARACTERS = 100_000, 300
REPORTER = "leak report"  # the actor of the audit event: nobody that we know
SOURCE = re.compile(r"https?://[!-~]+", re.IGNORECASE)


class LeakSerializer(StrictSerializer):
    key = Text(
        required=True,
        allow_blank=False,
        max_length=MAX_TEXT_CHARACTERS,
        help_text=f"The whole key, or a text with at most {key_leaks.MAX_KEYS} keys in it.",
    )
    source = Text(  # type: ignore[assignment]  # declared fields hide nothing of the base
        max_length=MAX_SOURCE_CHARACTERS, help_text="Where it was found: an http or https address."
    )

    def validate_source(self, source: str) -> str:
        if not _is_address(source):
            raise serializers.ValidationError("Must be an http or https address.")
        return source


def _is_address(text: str) -> bool:
    try:
        # It goes into a mail, so it may hold no blanks and no lines of its own.
        return bool(SOURCE.fullmatch(text) and urlsplit(text).hostname)
    except ValueError:
        return False


class ReportedSerializer(serializers.Serializer[Reported]):
    prefix = serializers.CharField()
    outcome = serializers.ChoiceField(list(Outcome))


class ReportedListSerializer(serializers.Serializer[Any]):
    data = ReportedSerializer(many=True)  # type: ignore[assignment]


class KeyLeaksView(PooledView):
    authentication_classes = []
    permission_classes = []
    throttle_classes = []

    @extend_schema(request=LeakSerializer, responses=ReportedListSerializer)
    def post(self, request: Request) -> Response:
        """Report a leaked key: it is revoked at once, and its owners are told. Keys that replaced it stay."""
        guards.count(request, guards.KEY_LEAKS)
        body = LeakSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        text, source = body.validated_data["key"], body.validated_data.get("source", "")
        if not any(key_text.find_in(text)):
            raise InvalidRequest(
                "key", "holds no Atelier API key; a key is recognised only when it is whole."
            )
        origin = Origin(REPORTER, context.of(request).request_id)
        reported = key_leaks.report(text, source, clock.now(), origin)
        return Response({"data": [ReportedSerializer(one).data for one in reported]})
