"""Where ComfyUI's vocabulary meets ours: IMAGE, MASK, MODEL, VAE and CONDITIONING in, an engine out.

Pictures are [b, h, w, c] there and [b, c, h, w] here.  Latents are in the autoencoder's own units there and of unit
variance here; the model's latent format converts them.
"""

from collections.abc import Callable
from functools import partial

import comfy.sample
import latent_preview
import torch
from comfy import model_management
from comfy.model_base import SDXL
from comfy.model_patcher import ModelPatcher
from comfy.samplers import KSAMPLER
from comfy.sd import VAE
from torch import Tensor

from inpainting_core.architecture import SDXL_INPAINT, ModelConfig
from inpainting_core.empty_prompt import Prompt
from inpainting_core.erasing import DTYPES
from inpainting_core.protocol import Inputs

from .latents import encoded, latents_of
from .patch import fast_kernel, replace_self_attention, self_attention_blocks, unet_of

CONFIG = "erase_once"  # the name under which a MODEL of ours carries its ModelConfig
STOCK_RESOLUTION = 512  # pixels; SD1.5-Inpaint and SD2-Inpaint from a stock loader


def picture_from(image: Tensor) -> Tensor:
    """IMAGE to [b, c, h, w]; at least fp32, whatever precision this ComfyUI keeps its pictures in.

    Raises ValueError for another number of axes.  Other types stay as they are, and ``check_picture`` refuses them.
    """
    if image.ndim != 4:
        raise ValueError(f"image must have the shape [b, h, w, c], got {list(image.shape)}. Connect an IMAGE.")
    picture = image.movedim(-1, 1)
    return picture.to(torch.promote_types(image.dtype, torch.float32)) if image.dtype in DTYPES else picture


def image_from(picture: Tensor, like: Tensor) -> Tensor:
    """[b, c, h, w] to IMAGE, in the precision of the IMAGE ``like``; the inverse of ``picture_from``.

    fp32 holds every number of a lower precision, so that a pixel that was not touched comes back as it was.
    """
    return picture.movedim(1, -1).contiguous().to(model_management.intermediate_device(), like.dtype)


def mask_from(mask: Tensor, like: Tensor) -> Tensor:
    """[b, 1, h, w] to MASK, in the precision of the IMAGE ``like``."""
    return mask[:, 0].to(model_management.intermediate_device(), like.dtype)


def conditioning_from(prompt: Prompt) -> list:
    """A prompt to CONDITIONING."""
    pooled = {} if prompt.pooled is None else {"pooled_output": prompt.pooled.float()}
    return [[prompt.tokens.float(), pooled]]


