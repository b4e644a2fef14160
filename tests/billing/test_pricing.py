from dataclasses import replace

import pytest

from billing import pricing
from billing.models import Price, PriceUnit
from billing.pricing import NewPrice, PriceNotFound, Quote, Work

pytestmark = pytest.mark.django_db

SKU, OPERATION = "a model", "text-to-image"
WORK = Work(pixels=512 * 512, evaluations=20, seconds=60, num_images=1)


def publish(unit: PriceUnit, millicredits: int, sku: str = SKU, operation: str = OPERATION) -> int:
    return pricing.publish([NewPrice(sku, operation, unit, millicredits)]).version


def quote(work: Work = WORK) -> Quote:
    return pricing.quote(SKU, OPERATION, work)


class TestCreditsPerImage:
    @pytest.mark.parametrize(
        "millicredits, credits",
        [(0, 0), (1, 1), (999, 1), (1_000, 1), (1_001, 2), (10_000, 10), (10_000_000_001, 10_000_001)],
    )
    def test_per_image_is_rounded_up(self, millicredits: int, credits: int) -> None:
        assert pricing.credits_per_image(PriceUnit.PER_IMAGE, millicredits, WORK) == credits

    @pytest.mark.parametrize(
        "pixels, credits",
        [
            (1, 1),
            (100_000, 1),
            (100_001, 2),
            (1_000_000, 10),
            (1_000_001, 11),
            (1_024 * 1_024, 11),
            (2_048 * 2_048, 42),
        ],
    )
    def test_per_megapixel_counts_a_million_pixels(self, pixels: int, credits: int) -> None:
        work = replace(WORK, pixels=pixels)

        assert pricing.credits_per_image(PriceUnit.PER_MEGAPIXEL, 10_000, work) == credits

    @pytest.mark.parametrize("evaluations, credits", [(1, 1), (4, 1), (5, 2), (20, 5), (21, 6), (1_000, 250)])
    def test_per_step_counts_evaluations(self, evaluations: int, credits: int) -> None:
        work = replace(WORK, evaluations=evaluations)

        assert pricing.credits_per_image(PriceUnit.PER_STEP, 250, work) == credits

    @pytest.mark.parametrize(
        "seconds, num_images, credits",
        [(1, 1, 2), (60, 1, 90), (60, 4, 23), (60, 60, 2), (1, 100, 1), (0, 1, 0)],
    )
    def test_per_second_shares_the_run_among_the_images(
        self, seconds: int, num_images: int, credits: int
    ) -> None:
        work = replace(WORK, seconds=seconds, num_images=num_images)

        assert pricing.credits_per_image(PriceUnit.PER_SECOND, 1_500, work) == credits

    @pytest.mark.parametrize("unit", [PriceUnit.PER_IMAGE, PriceUnit.PER_MEGAPIXEL, PriceUnit.PER_STEP])
    def test_is_the_same_for_one_image_as_for_many(self, unit: PriceUnit) -> None:
        one = pricing.credits_per_image(unit, 333, WORK)

        assert pricing.credits_per_image(unit, 333, replace(WORK, num_images=9)) == one

    @pytest.mark.parametrize("unit", PriceUnit)
    def test_is_a_whole_number_however_large(self, unit: PriceUnit) -> None:
        work = Work(pixels=16_384**2, evaluations=2_000, seconds=86_400, num_images=7)

        credits = pricing.credits_per_image(unit, 2**53 + 1, work)

        assert type(credits) is int


class TestQuote:
    @pytest.mark.parametrize("unit", PriceUnit)
    def test_names_unit_and_edition(self, unit: PriceUnit) -> None:
        version = publish(unit, 1_000)

        assert (quote().unit, quote().price_book_version) == (unit, version)

    def test_rounds_up_once_per_image(self) -> None:
        publish(PriceUnit.PER_IMAGE, 1_001)

        assert quote(replace(WORK, num_images=3)).total_credits == 6

    def test_takes_the_latest_edition(self) -> None:
        publish(PriceUnit.PER_IMAGE, 10_000)
        publish(PriceUnit.PER_IMAGE, 20_000)

        assert quote().credits_per_image == 20

    def test_refuses_an_unknown_sku(self) -> None:
        publish(PriceUnit.PER_IMAGE, 10_000, sku="another model")

        with pytest.raises(PriceNotFound, match="No price is published for text-to-image with a model"):
            quote()

    def test_refuses_an_unpriced_operation(self) -> None:
        publish(PriceUnit.PER_IMAGE, 10_000, operation="upscale")

        with pytest.raises(PriceNotFound) as refused:
            quote()

        assert (refused.value.sku, refused.value.operation) == (SKU, OPERATION)

    def test_refuses_everything_before_the_first_edition(self) -> None:
        with pytest.raises(PriceNotFound):
            quote()


