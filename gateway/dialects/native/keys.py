"""API keys: the calling key about itself, and a manager's keys."""

import dataclasses
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import api_keys, clock, ids, key_management, key_terms, roles
from accounts.api_keys import MAX_GRACE, IssuedKey
from accounts.key_management import State
from accounts.key_terms import Terms
from accounts.models import ApiKey, Scope, Side
from gateway.api import pagination, submission
from gateway.api.authentication import caller, key_of
from gateway.api.serializers import Name, StrictSerializer, Text, Truth, Whole
from gateway.api.views import TenantView
from gateway.dialects.native.views import DIALECT
from inference import catalog
from inference.requests import Caller, InvalidRequest

DEFAULT_GRACE_SECONDS = 24 * 3600
MAX_GRACE_SECONDS = int(MAX_GRACE.total_seconds())
MAX_NAME_CHARACTERS = 80


# --- What is accepted ---------------------------------------------------------------------------


class NewKeySerializer(StrictSerializer):
    """A key to be made. Terms that are left out are those of the key that makes it, without the scope `admin`."""

    name = Name(required=True, max_length=MAX_NAME_CHARACTERS)
    side = serializers.ChoiceField(
        Side.choices, required=False, help_text="Default: the calling key's. A test key makes only test keys."
    )
    service = Truth(help_text="A key of the workspace instead of your own; it stays when you leave.")
    scopes = serializers.ListField(child=serializers.ChoiceField(Scope.choices), required=False)
    models = serializers.ListField(
        child=Text(allow_blank=False, max_length=100),
        required=False,
        max_length=key_terms.MAX_MODELS,
        help_text="Names of the only models it may use; empty means all.",
    )
    networks = serializers.ListField(
        child=Text(allow_blank=False, max_length=60),
        required=False,
        max_length=key_terms.MAX_NETWORKS,
        help_text="The only addresses it may call from, such as `192.0.2.0/24`; empty means all.",
    )
    max_pixels = Whole(min_value=1, help_text="Width x height of one image.")
    max_steps = Whole(min_value=1)
    max_images = Whole(min_value=1, help_text="Of one call.")
    requests_per_minute = Whole(min_value=1)
    expires_at = serializers.DateTimeField(required=False, help_text="Without an offset it is read as UTC.")

    def asked_terms(self) -> dict[str, Any]:
        """The fields of Terms that are said; raises ModelNotFound for a name that the catalogue does not know."""
        names = {field.name for field in dataclasses.fields(Terms)}
        asked = {name: value for name, value in self.validated_data.items() if name in names}
        if "scopes" in asked:
            asked["scopes"] = tuple(scope for scope in Scope if scope in asked["scopes"])
        if "models" in asked:
            asked["models"] = tuple(dict.fromkeys(_slug(name) for name in asked["models"]))
        if "networks" in asked:
            asked["networks"] = tuple(asked["networks"])
        return asked


def _slug(name: str) -> str:
    if "@" in name:
        raise InvalidRequest("models", "takes names of models without a version.")
    return catalog.resolve(name).model_id


class RotationSerializer(StrictSerializer):
    grace_seconds = Whole(
        min_value=0,
        max_value=MAX_GRACE_SECONDS,
        help_text=f"How long the old key goes on. Default {DEFAULT_GRACE_SECONDS}, a day; 0 ends it at once.",
    )

    def grace(self) -> timedelta:
        return timedelta(seconds=self.validated_data.get("grace_seconds", DEFAULT_GRACE_SECONDS))


def _grace(request: Request) -> timedelta:
    body = RotationSerializer(data=request.data)
    body.is_valid(raise_exception=True)
    return body.grace()


# --- What is answered ---------------------------------------------------------------------------


class KeyBriefSerializer(serializers.Serializer[ApiKey]):
    """Enough of a key to recognise it and to see whether it is in use."""

    id = serializers.SerializerMethodField()
    prefix = serializers.CharField(help_text="The public part; a log may hold it.")
    state = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True, help_text="Up to a minute late.")

    def get_id(self, key: ApiKey) -> str:
        return api_keys.public_id(key)

    @extend_schema_field(serializers.ChoiceField(State.choices))
    def get_state(self, key: ApiKey) -> str:
        return key_management.state_of(key, self.context["now"])


