"""What the runs share: their flags, the learning rate over time, the averaged weights and where a loss looks."""

import argparse
import math
from collections.abc import Iterable
from datetime import timedelta
from importlib.util import find_spec

import torch
from accelerate import Accelerator, DistributedType, InitProcessGroupKwargs
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from inpainting_core.checkpoint import DTYPES
from inpainting_core.shapes import Float
from training.data.flag_values import above_zero, decay, natural, not_negative
from training.running.checkpointing import WAYS, refuse_missing_way
from training.running.flags import add_batch_flags, add_folder_flags
from training.running.precision import told_of_half

# Of every Adam here.  Its eps lies below any gradient, for under torch's 1e-8 those of a mean over a latent are lost:
# on the nano at EraDiff's 3e-6 half of the weights moved less than half as far as Adam means them to.  It works in one
# kernel, which keeps no copy of the weights.
EPS = 1e-16
ADAM = {"eps": EPS, "fused": True}


def add_run_flags(
    parser: argparse.ArgumentParser, *, steps: int, batch_size: int, lr: float, accumulation: int, dtype: str
) -> None:
    """Optimisation and output; the defaults are those of the script's paper, where it states them.

    ``dtype`` is fp32 for a file that a training goes on from: fp16 rounds most steps on weights near 1 away.
    """
    add_batch_flags(parser, steps, batch_size, accumulation)
    parser.add_argument("--lr", type=not_negative, default=lr, help="peak learning rate (%(default)s)")
    parser.add_argument("--lr-schedule", choices=["constant", "cosine"], default="constant")
    parser.add_argument("--warmup", type=natural, default=0, help="steps of linear warm-up; 0: off")
    parser.add_argument("--clip", type=above_zero, default=math.inf, help="largest gradient norm of the loss; inf: off")
    parser.add_argument("--ema", type=decay, default=0.0, help="decay of the averaged weights that are kept; 0: off")
    parser.add_argument(
        "--gradient-checkpointing",
        nargs="?",
        const="full",
        choices=WAYS,
        help="full (without a word): least memory, slowest; selective: somewhat more, quicker",
    )
    parser.add_argument(
        "--adam-8bit", action="store_true", help="moments in a byte each, 5 GB less of SD1.5; needs bitsandbytes"
    )
    parser.add_argument("--dtype", choices=DTYPES, default=dtype, help="of the file's weights (%(default)s)")
    add_folder_flags(parser, "model.safetensors")


def accelerator_of(args: argparse.Namespace) -> Accelerator:
    """What runs on one process or many, logs to TensorBoard in ``--out`` and keeps to the flags above.

    With ``--global-batch`` sets ``--gradient-accumulation`` to what these processes need for it; raises ValueError
    where they cannot share it evenly.  The others wait while the first process encodes the pool, which may take hours:
    NCCL's own patience is 10 minutes.
    """
    accelerator = Accelerator(
        mixed_precision=args.mixed_precision,
        log_with="tensorboard",
        project_dir=args.out,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(days=1))],
    )
    refuse_sharded(accelerator.distributed_type)
    refuse_missing_adam(args)
    refuse_missing_way(vars(args).get("gradient_checkpointing"))
    say_what_half_is_worth(accelerator)
    if args.global_batch:
        args.gradient_accumulation = passes_of(args.global_batch, args.batch_size, accelerator.num_processes)
    accelerator.gradient_accumulation_steps = args.gradient_accumulation
    return accelerator


def say_what_half_is_worth(accelerator: Accelerator) -> None:
    """That bf16 is emulated here, or that accelerate leaves fp16 out, as it does without a card; the first process."""
    device, precision, told = accelerator.device, accelerator.mixed_precision, ""
    if precision == "bf16" and accelerator.is_main_process:
        told = told_of_half(device, torch.bfloat16, "--mixed-precision no")
    elif precision == "fp16" and not accelerator.native_amp:
        told = f"fp16 is for cards: on this {device.type} the run works in float32."
    if told:
        accelerator.print(told)


def refuse_sharded(kind: DistributedType) -> None:
    """A run averages, clips, checks and writes whole networks; raises ValueError where a launcher would cut them up."""
    if kind in (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM):
        raise ValueError(
            f"these trainings run on many cards by data parallelism alone, got {kind.value}: launch with "
            "docs/accelerate/one_machine.yaml; --gradient-checkpointing, --lora-rank and bf16 save memory."
        )


def refuse_missing_adam(args: argparse.Namespace) -> None:
    """Raise ValueError for a flag whose package is not there, before weights are read for it."""
    if vars(args).get("adam_8bit") and not find_spec("bitsandbytes"):
        raise ValueError("--adam-8bit needs a package that is not here: pip install bitsandbytes, or leave it out.")


def adamw_of(
    parameters: Iterable[nn.Parameter] | list[dict], args: argparse.Namespace, weight_decay: float = 0.01
) -> torch.optim.Optimizer:
    """AdamW at ``--lr``, torch's decay if not told another; without decay it is Adam.

    With ``--adam-8bit`` its moments take a byte each, scaled by blocks of 256 (Dettmers et al. 2022).
    """
    if args.adam_8bit:
        from bitsandbytes.optim import AdamW8bit  # whoever does not ask for it need not have it

        return AdamW8bit(parameters, lr=args.lr, weight_decay=weight_decay, eps=EPS)
    return torch.optim.AdamW(parameters, lr=args.lr, weight_decay=weight_decay, **ADAM)


def passes_of(whole: int, batch_size: int, processes: int) -> int:
    """How many passes a step of ``whole`` samples takes; raises ValueError for a number that is not whole."""
    passes, rest = divmod(whole, batch_size * processes)
    if rest or not passes:
        rule = f"--global-batch must be a multiple of --batch-size times the {processes} processes"
        raise ValueError(f"{rule}, got {whole} for {batch_size} x {processes}.")
    return passes


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


def rates_of(
    optimizer: torch.optim.Optimizer, args: argparse.Namespace, shape: str
) -> torch.optim.lr_scheduler.LambdaLR:
    """The learning rate that the flags ask for, of this shape, stepped once an optimizer step."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(step, args.steps, args.warmup, shape))


def averaged(model: nn.Module, decay: float) -> AveragedModel | None:
    """The exponential moving average of a model's weights; None for a decay of 0."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay else None


def hole_importance(mask: Float[Tensor, "b 1 h w"], hole_weight: float) -> Float[Tensor, "b 1 h w"]:
    """A loss weight that gives every hole the same total, however small it is; 1 everywhere for a weight of 0.

    Outside the hole the answer is in the input; there most of a plain mean's gradient is spent.
    """
    share = mask.flatten(1).mean(1).clamp_min(0.02)[:, None, None, None]
    return (1 + hole_weight * mask / share) / (1 + hole_weight)
