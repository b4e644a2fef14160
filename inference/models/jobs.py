"""A job, its content, its images, and the record that makes a retry safe. Written only by `inference.jobs`."""

from collections.abc import Sequence

from django.db import models
from django.db.models import Q

from accounts import ids
from accounts.models import ApiKey, Membership, QuotaUnit, Side, Subject, Window
from accounts.quotas import QuotaState
from accounts.tenancy import WorkspaceOwned
from inference.models.catalog import ModelVersion


class State(models.TextChoices):
    QUEUED = "queued"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    BLOCKED = "blocked"

    @property
    def is_terminal(self) -> bool:
        return self not in UNFINISHED


UNFINISHED = (State.QUEUED, State.PROCESSING)


class JobClass(models.IntegerChoices):
    """Order within a workspace, and how long a job may wait to start."""

    INTERACTIVE = 0
    STANDARD = 1
    BATCH = 2


class Job(WorkspaceOwned):
    """One accepted request and what became of it. The prompt is not here but in JobContent."""

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    side = models.CharField(max_length=4, choices=Side.choices)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)

    # Who asked, through which face
    api_key = models.ForeignKey(ApiKey, null=True, on_delete=models.SET_NULL, related_name="+")
    membership = models.ForeignKey(Membership, null=True, on_delete=models.SET_NULL, related_name="+")
    end_user_hash = models.CharField(max_length=64, blank=True)
    dialect = models.CharField(max_length=20)
    request_id = models.CharField(max_length=80)

    # What is drawn, except the words
    model_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    operation = models.CharField(max_length=40)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    num_images = models.PositiveIntegerField()
    num_inference_steps = models.PositiveIntegerField()
    guidance_scale = models.FloatField()
    seed = models.PositiveBigIntegerField()
    scheduler = models.CharField(max_length=40)
    output_format = models.CharField(max_length=4)
    output_quality = models.PositiveIntegerField()
    delivery = models.JSONField(default=dict)
    prompt_hash = models.CharField(max_length=64)
    prompt_hash_key_id = models.CharField(max_length=12)

    # Price, fixed when accepted
    price_book_version = models.PositiveIntegerField(null=True)
    price_unit = models.CharField(max_length=14, blank=True)
    credits_per_image = models.PositiveBigIntegerField(default=0)
    evaluations_per_image = models.PositiveIntegerField(default=0)
    captured_credits = models.PositiveBigIntegerField(default=0)

    # Its way through the queue
    job_class = models.PositiveSmallIntegerField(choices=JobClass.choices, default=JobClass.INTERACTIVE)
    attempt = models.PositiveIntegerField(default=0)
    given_back = models.PositiveIntegerField(default=0)  # attempts that ended because their worker stopped
    worker = models.CharField(max_length=120, blank=True)
    lease_until = models.DateTimeField(null=True)
    start_deadline_at = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    # How it ended
    error_code = models.CharField(max_length=40, blank=True)
    error_message = models.CharField(max_length=500, blank=True)
    moderation_category = models.CharField(max_length=40, blank=True)
    moderation_rule = models.CharField(max_length=80, blank=True)
    is_flagged = models.BooleanField(default=False)
    generate_ms = models.PositiveIntegerField(default=0)
    gpu_ms = models.PositiveIntegerField(default=0)
    store_ms = models.PositiveIntegerField(default=0)

    # Of the call that accepted it, not of the row: how its quotas stood then.
    quota_states: Sequence[QuotaState] = ()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(state__in=State.values), name="job_known_state"),
            models.CheckConstraint(
                condition=Q(state=State.PROCESSING, lease_until__isnull=False)
                | (~Q(state=State.PROCESSING) & Q(lease_until__isnull=True)),
                name="job_leased_while_processing",
            ),
            models.CheckConstraint(
                condition=Q(state__in=list(UNFINISHED), finished_at__isnull=True)
                | Q(state__in=[s for s in State if s.is_terminal], finished_at__isnull=False),
                name="job_finished_when_terminal",
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "side", "-id"], name="job_newest_first"),
            models.Index(fields=["lease_until"], condition=Q(state=State.PROCESSING), name="job_leases"),
            models.Index(fields=["finished_at"], condition=Q(finished_at__isnull=False), name="job_by_end"),
            models.Index(
                fields=["start_deadline_at"], condition=Q(state=State.QUEUED), name="job_start_deadlines"
            ),
        ]

    @property
    def public_id(self) -> str:
        return ids.public(ids.Prefix.JOB, self.pk)

    @property
    def tries(self) -> int:
        """Attempts that count against the limit."""
        return self.attempt - self.given_back

    @property
    def hold_id(self) -> str:
        return f"hold:{self.public_id}"


class JobContent(WorkspaceOwned):
    """The words of a job, encrypted under the workspace's key; deleted when the retention policy says so."""

    job = models.OneToOneField(Job, primary_key=True, on_delete=models.CASCADE, related_name="content")
    ciphertext = models.BinaryField()
    expires_at = models.DateTimeField(db_index=True)


class Image(WorkspaceOwned):
    """One stored picture. Its bytes are in the storage under `storage_key`."""

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="images")
    index = models.PositiveIntegerField()
    attempt = models.PositiveIntegerField()
    storage_key = models.CharField(max_length=200, unique=True)
    sha256 = models.CharField(max_length=64)
    size_bytes = models.PositiveIntegerField()
    content_type = models.CharField(max_length=20)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    seed = models.PositiveBigIntegerField()
    created_at = models.DateTimeField()
    deleted_at = models.DateTimeField(null=True)  # from then on nobody sees it
    bytes_deleted_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "index"], name="image_once_per_index")]
        indexes = [
            models.Index(
                fields=["deleted_at"],
                condition=Q(deleted_at__isnull=False, bytes_deleted_at__isnull=True),
                name="image_bytes_to_delete",
            ),
            models.Index(fields=["created_at"], condition=Q(deleted_at__isnull=True), name="image_by_age"),
        ]

    @property
    def public_id(self) -> str:
        return ids.public(ids.Prefix.IMAGE, self.pk)


class QuotaUse(WorkspaceOwned):
    """What one subject used of one unit in one period. Counts only where a quota is set.

    Kept apart from the quota's row, so that changing a limit forgets nothing. Locked after the balance row of its
    side, which serialises everybody who counts here.
    """

    side = models.CharField(max_length=4, choices=Side.choices)
    subject = models.CharField(max_length=10, choices=Subject.choices)
    subject_id = models.CharField(max_length=64, blank=True)
    unit = models.CharField(max_length=8, choices=QuotaUnit.choices)
    window = models.CharField(max_length=6, choices=Window.choices)
    period_start_at = models.DateTimeField()
    used = models.BigIntegerField(default=0)
    told_at = models.DateTimeField(null=True)  # when the soft limit's crossing was told

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "side", "subject", "subject_id", "unit", "window", "period_start_at"],
                name="quota_use_once_per_period",
            ),
            models.CheckConstraint(condition=Q(used__gte=0), name="quota_use_not_negative"),
        ]


class IdempotencyRecord(WorkspaceOwned):
    """The first accepted request of a client's idempotency key, and what it made: a job, or another resource."""

    side = models.CharField(max_length=4, choices=Side.choices)
    endpoint = models.CharField(max_length=80)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    job = models.ForeignKey(Job, null=True, on_delete=models.CASCADE, related_name="+")
    resource = models.CharField(max_length=80, blank=True)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["workspace", "side", "endpoint", "key"], name="idempotency_key_once_per_endpoint"
            )
        ]
