"""What the detector adds in YOEO's third stage: the unpaired set, what it says of both pictures, and how it is weighed.

On D2 a hole holds whole entities and nobody knows what is behind them.  The detector does know two things: nothing
new should stand there (L_SS), and where something runs into the hole it should go on (L_EFC).
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.utils.data import Dataset

from inpainting_core.shapes import Float
from training.data.randomness import sample_generator
from training.running.distilling import Answer
from yoeo_core.balance import Cap, capped
from yoeo_core.coherence import coherence_loss
from yoeo_core.detector import Detections, SundryDetector
from yoeo_core.suppression import gradient_in_hole, sundries, sundry_area, suppression_loss

TEACHER_IOS = 0.85  # where the teacher's sundries are masked out: a little earlier than the student's are suppressed
TEACHER_AREA = 0.1  # probability above which a pixel belongs to one


class HalfUnpaired(Dataset):
    """Samples of D1 and D2, half and half by batch: all samples of a global batch come from one of them.

    Items are those of the set, and ``unpaired``, whether that was D2; sample ``i`` is a pure function of (seed, i).
    ``share`` is how many batches are D2.
    """

    def __init__(self, paired: Dataset, unpaired: Dataset, batch: int, seed: int, share: float = 0.5):
        self.sets, self.batch, self.seed, self.share = (paired, unpaired), batch, seed, share

    def __len__(self) -> int:
        return len(self.sets[0])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        coin = torch.rand((), generator=sample_generator(self.seed, index // self.batch)) < self.share
        return self.sets[int(coin)][index] | {"unpaired": coin}


@torch.no_grad()
def teachers_own(found: Detections, hole: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
    """1 where the teacher drew something new into the hole, which its student should not learn."""
    return sundry_area(found, sundries(found, hole, TEACHER_IOS), hole.shape[-2:], TEACHER_AREA).float()


def judged_terms(
    detector: SundryDetector, answer: Answer, hole: Float[Tensor, "b 1 h w"], teacher: Detections, unpaired: bool
) -> dict[str, Float[Tensor, ""]]:
    """L_SS in its two terms on D2, L_EFC on both sets; only the fill is pushed.

    On D1 the truth is the teacher's business: there its entities count, ``teacher`` being what is found in its picture.
    """
    found = detector(gradient_in_hole(answer.picture, hole))
    if not unpaired:
        return {"efc": coherence_loss(found, hole, teacher=teacher).mean()}
    ss = suppression_loss(found, hole)
    terms = {"ss_probability": ss.probability.mean(), "ss_mask": ss.mask.mean()}
    return terms | {"efc": coherence_loss(found, hole).mean()}


def pull_of(
    distilled: Mapping[str, Tensor],
    judged: Mapping[str, Tensor],
    latent: Float[Tensor, "b 4 h w"],
    weight: Tensor,
    reduce: Callable[[Tensor], Tensor],
) -> tuple[Float[Tensor, ""], dict[str, Cap]]:
    """One scalar with the gradient of all terms together, those of the detector capped; and their caps.

    Every term reaches the student through its latent alone.  So each walks back that far by itself, and what is left
    of the way is linear in these gradients: the norms at ``weight`` and the step itself need nothing beyond.
    LPIPS is what the others are measured by.  ``reduce`` averages over the processes.
    """
    lpips, *others = distilled.values()
    names = ("lpips", "others", *judged)
    losses = (lpips, sum(others), *judged.values())
    pulls = {
        name: (latent * torch.autograd.grad(loss, latent, retain_graph=True)[0]).sum()
        for name, loss in zip(names, losses, strict=True)
    }
    caps = capped({name: pulls[name] for name in judged}, pulls["lpips"], weight, reduce=reduce)
    return pulls["lpips"] + pulls["others"] + sum(caps[name].scale * pulls[name] for name in judged), caps
