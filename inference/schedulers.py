"""Names of the schedulers that clients may choose, and how many denoiser evaluations each needs.

A pure table: the web process prices by it and must not import torch. A test counts the calls of the real
diffusers schedulers and compares.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scheduler:
    """`class_name` is diffusers'; an order of 2 means that every step but the last evaluates twice."""

    class_name: str
    order: int = 1
    extra_evaluations: int = 0
    options: tuple[tuple[str, object], ...] = ()

    def evaluations(self, steps: int) -> int:
        """Denoiser calls for one image of so many steps."""
        warm_up = self.extra_evaluations if steps > 1 else 0
        return steps * self.order - (self.order - 1) + warm_up


SCHEDULERS: dict[str, Scheduler] = {
    "ddim": Scheduler("DDIMScheduler"),
    "euler": Scheduler("EulerDiscreteScheduler"),
    "euler_ancestral": Scheduler("EulerAncestralDiscreteScheduler"),
    "dpmpp_2m": Scheduler("DPMSolverMultistepScheduler"),
    "unipc": Scheduler("UniPCMultistepScheduler"),
    # Its second evaluation of the first step is a warm-up of the multistep history.
    "pndm": Scheduler("PNDMScheduler", extra_evaluations=1, options=(("skip_prk_steps", True),)),
    "heun": Scheduler("HeunDiscreteScheduler", order=2),
    "flow_match_euler": Scheduler("FlowMatchEulerDiscreteScheduler"),
}
