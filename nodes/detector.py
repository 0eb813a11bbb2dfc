"""Load Sundry Detector: a Mask2Former that judges pictures, kept under ComfyUI's memory management."""

import os
from collections.abc import Iterator
from pathlib import Path

import comfy.model_patcher
import comfy.utils
import folder_paths
from comfy import model_management
from comfy.model_patcher import ModelPatcher
from comfy_api.v0_0_2 import io
from torch import Tensor

from inpainting_core.built_in import NANO_DETECTOR
from yoeo_core.detector import Detections, SundryDetector, load_detector

from .files import fingerprint, folders_with
from .schema import schema

Detector = io.Custom("ERASE_ONCE_DETECTOR")  # a ModelPatcher around a SundryDetector

FOLDER = "detection"
SUFFIXES = (".safetensors", ".pth")
NANO = "nano detector (built in)"  # saved graphs hold this name, so it stays
# Memory besides the weights for each pixel that the detector sees: 1391 bytes with Swin-T and 1455 with Swin-L on a
# CPU at 640 x 640, and some to spare.
BYTES_A_PIXEL = 2000


def register_folder() -> None:
    """Make models/detection known, after whatever extra_model_paths.yaml or ComfyUI itself has put there."""
    folder_paths.add_model_folder_path(FOLDER, os.path.join(folder_paths.models_dir, FOLDER))


register_folder()


class EraseOnceLoadDetector(io.ComfyNode):
    """Reads a Mask2Former from our single file, a Hugging Face folder or a file of EntitySeg's authors."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="EraseOnceLoadDetector",
            display_name="Load Sundry Detector",
            description="Loads the Mask2Former that finds what is left, or newly invented, where something was erased.",
            search_aliases=["Mask2Former", "EntitySeg", "segmentation model", "detector loader", "MSN", "MARS"],
            inputs=[
                io.Combo.Input(
                    "detector",
                    options=detector_names(),
                    default=NANO,
                    tooltip="The small built-in Mask2Former, or a file (.safetensors, .pth) or Hugging Face "
                    "folder in models/detection.",
                ),
            ],
            outputs=[
                Detector.Output(
                    display_name="detector", tooltip="For Sundry Check, Snap Mask to Entity and the Erase nodes."
                ),
            ],
        )

    @classmethod
    def execute(cls, detector: str) -> io.NodeOutput:
        return io.NodeOutput(managed(load_detector(detector_path(detector))))

    @classmethod
    def fingerprint_inputs(cls, detector: str) -> list[tuple[str, int, int]]:
        return fingerprint(detector_path(detector))


def detector_input(optional: bool = False) -> io.Input:
    return Detector.Input(
        "detector", optional=optional, tooltip="The Mask2Former that finds objects, from Load Sundry Detector."
    )


def detector_names() -> list[str]:
    """The built-in detector, every folder and every file; a folder's own files are not listed beside it."""
    folders = detector_folders()
    files = [name for name in folder_paths.get_filename_list(FOLDER) if name.lower().endswith(SUFFIXES)]
    return [NANO, *sorted(folders), *(name for name in files if not folders.keys() & set(parents(name)))]


def parents(name: str) -> list[str]:
    """The folders that a listed file lies in, by their names there."""
    return [str(folder) for folder in Path(name).parents]


def detector_folders() -> dict[str, Path]:
    """Every Hugging Face folder under models/detection, linked ones too, by its name there."""
    return folders_with(FOLDER, "config.json")


def detector_path(name: str) -> Path:
    """Where a detector of that name lies.  Raises FileNotFoundError."""
    if name == NANO:
        return NANO_DETECTOR
    folders = detector_folders()
    return folders[name] if name in folders else Path(folder_paths.get_full_path_or_raise(FOLDER, name))


def managed(detector: SundryDetector) -> ModelPatcher:
    """The detector as ComfyUI's memory management knows models: on the device only while it is of use."""
    # dynamic memory management, newer than 0.3.75, swaps this class for its own when it starts
    patcher = getattr(comfy.model_patcher, "CoreModelPatcher", ModelPatcher)
    return patcher(
        detector,
        load_device=model_management.get_torch_device(),
        offload_device=model_management.unet_offload_device(),
    )


def detections(detector: ModelPatcher, picture: Tensor) -> Iterator[Detections]:
    """What the detector finds in each of the pictures ``[b, 3, h, w]``, one at a time, on the detector's device."""
    bar = comfy.utils.ProgressBar(len(picture))
    for one in picture.split(1):
        yield look(detector, one)
        bar.update(1)


def look(detector: ModelPatcher, picture: Tensor) -> Detections:
    """What the detector finds in one picture ``[1, 3, h, w]``, or in a part of it."""
    model_management.throw_exception_if_processing_interrupted()
    rows, columns = detector.model.preprocessing.size(*picture.shape[-2:])
    # a plain module cannot be streamed layer by layer: it is loaded as a whole, or left where it was
    model_management.load_models_gpu([detector], memory_required=BYTES_A_PIXEL * rows * columns, force_full_load=True)
    return detector.model(picture.to(detector.load_device))
