"""The detector: what it is shown, what it says, how gradients pass it, and the files it comes from."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_detector
from torch.nn import functional as F

from yoeo_core.detector import METADATA, Detections, Preprocessing, load_detector, write_detector


def picture(height: int = 60, width: int = 80, dtype: torch.dtype = torch.float32, b: int = 2) -> torch.Tensor:
    return torch.rand(b, 3, height, width, generator=torch.Generator().manual_seed(1), dtype=dtype)


def equal(a: Detections, b: Detections) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("class_logits", "mask_logits", "features"))


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((512, 512), (640, 640)),
        ((384, 640), (640, 1056)),
        ((640, 384), (1056, 640)),
        ((256, 1024), (320, 1344)),
        ((1080, 1920), (640, 1152)),
        ((64, 64), (640, 640)),
        ((8, 2000), (32, 1344)),
    ],
)
def test_a_picture_is_shown_at_the_published_size(size, seen):
    assert Preprocessing().size(*size) == seen


def test_a_shown_picture_is_resized_and_normalised():
    mean, std = torch.tensor([0.485, 0.456, 0.406])[:, None, None], torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    rule = Preprocessing(short_side=96, long_side=200)
    grown = F.interpolate(picture(48, 64), (96, 128), mode="bilinear", align_corners=False)
    assert torch.allclose(rule(picture(48, 64)), (grown - mean) / std, atol=1e-6)
    flat = torch.full((1, 3, 500, 333), 0.25)
    assert torch.allclose(rule(flat), ((0.25 - mean) / std).expand(1, 3, 160, 96), atol=1e-6)


def test_a_picture_that_shrinks_is_smoothed_first():
    stripes = torch.zeros(1, 3, 384, 384)
    stripes[..., ::4] = 1
    shown = Preprocessing(short_side=96, long_side=200, mean=(0, 0, 0), std=(1, 1, 1))(stripes)
    assert torch.allclose(shown[..., 4:-4], torch.tensor(0.25), atol=0.05)


def test_masks_and_features_lie_on_a_quarter_of_what_is_seen():
    found = tiny_detector()(picture())
    assert found.class_logits.shape == (2, 5, 2)
    assert found.mask_logits.shape == (2, 5, 16, 24) and found.features.shape == (2, 32, 16, 24)


def test_the_features_are_what_masks_are_made_of():
    found = tiny_detector()(picture())
    columns, masks = found.features[0].flatten(1).T.double(), found.mask_logits[0].flatten(1).T.double()
    weights = torch.linalg.lstsq(columns, masks).solution
    assert torch.allclose(columns @ weights, masks, atol=1e-5)


def test_scores_of_one_class_and_of_many():
    one, many = (tiny_detector(classes=classes)(picture()) for classes in (1, 4))
    assert torch.allclose(one.entity_score, one.class_logits.softmax(-1)[..., 0])
    assert torch.allclose(many.entity_score, 1 - many.class_logits.softmax(-1)[..., -1])
    for found in (one, many):
        no_object = torch.full(found.entity_score.shape, found.class_logits.shape[-1] - 1)
        cross_entropy = F.cross_entropy(found.class_logits.movedim(-1, 1), no_object, reduction="none")
        assert torch.allclose(found.no_object_log_prob, -cross_entropy)
        assert torch.allclose(found.no_object_log_prob.exp(), 1 - found.entity_score)


def test_gradients_in_the_picture_equal_finite_differences():
    detector = tiny_detector().double()
    image = picture(64, 64, torch.float64, b=1).requires_grad_()
    generator = torch.Generator().manual_seed(2)

    def weigh(found: Detections) -> torch.Tensor:
        generator.manual_seed(3)
        values = (found.class_logits, found.mask_logits, found.features)
        return sum((torch.randn(v.shape, generator=generator, dtype=v.dtype) * v).sum() for v in values)

    weigh(detector(image)).backward()
    assert image.grad.any(1).all(), "every pixel counts"
    with torch.no_grad():
        for seed in range(4):
            generator.manual_seed(seed)
            way = torch.randn(image.shape, generator=generator, dtype=image.dtype)
            step = 1e-8 * way  # so small that no ReLU is crossed
            slope = (weigh(detector(image + step)) - weigh(detector(image - step))) / 2e-8
            assert float((image.grad * way).sum()) == pytest.approx(float(slope), rel=1e-5)


def test_it_is_frozen_and_nothing_wakes_it():
    detector = tiny_detector()
    assert not any(weight.requires_grad for weight in detector.parameters())
    before = detector(picture())
    outer = torch.nn.Sequential(detector).train()
    assert outer.training and not any(module.training for module in detector.modules())
    assert equal(detector.train()(picture()), before)


def test_a_half_network_answers_in_the_picture_s_precision():
    exact, half = tiny_detector(), tiny_detector().to(torch.bfloat16)
    found = half(picture())
    assert {found.class_logits.dtype, found.mask_logits.dtype, found.features.dtype} == {torch.float32}
    assert torch.allclose(found.entity_score, exact(picture()).entity_score, atol=0.05)


def test_our_file_brings_the_network_and_its_preprocessing_back(tmp_path):
    detector = tiny_detector(classes=2, queries=3)
    write_detector(tmp_path / "a.safetensors", detector, torch.float32)
    loaded = load_detector(tmp_path / "a.safetensors")
    assert loaded.preprocessing == detector.preprocessing == Preprocessing(short_side=64, long_side=133)
    assert equal(loaded(picture()), detector(picture()))
    assert not any(weight.requires_grad for weight in loaded.parameters())


def test_loading_says_nothing(tmp_path, capfd):
    from transformers.utils import logging

    write_detector(tmp_path / "a.safetensors", tiny_detector())
    before = logging.get_verbosity()
    capfd.readouterr()
    load_detector(tmp_path / "a.safetensors")
    assert "MISSING" not in "".join(capfd.readouterr())
    assert logging.get_verbosity() == before


def test_half_precision_is_written_by_default_and_halves_the_file(tmp_path):
    write_detector(tmp_path / "half.safetensors", tiny_detector())
    write_detector(tmp_path / "whole.safetensors", tiny_detector(), torch.float32)
    half, whole = ((tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "whole"))
    assert half < 0.6 * whole
    loaded = load_detector(tmp_path / "half.safetensors", dtype=torch.bfloat16)
    assert loaded.network.dtype == torch.bfloat16
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"size": {"shortest_edge": 96, "longest_edge": 200}}, {"short_side": 96, "long_side": 200}),
        ({"size": {"height": 64, "width": 96}}, {"short_side": 64}),
        ({"size": 96, "max_size": 200}, {"short_side": 96, "long_side": 200}),
        ({"image_mean": [0.5, 0.5, 0.5], "image_std": [1, 1, 1]}, {"mean": (0.5, 0.5, 0.5), "std": (1, 1, 1)}),
        (None, {}),
    ],
)
def test_a_hugging_face_folder(said, expected, tmp_path):
    detector = tiny_detector()
    detector.network.save_pretrained(tmp_path)
    if said is not None:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    loaded = load_detector(tmp_path)
    assert loaded.preprocessing == Preprocessing(**expected)
    pixels = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    ours, theirs = (d.network(pixel_values=pixels, output_hidden_states=True) for d in (detector, loaded))
    assert torch.equal(ours.masks_queries_logits, theirs.masks_queries_logits)


def refused(path, sentence: str, error: type[Exception] = ValueError) -> None:
    with pytest.raises(error, match=re.escape(sentence)):
        load_detector(path)


def test_files_that_are_no_detector_are_refused_in_one_sentence(tmp_path):
    refused(tmp_path / "none.pth", "a detector must be a file or a folder that exists, got", FileNotFoundError)
    save_file({"conv_in.weight": torch.zeros(1)}, tmp_path / "unet.safetensors")
    refused(
        tmp_path / "unet.safetensors",
        "unet.safetensors must describe a detector in its metadata (erase_once_detector), got conv_in.weight without.",
    )
    for number, stored in enumerate(("not JSON", "{}", '{"network": {}, "preprocessing": {"side": 3}}')):
        path = tmp_path / f"{number}.safetensors"
        save_file({"x": torch.zeros(1)}, path, metadata={METADATA: stored})
        refused(path, f"{number}.safetensors must describe its detector, got {stored!r} (")


def test_folders_that_are_no_detector_are_refused_in_one_sentence(tmp_path):
    refused(tmp_path, "a detector's folder must hold config.json, got none in", FileNotFoundError)
    (tmp_path / "config.json").write_text('{"model_type": "detr"}')
    refused(tmp_path, f"{tmp_path.name} must hold a mask2former, got a detr.")
    (tmp_path / "config.json").write_text('{"model_type": "mask2former"}')
    sentence = f"{tmp_path.name} must hold its weights in one of "
    refused(tmp_path, sentence, FileNotFoundError)


def test_our_file_must_hold_its_network_s_weights_and_no_other(tmp_path):
    path = tmp_path / "a.safetensors"
    write_detector(path, tiny_detector())
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        weights, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()
    for changed, kind in (
        ({k: v for k, v in weights.items() if k != "class_predictor.bias"}, "missing"),
        (weights | {"class_predictor.more": torch.zeros(1)}, "unexpected"),
        (weights | {"class_predictor.bias": torch.zeros(9)}, "mismatched"),
    ):
        save_file(changed, path, metadata=metadata)
        with pytest.raises(ValueError, match=rf"exactly its network's weights, got .*class_predictor.* {kind}\."):
            load_detector(path)


SHARDS, VARIANT = {"max_shard_size": "100KB"}, {"variant": "fp16"}


@pytest.mark.parametrize("how", [SHARDS, VARIANT, SHARDS | VARIANT], ids=["shards", "variant", "both"])
def test_a_hugging_face_folder_of_shards_or_a_variant(how, tmp_path):
    detector = tiny_detector()
    detector.network.save_pretrained(tmp_path, **how)
    assert not (tmp_path / "model.safetensors").exists()
    loaded = load_detector(tmp_path)
    loaded.preprocessing = detector.preprocessing
    assert equal(loaded(picture()), detector(picture()))


def test_what_belongs_to_no_layer_is_left_out_of_a_folder(tmp_path, caplog):
    detector = tiny_detector()
    detector.network.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file(load_file(file) | {"loss.counter": torch.zeros(3)}, file)
    loaded = load_detector(tmp_path)
    loaded.preprocessing = detector.preprocessing
    assert equal(loaded(picture()), detector(picture()))
    assert f"{tmp_path.name}: left out 1 keys that belong to no layer, such as loss.counter." in caplog.text
