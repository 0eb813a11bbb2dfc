"""Entities of a folder: from a detector and from annotations, with scores for things, stopped and gone on."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    Mask2FormerImageProcessor,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    SwinConfig,
)

from training import prepare_entities
from training.data.ledger import read_rows
from training.data.reading import Upright, read_upright
from training.data.sources import Folder
from training.data.thingness import load_thingness, mean_over_entities, queries_to_classes, thing_names
from training.prepare_entities import from_detector, main, parse_args, scores_of, source_of, stored_map
from yoeo_core.detector import Detections, Preprocessing, SundryDetector, write_detector

TINY = Mask2FormerConfig(
    backbone_config=SwinConfig(embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4, image_size=64,
                               out_features=["stage1", "stage2", "stage3", "stage4"]),
    feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=32, dim_feedforward=32,
    encoder_layers=1, decoder_layers=2, num_attention_heads=2, num_queries=6, num_labels=1,
)  # fmt: skip


def boxes(height, width):
    """Two entities: a box on the left and one on the right."""
    masks = torch.full((2, height, width), -8.0)
    masks[0, 8:-8, 4 : width // 2 - 4], masks[1, 8:-8, width // 2 + 4 : -4] = 8, 8
    return masks


class TwoBoxes(torch.nn.Module):
    """A detector whose answer is known: two boxes, surer of the first, and a query of nothing."""

    def forward(self, image):
        height, width = image.shape[-2] // 4, image.shape[-1] // 4
        masks = torch.cat([boxes(height, width), torch.full((1, height, width), -8.0)])
        odds = torch.tensor([0.9, 0.7, 0.1])
        logits = torch.stack([odds.log(), (1 - odds).log()], dim=1)
        return Detections(logits[None], masks[None], torch.zeros(1, 4, *masks.shape[-2:]))


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.jpg", "deeper/c.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (96, 128, 3), dtype=np.uint8)).save(path)
    return tmp_path / "photos"


@pytest.fixture
def detector_file(tmp_path):
    torch.manual_seed(0)
    network = Mask2FormerForUniversalSegmentation(TINY)
    write_detector(tmp_path / "tiny.safetensors", SundryDetector(network, Preprocessing(short_side=64, long_side=128)))
    return tmp_path / "tiny.safetensors"


def seen(width, height):
    """A picture as it is read."""
    return Upright(Image.new("RGB", (width, height)), 1, (width, height))


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*_entities.*")}


def test_queries_become_entities_with_the_scores_of_their_queries():
    ids, facts = from_detector(TwoBoxes(), None, "cpu")([Path()], [seen(128, 96)])[0]()
    ids = np.asarray(ids)
    assert ids.shape == (96, 128) and set(np.unique(ids)) == {0, 1, 2}
    assert ids[48, 30] == 1 and ids[48, 100] == 2 and ids[48, 64] == 0
    assert [fact["score"] for fact in facts] == pytest.approx([0.9, 0.7])
    assert [fact["thing"] for fact in facts] == [1.0, 1.0]


def test_things_and_stuff_are_told_apart_by_the_mean_over_the_entity():
    left = torch.zeros(24, 32)
    left[:, :16] = 0.8
    _, facts = from_detector(TwoBoxes(), lambda pictures: left[None], "cpu")([Path()], [seen(128, 96)])[0]()
    assert [fact["thing"] for fact in facts] == pytest.approx([0.8, 0.0], abs=0.02)


def test_an_entity_keeps_the_score_of_its_own_query_where_others_lie_over_it():
    masks = boxes(24, 32)[[0, 0, 1]]
    masks[1] -= 7.9  # a weak copy of the first
    odds = torch.tensor([0.65, 0.95, 0.8])
    logits = torch.stack([odds.log(), (1 - odds).log()], dim=1)
    ids = torch.zeros(96, 128, dtype=torch.long)
    ids[32:60, 20:40], ids[32:60, 80:100] = 1, 2
    scores = scores_of(ids, Detections(logits[None], masks[None], torch.zeros(1, 4, 24, 32)))
    assert scores == pytest.approx({1: 0.65, 2: 0.8}, abs=1e-3)


def test_a_folder_is_labelled_once_and_training_reads_it(photos, detector_file, capsys):
    (photos / "broken.png").write_bytes(b"no picture")
    Image.new("RGB", (96, 96)).save(photos / "b.png")
    main(parse_args(["--images", str(photos), "--detector", str(detector_file)]))
    written = files_of(photos)
    assert set(written) == {f"{name}_entities.{kind}" for name in ("a", "b", "deeper/c") for kind in ("png", "json")}
    rows = (photos / "entities.csv").read_text()
    assert "broken.png,refused,unreadable" in rows
    assert "b.png,refused,its map would have the name of the one of b.jpg" in rows
    assert "3 pictures labelled, 2 refused" in capsys.readouterr().out
    files = Folder(photos / "deeper")[0]
    assert Image.open(files.entities).size == Image.open(files.picture).size


def test_a_killed_run_goes_on_and_leaves_the_same_files(photos, detector_file, monkeypatch):
    argv = parse_args(["--images", str(photos), "--detector", str(detector_file)])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        save, done = prepare_entities.save_entities, []

        def die_at_the_second(path, entities):
            done.append(path)
            if len(done) == 2:
                raise KeyboardInterrupt
            save(path, entities)

        patch.setattr(prepare_entities, "save_entities", die_at_the_second)
        main(argv)
    assert len(files_of(photos)) == 2
    kept = photos / "a_entities.png"
    before = kept.stat().st_mtime_ns
    main(argv)
    resumed = files_of(photos)
    assert len(resumed) == 6 and kept.stat().st_mtime_ns == before
    (photos / "entities.csv").unlink()
    main(argv)
    assert files_of(photos) == resumed


def test_several_at_once_are_labelled_as_one_by_one_is(tmp_path, detector_file, monkeypatch):
    """Pictures of two sizes, one of them broken; semantic shares ride along."""
    rng, calls = np.random.default_rng(1), []
    for number, size in enumerate([(128, 96), (96, 128)] * 3):
        for way in ("one", "four"):
            (tmp_path / way).mkdir(exist_ok=True)
        pixels = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(size)
        for way in ("one", "four"):
            pixels.save(tmp_path / way / f"{number}.png")
            (tmp_path / way / "broken.png").write_bytes(b"no picture")
    forward = SundryDetector.forward
    monkeypatch.setattr(SundryDetector, "forward", lambda self, image: calls.append(len(image)) or forward(self, image))
    for way, flags in (("one", ["--batch-size", "1"]), ("four", [])):
        main(parse_args(["--images", str(tmp_path / way), "--detector", str(detector_file), *flags]))
    assert calls == [1] * 6 + [3, 3]
    one, four = (read_rows(tmp_path / way / "entities.csv") for way in ("one", "four"))
    assert [four[name][0] for name in one] == [status for status, _ in one.values()] and len(one) == len(four) == 7
    for number in range(6):
        maps = [np.array(Image.open(tmp_path / way / f"{number}_entities.png")) for way in ("one", "four")]
        assert (maps[0] != maps[1]).mean() < 0.01, "but for rounding"
        facts = [json.loads((tmp_path / way / f"{number}_entities.json").read_text()) for way in ("one", "four")]
        scores = [[fact["score"] for fact in each] for each in facts]
        assert scores[0] == pytest.approx(scores[1], abs=1e-4)


def test_maps_that_are_there_are_kept_verified_and_listed(photos, detector_file):
    own = Image.new("L", (128, 96), 7)
    own.save(photos / "a_entities.png")
    Image.new("RGB", (128, 96)).save(photos / "b_entities.png")
    before = [(photos / f"{name}_entities.png").read_bytes() for name in "ab"]
    main(parse_args(["--images", str(photos), "--detector", str(detector_file)]))
    assert [(photos / f"{name}_entities.png").read_bytes() for name in "ab"] == before
    rows = read_rows(photos / "entities.csv")
    assert rows["a.png"][0] == "done" and rows["deeper/c.png"][0] == "done"
    assert rows["b.jpg"] == ("refused", "its entity map must have one channel of ids, got mode RGB")


def test_coco_panoptic_is_read_as_it_comes(photos, tmp_path):
    ids = np.zeros((96, 128), dtype=np.uint8)
    ids[:50], ids[50:], ids[60:80, 20:60] = 1, 2, 3
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.stack([ids, ids * 0, ids * 0], axis=2)).save(tmp_path / "masks" / "a.png")
    segments = [{"id": 1, "category_id": 9}, {"id": 2, "category_id": 9, "iscrowd": 1}, {"id": 3, "category_id": 4}]
    table = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 96, "width": 128}],
        "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": segments}],
        "categories": [{"id": 9, "name": "sky", "isthing": 0}, {"id": 4, "name": "cat", "isthing": 1}],
    }
    (tmp_path / "panoptic.json").write_text(json.dumps(table))
    argv = ["--panoptic", str(tmp_path / "panoptic.json"), "--panoptic-masks", str(tmp_path / "masks")]
    main(parse_args(["--images", str(photos), *argv]))
    facts = json.loads((photos / "a_entities.json").read_text())
    assert [(fact["id"], fact["thing"]) for fact in facts] == [(1, 0.0), (2, 1.0)]
    stored = np.array(Image.open(photos / "a_entities.png"))
    assert (stored[60:80, 20:60] == 2).all() and (stored[:50] == 1).all() and (stored[85:] == 0).all()
    assert "no annotation" in (photos / "entities.csv").read_text()
    assert thing_names(tmp_path / "panoptic.json") == {"cat"}


def test_more_entities_than_eight_bits_and_pictures_over_the_limit_keep_their_size(tmp_path):
    Image.new("RGB", (400, 300)).save(tmp_path / "a.png")
    read = read_upright(tmp_path / "a.png", 200)
    assert read.picture.size == (200, 150)
    ids = stored_map(read, np.arange(150 * 200).reshape(150, 200) % 1000)
    assert ids.size == (400, 300) and np.array(ids).max() == 999
    assert np.array_equal(np.array(ids)[::2, ::2], np.arange(150 * 200).reshape(150, 200) % 1000)


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--detector", "x", "--coco", "y"],
        ["--detector", "x", "--semantic", "y"],
        ["--coco", "x", "--semantic", "y", "--things", "z"],
    ],
)
def test_flags_that_do_not_go_together_are_refused(argv, monkeypatch):
    monkeypatch.setattr(prepare_entities, "annotations_of", lambda args: {} if args.coco else None)
    with pytest.raises(ValueError, match="must come"):
        source_of(parse_args(["--images", "photos", *argv]))


def test_the_mean_over_an_entity_counts_its_own_pixels_only():
    ids = torch.zeros(8, 8, dtype=torch.long)
    ids[:2], ids[4:] = 1, 3
    values = torch.zeros(8, 8)
    values[0], values[4:] = 1, 0.25
    assert mean_over_entities(values, ids) == pytest.approx({1: 0.5, 3: 0.25})


def test_semantic_inference_is_mask2formers_own():
    torch.manual_seed(0)
    classes, masks = torch.randn(1, 5, 4), torch.randn(1, 5, 6, 7)
    ours = queries_to_classes(classes, masks)[0]
    outputs = SimpleNamespace(class_queries_logits=classes, masks_queries_logits=masks)
    theirs = Mask2FormerImageProcessor().post_process_semantic_segmentation(outputs, target_sizes=[(6, 7)])[0]
    assert ours.shape == (3, 6, 7)
    # theirs brings masks to 384 x 384 on the way, so a pixel between two classes may fall to either side
    assert (ours.argmax(0) == theirs).float().mean() > 0.8


@pytest.mark.parametrize("kind", ["mask2former", "segformer"])
def test_a_checkpoint_of_classes_gives_the_share_of_things(tmp_path, kind):
    torch.manual_seed(0)
    labels = {0: "cat", 1: "sky", 2: "grass"}
    if kind == "mask2former":
        config = Mask2FormerConfig(**{**TINY.to_dict(), "id2label": labels, "label2id": None})
        network, processor = Mask2FormerForUniversalSegmentation(config), Mask2FormerImageProcessor
    else:
        config = SegformerConfig(
            num_encoder_blocks=2, depths=[1, 1], sr_ratios=[1, 1], hidden_sizes=[8, 8], patch_sizes=[7, 3],
            strides=[4, 2], num_attention_heads=[1, 1], mlp_ratios=[1, 1], decoder_hidden_size=8, id2label=labels,
        )  # fmt: skip
        network, processor = SegformerForSemanticSegmentation(config), SegformerImageProcessor
    network.save_pretrained(tmp_path)
    processor(size={"height": 64, "width": 64}).save_pretrained(tmp_path)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8))
    shares = [load_thingness(str(tmp_path), {name}, "cpu")([picture])[0] for name in labels.values()]
    assert all(share.min() >= 0 and share.max() <= 1 for share in shares)
    torch.testing.assert_close(sum(shares), torch.ones_like(shares[0]))
    for things in ({"dog"}, set(labels.values())):
        with pytest.raises(ValueError, match="must be some of the 3 classes"):
            load_thingness(str(tmp_path), things, "cpu")
