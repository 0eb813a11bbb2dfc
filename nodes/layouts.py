"""Where the canvas lies among the tokens of a transformer's joint attention, next to text and other pictures.

Every family here puts the text first, then the canvas, the picture that is sampled, row by row.  In double-stream
blocks text and picture have weights of their own and in single-stream blocks they share them, but both attend alike.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil

from comfy.ldm.flux.model import Flux
from comfy.ldm.lumina.model import NextDiT
from comfy.ldm.modules.diffusionmodules.mmdit import OpenAISignatureMMDITWrapper
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.ldm.qwen_image.model import QwenImageTransformer2DModel
from torch import Tensor, nn


@dataclass(frozen=True)
class Canvas:
    """The tokens of the picture that is sampled, behind which ``after`` more come.

    Each stands for patch x patch numbers of one of the latent's ``frames``, which are height x width.
    """

    frames: int
    height: int
    width: int
    patch: int
    after: int = 0

    @property
    def tokens(self) -> int:
        return self.frames * ceil(self.height / self.patch) * ceil(self.width / self.patch)


@dataclass(frozen=True)
class Layout:
    """How a network orders its tokens.

    The canvas, in tokens of patch x patch numbers of the latent, is filled up to a ``multiple`` of tokens.
    Reference pictures (FLUX Kontext, Qwen's edit models) come behind it, where ``references`` are known at all.
    The first ``text_calls`` calls of attention in each pass refine the text alone.
    """

    patch: int
    multiple: int = 1
    references: bool = True
    text_calls: int = 0

    def canvas(self, latent: Tensor, references: list[Tensor]) -> Canvas:
        """The canvas of a pass: latents are ``[b, c, h, w]`` or ``[b, c, frames, h, w]``.

        Raises ValueError for reference pictures in a family that keeps them in places unknown here.
        """
        if references and not self.references:
            raise ValueError(
                "the prompt must have no reference pictures, for where Z-Image keeps them is not known, "
                f"got {len(references)}. Take the reference latents out of the prompt."
            )
        canvas = self._of(latent)
        after = -canvas.tokens % self.multiple + sum(self._of(reference).tokens for reference in references)
        return replace(canvas, after=after)

    def _of(self, latent: Tensor) -> Canvas:
        return Canvas(latent.shape[2:-2].numel(), *latent.shape[-2:], self.patch)


def layout_of(network: nn.Module) -> Layout | None:
    """The layout of a transformer's tokens; None for a UNet, where text and picture attend apart.

    Raises ValueError for a network whose order of tokens is not known, a subclass of a known one included.
    """
    if isinstance(network, UNetModel):
        return None
    if type(network) not in FAMILIES:
        raise ValueError(
            "model must be a UNet (SD1.5, SD2, SDXL) or a transformer of FLUX, Qwen-Image, SD3 or Z-Image, "
            f"got {type(network).__name__}, whose order of tokens is not known. Load one of these."
        )
    return FAMILIES[type(network)](network)


def _patched(network: nn.Module) -> Layout:
    return Layout(network.patch_size)


def _sd3(network: OpenAISignatureMMDITWrapper) -> Layout:
    return Layout(network.x_embedder.patch_size[0])


def _z_image(network: NextDiT) -> Layout:
    multiple = network.pad_tokens_multiple or 1
    return Layout(network.patch_size, multiple, references=False, text_calls=len(network.context_refiner))


FAMILIES: dict[type, Callable[[nn.Module], Layout]] = {
    Flux: _patched,  # FLUX.1 dev, Fill and Kontext, FLUX.2 and klein
    QwenImageTransformer2DModel: _patched,
    OpenAISignatureMMDITWrapper: _sd3,
    NextDiT: _z_image,  # and Lumina 2
}
