"""The judge of YOEO's training: a frozen Mask2Former (Cheng et al. 2022) that finds the entities of a picture.

It is transformers' own network, which is plain PyTorch and differentiable in the picture.  Weights are read from a
Hugging Face folder, from our own single file, or from the file that the EntitySeg authors trained in detectron2.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from inpainting_core.bounds import why
from inpainting_core.shapes import Float
from inpainting_core.state_dicts import PICKLES, read_json, tell_left_out, write_state_dict
from inpainting_core.weight_files import read_weights
from yoeo_core.deformable_attention import use_weighted_sums
from yoeo_core.detector_config import least_weights, plain_config
from yoeo_core.detectron2_keys import architecture_of, published_names
from yoeo_core.preprocessing import PUBLISHED, Preprocessing

METADATA = "erase_once_detector"

# What transformers and torch raise for numbers that do not go together.
UNFIT = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)

# Weights that a network makes itself: tables of the backbone, the loss's class weights, a norm that nothing reads.
MADE_BY_THE_NETWORK = re.compile(r"relative_position_index$|^criterion\.|\.encoder\.(swin\.)?layernorm\.")


@dataclass(frozen=True, eq=False)
class Detections:
    """What the detector finds: q queries a picture, their masks at a quarter of the size that it sees.

    ``class_logits`` end with no-object; ``mask_logits`` are the last layer's, before the sigmoid; ``features`` is the
    paper's F_seg, the pixel decoder's output that masks are made of.
    """

    class_logits: Float[Tensor, "b q k"]
    mask_logits: Float[Tensor, "b q h w"]
    features: Float[Tensor, "b c h w"]

    @property
    def entity_score(self) -> Float[Tensor, "b q"]:
        """p, how sure a query is of an entity: softmax[..., 0] with one class, 1 - no-object with more."""
        return self.class_logits.softmax(-1)[..., :-1].sum(-1)

    @property
    def no_object_log_prob(self) -> Float[Tensor, "b q"]:
        """log p0: minus the cross-entropy to no-object."""
        return self.class_logits.log_softmax(-1)[..., -1]


class SundryDetector(nn.Module):
    """A Mask2Former that judges pictures: its weights are frozen, it stays in eval mode, gradients reach the picture.

    ``network`` is a ``Mask2FormerForUniversalSegmentation``; it is not copied, and is frozen by this.  Its deformable
    attention becomes ours, which computes the same with less.
    """

    def __init__(self, network: nn.Module, preprocessing: Preprocessing = PUBLISHED) -> None:
        super().__init__()
        self.network, self.preprocessing = use_weighted_sums(network).requires_grad_(False), preprocessing
        self.eval()

    def train(self, mode: bool = True) -> "SundryDetector":
        """Nothing: a judge whose dropout and stochastic depth woke up would judge by chance."""
        return super().train(False)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Detections:
        """The entities of a picture, RGB in [0, 1]; the answer has the picture's dtype, whatever the network's."""
        pixels = self.preprocessing(image).to(self.network.dtype)
        # Without an auxiliary loss the network forgets the states that its classes are read from, unless asked.
        found = self.network(pixel_values=pixels, output_hidden_states=True)
        logits = (found.class_queries_logits, found.masks_queries_logits, found.pixel_decoder_last_hidden_state)
        return Detections(*(value.to(image.dtype) for value in logits))


def load_detector(
    path: str | Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> SundryDetector:
    """Read a detector: a Hugging Face folder, our single .safetensors file, or an EntitySeg .pth (Swin-T, Swin-L).

    Raises FileNotFoundError for what is not there, and ValueError for a file that is damaged, is no Mask2Former,
    stands on a backbone other than Swin (HorNet), or lacks a weight of its network.  What belongs to no layer is left
    out of files of others, which is logged, and refused in ours.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"a detector must be a file or a folder that exists, got {path}.")
    if path.is_dir():
        (config, tensors, preprocessing), ours = _read_folder(path), False
    elif path.suffix.lower() in PICKLES:
        tensors = read_weights(path)[0]
        config, preprocessing = architecture_of(tensors, path.name), PUBLISHED
        tensors, ours = published_names(tensors, path.name), False
    else:
        (config, tensors, preprocessing), ours = _read_ours(path), True
    return SundryDetector(_network(config, tensors, path.name, ours), preprocessing).to(device, dtype)