class TestPublish:
    def test_counts_editions_from_one(self) -> None:
        assert [publish(PriceUnit.PER_IMAGE, 1_000) for _ in range(3)] == [1, 2, 3]

    def test_carries_other_prices_over(self) -> None:
        publish(PriceUnit.PER_IMAGE, 10_000)

        latest = publish(PriceUnit.PER_STEP, 5, sku="another model")

        assert quote().price_book_version == latest
        assert quote().credits_per_image == 10

    def test_replaces_the_price_of_the_same_operation(self) -> None:
        publish(PriceUnit.PER_IMAGE, 10_000)

        latest = publish(PriceUnit.PER_STEP, 5)

        assert Price.objects.get(book_id=latest).unit == PriceUnit.PER_STEP

    def test_leaves_the_earlier_edition_as_it_was(self) -> None:
        first = publish(PriceUnit.PER_IMAGE, 10_000)

        publish(PriceUnit.PER_IMAGE, 20_000)

        assert Price.objects.get(book_id=first).unit_price_millicredits == 10_000

    def test_keeps_the_note(self) -> None:
        book = pricing.publish([NewPrice(SKU, OPERATION, PriceUnit.PER_IMAGE, 1)], note="Spring prices")

        assert book.note == "Spring prices"


class TestUsedCreditsPerImage:
    @pytest.mark.parametrize("unit", [PriceUnit.PER_IMAGE, PriceUnit.PER_MEGAPIXEL, PriceUnit.PER_STEP])
    def test_is_the_quote_for_units_known_beforehand(self, unit: PriceUnit) -> None:
        publish(unit, 1_000)
        quoted = quote()

        assert pricing.used_credits_per_image(quoted, gpu_ms=1, images=1) == quoted.credits_per_image

    @pytest.mark.parametrize(
        "gpu_ms, credits", [(0, 0), (1, 1), (500, 1), (501, 2), (1_000, 2), (1_001, 3), (59_999, 120)]
    )
    def test_charges_the_gpu_time_by_the_second(self, gpu_ms: int, credits: int) -> None:
        publish(PriceUnit.PER_SECOND, 2_000)

        assert pricing.used_credits_per_image(quote(), gpu_ms, 1) == credits

    def test_shares_the_gpu_time_among_the_images(self) -> None:
        publish(PriceUnit.PER_SECOND, 2_000)
        quoted = quote(replace(WORK, num_images=4))

        assert pricing.used_credits_per_image(quoted, gpu_ms=10_000, images=quoted.num_images) == 5

    def test_counts_only_the_images_that_took_the_time(self) -> None:
        publish(PriceUnit.PER_SECOND, 2_000)
        quoted = quote(replace(WORK, num_images=4))

        assert pricing.used_credits_per_image(quoted, gpu_ms=10_000, images=1) == 20

    @pytest.mark.parametrize("gpu_ms", [60_000, 60_001, 3_600_000, 10**12])
    @pytest.mark.parametrize("num_images", [1, 3, 7])
    def test_is_never_more_than_quoted(self, gpu_ms: int, num_images: int) -> None:
        publish(PriceUnit.PER_SECOND, 1_234)
        quoted = quote(replace(WORK, num_images=num_images))

        assert pricing.used_credits_per_image(quoted, gpu_ms, quoted.num_images) == quoted.credits_per_image

    @pytest.mark.parametrize("unit", PriceUnit)
    def test_stays_at_the_quoted_edition(self, unit: PriceUnit) -> None:
        publish(unit, 1_000)
        quoted = quote()
        before = pricing.used_credits_per_image(quoted, gpu_ms=7_500, images=quoted.num_images)

        publish(unit, 900_000)

        assert pricing.used_credits_per_image(quoted, gpu_ms=7_500, images=quoted.num_images) == before

    def test_stays_at_the_quoted_edition_when_the_unit_changes(self) -> None:
        publish(PriceUnit.PER_SECOND, 1_000)
        quoted = quote()

        publish(PriceUnit.PER_IMAGE, 900_000)

        assert pricing.used_credits_per_image(quoted, gpu_ms=7_500, images=quoted.num_images) == 8
