"""Load Erase Model: a checkpoint of ours or anybody's, as MODEL, VAE and CONDITIONING."""

from pathlib import Path

import folder_paths
from comfy.model_patcher import ModelPatcher
from comfy.sd import VAE
from comfy_api.v0_0_2 import io

from inpainting_core.built_in import BUILT_IN, NANO
from inpainting_core.checkpoint import Checkpoint, read_checkpoint
from inpainting_core.empty_prompt import Prompt

from .boundary import conditioning_from
from .files import fingerprint, folders_with
from .model import build_model, build_vae, show_true_colours
from .schema import schema

INPAINT = "inpaint/"
NONE = "none"

# By the width of the text that a UNet reads, as people call the models that bring what a lone UNet lacks.
FAMILIES = {768: "SD1.5-Inpaint", 1024: "SD2-Inpaint", 2048: "SDXL-Inpaint"}


class EraseOnceLoadModel(io.ComfyNode):
    """Reads an inpainting model from a ComfyUI file or a diffusers folder, with a YOEO UNet laid over it if given."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="EraseOnceLoadModel",
            display_name="Load Erase Model",
            description="Loads an inpainting model to erase with, and the empty prompt it needs.",
            search_aliases=["erase model loader", "object removal", "inpaint model", "YOEO", "EraDiff"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=model_names(),
                    default=NANO,
                    tooltip="A small built-in model, or a file in models/checkpoints or a folder in models/diffusers.",
                ),
                io.Combo.Input(
                    "unet",
                    options=unet_names(),
                    default=NONE,
                    tooltip="A UNet to use instead of the model's own, such as the one YOEO's authors publish: "
                    "a file in models/diffusion_models or models/inpaint.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model", tooltip="The inpainting UNet, with its settings."),
                io.Vae.Output(display_name="vae", tooltip="The autoencoder that belongs to the model."),
                io.Conditioning.Output(
                    display_name="conditioning", tooltip="The empty prompt; erasing needs no words."
                ),
            ],
        )

    @classmethod
    def execute(cls, model: str, unet: str) -> io.NodeOutput:
        patcher, vae, prompt = load(model, unet)
        return io.NodeOutput(patcher, vae, conditioning_from(prompt))

    @classmethod
    def fingerprint_inputs(cls, model: str, unet: str) -> list[tuple[str, int, int]]:
        return fingerprint(model_path(model), *([unet_path(unet)] if unet != NONE else []))


def load(model: str, unet: str, disable_dynamic: bool = False) -> tuple[ModelPatcher, VAE, Prompt]:
    """The model, autoencoder and empty prompt of what the node's two lists name.

    Newer ComfyUIs call it again for a second copy of the model: torch.compile, hooks and other GPUs need one.
    """
    loaded = read_checkpoint(model_path(model))
    if unet != NONE:
        loaded = read_checkpoint(unet_path(unet), base=loaded)
    check_complete(loaded, model)
    patcher, vae = build_model(loaded, disable_dynamic), build_vae(loaded)
    if loaded.config.vae.kind == "tiny":
        show_true_colours(patcher, vae)
    patcher.cached_patcher_init = (load, (model, unet), 0)  # 0: the model's place in what is returned
    return patcher, vae, loaded.empty_prompt


def model_names() -> list[str]:
    """The built-in models, every checkpoint file, every diffusers folder."""
    return [*BUILT_IN, *folder_paths.get_filename_list("checkpoints"), *diffusers_folders()]


def diffusers_folders() -> dict[str, Path]:
    """Every folder of models/diffusers that holds a pipeline or a UNet's folder, linked ones too, by its name there."""
    return folders_with("diffusers", "model_index.json", "unet/config.json")


def model_path(name: str) -> Path:
    """Where a model of that name lies.  Raises FileNotFoundError."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    folders = diffusers_folders()
    return folders[name] if name in folders else Path(folder_paths.get_full_path_or_raise("checkpoints", name))


def unet_names() -> list[str]:
    """Nothing, every diffusion model, and what lies in models/inpaint where another pack has registered it."""
    inpaint = folder_paths.get_filename_list("inpaint") if "inpaint" in folder_paths.folder_names_and_paths else []
    return [NONE, *folder_paths.get_filename_list("diffusion_models"), *(f"{INPAINT}{name}" for name in inpaint)]


def unet_path(name: str) -> Path:
    """Where a UNet of that name lies.  Raises FileNotFoundError."""
    if name.startswith(INPAINT):
        return Path(folder_paths.get_full_path_or_raise("inpaint", name.removeprefix(INPAINT)))
    return Path(folder_paths.get_full_path_or_raise("diffusion_models", name))


def check_complete(checkpoint: Checkpoint, name: str) -> None:
    """Raise ValueError unless the checkpoint brings everything that a run needs."""
    if checkpoint.vae is None:
        way_out = _way_out(checkpoint, name, "vae")
        raise ValueError(f"a checkpoint must hold an autoencoder, but {name} has none: {way_out}.")
    if checkpoint.empty_prompt is None:
        rule, way_out = "a text encoder or an empty prompt of ours", _way_out(checkpoint, name, "text_encoder")
        raise ValueError(f"a checkpoint must hold {rule}, but {name} has neither: {way_out}.")


def _way_out(checkpoint: Checkpoint, name: str, part: str) -> str:
    """What to do with a model that lacks a part."""
    if name in diffusers_folders():
        return f"download its folder {part} too"
    family = FAMILIES.get(checkpoint.config.unet.context_dim, "complete model")
    return f"move it to models/diffusion_models and choose it as 'unet' over any {family}"
