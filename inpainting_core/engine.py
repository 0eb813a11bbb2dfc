"""The diffusers engine: what a pipeline sees of a model, outside ComfyUI."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from inpainting_core.architecture import SIZE_DIM, ModelConfig, UNetShape, VAEShape
from inpainting_core.checkpoint import Checkpoint, read_checkpoint
from inpainting_core.diffusers_folder import VAE_FACTOR
from inpainting_core.empty_prompt import Prompt
from inpainting_core.latents import scale_latent, unet_input, unscale_latent
from inpainting_core.protocol import Inputs
from inpainting_core.schedule import Schedule, denoised_from
from inpainting_core.self_attention import self_attention
from inpainting_core.shapes import Float

if TYPE_CHECKING:
    from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel

# Pictures and latents go into the autoencoder laid out so: its convolutions follow, and are a quarter faster.
CHANNELS_LAST = torch.channels_last


class DiffusersEngine:
    """An inpainting model on diffusers' modules, as they are: a trainer looks at its live UNet through one.

    ``prompt`` is the empty prompt's embedding; its device and dtype are those that the UNet works in.  The sampler
    works in fp32.  ``callback`` is called after each step with k-diffusion's dict.
    """

    def __init__(
        self,
        config: ModelConfig,
        unet: "UNet2DConditionModel",
        vae: "AutoencoderKL | AutoencoderTiny",
        prompt: Prompt,
        callback: Callable[[dict], None] | None = None,
    ):
        self.config, self.resolution = config, config.resolution
        self.under_hole, self.texture, self.draws = config.under_hole, config.texture, config.draws
        self.unet, self.vae, self.prompt, self.callback = unet, vae, prompt, callback
        self.device, self.dtype = prompt.tokens.device, prompt.tokens.dtype
        self.schedule = Schedule()

    @classmethod
    def of(
        cls,
        checkpoint: Checkpoint,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        callback: Callable[[dict], None] | None = None,
        copy: bool = True,
    ) -> "DiffusersEngine":
        """An engine on a copy of a checkpoint's weights, or on these where nobody else needs them.

        Raises ValueError for a checkpoint without an autoencoder or an empty prompt.
        """
        if checkpoint.empty_prompt is None:
            raise ValueError("an engine needs the empty prompt's embedding, got a checkpoint without; give a base.")
        unet = load_unet(checkpoint, device, dtype, copy).eval().requires_grad_(False)
        vae_dtype = torch.float32 if checkpoint.config.vae.needs_fp32 and dtype == torch.float16 else dtype
        vae = load_vae(checkpoint, device, vae_dtype, copy).eval().requires_grad_(False)
        return cls(checkpoint.config, unet, vae, checkpoint.empty_prompt.to(device, dtype), callback)

    @torch.no_grad()
    def encode(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 4 h/8 w/8"]:
        """The most likely latent, not a drawn one.  Height and width are multiples of 8."""
        with without_fp16(self.config.vae, self.device):
            code = self.vae.encode(image.to(self.device, self.vae.dtype, memory_format=CHANNELS_LAST) * 2 - 1)
        raw = code.latents if self.config.vae.kind == "tiny" else code.latent_dist.mode()
        return scale_latent(raw.float(), self.config.vae.scale)

    @torch.no_grad()
    def decode(self, latent: Float[Tensor, "b 4 h w"]) -> Float[Tensor, "b 3 8*h 8*w"]:
        raw = unscale_latent(latent.to(self.device), self.config.vae.scale)
        with without_fp16(self.config.vae, self.device):
            decoded = self.vae.decode(raw.to(self.vae.dtype, memory_format=CHANNELS_LAST)).sample
        return (decoded.float() / 2 + 0.5).clamp(0, 1)

    @torch.no_grad()
    def sample(
        self, sampler: Callable, sigmas: Float[Tensor, "n"], noise: Float[Tensor, "b 4 h w"], inputs: Inputs
    ) -> Float[Tensor, "b 4 h w"]:
        """Run ``sampler(model, x, sigmas, extra_args, callback, disable)`` from the noised start."""
        noise, sigmas = noise.to(self.device, torch.float32), sigmas.to(self.device, torch.float32)
        model, x = self._denoiser(inputs), inputs.noised_start(noise, sigmas[0])
        return sampler(model, x, sigmas, extra_args={}, callback=self.callback, disable=True)

    def _denoiser(self, inputs: Inputs) -> Callable[[Tensor, Tensor], Tensor]:
        """The UNet as samplers call it: ``(x0 + sigma noise [b 4 h w], sigma [b]) -> x0``."""

        def denoised(x: Tensor, sigma: Tensor) -> Tensor:
            signal = 1 / (1 + sigma.square())
            noisy = x * signal.sqrt()[:, None, None, None]
            fed = unet_input(noisy, inputs.mask, inputs.masked).to(self.dtype)
            with self_attention(self.unet, inputs.attention, x.shape[-2:], sigma):
                output = call_unet(self.unet, fed, self.schedule.timestep_of(sigma), self.prompt)
            return denoised_from(self.config.prediction, output.float(), noisy, signal)

        return denoised


def without_fp16(shape: VAEShape, device: torch.device) -> AbstractContextManager:
    """Around an autoencoder's call: autocast to fp16 is switched off for one that overflows in it, as SDXL's does."""
    half = torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type) == torch.float16
    return torch.autocast(device.type, enabled=False) if half and shape.needs_fp32 else nullcontext()


def call_unet(
    unet: "UNet2DConditionModel", fed: Float[Tensor, "b 9 h w"], timesteps: Tensor, prompt: Prompt
) -> Float[Tensor, "b 4 h w"]:
    """A UNet's output for one prompt."""
    tokens = prompt.tokens.expand(len(fed), -1, -1)
    return unet(fed, timesteps, tokens, **told_besides(fed, prompt)).sample


