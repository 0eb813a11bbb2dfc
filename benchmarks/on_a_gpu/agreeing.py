"""Whether a device computes what the CPU does: the nano's pictures, and the cores' formulas with their gradients."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.on_a_gpu.book import Book
from benchmarks.on_a_gpu.networks import engine_from
from eradiff_core import pipeline as eradiff
from eradiff_core.attention import attend
from eradiff_core.cro import cro_loss
from inpainting_core.built_in import BUILT_IN, EXAMPLES, NANO, NANO_ERADIFF
from inpainting_core.schedule import Schedule, denoised_from, noise_from
from yoeo_core import pipeline as yoeo
from yoeo_core.detector import Detections
from yoeo_core.distillation import dmd_loss
from yoeo_core.suppression import suppression_loss

PICTURE = 1 / 255  # the most that a picture's number may differ from the CPU's: one 8-bit level
FORMULA = 1e-4  # the most that a formula's may in fp32, in units of its largest
SIDE, SMALL_SIDE = 512, 64  # of the nano's picture, px


def agreeing(book: Book) -> None:
    """The largest difference from the CPU of each, and whether it is within the tolerance.  fp32 without TF32."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for name, (erase, model) in {"YOEO": (yoeo.erase, NANO), "EraDiff": (eradiff.erase, NANO_ERADIFF)}.items():
        book.enter(f"{name}'s nano, a picture", lambda at=(erase, model): of_pictures(book, *at))
    for name, formula in FORMULAS.items():
        book.enter(name, lambda formula=formula: of_formula(book, formula))
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def of_pictures(book: Book, erase: Callable, model: str) -> dict:
    from inpainting_core.picture_files import read_mask, read_picture  # need Pillow

    picture, mask = EXAMPLES["wren"]
    side, resolution = (SMALL_SIDE, SMALL_SIDE) if book.setting.small else (SIDE, None)
    image, hole = (smaller(x, side) for x in (read_picture(picture).image[:, :3], read_mask(mask)))
    made = [
        erase(engine_from(BUILT_IN[model], device), image, (hole > 0.5).float(), resolution=resolution).image
        for device in (torch.device("cpu"), book.setting.device)
    ]
    return within(float((made[0] - made[1].cpu()).abs().max()), PICTURE)


def smaller(image: Tensor, side: int) -> Tensor:
    return torch.nn.functional.interpolate(image, (side, side), mode="area")


def of_formula(book: Book, formula: Callable[..., Tensor]) -> dict:
    """The formula's values and gradients, on the CPU in fp64 and on the device in fp32."""
    generator, found = torch.Generator().manual_seed(0), []
    given = [torch.randn(2, 4, 8, 16, generator=generator, dtype=torch.float64) for _ in range(3)]
    for device, dtype in (("cpu", torch.float64), (book.setting.device, torch.float32)):
        parts = [part.to(device, dtype, copy=True).requires_grad_() for part in given]
        with torch.device(device):
            value = formula(*parts)
        value.square().sum().backward()
        found.append([part.detach().double().cpu() for part in (value, *(part.grad for part in parts))])
    worst = max(float((a - b).abs().max() / a.abs().max().clamp_min(1e-9)) for a, b in zip(*found, strict=True))
    return within(worst, FORMULA)


def within(difference: float, tolerance: float) -> dict:
    return {"difference": difference, "tolerance": tolerance, "agrees": difference <= tolerance}


def attention(mode: str, softness: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """With a hole of its own in each sample."""

    def formula(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        hole = torch.arange(q.shape[2])[None] < torch.tensor([[3], [5]])
        return attend(q, k, v, hole, mode, softness=softness)

    return formula


def chain(original: Tensor, with_object: Tensor, noise: Tensor) -> Tensor:
    t, gamma = torch.tensor([700, 40]), torch.tensor([90, 60])
    return cro_loss(lambda noisy, _: noisy.tanh(), original, with_object, noise, t, gamma, Schedule())


def predictions(output: Tensor, noisy: Tensor, more: Tensor) -> Tensor:
    signal = torch.tensor([0.9, 0.2])
    return sum(f("v_prediction", output, noisy, signal) for f in (denoised_from, noise_from)) * more


def suppression(logits: Tensor, features: Tensor, masks: Tensor) -> Tensor:
    """Of two queries, whose masks lie in the hole."""
    found = Detections(logits[:, :2, 0, :2], 4 + masks[:, :2], features)
    loss = suppression_loss(found, torch.ones(2, 1, 8, 16))
    return loss.probability + loss.mask + 0 * features.sum()


def distribution(student: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    return dmd_loss(student, real.detach(), fake.detach()) + 0 * (real + fake).sum()


FORMULAS = {
    "attend, rectified": attention("rectified", 0.0),
    "attend, strict": attention("strict", 0.0),
    "attend, soft": attention("rectified", 0.3),
    "chain-rectifying loss": chain,
    "v-prediction": predictions,
    "suppression loss": suppression,
    "distribution matching loss": distribution,
}
