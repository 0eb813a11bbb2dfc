"""Files as people bring them, read, changed in a hole, and written: nothing else of them may change."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import picture_kinds
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from picture_kinds import CONVENTIONS, KINDS, Kind

from inpainting_core.picture_files import check_target, read_mask, read_picture, write_picture

SIDES = st.one_of(st.integers(1, 40), st.integers(1, 40), st.integers(200, 400))
LONG = st.integers(1, 3000)
SIZES = st.one_of(st.tuples(SIDES, SIDES), st.tuples(st.just(1), LONG), st.tuples(LONG, st.just(1)))
CASES = {
    "kind": st.sampled_from(KINDS),
    "orientation": st.integers(1, 8),
    "size": SIZES,
    "convention": st.sampled_from(CONVENTIONS),
    "seed": st.integers(0, 2**32 - 1),
}


@settings(max_examples=500, deadline=None)
@given(**CASES)
def test_only_the_hole_changes(kind: Kind, orientation: int, size: tuple[int, int], convention: str, seed: int):
    with TemporaryDirectory() as folder:
        only_the_hole_changes(Path(folder), kind, orientation, size, convention, seed)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_of_every_kind_only_the_hole_changes(tmp_path: Path, kind: Kind):
    only_the_hole_changes(tmp_path, kind, 6, (37, 23), "white", 0)


def only_the_hole_changes(
    folder: Path, kind: Kind, orientation: int, size: tuple[int, int], convention: str, seed: int
) -> None:
    rng, orientation = np.random.default_rng(seed), orientation if kind.can_be_turned else 1
    path, result = folder / f"in{kind.suffix}", folder / f"out{kind.suffix}"
    picture_kinds.write(path, kind, picture_kinds.random_samples(kind, *size, rng), orientation, rng)
    mode, before = picture_kinds.read(path, kind, orientation)
    hole = random_hole(before.shape[:2], rng)
    drawn = convention if 0 < hole.sum() < hole.size else "white"  # black with an alpha of 1 all over is no hole
    mask = read_mask(picture_kinds.draw_mask(folder / "mask", hole, drawn))
    assert torch.equal(mask[0, 0] >= 0.5, torch.from_numpy(hole))

    picture = read_picture(path)
    fill = torch.from_numpy(rng.random((1, 3, 1, 1), dtype=np.float32))
    image = torch.where(mask >= 0.5, fill, picture.image[:, :3])
    check_target(result, picture)
    write_picture(result, image, picture, mask)

    assert [file.name for file in folder.iterdir() if file.name.startswith("out")] == [result.name]
    written, after = picture_kinds.read(result, kind)
    assert written == mode and after.dtype == before.dtype and after.shape == before.shape
    apart = np.abs(after.astype(int) - before.astype(int))[~hole]
    assert apart.max(initial=0) <= (0 if kind.lossless else 12)
    again = read_picture(result).image
    assert torch.equal(again[:, 3:], picture.image[:, 3:]) or kind.suffix == ".avif"
    if kind.mode in ("RGB", "RGBA", "P", "PA", "YCbCr", "L", "LA"):
        grey = (fill * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
        shown = again[:, :3] - (grey if kind.mode in ("L", "LA") else fill)
        near = 0.02 if kind.lossless else 0.1
        assert (shown.abs() * (mask >= 0.5)).max() < near


def random_hole(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A box anywhere in the picture, often at its edge."""
    hole = np.zeros(size, bool)
    ends = [sorted(rng.integers(0, side + 1, 2)) for side in size]
    hole[ends[0][0] : ends[0][1] + 1, ends[1][0] : ends[1][1] + 1] = True
    return hole
