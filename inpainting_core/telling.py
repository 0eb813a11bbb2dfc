"""What a person is told of an erasure: what was done, what is left, and what looks like a mistake."""

from inpainting_core.erasing import Erased

MOSTLY_HOLE = 0.6  # of the picture: a mask that covers more is inverted more often than meant


def sentence(erased: Erased, steps: int, seconds: float, judged: bool) -> str:
    """What became of a picture, or of a batch of them, in words; ``judged`` where a detector looked at the fills."""
    if not erased.crops:
        return f"{without_hole(erased.highest)}: nothing to erase, the picture is unchanged."
    sizes = sorted({f"{crop.work_width} x {crop.work_height}" for crop in erased.crops})
    several = len(erased.candidates) // len(erased.image)
    drawn = f", best of {several}" if several > 1 else ""
    work = f"{counted(len(erased.crops), 'crop')} at {', '.join(sizes)}, {counted(steps, 'step')} each{drawn}"
    said = [f"{work}, {seconds:.1f} s."]
    if judged:
        said.append(what_is_left(erased))
    if erased.share > MOSTLY_HOLE:
        said.append(f"The hole is {erased.share:.0%} of the picture: is the mask inverted?")
    return " ".join(said)


def without_hole(highest: float) -> str:
    """Why a mask has no hole, from its highest value."""
    return f"No part of the mask reaches 1/2 (its highest is {highest:.2f})" if highest > 0 else "The mask is empty"


def what_is_left(erased: Erased) -> str:
    """What the detector says of the crops, after how many draws."""
    bad = [left for left in erased.left if left > 0]
    verdict = f"{len(bad)} with something in {max(bad):.0%} of the hole" if bad else "all clean"
    return f"Sundry Check: {verdict}, after {counted(max(erased.tries), 'draw')}."


def counted(number: int, noun: str) -> str:
    """A number and its noun, in the plural where it is not one."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
