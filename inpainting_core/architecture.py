"""The shapes of the networks we run: a UNet and an autoencoder, as plain numbers that travel with the weights."""

from dataclasses import asdict, dataclass, field

from inpainting_core.bounds import require_number, require_whole, require_wholes, require_yes_or_no
from inpainting_core.latents import UNDER_HOLE
from inpainting_core.schedule import PREDICTIONS
from inpainting_core.texture import TEXTURES

SIZES, SIZE_DIM = 6, 256  # SDXL is told six lengths of its picture, each embedded in so many numbers
LEVELS, WIDEST, MOST_LAYERS = range(1, 9), 2**14, 32  # more than any such network has, and few enough to be counted out
GROUPS = 32  # of channels, in the norms of UNets and autoencoders


@dataclass(frozen=True)
class UNetShape:
    """A Stable Diffusion UNet.

    Either ``heads`` (their number, SD1.5) or ``head_dim`` (their width, SD2, SDXL) is set, as ComfyUI has it.
    ``depth`` is the number of transformer blocks in an attention layer of each level, the last also the middle's;
    None is one everywhere.  ``pooled_dim`` is the width of the text's one vector that joins the timestep in SDXL,
    with the picture's size; None is a UNet that is told neither.  Raises ValueError for numbers that no UNet has.
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

    def __post_init__(self):
        _require_channels(self.channels)
        levels = range(len(self.channels), len(self.channels) + 1)
        if not isinstance(self.attention, tuple) or len(self.attention) not in levels:
            raise ValueError(f"attention must be said of each of {levels.start} levels, got {self.attention!r:.40}.")
        for attends in self.attention:
            require_yes_or_no("attention", attends)
        require_whole("layers", self.layers, 1, MOST_LAYERS)
        named = {
            name: value for name, value in vars(self).items() if name in ("heads", "head_dim") and value is not None
        }
        if len(named) != 1:
            raise ValueError(f"either heads or head_dim must be set, got {self.heads!r:.40} and {self.head_dim!r:.40}.")
        for name, value in named.items():
            require_whole(name, value, 1, WIDEST)
            if any(width % value for width in self.channels):
                raise ValueError(f"{name} must divide the channels {self.channels}, got {value}.")
        require_whole("context_dim", self.context_dim, 1, WIDEST)
        require_whole("in_channels", self.in_channels, 1, WIDEST)
        require_yes_or_no("linear_projection", self.linear_projection)
        if self.depth is not None:
            require_wholes("depth", self.depth, levels, 1, MOST_LAYERS)
        if self.pooled_dim is not None:
            require_whole("pooled_dim", self.pooled_dim, 1, WIDEST)

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
    Raises ValueError for what no autoencoder has.
    """

    kind: str = "kl"
    channels: tuple[int, ...] = (128, 256, 512, 512)
    layers: int = 2
    scale: float = 0.18215
    needs_fp32: bool = False

    def __post_init__(self):
        if self.kind not in ("kl", "tiny"):
            raise ValueError(f"an autoencoder's kind must be kl or tiny, got {self.kind!r:.40}.")
        _require_channels(self.channels)
        require_whole("layers", self.layers, 1, MOST_LAYERS)
        require_number("scale", self.scale, 1e-6, 1e6)
        require_yes_or_no("needs_fp32", self.needs_fp32)


def _require_channels(channels: object) -> None:
    require_wholes("channels", channels, LEVELS, 1, WIDEST)
    if any(width % GROUPS for width in channels):
        raise ValueError(f"channels must be multiples of {GROUPS}, got {channels}.")


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
        require_whole("resolution", self.resolution, 8, 8192)
        if self.under_hole not in UNDER_HOLE:
            raise ValueError(f"under_hole must be one of {UNDER_HOLE}, got {self.under_hole!r}.")
        if self.texture not in TEXTURES:
            raise ValueError(f"texture must be one of {TEXTURES}, got {self.texture!r}.")
        require_whole("draws", self.draws, 1, 64)
        if not isinstance(self.training, dict):
            raise ValueError(f"training must be facts by name, got {self.training!r:.40}.")

    def as_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: dict) -> "ModelConfig":
        """The inverse of ``as_dict``; lists from JSON become tuples again.

        Raises ValueError for what no model has, and TypeError for an unknown field.
        """

        def tuples(fields: dict) -> dict:
            if not isinstance(fields, dict):
                raise ValueError(f"unet and vae must be described by name, got {fields!r:.40}.")
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
