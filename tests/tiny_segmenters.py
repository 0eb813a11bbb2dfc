"""Real segmentation networks of transformers at sizes that a test can afford, saved as a user's checkpoint would be.

Their weights are random, but for a bias that makes them sure of what they see, so that they find something.
"""

from pathlib import Path

import torch
from torch import nn


@torch.no_grad()
def randomise_(network: nn.Module, std: float, seed: int) -> None:
    """Draw every matrix and filter anew and set every offset to zero: the same network for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in network.named_parameters():
        if weight.dim() > 1:
            nn.init.normal_(weight, std=std, generator=generator)
        elif name.endswith("bias"):
            nn.init.zeros_(weight)


def save_mask2former(folder: Path) -> Path:
    """Six queries, sure of the class "dog"."""
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
        SwinConfig,
    )

    stages = ["stage1", "stage2", "stage3", "stage4"]
    backbone = SwinConfig(
        image_size=64, embed_dim=16, depths=[1] * 4, num_heads=[2] * 4, window_size=4, out_features=stages
    )
    widths = {"feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32, "num_attention_heads": 2}
    depths = {"encoder_layers": 2, "decoder_layers": 2, "encoder_feedforward_dim": 16, "dim_feedforward": 16}
    names = {0: "cat", 1: "dog", 2: "sky"}
    network = Mask2FormerForUniversalSegmentation(
        Mask2FormerConfig(backbone_config=backbone, num_queries=6, id2label=names, **widths, **depths)
    )
    randomise_(network, std=0.3, seed=3)
    network.class_predictor.bias.data = torch.tensor([0.0, 8.0, 0.0, -8.0])
    network.save_pretrained(folder)
    Mask2FormerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def save_sam(folder: Path) -> Path:
    """Masks with sharp edges (else SAM's own test of stability drops them), of a predicted IoU near 0.9."""
    from transformers import SamConfig, SamImageProcessor, SamModel

    small = {"hidden_size": 16, "mlp_dim": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    grid = {"image_size": 64, "patch_size": 8}
    vision = {"window_size": 4, "global_attn_indexes": [0], "output_channels": 8, "num_pos_feats": 4, **small, **grid}
    prompt = {"hidden_size": 8, "mask_input_channels": 4, **grid}
    decoder = {**small, "hidden_size": 8, "iou_head_hidden_dim": 8}
    network = SamModel(SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder))
    randomise_(network, std=0.3, seed=1)
    for head in network.mask_decoder.output_hypernetworks_mlps:
        head.proj_out.weight.data *= 1e4
    quality = network.mask_decoder.iou_prediction_head.proj_out
    quality.weight.data *= 1e-3
    quality.bias.data.fill_(0.9)
    network.save_pretrained(folder)
    pads = {"pad_size": {"height": 64, "width": 64}, "mask_pad_size": {"height": 16, "width": 16}}
    sizes = {"size": {"longest_edge": 64}, "mask_size": {"longest_edge": 16}}
    SamImageProcessor(**sizes, **pads).save_pretrained(folder)
    return folder


def save_segformer(folder: Path) -> Path:
    """A semantic network: three classes and no scores."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    widths = {"hidden_sizes": [8] * 4, "decoder_hidden_size": 8, "num_attention_heads": [1] * 4}
    names = {0: "wall", 1: "cup", 2: "table"}
    network = SegformerForSemanticSegmentation(SegformerConfig(depths=[1] * 4, id2label=names, **widths))
    randomise_(network, std=0.3, seed=1)
    network.save_pretrained(folder)
    SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder
