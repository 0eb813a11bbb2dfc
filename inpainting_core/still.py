"""Copy the frames of a still camera from the same places, so that what is copied does not flicker.

Many places fit a patch about equally well, and the noise of a compressed video decides between them anew in each frame.
So a frame that looks around its hole like one before is copied from where that one was.  The copies are the frame's own
pixels, so that a change of light goes into the fill, or the one before's where somebody now walks.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from inpainting_core.choosing import Copies
from inpainting_core.exemplar import copied_from, find_places
from inpainting_core.masks import dilate
from inpainting_core.patches import SIDE
from inpainting_core.patchwork import Places
from inpainting_core.shapes import Bool, Float
from inpainting_core.texture import averaged

ALIKE = 0.06  # 15 levels of 255, a mean over a patch: noise of compression stays below, a passer-by does not
NEAR_PX = 16  # around the hole: what the search goes by most
KEPT = 4  # frames before that are compared, for each crop


@dataclass(eq=False)
class Frame:
    """A frame that was searched, how far its generator had gone then, and how many frames were copied as it was."""

    view: Float[Tensor, "1 3 h w"]
    hole: Float[Tensor, "1 1 h w"]
    places: Places | None
    chances: Tensor
    uses: int = 0


class StillCompletion:
    """``complete``, one frame after another; it holds a few frames for each state of a generator that it was given.

    Each picture of a batch takes the generator through the same states, one for each crop and try.
    """

    def __init__(self) -> None:
        self.frames: dict[bytes, list[Frame]] = {}

    def __call__(
        self, view: Float[Tensor, "1 3 h w"], hole: Float[Tensor, "1 1 h w"], generator: torch.Generator
    ) -> Copies:
        """The picture with its hole filled by copies; shapes and ranges as in ``complete``."""
        before = self.frames.setdefault(generator.get_state().numpy().tobytes(), [])
        frame = next((one for one in before if looks_like(one, view, hole)), None)
        if frame is None:
            places = find_places(view, hole, generator)
            frame = Frame(view.clone(), hole, places, generator.get_state())
        else:
            before.remove(frame)
        if len(before) == KEPT:
            before.remove(min(before, key=lambda one: one.uses))
        before.insert(0, frame)  # the last that was used is asked first, lest frames go back and forth between two
        frame.uses += 1
        generator.set_state(frame.chances)
        copies = copied_from(frame.places, torch.where(differs(frame.view, view), frame.view, view), hole)
        return copies._replace(pictures=torch.where(hole > 0, copies.pictures, view))


def looks_like(frame: Frame, view: Float[Tensor, "1 3 h w"], hole: Float[Tensor, "1 1 h w"]) -> bool:
    """Whether the hole is the same and nothing around it has changed."""
    if hole.shape != frame.hole.shape or not torch.equal(hole, frame.hole):
        return False
    return not bool((differs(frame.view * (1 - hole), view * (1 - hole)) * dilate(hole, NEAR_PX)).any())


def differs(one: Float[Tensor, "1 3 h w"], other: Float[Tensor, "1 3 h w"]) -> Bool[Tensor, "1 1 h w"]:
    """Where more than noise has changed."""
    difference = (one - other).abs().mean(1, keepdim=True).float()
    return averaged(difference, SIDE // 2) > ALIKE
