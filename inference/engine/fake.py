"""An engine without a model: quick, deterministic pictures, and failures on request. It serves the test side.

Options: `delay_seconds` for a whole request; `fail_on`, `blank_on`, `invalid_on`: words in the prompt that make the
engine fail, draw a blank picture, or compute nonsense.
"""

import hashlib
import time

from PIL import Image, ImageDraw

from inference.engine.base import Control, Engine, EngineClosing, EngineError, PictureInvalid
from inference.requests import GeneratedImage, ResolvedRequest


class FakeEngine(Engine):
    is_closing = False

    def close(self) -> None:
        self.is_closing = True

    def setup(self) -> None:
        options = self.spec.options
        self.delay_seconds = float(options.get("delay_seconds", 0.0))
        self.fail_on = tuple(options.get("fail_on", ("fail!",)))
        self.blank_on = tuple(options.get("blank_on", ("blank!",)))
        self.invalid_on = tuple(options.get("invalid_on", ("invalid!",)))

    def generate(self, request: ResolvedRequest, control: Control) -> list[GeneratedImage]:
        started = time.monotonic()
        control.begin()
        steps = request.num_inference_steps
        for step in range(1, steps + 1):
            control.check()
            if self.is_closing:
                raise EngineClosing("The engine is closing.")
            time.sleep(self.delay_seconds / steps)
            self.advance()
            control.report(step, steps)
        control.check()
        if any(word in request.prompt for word in self.fail_on):
            raise EngineError("The fake engine was asked to fail.")
        if any(word in request.prompt for word in self.invalid_on):
            raise PictureInvalid("The fake engine was asked for numbers that are no picture.")
        is_blank = any(word in request.prompt for word in self.blank_on)
        gpu_ms = round((time.monotonic() - started) * 1000 / request.num_images)
        return [
            GeneratedImage(index, request.seed_of(index), _draw(request, index, is_blank), gpu_ms)
            for index in range(request.num_images)
        ]


def _draw(request: ResolvedRequest, index: int, is_blank: bool) -> Image.Image:
    """Three discs whose places and colours come from a hash of all that may change a picture."""
    size = (request.width, request.height)
    if is_blank:
        return Image.new("RGB", size, (127, 127, 127))
    what = (request.prompt, request.negative_prompt, request.seed_of(index), request.num_inference_steps)
    parts = iter(hashlib.sha256(repr((*what, request.guidance_scale, request.scheduler)).encode()).digest())

    def colour() -> tuple[int, int, int]:
        return next(parts), next(parts), next(parts)

    picture = Image.new("RGB", size, colour())
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, request.width // 2, request.height // 2), fill=colour())
    for _ in range(3):
        x, y = request.width * next(parts) // 255, request.height * next(parts) // 255
        radius = 4 + min(size) * next(parts) // 1024
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour())
    return picture
