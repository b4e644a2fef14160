"""Tables of the ledger, the price book and usage. Amounts are integer credits, money integer minor units."""

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from accounts import ids
from accounts.models import Side
from accounts.tenancy import WorkspaceOwned


class Account(models.TextChoices):
    """The places credits can be. A positive entry puts credits into the account."""

    AVAILABLE = "available"  # the workspace's, free to spend
    HELD = "held"  # the workspace's, reserved for accepted jobs
    DEBT = "debt"  # what the workspace owes, negative
    ESCROW = "escrow"  # the workspace's, frozen by a dispute
    ISSUED = "issued"  # the system's source of all credits, negative, by source
    REVENUE = "revenue"  # captured for delivered images
    BREAKAGE = "breakage"  # expired unused
    RECEIVABLE = "receivable"  # owed to us for overage


WORKSPACE_ACCOUNTS = (Account.AVAILABLE, Account.HELD, Account.DEBT, Account.ESCROW)


class Source(models.TextChoices):
    """Where a grant comes from; bought ones burn after granted ones of the same priority and expiry."""

    PROMOTIONAL = "promotional"
    PLAN = "plan"
    PACK = "pack"
    OVERAGE = "overage"
    ADJUSTMENT = "adjustment"
    PLAY = "play"


BOUGHT = (Source.PLAN, Source.PACK, Source.OVERAGE)


class OperationKind(models.TextChoices):
    GRANT = "grant"
    HOLD = "hold"
    SETTLE = "settle"  # captures part of a hold and releases the rest
    EXPIRE = "expire"
    ADJUSTMENT = "adjustment"


class Balance(WorkspaceOwned):
    """Cached sums of one side of a workspace, and the row everybody locks first.

    Equal to the sum of entries at every commit; `ledger.verify` recomputes it.
    """

    side = models.CharField(max_length=4, choices=Side.choices)
    available_credits = models.BigIntegerField(default=0)
    held_credits = models.BigIntegerField(default=0)
    debt_credits = models.BigIntegerField(default=0)
    escrow_credits = models.BigIntegerField(default=0)
    open_holds = models.PositiveIntegerField(default=0)
    # Rises with every change of the workspace's quotas: whoever has locked this row knows if it knows them all.
    limits_version = models.PositiveBigIntegerField(db_default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workspace", "side"], name="balance_one_per_side"),
            models.CheckConstraint(
                condition=Q(available_credits__gte=0), name="balance_available_not_negative"
            ),
            models.CheckConstraint(condition=Q(held_credits__gte=0), name="balance_held_not_negative"),
            models.CheckConstraint(condition=Q(debt_credits__gte=0), name="balance_debt_not_negative"),
            models.CheckConstraint(condition=Q(escrow_credits__gte=0), name="balance_escrow_not_negative"),
            models.CheckConstraint(condition=Q(open_holds__gte=0), name="balance_holds_not_negative"),
        ]


class Grant(WorkspaceOwned):
    """Credits given at one time, with what is left of them. Never more comes out than went in."""

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    side = models.CharField(max_length=4, choices=Side.choices)
    source = models.CharField(max_length=12, choices=Source.choices)
    priority = models.SmallIntegerField(default=0)  # lower burns first
    expires_at = models.DateTimeField(null=True, blank=True)
    amount_credits = models.BigIntegerField()
    remaining_credits = models.BigIntegerField()
    held_credits = models.BigIntegerField(default=0)
    captured_credits = models.BigIntegerField(default=0)
    paid_minor_units = models.BigIntegerField(default=0)
    paid_currency = models.CharField(max_length=3, default="usd")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(amount_credits__gt=0), name="grant_amount_positive"),
            models.CheckConstraint(
                condition=Q(remaining_credits__gte=0), name="grant_remaining_not_negative"
            ),
            models.CheckConstraint(condition=Q(held_credits__gte=0), name="grant_held_not_negative"),
            models.CheckConstraint(condition=Q(captured_credits__gte=0), name="grant_captured_not_negative"),
            models.CheckConstraint(condition=Q(paid_minor_units__gte=0), name="grant_paid_not_negative"),
            models.CheckConstraint(
                condition=Q(
                    amount_credits__gte=F("remaining_credits") + F("held_credits") + F("captured_credits")
                ),
                name="grant_gives_no_more_than_amount",
            ),
        ]
        indexes = [
            models.Index(
                fields=["workspace", "side"],
                condition=Q(remaining_credits__gt=0),
                name="grant_with_credits_left",
            )
        ]


