"""The shapes of the networks we run: a UNet and an autoencoder, as plain numbers that travel with the weights."""

from dataclasses import asdict, dataclass, field

from eradiff_core.inpainting.schedule import PREDICTIONS


@dataclass(frozen=True)
class UNetShape:
    """A Stable Diffusion UNet with one transformer block an attention layer.

    Either ``heads`` (their number, SD1.5) or ``head_dim`` (their width, SD2) is set, as ComfyUI has it.
    """

    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    attention: tuple[bool, ...] = (True, True, True, False)
    layers: int = 2
    heads: int | None = 8
    head_dim: int | None = None
    context_dim: int = 768
    linear_projection: bool = False
    in_channels: int = 9


@dataclass(frozen=True)
class VAEShape:
    """An autoencoder that halves the picture three times: ``kl`` is SD's, ``tiny`` the small convolutional one.

    ``scale`` brings its latents to unit variance; ``channels`` and ``layers`` are read for ``kl`` only,
    since the tiny one has a single shape.
    """

    kind: str = "kl"
    channels: tuple[int, ...] = (128, 256, 512, 512)
    layers: int = 2
    scale: float = 0.18215


@dataclass(frozen=True)
class ModelConfig:
    """Everything that the weights alone do not tell.

    ``prediction`` is what the UNet gives (epsilon or v_prediction), ``resolution`` the side in pixels it works
    best at, ``training`` free-form facts for people: the stage, the data, the steps.
    """

    unet: UNetShape = UNetShape()
    vae: VAEShape = VAEShape()
    prediction: str = "epsilon"
    resolution: int = 512
    training: dict = field(default_factory=dict)

    def __post_init__(self):
        if self.prediction not in PREDICTIONS:
            raise ValueError(f"prediction must be one of {PREDICTIONS}, got {self.prediction!r}.")

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