class KeySerializer(KeyBriefSerializer):
    """A key with its terms; never its secret. Empty lists and nulls mean no limit of the key's own."""

    name = serializers.CharField()
    side = serializers.CharField()
    workspace = serializers.CharField(source="workspace.name")
    is_service_key = serializers.SerializerMethodField()
    member_id = serializers.SerializerMethodField()
    member_email = serializers.SerializerMethodField()
    replaced_by = serializers.SerializerMethodField(
        help_text="Id of the key that a rotation put in its place."
    )
    scopes = serializers.ListField(child=serializers.CharField())
    models = serializers.ListField(source="allowed_models", child=serializers.CharField())
    networks = serializers.ListField(source="allowed_networks", child=serializers.CharField())
    max_pixels = serializers.IntegerField(allow_null=True)
    max_steps = serializers.IntegerField(allow_null=True)
    max_images = serializers.IntegerField(allow_null=True)
    requests_per_minute = serializers.IntegerField(allow_null=True)

    def get_is_service_key(self, key: ApiKey) -> bool:
        return key.membership_id is None

    def get_member_id(self, key: ApiKey) -> str | None:
        return ids.public(ids.Prefix.MEMBERSHIP, key.membership_id) if key.membership_id else None

    def get_member_email(self, key: ApiKey) -> str | None:
        return key.membership.user.email if key.membership else None

    def get_replaced_by(self, key: ApiKey) -> str | None:
        return ids.public(ids.Prefix.KEY, key.replaced_by_id) if key.replaced_by_id else None


class LineageSerializer(KeySerializer):
    """One key with the others of its lineage: those it replaced and those that replaced it, oldest first."""

    lineage = serializers.SerializerMethodField()

    @extend_schema_field(KeyBriefSerializer(many=True))
    def get_lineage(self, key: ApiKey) -> list[dict[str, Any]]:
        others = [one for one in key_management.lineage(key) if one.pk != key.pk]
        return [dict(KeyBriefSerializer(one, context=self.context).data) for one in others]


class IssuedKeySerializer(KeySerializer):
    """A new key. The only answer that ever holds its text."""

    key = serializers.CharField(
        allow_null=True, help_text="The whole key, shown this once; null in the answer to a retry."
    )


class KeyPageSerializer(serializers.Serializer[Any]):
    data = KeySerializer(many=True)  # type: ignore[assignment]
    has_more = serializers.BooleanField()
    next_after = serializers.CharField(allow_null=True, help_text="Pass as `after` for the next page.")


def _drawn(key: ApiKey, now: datetime) -> dict[str, Any]:
    return dict(LineageSerializer(key, context={"now": now}).data)


def _issued_once(request: Request, who: Caller, endpoint: str, issue: Callable[[], IssuedKey]) -> Response:
    """A new key with its text; a retry of the call gets the same key, whose text nobody knows any more."""
    texts: list[str] = []

    def make() -> str:
        issued = issue()
        texts.append(issued.plain_text)
        return api_keys.public_id(issued.key)

    key_id, is_new = submission.once(request, who, endpoint, make)
    key = key_management.get(key_of(request), pagination.parse_id(ids.Prefix.KEY, key_id))
    drawn = KeySerializer(key, context={"now": clock.now()}).data
    return Response({"key": texts[0] if is_new else None, **drawn}, 201)


# --- The calling key ----------------------------------------------------------------------------


class KeyView(TenantView):
    """No scope and no role is asked for: what a key's holder does to it, its holder could do anyway."""

    uncounted_methods = ("DELETE",)

    @extend_schema(responses=LineageSerializer)
    def get(self, request: Request) -> Response:
        """The key you are calling with."""
        return Response(_drawn(_itself(request), clock.now()))

    @extend_schema(responses={200: LineageSerializer})
    def delete(self, request: Request) -> Response:
        """Revoke the key you are calling with. It does not come back, and the next call with it is refused."""
        now = clock.now()
        api_keys.revoke(key_of(request), now, caller(request, DIALECT).origin)
        return Response(_drawn(_itself(request), now))


class RotateKeyView(TenantView):
    @extend_schema(request=RotationSerializer, responses={201: IssuedKeySerializer})
    def post(self, request: Request) -> Response:
        """Replace the key you are calling with by a new one of the same terms. Both work during the grace time."""
        return _rotated(request, _itself(request))


