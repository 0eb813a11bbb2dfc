"""Real networks at sizes that a test can afford, with random weights."""

import torch

from inpainting_core.architecture import ModelConfig, UNetShape, VAEShape
from inpainting_core.checkpoint import Checkpoint
from inpainting_core.empty_prompt import Prompt
from inpainting_core.engine import build_unet, build_vae
from yoeo_core.detector import Preprocessing, SundryDetector

UNET = UNetShape((32, 64), (True, True), layers=1, heads=None, head_dim=32, context_dim=64)
UNET_LIKE_SD15 = UNetShape((32, 64, 64), (True, True, False), layers=2, heads=4, context_dim=64)
UNET_LIKE_SD2 = UNetShape((32, 64), (True, False), heads=None, head_dim=16, context_dim=64, linear_projection=True)
UNET_LIKE_SDXL = UNetShape(
    (32, 64, 64),
    (False, True, True),
    heads=None,
    head_dim=16,
    context_dim=128,
    linear_projection=True,
    depth=(1, 2, 3),
    pooled_dim=48,
)
NANO = UNetShape((64, 96, 128), (True, True, False), layers=1, heads=None, head_dim=32, context_dim=64)
KL = VAEShape(channels=(32, 32, 32, 64), layers=1, scale=0.5)
TINY = VAEShape(kind="tiny", scale=0.9)


def tiny_config(unet: UNetShape = UNET, vae: VAEShape = KL, prediction: str = "epsilon") -> ModelConfig:
    return ModelConfig(unet=unet, vae=vae, prediction=prediction, resolution=64)


def tiny_checkpoint(config: ModelConfig | None = None, seed: int = 0) -> Checkpoint:
    """A checkpoint of random weights, the same ones for the same seed."""
    config = config or tiny_config()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet, vae = build_unet(config.unet).state_dict(), build_vae(config.vae).state_dict()
        tokens, pooled_dim = torch.randn(1, 4, config.unet.context_dim), config.unet.pooled_dim
        return Checkpoint(config, unet, vae, Prompt(tokens, torch.randn(1, pooled_dim) if pooled_dim else None))


def tiny_detector(seed: int = 0, classes: int = 1, queries: int = 5) -> SundryDetector:
    """A Mask2Former of 0.2 M random weights that sees pictures at 64 px, so that its masks are 16 x 16."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

    swin = SwinConfig(
        embed_dim=12,
        depths=[1, 2, 1, 1],
        num_heads=[1, 2, 2, 4],
        window_size=4,
        drop_path_rate=0.3,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=swin,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=48,
        dim_feedforward=64,
        encoder_layers=1,
        decoder_layers=2,  # transformers builds one fewer
        num_attention_heads=4,
        num_queries=queries,
        num_labels=classes,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Mask2FormerForUniversalSegmentation(config)
        for name, value in network.named_parameters():
            if "relative_position" in name or "sampling_offsets" in name or name.endswith("bias"):
                value.data.normal_(std=0.3)  # which begin at 0, where an exchange of two of them would not show
    return SundryDetector(network, Preprocessing(short_side=64, long_side=133))
