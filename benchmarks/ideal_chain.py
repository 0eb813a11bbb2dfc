"""What Chain-Rectifying Optimization asks of the sampler, for a network that learned it perfectly.

    python -m benchmarks.ideal_chain

The network sees the timestep but not the length of the jump, so it learns the mean of kappa over the jumps, weighted
by w.  DDIM steps with that slope leave a share of the object at the end, which depends on the number of steps alone:
a path of about 12 steps, whose stride is that of the jumps trained on, ends without it, and of about 13 on a rectified
flow.
"""

import torch

from eradiff_core.cro import GAMMA_MAX, signals, target_shift
from inpainting_core.flow import RectifiedFlow
from inpainting_core.schedule import Path, Schedule, trailing_timesteps

SD = Schedule()
STEPS = (1, 2, 4, 5, 8, 10, 12, 15, 20, 25, 50, 100)


def learned_shift(gamma_max: int, schedule: Path) -> torch.Tensor:
    """The w-weighted mean of kappa over the jumps 1..gamma_max, for each timestep."""
    t = torch.arange(schedule.steps).repeat_interleave(gamma_max)
    gamma = torch.arange(1, gamma_max + 1).repeat(schedule.steps)
    levels = signals(t, gamma, schedule)
    weight, shift = (
        values.reshape(schedule.steps, gamma_max)
        for values in (schedule.jump_weight(*levels), target_shift(*levels, schedule))
    )
    return (weight * shift).sum(1) / weight.sum(1)


def object_left_at_the_end(steps: int, gamma_max: int = GAMMA_MAX, schedule: Path = SD) -> float:
    """The object's share after a trailing DDIM path that starts with lambda_t of it; 0 is perfectly erased."""
    shift, visited = learned_shift(gamma_max, schedule), trailing_timesteps(steps)
    signal = torch.cat([schedule.signal[list(visited)].double(), torch.ones(1)])
    gaps = schedule.jump_gap(signal[:-1], signal[1:])
    return float(1 - signal[0] - (gaps * shift[list(visited)]).sum())


if __name__ == "__main__":
    print("DDIM steps  " + "".join(f"{steps:>7}" for steps in STEPS))
    for name, schedule in (("", SD), (", flow", RectifiedFlow())):
        for gamma_max in (GAMMA_MAX, 20):
            row = "".join(f"{object_left_at_the_end(steps, gamma_max, schedule):7.3f}" for steps in STEPS)
            print(f"gamma <= {gamma_max:<3}{row}{name}")