def _itself(request: Request) -> ApiKey:
    """Anew from the database: what authentication keeps does not know when the key was last used."""
    key = key_of(request)
    return key_management.get(key, key.pk)


def _rotated(request: Request, key: ApiKey) -> Response:
    who, grace = caller(request, DIALECT), _grace(request)

    def replace() -> IssuedKey:
        return key_management.replace(key_of(request), key, grace, who.origin)

    return _issued_once(request, who, f"keys/{api_keys.public_id(key)}/rotate", replace)


# --- A manager's keys ---------------------------------------------------------------------------


class ManagerView(TenantView):
    """For keys with the scope `admin` whose member, if they have one, may manage keys."""

    scope = Scope.ADMIN

    def manager(self, request: Request) -> Caller:
        who = caller(request, DIALECT)
        roles.require(who.role, roles.Action.MANAGE_KEYS)
        return who

    def managed(self, request: Request, key_id: str) -> ApiKey:
        self.manager(request)
        return key_management.get(key_of(request), pagination.parse_id(ids.Prefix.KEY, key_id))


class KeysView(ManagerView):
    @extend_schema(
        operation_id="keys_list",
        responses=KeyPageSerializer,
        parameters=[
            OpenApiParameter("limit", int, description="1 to 100, default 20."),
            OpenApiParameter("after", str, description="`next_after` of the previous page."),
            OpenApiParameter("state", str, enum=[str(state) for state in State]),
        ],
    )
    def get(self, request: Request) -> Response:
        """List the workspace's keys, newest first. A test key sees the test keys."""
        self.manager(request)
        now = clock.now()
        page = pagination.newest_first(_in_state(request, now), request, ids.Prefix.KEY)
        context = {"now": now}
        return Response(
            {
                "data": [KeySerializer(key, context=context).data for key in page.rows],
                "has_more": page.has_more,
                "next_after": api_keys.public_id(page.rows[-1]) if page.has_more else None,
            }
        )

    @extend_schema(request=NewKeySerializer, responses={201: IssuedKeySerializer})
    def post(self, request: Request) -> Response:
        """Make a key. The answer is the only place where its text is ever shown."""
        who = self.manager(request)
        body = NewKeySerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return _issued_once(request, who, "keys", lambda: _made(who, key_of(request), body))


def _in_state(request: Request, now: datetime) -> QuerySet[ApiKey]:
    keys = key_management.seen_by(key_of(request))
    if not (asked := request.query_params.get("state")):
        return keys
    if asked not in State:
        raise InvalidRequest("state", f"must be one of {', '.join(State)}.")
    return key_management.in_state(keys, State(asked), now)


def _made(who: Caller, giver: ApiKey, body: NewKeySerializer) -> IssuedKey:
    data = body.validated_data
    is_service = data.get("service", giver.membership_id is None)
    if giver.membership_id is None and not is_service:
        raise InvalidRequest("service", "cannot be false: a service key has no member to give a key to.")
    return key_management.make(
        giver,
        data["name"],
        side=Side(data.get("side", giver.side)),
        is_service=is_service,
        asked=body.asked_terms(),
        origin=who.origin,
    )


class ManagedKeyView(ManagerView):
    uncounted_methods = ("DELETE",)

    @extend_schema(responses=LineageSerializer)
    def get(self, request: Request, key_id: str) -> Response:
        """One key with the others of its lineage."""
        return Response(_drawn(self.managed(request, key_id), clock.now()))

    @extend_schema(responses={200: LineageSerializer})
    def delete(self, request: Request, key_id: str) -> Response:
        """Revoke a key. It stops everywhere within two seconds; a second time changes nothing."""
        key, now = self.managed(request, key_id), clock.now()
        api_keys.revoke(key, now, caller(request, DIALECT).origin)
        return Response(_drawn(key_management.get(key_of(request), key.pk), now))


class RotateManagedKeyView(ManagerView):
    @extend_schema(request=RotationSerializer, responses={201: IssuedKeySerializer})
    def post(self, request: Request, key_id: str) -> Response:
        """Replace one of your own or the workspace's keys by a new one of the same terms."""
        return _rotated(request, self.managed(request, key_id))
