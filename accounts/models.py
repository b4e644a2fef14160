"""Tables of people, workspaces, keys, audit and outbox."""

import uuid
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from accounts import ids, roles
from accounts.tenancy import WorkspaceOwned


class Side(models.TextChoices):
    """A workspace has two sides; the test side runs the same path with play credits and a fake engine."""

    LIVE = "live"
    TEST = "test"


class Scope(models.TextChoices):
    """What an API key may be used for."""

    IMAGES = "images"
    JOBS = "jobs"
    FILES = "files"  # for uploads, which come later; opens nothing yet
    USAGE = "usage"
    BILLING = "billing"
    ADMIN = "admin"


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """A person; signs in with an e-mail address."""

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    email = models.EmailField(unique=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    def __str__(self) -> str:
        return self.email


class Workspace(models.Model):
    """The tenant: owns keys, jobs, pictures and credits."""

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    name = models.CharField(max_length=80)
    suspended_at = models.DateTimeField(null=True, blank=True)
    # From then on everything but ledger and audit is deleted; until then it can be taken back.
    closing_at = models.DateTimeField(null=True, blank=True)
    # Periods of quotas and reports. A change takes effect when the period ends that it falls into.
    time_zone = models.CharField(max_length=64, default="UTC")
    earlier_time_zone = models.CharField(max_length=64, blank=True)
    time_zone_changed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.name


class Membership(WorkspaceOwned):
    """A person's place in a workspace."""

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    role = models.CharField(max_length=10, choices=[(role, role) for role in roles.Role])
    removed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "user"], name="membership_once_per_user"),
            models.CheckConstraint(condition=Q(role__in=list(roles.Role)), name="membership_known_role"),
        ]


class ApiKey(WorkspaceOwned):
    """A credential of one side of a workspace. The secret is not here: only its keyed digest."""

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    key_id = models.CharField(max_length=12, unique=True)
    digest = models.CharField(max_length=64)
    pepper_id = models.CharField(max_length=20)
    side = models.CharField(max_length=4, choices=Side.choices)
    name = models.CharField(max_length=80)
    # None: a service key, which belongs to the workspace and outlives its maker.
    membership = models.ForeignKey(
        Membership, null=True, blank=True, on_delete=models.PROTECT, related_name="+"
    )
    # A key and those that replaced it are one lineage: quotas and rate limits count them together.
    lineage_id = models.UUIDField(default=ids.new_id, editable=False)
    replaced_by = models.OneToOneField(
        "self", null=True, blank=True, on_delete=models.PROTECT, related_name="replaces"
    )

    # Terms: what the key may do. Empty lists and nulls mean no limit of the key's own.
    scopes = models.JSONField(default=list)
    allowed_models = models.JSONField(default=list)  # slugs
    allowed_networks = models.JSONField(default=list)  # CIDR
    max_pixels = models.PositiveIntegerField(null=True, blank=True)  # width x height of one image
    max_steps = models.PositiveIntegerField(null=True, blank=True)
    max_images = models.PositiveIntegerField(null=True, blank=True)  # of one call
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)

    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)  # written in batches, so up to a minute late
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(side__in=Side.values), name="api_key_known_side")]
        indexes = [models.Index(fields=["workspace", "lineage_id"], name="api_key_by_lineage")]

    @property
    def prefix(self) -> str:
        """The part that may be shown: enough to recognise the key, useless for calling."""
        return f"atl_{self.side}_{self.key_id}"


class WorkspaceKeyring(models.Model):
    """The workspace's own secret, wrapped by the application's: hashes and encrypts its prompts.

    Destroying this row makes all of the workspace's stored prompts unreadable at once.
    """

    workspace = models.OneToOneField(Workspace, primary_key=True, on_delete=models.PROTECT, related_name="+")
    key_id = models.CharField(max_length=12)
    wrapper_id = models.CharField(max_length=20)  # which of ATELIER_KEYRING_SECRETS wrapped it
    wrapped_secret = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now())


class Entitlements(models.Model):
    """Limits of one workspace, when they differ from the defaults of `entitlements.py`."""

    workspace = models.OneToOneField(Workspace, primary_key=True, on_delete=models.PROTECT, related_name="+")
    concurrent_jobs = models.PositiveIntegerField(null=True, blank=True)
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    polls_per_minute = models.PositiveIntegerField(null=True, blank=True)
    content_retention_days = models.PositiveIntegerField(null=True, blank=True)
    picture_retention_days = models.PositiveIntegerField(null=True, blank=True)
    job_retention_days = models.PositiveIntegerField(null=True, blank=True)


