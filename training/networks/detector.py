"""The networks that training.train_detector starts from, and how they see a picture."""

from pathlib import Path

import torch
from accelerate.utils import reduce
from torch import Tensor
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

from yoeo_core.deformable_attention import use_weighted_sums
from yoeo_core.detector import MADE_BY_THE_NETWORK, Preprocessing, load_detector

NANO_SIDE = 192  # px


def nano_config() -> Mask2FormerConfig:
    """About 2 M parameters, 4.3 MB in half precision; windows of 6 fit every level of a 192 px picture."""
    swin = SwinConfig(
        image_size=NANO_SIDE,
        embed_dim=32,
        depths=[1, 2, 4, 2],
        num_heads=[2, 4, 4, 8],
        window_size=6,
        mlp_ratio=2.0,
        drop_path_rate=0.0,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    return Mask2FormerConfig(
        backbone_config=swin,
        feature_size=64,
        mask_feature_size=64,
        hidden_dim=64,
        encoder_feedforward_dim=128,
        dim_feedforward=256,
        encoder_layers=1,
        decoder_layers=4,  # transformers builds one fewer
        num_attention_heads=4,
        num_queries=16,
        num_labels=1,
        train_num_points=1024,
        no_object_weight=0.2,  # few queries: the empty ones need less holding down than 0.1 of a hundred
    )


class SharedSetLoss(Mask2FormerLoss):
    """Mask2Former's set loss, whose mean over processes is what one process has of all their pictures.

    transformers' own (5.23) divides the mean number of masks by the processes once more, so that masks count as many
    times as there are processes; and it takes a mean over each process's queries, whatever they weigh.
    """

    def get_num_masks(self, class_labels: list[Tensor], device: torch.device) -> Tensor:
        count = sum(len(classes) for classes in class_labels)
        return reduce(torch.tensor(float(count), device=device), "mean").clamp(min=1)

    def loss_labels(self, class_queries_logits: Tensor, class_labels: list[Tensor], indices: list) -> dict[str, Tensor]:
        losses = super().loss_labels(class_queries_logits, class_labels, indices)
        matched = torch.cat([classes[place] for classes, (_, place) in zip(class_labels, indices, strict=True)])
        queries = class_queries_logits.shape[0] * class_queries_logits.shape[1]
        own = self.empty_weight[matched].sum() + (queries - len(matched)) * self.empty_weight[-1]
        return {name: loss * (own / reduce(own, "mean")) for name, loss in losses.items()}


def load_network(base: str, no_object_weight: float | None = None) -> Mask2FormerForUniversalSegmentation:
    """``nano`` with fresh weights, a .safetensors of ours, or a Hugging Face folder or name, with one class.

    What nothing reads is frozen: processes that train together refuse a weight without a gradient.  Its loss is
    ``SharedSetLoss``.  ``no_object_weight`` is in place of the base's own.
    """
    if base == "nano":
        network = Mask2FormerForUniversalSegmentation(nano_config())
    elif Path(base).suffix == ".safetensors":
        network = load_detector(base).network
    else:
        network = Mask2FormerForUniversalSegmentation.from_pretrained(base, num_labels=1, ignore_mismatched_sizes=True)
    for name, weight in network.named_parameters():
        weight.requires_grad_(not MADE_BY_THE_NETWORK.search(name))
    if no_object_weight is not None:
        network.config.no_object_weight = no_object_weight
    network.criterion = SharedSetLoss(network.config, network.weight_dict)
    return use_weighted_sums(network)


def preprocessing_at(side: int) -> Preprocessing:
    """Pictures of this shorter side in px; the longest side is in the usual proportion to it."""
    usual = Preprocessing()
    return Preprocessing(short_side=side, long_side=side * usual.long_side // usual.short_side)
