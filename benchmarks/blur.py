"""What the detector sees of a fill on its way: of many steps, blur until late; of one step of a student, a picture.

    python -m benchmarks.blur --images photos --validation photos_held_out --out runs/yoeo_ablation

YOEO judges what its student answers to pure noise.  A teacher of twenty steps could be judged in the middle of its
walk, by its guess of the clean picture at that timestep: this is what the detector would have seen.  Flags, pictures
and the student of stage 2 are those of ``benchmarks.yoeo_ablation``, taken over where ``--out`` is its folder.

Printed, over D2's holes, mean and standard deviation over the seeds: *detail*, what the fill has of the detail of its
surroundings (mean squared difference from its mean over 5 x 5 px, inside the hole by outside); *surest*, the highest
score of a query that lies in the hole; *msn* as in that table.
"""

import argparse
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from benchmarks.eradiff_ablation import print_table
from benchmarks.yoeo_ablation import Bench, distil, in_bf16, parse_args
from training.data.encoding import Encoded
from training.held_out.sundries import segments_of
from training.networks.bases import Networks, load_networks
from training.running.distilling import Denoiser, taught
from yoeo_core.distillation import START_TIMESTEPS
from yoeo_core.metrics import msn
from yoeo_core.suppression import intersection_over_segment

WALKED = (0, 5, 10, 15, 19)  # steps of the teacher's twenty after which its guess is looked at
INSIDE = 0.9  # lambda: IoS from which a query lies in the hole


@dataclass(frozen=True, eq=False)
class Remembering(Denoiser):
    """A denoiser that keeps what it guessed."""

    guesses: list[Tensor] = field(default_factory=list)

    def __call__(self, noisy: Tensor, t: Tensor, encoded: Encoded) -> Tensor:
        self.guesses.append(super().__call__(noisy, t, encoded))
        return self.guesses[-1]


def guess(networks: Networks, steps: int, place: int, encoded: Encoded, generator: torch.Generator) -> Tensor:
    """The clean latent that a network guesses at a place of its walk from pure noise, of all ``steps`` or of one."""
    denoiser = Remembering(networks.unet.eval(), networks.config.prediction, networks.empty_prompt)
    noise = torch.randn(encoded["latent"].shape, generator=generator)
    with torch.no_grad():
        if steps == 1:
            denoiser(noise, torch.full((len(noise),), START_TIMESTEPS[0]), encoded)
        else:
            taught(denoiser, noise, 0, encoded)
    return denoiser.guesses[place]


def detail(image: Tensor, hole: Tensor) -> Tensor:
    """What fills ``[b, 3, h, w]`` have of their surroundings' detail, in holes ``[b, 1, h, w]``; ``[b]``."""
    fine = (image - avg_pool2d(image, 5, 1, 2, count_include_pad=False)).square().mean(1, keepdim=True)
    inside, outside = ((fine * where).sum((1, 2, 3)) / where.sum((1, 2, 3)) for where in (hole, 1 - hole))
    return inside / outside


def seen(bench: Bench, image: Tensor) -> dict[str, float]:
    """What the detector and an eye for detail find in these pictures of D2."""
    hole = bench.sets["d2"]["mask"]

    def surest_of(part: dict[str, Tensor]) -> dict[str, Tensor]:
        found = bench.judge(part["image"])
        inside = intersection_over_segment(found.mask_logits, part["hole"]) > INSIDE
        return {"surest": (found.entity_score * inside).amax(1)}

    with torch.no_grad():
        surest = in_bf16(surest_of, {"image": image, "hole": hole})["surest"]
    segments = in_bf16(lambda part: segments_of(bench.judge, part["image"]), {"image": image})["segments"]
    numbers = {"detail": detail(image, hole), "surest": surest, "msn": msn(segments, hole)}
    return {name: values.float().mean().item() for name, values in numbers.items()}


def main(args: argparse.Namespace) -> None:
    started = perf_counter()
    student, teacher = load_networks(str(distil(args))), load_networks(args.teacher)
    bench, rows = Bench(args, teacher), []
    looks = [("teacher", teacher, len(START_TIMESTEPS), place) for place in WALKED] + [("stage 2", student, 1, 0)]
    for seed in args.seeds:
        for name, networks, steps, place in looks:
            image = bench.decoded(partial(guess, networks, steps, place), "d2", seed)
            row = {"guess of": name, "at t": START_TIMESTEPS[place], "steps": place + 1, "seed": seed}
            rows.append(row | seen(bench, image))
    itself = {"guess of": "the picture itself", "at t": "-", "steps": "-"}
    rows.append(itself | seen(bench, bench.sets["d2"]["image"]))
    print_table(rows, ("guess of", "at t", "steps"), ("detail", "surest", "msn"))
    print(f"{len(args.seeds)} seeds, {args.pictures} pictures, {perf_counter() - started:.0f} s in this run")


if __name__ == "__main__":
    main(parse_args(told=__doc__))
