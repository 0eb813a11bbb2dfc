"""What is not kept for a gradient changes no bit of it; ``selective`` does nothing costly a second time."""

import importlib
from collections import Counter
from collections.abc import Callable

import pytest
import torch
from tiny import KL, UNET
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from inpainting_core.empty_prompt import Prompt
from inpainting_core.engine import build_unet, build_vae, call_unet
from training import train_eradiff
from training.running import checkpointing
from training.running.checkpointing import COSTLY, WAYS, able_to_repeat, checkpoint_gradients
from training.running.optimisation import accelerator_of


class Done(TorchDispatchMode):
    """How often each operation was done."""

    def __init__(self) -> None:
        super().__init__()
        self.times = Counter()

    def __torch_dispatch__(self, operation: Callable, types: object, args: tuple = (), kwargs: dict | None = None):
        self.times[operation] += 1
        return operation(*args, **(kwargs or {}))


def noise_of(unet: nn.Module) -> torch.Tensor:
    return call_unet(unet, torch.randn(2, 9, 16, 16), torch.tensor([500, 3]), Prompt(torch.randn(1, 4, 64)))


def picture_of(vae: nn.Module) -> torch.Tensor:
    return vae.decode(torch.randn(2, 4, 8, 8)).sample


@pytest.mark.parametrize(
    ("build", "shape", "answer"), [(build_unet, UNET, noise_of), (build_vae, KL, picture_of)], ids=["UNet", "VAE"]
)
def test_gradients_are_the_same_bits(build, shape, answer):
    gradients, done = {}, {}
    network = build(shape).train()
    for way in (None, *WAYS):
        checkpoint_gradients(way, network)
        network.zero_grad()
        torch.manual_seed(0)
        with Done() as mode:
            answer(network).square().mean().backward()
        gradients[way] = [weight.grad for weight in network.parameters() if weight.grad is not None]
        done[way] = mode.times
    for way in WAYS:
        assert gradients[way] and all(map(torch.equal, gradients[way], gradients[None]))
    attention = {operation for operation in done[None] if "scaled_dot" in str(operation)}
    assert {one for one in attention if "backward" not in str(one)} <= COSTLY, "another kernel of attention"
    costly = {way: sum(times[operation] for operation in COSTLY) for way, times in done.items()}
    assert costly["selective"] == costly[None] < costly["full"]
    cheap = torch.ops.aten.silu.default
    assert done["selective"][cheap] == done["full"][cheap] > done[None][cheap]


def test_several_gradients_of_one_pass_need_all_of_it_again():
    """The reason for ``able_to_repeat``: torch's selective way serves one."""
    vae = build_vae(KL).train()
    for way, repeats in (("selective", False), (able_to_repeat("selective"), True), (able_to_repeat(None), True)):
        vae.disable_gradient_checkpointing()
        checkpoint_gradients(way, vae)
        latent = torch.randn(1, 4, 8, 8, requires_grad=True)
        picture = vae.decode(latent).sample
        once = torch.autograd.grad(picture.sum(), latent, retain_graph=True)
        if repeats:
            torch.testing.assert_close(torch.autograd.grad(picture.sum(), latent), once)
        else:
            with pytest.raises(RuntimeError, match="extra time"):
                torch.autograd.grad(picture.sum(), latent)


def test_an_old_torch_trains_and_is_refused_the_selective_way(monkeypatch):
    """Torch before 2.5 has no such thing; whoever does not ask for it need not have it."""
    monkeypatch.delattr(torch.utils.checkpoint, "CheckpointPolicy")
    monkeypatch.delattr(torch.utils.checkpoint, "create_selective_checkpoint_contexts")
    importlib.reload(checkpointing)
    for way in (None, "full"):
        checkpointing.refuse_missing_way(way)
    with pytest.raises(ValueError, match="selective needs torch 2.5 or newer, got "):
        accelerator_of(
            train_eradiff.parse_args("--base b --images i --out o --gradient-checkpointing selective".split())
        )
