"""Training a detector on a CPU: it learns, stops and goes on exactly, and the file it leaves loads as a judge."""

import argparse
import json
import os

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from tiny import tiny_checkpoint
from training_runs import draw_photographs, fork_two, killed_at, logged
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

from inpainting_core.checkpoint import write_checkpoint
from training.data.detector_scenes import SMALLEST_VISIBLE, EntityScenes, HalfDecoded, smear, visible
from training.data.recipe import NANO_FLAGS, NANO_RECIPE
from training.held_out.detections import found, masks_of, matches, outlined, recall_and_precision
from training.networks.detector import load_network, preprocessing_at
from training.train_detector import labels_of, main, parse_args
from yoeo_core.detector import load_detector

SMALL = ["--resolution", "64", "--batch-size", "2", "--workers", "0", "--warmup", "0", *NANO_FLAGS.split()]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return draw_photographs(tmp_path_factory.mktemp("photos"), (100, 90))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A network of 80 classes, as from a hub."""
    swin = SwinConfig(
        image_size=64, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = Mask2FormerConfig(
        backbone_config=swin, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=32,
        dim_feedforward=32, encoder_layers=1, decoder_layers=2, num_attention_heads=2, num_queries=6, num_labels=80,
        train_num_points=64,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    Mask2FormerForUniversalSegmentation(config).save_pretrained(folder)
    return folder


def trained(out, base, photos, *extra):
    """Run the script and return the weights it wrote."""
    main(parse_args(["--base", str(base), "--images", str(photos), "--out", str(out), *SMALL, *extra]))
    return load_file(out / "detector.safetensors")


def test_two_processes_weigh_masks_as_one_does(base, photos, tmp_path):
    """The loss looks at random points, of each process's own; where masks count twice, it is nearly twice as large."""
    extra = ["--base", str(base), "--images", str(photos), *SMALL, "--steps", "3"]
    one, two = (parse_args([*extra, "--out", str(tmp_path / size), "--batch-size", size]) for size in ("4", "2"))
    fork_two(main, two)
    main(one)
    assert logged(tmp_path / "2", "loss") == pytest.approx(logged(tmp_path / "4", "loss"), rel=0.05)


def test_the_queries_of_two_processes_weigh_as_those_of_one(base):
    """One thing in the first picture, three in the second: a mean over each process's own would weigh them alike."""
    network = load_network(str(base))
    logits = torch.randn(2, 6, 2, generator=torch.Generator().manual_seed(0))
    labels = [torch.zeros(count, dtype=torch.long) for count in (1, 3)]
    matched = [(torch.arange(count), torch.arange(count)) for count in (1, 3)]
    stock = Mask2FormerLoss(network.config, network.weight_dict)
    whole = stock.loss_labels(logits, labels, matched)["loss_cross_entropy"]

    def of_one(rank: int) -> None:
        accelerator, own = Accelerator(cpu=True), slice(rank, rank + 1)
        loss = network.criterion.loss_labels(logits[own], labels[own], matched[own])["loss_cross_entropy"]
        assert torch.allclose(accelerator.reduce(loss, "mean"), whole, rtol=1e-5)
        assert float(network.criterion.get_num_masks(labels[own], logits.device)) == 2

    fork_two(lambda _: of_one(int(os.environ["RANK"])), argparse.Namespace())


def test_a_resumed_run_gives_the_bits_of_one_that_never_stopped(base, photos, tmp_path, monkeypatch):
    write_checkpoint(tmp_path / "erase.safetensors", tiny_checkpoint())
    extra = ["--steps", "4", "--save-every", "2", "--decoded-by", str(tmp_path / "erase.safetensors"), "--decoded", "3"]
    whole = trained(tmp_path / "whole", base, photos, *extra)
    with killed_at(monkeypatch, 2):
        trained(tmp_path / "parts", base, photos, *extra)
    resumed = trained(tmp_path / "parts", base, photos, *extra)
    assert whole.keys() == resumed.keys()
    for key in whole:
        assert whole[key].equal(resumed[key]), key


