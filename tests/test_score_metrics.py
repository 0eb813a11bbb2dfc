"""Every metric against a second implementation, or a case whose value is known."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from references_scores import cmmd_by_loop, kid_by_loop, rc_s_by_loop, with_moments
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from tiny_segmenters import save_sam

from evaluation import context, distances, fidelity, likeness, perceptual, sundries
from evaluation.regional_coherence import rc_s, square_around
from evaluation.scene import Given
from evaluation.scorer import Absent
from evaluation.statistics import difference, mean_of
from inpainting_core.shapes import Float
from yoeo_core.context_features import dinov2_features


def picture(seed: int, height: int = 60, width: int = 84) -> Float[torch.Tensor, "1 3 h w"]:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def box_mask(height: int = 60, width: int = 84) -> torch.Tensor:
    mask = torch.zeros(1, 1, height, width)
    mask[..., 20:38, 30:52] = 1
    return mask


@pytest.fixture(scope="module")
def scene():
    truth = picture(0)
    return Given(picture(1), box_mask(), truth, None).scene_of((truth + 0.1 * picture(2)).clamp(0, 1))


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory) -> Path:
    from transformers import Dinov2Config, Dinov2Model

    folder = tmp_path_factory.mktemp("dinov2")
    torch.manual_seed(0)
    widths = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    Dinov2Model(Dinov2Config(**widths, image_size=224, patch_size=14, initializer_range=0.3)).save_pretrained(folder)
    return folder


def as_array(image: torch.Tensor) -> np.ndarray:
    return image[0].permute(1, 2, 0).double().numpy()


def test_psnr_and_ssim_are_scikit_images(scene):
    found, pair = fidelity.measure(scene), [as_array(scene.truth), as_array(scene.result)]
    settings = {"data_range": 1, "channel_axis": 2, "gaussian_weights": True, "sigma": 1.5}
    mean, full = structural_similarity(*pair, use_sample_covariance=False, full=True, **settings)
    assert found["psnr"] == pytest.approx(peak_signal_noise_ratio(*pair, data_range=1), abs=1e-4)
    assert found["ssim"] == pytest.approx(mean, abs=1e-4)
    assert found["ssim_hole"] == pytest.approx(full[20:38, 30:52].mean(), abs=1e-4)
    hole = [part[20:38, 30:52] for part in pair]
    assert found["psnr_hole"] == pytest.approx(peak_signal_noise_ratio(*hole, data_range=1), abs=1e-4)


def test_the_three_regions_are_each_other_and_the_effect_belongs_to_the_hole():
    truth, effect = picture(0), torch.zeros(1, 1, 60, 84)
    effect[..., 38:44, 30:52] = 1
    result = truth.clone()
    result[..., 38:44, 30:52] += 0.1  # the shadow's place
    for with_effect, hole, outside in ((None, 100, 26.6), (effect, 26.0, 100)):
        found = fidelity.measure(Given(picture(1), box_mask(), truth, with_effect).scene_of(result))
        assert (found["psnr_hole"] == 100) == (hole == 100) and (found["psnr_outside"] == 100) == (outside == 100)


def test_a_picture_smaller_than_ssims_window_has_none():
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., 2:4, 2:4] = 1
    found = fidelity.measure(Given(picture(0, 8, 8), mask, picture(1, 8, 8), None).scene_of(picture(2, 8, 8)))
    assert math.isnan(found["ssim"]) and found["psnr"] > 0


def test_stlpips_is_its_packages_number_under_its_own_name(scene):
    from stlpips_pytorch.stlpips import LPIPS

    scorer = perceptual.stlpips("cpu")
    assert list(scorer.columns) == ["stlpips", "stlpips_hole"] and scorer.needs_truth
    assert scorer.made_by["network"].startswith("ST-LPIPS") and len(scorer.made_by["weights"]) == 16
    crops = [x[..., 16:42, 25:57] for x in (scene.result, scene.truth)]
    sized = [torch.nn.functional.interpolate(x, (256, 256), mode="bilinear", antialias=True) for x in crops]
    network = LPIPS(net="alex", variant="shift_tolerant", verbose=False).eval()
    whole = [
        torch.nn.functional.interpolate(x, (512, 512), mode="bilinear", antialias=True)
        for x in (scene.result, scene.truth)
    ]
    found = scorer.measure(scene)
    with torch.no_grad():
        for column, pair in (("stlpips", whole), ("stlpips_hole", sized)):
            assert found[column] == pytest.approx(float(network(*[2 * x - 1 for x in pair])), abs=1e-6)


def test_lpips_without_its_trunk_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(Absent, match="alexnet-owt-7be5be79.pth. Get it: curl"):
        perceptual.lpips("cpu")


@pytest.mark.full
def test_the_published_networks_are_read_where_torch_keeps_them(scene, tmp_path, monkeypatch):
    """Full-size networks with random weights, in the files that their authors publish."""
    from pytorch_fid import inception as of_pytorch_fid
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity as by_torchmetrics
    from torchvision.models import Inception3, alexnet, inception_v3

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub/checkpoints"
    folder.mkdir(parents=True)
    torch.save(alexnet(weights=None).state_dict(), folder / perceptual.TRUNKS["alex"])
    torch.save(inception_v3(weights=None, init_weights=False).state_dict(), folder / likeness.TORCHVISION)
    with monkeypatch.context() as patch:  # pytorch-fid builds its network only together with its download
        patch.setattr(of_pytorch_fid, "load_state_dict_from_url", lambda url, progress: None)
        patch.setattr(Inception3, "load_state_dict", lambda self, state: None)
        torch.save(of_pytorch_fid.fid_inception_v3().state_dict(), folder / likeness.PYTORCH_FID)
    found = perceptual.lpips("cpu").measure(scene)
    whole = [perceptual.square(x, 512) for x in (scene.result, scene.truth)]
    assert found["lpips"] == pytest.approx(float(by_torchmetrics(*whole, normalize=True)), rel=1e-4)
    assert found["lpips_hole"] > 0
    for comparison in [*likeness.inception("cpu"), *likeness.inception_of_torchvision("cpu")]:
        assert comparison.features(scene).shape == (2048,)


@pytest.mark.parametrize("box", [(30, 60, 40, 80), (0, 20, 10, 40), (5, 130, 70, 160)])
def test_rc_s_is_a_literal_restatements(dinov2: Path, box):
    image, mask = picture(3, 120, 160), torch.zeros(1, 1, 120, 160)
    top, left, bottom, right = box
    mask[..., top:bottom, left:right] = 1
    features = dinov2_features(dinov2)
    found = rc_s(image, mask, features)
    if (right - left) != (bottom - top) or top == 0 or right == 160:
        y, x, y2, x2 = square_around(box, (120, 160))
        assert 0 <= y < y2 <= 120 and 0 <= x < x2 <= 160 and y2 - y == x2 - x and 0 < found <= 1
    if top > 0 and right < 160:
        assert found == pytest.approx(rc_s_by_loop(image, mask, features), abs=1e-6)


def test_rc_s_of_a_hole_like_its_surroundings_is_higher_than_of_a_flat_one(dinov2: Path):
    image, mask = picture(3, 120, 160), torch.zeros(1, 1, 120, 160)
    mask[..., 40:80, 60:110] = 1
    features = dinov2_features(dinov2)
    assert rc_s(image, mask, features) > rc_s(image.where(mask == 0, 0.5), mask, features) > 0


def test_remove_is_the_cosine_of_two_means_over_whole_cells():
    def embed(crop):
        assert crop.shape[-1] == crop.shape[-2] == 22 + 32
        cells = torch.nn.functional.adaptive_avg_pool2d(crop, 27)
        return torch.cat([cells, cells.square()], 1)

    image, mask = picture(4), box_mask()
    found = context.remove(image, mask, embed)
    square = image[..., 4:58, 14:68]
    features, inside = embed(square)[0].numpy(), np.zeros((27, 27), bool)
    hole = torch.nn.functional.interpolate(mask[..., 4:58, 14:68], (27, 27), mode="bicubic", antialias=True)
    inside[hole[0, 0].numpy() > 1 - 1 / 512] = True
    one, other = (features[:, cells].mean(1) for cells in (inside, ~inside))
    assert found == pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other), abs=1e-6)
    thin = torch.zeros_like(mask)
    thin[..., 30, 20:60] = 1
    assert math.isnan(context.remove(image, thin, lambda crop: torch.rand(1, 4, 8, 8)))


def test_remove_and_cfd_run_on_real_networks(scene, dinov2: Path, tmp_path):
    sam = save_sam(tmp_path / "sam")
    found = context.remove_score(sam, "cpu")
    assert -1 <= found.measure(scene)["remove"] <= 1
    deviation = context.context_deviation(dinov2, sam, "cpu")
    assert deviation.measure(scene)["cfd"] >= 0 and len(deviation.made_by["weights"]) == 34
    assert all("blur" in scorer.columns[scorer.name].says for scorer in (found, deviation))


def test_msn_and_mars_count_what_the_detector_finds(scene):
    scorer = sundries.sundries("nano", "cpu")
    assert set(scorer.measure(scene)) == {"msn", "mars"} and scorer.made_by["inside"] == 0.95
    with pytest.raises(Absent, match="--detector nano"):
        sundries.sundries(None, "cpu")


def test_frechet_of_gaussians_is_the_closed_form():
    means, spreads = (np.array([0.0, 1, -2]), np.array([1.0, 1.5, 0])), (np.array([1.0, 2, 3]), np.array([2.0, 2, 0.5]))
    one, other = (with_moments(50, *moments, seed=i) for i, moments in enumerate(zip(means, spreads, strict=True)))
    expected = ((means[0] - means[1]) ** 2).sum() + ((spreads[0] - spreads[1]) ** 2).sum()
    batches = [[part.astype(np.float32) for part in np.array_split(x, 4)] for x in (one, other)]
    assert distances.frechet(*batches) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(Absent):
        distances.frechet([one[:1]], [other[:1]])


def test_kid_and_cmmd_are_sums_over_pairs():
    rng = np.random.default_rng(0)
    one, other = (rng.normal(size=(12, 5)).astype(np.float32) + i for i in range(2))
    batches = ([one[:7], one[7:]], [other[:7], other[7:]])
    assert distances.kernel(*batches) == pytest.approx(kid_by_loop(one, other), rel=1e-5)
    assert distances.kernel(*batches) == distances.kernel(*batches)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (one, other)]
    expected = cmmd_by_loop(*(x.astype(np.float64) for x in unit))
    assert distances.cmmd(*([x[:5], x[5:]] for x in unit)) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(Absent, match="take FID"):
        distances.kernel([np.zeros((2001, 1), np.float32)], [np.zeros((2001, 1), np.float32)])


def test_features_are_of_the_whole_picture_and_of_the_masks_box(scene):
    seen = []

    def network(image):
        seen.append(image)
        return image.mean((2, 3))

    whole, box = likeness.comparisons("", network, {})
    assert np.allclose(whole.features(scene), scene.result.mean((2, 3))[0])
    assert box.features(scene).shape == (3,) and seen[1].shape == (1, 3, 512, 512)
    assert torch.allclose(seen[1].mean((2, 3)), scene.result[..., 20:38, 30:52].mean((2, 3)), atol=0.01)
    assert list(whole.columns) == ["fid", "kid"] and list(box.columns) == ["local_fid", "local_kid"]


def test_a_mean_has_an_interval_that_holds_it_as_often_as_it_says():
    rng = np.random.default_rng(1)
    found = [mean_of(rng.normal(size=40)) for _ in range(60)]
    assert sum(one["low"] <= 0 <= one["high"] for one in found) >= 50
    assert mean_of([]) == {"n": 0} and mean_of([math.nan, 2.0]) == {"mean": 2.0, "low": 2.0, "high": 2.0, "n": 1}


def test_differences_are_over_the_pictures_that_both_have():
    found = difference({"a": 3.0, "b": 1.0, "c": math.nan}, {"a": 1.0, "b": 2.0, "c": 0.0, "d": 9.0})
    assert (found["mean"], found["n"], found["above"], found["below"]) == (0.5, 2, 1, 1)
