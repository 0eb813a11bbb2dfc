"""One training step of YOEO's second and third stage, in the terms that both share.

A student's single step from a noisy latent is held against three things: what the frozen teacher's solver makes of the
same latent (LPIPS), the teacher's own score of the student's answer (DMD), and real latents (GAN).
"""

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from inpainting_core.empty_prompt import Prompt
from inpainting_core.engine import call_unet
from inpainting_core.latents import unet_input
from inpainting_core.schedule import Schedule, add_noise, denoised_from, target_of
from inpainting_core.shapes import Float, Int
from training.data.encoding import Encoded, Encoder
from training.data.flag_values import not_negative
from training.data.randomness import normal_like, sample_generator
from yoeo_core.discriminator import GAN_TIMESTEPS, middle_features
from yoeo_core.distillation import (
    PHASES,
    START_TIMESTEPS,
    Phase,
    dmd_loss,
    lsgan_discriminator,
    lsgan_generator,
    perceptual_loss,
)

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

STUDENT, DMD, GAN, GAN_TRAINING, FOLLOWING = range(5)  # what a sample's noise is drawn for

# Not in the paper: a small teacher's walk is further from D1's truth than its first step is.
TRUTH = "weight of the truth's own term on D1, whose LPIPS is then held against the truth too; 0: the teacher alone"


def add_distilling_flags(parser: argparse.ArgumentParser) -> None:
    """How much counts what a student is held against, at the end of a training: lambda_1 to lambda_3, and truth."""
    last = PHASES[-1]
    parser.add_argument("--lambda-1", type=not_negative, default=last.lpips, help="LPIPS's weight (%(default)s)")
    parser.add_argument("--lambda-2", type=not_negative, default=last.dmd, help="DMD's in the last phase (%(default)s)")
    parser.add_argument("--lambda-3", type=not_negative, default=last.gan, help="GAN's in the last phase (%(default)s)")
    parser.add_argument("--truth", type=not_negative, default=0.0, help=TRUTH)


@dataclass(frozen=True)
class Draw:
    """Random numbers that belong to a sample, whichever process draws them: for a run's seed, its samples' numbers."""

    seed: int
    numbers: Int[Tensor, "b"]

    def noise(self, like: Float[Tensor, "b 4 h w"], purpose: int) -> Float[Tensor, "b 4 h w"]:
        return normal_like(like, self._generators(purpose, 0))

    def timesteps(self, choices: tuple[int, ...], purpose: int) -> Int[Tensor, "b"]:
        places = [int(torch.randint(len(choices), (), generator=g)) for g in self._generators(purpose, 1)]
        return torch.tensor([choices[place] for place in places])

    def _generators(self, *key: int) -> list[torch.Generator]:
        return [sample_generator(self.seed, number, *key) for number in self.numbers.tolist()]


@dataclass(frozen=True, eq=False)
class Denoiser:
    """A UNet as these losses call it, x0 of a noisy latent at timesteps ``[b]``; what it predicts is its own affair."""

    unet: nn.Module
    prediction: str
    prompt: Prompt
    schedule: Schedule = Schedule()

    def __call__(
        self, noisy: Float[Tensor, "b 4 h w"], t: Int[Tensor, "b"], encoded: Encoded
    ) -> Float[Tensor, "b 4 h w"]:
        return denoised_from(self.prediction, self.output(noisy, t, encoded), noisy, self.schedule.signal[t])

    def output(self, noisy: Float[Tensor, "b 4 h w"], t: Int[Tensor, "b"], encoded: Encoded) -> Tensor:
        """What the UNet itself gives."""
        inputs = unet_input(noisy, encoded["mask"], encoded["masked"])
        return call_unet(self.unet, inputs, t.to(noisy.device), self.prompt).float()

    def middle(self, noisy: Float[Tensor, "b 4 h w"], t: Int[Tensor, "b"], encoded: Encoded) -> Tensor:
        """The UNet's middle features, which the discriminator judges; differentiable in ``noisy``."""
        inputs = unet_input(noisy, encoded["mask"], encoded["masked"])
        return middle_features(self.unet, inputs, t.to(noisy.device), self.prompt)

    def noised(self, clean: Tensor, noise: Tensor, t: Int[Tensor, "b"]) -> Float[Tensor, "b 4 h w"]:
        return add_noise(clean, noise, self.schedule.signal[t])


@dataclass(frozen=True, eq=False)
class Answer:
    """A student's x0 of a noisy latent and its picture, both in the graph, and the picture it is held against."""

    latent: Float[Tensor, "b 4 h8 w8"]
    picture: Float[Tensor, "b 3 h w"]
    target: Float[Tensor, "b 3 h w"]


