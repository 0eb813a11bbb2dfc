"""The measures of both ablations, on pictures whose answer is known."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.linalg import sqrtm

from benchmarks import suppression_sensitivity, yoeo_ablation
from benchmarks.blur import detail
from benchmarks.pasted_objects import CutoutScenes, box_crops, frechet_distance, score
from benchmarks.wrong_masks import MASKS, outlines, scores_of
from eradiff_core.synthesis import Ranges
from inpainting_core.built_in import ASSETS
from training import train_yoeo_stage3
from training.data.pairs import Pairs
from training.data.sets import all_of
from training.held_out.pairs import object_left
from training.networks.bases import load_networks
from training.networks.perceptual import perceptual_net
from training.running.judging import judgement_of


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> dict[str, torch.Tensor]:
    """Four pairs of photographs with real cut-outs' shapes: a red disc, standing once and pasted again."""
    photos, cutouts = (tmp_path_factory.mktemp(name) for name in ("photos", "cutouts"))
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    coarse.resize((120, 100), Image.Resampling.BICUBIC).save(photos / "a.png")
    disc = np.zeros((40, 40, 4), np.uint8)
    disc[..., 0] = 255
    disc[..., 3] = 255 * (np.hypot(*(np.indices((40, 40)) - 19.5)) < 19)
    Image.fromarray(disc).save(cutouts / "disc.png")
    return all_of(Pairs(CutoutScenes(photos, 64, cutouts), 4, seed=0, ranges=Ranges()))


def test_the_frechet_distance_is_the_published_one():
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(500, 6, generator=generator), 2 * torch.randn(400, 6, generator=generator) + 1
    covariances = [np.cov(x.double().numpy(), rowvar=False) for x in (one, other)]
    apart = (one.double().mean(0) - other.double().mean(0)).square().sum()
    published = float(apart) + np.trace(sum(covariances) - 2 * sqrtm(covariances[0] @ covariances[1]).real)
    assert frechet_distance(one, other) == pytest.approx(published, rel=1e-9)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


def test_the_object_is_wholly_there_half_there_or_gone(pictures):
    original, with_object = pictures["original"], pictures["with_object"]
    assert torch.allclose(object_left(with_object, original, with_object), torch.ones(4))
    assert torch.allclose(object_left((original + with_object) / 2, original, with_object), torch.full((4,), 0.5))
    assert object_left(original, original, with_object).abs().max() == 0


def test_the_truth_scores_best_and_the_untouched_picture_worst(pictures):
    distance = perceptual_net("stlpips_alex")
    truth = score(pictures["original"] * 0.999, pictures, distance)
    untouched = score(pictures["with_object"], pictures, distance)
    assert (truth["erased"], untouched["erased"]) == (1.0, 0.0)
    assert truth["psnr"] > untouched["psnr"] + 20
    assert truth["lpips"] < 0.01 < untouched["lpips"]
    assert truth["local_fd_x1000"] < untouched["local_fd_x1000"]


def test_crops_show_the_hole_and_a_quarter_more():
    image, mask = torch.zeros(1, 3, 100, 100), torch.zeros(1, 1, 100, 100)
    mask[..., 40:60, 30:50] = 1
    crop = box_crops(mask.expand(1, 3, 100, 100), mask)
    assert float(crop.mean()) == pytest.approx((20 / 25) ** 2, abs=0.06)
    assert box_crops(image, mask).shape == (1, 3, 96, 96)


def test_yoeos_scores_know_the_truth_and_see_what_stands_in_the_hole(tmp_path):
    with Image.open(ASSETS / "pictures" / "wren.jpg") as photo:
        photo.save(tmp_path / "wren.png")
    folder = str(tmp_path)
    args = yoeo_ablation.parse_args(["--images", folder, "--validation", folder, "--out", folder, "--pictures", "2"])
    bench = yoeo_ablation.Bench(args, load_networks(args.teacher, vae=None))
    truth = bench.score(lambda encoded, generator: encoded["latent"], seed=0)
    grey = bench.score(lambda encoded, generator: torch.zeros_like(encoded["latent"]), seed=0)
    assert truth["psnr"] > grey["psnr"] + 5 and truth["lpips"] < grey["lpips"]
    assert truth["local_fd_x1000"] < grey["local_fd_x1000"]
    assert truth["msn"] > 0 and truth["mars"] > 0  # the unpaired set's holes are where things stand


@pytest.mark.parametrize("name", ["right", "thing less 2 px", "shifted 12 px", "6 px too large", "with holes", "a box"])
def test_what_a_wrong_mask_leaves_is_told_from_what_is_drawn_back(pictures, name):
    """A perfect fill of a wrong mask leaves what the mask left out, and nothing of what it covered."""
    masked, distance = MASKS[name](pictures["mask"], outlines(pictures)), perceptual_net("stlpips_alex")
    perfect = pictures["with_object"] * (1 - masked) + pictures["original"] * masked
    done, undone = (scores_of(result, pictures, masked, distance) for result in (perfect, pictures["with_object"]))
    assert done["left_inside"] == pytest.approx(0, abs=1e-6) and undone["left_inside"] == pytest.approx(1)
    assert undone["object_left"] == pytest.approx(1)
    missed = name in ("thing less 2 px", "shifted 12 px", "with holes")
    assert (done["object_left"] > 0.05) is missed, done["object_left"]
    assert done["psnr_inside"] > 90 > undone["psnr_inside"]


def test_a_smoothed_fill_has_less_detail_than_its_surroundings():
    image, hole = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0)), torch.zeros(2, 1, 48, 48)
    hole[..., 12:36, 12:36] = 1
    smooth = torch.nn.functional.avg_pool2d(image, 5, 1, 2)
    assert detail(image, hole).tolist() == pytest.approx([1, 1], abs=0.1)
    assert detail(image * (1 - hole) + smooth * hole, hole).max() < 0.2


def test_each_row_of_a_table_is_flags_that_the_third_stage_takes():
    needed = "--teacher t --student s --detector d --images i --out o"
    for name, own in (yoeo_ablation.ROWS | suppression_sensitivity.ROWS).items():
        by = judgement_of(train_yoeo_stage3.parse_args(f"{needed} {own}".split()))
        assert by.teacher_ios < by.ios, name
    assert len({*yoeo_ablation.ROWS, *suppression_sensitivity.ROWS}) == 11, "a name is a run's folder"
