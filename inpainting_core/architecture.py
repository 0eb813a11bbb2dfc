"""The shapes of the networks we run: a UNet and an autoencoder, as plain numbers that travel with the weights."""

from dataclasses import asdict, dataclass, field

from inpainting_core.latents import UNDER_HOLE
from inpainting_core.schedule import PREDICTIONS
from inpainting_core.texture import TEXTURES

SIZES, SIZE_DIM = 6, 256  # SDXL is told six lengths of its picture, each embedded in so many numbers


@dataclass(frozen=True)
class UNetShape:
    """A Stable Diffusion UNet.

    Either ``heads`` (their number, SD1.5) or ``head_dim`` (their width, SD2, SDXL) is set, as ComfyUI has it.
    ``depth`` is the number of transformer blocks in an attention layer of each level, the last also the middle's;
    None is one everywhere.  ``pooled_dim`` is the width of the text's one vector that joins the timestep in SDXL,
    with the picture's size; None is a UNet that is told neither.
    """

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    attention: tuple[bool, ...] = (True, True, True, False)
    layers: int = 2
    heads: int | None = 8
    head_dim: int | None = None
    context_dim: int = 768
    linear_projection: bool = False
    in_channels: int = 9
    depth: tuple[int, ...] | None = None
    pooled_dim: int | None = None

    @property
    def blocks(self) -> tuple[int, ...]:
        """Transformer blocks in an attention layer of each level; zero where a level has no attention."""
        depth = self.depth or (1,) * len(self.channels)
        return tuple(number if attends else 0 for number, attends in zip(depth, self.attention, strict=True))

    @property
    def middle_blocks(self) -> int:
        """Transformer blocks in the middle's attention layer."""
        return self.depth[-1] if self.depth else 1

    @property
    def added_dim(self) -> int | None:
        """Width of what joins the timestep: the pooled text and the picture's sizes."""
        return self.pooled_dim and self.pooled_dim + SIZES * SIZE_DIM


@dataclass(frozen=True)
class VAEShape:
    """An autoencoder that halves the picture three times: ``kl`` is SD's, ``tiny`` the small convolutional one.

    ``scale`` brings its latents to unit variance; ``channels`` and ``layers`` are read for ``kl`` only,
    since the tiny one has a single shape.  ``needs_fp32`` says that its activations overflow in fp16, as SDXL's do.
    """

    kind: str = "kl"
    channels: tuple[int, ...] = (128, 256, 512, 512)
    layers: int = 2
    scale: float = 0.18215
    needs_fp32: bool = False


@dataclass(frozen=True)
class ModelConfig:
    """Everything that the weights alone do not tell.

    ``prediction`` is what the UNet gives (epsilon or v_prediction), ``resolution`` the side in pixels it works
    best at, ``under_hole`` what stands in the hole of the masked picture that it is fed (``masked_picture``),
    ``texture`` whether its fills have their own or need that of their surroundings (``match_texture``), ``draws`` how
    many latents are drawn and averaged for a fill: a small network lets some of its noise through.  ``training`` is
    free-form facts for people: the stage, the data, the steps.
    """

    unet: UNetShape = UNetShape()
    vae: VAEShape = VAEShape()
    prediction: str = "epsilon"
    resolution: int = 512
    under_hole: str = "grey"
    texture: str = "own"
    draws: int = 1
    training: dict = field(default_factory=dict)

    def __post_init__(self):
        if self.prediction not in PREDICTIONS:
            raise ValueError(f"prediction must be one of {PREDICTIONS}, got {self.prediction!r}.")
        if self.under_hole not in UNDER_HOLE:
            raise ValueError(f"under_hole must be one of {UNDER_HOLE}, got {self.under_hole!r}.")
        if self.texture not in TEXTURES:
            raise ValueError(f"texture must be one of {TEXTURES}, got {self.texture!r}.")
        if self.draws < 1:
            raise ValueError(f"draws must be at least 1, got {self.draws}.")

    def as_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict) -> "ModelConfig":
        """The inverse of ``as_dict``; lists from JSON become tuples again.  Raises TypeError for an unknown field."""

        def tuples(fields: dict) -> dict:
            return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}

        unet, vae = UNetShape(**tuples(stored["unet"])), VAEShape(**tuples(stored["vae"]))
        return cls(**{**stored, "unet": unet, "vae": vae})


SD15_INPAINT = ModelConfig()
SD2_INPAINT = ModelConfig(unet=UNetShape(heads=None, head_dim=64, context_dim=1024, linear_projection=True))
SDXL_INPAINT = ModelConfig(
    unet=UNetShape(
        channels=(320, 640, 1280),
        attention=(False, True, True),
        heads=None,
        head_dim=64,
        context_dim=2048,
        linear_projection=True,
        depth=(1, 2, 10),
        pooled_dim=1280,
    ),
    vae=VAEShape(scale=0.13025, needs_fp32=True),
    resolution=1024,
)
