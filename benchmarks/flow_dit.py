"""Both methods on a rectified flow and a transformer: train, sample, and see whether the object is gone.

    python -m benchmarks.flow_dit [--steps 400] [--seed 0]

A DiT of diffusers' own class with 9 input channels learns latents of 8 x 8 that are a plane of colour, with or without
a patch of another colour on it.  It shows that the losses and samplers run there end to end, and nothing beyond that.
Printed: how much of the patch is left, 1 where it is untouched, and the error in the hole in units of the latents.
"""

import argparse
from collections.abc import Callable
from copy import deepcopy

import torch
from diffusers import DiTTransformer2DModel
from torch import Tensor, nn

from eradiff_core.attention import rectifier
from eradiff_core.cro import cro_loss, draw_jump
from eradiff_core.sampler import ddim
from inpainting_core.flow import RectifiedFlow, denoised_by
from inpainting_core.latents import unet_input
from inpainting_core.schedule import trailing_timesteps
from inpainting_core.self_attention import self_attention
from yoeo_core.consistency import lcm, timesteps
from yoeo_core.distillation import START_TIMESTEPS, dmd_loss, draw_start, perceptual_loss, phase

SIDE, BATCH, FLOW = 8, 32, RectifiedFlow()
COLOURS = torch.tensor([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.5], [0.3, 0.3, 0.3]])  # the decoder
STRENGTH = 0.8  # EraDiff starts from the noised original, of which nothing is left in pure noise


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400, help="training steps of each network (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(%(default)s)")
    return parser.parse_args(argv)


def tiny_dit() -> nn.Module:
    heads = {"num_attention_heads": 4, "attention_head_dim": 16, "num_layers": 2, "num_embeds_ada_norm": 1}
    return DiTTransformer2DModel(in_channels=9, out_channels=4, sample_size=SIDE, patch_size=1, **heads)