@dataclass(frozen=True, eq=False)
class Distillation:
    """What a student is held against, all of it frozen."""

    teacher: Denoiser
    encoder: Encoder
    distance: nn.Module

    def answer(self, student: Denoiser, encoded: Encoded, draw: Draw, start: int, truth: bool = False) -> Answer:
        """The student's step and the teacher's walk, from one noisy latent; with ``truth`` the clean latent instead."""
        noisy, t = start_of(student, encoded["latent"], draw.noise(encoded["latent"], STUDENT), start)
        latent = student(noisy, t, encoded)
        target = encoded["latent"] if truth else taught(self.teacher, noisy, start, encoded)
        return Answer(latent, self.encoder.decode(latent), self.encoder.decode(target))

    def terms(
        self,
        answer: Answer,
        fake: Denoiser,
        judge: nn.Module,
        encoded: Encoded,
        draw: Draw,
        now: Phase,
        keep: Float[Tensor, "b 1 h w"] | None = None,
        truth: float = 0.0,
    ) -> dict[str, Float[Tensor, ""]]:
        """What the student is told; ``keep`` is 0 where the teacher's picture shows what it should not learn.

        ``truth`` is the weight of the truth's own term; without one there is none.
        """
        factor = answer.picture.shape[-1] // answer.latent.shape[-1]
        on_grid = None if keep is None else avg_pool2d(keep, factor)
        found = scores(self.teacher, fake, answer.latent, encoded, draw)
        judged = judge(judged_features(self.teacher, answer.latent, encoded, draw, GAN)).float()
        return {
            "lpips": now.lpips * perceptual_loss(self.distance, answer.picture, answer.target, keep).mean(),
            "dmd": now.dmd * dmd_loss(answer.latent, *found, on_grid).mean(),
            "gan": now.gan * lsgan_generator(judged).mean(),
        } | ({"truth": truth * hole_error(answer, encoded).mean()} if truth else {})

    def discriminator_loss(
        self, discriminator: nn.Module, made: Tensor, encoded: Encoded, draw: Draw
    ) -> Float[Tensor, ""]:
        """What the discriminator is told of real latents and of the student's, ``made``."""
        with torch.no_grad():
            features = [
                judged_features(self.teacher, z, encoded, draw, GAN_TRAINING) for z in (encoded["latent"], made)
            ]
        return lsgan_discriminator(*discriminator(torch.cat(features)).float().chunk(2)).mean()


def hole_error(answer: Answer, encoded: Encoded) -> Float[Tensor, "b"]:
    """How far an answer is from the truth in the hole, a mean absolute difference of latents."""
    error = ((answer.latent - encoded["latent"]).abs().mean(1, keepdim=True) * encoded["mask"]).flatten(1).sum(1)
    return error / encoded["mask"].flatten(1).sum(1).clamp_min(1)


def start_of(denoiser: Denoiser, latent: Tensor, noise: Tensor, start: int) -> tuple[Tensor, Int[Tensor, "b"]]:
    """The noisy latent that student and teacher both start from, and its timestep; at the first it is pure noise."""
    t = torch.full((len(latent),), START_TIMESTEPS[start])
    return (noise if start == 0 else denoiser.noised(latent, noise, t)), t


@torch.no_grad()
def taught(teacher: Denoiser, noisy: Float[Tensor, "b 4 h w"], start: int, encoded: Encoded) -> Tensor:
    """The latent that the teacher's solver (DPM-Solver++ 2M, 20 trailing steps, no guidance) reaches from ``noisy``."""
    from diffusers import DPMSolverMultistepScheduler

    solver = DPMSolverMultistepScheduler(
        beta_start=teacher.schedule.beta_start,
        beta_end=teacher.schedule.beta_end,
        beta_schedule="scaled_linear",
        num_train_timesteps=teacher.schedule.steps,
        prediction_type="sample",  # the denoiser gives x0 already
        timestep_spacing="trailing",
    )
    solver.set_timesteps(len(START_TIMESTEPS))
    if tuple(solver.timesteps.tolist()) != START_TIMESTEPS:
        raise RuntimeError(f"the solver must visit {START_TIMESTEPS}, got {solver.timesteps.tolist()}.")
    solver.set_begin_index(start)
    latent = noisy
    for t in solver.timesteps[start:]:
        denoised = teacher(latent, t.expand(len(latent)), encoded)
        latent = solver.step(denoised, t, latent).prev_sample
    return latent


@torch.no_grad()
def scores(real: Denoiser, fake: Denoiser, clean: Tensor, encoded: Encoded, draw: Draw) -> tuple[Tensor, Tensor]:
    """What two denoisers, the teacher and the fake score, find in the student's answer noised once more."""
    t = draw.timesteps(tuple(range(real.schedule.steps)), DMD)
    noisy = real.noised(clean, draw.noise(clean, DMD), t)
    return real(noisy, t, encoded), fake(noisy, t, encoded)


def following_loss(follower: Denoiser, clean: Tensor, encoded: Encoded, draw: Draw) -> Float[Tensor, "b"]:
    """What a fake score of its own learns (DMD2, Yin et al. 2024): to denoise the student's answers."""
    t = draw.timesteps(tuple(range(follower.schedule.steps)), FOLLOWING)
    noise = draw.noise(clean, FOLLOWING)
    output = follower.output(follower.noised(clean, noise, t), t, encoded)
    target = target_of(follower.prediction, clean, noise, follower.schedule.signal[t])
    return (output - target).square().flatten(1).mean(1)


def judged_features(teacher: Denoiser, clean: Tensor, encoded: Encoded, draw: Draw, purpose: int) -> Tensor:
    """The teacher's middle features of a latent noised once more, which the discriminator judges."""
    t = draw.timesteps(GAN_TIMESTEPS, purpose)
    noisy = teacher.noised(clean, draw.noise(clean, purpose), t)
    return teacher.middle(noisy, t, encoded)


def middle_channels(unet: "UNet2DConditionModel") -> int:
    """How many channels the discriminator reads."""
    return unet.config.block_out_channels[-1]