def told_besides(fed: Float[Tensor, "b 9 h w"], prompt: Prompt) -> dict[str, dict[str, Tensor]]:
    """What diffusers' SDXL is told besides tokens: the pooled prompt and the picture's size; nothing for the others.

    The picture counts as never cropped nor scaled: its size is the one worked at, its corner (0, 0).
    """
    if prompt.pooled is None:
        return {}
    size = [VAE_FACTOR * side for side in fed.shape[-2:]]
    sizes = torch.tensor([[*size, 0, 0, *size]], dtype=torch.float32, device=fed.device)
    pooled = {"text_embeds": prompt.pooled.expand(len(fed), -1), "time_ids": sizes.expand(len(fed), -1)}
    return {"added_cond_kwargs": pooled}


def load_engine(
    path: str | Path,
    base: str | Path | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    callback: Callable[[dict], None] | None = None,
) -> DiffusersEngine:
    """An engine from any checkpoint that ``read_checkpoint`` reads; ``base`` is the path of what it is laid over.

    Weights that are neither moved nor cast stay in the file and are read as they are used, as diffusers has it: a
    file that is loaded must not be written over in its place.
    """
    checkpoint = read_checkpoint(path, read_checkpoint(base) if base is not None else None)
    return DiffusersEngine.of(checkpoint, device, dtype, callback, copy=False)


def load_unet(
    checkpoint: Checkpoint,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    copy: bool = True,
) -> "UNet2DConditionModel":
    """A diffusers UNet with the checkpoint's weights or, to be trained, a ``copy`` of them."""
    with torch.device("meta"):
        unet = build_unet(checkpoint.config.unet)
    return _with_weights(unet, checkpoint.unet, device, dtype, copy)


def load_vae(
    checkpoint: Checkpoint,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    copy: bool = True,
) -> "AutoencoderKL | AutoencoderTiny":
    """A diffusers autoencoder, likewise.  Raises ValueError where the checkpoint holds none."""
    if checkpoint.vae is None:
        raise ValueError("an engine needs an autoencoder, got a checkpoint without; give a base.")
    with torch.device("meta"):
        vae = build_vae(checkpoint.config.vae)
    return _with_weights(vae, checkpoint.vae, device, dtype, copy)


def _with_weights(
    module: torch.nn.Module, weights: dict[str, Tensor], device: torch.device | str, dtype: torch.dtype, copy: bool
) -> torch.nn.Module:
    weights = {key: value.to(device, dtype, copy=copy) for key, value in weights.items()}
    module.load_state_dict(weights, assign=True)
    return module


def build_unet(shape: UNetShape) -> "UNet2DConditionModel":
    """A diffusers UNet of the given shape with fresh weights."""
    from diffusers import UNet2DConditionModel

    heads = shape.heads or tuple(width // shape.head_dim for width in shape.channels)
    down = tuple("CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in shape.attention)
    up = tuple("CrossAttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(shape.attention))
    return UNet2DConditionModel(
        in_channels=shape.in_channels,
        out_channels=4,
        block_out_channels=shape.channels,
        layers_per_block=shape.layers,
        down_block_types=down,
        up_block_types=up,
        attention_head_dim=heads,  # diffusers' name for the number of heads
        cross_attention_dim=shape.context_dim,
        use_linear_projection=shape.linear_projection,
        transformer_layers_per_block=shape.depth or 1,
        addition_embed_type="text_time" if shape.pooled_dim else None,
        addition_time_embed_dim=SIZE_DIM if shape.pooled_dim else None,
        projection_class_embeddings_input_dim=shape.added_dim,
    )


def build_vae(shape: VAEShape) -> "AutoencoderKL | AutoencoderTiny":
    """A diffusers autoencoder of the given shape with fresh weights."""
    from diffusers import AutoencoderKL, AutoencoderTiny

    if shape.kind == "tiny":
        return AutoencoderTiny(scaling_factor=shape.scale)
    levels = len(shape.channels)
    return AutoencoderKL(
        block_out_channels=shape.channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=shape.layers,
        latent_channels=4,
        scaling_factor=shape.scale,
        force_upcast=shape.needs_fp32,
    )
