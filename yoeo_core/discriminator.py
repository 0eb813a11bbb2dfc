"""YOEO's discriminator: a small head that judges noised latents by what the frozen teacher makes of them."""

from torch import Tensor, nn

from inpainting_core.empty_prompt import Prompt
from inpainting_core.engine import told_besides
from inpainting_core.shapes import Float, Int

GAN_TIMESTEPS = (10, 250, 500, 750)  # drawn from uniformly, one a sample, the same for real and fake


class Discriminator(nn.Module):
    """Teacher's middle features to one score a sample, before the sigmoid.

    Flash Diffusion's head (Chadebec et al. 2024) with YOEO's pooling to 4 x 4, which makes it fit any aspect.
    ``channels_in``: 1280 for Stable Diffusion.  The features must be at least 2 x 2.
    """

    def __init__(self, channels_in: int):
        super().__init__()
        self.head = nn.Sequential(
            nn.Conv2d(channels_in, 64, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(64, 128, 4, stride=2, padding=1, bias=False),
            nn.SiLU(),
            nn.GroupNorm(4, 128),
            nn.AdaptiveAvgPool2d(4),
            nn.Conv2d(128, 1, 4, bias=False),
            nn.Flatten(0),
        )

    def forward(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b"]:
        return self.head(features)


def middle_features(
    unet: nn.Module, inputs: Float[Tensor, "b 9 h w"], t: Int[Tensor, "b"], prompt: Prompt
) -> Float[Tensor, "b c h2 w2"]:
    """What the middle block of a diffusers ``UNet2DConditionModel`` gives; differentiable with respect to ``inputs``.

    Only the way down and the middle are run: the way up is more than half of a UNet and would be thrown away.
    """
    tokens = prompt.tokens.expand(len(inputs), -1, -1)
    time = unet.time_embedding(unet.get_time_embed(sample=inputs, timestep=t))
    if besides := told_besides(inputs, prompt):  # SDXL
        time = time + unet.get_aug_embed(emb=time, encoder_hidden_states=tokens, **besides)
    hidden = unet.conv_in(inputs)
    for block in unet.down_blocks:
        hidden, _ = block(hidden, time, encoder_hidden_states=tokens)
    return unet.mid_block(hidden, time, encoder_hidden_states=tokens)
