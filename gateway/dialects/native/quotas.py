"""Quotas: what is limited and how much of it is used, changing limits, and trying one on the past."""

import uuid
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import clock, ids, keyring, roles
from accounts import quotas as limits
from accounts.models import QuotaUnit, Scope, Side, Subject, Window
from accounts.quotas import QuotaState, UnknownSubject
from gateway.api import pagination
from gateway.api.authentication import caller, require_live
from gateway.api.serializers import StrictSerializer, Text, Truth, Whole
from gateway.api.throttling import Kind
from gateway.api.views import TenantView
from gateway.dialects.native.views import DIALECT
from inference import quota_trial, quotas
from inference.quota_trial import ProposedLimit, SubjectTrial, TrialResult
from inference.requests import Caller, InvalidRequest

# Far from where a calendar's arithmetic ends.
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
TRIAL = timedelta(days=31)
LONGEST_TRIAL = timedelta(days=366)
MAX_SUBJECTS = 100  # that one trial's answer names
PREFIXES = {Subject.MEMBER: ids.Prefix.MEMBERSHIP, Subject.KEY: ids.Prefix.KEY}


# --- What is asked ------------------------------------------------------------------------------


class LimitSerializer(StrictSerializer):
    """Whose use is limited, in what, and how often it starts anew."""

    subject = serializers.ChoiceField([str(subject) for subject in Subject])
    subject_id = Text(
        max_length=256,
        help_text="A member's id, `mem_...`; an API key's, `key_...`, which stands for those that replace it too; or "
        "your own id of an end user, of which only a keyed hash is kept. Empty: each one that has no quota of its own.",
    )
    unit = serializers.ChoiceField([str(unit) for unit in QuotaUnit])
    window = serializers.ChoiceField(
        [str(window) for window in Window],
        help_text="In the workspace's time zone; a total never starts anew.",
    )
    limit = Whole(required=True, help_text="The most that is let through; 0 lets nothing through.")
    anchor_day = Whole(
        help_text="Day on which a month begins, 1 to 31; where a month is shorter, its last day. Default: 1."
    )

    def limit_fields(self, workspace_id: uuid.UUID) -> dict[str, Any]:
        data = self.validated_data
        subject = Subject(data["subject"])
        return {
            "subject": subject,
            "subject_id": _subject_id(workspace_id, subject, data.get("subject_id", "")),
            "unit": QuotaUnit(data["unit"]),
            "window": Window(data["window"]),
            "limit": data["limit"],
            "anchor_day": data.get("anchor_day", 1),
        }


class QuotaSerializer(LimitSerializer):
    is_hard = Truth(
        help_text="Whether what goes beyond is refused. A soft quota lets it through and tells. Default: true."
    )


class Moment(serializers.DateTimeField):
    def to_internal_value(self, value: Any) -> datetime:
        moment = super().to_internal_value(value)
        if not FIRST <= moment <= LAST:
            raise serializers.ValidationError(f"Must be a time from {FIRST:%Y} to {LAST:%Y}.")
        return moment


class QuotaTrialSerializer(LimitSerializer):
    since = Moment(required=False, help_text="Default: 31 days before `until`.")
    until = Moment(required=False, help_text="Not included. Default: now.")

    def time(self, now: datetime) -> tuple[datetime, datetime]:
        until = self.validated_data.get("until", now)
        since = self.validated_data.get("since", until - TRIAL)
        if not since < until:
            raise InvalidRequest("since", "must be before `until`.")
        if until - since > LONGEST_TRIAL:
            raise InvalidRequest("since", f"and `until` may be {LONGEST_TRIAL.days} days apart at most.")
        return since, until


def _subject_id(workspace_id: uuid.UUID, subject: Subject, given: str) -> str:
    """As limits know the subject; raises UnknownSubject for a text that is no id of its kind."""
    if subject == Subject.END_USER:
        return keyring.of(workspace_id).end_user(given)
    if given and subject in PREFIXES:
        try:
            return str(ids.parse(PREFIXES[subject], given))
        except ids.InvalidId:
            raise UnknownSubject(subject) from None
    return given


# --- What is answered ---------------------------------------------------------------------------


class QuotaStateSerializer(serializers.Serializer[QuotaState]):
    """One quota and how much of it is used on the calling key's side."""

    id = serializers.SerializerMethodField()
    subject = serializers.ChoiceField([str(subject) for subject in Subject], source="limit.subject")
    subject_id = serializers.SerializerMethodField(
        help_text="A member's id, an API key's, or the keyed hash of your id of an end user. Empty: each one."
    )
    unit = serializers.ChoiceField([str(unit) for unit in QuotaUnit], source="limit.unit")
    window = serializers.ChoiceField([str(window) for window in Window], source="limit.window")
    limit = serializers.IntegerField(source="limit.limit")
    is_hard = serializers.BooleanField(source="limit.is_hard")
    anchor_day = serializers.IntegerField(source="limit.anchor_day")
    used = serializers.SerializerMethodField(
        help_text="In this period; null where each one has a count of its own."
    )
    left = serializers.SerializerMethodField(help_text="0 where more is used than allowed; null as `used`.")
    resets_at = serializers.DateTimeField(
        allow_null=True, help_text="When the period ends; null for a total."
    )

    def get_id(self, state: QuotaState) -> str:
        return ids.public(ids.Prefix.QUOTA, state.limit.id)

    def get_subject_id(self, state: QuotaState) -> str:
        names: dict[str, str] = self.context["names"][state.limit.subject]
        return names.get(state.limit.subject_id, "")

    def get_used(self, state: QuotaState) -> int | None:
        return None if state.limit.is_for_each else state.used

    def get_left(self, state: QuotaState) -> int | None:
        return None if state.limit.is_for_each else state.left


