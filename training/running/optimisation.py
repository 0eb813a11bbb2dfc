"""What the runs share: their flags, the learning rate over time, the averaged weights and where a loss looks."""

import argparse
import math
from datetime import timedelta

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import Dataset, default_collate

from inpainting_core.checkpoint import DTYPES
from inpainting_core.shapes import Float

# Of every Adam here, below any gradient.  Under torch's 1e-8 the gradients of a mean over a latent are lost: on the
# nano at EraDiff's 3e-6 half of the weights moved less than half as far as Adam means them to.
ADAM_EPS = 1e-16


def add_run_flags(
    parser: argparse.ArgumentParser, *, steps: int, batch_size: int, lr: float, accumulation: int, dtype: str
) -> None:
    """Optimisation and output; the defaults are those of the script's paper, where it states them.

    ``dtype`` is fp32 for a file that a training goes on from: fp16 rounds most steps on weights near 1 away.
    """
    parser.add_argument("--steps", type=int, default=steps, help="optimizer steps (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=batch_size, help="samples a pass and process (%(default)s)")
    parser.add_argument(
        "--gradient-accumulation", type=int, default=accumulation, help="passes an optimizer step (%(default)s)"
    )
    parser.add_argument("--lr", type=float, default=lr, help="peak learning rate (%(default)s)")
    parser.add_argument("--lr-schedule", choices=["constant", "cosine"], default="constant")
    parser.add_argument("--warmup", type=int, default=0, help="steps of linear warm-up; 0: off")
    parser.add_argument("--clip", type=float, default=math.inf, help="largest gradient norm of the loss; inf: off")
    parser.add_argument("--ema", type=float, default=0.0, help="decay of the averaged weights that are kept; 0: off")
    parser.add_argument("--gradient-checkpointing", action="store_true", help="less memory, slower")
    parser.add_argument("--mixed-precision", default="no", choices=["no", "fp16", "bf16"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that prepare pictures")
    parser.add_argument("--out", required=True, help="run folder: model.safetensors, sheets, logs, states")
    parser.add_argument("--dtype", choices=DTYPES, default=dtype, help="of the file's weights (%(default)s)")
    parser.add_argument("--save-every", type=int, default=500, help="steps between sheets and resumable states")


def accelerator_of(args: argparse.Namespace) -> Accelerator:
    """What runs on one process or many, logs to TensorBoard in ``--out`` and keeps to the flags above.

    The others wait while the first process encodes the pool, which may take hours: NCCL's own patience is 10 minutes.
    """
    return Accelerator(
        mixed_precision=args.mixed_precision,
        gradient_accumulation_steps=args.gradient_accumulation,
        log_with="tensorboard",
        project_dir=args.out,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(days=1))],
    )


def frozen_dtype(args: argparse.Namespace) -> torch.dtype:
    """What a large frozen network's weights are kept in: half of the memory where it works in bf16 anyway."""
    return torch.bfloat16 if args.mixed_precision == "bf16" else torch.float32


def lr_factor(step: int, steps: int, warmup: int, shape: str) -> float:
    """The learning rate as a share of its peak after ``step`` optimizer steps."""
    if step < warmup:
        return (step + 1) / warmup
    if shape == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def rates_of(optimizer: torch.optim.Optimizer, args: argparse.Namespace) -> torch.optim.lr_scheduler.LambdaLR:
    """The learning rate that the flags ask for, stepped once an optimizer step."""
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: lr_factor(step, args.steps, args.warmup, args.lr_schedule)
    )


def averaged(model: nn.Module, decay: float) -> AveragedModel | None:
    """The exponential moving average of a model's weights; None for a decay of 0."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay else None


def hole_importance(mask: Float[Tensor, "b 1 h w"], hole_weight: float) -> Float[Tensor, "b 1 h w"]:
    """A loss weight that gives every hole the same total, however small it is; 1 everywhere for a weight of 0.

    Outside the hole the answer is in the input; there most of a plain mean's gradient is spent.
    """
    share = mask.flatten(1).mean(1).clamp_min(0.02)[:, None, None, None]
    return (1 + hole_weight * mask / share) / (1 + hole_weight)


def all_of(samples: Dataset) -> dict[str, Tensor]:
    """A small data set as one batch."""
    return default_collate([samples[index] for index in range(len(samples))])
