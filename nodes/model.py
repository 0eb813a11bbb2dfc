"""Our checkpoints as ComfyUI's own objects: a ModelPatcher around its UNetModel, and its VAE."""

import comfy.model_patcher
import comfy.utils
import torch
from comfy import latent_formats, model_management, supported_models
from comfy.model_base import SDXL, BaseModel, ModelType
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy.supported_models_base import BASE

from inpainting_core.architecture import ModelConfig, UNetShape, VAEShape
from inpainting_core.checkpoint import Checkpoint
from inpainting_core.ldm_keys import unet_keys, vae_layout
from inpainting_core.single_file import TINY_CONSTANTS

from .boundary import CONFIG

RIDGE = 1e-3  # of show_true_colours; without it the nano's fourth channel, which carries texture, tints its previews
MODEL_TYPES = {"epsilon": ModelType.EPS, "v_prediction": ModelType.V_PREDICTION}


class Width(int):
    """A level's width in channels.

    UNetModel multiplies its first width by a whole number to get each level's.  Multiplied by anything, this number
    stays itself, so that levels of 64, 96 and 128 are possible too.
    """

    def __mul__(self, first: int) -> int:
        return int(self)

    __rmul__ = __mul__


def build_model(checkpoint: Checkpoint, disable_dynamic: bool = False) -> ModelPatcher:
    """The checkpoint's UNet as a MODEL that carries its configuration, placed and cast as ComfyUI does it.

    ``disable_dynamic`` keeps it out of newer ComfyUIs' dynamic memory management.
    """
    keys = unet_keys(checkpoint.config.unet)
    weights = {keys[name]: weight for name, weight in checkpoint.unet.items()}
    device = model_management.get_torch_device()
    described = describe(checkpoint.config)
    dtype = model_management.unet_dtype(
        model_params=comfy.utils.calculate_parameters(weights),
        supported_dtypes=described.supported_inference_dtypes,
        weight_dtype=comfy.utils.weight_dtype(weights),
    )
    cast_to = model_management.unet_manual_cast(dtype, device, described.supported_inference_dtypes)
    described.set_inference_dtype(dtype, cast_to)
    offload = model_management.unet_offload_device()
    family = SDXL if checkpoint.config.unet.pooled_dim else BaseModel
    model = family(described, MODEL_TYPES[checkpoint.config.prediction]).to(offload)
    model.set_inpaint()
    # ComfyUI's own loading copies each weight, which stays in the file this way until it is moved or cast
    model.diffusion_model.load_state_dict(weights, assign=True)
    model.diffusion_model.to(dtype)
    # dynamic memory management, newer than 0.3.75, swaps this class for its own when it starts
    patcher = ModelPatcher if disable_dynamic else getattr(comfy.model_patcher, "CoreModelPatcher", ModelPatcher)
    loaded = patcher(model, load_device=device, offload_device=offload)
    loaded.set_attachments(CONFIG, checkpoint.config)
    return loaded


def describe(config: ModelConfig) -> BASE:
    """Our configuration in ComfyUI's terms.

    SDXL's family is told a pooled text; of the others SD1.5's has a number of heads, SD2's a width of them.
    """
    shape = config.unet
    without_pooled = supported_models.SD15 if shape.heads else supported_models.SD20
    described = (supported_models.SDXL if shape.pooled_dim else without_pooled)(unet_config(shape))
    described.unet_config |= {"num_heads": shape.heads or -1, "num_head_channels": shape.head_dim or -1}
    described.latent_format = (latent_formats.SDXL if shape.pooled_dim else latent_formats.SD15)()
    described.latent_format.scale_factor = config.vae.scale
    return described


def unet_config(shape: UNetShape) -> dict:
    """The arguments of ComfyUI's UNetModel for a UNet of this shape, as its own detection writes them."""
    told_besides = {"num_classes": "sequential"} if shape.pooled_dim else {}
    return told_besides | {
        "image_size": 32,
        "in_channels": shape.in_channels,
        "out_channels": 4,
        "model_channels": shape.channels[0],
        "channel_mult": [Width(width) for width in shape.channels],
        "num_res_blocks": [shape.layers] * len(shape.channels),
        "transformer_depth": [depth for depth in shape.blocks for _ in range(shape.layers)],
        "transformer_depth_middle": shape.middle_blocks,
        "transformer_depth_output": [depth for depth in shape.blocks for _ in range(shape.layers + 1)],
        "context_dim": shape.context_dim,
        "use_spatial_transformer": True,
        "use_linear_in_transformer": shape.linear_projection,
        "use_temporal_attention": False,
        "use_temporal_resblock": False,
        "use_checkpoint": False,
        "adm_in_channels": shape.added_dim,
        "legacy": False,
    }


def build_vae(checkpoint: Checkpoint) -> VAE:
    """The checkpoint's autoencoder as a VAE."""
    shape, layout = checkpoint.config.vae, vae_layout(checkpoint.config.vae)
    weights = {layout[name].ldm: weight.reshape(layout[name].ldm_shape) for name, weight in checkpoint.vae.items()}
    if shape.kind == "tiny":
        return VAE(sd=weights | {name: torch.tensor(value) for name, value in TINY_CONSTANTS.items()})
    return VAE(sd=weights, config={"params": vae_config(shape)})


def vae_config(shape: VAEShape) -> dict:
    """The arguments of ComfyUI's AutoencoderKL for an autoencoder of this shape."""
    levels = {
        "double_z": True,
        "z_channels": 4,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": shape.channels[0],
        "ch_mult": [width // shape.channels[0] for width in shape.channels],
        "num_res_blocks": shape.layers,
        "attn_resolutions": [],
        "dropout": 0.0,
    }
    return {"ddconfig": levels, "embed_dim": 4}


def show_true_colours(model: ModelPatcher, vae: VAE) -> None:
    """Fit the linear map from latents to RGB that previews are drawn with to an autoencoder that is not SD's own.

    The fit is made on flat colours; a channel that hardly moves with colour is held to a small part in the map.
    """
    latent_format = model.get_model_object("latent_format")
    colours = torch.rand(32, 3, generator=torch.Generator().manual_seed(0))
    latents = latent_format.process_in(vae.encode(colours[:, None, None].expand(-1, 32, 32, -1))).mean((2, 3)).cpu()
    hold = (RIDGE * len(colours)) ** 0.5 * torch.eye(5)[:4]
    given = torch.cat([torch.cat([latents, torch.ones(len(colours), 1)], dim=1), hold])
    fit = torch.linalg.lstsq(given, torch.cat([2 * colours - 1, torch.zeros(4, 3)])).solution
    latent_format.latent_rgb_factors, latent_format.latent_rgb_factors_bias = fit[:4].tolist(), fit[4].tolist()
    latent_format.taesd_decoder_name = None