class Subject(models.TextChoices):
    """Whose use a quota counts."""

    WORKSPACE = "workspace"
    MEMBER = "member"
    KEY = "key"
    END_USER = "end_user"


class QuotaUnit(models.TextChoices):
    IMAGES = "images"
    CREDITS = "credits"


class Window(models.TextChoices):
    """The period after which a quota starts anew, in the workspace's time zone."""

    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


class Quota(WorkspaceOwned):
    """A limit on use per period. What was used is counted elsewhere, by whoever accepts the work."""

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    subject = models.CharField(max_length=10, choices=Subject.choices)
    # A membership's id, a key's lineage, or an end user's hash; empty: each one that has no quota of its own.
    subject_id = models.CharField(max_length=64, blank=True)
    unit = models.CharField(max_length=8, choices=QuotaUnit.choices)
    window = models.CharField(max_length=6, choices=Window.choices)
    limit = models.PositiveBigIntegerField()
    is_hard = models.BooleanField(default=True)  # a soft one lets through and tells
    anchor_day = models.PositiveSmallIntegerField(default=1)  # day of the month on which a month begins
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "subject", "subject_id", "unit", "window"], name="quota_once_per_subject"
            ),
            models.CheckConstraint(condition=Q(subject__in=Subject.values), name="quota_known_subject"),
            models.CheckConstraint(condition=Q(unit__in=QuotaUnit.values), name="quota_known_unit"),
            models.CheckConstraint(condition=Q(window__in=Window.values), name="quota_known_window"),
            models.CheckConstraint(
                condition=Q(anchor_day__gte=1, anchor_day__lte=31), name="quota_anchor_is_a_day"
            ),
            models.CheckConstraint(
                condition=~Q(subject=Subject.WORKSPACE) | Q(subject_id=""), name="quota_of_one_workspace"
            ),
        ]


class CacheVersion(models.Model):
    """Rises, by database triggers, with every change of the tables behind a topic of cached lookups."""

    topic = models.CharField(max_length=20, primary_key=True)
    version = models.PositiveBigIntegerField(default=1)


class AuditEvent(WorkspaceOwned):
    """Who did what to which thing, and when. Never edited; written in the transaction of the change."""

    id = models.BigAutoField(primary_key=True)
    action = models.CharField(max_length=60)
    actor = models.CharField(max_length=80)
    target = models.CharField(max_length=120)
    data = models.JSONField(default=dict)
    prompt_hash = models.CharField(max_length=64, blank=True)
    prompt_hash_key_id = models.CharField(max_length=12, blank=True)
    request_id = models.CharField(max_length=80, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [
            models.Index(fields=["workspace", "id"], name="audit_by_workspace"),
            models.Index(fields=["workspace", "prompt_hash"], name="audit_by_prompt_hash"),
        ]


class AuditSeal(WorkspaceOwned):
    """One link of a workspace's chain over its audit events: this digest covers the previous one and its events."""

    number = models.PositiveBigIntegerField()
    key_id = models.CharField(max_length=20)  # which of ATELIER_KEYRING_SECRETS made the digests
    previous_digest = models.CharField(max_length=64, blank=True)
    digest = models.CharField(max_length=64)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "number"], name="audit_seal_once_per_number")
        ]


class SealedEvent(WorkspaceOwned):
    """The place of one audit event in the chain, and its digest when it was sealed."""

    # Not a foreign key: an event that somebody deleted must leave its place behind.
    event_id = models.BigIntegerField(primary_key=True)
    seal = models.ForeignKey(AuditSeal, on_delete=models.PROTECT, related_name="events")
    position = models.PositiveIntegerField()
    digest = models.CharField(max_length=64)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["seal", "position"], name="sealed_event_once_per_position")
        ]


class OutboxMessage(models.Model):
    """A hint that something outside the database must happen; written with the change that causes it.

    Waiting: `published_at` is null. On its way: set. Done: the row is gone.
    """

    id = models.BigAutoField(primary_key=True)
    topic = models.CharField(max_length=40)
    key = models.CharField(max_length=80)
    # Messages of one partition share a publish window and are taken from its workspaces in turns.
    partition = models.CharField(max_length=80, blank=True)
    workspace_id = models.UUIDField(default=uuid.UUID(int=0))
    rank = models.PositiveSmallIntegerField(default=0)
    payload = models.JSONField(default=dict)
    not_before_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    published_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["topic", "key"], name="outbox_once_per_topic_and_key")]
        indexes = [models.Index(fields=["topic", "partition", "published_at"], name="outbox_waiting")]
