"""The model that ships with Atelier: its place in the catalogue and its price."""

from billing import pricing
from billing.models import PriceUnit
from billing.pricing import NewPrice, PriceNotFound, Work
from inference import catalog, embedded_model
from inference.catalog import NewModel
from inference.models import ModelVersion
from inference.requests import Operation

CREDITS_PER_IMAGE = 20
MODEL = NewModel(
    slug="atelier-scenes",
    name="Atelier Scenes",
    description=(
        "A small model that ships with Atelier and draws simple scenes on a CPU: 16 kinds of things in 11 colours "
        "on plain or natural backgrounds, up to four of a kind, or two beside each other. Other words give "
        "something pale and arbitrary."
    ),
    backend="diffusers",
    fields={
        "source": str(embedded_model.FOLDER),
        "size_policy": ModelVersion.SizePolicy.NEAREST,
        "sizes": [[256, 256]],
        "schedulers": ["ddim", "dpmpp_2m", "euler"],
        "default_steps": 12,
        "max_steps": 50,
        "default_guidance_scale": 4.0,
        "run_limit_seconds": 60,
    },
    # What existing client code asks for when it names a model of its old service.
    aliases=("dall-e-2", "dall-e-3", "gpt-image-1", "gpt-image-1-mini"),
)


def install() -> ModelVersion:
    """Register the model and publish its price, unless both are there."""
    version = catalog.register(MODEL)
    operation = str(Operation.TEXT_TO_IMAGE)
    try:
        pricing.quote(version.sku, operation, Work(1, 1, 1, 1))
    except PriceNotFound:
        price = NewPrice(version.sku, operation, PriceUnit.PER_IMAGE, CREDITS_PER_IMAGE * 1_000)
        pricing.publish([price], note=f"First price of {version.label}")
    return version
