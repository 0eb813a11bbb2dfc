"""The nodes that look at pictures with a Mask2Former: load one, check an erasure, snap a mask to an entity."""

import re

import pytest
import torch
from in_comfyui import comfy, nodes, room
from safetensors.torch import save_file
from tiny import tiny_detector

from inpainting_core.built_in import NANO_DETECTOR
from inpainting_core.masks import grow
from yoeo_core.check import check, check_by_metric
from yoeo_core.close_check import check_closely
from yoeo_core.detector import load_detector, write_detector
from yoeo_core.entities import sure_entities
from yoeo_core.metrics import mars, msn, panoptic_merge

BUILT_IN = "nano detector (built in)"
CUSTOM = {"ios": 0.5, "score": 0.3}

pytestmark = pytest.mark.usefixtures("in_comfyui")


@pytest.fixture(scope="module")
def detector(in_comfyui):
    """A detector that sees a dozen entities of many shapes in whatever it is shown."""
    network = tiny_detector(5, queries=12)
    network.network.class_predictor.bias.data[0] += 1
    return room("detector").managed(network)


@pytest.fixture(scope="module")
def blind(in_comfyui):
    """A detector that is sure of nothing."""
    network = tiny_detector()
    network.network.class_predictor.bias.data[:] = torch.tensor([-30.0, 30.0])
    return room("detector").managed(network)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder in the place of models/detection."""
    folders = comfy("folder_paths")
    monkeypatch.setitem(folders.folder_names_and_paths, "detection", ([str(tmp_path)], set()))
    monkeypatch.setattr(folders, "filename_list_cache", {})
    return tmp_path


def picture(frames: int = 1, height: int = 60, width: int = 80) -> torch.Tensor:
    return torch.rand(frames, height, width, 3, generator=torch.Generator().manual_seed(7))


def mask(top: int, bottom: int, left: int, right: int) -> torch.Tensor:
    hole = torch.zeros(1, 60, 80)
    hole[:, top:bottom, left:right] = 1
    return hole


WIDE, EMPTY = mask(1, 59, 1, 79), mask(0, 0, 0, 0)


def run_check(image, hole, detector, preset="loss", ios=0.9, score=0.2):
    return nodes()["EraseOnceSundryCheck"].execute(image, hole, detector, preset, ios, score)


def said(answer) -> str:
    (text,) = answer.ui.as_dict()["text"]
    return text


def found_in(image, detector):
    return detector.model(image.movedim(-1, 1))


def verdict_on(image, hole, detector, preset):
    """The core's: that of the metrics by the whole picture alone, that of the loss from near by as well."""
    found = found_in(image, detector)
    if preset == "metric":
        return check_by_metric(found, hole)[0]
    return check_closely(image.movedim(-1, 1), hole, found, detector.model, **(CUSTOM if preset == "custom" else {}))


def test_nodes_names_inputs_and_outputs():
    promised = {
        "EraseOnceLoadDetector": ("Load Sundry Detector", ["detector"]),
        "EraseOnceSundryCheck": ("Sundry Check (Mask2Former)", ["image", "mask", "detector", "preset", "ios", "score"]),
        "EraseOnceSnapMask": ("Snap Mask to Entity", ["image", "mask", "detector", "grow"]),
    }
    for name, (display_name, inputs) in promised.items():
        schema = nodes()[name].GET_SCHEMA()
        assert schema.display_name == display_name and [part.id for part in schema.inputs] == inputs
        assert all(part.tooltip and part.tooltip.endswith(".") for part in [*schema.inputs, *schema.outputs])
    outputs = nodes()["EraseOnceSundryCheck"].GET_SCHEMA().outputs
    assert [part.display_name for part in outputs] == ["passed", "count", "area", "sundries", "overlay", "report"]
    assert [part.is_output_list for part in outputs] == [True, True, True, False, False, False]
    assert nodes()["EraseOnceLoadDetector"].GET_SCHEMA().outputs[0].io_type == "ERASE_ONCE_DETECTOR"


@pytest.mark.parametrize("preset", ["loss", "metric", "custom"])
def test_a_verdict_is_the_cores(preset: str, detector):
    image = picture(2)
    holes = torch.cat([WIDE, mask(10, 40, 10, 50)])
    answer = run_check(image, holes, detector, preset, **CUSTOM)
    expected = [verdict_on(image[i : i + 1], holes[i : i + 1, None], detector, preset) for i in range(2)]
    assert answer[0] == [one.passed for one in expected] and answer[1] == [one.count for one in expected]
    assert answer[2] == [one.area for one in expected]
    assert torch.equal(answer[3], torch.stack([one.sundry_mask for one in expected]).float())
    assert answer[4].shape == image.shape and answer[4].dtype == torch.float32
    assert re.fullmatch(r"Picture 1: (Passed|Failed): .+\. Picture 2: (Passed|Failed): .+\.", said(answer))


