"""Shadows in the erasers' training data: seen around the hole, and gone from the truth; and EraDiff's poor masks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import TINY, tiny_checkpoint, tiny_config

from benchmarks import poor_masks
from benchmarks.wrong_masks import MASKS
from eradiff_core.synthesis import Ranges, cut_out, synthesise
from inpainting_core.engine import load_vae
from inpainting_core.latents import masked_picture
from training import train_eradiff, train_yoeo_stage1, train_yoeo_stage2, train_yoeo_stage3
from training.data.composites import Composites
from training.data.effects import VISIBLE, Effects, casting, visible_change
from training.data.encoding import Encoder
from training.data.holes import HOLES, dilate
from training.data.pairs import DrawnScenes, Pairs
from training.data.recipe import PUBLISHED, recipe_of
from training.data.shown import Shown

GREY = 120
SIZE = 64
SHADE = Effects(
    standing=False, contact=0.5, reach=0.4, lamp=(0, 0, 0), towards=(0.5, 0.0), penumbra=0.02, mirror=0, bleeding=0
)
ONE = Ranges(copies=(1, 1), grow_px=(0, 0))
SCRIPTS = {
    train_eradiff: ["--base", "b"],
    train_yoeo_stage1: ["--base", "b"],
    train_yoeo_stage2: ["--teacher", "t"],
    train_yoeo_stage3: ["--teacher", "t", "--student", "s", "--detector", "d"],
}


def darken(picture: torch.Tensor, copy: torch.Tensor) -> torch.Tensor:
    """A shadow of half the light in the 6 columns to the right of a copy."""
    columns = copy[3].amax(0).nonzero()[:, 0]
    shadow = torch.zeros_like(copy[3:])
    shadow[:, :, int(columns[-1]) - 3 : int(columns[-1]) + 7] = 1
    return torch.where(shadow > 0, 0.5 * picture, picture)


def pasted(seed: int, cast=None, **ranges):
    image, alpha = torch.full((3, SIZE, SIZE), 0.5), torch.zeros(1, SIZE, SIZE)
    thing = cut_out(torch.tensor([1.0, 0, 0])[:, None, None].expand(3, 8, 8), torch.ones(1, 8, 8))
    return synthesise(image, alpha, thing, torch.Generator().manual_seed(seed), Ranges(**ranges), cast)


@pytest.mark.parametrize("seed", range(4))
def test_a_copy_lies_over_its_shadow_and_the_truth_has_neither(seed: int):
    pair, bare = pasted(seed, darken, copies=(1, 1)), pasted(seed, copies=(1, 1))
    copy = (bare.with_object != 0.5).any(0)
    assert torch.equal(pair.original, torch.full((3, SIZE, SIZE), 0.5)) and torch.equal(pair.mask, bare.mask)
    effect = pair.effect[0] > 0
    assert effect.any() and not (effect & copy).any() and not bare.effect.any()
    assert (pair.with_object[:, effect] == 0.25).all(), "half of the light is left"
    assert (pair.with_object[:, ~effect & ~copy] == 0.5).all(), "nothing else differs by a bit"
    solid = (bare.with_object[1] == 0) & copy
    assert torch.equal(pair.with_object[:, solid], bare.with_object[:, solid]), "the copy itself is in the light"


def test_what_cannot_be_seen_is_left_away_without_an_edge():
    ground, alpha = np.full((80, 80, 3), 0.5, dtype=np.float32), np.zeros((80, 80), dtype=np.float32)
    alpha[30:50, 20:40] = 1
    change = visible_change(ground, ground, alpha, SHADE)
    assert change.dtype == np.float32 and change.min() < -0.1
    outside = change[40, 40:, 0]
    assert (outside == 0).sum() > 10 and np.abs(np.diff(outside)).max() < VISIBLE, "it fades to nothing"
    faint = replace(SHADE, contact=0.01)
    assert not visible_change(ground, ground, alpha, faint).any(), f"less than {VISIBLE:.3f} everywhere"
    assert not visible_change(ground, ground, 0.4 * alpha, SHADE).any(), "there is no object"


def test_a_shadow_falls_where_the_copy_stands():
    copy = torch.zeros(4, 80, 80)
    copy[3, 30:50, 20:40], copy[0, 30:50, 20:40] = 1, 0.8
    changed = set()
    for seed in range(6):
        shaded = casting(np.random.default_rng(seed))(torch.full((3, 80, 80), 0.5), copy)
        assert 0 <= shaded.min() and shaded.max() <= 1 and shaded.dtype == torch.float32
        changed.add(bool((shaded != 0.5).any()))
    assert True in changed


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """A folder of one flat grey picture: whatever differs from it was added."""
    folder = tmp_path_factory.mktemp("ground")
    Image.new("RGB", (90, 80), (GREY, GREY, GREY)).save(folder / "a.png")
    return folder


def pairs(folder, count: int = 24, **changes) -> list[dict]:
    samples = Pairs(DrawnScenes(folder, SIZE, 0, replace(PUBLISHED, **changes)), count, 0, ONE)
    return [samples[index] for index in range(count)]


def test_the_mask_is_the_objects_or_holds_its_effects_too(ground):
    kinds = {"the object's": 0, "with its effects": 0}
    for plain, sample in zip(pairs(ground), pairs(ground, effects=1.0), strict=True):
        assert torch.equal(sample["original"], plain["original"]), "the truth is the same picture"
        assert (sample["mask"] >= plain["mask"]).all()
        beyond = (sample["with_object"] != sample["original"]).any(0, keepdim=True) & (plain["mask"] == 0)
        if beyond.any():
            covered = sample["mask"][beyond] > 0
            assert covered.all() or not covered.any()
            kinds["with its effects" if covered.all() else "the object's"] += 1
            alike = torch.equal(sample["mask"], plain["mask"])
            assert alike is not bool(covered.all()), "the mask holds effects or nothing more"
    assert min(kinds.values()) >= 3, kinds


def test_without_effects_no_bit_differs_and_a_share_is_a_share(ground):
    plain, some = pairs(ground, 40), pairs(ground, 40, effects=0.4)
    changed = [(one["with_object"] != two["with_object"]).any() for one, two in zip(plain, some, strict=True)]
    assert 6 <= sum(map(bool, changed)) <= 26
    for one, two, differs in zip(plain, some, changed, strict=True):
        assert differs or all(torch.equal(one[key], two[key]) for key in one)


def test_pairs_with_poor_masks_keep_their_pictures(ground):
    plain, worse = pairs(ground), pairs(ground, poor_masks=1.0)
    for one, two in zip(plain, worse, strict=True):
        assert torch.equal(one["original"], two["original"]) and torch.equal(one["with_object"], two["with_object"])
        assert two["mask"].any() and set(two["mask"].unique().tolist()) <= {0.0, 1.0}
    assert sum(not torch.equal(one["mask"], two["mask"]) for one, two in zip(plain, worse, strict=True)) >= 20


@pytest.fixture(scope="module")
def labelled(ground, tmp_path_factory):
    """The same ground, said to hold no entity but a dot."""
    folder = tmp_path_factory.mktemp("labelled")
    Image.open(ground / "a.png").save(folder / "a.png")
    dot = np.zeros((80, 90), dtype=np.uint8)
    dot[40, 45] = 1
    Image.fromarray(dot).save(folder / "a_entities.png")
    return folder


def made_of(folder, holes: str, **changes) -> list[dict]:
    samples = Composites(folder, SIZE, 16, 0, holes, replace(PUBLISHED, squares=True, drawn_shapes=True, **changes))
    return [samples[index] for index in range(16)]


def test_d1_shows_a_shadow_around_the_hole_that_its_truth_does_not_have(labelled):
    plain, shaded = made_of(labelled, "d1"), made_of(labelled, "d1", effects=1.0)
    assert "around" not in plain[0]
    seen = 0
    for one, two in zip(plain, shaded, strict=True):
        assert torch.equal(one["image"], two["image"]) and torch.equal(one["mask"], two["mask"])
        beyond = (two["around"] != two["image"]).any(0) & (two["mask"][0] == 0)
        seen += bool(beyond.any())
        assert two["around"].min() >= 0 and two["around"].max() <= 1
    assert seen >= 10
    half = made_of(labelled, "d1", effects=0.5)
    assert 1 <= sum(torch.equal(one["around"], one["image"]) for one in half) <= 14


def test_drawn_things_cast_on_the_ground_and_d2_may_cover_it(ground):
    recipe = replace(PUBLISHED, squares=True, unlabelled="drawn", effects=1.0)
    samples, kinds = Composites(ground, SIZE, 40, 0, "d2", recipe), {True: 0, False: 0}
    for index in range(40):
        picture, entities, cast = samples.scene(np.random.default_rng(index), index, 0)
        bare = (np.asarray(picture) == GREY).all(-1)
        ids = set(np.unique(cast)) - {0}
        assert (bare | (cast > 0) | near(entities)).mean() > 0.99, "the rest is the ground"
        hole, shadow = HOLES["d2"](entities, [], np.random.default_rng(0)), (cast > 0) & ~near(entities)
        if ids and hole.any() and shadow.any():
            assert bare[shadow].mean() < 0.5
            given = samples.as_given(hole, entities, cast, np.random.default_rng(index))
            assert (given >= hole).all() and not (given & ~hole & (cast == 0)).any()
            kinds[bool((given & ~hole).any())] += 1
    assert min(kinds.values()) >= 4, kinds


def near(entities: np.ndarray) -> np.ndarray:
    """Where a thing or its soft edge may be."""
    return dilate(entities > 0, 6)


@pytest.fixture(scope="module")
def encoder():
    config = tiny_config(vae=TINY)
    return Encoder(load_vae(tiny_checkpoint(config, 0)), config, torch.device("cpu"))


def test_the_network_sees_the_shadow_and_is_asked_for_the_truth(encoder):
    generator = torch.Generator().manual_seed(0)
    truth, mask = torch.rand(1, 3, SIZE, SIZE, generator=generator), torch.zeros(1, 1, SIZE, SIZE)
    mask[..., 16:32, 16:32] = 1
    around = truth.clone()
    around[..., 16:32, 32:48] *= 0.5
    seen = encoder.encode(masked_picture(around, mask, encoder.under_hole))
    for encoded in (encoder(truth, mask, around=around), encoder.with_hole(truth, mask, around=around)):
        torch.testing.assert_close(encoded["latent"], encoder.encode(truth))
        torch.testing.assert_close(encoded["masked"], seen)
    assert not torch.allclose(seen, encoder(truth, mask)["masked"])
    pair = encoder.pair(truth, around, mask)
    torch.testing.assert_close(pair["masked"], seen)
    changed = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    changed[..., 2:4, 2:6] = True  # the hole, and the shadow beside it
    torch.testing.assert_close(pair["object"], encoder.encode(around).where(changed, encoder.encode(truth)))


@pytest.mark.parametrize("keys", [("original", "with_object"), ("image", "around")])
def test_a_copy_for_the_network_is_made_of_what_it_sees(keys: tuple[str, str]):
    """The stripes of the hole's surroundings are copied from the picture with the shadow, which is darker."""
    truth, mask = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)), torch.zeros(1, SIZE, SIZE)
    mask[:, 24:40, 24:40] = 1
    sample = {keys[0]: truth, keys[1]: 0.5 * truth, "mask": mask, "number": torch.tensor(0)}
    shown = Shown([sample])[0]
    assert shown["shown"].max() <= 0.5 < shown[keys[0]].max() and shown[keys[1]].shape == (3, SIZE // 2, SIZE // 2)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__.split(".")[-1])
def test_every_eraser_can_be_trained_with_effects(script, capsys):
    needed = [*SCRIPTS[script], "--images", "i", "--out", "o"]
    recipe = recipe_of(script.parse_args([*needed, "--effects", "0.3"]))
    assert recipe.effects == 0.3 and recipe_of(script.parse_args(needed)).effects == 0
    assert recipe.as_judged() == recipe_of(script.parse_args(needed)), "held-out samples are as without"
    with pytest.raises(SystemExit):
        script.parse_args([*needed, "--effects", "2"])
    assert "must be a number from 0 to 1, got 2." in capsys.readouterr().err


def test_eradiff_can_be_trained_with_poor_masks():
    needed = ["--base", "b", "--images", "i", "--out", "o"]
    assert recipe_of(train_eradiff.parse_args([*needed, "--poor-masks", "0.3"])).poor_masks == 0.3


def test_pools_that_were_made_before_effects_still_fit():
    assert "effects" not in PUBLISHED.facts() and replace(PUBLISHED, effects=0.5).facts()["effects"] == 0.5


def test_the_arms_that_are_compared_differ_in_their_masks_alone():
    asked = poor_masks.parse_args(["--images", "i", "--validation", "v", "--out", "o", "--steps", "9"])
    right, poor = (vars(train_eradiff.parse_args(poor_masks.flags_of(asked, arm, 2))) for arm in poor_masks.ARMS)
    assert {key for key in right if right[key] != poor[key]} == {"poor_masks", "out", "pool"}
    assert (right["poor_masks"], poor["poor_masks"], right["steps"], right["seed"]) == (0.0, 0.5, 9, 2)
    assert set(poor_masks.GIVEN) <= set(MASKS)
