"""What a person is told of an erasure: success first, plain numbers, and what looks like a mistake."""

import pytest
import torch

from inpainting_core.crop import Crop
from inpainting_core.erasing import Erased
from inpainting_core.telling import sentence, shadow_found

SQUARE, WIDE = Crop(0, 0, 300, 300, 192, 192), Crop(0, 0, 64, 256, 64, 256)


def erased(*crops: Crop, **known) -> Erased:
    pictures = known.pop("pictures", 1)
    several = known.pop("candidates", 1)
    facts = {
        "tries": (1,) * len(crops),
        "left": (0.0,) * len(crops),
        "objects": len(crops),
        "highest": 1.0,
        "share": 0.1,
    }
    image = torch.zeros(pictures, 3, 8, 8)
    return Erased(image, image[:, :1], crops, image.repeat_interleave(several, 0), **(facts | known))


@pytest.mark.parametrize(
    ("what", "judged", "said"),
    [
        (erased(SQUARE), False, "Erased 1 object: 192 x 192, 2 steps, 1.5 s."),
        (erased(SQUARE), True, "Erased 1 object: 192 x 192, 2 steps, 1.5 s. Clean."),
        (erased(SQUARE, WIDE), False, "Erased 2 objects: 192 x 192, 256 x 64, 2 steps, 1.5 s."),
        (erased(WIDE, WIDE, objects=1), False, "Erased 1 object in 2 crops: 256 x 64, 2 steps, 1.5 s."),
        (erased(SQUARE, objects=3), False, "Erased 3 objects in 1 crop: 192 x 192, 2 steps, 1.5 s."),
        (erased(SQUARE, SQUARE, pictures=2), False, "Erased 2 objects in 2 pictures: 192 x 192, 2 steps, 1.5 s."),
        (erased(SQUARE, candidates=4), False, "Erased 1 object: 192 x 192, 2 steps, best of 4, 1.5 s."),
        (erased(SQUARE, tries=(3,)), True, "Erased 1 object: 192 x 192, 2 steps, 1.5 s. Clean after 3 tries."),
        (
            erased(SQUARE, SQUARE, left=(0.0, 0.34), tries=(1, 4)),
            True,
            "Erased 2 objects: 192 x 192, 2 steps, 1.5 s. Not clean after 4 tries: something is left in 1 of 2 crops "
            "and covers up to 34% of its hole.",
        ),
        (
            erased(SQUARE, left=(0.0041,)),
            True,
            "Erased 1 object: 192 x 192, 2 steps, 1.5 s. Not clean: something is left in 1 of 1 crop "
            "and covers up to 0.4% of its hole.",
        ),
        (
            erased(SQUARE, share=0.9),
            False,
            "Erased 1 object: 192 x 192, 2 steps, 1.5 s. The hole is 90% of the picture: is the mask inverted?",
        ),
        (erased(highest=0.0), True, "The mask is empty: nothing to erase, the picture is unchanged."),
        (
            erased(highest=0.43),
            False,
            "No part of the mask reaches 1/2 (its highest is 0.43): nothing to erase, the picture is unchanged.",
        ),
    ],
)
def test_what_was_done_is_said_in_plain_words(what: Erased, judged: bool, said: str):
    assert sentence(what, 2, 1.5, judged) == said


def test_a_little_is_not_said_to_be_nothing():
    assert shadow_found(0.0) == "No shadow was found: the mask is unchanged."
    for share, said in ((1e-6, "0.1%"), (0.004, "0.4%"), (0.02, "2%"), (3.2, "320%")):
        assert shadow_found(share) == f"A shadow of {said} of the mask's area was found and added."
