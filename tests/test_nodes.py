"""The nodes as a graph calls them: their promises, their answers, and what each says to input that does not fit."""

import re
from dataclasses import replace

import pytest
import torch
from in_comfyui import comfy, nodes, room
from node_inputs import mask, picture
from tiny import TINY, UNET_LIKE_SD15, tiny_checkpoint, tiny_config, tiny_detector

from yoeo_core import pipeline as yoeo

PROMISED = {
    "EraseOnceLoadModel": "Load Erase Model",
    "EraseOnceYOEO": "Erase (YOEO)",
    "EraseOnceEraDiff": "Erase (EraDiff)",
    "EraseOnceSRA": "Self-Rectifying Attention",
    "EraseOnceSigmas": "Sigmas for Erasing",
    "EraseOnceCrop": "Crop Around Mask",
    "EraseOnceStitch": "Stitch Back",
    "EraseOnceLoadDetector": "Load Sundry Detector",
    "EraseOnceSundryCheck": "Sundry Check (Mask2Former)",
    "EraseOnceSnapMask": "Snap Mask to Entity",
    "EraseOnceExamplePicture": "Example Picture",
    "EraseOnceGrowToEffects": "Grow Mask to Effects",
}
SEVERAL, SOFT = ["candidates", "until_clean", "tries"], ["softness", "rising"]
# Saved graphs store these by position: append only.
WIDGETS = {
    "EraseOnceLoadModel": ["model", "unet"],
    "EraseOnceYOEO": ["steps", "seed", "grow", "context", "resolution", *SEVERAL, "official", "effects"],
    "EraseOnceEraDiff": [
        *("steps", "seed", "grow", "context", "resolution", "strength", "attention", *SEVERAL, *SOFT, "start"),
        "effects",
    ],
    "EraseOnceSRA": ["mode", "blocks", "start_percent", "end_percent", *SOFT],
    "EraseOnceSigmas": ["method", "steps", "strength"],
    "EraseOnceCrop": ["grow", "context", "resolution"],
    "EraseOnceStitch": [],
    "EraseOnceLoadDetector": ["detector"],
    "EraseOnceSundryCheck": ["preset", "ios", "score"],
    "EraseOnceSnapMask": ["grow"],
    "EraseOnceExamplePicture": ["picture"],
    "EraseOnceGrowToEffects": [],
}
ERASERS = {"EraseOnceYOEO": {"steps": 2}, "EraseOnceEraDiff": {"steps": 2, "strength": 1.0, "attention": "rectified"}}
SETTINGS = {"seed": 1, "grow": 3, "context": 0.5, "resolution": 0}

pytestmark = pytest.mark.usefixtures("in_comfyui")


@pytest.fixture(scope="module")
def loaded(in_comfyui) -> dict:
    """A small model with a small autoencoder, as Load Erase Model gives them."""
    return load(tiny_checkpoint(tiny_config(UNET_LIKE_SD15, TINY)))


def load(checkpoint) -> dict:
    build = room("model")
    vae = build.build_vae(checkpoint)
    return {
        "model": build.build_model(checkpoint),
        "vae": vae,
        "conditioning": room("boundary").conditioning_from(checkpoint.empty_prompt),
    }


def erase(node: str, loaded: dict, image: torch.Tensor, hole: torch.Tensor, **settings):
    return nodes()[node].execute(**loaded, image=image, mask=hole, **{**SETTINGS, **ERASERS[node], **settings})


def test_the_promised_nodes_are_there():
    assert {node.define_schema().node_id: node.define_schema().display_name for node in nodes().values()} == PROMISED


@pytest.mark.parametrize("name", PROMISED)
def test_every_input_and_output_says_what_it_is(name: str):
    schema = nodes()[name].GET_SCHEMA()
    assert schema.category == "inpaint/erase" and schema.description
    assert all(part.tooltip and part.tooltip.endswith(".") for part in [*schema.inputs, *schema.outputs])


@pytest.mark.parametrize("name", PROMISED)
def test_widgets_keep_their_places(name: str):
    widgets = [part.id for part in nodes()[name].GET_SCHEMA().inputs if "default" in part.as_dict()]
    assert widgets == WIDGETS[name]


@pytest.mark.parametrize("node", ERASERS)
def test_only_the_grown_hole_changes(node: str, loaded: dict):
    image, hole = picture(), mask()
    erased, changed, candidates = erase(node, loaded, image, hole).result[:3]
    assert torch.equal(candidates, erased)
    assert erased.shape == image.shape and changed.shape == hole.shape and erased.dtype == torch.float32
    assert torch.equal(erased[changed == 0], image[changed == 0])
    assert bool((changed >= hole).all()) and 900 < changed.sum() < 36**2
    assert not torch.equal(erased[hole == 1], image[hole == 1])