def test_a_hole_that_holds_an_entity_fails_and_says_so(detector):
    answer = run_check(picture(), WIDE, detector)
    passed, count, area, sundries = answer.result[:4]
    assert passed == [False] and count[0] > 0 and 0 < area[0] <= 1 and sundries.any()
    pattern = rf"Failed: {count[0]} (leftover covers|leftovers cover) {area[0]:.1%} of the hole \(scores? 0\.\d\d.*\)\."
    assert re.fullmatch(pattern, said(answer))
    custom = run_check(picture(), WIDE, detector, "custom", ios=0.9, score=0.2)
    assert custom.result[:3] == answer.result[:3]
    assert run_check(picture(), WIDE, detector, "custom", ios=0.9, score=1.0)[0] == [True]
    assert run_check(picture(), WIDE, detector, "loss", ios=0.9, score=1.0)[0] == [False]  # read for custom only


@pytest.mark.parametrize("preset", ["loss", "metric"])
def test_an_empty_mask_and_a_picture_without_entities_pass(preset: str, detector, blind):
    for empty in (EMPTY, torch.zeros(1, 64, 64)):  # the second is Load Image's where none was drawn
        answer = run_check(picture(), empty, detector, preset)
        assert answer.result[:3] == ([True], [0], [0.0]) and not answer[3].any() and answer[3].shape == (1, 60, 80)
        assert said(answer) == "Not checked: the mask is empty, so there is no hole to look at."
    answer = run_check(picture(), WIDE, blind, preset)
    assert answer.result[:3] == ([True], [0], [0.0]) and not answer[3].any()
    assert said(answer) == "Passed: the detector finds nothing in the hole (0 other objects seen)."


def test_the_built_in_detectors_verdicts_are_the_metrics():
    (nano,) = nodes()["EraseOnceLoadDetector"].execute(BUILT_IN).result
    image = torch.full((1, 120, 160, 3), 0.7)
    disc = (torch.arange(120)[:, None] - 60) ** 2 + (torch.arange(160) - 80) ** 2 < 30**2
    image[0, disc] = torch.tensor([0.8, 0.1, 0.1])
    hole = torch.zeros(1, 120, 160)
    hole[:, 20:100, 40:120] = 1
    found = found_in(image, nano)
    segments = panoptic_merge(found.class_logits, found.mask_logits, (120, 160))
    answer = run_check(image, hole, nano, "metric")
    assert answer[1] == [int(msn(segments, hole[None]))] and answer[2] == mars(segments, hole[None]).tolist()
    assert run_check(image, EMPTY[:, :60, :80].new_zeros(1, 120, 160), nano, "metric")[0] == [True]


def test_a_small_thing_in_a_large_picture_fails_but_by_the_metrics():
    """Of a batch whose second picture has nothing in its hole."""
    (nano,) = nodes()["EraseOnceLoadDetector"].execute(BUILT_IN).result
    away = (torch.arange(480)[:, None] - 200) ** 2 + (torch.arange(640) - 300) ** 2
    image, hole = torch.full((2, 480, 640, 3), 0.7), (away < 13**2)[None].float()
    image[0, away < 8**2] = torch.tensor([0.8, 0.1, 0.1])
    assert check(found_in(image[:1], nano), hole[None])[0].passed, "the whole picture shows it too small"
    answer = run_check(image, hole, nano)
    assert answer[0] == [False, True] and answer[2][0] > 0.1 and answer[2][1] == 0
    assert answer[3].shape == (2, 480, 640) and answer[3][0][away < 4**2].all() and not answer[3][1].any()
    assert said(answer).startswith("Picture 1: Failed: ") and "Picture 2: Passed: " in said(answer)
    assert run_check(image, hole, nano, "metric")[0] == [True, True]


def test_masks_of_another_size(detector):
    small = torch.nn.functional.max_pool2d(WIDE[None], 2)[0]
    assert run_check(picture(), small, detector)[0] == [False]
    for name, settings in (("EraseOnceSundryCheck", ("loss", 0.9, 0.2)), ("EraseOnceSnapMask", (0,))):
        with pytest.raises(ValueError, match="mask must have the picture's size or aspect ratio"):
            nodes()[name].execute(picture(), torch.ones(1, 60, 60), detector, *settings)
        with pytest.raises(ValueError, match=re.escape("image must have 3 channels (RGB) or 4")):
            nodes()[name].execute(picture()[..., :1], WIDE, detector, *settings)
    with pytest.raises(ValueError, match="preset must be one of loss, metric, custom, got 'strict'."):
        run_check(picture(), WIDE, detector, "strict")