class QuotaListSerializer(serializers.Serializer[Any]):
    data = QuotaStateSerializer(many=True)  # type: ignore[assignment]


class TrialSumsSerializer(serializers.Serializer[Any]):
    jobs = serializers.IntegerField(help_text="Jobs that delivered something, refused ones included.")
    refused_jobs = serializers.IntegerField()
    images_not_made = serializers.IntegerField()
    credits_not_spent = serializers.IntegerField()


class SubjectTrialSerializer(TrialSumsSerializer):
    subject_id = serializers.CharField(
        help_text="A member's id, an API key's, or the keyed hash of your id of an end user."
    )
    first_refused_at = serializers.DateTimeField(allow_null=True)
    highest_use = serializers.IntegerField(help_text="In any one period.")


class TrialResultSerializer(TrialSumsSerializer):
    """What the limit would have done to jobs accepted in the time."""

    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    refused_subjects = serializers.IntegerField()
    subjects = SubjectTrialSerializer(many=True, help_text=f"The {MAX_SUBJECTS} that were refused most.")
    has_more = serializers.BooleanField(help_text="Whether there are more subjects than are named.")


def _draw_states(who: Caller, some: Iterable[limits.Limit]) -> list[dict[str, Any]]:
    states = quotas.states(who.workspace_id, Side(who.side), list(some), clock.now())
    names = {
        subject: limits.public_subjects(
            who.workspace_id,
            subject,
            [state.limit.subject_id for state in states if state.limit.subject == subject],
        )
        for subject in Subject
    }
    return [dict(QuotaStateSerializer(state, context={"names": names}).data) for state in states]


def _draw_trial(
    who: Caller, subject: Subject, since: datetime, until: datetime, result: TrialResult
) -> dict[str, Any]:
    shown = result.subjects[:MAX_SUBJECTS]
    names = limits.public_subjects(who.workspace_id, subject, [one.subject_id for one in shown])
    return {
        "since": since,
        "until": until,
        "jobs": result.jobs,
        "refused_jobs": result.refused_jobs,
        "refused_subjects": result.refused_subjects,
        "images_not_made": result.images_not_made,
        "credits_not_spent": result.credits_not_spent,
        "subjects": [_draw_subject(one, names) for one in shown],
        "has_more": len(result.subjects) > len(shown),
    }


def _draw_subject(one: SubjectTrial, names: dict[str, str]) -> dict[str, Any]:
    return {**asdict(one), "subject_id": names.get(one.subject_id, "")}


def _visible_to(who: Caller) -> Iterable[limits.Limit]:
    """All, or those by which the caller itself may be refused, the whole workspace's among them. Raises RoleForbids."""
    every = limits.read(who.workspace_id)
    if roles.allows(who.role, roles.Action.SEE_USAGE):
        return every
    roles.require(who.role, roles.Action.SEE_OWN_USAGE)
    member_id = who.membership.pk if who.membership else None
    return limits.applicable(every, member_id, who.api_key.lineage_id if who.api_key else None)


# --- The views ----------------------------------------------------------------------------------


class QuotasView(TenantView):
    @property
    def scope(self) -> Scope:
        return Scope.ADMIN if self.request.method == "PUT" else Scope.USAGE

    @extend_schema(operation_id="quotas_list", responses=QuotaListSerializer)
    def get(self, request: Request) -> Response:
        """The workspace's quotas and what is used of them. Members see those that apply to them."""
        who = caller(request, DIALECT)
        return Response({"data": _draw_states(who, _visible_to(who))})

    @extend_schema(operation_id="quotas_set", request=QuotaSerializer, responses=QuotaStateSerializer)
    def put(self, request: Request) -> Response:
        """Set a quota; replaces the one of the same subject, unit and window. In force for the next job."""
        who = caller(request, DIALECT)
        roles.require(who.role, roles.Action.MANAGE_LIMITS)
        require_live(request)
        body = QuotaSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        made = quotas.set_limit(
            who.workspace_id,
            **body.limit_fields(who.workspace_id),
            is_hard=body.validated_data.get("is_hard", True),
            origin=who.origin,
        )
        return Response(_draw_states(who, [made])[0])


class QuotaView(TenantView):
    scope = Scope.ADMIN

    @extend_schema(operation_id="quotas_remove", responses={204: None})
    def delete(self, request: Request, quota_id: str) -> Response:
        """Remove a quota; nothing of its kind limits its subject then, unless another one does."""
        who = caller(request, DIALECT)
        roles.require(who.role, roles.Action.MANAGE_LIMITS)
        require_live(request)
        quotas.remove(who.workspace_id, pagination.parse_id(ids.Prefix.QUOTA, quota_id), who.origin)
        return Response(status=204)


class QuotaTrialView(TenantView):
    scope = Scope.USAGE
    request_kind = Kind.POLL

    @extend_schema(operation_id="quotas_try", request=QuotaTrialSerializer, responses=TrialResultSerializer)
    def post(self, request: Request) -> Response:
        """Who would have been refused with this limit, by the jobs of the past. Changes nothing."""
        who = caller(request, DIALECT)
        roles.require(who.role, roles.Action.MANAGE_LIMITS)
        body = QuotaTrialSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        since, until = body.time(clock.now())
        fields = body.limit_fields(who.workspace_id)
        fields["subject_id"] = limits.resolve(who.workspace_id, fields["subject"], fields["subject_id"])
        result = quota_trial.trial(who.workspace_id, Side(who.side), ProposedLimit(**fields), since, until)
        return Response(_draw_trial(who, fields["subject"], since, until, result))
