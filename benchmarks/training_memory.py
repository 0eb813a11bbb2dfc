"""What YOEO's third stage asks of a graphics card, counted from the sizes of its tensors.

    python -m benchmarks.training_memory

Stable Diffusion 1.5 at 512 px and a Mask2Former on Swin-T at 640 px are laid out with fake tensors, which have sizes
but no contents, so that this runs anywhere.  Counted are weights, gradients and the optimizer's memory, and what
autograd keeps of one sample until its backward pass, each part's by itself.  Not counted: what a kernel works in, the
allocator's losses, CUDA's own 0.5 GB; leave a tenth of the card for them.
"""

import argparse
from collections.abc import Callable

import torch
from lpips import LPIPS
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

from inpainting_core.architecture import SD15_INPAINT
from inpainting_core.empty_prompt import Prompt
from inpainting_core.engine import build_unet, build_vae, call_unet
from training.running.distilling import middle_channels
from yoeo_core.detector import SundryDetector
from yoeo_core.discriminator import Discriminator, middle_features

GB = 1e9
TEACHER = "teacher, its middle"
CHECKPOINTED = ("student", "autoencoder's decoder", TEACHER)  # what the scripts switch it on for


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=512, help="of a training picture in px (%(default)s)")
    return parser.parse_args(argv)


def weights_gb(module: nn.Module, bytes_each: int) -> float:
    """A module's weights at so many bytes a number."""
    return sum(weight.numel() for weight in module.parameters()) * bytes_each / GB


def kept_gb(function: Callable[[], Tensor], weights: set[int]) -> float:
    """What autograd keeps for the backward pass of one call, every storage once, the modules' own weights not."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage.nbytes()
            alive.append(tensor)
        return tensor

    alive: list[Tensor] = []  # so that no storage's number is given out twice
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        function()
    return sum(kept.values()) / GB


def swin_tiny_detector() -> SundryDetector:
    """The Mask2Former that YOEO is judged by, on Swin-T with 100 queries, one class."""
    swin = SwinConfig(out_features=["stage1", "stage2", "stage3", "stage4"])
    return SundryDetector(Mask2FormerForUniversalSegmentation(Mask2FormerConfig(backbone_config=swin, num_labels=1)))


def on_the_card(module: nn.Module) -> nn.Module:
    """The module with what its library made on the CPU laid out anew."""
    for part in module.modules():
        for name, weight in list(part.named_parameters(recurse=False)):
            setattr(part, name, nn.Parameter(torch.empty(weight.shape), weight.requires_grad))
        for name, buffer in list(part.named_buffers(recurse=False)):
            part.register_buffer(name, torch.empty(buffer.shape, dtype=buffer.dtype))
    return module


def parts(side: int) -> dict[str, tuple[nn.Module, Callable[[], Tensor]]]:
    """Each network of stage 3 and one sample's call of it."""
    unet, frozen = build_unet(SD15_INPAINT.unet).train(), build_unet(SD15_INPAINT.unet).requires_grad_(False)
    vae = build_vae(SD15_INPAINT.vae).requires_grad_(False)
    distance = on_the_card(LPIPS(net="vgg", pretrained=False, pnet_rand=True)).requires_grad_(False)
    detector, head = on_the_card(swin_tiny_detector()), Discriminator(middle_channels(frozen))
    prompt, t = Prompt(torch.randn(1, 77, 768)), torch.zeros(1, dtype=torch.long)

    def leaf(*shape: int) -> Tensor:
        return torch.randn(*shape, requires_grad=True)

    inputs, latent, picture = leaf(1, 9, side // 8, side // 8), leaf(1, 4, side // 8, side // 8), leaf(1, 3, side, side)
    return {
        "student": (unet, lambda: call_unet(unet, inputs, t, prompt)),
        "autoencoder's decoder": (vae, lambda: vae.decode(latent).sample),
        "LPIPS": (distance, lambda: distance(picture, picture.detach())),
        "detector": (detector, lambda: detector(picture).mask_logits),
        TEACHER: (frozen, lambda: head(middle_features(frozen, inputs, t, prompt))),
    }


def main(args: argparse.Namespace) -> None:
    bf16 = torch.autocast("cuda", torch.bfloat16)
    with FakeTensorMode(), torch.device("cuda"), bf16:
        networks = parts(args.side)
        own = {weight.untyped_storage()._cdata for module, _ in networks.values() for weight in module.parameters()}
        sample = {name: kept_gb(call, own) for name, (_, call) in networks.items()}
        for name in CHECKPOINTED:
            networks[name][0].enable_gradient_checkpointing()
        frugal = sample | {name: kept_gb(networks[name][1], own) for name in CHECKPOINTED}
        fixed = {name: weights_gb(module, 2 if name == TEACHER else 4) for name, (module, _) in networks.items()}
    fixed["student's gradients and AdamW"] = 3 * fixed["student"]
    print("| always there | GB |\n|---|---|")
    for name, size in (fixed | {"together": sum(fixed.values())}).items():
        print(f"| {name} | {size:.2f} |")
    print("\n| kept of a sample | GB | with --gradient-checkpointing |\n|---|---|---|")
    for name, size in sample.items():
        print(f"| {name} | {size:.2f} | {frugal[name]:.2f} |")
    sizes = [sum(way.values()) for way in (sample, frugal)]
    print(f"| together | {sizes[0]:.2f} | {sizes[1]:.2f} |\n")
    for card in (24, 80):
        room = 0.9 * card - sum(fixed.values())
        plain, checkpointed = (int(room / size) for size in sizes)
        print(
            f"{card} GB: {room:.1f} GB for samples: --batch-size {plain}, with --gradient-checkpointing {checkpointed}"
        )


if __name__ == "__main__":
    main(parse_args())
