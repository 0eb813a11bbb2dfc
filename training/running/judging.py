"""What the detector adds in YOEO's third stage: the unpaired set, what it says of both pictures, and how it is weighed.

On D2 a hole holds whole entities and nobody knows what is behind them.  The detector does know two things: nothing
new should stand there (L_SS), and where something runs into the hole it should go on (L_EFC).
"""

import argparse
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from inpainting_core.shapes import Float
from training.data.flag_values import not_negative, share
from training.running.distilling import Answer
from yoeo_core.balance import SHARE, Cap, capped
from yoeo_core.coherence import coherence_loss
from yoeo_core.detector import Detections, SundryDetector
from yoeo_core.suppression import FORMS, gradient_in_hole, sundries, sundry_area, suppression_loss

TEACHER_AREA = 0.1  # probability above which a pixel belongs to one of the teacher's sundries


@dataclass(frozen=True)
class Judgement:
    """How the detector is heard; the paper's symbol is the flag, the default is the official code's.

    ``ios`` and ``score`` tell a sundry (lambda and tau); the teacher's are masked out from ``teacher_ios`` on, a
    little earlier than the student's are suppressed.  ``ss`` is both L_SS's weight and how hard it may pull beside
    LPIPS, ``efc`` how hard L_EFC may.  ``form`` and ``alpha`` are as in ``suppression_loss``.
    """

    ios: float = 0.9
    score: float = 0.2
    teacher_ios: float = 0.85
    ss: float = SHARE
    efc: float = SHARE
    form: str = "official"
    alpha: float = 1.0

    @property
    def shares(self) -> dict[str, float]:
        """Of LPIPS's pull, by the names of ``judged_terms``."""
        return {"ss_probability": self.ss, "ss_mask": self.ss, "efc": self.efc}


def add_judging_flags(parser: argparse.ArgumentParser) -> None:
    """A ``Judgement``'s."""
    usual = Judgement()
    parser.add_argument(
        "--lambda",
        type=share,
        default=usual.ios,
        dest="ios",
        help="IoS of a sundry, at least (%(default)s)",
    )
    parser.add_argument(
        "--tau",
        type=share,
        default=usual.score,
        dest="score",
        help="score of an entity, at least (%(default)s)",
    )
    parser.add_argument(
        "--teacher-lambda",
        type=share,
        default=usual.teacher_ios,
        dest="teacher_ios",
        help="IoS of a sundry of the teacher's (%(default)s)",
    )
    parser.add_argument(
        "--lambda-ss", type=not_negative, default=usual.ss, dest="ss", help="L_SS's weight and cap (%(default)s)"
    )
    parser.add_argument(
        "--lambda-efc", type=not_negative, default=usual.efc, dest="efc", help="L_EFC's cap (%(default)s)"
    )
    parser.add_argument("--form", choices=FORMS, default=usual.form, help="of L_SS and L_EFC (%(default)s)")
    parser.add_argument(
        "--alpha",
        type=not_negative,
        default=usual.alpha,
        help="power of a sundry's area in L_SS; 0: all alike (%(default)s)",
    )


def judgement_of(args: argparse.Namespace) -> Judgement:
    """What ``add_judging_flags`` was told."""
    return Judgement(**{field.name: getattr(args, field.name) for field in fields(Judgement)})


class HalfUnpaired(Dataset):
    """Samples of D1 and D2, half and half by batch: all samples of a global batch come from one of them.

    Each set is gone through by a count of its own, so that the batches of the other one skip none of its pictures.
    Items are those of the set with their ``number`` in the run, and ``unpaired``, whether that was D2; sample ``i`` is
    a pure function of (seed, i).  ``share`` is how many batches are D2.
    """

    def __init__(self, paired: Dataset, unpaired: Dataset, batch: int, seed: int, share: float = 0.5):
        self.sets, self.batch = (paired, unpaired), batch
        self.unpaired = np.random.default_rng(seed).random(-(-len(paired) // batch)) < share
        self.turns = np.where(self.unpaired, self.unpaired.cumsum(), (~self.unpaired).cumsum()) - 1

    def __len__(self) -> int:
        return len(self.sets[0])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        batch, within = divmod(index, self.batch)
        kind = int(self.unpaired[batch])
        sample = self.sets[kind][int(self.turns[batch]) * self.batch + within]
        return sample | {"number": torch.tensor(index), "unpaired": torch.tensor(bool(kind))}


@torch.no_grad()
def teachers_own(
    found: Detections, hole: Float[Tensor, "b 1 h w"], by: Judgement = Judgement()
) -> Float[Tensor, "b 1 h w"]:
    """1 where the teacher drew something new into the hole, which its student should not learn."""
    return sundry_area(found, sundries(found, hole, by.teacher_ios, by.score), hole.shape[-2:], TEACHER_AREA).float()


def judged_terms(
    detector: SundryDetector,
    answer: Answer,
    hole: Float[Tensor, "b 1 h w"],
    teacher: Detections,
    unpaired: bool,
    by: Judgement = Judgement(),
    without: Container[str] = (),
) -> dict[str, Float[Tensor, ""]]:
    """L_SS in its two terms on D2, L_EFC on both sets, those ``without`` names left out; only the fill is pushed.

    On D1 the truth is the teacher's business: there its entities count, ``teacher`` being what is found in its picture.
    """
    found = detector(gradient_in_hole(answer.picture, hole))
    told_by = None if unpaired else teacher
    sundry = {"ios": by.ios, "score": by.score, "form": by.form}
    terms = {}
    if unpaired and "ss" not in without:
        ss = suppression_loss(found, hole, scale=by.ss, alpha=by.alpha, **sundry)
        terms |= {"ss_probability": ss.probability.mean(), "ss_mask": ss.mask.mean()}
    if "efc" not in without:
        efc = coherence_loss(found, hole, teacher=told_by, teacher_ios=by.teacher_ios, **sundry)
        terms["efc"] = efc.mean()
    return terms


def pull_of(
    distilled: Mapping[str, Tensor],
    judged: Mapping[str, Tensor],
    latent: Float[Tensor, "b 4 h w"],
    weight: Tensor,
    reduce: Callable[[Tensor], Tensor],
    shares: Mapping[str, float] | None = None,
) -> tuple[Float[Tensor, ""], dict[str, Cap]]:
    """One scalar with the gradient of all terms together, those of the detector capped; and their caps.

    Every term reaches the student through its latent alone.  So each walks back that far by itself, and what is left
    of the way is linear in these gradients: the norms at ``weight`` and the step itself need nothing beyond.
    LPIPS is what the others are measured by, ``shares`` as in ``capped``.  ``reduce`` averages over the processes.
    """
    lpips, *others = distilled.values()
    names = ("lpips", "others", *judged)
    losses = (lpips, sum(others), *judged.values())
    pulls = {
        name: (latent * torch.autograd.grad(loss, latent, retain_graph=True)[0]).sum()
        for name, loss in zip(names, losses, strict=True)
    }
    caps = capped({name: pulls[name] for name in judged}, pulls["lpips"], weight, shares, reduce)
    return pulls["lpips"] + pulls["others"] + sum(caps[name].scale * pulls[name] for name in judged), caps


def norms_of(caps: Mapping[str, Cap], by: Judgement) -> dict[str, Float[Tensor, ""]]:
    """What to log of the caps: each term's gradient norm before and after, and LPIPS's, which they are measured by."""
    norms = {}
    for name, cap in caps.items():
        norms |= {f"{name}_norm": cap.norm, f"{name}_norm_after": cap.norm_after}
        if share := by.shares[name]:
            norms["lpips_norm"] = cap.allowed / share
    return norms
