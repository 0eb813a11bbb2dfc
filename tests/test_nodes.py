"""The nodes as a graph calls them: their promises, their answers, and what each says to input that does not fit."""

import re
from dataclasses import replace

import pytest
import torch
from in_comfyui import comfy, nodes, room
from tiny import NANO, TINY, UNET_LIKE_SD15, UNET_LIKE_SDXL, tiny_checkpoint, tiny_config, tiny_detector

from inpainting_core.checkpoint import write_checkpoint

PROMISED = {
    "EraseOnceLoadModel": "Load Erase Model",
    "EraseOnceYOEO": "Erase (YOEO)",
    "EraseOnceEraDiff": "Erase (EraDiff)",
    "EraseOnceSRA": "Self-Rectifying Attention",
    "EraseOnceSigmas": "Erase Sigmas",
    "EraseOnceCrop": "Crop Around Mask",
    "EraseOnceStitch": "Stitch Back",
    "EraseOnceLoadDetector": "Load Sundry Detector",
    "EraseOnceSundryCheck": "Sundry Check (Mask2Former)",
    "EraseOnceSnapMask": "Snap Mask to Entity",
}
SEVERAL = ["candidates", "until_clean", "tries"]
# Saved graphs store these by position: append only.
WIDGETS = {
    "EraseOnceLoadModel": ["model", "unet"],
    "EraseOnceYOEO": ["steps", "seed", "grow", "context", "resolution", *SEVERAL],
    "EraseOnceEraDiff": ["steps", "seed", "grow", "context", "resolution", "strength", "attention", *SEVERAL],
    "EraseOnceSRA": ["mode", "blocks", "start_percent", "end_percent"],
    "EraseOnceSigmas": ["method", "steps", "strength"],
    "EraseOnceCrop": ["grow", "context", "resolution"],
    "EraseOnceStitch": [],
    "EraseOnceLoadDetector": ["detector"],
    "EraseOnceSundryCheck": ["preset", "ios", "score"],
    "EraseOnceSnapMask": ["grow"],
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


def picture(frames: int = 1, height: int = 90, width: int = 140) -> torch.Tensor:
    return torch.rand(frames, height, width, 3, generator=torch.Generator().manual_seed(7))


def mask(frames: int = 1, height: int = 90, width: int = 140, left: int = 50) -> torch.Tensor:
    hole = torch.zeros(frames, height, width)
    hole[:, 30:60, left : left + 30] = 1
    return hole


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
    erased, changed, candidates = erase(node, loaded, image, hole).result
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
    assert re.fullmatch(r"1 crop\(s\) at 128 x 128, 2 step\(s\) each, \d+\.\d s\.", text)
    (text,) = erase("EraseOnceEraDiff", loaded, picture(), mask(), steps=4, strength=0.5).ui.as_dict()["text"]
    assert "2 step(s) each" in text


@pytest.fixture(scope="module")
def detector(in_comfyui):
    return room("detector").managed(tiny_detector())


@pytest.mark.parametrize("node", ERASERS)
def test_the_best_of_several_comes_first_and_the_answer_says_what_is_left(node: str, loaded: dict, detector):
    answer = erase(node, loaded, picture(frames=2), mask(), candidates=3, detector=detector)
    erased, changed, candidates = answer.result
    assert candidates.shape == (6, 90, 140, 3) and torch.equal(candidates[::3], erased)
    alone = [erase(node, loaded, picture(), mask(), seed=seed)[0] for seed in (1, 2, 3)]
    assert min((erased[:1] - one).abs().max() for one in alone) < 1e-3, "a candidate is what its seed alone gives"
    (text,) = answer.ui.as_dict()["text"]
    assert ", best of 3, " in text and re.search(
        r"Sundry Check: (all clean|\d with something in \d+% of the hole)", text
    )


def test_it_draws_until_clean_only_with_a_detector_to_say_so(loaded: dict, detector):
    with pytest.raises(ValueError, match="until_clean needs a detector that says when it is clean, got none"):
        erase("EraseOnceYOEO", loaded, picture(), mask(), until_clean=True)
    (text,) = erase("EraseOnceYOEO", loaded, picture(), mask(), until_clean=True, detector=detector).ui.as_dict()[
        "text"
    ]
    assert text.endswith("Sundry Check: all clean, after 1 draw(s).")


def test_a_batch_of_masks_for_one_picture_is_as_many_objects(loaded: dict):
    both = torch.cat([mask(left=20), mask(left=60)])
    answer = erase("EraseOnceYOEO", loaded, picture(), both)
    assert answer.ui.as_dict()["text"][0].startswith("2 crop(s)")
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
        (picture()[..., :1], mask(), "image must have 3 channels (RGB), got 1."),
        (picture()[..., [0, 1, 2, 0]], mask(), "image must have 3 channels (RGB), got 4."),
        (picture().index_fill(1, torch.tensor(3), float("nan")), mask(), "image must hold finite numbers only"),
        (picture(), torch.ones(1, 90, 140), "mask must leave some of the picture to look at"),
        (picture(), mask(height=70), "mask must have the picture's size or at least its aspect"),
        (picture(frames=2), mask(frames=3), "mask must come once or once a picture (2), got 3 masks."),
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


@pytest.mark.parametrize("size", [(300, 400), (90, 140), (333, 201)])
def test_stitch_is_the_inverse_of_crop(size: tuple[int, int]):
    image, hole = picture(2, *size), mask(1, *size)
    crop, stitch = nodes()["EraseOnceCrop"].execute, nodes()["EraseOnceStitch"].execute
    window, grown, info = crop(image, hole, 4, 0.5, 128).result
    assert window.shape[1] % 64 == window.shape[2] % 64 == 0 and grown.shape[1:] == window.shape[1:3]
    (back,) = stitch(info, torch.ones_like(window)).result
    blend = info.blend[:, 0].expand(2, -1, -1)
    assert torch.equal(back[blend == 0], image[blend == 0])
    assert torch.allclose(back[blend == 1], torch.ones(())) and bool((blend[:, 30:60, 50:80] == 1).all())
    assert stitch(info, torch.ones_like(window[:1]).repeat(1, 2, 2, 1)).result[0].shape == image.shape


def test_crop_and_stitch_refuse_what_does_not_fit():
    crop, stitch = nodes()["EraseOnceCrop"].execute, nodes()["EraseOnceStitch"].execute
    with pytest.raises(ValueError, match=re.escape("mask must mark something to crop around, got an empty one.")):
        crop(picture(), torch.zeros(1, 64, 64), 4, 0.5, 128)
    window, _, info = crop(picture(2, 300, 400), mask(1, 300, 400), 4, 0.5, 128).result
    with pytest.raises(ValueError, match=r"image must have the aspect of its crop \(\d+ x \d+\), got \d+ x 40\."):
        stitch(info, window[:, :40])
    with pytest.raises(ValueError, match=re.escape("image must come once or once a picture (2), got 3 pictures.")):
        stitch(info, torch.cat([window, window[:1]]))


def test_one_picture_takes_several_fills():
    window, _, info = nodes()["EraseOnceCrop"].execute(picture(1, 300, 400), mask(1, 300, 400), 4, 0.5, 128).result
    (back,) = nodes()["EraseOnceStitch"].execute(info, torch.rand(3, *window.shape[1:])).result
    assert back.shape == (3, 300, 400, 3)


def test_the_loader_reads_files_and_folders_and_lays_a_unet_over(tmp_path, monkeypatch):
    folders, load_model = comfy("folder_paths"), nodes()["EraseOnceLoadModel"]
    for name in ("checkpoints", "diffusion_models"):
        (tmp_path / name).mkdir()
        monkeypatch.setitem(folders.folder_names_and_paths, name, ([str(tmp_path / name)], {".safetensors"}))
    checkpoint = tiny_checkpoint(tiny_config(NANO, TINY, "v_prediction"))
    other = tiny_checkpoint(tiny_config(NANO, TINY, "v_prediction"), seed=1)
    write_checkpoint(tmp_path / "checkpoints" / "base.safetensors", checkpoint, torch.float32)
    torch.save(other.unet, tmp_path / "diffusion_models" / "yoeo.safetensors.pth")
    (tmp_path / "diffusion_models" / "yoeo.safetensors.pth").rename(tmp_path / "diffusion_models" / "yoeo.safetensors")
    folders.filename_list_cache.clear()
    before = load_model.fingerprint_inputs("base.safetensors", "none")
    model, vae, conditioning = load_model.execute("base.safetensors", "none").result
    weight = model.model.diffusion_model.input_blocks[0][0].weight
    assert torch.equal(weight, checkpoint.unet["conv_in.weight"])
    assert torch.equal(conditioning[0][0], checkpoint.empty_prompt.tokens) and conditioning[0][1] == {}
    assert model.clone().get_attachment("erase_once").resolution == checkpoint.config.resolution
    assert load_model.fingerprint_inputs("base.safetensors", "yoeo.safetensors") != before


def test_the_loader_gives_sdxls_pooled_text_where_comfyui_looks_for_it(tmp_path, monkeypatch):
    folders, load_model = comfy("folder_paths"), nodes()["EraseOnceLoadModel"]
    monkeypatch.setitem(folders.folder_names_and_paths, "checkpoints", ([str(tmp_path)], {".safetensors"}))
    checkpoint = tiny_checkpoint(tiny_config(UNET_LIKE_SDXL, TINY))
    write_checkpoint(tmp_path / "xl.safetensors", checkpoint, torch.float32)
    folders.filename_list_cache.clear()
    loaded = dict(
        zip(("model", "vae", "conditioning"), load_model.execute("xl.safetensors", "none").result, strict=True)
    )
    ((tokens, extras),) = loaded["conditioning"]
    assert torch.equal(tokens, checkpoint.empty_prompt.tokens)
    assert torch.equal(extras["pooled_output"], checkpoint.empty_prompt.pooled)
    image, hole = picture(), mask()
    erased = erase("EraseOnceYOEO", loaded, image, hole).result[0]
    assert torch.equal(erased[:, :20], image[:, :20]) and not torch.equal(erased, image)


def test_the_loader_refuses_what_is_incomplete():
    check = room("load").check_complete
    whole = tiny_checkpoint(tiny_config(NANO, TINY))
    with pytest.raises(ValueError, match="a checkpoint must hold an autoencoder, but x has none"):
        check(replace(whole, vae=None), "x")
    with pytest.raises(ValueError, match="a checkpoint must hold a text encoder or an empty prompt of ours"):
        check(replace(whole, empty_prompt=None), "x")