class ComfyEngine:
    """A pipeline's engine on ComfyUI's own sampling.

    LoRAs, low-VRAM modes, attention kernels, previews, the progress bar and Cancel come with it.
    Raises ValueError for a model, autoencoder or conditioning that cannot work together.
    """

    def __init__(self, model: ModelPatcher, vae: VAE, conditioning: list):
        check_inpainting(model, vae, conditioning)
        self.model, self.vae, self.conditioning = model, vae, conditioning
        self.latent_format = model.get_model_object("latent_format")
        stock = SDXL_INPAINT.resolution if isinstance(model.model, SDXL) else STOCK_RESOLUTION
        config = model.get_attachment(CONFIG) or ModelConfig(resolution=stock)
        self.resolution, self.under_hole = config.resolution, config.under_hole
        self.texture, self.draws = config.texture, config.draws

    def encode(self, image: Tensor) -> Tensor:
        """RGB in [0, 1] to a unit-variance latent, one at a time as in ``decode``; what was encoded is known."""
        known, state = latents_of(self.vae), self.vae.patcher.patches_uuid
        latents = [known.of(one, partial(encoded, self.vae), state) for one in image.split(1)]
        return self.latent_format.process_in(torch.cat(latents))

    def decode(self, latent: Tensor) -> Tensor:
        """The inverse of ``encode``, one at a time: of several that do not fit together ComfyUI would tile each."""
        pictures = [self.vae.decode(one) for one in self.latent_format.process_out(latent).split(1)]
        return torch.cat(pictures).movedim(-1, 1)

    def sample(self, sampler: Callable, sigmas: Tensor, noise: Tensor, inputs: Inputs) -> Tensor:
        """Run a sampler from the noised start; see ``Inputs`` for what it is conditioned on."""
        # ComfyUI would noise the start by itself, but at the highest level it scales the noise as for an empty start
        # even where there is a picture. So the noised start goes in as the latent image, with no noise to be added.
        device = model_management.intermediate_device()
        start = inputs.noised_start(noise.to(device), sigmas[0].to(device))
        latent = comfy.sample.sample_custom(
            self._with_attention(inputs.attention),
            noise=torch.zeros_like(start),
            cfg=1.0,
            sampler=KSAMPLER(sampler),
            sigmas=sigmas,
            positive=self._conditions(inputs),
            negative=self._conditions(inputs),
            latent_image=self.latent_format.process_out(start),
            callback=progress(self.model, len(sigmas) - 1),
        )
        return self.latent_format.process_in(latent)

    def _conditions(self, inputs: Inputs) -> list:
        """The conditioning with what the UNet looks at: the masked picture and the mask, on the latent grid."""
        looks_at = {"concat_latent_image": self.latent_format.process_out(inputs.masked), "concat_mask": inputs.mask}
        return [[embedding, {**extras, **looks_at}] for embedding, extras in self.conditioning]

    def _with_attention(self, attention: Callable | None) -> ModelPatcher:
        if attention is None:
            return self.model

        def with_kernel(q: Tensor, k: Tensor, v: Tensor, height: int, width: int, options: dict) -> Tensor:
            return attention(q, k, v, height, width, options["sigmas"][:1], fast_kernel(options))

        return replace_self_attention(self.model, with_kernel, self_attention_blocks(self.model))


def check_inpainting(model: ModelPatcher, vae: VAE, conditioning: list) -> None:
    """Raise ValueError unless the model is a 9-channel UNet and the others fit it."""
    channels = unet_of(model).in_channels
    if channels != 9:
        raise ValueError(
            f"model must be an inpainting UNet with 9 input channels, got one with {channels}. "
            "Load its inpainting version."
        )
    if vae.latent_channels != 4:
        raise ValueError(
            f"vae must give latents of 4 channels, got {vae.latent_channels}. Connect the model's own VAE."
        )
    if not conditioning or any(embedding is None for embedding, _ in conditioning):
        raise ValueError("conditioning must hold a prompt, got none. Connect the one from Load Erase Model.")
    if any({"area", "mask"} & extras.keys() for _, extras in conditioning):
        raise ValueError(
            "conditioning must hold for the whole picture, got one for an area or a mask of it. A crop is worked on "
            "here: give the prompt without its area."
        )
    needed, got = model.model.model_config.unet_config["context_dim"], conditioning[0][0].shape[-1]
    if needed != got:
        raise ValueError(
            f"conditioning must be {needed} numbers wide for this model, got {got}. Connect the one from Load "
            "Erase Model."
        )
    if isinstance(model.model, SDXL) and any("pooled_output" not in extras for _, extras in conditioning):
        raise ValueError(
            "conditioning must hold a pooled text for an SDXL model, got one without. Connect the one from Load "
            "Erase Model."
        )


def progress(model: ModelPatcher, steps: int) -> Callable:
    """A sampler's callback: progress bar, preview, and the end of it all where the user cancelled."""
    show = latent_preview.prepare_callback(model, steps)

    def callback(step: int, denoised: Tensor, x: Tensor, total: int) -> None:
        model_management.throw_exception_if_processing_interrupted()
        show(step, denoised, x, total)

    return callback