def test_what_it_leaves_is_a_judge_and_a_base_to_go_on_from(base, photos, tmp_path):
    trained(tmp_path / "one", base, photos, "--steps", "2", "--validation", str(photos), "--save-every", "1")
    facts = json.loads((tmp_path / "one" / "held_out.json").read_text())
    assert {"recall", "precision", "iou", "steps"} <= facts.keys()
    assert [path.name for path in sorted((tmp_path / "one" / "sheets").iterdir())] == ["000001.jpg", "000002.jpg"]
    detector = load_detector(tmp_path / "one" / "detector.safetensors")
    assert detector.preprocessing == preprocessing_at(64)
    picture = torch.rand(1, 3, 64, 96, requires_grad=True)
    found_there = detector(picture)
    assert found_there.class_logits.shape == (1, 6, 2)
    found_there.mask_logits.sum().backward()
    assert picture.grad.abs().sum() > 0
    again = trained(tmp_path / "two", tmp_path / "one" / "detector.safetensors", photos, "--steps", "1", "--lr", "0")
    first = load_file(tmp_path / "one" / "detector.safetensors")
    assert all(again[key].equal(value) for key, value in first.items())


def test_it_learns(base):
    """One bright box on grey, always the same picture: the loss falls and the box is found."""
    torch.manual_seed(0)
    network = load_network(str(base)).train()
    image, entities = torch.full((1, 3, 64, 64), 0.4), torch.zeros(1, 64, 64, dtype=torch.long)
    image[..., 16:48, 16:48], entities[:, 16:48, 16:48] = 1.0, 1
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    for _ in range(80):
        loss = network(pixel_values=preprocessing_at(64)(image), **labels_of(entities)).loss.squeeze()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    def predict(image):
        output = network.eval()(pixel_values=preprocessing_at(64)(image))
        return output.class_queries_logits.softmax(-1)[..., 0], output.masks_queries_logits

    assert recall_and_precision(predict, image, entities)["recall"] == 1.0


def test_the_nano_fits_its_file():
    assert 2 * sum(weight.numel() for weight in load_network("nano").parameters()) < 6e6


@pytest.mark.parametrize("entities", [0, 1])
def test_every_weight_that_is_trained_gets_a_gradient(base, entities):
    network = load_network(str(base)).train()
    ids = torch.zeros(2, 64, 64, dtype=torch.long)
    ids[0, 10:40, 10:40] = entities
    network(pixel_values=torch.rand(2, 3, 64, 64), **labels_of(ids)).loss.squeeze().backward()
    assert [name for name, weight in network.named_parameters() if weight.requires_grad and weight.grad is None] == []


def test_a_query_that_finds_what_no_map_shows_weighs_as_little_as_it_is_told(base):
    logits, nothing = torch.tensor([[[3.0, 0.0]] * 6]), [torch.zeros(0, dtype=torch.long)]
    logits[0, 0] = torch.tensor([-1.0, 2.0])
    labels, matched = [torch.zeros(1, dtype=torch.long)], [(torch.tensor([0]), torch.tensor([0]))]
    losses = {}
    for weight in (1.0, 0.01):
        criterion = load_network(str(base), weight).criterion
        losses[weight] = criterion.loss_labels(logits, labels, matched)["loss_cross_entropy"].item()
        assert criterion.loss_labels(logits, nothing, [(torch.zeros(0, dtype=torch.long),) * 2])
    right, wrong = (torch.tensor([value]).exp().log1p().item() for value in (3.0, 3.0))
    assert losses[1.0] == pytest.approx((right + 5 * wrong) / 6, rel=1e-4)
    assert losses[0.01] == pytest.approx((right + 0.05 * wrong) / 1.05, rel=1e-4)


