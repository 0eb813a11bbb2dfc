"""CFD against a literal re-statement of its published definition, on real networks with random weights."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from references_yoeo import cfd_by_loop, parts_by_flooding

from yoeo_core.context_deviation import by_grey, by_smooth_grey, cfd, distinct, one_too_early, ring, under
from yoeo_core.context_features import dinov2_features, sam_masks

HEIGHT, WIDTH = 72, 96


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory) -> Path:
    """A DINOv2 of two narrow layers whose tokens differ clearly."""
    from transformers import Dinov2Config, Dinov2Model

    folder = tmp_path_factory.mktemp("dinov2")
    torch.manual_seed(0)
    config = Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=224, patch_size=14, initializer_range=0.2
    )
    Dinov2Model(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def sam(tmp_path_factory) -> Path:
    """A SAM of two narrow layers that sees 64 x 64."""
    from transformers import (
        SamConfig,
        SamImageProcessor,
        SamMaskDecoderConfig,
        SamModel,
        SamPromptEncoderConfig,
        SamVisionConfig,
    )

    folder = tmp_path_factory.mktemp("sam")
    torch.manual_seed(0)
    vision = SamVisionConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=64,
        patch_size=8,
        output_channels=32,
        mlp_dim=64,
        window_size=4,
        global_attn_indexes=[1],
        num_pos_feats=16,
        initializer_range=0.5,
    )
    prompt = SamPromptEncoderConfig(hidden_size=32, image_size=64, patch_size=8, mask_input_channels=4)
    decoder = SamMaskDecoderConfig(hidden_size=32, mlp_dim=64, num_attention_heads=2, iou_head_hidden_dim=32)
    config = SamConfig(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder, initializer_range=0.5
    )
    SamModel(config).save_pretrained(folder)
    SamImageProcessor(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def picture(seed: int = 0) -> Image.Image:
    """A smooth picture of random colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.BICUBIC)


