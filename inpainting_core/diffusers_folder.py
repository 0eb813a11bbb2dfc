"""A diffusers model folder: what its configuration files say, and the weights of its components."""

from pathlib import Path

from torch import Tensor

from inpainting_core.architecture import SIZE_DIM, SIZES, ModelConfig, UNetShape, VAEShape
from inpainting_core.bounds import why
from inpainting_core.state_dicts import read_json
from inpainting_core.weight_files import read_weights

# An autoencoder's attention before diffusers 0.17 -> now
OLD_ATTENTION = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}

VAE_FACTOR = 8  # pixels for each latent, either way

TEXT_ENCODERS = ("text_encoder", "text_encoder_2")  # SDXL has both


def read_config(folder: Path) -> ModelConfig:
    """The configuration of a whole model folder: unet/, scheduler/ and, where there is one, vae/.

    Raises FileNotFoundError, and ValueError for what no such model has.
    """
    try:
        return _read_config(folder)
    except (ArithmeticError, AttributeError, LookupError, TypeError) as err:
        what = f"lacks {err}" if isinstance(err, KeyError) else f"cannot be made sense of ({why(err)})"
        raise ValueError(f"{folder.name} must describe a model in its config.json files, but that {what}.") from err


def _read_config(folder: Path) -> ModelConfig:
    unet = read_json(folder / "unet" / "config.json")
    vae = _vae_shape(read_json(folder / "vae" / "config.json")) if (folder / "vae").is_dir() else VAEShape()
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json")
    return ModelConfig(
        unet=_unet_shape(unet),
        vae=vae,
        prediction=scheduler.get("prediction_type", "epsilon"),
        resolution=VAE_FACTOR * (unet.get("sample_size") or 64),
    )


def read_text_encoders(folder: Path) -> list[dict[str, Tensor]]:
    """The weights of each text encoder that a whole model folder holds."""
    return [read_weights(folder / name)[0] for name in TEXT_ENCODERS if (folder / name).is_dir()]


def with_new_attention_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The autoencoder's weights with the names that diffusers gives its attention now."""
    for old, new in OLD_ATTENTION.items():
        tensors = {key.replace(old, new): value for key, value in tensors.items()}
    return tensors


def _unet_shape(config: dict) -> UNetShape:
    heads = config.get("num_attention_heads") or config["attention_head_dim"]  # both are numbers of heads
    channels = tuple(config["block_out_channels"])
    heads = [heads] * len(channels) if isinstance(heads, int) else heads
    widths = {width // number for width, number in zip(channels, heads, strict=True)}
    if len(set(heads)) > 1 and len(widths) > 1:
        raise ValueError(f"attention must have one number of heads or one width of head, got {heads} for {channels}.")
    return UNetShape(
        channels=channels,
        attention=tuple(kind.startswith("CrossAttn") for kind in config["down_block_types"]),
        layers=config["layers_per_block"],
        heads=heads[0] if len(set(heads)) == 1 else None,
        head_dim=None if len(set(heads)) == 1 else widths.pop(),
        context_dim=config["cross_attention_dim"],
        linear_projection=config.get("use_linear_projection", False),
        in_channels=config["in_channels"],
        depth=_depth(config.get("transformer_layers_per_block", 1), len(channels)),
        pooled_dim=_pooled_dim(config),
    )


def _depth(layers: int | list[int], levels: int) -> tuple[int, ...] | None:
    """Transformer blocks at each level; None where it is one everywhere, as a UNetShape has it."""
    depth = (layers,) * levels if isinstance(layers, int) else tuple(layers)
    return depth if set(depth) != {1} else None


def _pooled_dim(config: dict) -> int | None:
    """The width of SDXL's pooled text.  Raises ValueError for a UNet that is told anything else besides."""
    kind, width = config.get("addition_embed_type"), config.get("addition_time_embed_dim")
    if kind is None:
        return None
    if (kind, width) != ("text_time", SIZE_DIM):
        raise ValueError(f"a UNet may be told text_time of width {SIZE_DIM} besides, got {kind} of width {width}.")
    return config["projection_class_embeddings_input_dim"] - SIZES * SIZE_DIM


def _vae_shape(config: dict) -> VAEShape:
    if config["_class_name"] == "AutoencoderTiny":
        return VAEShape(kind="tiny", scale=config["scaling_factor"])
    if config["_class_name"] != "AutoencoderKL":
        raise ValueError(f"vae/ must hold an AutoencoderKL or AutoencoderTiny, got an {config['_class_name']}.")
    return VAEShape(
        channels=tuple(config["block_out_channels"]),
        layers=config["layers_per_block"],
        scale=config.get("scaling_factor", 0.18215),
        needs_fp32=config.get("force_upcast", False),
    )