@pytest.mark.parametrize("node", ERASERS)
def test_the_same_seed_gives_the_same_picture(node: str, loaded: dict):
    first, again, other = (erase(node, loaded, picture(), mask(), seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize("node", ERASERS)
def test_an_empty_mask_gives_the_picture_back_and_says_so(node: str, loaded: dict):
    for empty in (torch.zeros(1, 90, 140), torch.zeros(1, 64, 64)):  # the second is Load Image's where none was drawn
        answer = erase(node, loaded, picture(), empty)
        assert torch.equal(answer[0], picture()) and not answer[1].any()
        assert answer.ui.as_dict() == {"text": ("The mask is empty: nothing to erase, the picture is unchanged.",)}


def test_the_answer_tells_what_was_done(loaded: dict):
    (text,) = erase("EraseOnceYOEO", loaded, picture(), mask(), resolution=128).ui.as_dict()["text"]
    assert re.fullmatch(r"Erased 1 object: 128 x 128, 2 steps, \d+\.\d s\.", text)
    (text,) = erase("EraseOnceEraDiff", loaded, picture(), mask(), steps=4, strength=0.5).ui.as_dict()["text"]
    assert ", 2 steps, " in text


def test_the_authors_picture_comes_whole_for_each_of_a_batch(loaded: dict):
    image = picture(frames=2)
    answer = erase("EraseOnceYOEO", loaded, image, mask(), official=True)
    engine = room("boundary").ComfyEngine(*(loaded[name] for name in ("model", "vae", "conditioning")))
    expected = yoeo.official(engine, image.movedim(-1, 1), mask(), steps=2, seed=1).image.movedim(1, -1)
    assert torch.equal(answer[0], expected) and answer[1].all() and answer[0].shape == image.shape
    assert re.fullmatch(r"Erased 2 objects in 2 pictures: 640 x 384, 2 steps, .* s\.", answer[3])


def test_the_authors_picture_is_one_answer_and_nobody_judges_it(loaded: dict, detector):
    for more in ({"candidates": 2}, {"detector": detector}):
        with pytest.raises(ValueError, match="official takes the network's one answer for the whole picture"):
            erase("EraseOnceYOEO", loaded, picture(), mask(), official=True, **more)


def test_a_softer_attention_and_a_mixed_start_give_another_picture(loaded: dict):
    def erased(**more) -> torch.Tensor:
        return erase("EraseOnceEraDiff", loaded, picture(), mask(), strength=0.5, resolution=64, **more)[0]

    plain = erased()
    ways = [erased(softness=0.5), erased(softness=0.5, rising=True), erased(start="mixed")]
    assert len({one.numpy().tobytes() for one in (plain, *ways)}) == 4
    assert torch.allclose(erased(softness=1.0), erased(attention="off"), atol=1e-4)
    with pytest.raises(ValueError, match="start must be one of"):
        erased(start="noise")


@pytest.mark.parametrize("extra", [{"area": (4, 4, 0, 0)}, {"mask": torch.ones(1, 8, 8)}])
@pytest.mark.parametrize("node", ERASERS)
def test_a_prompt_for_a_part_of_the_picture_is_refused(node: str, loaded: dict, extra: dict):
    """A crop has places of its own, on which an area of the picture would be somewhere else."""
    regional = [[tokens, {**extras, **extra}] for tokens, extras in loaded["conditioning"]]
    with pytest.raises(ValueError, match="conditioning must hold for the whole picture, got one for an area or a mask"):
        erase(node, {**loaded, "conditioning": regional}, picture(), mask())


@pytest.fixture(scope="module")
def detector(in_comfyui):
    return room("detector").managed(tiny_detector())


@pytest.mark.parametrize("node", ERASERS)
def test_the_best_of_several_comes_first_and_the_answer_says_what_is_left(node: str, loaded: dict, detector):
    answer = erase(node, loaded, picture(frames=2), mask(), candidates=3, detector=detector)
    erased, changed, candidates = answer.result[:3]
    assert candidates.shape == (6, 90, 140, 3) and torch.equal(candidates[::3], erased)
    alone = [erase(node, loaded, picture(), mask(), seed=seed)[0] for seed in (1, 2, 3)]
    assert min((erased[:1] - one).abs().max() for one in alone) < 1e-3, "a candidate is what its seed alone gives"
    (text,) = answer.ui.as_dict()["text"]
    assert ", best of 3, " in text and re.search(
        r" s\. (Clean\.|Not clean: something is left in \d of 2 crops and covers )", text
    )


def test_it_draws_until_clean_only_with_a_detector_to_say_so(loaded: dict, detector):
    with pytest.raises(ValueError, match="until_clean needs a detector that says when it is clean, got none"):
        erase("EraseOnceYOEO", loaded, picture(), mask(), until_clean=True)
    (text,) = erase("EraseOnceYOEO", loaded, picture(), mask(), until_clean=True, detector=detector).ui.as_dict()[
        "text"
    ]
    assert text.endswith(" s. Clean.")


def test_a_batch_of_masks_for_one_picture_is_as_many_objects(loaded: dict):
    both = torch.cat([mask(left=20), mask(left=60)])
    answer = erase("EraseOnceYOEO", loaded, picture(), both)
    assert answer.ui.as_dict()["text"][0].startswith("Erased 2 objects: ")
    assert bool((answer[1] >= both.amax(0)).all())


@pytest.mark.parametrize("shape", [(90, 140), (1, 90, 140), (1, 1, 90, 140), (1, 45, 70)])
def test_masks_of_every_shape_erase_the_same_place(shape: tuple[int, ...], loaded: dict):
    hole = mask()[None] if shape[-1] == 140 else torch.nn.functional.max_pool2d(mask()[None], 2)
    changed = erase("EraseOnceYOEO", loaded, picture(), hole.reshape(shape))[1]
    assert torch.equal(changed, erase("EraseOnceYOEO", loaded, picture(), mask())[1])


def test_a_batch_takes_one_mask_or_one_a_picture(loaded: dict):
    image = picture(frames=2)
    shared = erase("EraseOnceYOEO", loaded, image, mask())[1]
    assert torch.equal(shared[0], shared[1])
    own = torch.cat([mask(left=20), mask(left=90)])
    erased, changed = erase("EraseOnceYOEO", loaded, image, own).result[:2]
    assert torch.equal(erased[changed == 0], image[changed == 0])
    assert changed[0, 45, 30] == 1 and changed[0, 45, 100] == 0 and changed[1, 45, 100] == 1


@pytest.mark.parametrize("node", ERASERS)
@pytest.mark.parametrize(
    ("image", "hole", "rule"),
    [
        (picture()[..., :1], mask(), "image must have 3 channels (RGB) or 4 (RGB and alpha), got 1."),
        (picture()[..., [0, 1]], mask(), "image must have 3 channels (RGB) or 4 (RGB and alpha), got 2."),
        (picture().index_fill(1, torch.tensor(3), float("nan")), mask(), "image must hold finite numbers only"),
        (picture(), torch.ones(1, 90, 140), "mask must leave some of the picture to look at"),
        (picture(), mask(height=70), "mask must have the picture's size or aspect ratio"),
        (picture(frames=2), mask(frames=3), "mask must come once or once per picture (2), got 3 masks."),
        (picture(), mask() * 2, "mask must hold numbers from 0 to 1, got 0.0 to 2.0."),
        (picture(), mask() * float("nan"), "mask must hold numbers from 0 to 1, got nan to nan."),
    ],
)
def test_pictures_and_masks_that_do_not_fit(node: str, image, hole, rule: str, loaded: dict):
    sampled = []
    watched = {**loaded, "model": counting(loaded["model"], sampled)}
    with pytest.raises(ValueError, match=re.escape(rule)):
        erase(node, watched, image, hole)
    assert not sampled


def counting(model, calls: list):
    """A clone that notes every call of its UNet."""
    clone = model.clone()
    clone.set_model_unet_function_wrapper(
        lambda run, given: calls.append(1) or run(given["input"], given["timestep"], **given["c"])
    )
    return clone


def test_models_that_do_not_fit(loaded: dict):
    plain = load(tiny_checkpoint(tiny_config(replace(UNET_LIKE_SD15, in_channels=4), TINY)))
    rule = "model must be an inpainting UNet with 9 input channels, got one with 4."
    with pytest.raises(ValueError, match=re.escape(rule)):
        erase("EraseOnceYOEO", plain, picture(), mask())
    other = loaded["model"].clone()
    other.add_object_patch("diffusion_model", torch.nn.Linear(1, 1))
    for node in ERASERS:
        with pytest.raises(
            ValueError, match=re.escape("model must be a UNet (SD1.5, SD2 or SDXL, for example), got Linear.")
        ):
            erase(node, {**loaded, "model": other}, picture(), mask())
    wide = {**loaded, "conditioning": [[torch.zeros(1, 4, 99), {}]]}
    with pytest.raises(ValueError, match=re.escape("conditioning must be 64 numbers wide for this model, got 99.")):
        erase("EraseOnceYOEO", wide, picture(), mask())


def test_sigmas_are_those_of_our_timesteps(loaded: dict):
    execute, sampling = nodes()["EraseOnceSigmas"].execute, loaded["model"].get_model_object("model_sampling")
    (yoeo,) = execute(loaded["model"], "yoeo", 2, 1.0).result
    assert torch.allclose(yoeo, torch.cat([sampling.sigmas[[999, 749]], torch.zeros(1)]), rtol=1e-6)
    (eradiff,) = execute(loaded["model"], "eradiff", 4, 0.5).result
    assert torch.allclose(eradiff, torch.cat([sampling.sigmas[[499, 249]], torch.zeros(1)]))
    with pytest.raises(ValueError, match=re.escape("steps must lie in 1..4, got 12.")):
        execute(loaded["model"], "yoeo", 12, 1.0)
    with pytest.raises(ValueError, match="method must be one of yoeo, eradiff, got 'lcm'."):
        execute(loaded["model"], "lcm", 2, 1.0)
    flow = loaded["model"].clone()
    flow.add_object_patch("model_sampling", comfy("comfy.model_sampling").ModelSamplingDiscreteFlow())
    with pytest.raises(ValueError, match="model must have Stable Diffusion's 1000 timesteps"):
        execute(flow, "yoeo", 2, 1.0)


@pytest.mark.parametrize("node", ERASERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_picture_comes_back_in_the_precision_that_it_came_in(node: str, dtype: torch.dtype, loaded: dict):
    """A ComfyUI with --fp16-intermediates hands out half precision, and saves other bytes of a picture in fp32."""
    image = (picture().double() / 3).to(dtype)
    for hole in (torch.zeros(1, 90, 140), mask().to(dtype)):
        erased, changed, candidates = erase(node, loaded, image, hole).result[:3]
        assert erased.dtype == changed.dtype == candidates.dtype == dtype
        assert torch.equal(erased[changed == 0], image[changed == 0])


@pytest.mark.parametrize("node", ERASERS)
def test_alpha_comes_back_bit_for_bit(node: str, loaded: dict):
    image = torch.cat([picture(2), torch.rand(2, 90, 140, 1)], -1)
    image[:, :, :40, 3] = 0
    erased, changed, candidates = erase(node, loaded, image, mask(), candidates=2).result[:3]
    assert erased.shape == image.shape and torch.equal(erased[..., 3], image[..., 3])
    assert torch.equal(erased[changed == 0], image[changed == 0])
    assert torch.equal(candidates[..., 3], image[..., 3].repeat_interleave(2, 0))


def test_a_mask_that_looks_like_a_mistake_is_told(loaded: dict):
    faint = erase("EraseOnceYOEO", loaded, picture(), mask() * 0.43)
    why = "No part of the mask reaches 1/2 (its highest is 0.43)"
    expected = f"{why}: nothing to erase, the picture is unchanged."
    assert faint.ui.as_dict()["text"] == (expected,) and torch.equal(faint[0], picture())
    inverted = torch.ones(1, 90, 140)
    inverted[:, :, :14] = 0
    (text,) = erase("EraseOnceYOEO", loaded, picture(), inverted, resolution=64).ui.as_dict()["text"]
    assert text.endswith(" The hole is 90% of the picture: is the mask inverted?")
    with pytest.raises(ValueError, match=re.escape("No part of the mask reaches 1/2 (its highest is 0.30): nothing")):
        nodes()["EraseOnceCrop"].execute(picture(), mask() * 0.3, 4, 0.5, 128)


@pytest.mark.parametrize("name", ["wren", "rocket", "satellite"])
def test_an_example_picture_comes_with_the_mask_of_what_to_erase(name: str, loaded: dict):
    image, hole = nodes()["EraseOnceExamplePicture"].execute(name).result
    assert image.shape[1:3] == hole.shape[1:] and image.dtype == hole.dtype == torch.float32
    assert set(hole.unique().tolist()) == {0, 1} and 0.002 < hole.mean() < 0.2
    with pytest.raises(ValueError, match="picture must be one of wren, rocket, satellite, got 'cat'."):
        nodes()["EraseOnceExamplePicture"].execute("cat")


@pytest.mark.parametrize("node", ERASERS)
def test_the_report_is_the_last_output_and_what_the_node_says(node: str, loaded: dict):
    answer = erase(node, loaded, picture(), mask())
    assert nodes()[node].GET_SCHEMA().outputs[3].display_name == "report"
    assert answer[3] == answer.ui.as_dict()["text"][0] and answer[3].startswith("Erased 1 object: ")