def write_detector(
    path: str | Path, detector: SundryDetector, dtype: torch.dtype = torch.float16, training: dict | None = None
) -> None:
    """Write our single file: published names, ``dtype`` weights, architecture and preprocessing in the metadata.

    ``training`` is what the metadata says of how it was trained, which nothing reads but a person.
    """
    with TemporaryDirectory() as folder:  # transformers alone knows how its names of today are published
        detector.network.save_pretrained(folder)
        tensors, _ = read_weights(Path(folder))
    tensors = {key: value.to(dtype) for key, value in tensors.items() if not MADE_BY_THE_NETWORK.search(key)}
    described = {"network": detector.network.config.to_diff_dict(), "preprocessing": detector.preprocessing.as_dict()}
    described |= {"training": training} if training else {}
    write_state_dict(Path(path), tensors, described, METADATA)


def _read_folder(folder: Path) -> tuple[dict, dict[str, Tensor], Preprocessing]:
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"a detector's folder must hold config.json, got none in {folder}.")
    config = read_json(folder / "config.json")
    if config.get("model_type") != "mask2former":
        raise ValueError(f"{folder.name} must hold a mask2former, got a {config.get('model_type')}.")
    said = folder / "preprocessor_config.json"
    try:
        preprocessing = Preprocessing.of_processor(read_json(said)) if said.is_file() else PUBLISHED
    except TypeError as err:
        raise ValueError(f"{said.name} of {folder.name} must say how a picture is shown, but {why(err)}.") from err
    return config, read_weights(folder)[0], preprocessing


def _read_ours(path: Path) -> tuple[dict, dict[str, Tensor], Preprocessing]:
    tensors, metadata = read_weights(path)
    if METADATA not in metadata:
        first = next(iter(tensors), "none at all")
        raise ValueError(f"{path.name} must describe a detector in its metadata ({METADATA}), got {first} without.")
    try:
        described = json.loads(metadata[METADATA])
        return dict(described["network"]), tensors, Preprocessing.from_dict(described["preprocessing"])
    except (KeyError, TypeError, ValueError, RecursionError) as err:
        raise ValueError(
            f"{path.name} must describe its detector, got {metadata[METADATA][:80]!r} ({why(err)})."
        ) from err


def _network(config: dict, tensors: dict[str, Tensor], source: str, ours: bool) -> nn.Module:
    """The ``Mask2FormerForUniversalSegmentation`` with these weights, by published names; ours hold no other.

    Raises ValueError for a configuration that no such network has, or another than that of the weights.
    """
    # a copy, for safetensors gives views of the file, which somebody may replace while the detector is in use
    tensors = {key: value.float().clone() for key, value in tensors.items() if not MADE_BY_THE_NETWORK.search(key)}
    config = plain_config(config, source)
    held, least = sum(value.numel() for value in tensors.values()), least_weights(config)
    if least > held:
        raise ValueError(f"{source} must hold the weights of the network it describes, {least} or more, got {held}.")
    try:
        network, report = _built(config, tensors)
    except UNFIT as err:
        rule = f"{source} must describe a network that can be built"
        raise ValueError(f"{rule}, but transformers says: {why(err)}.") from err
    reported = {
        kind: sorted(str(key) for key in report[f"{kind}_keys"] if not MADE_BY_THE_NETWORK.search(str(key)))
        for kind in ("missing", "unexpected", "mismatched")
    }
    if not ours:
        tell_left_out(reported.pop("unexpected"), source)
    for kind, keys in reported.items():
        for key in keys[:1]:
            raise ValueError(f"{source} must hold exactly its network's weights, got {key} {kind}.")
    return network


def _built(config: dict, tensors: dict[str, Tensor]) -> tuple[nn.Module, dict]:
    """The network, and which of its weights were not there, not its own or of another shape."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

    with _quietly():
        return Mask2FormerForUniversalSegmentation.from_pretrained(
            None,
            config=Mask2FormerConfig.from_dict(config),
            state_dict=tensors,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )


@contextmanager
def _quietly() -> Iterator[None]:
    """transformers would advise to train a network whose weights are all there; what is not we refuse ourselves."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(before)
