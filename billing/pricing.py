"""The price book: publish an edition of prices, quote a request.

Four units. `per_image`, `per_megapixel` and `per_step` are known from the validated request, so the hold is the
charge. `per_second` holds the price of the longest allowed run and captures what was used. A fractional price
is rounded up once per image.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Max

from accounts.lookups import Lookup, Topic
from billing.models import Price, PriceBook, PriceUnit

PIXELS_PER_MEGAPIXEL = 1_000_000
MILLICREDITS_PER_CREDIT = 1_000


class PriceNotFound(Exception):
    """No published price covers the SKU and operation: it cannot be sold."""

    def __init__(self, sku: str, operation: str) -> None:
        self.sku, self.operation = sku, operation
        super().__init__(f"No price is published for {operation} with {sku}.")


@dataclass(frozen=True)
class Work:
    """The measured quantities of one image, and how many of them."""

    pixels: int
    evaluations: int
    seconds: int  # longest run (quote) or used GPU time rounded up (settlement), for the whole request
    num_images: int


@dataclass(frozen=True)
class Quote:
    """Price of one request; `total_credits` is what a hold takes."""

    sku: str
    operation: str
    price_book_version: int
    unit: PriceUnit
    credits_per_image: int
    num_images: int

    @property
    def total_credits(self) -> int:
        return self.credits_per_image * self.num_images


@dataclass(frozen=True)
class NewPrice:
    sku: str
    operation: str
    unit: PriceUnit
    unit_price_millicredits: int


def publish(prices: Iterable[NewPrice], note: str = "") -> PriceBook:
    """Publish a new edition: the latest prices with these added or replaced."""
    with transaction.atomic():
        latest = PriceBook.objects.aggregate(version=Max("version"))["version"] or 0
        merged = {(price.sku, price.operation): price for price in _prices_of(latest)}
        merged |= {(price.sku, price.operation): price for price in prices}
        book = PriceBook.objects.create(version=latest + 1, note=note)
        Price.objects.bulk_create(
            Price(
                book=book,
                sku=price.sku,
                operation=price.operation,
                unit=price.unit,
                unit_price_millicredits=price.unit_price_millicredits,
            )
            for price in merged.values()
        )
    return book


def _prices_of(version: int) -> list[NewPrice]:
    rows = Price.objects.filter(book_id=version)
    return [
        NewPrice(row.sku, row.operation, PriceUnit(row.unit), row.unit_price_millicredits) for row in rows
    ]


def quote(sku: str, operation: str, work: Work) -> Quote:
    """Price the work under the latest edition; raises PriceNotFound."""
    row = _latest(sku, operation)
    unit = PriceUnit(row.unit)
    return Quote(
        sku=sku,
        operation=operation,
        price_book_version=row.book_id,
        unit=unit,
        credits_per_image=credits_per_image(unit, row.unit_price_millicredits, work),
        num_images=work.num_images,
    )


def _load_latest(sku: str, operation: str) -> Price:
    row = Price.objects.filter(sku=sku, operation=operation).order_by("-book_id").first()
    if row is None:
        raise PriceNotFound(sku, operation)
    return row


_latest = Lookup(Topic.CATALOG, _load_latest)


def credits_per_image(unit: PriceUnit, unit_price_millicredits: int, work: Work) -> int:
    """Whole credits for one image, rounded up."""
    match unit:
        case PriceUnit.PER_IMAGE:
            quantity, per = 1, 1
        case PriceUnit.PER_MEGAPIXEL:
            quantity, per = work.pixels, PIXELS_PER_MEGAPIXEL
        case PriceUnit.PER_STEP:
            quantity, per = work.evaluations, 1
        case PriceUnit.PER_SECOND:
            quantity, per = work.seconds, work.num_images
    return -(-quantity * unit_price_millicredits // (per * MILLICREDITS_PER_CREDIT))


def used_credits_per_image(quoted: Quote, gpu_ms: int, images: int) -> int:
    """What to charge per image when so many images took `gpu_ms` together; never more than was quoted.

    Only a price by the GPU second depends on them.
    """
    if quoted.unit != PriceUnit.PER_SECOND:
        return quoted.credits_per_image
    price = Price.objects.get(
        book_id=quoted.price_book_version, sku=quoted.sku, operation=quoted.operation
    ).unit_price_millicredits
    used = -(-gpu_ms * price // (1_000 * max(images, 1) * MILLICREDITS_PER_CREDIT))
    return min(quoted.credits_per_image, used)
