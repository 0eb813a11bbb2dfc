"""What a person is told of an erasure: what was done, what is left, and what looks like a mistake."""

from inpainting_core.erasing import Erased

MOSTLY_HOLE = 0.6  # of the picture: a mask that covers more is inverted more often than meant


def sentence(erased: Erased, steps: int, seconds: float, judged: bool) -> str:
    """What became of a picture, or of a batch of them, in words; ``judged`` where a detector looked at the fills."""
    if not erased.crops:
        return f"{without_hole(erased.highest)}: nothing to erase, the picture is unchanged."
    said = [f"Erased {what(erased)}: {how(erased, steps)}, {seconds:.1f} s."]
    if judged:
        said.append(what_is_left(erased))
    if erased.share > MOSTLY_HOLE:
        said.append(f"The hole is {erased.share:.0%} of the picture: is the mask inverted?")
    return " ".join(said)


def what(erased: Erased) -> str:
    """The objects, the pictures where there are several, and the crops where those are not one for each object."""
    text = counted(erased.objects, "object")
    if len(erased.image) > 1:
        text += f" in {len(erased.image)} pictures"
    return text if len(erased.crops) == erased.objects else f"{text} in {counted(len(erased.crops), 'crop')}"


def how(erased: Erased, steps: int) -> str:
    """At which sizes, in how many steps, and of how many candidates."""
    sizes = sorted({f"{crop.work_width} x {crop.work_height}" for crop in erased.crops})
    several = len(erased.candidates) // len(erased.image)
    drawn = [f"best of {several}"] if several > 1 else []
    return ", ".join([*sizes, counted(steps, "step"), *drawn])


def without_hole(highest: float) -> str:
    """Why a mask has no hole, from its highest value."""
    if highest == 0:
        return "The mask is empty"
    return f"No part of the mask reaches 1/2 (its highest is {highest:.2f})"


def shadow_found(share: float) -> str:
    """What was found around an object; ``share`` is the shadow's area as a part of the mask's."""
    if share == 0:
        return "No shadow was found: the mask is unchanged."
    return f"A shadow of {percent(share)} of the mask's area was found and added."


def what_is_left(erased: Erased) -> str:
    """What the detector says of the fills, after how many tries."""
    tries = max(erased.tries)
    after = f" after {tries} tries" if tries > 1 else ""
    bad = [left for left in erased.left if left > 0]
    if not bad:
        return f"Clean{after}."
    where = f"{len(bad)} of {counted(len(erased.crops), 'crop')}"
    return f"Not clean{after}: something is left in {where} and covers up to {percent(max(bad))} of its hole."


def percent(share: float) -> str:
    """A share that is more than 0, which a little of it is not said to be."""
    return f"{share:.0%}" if share >= 0.01 else f"{max(share, 0.001):.1%}"


def counted(number: int, noun: str) -> str:
    """A number and its noun, in the plural where it is not one."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