def test_comfyui_hands_on_one_verdict_a_picture(detector):
    answer = run_check(picture(3), WIDE, detector)
    handed = comfy("execution").merge_result_data([answer.result], nodes()["EraseOnceSundryCheck"])
    assert [len(part) for part in handed] == [3, 3, 3, 1, 1, 1]


def test_the_overlay_shows_what_was_found(detector, blind):
    image = picture(1, 240, 320)
    hole = torch.nn.functional.interpolate(WIDE[None], (240, 320))[0]
    failed = run_check(image, hole, detector)
    passed = run_check(image, hole, blind)
    red, green = torch.tensor([230, 20, 40]) / 255, torch.tensor([20, 130, 60]) / 255
    assert torch.allclose(failed[4][0, 1, -1], red) and torch.allclose(passed[4][0, 1, -1], green)
    overlay, where = failed[4][0, 40:], failed[3][0, 40:] == 1
    redness = overlay[..., 0] - overlay[..., 1:].mean(-1)
    assert redness[where].mean() > redness[~where].mean() + 0.2
    plain = passed[4][0, 40:]
    edge_free = (plain - 0.7 * image[0, 40:]).abs().amax(-1) < 0.01
    assert 0.9 < edge_free.float().mean() < 1  # all but the line around the hole


def test_a_stroke_becomes_an_entity_and_is_grown(detector):
    image, snap = picture(), nodes()["EraseOnceSnapMask"].execute
    entities = sure_entities(found_in(image, detector), 0, (60, 80))
    widest = entities.masks[entities.masks.flatten(1).sum(1).argmax()]
    top, left = (int(side) for side in widest.nonzero()[0])
    stroke = mask(top, top + 1, left, left + 1)
    answer = snap(image, stroke, detector, 0)
    assert any(torch.equal(answer[0][0] == 1, one) for one in entities.masks) and answer[0][0, top, left] == 1
    assert re.fullmatch(r"1 of 1 part snapped to an object \(score 0\.\d\d\)\.", said(answer))
    wider = snap(image, stroke, detector, 4)[0]
    assert torch.equal(wider, grow(answer[0][None], 4)[0]) and wider.sum() > answer[0].sum()


def test_a_stroke_that_hits_nothing_stays(blind):
    snap = nodes()["EraseOnceSnapMask"].execute
    stroke = mask(10, 14, 10, 60)
    answer = snap(picture(2), torch.cat([stroke, EMPTY]), blind, 0)
    assert torch.equal(answer[0], torch.cat([stroke, EMPTY]))
    stayed = "0 of 1 part snapped to an object; 1 matched none and stayed as painted."
    assert (
        said(answer) == f"Picture 1: {stayed} Picture 2: The mask is empty: nothing to snap, so the mask stays empty."
    )


def test_a_box_around_what_the_detector_does_not_know_is_cut_out_by_its_colours(blind):
    thing, around = mask(20, 40, 30, 60), mask(15, 45, 25, 65)
    image = 0.4 + 0.1 * picture() - 0.3 * thing[..., None]
    stroke = mask(50, 52, 2, 20)
    answer = nodes()["EraseOnceSnapMask"].execute(image, torch.maximum(around, stroke), blind, 0)
    assert torch.equal(answer[0], torch.maximum(thing, stroke))
    assert said(answer) == "1 of 2 parts snapped to an object (1 by its colours); 1 matched none and stayed as painted."


def test_the_list_holds_the_built_in_files_and_folders(folder, tmp_path_factory):
    away = tmp_path_factory.mktemp("away") / "hub"
    tiny = tiny_detector()
    tiny.network.save_pretrained(away)
    (folder / "linked").symlink_to(away)
    write_detector(folder / "ours.safetensors", tiny, torch.float32)
    (folder / "readme.txt").write_text("not a model")
    torch.save({}, folder / "published.pth")
    assert room("detector").detector_names() == [BUILT_IN, "linked", "ours.safetensors", "published.pth"]
    weight = next(tiny.network.parameters())
    for name in ("linked", "ours.safetensors"):
        (loaded,) = nodes()["EraseOnceLoadDetector"].execute(name).result
        assert torch.equal(next(loaded.model.network.parameters()), weight)
    before = nodes()["EraseOnceLoadDetector"].fingerprint_inputs("ours.safetensors")
    write_detector(folder / "ours.safetensors", tiny, torch.float16)
    assert nodes()["EraseOnceLoadDetector"].fingerprint_inputs("ours.safetensors") != before
    assert nodes()["EraseOnceLoadDetector"].fingerprint_inputs(BUILT_IN)[0][0] == str(NANO_DETECTOR)


