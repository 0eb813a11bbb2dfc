"""One pass of each training, in the scripts' own terms, for networks and pictures of any size, fake ones included.

They run on torch's default device, in bf16, or in fp32 where a CPU without bf16 of its own would be sixty times slower.
What needs numbers is left out: the teacher's walk is one step of its twenty (none leaves anything behind), and what the
detector finds is averaged where L_SS and L_EFC choose from it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from benchmarks.plain import build_unet, build_vae
from benchmarks.swin_detector import judged_terms, swin_tiny_detector
from eradiff_core.cro import cro_loss
from inpainting_core.architecture import ModelConfig
from inpainting_core.empty_prompt import Prompt
from inpainting_core.engine import call_unet
from inpainting_core.latents import unet_input
from inpainting_core.schedule import Schedule
from training.data.encoding import Encoded, Encoder
from training.running.checkpointing import WAYS, able_to_repeat, checkpoint_gradients
from training.running.distilling import STUDENT, Answer, Denoiser, Distillation
from training.running.judging import Judgement, pull_of
from yoeo_core.discriminator import Discriminator
from yoeo_core.distillation import PHASES
from yoeo_core.preprocessing import PUBLISHED

META, SCHEDULE = torch.device("meta"), Schedule()
CHECKPOINTING = ("no", *WAYS)


@dataclass(frozen=True, eq=False)
class Training:
    """A training whose networks are on no device yet, and a pass of so many samples.

    The optimizer moves what asks for a gradient in the ``learners``; ``--gradient-checkpointing`` is for some of all,
    through the ``repeated`` of which several gradients go.
    """

    learners: list[nn.Module]
    frozen: list[nn.Module]
    checkpointed: list[nn.Module]
    one_pass: Callable[[int], None]
    repeated: list[nn.Module] = field(default_factory=list)

    def checkpoint(self, named: str) -> None:
        """What ``--gradient-checkpointing`` does, in one of its ways or not at all: one of ``CHECKPOINTING``."""
        way = None if named == "no" else named
        for network in (*self.checkpointed, *self.repeated):
            network.disable_gradient_checkpointing()
        checkpoint_gradients(way, *self.checkpointed)
        checkpoint_gradients(able_to_repeat(way), *self.repeated)


@dataclass(frozen=True)
class AnyDraw:
    """A ``Draw`` for so many samples without its numbers, all of it at one timestep."""

    batch: int

    def noise(self, like: Tensor, purpose: int) -> Tensor:
        return torch.randn_like(like)

    def timesteps(self, choices: tuple[int, ...], purpose: int) -> Tensor:
        return torch.full((self.batch,), choices[-1], device="cpu")  # where the noise levels' tables are


def eradiff(config: ModelConfig, side: int, lora_rank: int = 0, dtype: torch.dtype = torch.bfloat16) -> Training:
    """``training.train_eradiff``, its pictures encoded in the pass."""
    encoder = _encoder(config)
    with META:
        unet = build_unet(config.unet).train()
        if lora_rank:
            from training.networks.lora import add_lora  # needs peft

            add_lora(unet.to(dtype), lora_rank)

    def one_pass(batch: int) -> None:
        with _working_in(dtype):
            encoded = encoder.pair(torch.rand(batch, 3, side, side), *_pictures(batch, side))
        latent, t = encoded["latent"], torch.full((batch,), 500)

        def predict_noise(noisy: Tensor, t: Tensor) -> Tensor:
            return _forward(unet, unet_input(noisy, encoded["mask"], encoded["masked"]), t, _prompt(config), dtype)

        noise, gamma = torch.randn_like(latent), torch.full((batch,), 50)
        cro_loss(predict_noise, latent, encoded["object"], noise, t, gamma, SCHEDULE).mean().backward()

    return Training([unet], [encoder.vae], [unet], one_pass)


def stage1(config: ModelConfig, side: int, dtype: torch.dtype = torch.bfloat16) -> Training:
    """``training.train_yoeo_stage1``, its pictures encoded in the pass."""
    encoder = _encoder(config)
    with META:
        unet = build_unet(config.unet).train()

    def one_pass(batch: int) -> None:
        encoded = _encoded(encoder, batch, side, dtype)
        inputs = unet_input(encoded["latent"], encoded["mask"], encoded["masked"])
        output = _forward(unet, inputs, torch.full((batch,), 500), _prompt(config), dtype)
        (output - encoded["latent"]).square().mean().backward()

    return Training([unet], [encoder.vae], [unet], one_pass)


class Distilling:
    """The networks of ``train_yoeo_stage2``, or of stage 3 where they are ``judged_at`` a size, and a pass of them.

    Stage 3's is one of D2 followed by what the discriminator is told on D1.
    """

    def __init__(self, config: ModelConfig, side: int, dtype: torch.dtype, judged_at: int | None = None):
        from lpips import LPIPS

        self.config, self.side, self.dtype, self.encoder = config, side, dtype, _encoder(config)
        with META:
            self.student = build_unet(config.unet).train()
            self.teacher = build_unet(config.unet).to(dtype).eval().requires_grad_(False)
            self.distance = LPIPS(net="vgg", pretrained=False, pnet_rand=True, verbose=False).requires_grad_(False)
            self.discriminator = Discriminator(config.unet.channels[-1])
            self.detector = swin_tiny_detector(judged_at) if judged_at else None

    def training(self) -> Training:
        judges = [self.detector] if self.detector else []
        frozen = [self.teacher, self.encoder.vae, self.distance, *judges]
        checkpointed, repeated = [self.student, self.teacher], []
        (repeated if self.detector else checkpointed).append(self.encoder.vae)
        return Training([self.student, self.discriminator], frozen, checkpointed, self.one_pass, repeated)

    def one_pass(self, batch: int) -> None:
        with _working_in(self.dtype):
            encoded = self.encoder(*_pictures(batch, self.side))
        prompt = _prompt(self.config)
        teacher, student = (Denoiser(unet, "epsilon", prompt) for unet in (self.teacher, self.student))
        distillation = Distillation(teacher, self.encoder, self.distance)
        self.discriminator.requires_grad_(False)
        loss, made = self._pull(distillation, student, encoded)
        loss.backward()
        self.discriminator.requires_grad_(True)
        with _working_in(self.dtype):
            loss = distillation.discriminator_loss(self.discriminator, made, encoded, AnyDraw(batch))
        loss.backward()

    def _pull(self, distillation: Distillation, student: Denoiser, encoded: Encoded) -> tuple[Tensor, Tensor]:
        """What the student is pulled by, and its latent."""
        noisy, draw = encoded["latent"], AnyDraw(len(encoded["latent"]))
        t = draw.timesteps((999,), STUDENT)
        with _working_in(self.dtype):
            latent = student(noisy, t, encoded)
            with torch.no_grad():
                target = self.encoder.decode(distillation.teacher(noisy, t, encoded))
            answer = Answer(latent, self.encoder.decode(latent), target)
            terms = distillation.terms(answer, student, self.discriminator, encoded, draw, PHASES[-1])
            if self.detector is None:
                return sum(terms.values()), latent.detach()
            told = judged_terms(self.detector, answer.picture)
        weight, shares = self.student.conv_out.weight, Judgement().shares
        return pull_of(terms, told, latent, weight, lambda gradient: gradient, shares)[0], latent.detach()


def stage2(config: ModelConfig, side: int, dtype: torch.dtype = torch.bfloat16) -> Training:
    """``training.train_yoeo_stage2``."""
    return Distilling(config, side, dtype).training()


def stage3(
    config: ModelConfig, side: int, judged_at: int = PUBLISHED.short_side, dtype: torch.dtype = torch.bfloat16
) -> Training:
    """``training.train_yoeo_stage3``, whose detector sees pictures at so many pixels."""
    return Distilling(config, side, dtype, judged_at).training()


RUNS: dict[str, Callable[..., Training]] = {
    "EraDiff": eradiff,
    "EraDiff, LoRA of rank 32": partial(eradiff, lora_rank=32),
    "YOEO, stage 1": stage1,
    "YOEO, stage 2": stage2,
    "YOEO, stage 3": stage3,
}


def _working_in(dtype: torch.dtype) -> torch.autocast:
    """Autocast for a half-precision dtype, nothing for fp32."""
    return torch.autocast(torch.get_default_device().type, torch.bfloat16, enabled=dtype == torch.bfloat16)


def _forward(unet: nn.Module, inputs: Tensor, t: Tensor, prompt: Prompt, dtype: torch.dtype) -> Tensor:
    """A UNet as accelerate wraps it: autocast inside, fp32 outside."""
    with _working_in(dtype):
        return call_unet(unet, inputs, t, prompt).float()


def _encoder(config: ModelConfig) -> Encoder:
    with META:
        encoder = Encoder(build_vae(config.vae), config, META)
    encoder.device = torch.get_default_device()  # where its pictures will be
    return encoder


def _encoded(encoder: Encoder, batch: int, side: int, dtype: torch.dtype) -> Encoded:
    with _working_in(dtype):
        return encoder(*_pictures(batch, side))


def _pictures(batch: int, side: int) -> tuple[Tensor, Tensor]:
    return torch.rand(batch, 3, side, side), torch.ones(batch, 1, side, side)


def _prompt(config: ModelConfig) -> Prompt:
    pooled = config.unet.pooled_dim and torch.randn(1, config.unet.pooled_dim)
    return Prompt(torch.randn(1, 77, config.unet.context_dim), pooled)
