"""What a training step of Chain-Rectifying Optimization costs beside one of plain noise prediction.

    python -m benchmarks.cro_cost [--base assets/nano_base.safetensors] [--batch-size 16] [--pairs 40]

Both take the same cached latents, the same network and the same optimizer, in turn, so that whatever else the machine
does falls on both.  Printed: seconds a step, and the ratio of each pair of neighbouring steps with its spread.
"""

import argparse
from collections.abc import Callable
from statistics import median, quantiles
from time import perf_counter

import torch
from torch import Tensor

from eradiff_core.cro import cro_loss, draw_jump
from inpainting_core.engine import call_unet
from inpainting_core.latents import unet_input
from inpainting_core.schedule import Schedule, add_noise, noise_from
from training.networks.bases import load_networks


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="assets/nano_base.safetensors", help="checkpoint (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=16, help="(%(default)s)")
    parser.add_argument("--pairs", type=int, default=40, help="steps of each kind that are timed (%(default)s)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="(%(default)s)")
    return parser.parse_args(argv)


def steps_of(args: argparse.Namespace) -> dict[str, Callable[[], None]]:
    """One training step of each kind, as functions of nothing."""
    networks, schedule = load_networks(args.base, vae=None), Schedule()
    unet, prompt = networks.unet.to(args.device).train(), networks.empty_prompt.to(args.device)
    optimizer, generator = torch.optim.Adam(unet.parameters(), lr=3e-6), torch.Generator().manual_seed(0)
    side = networks.config.resolution // 8

    def draw(channels: int) -> Tensor:
        return torch.randn(args.batch_size, channels, side, side, generator=generator).to(args.device)

    mask = (draw(1) > 0.5).float()

    def predict_noise(noisy: Tensor, t: Tensor) -> Tensor:
        output = call_unet(unet, unet_input(noisy, mask, masked), t, prompt)
        return noise_from(networks.config.prediction, output, noisy, schedule.signal[t.cpu()])

    original, with_object, masked = draw(4), draw(4), draw(4)

    def chain() -> Tensor:
        jumps = [draw_jump(generator) for _ in range(args.batch_size)]
        t, gamma = torch.tensor(jumps, device=args.device).unbind(1)
        return cro_loss(predict_noise, original, with_object, draw(4), t, gamma, schedule).mean()

    def plain() -> Tensor:
        noise, t = draw(4), torch.randint(1000, (args.batch_size,), generator=generator).to(args.device)
        return (predict_noise(add_noise(original, noise, schedule.signal[t.cpu()]), t) - noise).square().mean()

    def step(loss: Callable[[], Tensor]) -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()
        if args.device == "cuda":
            torch.cuda.synchronize()

    return {"plain noise prediction": lambda: step(plain), "CRO": lambda: step(chain)}


def main(args: argparse.Namespace) -> None:
    steps = steps_of(args)
    seconds = {name: [] for name in steps}
    for turn in range(args.pairs + 2):
        order = list(steps) if turn % 2 else list(steps)[::-1]
        for name in order:
            started = perf_counter()
            steps[name]()
            if turn >= 2:  # the first ones warm up
                seconds[name].append(perf_counter() - started)
    plain, chain = seconds.values()
    for name, values in seconds.items():
        print(f"{name:24} median {median(values):.4f} s a step, {min(values):.4f} to {max(values):.4f}")
    ratios = [b / a for a, b in zip(plain, chain, strict=True)]
    low, _, high = quantiles(ratios, n=4)
    print(f"CRO / plain: median {median(ratios):.3f}, quartiles {low:.3f} to {high:.3f}, {args.pairs} pairs")


if __name__ == "__main__":
    main(parse_args())
