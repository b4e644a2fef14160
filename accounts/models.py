"""Tables of people, workspaces, keys, audit and outbox."""

import uuid
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
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
    FILES = "files"
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
            models.CheckConstraint(
                condition=models.Q(role__in=list(roles.Role)), name="membership_known_role"
            ),
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
    scopes = models.JSONField(default=list)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(side__in=Side.values), name="api_key_known_side")
        ]

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
    content_retention_days = models.PositiveIntegerField(null=True, blank=True)


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