def test_what_is_no_detector_is_refused(folder):
    execute = nodes()["EraseOnceLoadDetector"].execute
    save_file({"a": torch.zeros(1)}, folder / "other.safetensors")
    with pytest.raises(ValueError, match=r"other.safetensors must describe a detector in its metadata"):
        execute("other.safetensors")
    (folder / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"broken.safetensors"):
        execute("broken.safetensors")
    (folder / "detr").mkdir()
    (folder / "detr" / "config.json").write_text('{"model_type": "detr"}')
    with pytest.raises(ValueError, match="detr must hold a mask2former, got a detr."):
        execute("detr")
    with pytest.raises(FileNotFoundError, match=re.escape("nowhere.pth")):
        execute("nowhere.pth")


def test_registering_the_folder_keeps_what_is_registered(monkeypatch):
    folders, register = comfy("folder_paths"), room("detector").register_folder
    ours = f"{folders.models_dir}/detection"
    assert ours in folders.get_folder_paths("detection")  # which importing the nodes has done
    monkeypatch.setitem(folders.folder_names_and_paths, "detection", (["/elsewhere"], {".safetensors"}))
    register()
    register()
    assert folders.folder_names_and_paths["detection"] == (["/elsewhere", ours], {".safetensors"})


def test_the_detector_is_under_memory_management():
    management, image = comfy("comfy.model_management"), picture()
    patcher = room("detector").managed(load_detector(NANO_DETECTOR))
    assert type(patcher) is comfy("comfy.model_patcher").ModelPatcher and patcher.model_size() > 4e6
    before = run_check(image, WIDE, patcher)

    def is_loaded() -> bool:
        return any(loaded.model is patcher for loaded in management.current_loaded_models)

    assert is_loaded()
    management.unload_all_models()
    assert not is_loaded() and patcher.model.device == patcher.offload_device
    again = run_check(image, WIDE, patcher)
    assert is_loaded() and torch.equal(before[4], again[4]) and before[2] == again[2]
    assert patcher.loaded_size() == patcher.model_size()


def test_the_patchers_class_is_looked_up_when_it_is_needed(monkeypatch):
    patchers = comfy("comfy.model_patcher")

    class Core(patchers.ModelPatcher):
        """As dynamic memory management exchanges the class when it starts."""

    monkeypatch.setattr(patchers, "CoreModelPatcher", Core, raising=False)
    assert type(room("detector").managed(tiny_detector())) is Core


def test_cancel_stops_before_the_next_picture(detector):
    management = comfy("comfy.model_management")
    management.interrupt_current_processing()
    with pytest.raises(management.InterruptProcessingException):
        run_check(picture(2), WIDE, detector)
    assert run_check(picture(), WIDE, detector)[1]  # and the next run goes on


def test_several_masks_of_one_picture_are_checked_as_one_and_snapped_one_by_one(detector):
    halves = torch.cat([mask(1, 30, 1, 79), mask(30, 59, 1, 79)])
    for several in (halves, halves[None]):
        assert run_check(picture(), several, detector).result[:3] == run_check(picture(), WIDE, detector).result[:3]
        snapped = nodes()["EraseOnceSnapMask"].execute(picture(), several, detector, 0)
        alone = [nodes()["EraseOnceSnapMask"].execute(picture(), one[None], detector, 0)[0] for one in halves]
        assert torch.equal(snapped[0], torch.cat(alone))
        assert said(snapped).startswith("Mask 1: ") and " Mask 2: " in said(snapped)


def test_alpha_and_half_precision_make_no_difference_to_what_is_found(detector):
    opaque = torch.cat([picture(), torch.ones(1, 60, 80, 1)], -1)
    plain, with_alpha = (run_check(image, WIDE, detector) for image in (picture(), opaque))
    assert with_alpha.result[:3] == plain.result[:3] and with_alpha[4].shape == picture().shape
    half = run_check(picture().half(), WIDE, detector)
    assert half[3].dtype == half[4].dtype == torch.float16


def test_what_was_not_checked_is_neither_green_nor_red(detector, blind):
    checks = (WIDE, detector), (WIDE, blind), (EMPTY, detector)
    red, green, grey = (run_check(picture(), hole, by)[4][0, 1, -2] for hole, by in checks)
    assert red[0] > red[1] + 0.2 and green[1] > green[0] + 0.2
    assert (grey.amax() - grey.amin()) < 0.02
    faint = run_check(picture(), WIDE * 0.3, detector)
    assert (
        said(faint) == "Not checked: no part of the mask reaches 1/2 (its highest is 0.30), so there is no "
        "hole to look at."
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_a_picture_is_checked_in_every_precision(detector, dtype: torch.dtype):
    answer = run_check(picture().to(dtype), WIDE, detector)
    assert answer[3].dtype == answer[4].dtype == dtype