def tensor_of(image: Image.Image | np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


def box(top: int, left: int, bottom: int, right: int) -> torch.Tensor:
    plane = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    plane[top:bottom, left:right] = True
    return plane


# a hole in two parts, the first no rectangle; things inside, things that reach in, doubles and what lies elsewhere
HOLE = box(10, 12, 40, 50) | box(20, 40, 50, 56) | box(50, 70, 66, 90)
SEGMENTS = torch.stack(
    [
        box(14, 16, 28, 30),  # inside the first part, beside what reaches in from the left
        box(26, 36, 36, 48),  # inside, beside what reaches in from below
        box(14, 16, 27, 30),  # inside, but the first one again
        box(16, 18, 20, 22),  # inside, but contained in the first one
        box(12, 42, 15, 46),  # inside, with nothing beside it
        box(8, 0, 36, 14),  # reaches in from the left
        box(34, 30, 60, 44),  # reaches in from below
        box(52, 74, 60, 80),  # inside the second part
        box(48, 82, 72, 96),  # reaches into the second part
        box(0, 60, 20, 90),  # elsewhere
    ]
)


def both(
    dinov2: Path, hole: torch.Tensor, segments: torch.Tensor, published: bool, image: Image.Image
) -> tuple[float, float]:
    """CFD by the code and by its slow twin."""
    features = dinov2_features(dinov2, published=published)

    def look(small: np.ndarray) -> np.ndarray:
        return features(tensor_of(small))[0].double().numpy()

    fast = cfd(tensor_of(image), hole[None, None].float(), features, segments, published)
    slow = cfd_by_loop(image, hole.numpy(), look, [segment.numpy() for segment in segments], published)
    return fast.item(), slow


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_cfd_equals_its_literal_restatement(dinov2, published, seed):
    fast, slow = both(dinov2, HOLE, SEGMENTS, published, picture(seed))
    other, _ = both(dinov2, HOLE, SEGMENTS, not published, picture(seed))
    print(f"published {published}: {fast:.5f}, literal {slow:.5f}, the other form {other:.5f}")
    assert fast == pytest.approx(slow, abs=1e-4)
    assert abs(fast - other) > 2e-2, "the two forms must be told apart"


@pytest.mark.parametrize("published", [False, True])
def test_cfd_of_a_ragged_hole_and_ragged_segments(dinov2, published):
    blobs = np.random.default_rng(5).random((12, 6, 8))
    planes = [np.array(Image.fromarray(blob).resize((WIDTH, HEIGHT), Image.BICUBIC)) > 0.6 for blob in blobs]
    parts = [part for part in parts_by_flooding(planes[0]) if part.sum() > 40]
    hole, segments = torch.from_numpy(np.logical_or.reduce(parts)), torch.from_numpy(np.stack(planes[1:]))
    inside = torch.from_numpy(np.stack([part for plane in planes[1:] for part in parts_by_flooding(plane & planes[0])]))
    fast, slow = both(dinov2, hole, torch.cat([segments, inside]), published, picture(7))
    print(f"{len(parts)} parts, {len(segments)} and {len(inside)} segments: {fast:.5f}, literal {slow:.5f}")
    assert len(parts) > 1
    assert fast == pytest.approx(slow, abs=1e-4)


def test_things_inside_cost_something(dinov2):
    image, features = tensor_of(picture()), dinov2_features(dinov2)
    mask = HOLE[None, None].float()
    without = cfd(image, mask, features, SEGMENTS[5:7])
    assert cfd(image, mask, features, SEGMENTS) > without
    assert torch.equal(cfd(image, mask, features, torch.zeros(0, HEIGHT, WIDTH, dtype=torch.bool)), without)


def test_cfd_is_nothing_where_every_token_is_the_same():
    image, mask = tensor_of(picture()), HOLE[None, None].float()
    flat = cfd(image, mask, lambda seen: torch.ones(1, 257, 8), SEGMENTS)
    assert flat.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("hole", [torch.zeros(HEIGHT, WIDTH), torch.ones(HEIGHT, WIDTH)])
def test_a_hole_needs_surroundings(hole):
    with pytest.raises(ValueError, match="mask must hold a hole and leave surroundings, got one whose mean is"):
        cfd(tensor_of(picture()), hole[None, None], lambda seen: torch.ones(1, 257, 8), SEGMENTS)


def test_tokens_must_form_a_square():
    with pytest.raises(ValueError, match="features must give one token and then a square of them, got 261 tokens"):
        cfd(tensor_of(picture()), HOLE[None, None].float(), lambda seen: torch.ones(1, 261, 8), SEGMENTS)


@pytest.mark.parametrize(("y", "x"), [(0, 0), (71, 95), (30, 40)])
def test_a_hole_of_one_pixel_has_a_score(dinov2, y, x):
    mask = box(y, x, y + 1, x + 1)[None, None].float()
    assert cfd(tensor_of(picture()), mask, dinov2_features(dinov2), SEGMENTS).isfinite()


def test_the_ring_is_a_third_larger_on_every_side():
    assert torch.equal(ring(box(30, 40, 42, 58)), box(26, 34, 47, 65) & ~box(30, 40, 42, 58))
    assert torch.equal(ring(box(0, 0, 72, 90)), box(0, 90, 72, 96))


def test_repeated_and_contained_segments_are_dropped():
    kept = distinct(torch.cat([torch.zeros(1, HEIGHT, WIDTH, dtype=torch.bool), SEGMENTS]))
    assert len(kept) == 8
    assert kept.sum((1, 2)).tolist() == sorted(kept.sum((1, 2)).tolist(), reverse=True)
    assert not any(torch.equal(plane, dropped) for plane in kept for dropped in SEGMENTS[2:4])


@pytest.mark.parametrize(("shift", "kept"), [(2, 1), (3, 2)])
def test_segments_are_the_same_from_four_fifths_on(shift, kept):
    """Two of 20 rows, shifted: 18 shared of 22 are 0.82, 17 of 23 are 0.74; neither lies 0.9 in the other."""
    pair = torch.stack([box(10, 10, 30, 20), box(10 + shift, 10, 30 + shift, 20)])
    assert len(distinct(pair)) == kept


@pytest.mark.parametrize(("gap", "counts"), [(5, True), (6, False)])
def test_what_reaches_in_counts_from_six_pixels_on(dinov2, gap, counts):
    """The nearest pixels of two segments with a gap of 5 between them are 6 apart."""
    image, hole, features = tensor_of(picture()), box(20, 20, 50, 60)[None, None].float(), dinov2_features(dinov2)
    pair = torch.stack([box(25, 40, 40, 50), box(20, 0, 50, 40 - gap)])
    alone = cfd(image, hole, features, pair[:1])
    assert (cfd(image, hole, features, pair) > alone + 1e-3).item() == counts


def test_smooth_greys_are_pillows():
    y, x = torch.meshgrid(torch.arange(20), torch.arange(30), indexing="ij")
    disc = (y - 9).square() + (x - 14).square() < 60
    own = Image.fromarray(disc.numpy()).convert("L").resize((224, 224)).resize((16, 16), Image.NEAREST)
    greys = np.array(own).flatten().tolist()
    assert len(set(greys)) > 10
    assert by_smooth_grey(disc, 16).tolist() == [*greys, 1]


def test_which_tokens_a_mask_stands_for():
    """The middle column of patches on a grid of 16: meant, as published for the whole picture and for crops."""
    mask = torch.zeros(224, 224, dtype=torch.bool)
    mask[:, 112:126] = True
    patches = [16 * row + 8 for row in range(16)]
    assert under(mask, 16).tolist() == [1 + patch for patch in patches]
    assert one_too_early(mask, 16).tolist() == [*patches, 256]
    assert by_grey(mask, 16).unique(return_counts=True)[1].tolist() == [240, 1, 16]
    assert by_smooth_grey(mask, 16).unique().tolist() == [0, 1, 255]


def test_a_mask_between_the_sampled_pixels_still_stands_for_a_token():
    mask = torch.zeros(224, 224, dtype=torch.bool)
    mask[0, 0] = True
    assert under(mask, 16).tolist() == [1]


def test_dinov2_is_seen_as_its_own_preprocessing_shows_it(dinov2):
    """Published: 256 and then the middle 224; meant: the 224 as they are."""
    from transformers import BitImageProcessor, Dinov2Model

    image = picture().resize((224, 224), Image.BICUBIC)
    own = BitImageProcessor(
        do_resize=True,
        size={"shortest_edge": 256},
        resample=Image.BICUBIC,
        crop_size={"height": 224, "width": 224},
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    network = Dinov2Model.from_pretrained(dinov2).eval()
    with torch.no_grad():
        expected = network(own(image, return_tensors="pt")["pixel_values"]).last_hidden_state
    seen = {published: dinov2_features(dinov2, published=published)(tensor_of(image)) for published in (False, True)}
    assert seen[True].shape == (1, 257, 32)
    assert torch.allclose(seen[True], expected, atol=0.1)
    assert (seen[True] - expected).abs().mean() < 0.1 * (seen[True] - seen[False]).abs().mean()


def test_sam_finds_masks_of_the_pictures_own_size(sam):
    find: Callable = sam_masks(sam, points=6, least_iou=-1e9, least_stability=0.0)
    masks = find(tensor_of(picture()))
    assert masks.dtype == torch.bool and masks.shape[1:] == (HEIGHT, WIDTH)
    print(f"{len(masks)} masks")
    assert len(masks) > 1 and masks.flatten(1).any(1).all()


def test_sam_may_find_nothing(sam):
    assert sam_masks(sam, points=4, least_iou=1e9)(tensor_of(picture())).shape == (0, HEIGHT, WIDTH)


def test_cfd_stands_on_both_networks(dinov2, sam):
    image = tensor_of(picture())
    masks = sam_masks(sam, points=6, least_iou=-1e9, least_stability=0.0)(image)
    score = cfd(image, HOLE[None, None].float(), dinov2_features(dinov2), masks)
    assert 0 < score < 3
