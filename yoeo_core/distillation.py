"""What the student is distilled by: the phases of a training, the timestep it starts from, and three losses.

Flash Diffusion (Chadebec et al. 2024) as YOEO's published code trains with it: the student's one step is held against
what the teacher's solver reaches from the same noisy latent (LPIPS), against the teacher's score (DMD) and against
real latents (GAN).  Every loss is one number a sample; the weights are in ``Phase``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inpainting_core.schedule import trailing_timesteps
from inpainting_core.shapes import Float

START_TIMESTEPS = trailing_timesteps(20)  # 999, 949, ... 49: the steps of the teacher's solver
CENTRES = (0, 5, 10, 15)  # indices of 999, 749, 499 and 249, the timesteps that the student will be sampled at
TWICE_VARIANCE = 0.5  # of the Gaussians, in indices squared: a neighbour is e^-2 as likely as its centre
STEPS_PER_PHASE = 1500  # generator steps
SMALLEST_DISTANCE = 1e-5  # keeps DMD's weight finite


@dataclass(frozen=True)
class Phase:
    """How a part of the training goes.

    ``mixture`` weighs the Gaussians around timesteps 999, 749, 499 and 249; ``dmd``, ``gan`` and ``lpips`` weigh
    their losses.
    """

    mixture: tuple[float, float, float, float]
    dmd: float
    gan: float
    lpips: float = 1.0


PHASES = (
    Phase((0.0, 0.0, 0.5, 0.5), dmd=0.0, gan=0.0),
    Phase((0.1, 0.3, 0.3, 0.3), dmd=0.3, gan=0.1),
    Phase((0.25, 0.25, 0.25, 0.25), dmd=0.5, gan=0.2),
    Phase((0.4, 0.2, 0.2, 0.2), dmd=0.7, gan=0.3),
)


def phase(step: int, steps_per_phase: int = STEPS_PER_PHASE) -> Phase:
    """The phase of a generator step, counted from 0.  ``steps_per_phase`` 0: always the last, as in stage 3."""
    if steps_per_phase == 0:
        return PHASES[-1]
    return PHASES[min(step // steps_per_phase, len(PHASES) - 1)]


def reweighed(phase: Phase, lpips: float, dmd: float, gan: float) -> Phase:
    """The phase of a training that ends with these weights, the paper's lambda_1, lambda_2 and lambda_3."""
    last = PHASES[-1]
    return replace(phase, lpips=lpips, dmd=phase.dmd * (dmd / last.dmd), gan=phase.gan * (gan / last.gan))


def start_probabilities(phase: Phase) -> Float[Tensor, "20"]:
    """How likely each of ``START_TIMESTEPS`` is: a mixture of Gaussians over their indices, adding up to 1."""
    distance = torch.arange(len(START_TIMESTEPS))[:, None] - torch.tensor(CENTRES)
    density = (torch.tensor(phase.mixture) * (-distance.square() / TWICE_VARIANCE).exp()).sum(1)
    return density / density.sum()


def draw_start(phase: Phase, generator: torch.Generator) -> int:
    """An index into ``START_TIMESTEPS``, one for a whole batch; ``generator`` is a CPU one."""
    return int(torch.multinomial(start_probabilities(phase), 1, generator=generator))


def perceptual_loss(
    network: Callable[[Tensor, Tensor], Tensor],
    student: Float[Tensor, "b 3 h w"],
    teacher: Float[Tensor, "b 3 h w"],
    keep: Float[Tensor, "b 1 h w"] | None = None,
) -> Float[Tensor, "b"]:
    """LPIPS (Zhang et al. 2018) between two pictures in [0, 1].

    ``network`` takes two pictures in [-1, 1] and gives one number a sample, as ``lpips.LPIPS`` and
    ``stlpips.LPIPS`` do.  ``keep`` is 0 where the teacher drew an object: both pictures are mid-grey there.
    """
    student, teacher = student * 2 - 1, teacher.detach() * 2 - 1
    if keep is not None:
        student, teacher = student * keep, teacher * keep
    return network(student, teacher).reshape(len(student), -1).mean(1)


def dmd_loss(
    student: Float[Tensor, "b c h w"],
    real: Float[Tensor, "b c h w"],
    fake: Float[Tensor, "b c h w"],
    keep: Float[Tensor, "b 1 h w"] | None = None,
) -> Float[Tensor, "b"]:
    """Distribution matching (Yin et al. 2024, eq. 7 and 8): a squared error whose gradient is the scores' difference.

    ``student`` is the student's x0, in the graph; it was noised once more, and ``real`` and ``fake`` are the x0 that
    the teacher and the fake score find in that (``schedule.denoised_from``, whatever they predict).  The published
    coefficient (eps_real - eps_fake) sqrt(1 - abar) / sqrt(abar) is their difference fake - real.
    ``keep`` on the latent grid weighs it; 0 where the teacher drew an object.
    """
    with torch.no_grad():
        towards = fake - real
        if keep is not None:
            towards = towards * keep
        distance = (student - real).abs().flatten(1).mean(1) + SMALLEST_DISTANCE
        target = student - towards / distance[:, None, None, None]
    return (student - target).square().flatten(1).mean(1)


def lsgan_generator(fake: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
    """Least-squares GAN (Mao et al. 2017) on sigmoids: the student's latents should score 1."""
    return (fake.sigmoid() - 1).square()


def lsgan_discriminator(real: Float[Tensor, "b"], fake: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
    """The other side: real latents should score 1, the student's 0."""
    return ((real.sigmoid() - 1).square() + fake.sigmoid().square()) / 2