def test_scenes_are_a_pure_function_of_seed_and_index(photos):
    first, again = EntityScenes(photos, 48, 9, 3, NANO_RECIPE), EntityScenes(photos, 48, 9, 3, NANO_RECIPE)
    [first[index] for index in range(4)]
    for key, value in first[7].items():
        assert value.equal(again[7][key]), key
    pool = [{"image": torch.randint(0, 256, (3, 48, 48)).byte(), "entities": torch.zeros(48, 48).byte()}] * 3
    half = HalfDecoded(first, pool)
    assert half[4]["image"].equal(first[2]["image"]) and half[5]["image"].equal(half[5]["image"])
    assert not half[5]["image"].equal(first[2]["image"])


def test_every_entity_asked_for_can_be_seen(photos):
    scenes, counts = EntityScenes(photos, 64, 60, 0, NANO_RECIPE), []
    for index in range(len(scenes)):
        masks = masks_of(scenes[index]["entities"])
        counts.append(len(masks))
        assert all(mask.float().mean() >= SMALLEST_VISIBLE for mask in masks)
    assert min(counts) == 0 and max(counts) >= 4


def test_ids_are_closed_up_where_one_is_hidden():
    entities = np.zeros((40, 40), dtype=int)
    entities[:10], entities[20, 20], entities[30:] = 2, 5, 9
    assert np.unique(visible(entities)).tolist() == [0, 1, 2]
    assert (visible(entities)[30:] == 2).all() and visible(entities)[20, 20] == 0


def test_a_smear_only_blurs():
    pixels = np.random.default_rng(0).uniform(0, 255, (64, 64, 3))
    smeared = smear(pixels, np.random.default_rng(1))
    changed = np.abs(smeared - pixels).max(2) > 1
    assert 0.01 < changed.mean() < 0.9
    assert smeared[changed].std() < pixels[changed].std()


def boxes(*corners):
    masks = torch.zeros(len(corners), 20, 20, dtype=torch.bool)
    for mask, (top, left, bottom, right) in zip(masks, corners, strict=True):
        mask[top:bottom, left:right] = True
    return masks


def test_an_entity_is_found_once_and_only_by_a_mask_that_overlaps_by_half():
    truth = boxes((0, 0, 10, 10), (10, 10, 20, 20))
    masks = boxes((0, 0, 10, 9), (0, 0, 10, 10), (10, 10, 14, 20))
    assert matches(masks, truth).tolist() == pytest.approx([0.9])
    assert matches(masks, truth[:0]).tolist() == [] and matches(masks[:0], truth).tolist() == []


def test_recall_and_precision_count_over_all_pictures():
    truth = torch.zeros(2, 20, 20, dtype=torch.long)
    truth[0, :10, :10], truth[0, 10:, 10:] = 1, 2
    logits = (boxes((0, 0, 10, 10), (0, 10, 10, 20), (0, 0, 20, 20)).float() * 2 - 1)[None].expand(2, -1, -1, -1)
    scores = torch.tensor([[0.9, 0.1, 0.1], [0.1, 0.3, 0.1]])
    numbers = recall_and_precision(lambda image: (scores, logits), torch.zeros(2, 3, 20, 20), truth)
    assert numbers == pytest.approx({"recall": 0.5, "precision": 0.5, "f1": 0.5, "iou": 1.0})


def test_what_is_found_comes_best_first_and_is_outlined():
    logits = boxes((0, 0, 5, 5), (10, 10, 20, 20)).float() * 2 - 1
    masks = found(torch.tensor([0.3, 0.8]), logits, (20, 20))
    assert masks.flatten(1).sum(1).tolist() == [100, 25]
    drawn = outlined(torch.zeros(3, 20, 20), masks)
    assert drawn[:, 9, 15].sum() > 0 and drawn[:, 15, 15].sum() == 0


def test_a_picture_in_which_nothing_is_sure_has_no_masks():
    assert found(torch.zeros(3), torch.randn(3, 4, 4), (16, 12)).shape == (0, 16, 12)
