"""The image model that ships with the product: a tiny pipeline trained from nothing on our own scenes.

Owns `weights/`, a folder that the stock `StableDiffusionPipeline.from_pretrained` loads, and `recipe/`,
the programs that made it. Start with README.md, the model card. Importing this package loads no torch.
"""

from pathlib import Path

FOLDER: Path = Path(__file__).resolve().parent / "weights"