class Operation(WorkspaceOwned):
    """One balanced posting. Written once, never changed; a correction is a new operation.

    A hold is open until an operation `resolves` it; the unique column lets that happen only once.
    """

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    operation_id = models.CharField(max_length=120, unique=True)
    kind = models.CharField(max_length=10, choices=OperationKind.choices)
    side = models.CharField(max_length=4, choices=Side.choices)
    amount_credits = models.BigIntegerField()
    # Micro minor units (a cent is 1,000,000) that the captured credits were paid with.
    revenue_micros = models.BigIntegerField(default=0)
    reference = models.CharField(max_length=120)
    resolves = models.OneToOneField("self", null=True, on_delete=models.PROTECT, related_name="resolution")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=OperationKind.values), name="operation_known_kind"),
            models.CheckConstraint(condition=Q(amount_credits__gte=0), name="operation_amount_not_negative"),
            models.CheckConstraint(
                condition=Q(kind=OperationKind.SETTLE, resolves__isnull=False)
                | (~Q(kind=OperationKind.SETTLE) & Q(resolves__isnull=True)),
                name="operation_settle_resolves_a_hold",
            ),
        ]
        indexes = [
            models.Index(fields=["workspace", "side", "reference"], name="operation_by_reference"),
            models.Index(
                fields=["workspace", "side", "created_at"],
                condition=Q(kind=OperationKind.SETTLE),
                name="settlement_by_time",
            ),
        ]


class Entry(WorkspaceOwned):
    """One line of an operation: credits into (+) or out of (-) an account, traced to a grant."""

    id = models.BigAutoField(primary_key=True)
    operation = models.ForeignKey(Operation, on_delete=models.PROTECT, related_name="entries")
    side = models.CharField(max_length=4, choices=Side.choices)
    account = models.CharField(max_length=10, choices=Account.choices)
    source = models.CharField(max_length=12, choices=Source.choices, blank=True)
    grant = models.ForeignKey(Grant, null=True, on_delete=models.PROTECT, related_name="entries")
    amount_credits = models.BigIntegerField()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=~Q(amount_credits=0), name="entry_amount_not_zero"),
            models.CheckConstraint(condition=Q(account__in=Account.values), name="entry_known_account"),
        ]
        indexes = [models.Index(fields=["workspace", "side", "account"], name="entry_by_account")]


class PriceUnit(models.TextChoices):
    PER_IMAGE = "per_image"
    PER_MEGAPIXEL = "per_megapixel"  # 1,000,000 pixels
    PER_STEP = "per_step"  # one denoiser evaluation
    PER_SECOND = "per_second"  # one GPU second


class PriceBook(models.Model):
    """A published edition of all prices; what was quoted under one stays at its prices."""

    version = models.PositiveIntegerField(primary_key=True)
    note = models.CharField(max_length=200, blank=True)
    published_at = models.DateTimeField(db_default=Now())


class Price(models.Model):
    """Price of one operation of one model version, in thousandths of a credit per unit."""

    book = models.ForeignKey(PriceBook, on_delete=models.PROTECT, related_name="prices")
    sku = models.CharField(max_length=120)
    operation = models.CharField(max_length=40)
    unit = models.CharField(max_length=14, choices=PriceUnit.choices)
    unit_price_millicredits = models.PositiveBigIntegerField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["book", "sku", "operation"], name="price_once_per_book"),
            models.CheckConstraint(condition=Q(unit__in=PriceUnit.values), name="price_known_unit"),
        ]


class UsageRecord(WorkspaceOwned):
    """What one settled job used, as plain columns, so that reports need no other table."""

    id = models.UUIDField(primary_key=True, default=ids.new_id, editable=False)
    reference = models.CharField(max_length=120, unique=True)
    side = models.CharField(max_length=4, choices=Side.choices)
    sku = models.CharField(max_length=120)
    operation = models.CharField(max_length=40)
    price_book_version = models.PositiveIntegerField()
    images = models.PositiveIntegerField()
    pixels = models.PositiveBigIntegerField()
    evaluations = models.PositiveBigIntegerField()
    gpu_ms = models.PositiveBigIntegerField()
    credits = models.PositiveBigIntegerField()
    revenue_micros = models.BigIntegerField()
    currency = models.CharField(max_length=3, default="usd")
    api_key_id = models.UUIDField(null=True)
    membership_id = models.UUIDField(null=True)
    end_user_hash = models.CharField(max_length=64, blank=True)
    accepted_at = models.DateTimeField(db_default=Now())  # when the job was: what quotas count by
    created_at = models.DateTimeField(db_default=Now())  # when it was settled: what reports count by

    class Meta:
        indexes = [
            models.Index(fields=["workspace", "side", "created_at"], name="usage_by_time"),
            models.Index(fields=["workspace", "side", "accepted_at"], name="usage_by_acceptance"),
        ]
