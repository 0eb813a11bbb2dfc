"""The networks that training.train_detector starts from, and how they see a picture."""

from pathlib import Path

from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

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


def load_network(base: str) -> Mask2FormerForUniversalSegmentation:
    """``nano`` with fresh weights, a .safetensors of ours, or a Hugging Face folder or name, with one class.

    What nothing reads is frozen: processes that train together refuse a weight without a gradient.
    """
    if base == "nano":
        network = Mask2FormerForUniversalSegmentation(nano_config())
    elif Path(base).suffix == ".safetensors":
        network = load_detector(base).network
    else:
        network = Mask2FormerForUniversalSegmentation.from_pretrained(base, num_labels=1, ignore_mismatched_sizes=True)
    for name, weight in network.named_parameters():
        weight.requires_grad_(not MADE_BY_THE_NETWORK.search(name))
    return network


def preprocessing_at(side: int) -> Preprocessing:
    """Pictures of this shorter side in px; the longest side is in the usual proportion to it."""
    usual = Preprocessing()
    return Preprocessing(short_side=side, long_side=side * usual.long_side // usual.short_side)
