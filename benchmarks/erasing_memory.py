"""What erasing holds at its most, part by part, beside what no way of computing it could do without; counted, no card.

    python -m benchmarks.erasing_memory [--model SD1.5 SD2 SDXL] [--dtype float16] [--side 512]

Tensors have sizes and no contents (``benchmarks.live_memory``), so any network is counted anywhere.  *Weights* are both
networks'; *largest operation* is the most that one operation reads and writes besides weights; *most* is what is held
at once.  A ComfyUI holds only the network that it is running if both do not fit.
"""

import argparse
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from benchmarks.live_memory import counted_as_on_a_card, lay_out
from benchmarks.plain import PlainUNet, build_vae
from benchmarks.random_engine import TINY
from benchmarks.sra_ratio import MODELS
from benchmarks.sra_ways import square
from eradiff_core.attention import rectifier
from inpainting_core.architecture import ModelConfig
from inpainting_core.empty_prompt import LENGTH, Prompt
from inpainting_core.engine import call_unet
from inpainting_core.self_attention import SelfAttention, self_attention

GB = 1e9
HOLE = 0.15  # of the picture
SIGMA = torch.ones(1)


class Operations(torch.utils._python_dispatch.TorchDispatchMode):
    """The most that one operation reads and writes, weights left out; bytes."""

    def __init__(self, weights: set[int]) -> None:
        super().__init__()
        self.weights, self.largest = weights, 0

    def __torch_dispatch__(self, operation: Callable, types: object, args: tuple = (), kwargs: dict | None = None):
        result = operation(*args, **(kwargs or {}))
        storages = [x.untyped_storage() for x in tree_leaves((args, kwargs, result)) if isinstance(x, Tensor)]
        sizes = {storage._cdata: storage.nbytes() for storage in storages if storage._cdata not in self.weights}
        self.largest = max(self.largest, sum(sizes.values()))
        return result


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=[*MODELS, "tiny"], nargs="+", default=list(MODELS), help="(all)")
    parser.add_argument("--side", type=int, help="of the picture in px; left out: the model's own")
    parser.add_argument("--dtype", choices=("float16", "bfloat16", "float32"), default="float16", help="(%(default)s)")
    return parser.parse_args(argv)


def rectified(side: int, config: ModelConfig) -> SelfAttention:
    """SRA that knows its hole on every grid already: where tokens lie takes numbers, which a count has none of."""
    attention = rectifier(square(HOLE, side // 8), "rectified")
    for level in range(len(config.unet.channels)):
        grid = -(-side // 8 // 2**level)
        attention(*torch.zeros(3, 1, 1, grid * grid, 8), grid, grid, SIGMA)
    return attention


def parts_of(config: ModelConfig, side: int, dtype: torch.dtype) -> tuple[list[nn.Module], dict[str, Callable]]:
    """The networks, without contents yet, and each part of an erasure as a call."""
    with torch.device("meta"):
        unet, vae = PlainUNet(config.unet).to(dtype), build_vae(config.vae, plain=True)
    vae = vae.to(torch.float32 if config.vae.needs_fp32 and dtype == torch.float16 else dtype)
    attention, latent = rectified(side, config), (side // 8, side // 8)

    def encode(pictures: int) -> Tensor:
        return vae.encode(torch.rand(pictures, 3, side, side, dtype=vae.dtype)).latent_dist.mode()

    def step(attention: SelfAttention | None) -> Tensor:
        pooled = config.unet.pooled_dim and torch.randn(1, config.unet.pooled_dim, dtype=dtype)
        prompt = Prompt(torch.randn(1, LENGTH, config.unet.context_dim, dtype=dtype), pooled)
        with self_attention(unet, attention, latent, SIGMA):
            return call_unet(unet, torch.randn(1, 9, *latent, dtype=dtype), torch.full((1,), 500), prompt)

    return [unet, vae], {
        "encode, YOEO (one picture)": lambda: encode(1),
        "encode, EraDiff (two)": lambda: encode(2),
        "a step, YOEO": lambda: step(None),
        "a step, EraDiff (rectified)": lambda: step(attention),
        "decode": lambda: vae.decode(torch.randn(1, 4, *latent, dtype=vae.dtype)).sample,
    }


@torch.no_grad()
def needs_of(config: ModelConfig, side: int, dtype: torch.dtype) -> tuple[int, dict[str, tuple[int, int]]]:
    """Bytes of the weights, and of each part its largest operation and the most that is held with all weights."""
    networks, parts = parts_of(config, side, dtype)
    with counted_as_on_a_card() as held:
        for network in networks:
            lay_out(network)
        weights, found = held.now, {}
        own = {w.untyped_storage()._cdata for network in networks for w in network.state_dict().values()}
        for name, part in parts.items():
            held.most_since()
            with Operations(own) as operations:
                part()
            found[name] = operations.largest, held.most_since()
    return weights, found


def main(args: argparse.Namespace) -> None:
    print("| model | part | weights, GB | largest operation, GB | most, GB | most / (weights + operation) |")
    print("|---|---|---|---|---|---|")
    for name in args.model:
        config = TINY if name == "tiny" else MODELS[name]
        side = args.side or config.resolution
        weights, found = needs_of(config, side, getattr(torch, args.dtype))
        for part, (largest, most) in found.items():
            cells = [f"{number / GB:.2f}" for number in (weights, largest, most)] + [
                f"{most / (weights + largest):.2f}"
            ]
            print(f"| {name}, {side} px | {part} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main(parse_args())