def draw_scenes(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Planes of colour, the same with a patch on each, and where the patch lies."""
    ramp = torch.linspace(-1, 1, SIDE)
    across, down, level = torch.randn(3, count, 4, 1, 1, generator=generator)
    plain = 0.6 * (across * ramp + down * ramp[:, None]) + 0.6 * level
    mask = torch.zeros(count, 1, SIDE, SIDE)
    for sample, (y, x) in enumerate(torch.randint(SIDE - 3, (count, 2), generator=generator).tolist()):
        mask[sample, :, y : y + 3, x : x + 3] = 1
    return plain, plain + 1.5 * torch.randn(count, 4, 1, 1, generator=generator).sign() * mask, mask


class Velocity:
    """A network and what it erases in, as the losses and the samplers call it."""

    def __init__(self, network: nn.Module, mask: Tensor, plain: Tensor) -> None:
        self.network, self.mask, self.masked = network, mask, plain * (1 - mask)

    def __call__(self, noisy: Tensor, t: Tensor) -> Tensor:
        fed = unet_input(noisy, self.mask, self.masked)
        return self.network(fed, timestep=t.expand(len(noisy)), class_labels=torch.zeros(len(noisy)).long()).sample

    def denoised(self, x: Tensor, s: Tensor) -> Tensor:
        return denoised_by(self(x, FLOW.timestep_of(s)), x, s)


def train(network: nn.Module, loss: Callable[[nn.Module, torch.Generator], Tensor], args: argparse.Namespace):
    """The network after so many steps of Adam."""
    generator = torch.Generator().manual_seed(args.seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.steps)
    for _ in range(args.steps):
        optimizer.zero_grad()
        loss(network, generator).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        rates.step()
    return network


def chain(mixing: str) -> Callable[[nn.Module, torch.Generator], Tensor]:
    """EraDiff's loss; ``none`` mixes no object in and is plain flow matching."""

    def loss(network: nn.Module, generator: torch.Generator) -> Tensor:
        plain, with_object, mask = draw_scenes(BATCH, generator)
        noise = torch.randn(plain.shape, generator=generator)
        t, gamma = torch.tensor([draw_jump(generator) for _ in range(BATCH)]).unbind(1)
        predict = Velocity(network, mask, plain)
        # the chain's weight grows as gamma squared; its mean is taken out, for Adam and the clipping
        return 400 * cro_loss(predict, plain, with_object, noise, t, gamma, FLOW, mixing).mean()

    return loss


def distilled_from(teacher: nn.Module, args: argparse.Namespace) -> Callable[[nn.Module, torch.Generator], Tensor]:
    """YOEO's distillation: what the teacher's walk reaches, and the teacher's score; the fake score is the student."""
    teacher.requires_grad_(False)

    def distance(one: Tensor, other: Tensor) -> Tensor:
        return (one - other).square().flatten(1).mean(1)

    def loss(network: nn.Module, generator: torch.Generator) -> Tensor:
        plain, _, mask = draw_scenes(BATCH, generator)
        now = phase(len(drawn), max(args.steps // 4, 1))
        drawn.append(start := draw_start(now, generator))
        sigmas = FLOW.sigmas_for(START_TIMESTEPS[start::4])
        noisy = FLOW.noised(plain, torch.randn(plain.shape, generator=generator), sigmas[0])
        student = Velocity(network, mask, plain)
        answer = student.denoised(noisy, sigmas[:1].expand(BATCH))
        with torch.no_grad():
            walked = ddim(Velocity(teacher, mask, plain).denoised, noisy, sigmas)  # of every fourth of its steps
            t = torch.randint(FLOW.steps, (BATCH,), generator=generator)
            again = FLOW.add_noise(answer, torch.randn(plain.shape, generator=generator), FLOW.signal[t])
            real, fake = (Velocity(one, mask, plain).denoised(again, FLOW.sigmas[t]) for one in (teacher, network))
        pictures = (torch.einsum("bchw,cd->bdhw", latent, COLOURS) + 0.5 for latent in (answer, walked))
        return (perceptual_loss(distance, *pictures) + now.dmd * dmd_loss(answer, real, fake)).mean()

    drawn: list[int] = []
    return loss


def look(network: nn.Module, method: str, mode: str = "off") -> str:
    """A row of the table, of 64 scenes that no training saw."""
    plain, with_object, mask = draw_scenes(64, torch.Generator().manual_seed(1_000_000))
    made = erased(network, method, mode, plain, with_object, mask)
    return "| {:.3f} | {:.3f} |".format(*left_of(made, plain, with_object, mask))


@torch.no_grad()
def erased(network: nn.Module, method: str, mode: str, plain: Tensor, with_object: Tensor, mask: Tensor) -> Tensor:
    """What one of the two samplers makes of the scenes."""
    noise, model = torch.randn(plain.shape, generator=torch.Generator().manual_seed(1)), Velocity(network, mask, plain)
    with self_attention(network, rectifier(mask, mode), (SIDE, SIDE), torch.ones(1)):
        if method == "eradiff":
            sigmas = FLOW.sigmas_for(trailing_timesteps(12, STRENGTH))
            return ddim(model.denoised, FLOW.noised(with_object, noise, sigmas[0]), sigmas)
        generators = [torch.Generator().manual_seed(seed) for seed in range(len(plain))]
        return lcm(generators, FLOW)(model.denoised, noise, FLOW.sigmas_for(timesteps(2)))


def left_of(made: Tensor, plain: Tensor, with_object: Tensor, mask: Tensor) -> tuple[float, float]:
    """The share of the patch that is still there, and the root of the mean squared error in the hole."""
    error, thing = ((latent - plain) * mask for latent in (made, with_object))
    left = (error * thing).flatten(1).sum(1) / thing.square().flatten(1).sum(1)
    return float(left.mean()), float((error.square().sum() / (4 * mask.sum())).sqrt())


def main(args: argparse.Namespace) -> None:
    torch.manual_seed(args.seed)
    start = tiny_dit()
    plain, erasing = (train(deepcopy(start), chain(mixing), args) for mixing in ("none", "schedule"))
    student = train(deepcopy(plain), distilled_from(deepcopy(plain), args), args)
    print("| network | sampler | SRA | left of the object | error in the hole |\n|---|---|---|---|---|")
    for mode in ("off", "rectified"):
        print(f"| plain | 12 steps of DDIM from the original | {mode} {look(plain, 'eradiff', mode)}")
        print(f"| CRO | 12 steps of DDIM from the original | {mode} {look(erasing, 'eradiff', mode)}")
    print(f"| plain | 2 steps of LCM from noise | off {look(plain, 'yoeo')}")
    print(f"| distilled | 2 steps of LCM from noise | off {look(student, 'yoeo')}")


if __name__ == "__main__":
    main(parse_args())
