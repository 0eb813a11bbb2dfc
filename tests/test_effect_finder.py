"""The network that finds effects: its file, and its answer for a whole picture."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from training.networks.effect_finder import METADATA, EffectFinder, FinderConfig, load_finder, near, write_finder
from training.networks.effect_squares import SEEN, effect_of, hanging, lay, look_at, square_around

SMALL = FinderConfig(32, (8, 16))


def finder(says: float) -> EffectFinder:
    """A small network with the same logit for every pixel."""
    torch.manual_seed(0)
    network = EffectFinder(SMALL).eval().requires_grad_(False)
    network.head.weight.zero_()
    network.head.bias.fill_(says)
    return network


@pytest.fixture(scope="module")
def random_finder() -> EffectFinder:
    """One that sees something here and there."""
    torch.manual_seed(3)
    network = EffectFinder(SMALL).eval().requires_grad_(False)
    network.head.weight.mul_(5)
    network.head.bias.zero_()
    return network


def picture(frames: int = 1, height: int = 90, width: int = 120) -> torch.Tensor:
    return torch.rand(frames, 3, height, width, generator=torch.Generator().manual_seed(7))


def box(top: int, bottom: int, left: int, right: int) -> torch.Tensor:
    mask = torch.zeros(1, 90, 120)
    mask[:, top:bottom, left:right] = 1
    return mask


def test_what_is_found_lies_in_the_square_around_the_object_and_not_in_its_mask():
    mask = box(30, 50, 40, 70)
    side = round(SEEN * 30)
    expected = torch.zeros(1, 90, 120)
    expected[:, 40 - side // 2 : 40 + side // 2, 55 - side // 2 : 55 + side // 2] = 1
    assert torch.equal(effect_of(finder(9), picture(), mask[None])[0], expected - mask)
    assert not effect_of(finder(-9), picture(), mask[None]).any()


def test_an_object_at_the_pictures_edge_is_looked_at_too():
    effect = effect_of(finder(9), picture(), box(80, 90, 0, 12)[None])
    assert effect.any() and effect.shape == (1, 1, 90, 120)


def test_nothing_is_looked_at_without_an_object(random_finder):
    assert effect_of(random_finder, picture(), box(30, 50, 40, 60)[None]).any()
    assert not effect_of(random_finder, picture(), torch.zeros(1, 1, 90, 120)).any()


def test_a_square_is_laid_back_where_it_was_taken():
    plane = torch.zeros(1, 1, 30, 40)
    for place in ((-5, -7, 9, 7), (20, 30, 36, 46), (-4, -4, 44, 44), (3, 4, 9, 10)):
        onto = torch.zeros(1, 1, 30, 40)
        lay(look_at(plane + 1, place, pad="constant"), place, onto)
        inside = torch.zeros(30, 40)
        inside[max(0, place[0]) : place[2], max(0, place[1]) : place[3]] = 1
        assert torch.equal(onto[0, 0], inside)


def test_the_square_holds_the_object_in_its_middle():
    top, left, bottom, right = square_around((10, 20, 20, 60))
    assert bottom - top == right - left == round(SEEN * 40) and (top + bottom, left + right) == (30, 80)


def test_what_does_not_hang_on_the_object_is_left_out():
    found, touched = torch.zeros(1, 1, 20, 20), torch.zeros(1, 1, 20, 20)
    found[..., 2:6, 2:6] = found[..., 10:14, 10:14] = 1
    touched[..., 0:3, 0:3] = 1
    assert hanging(found, touched).sum() == 16 and hanging(found, touched)[..., 2:6, 2:6].all()


def test_near_falls_with_the_distance():
    mask = torch.zeros(1, 1, 40, 40)
    mask[..., 18:22, 18:22] = 1
    values = near(mask)[0, 0, 20, 21:]
    assert values[0] == 1 and (values.diff() < 0).all() and values[4] == pytest.approx(torch.tensor(-1.0).exp().item())
    assert not near(torch.zeros(1, 1, 8, 8)).any()


def test_a_file_gives_its_network_back(random_finder, tmp_path):
    write_finder(tmp_path / "one.safetensors", random_finder, training={"steps": 3})
    again = load_finder(tmp_path / "one.safetensors")
    assert again.config == SMALL and not again.training
    for key, value in random_finder.state_dict().items():
        assert torch.equal(again.state_dict()[key], value.half().float()), key


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metadata": {}}, r"must describe a finder of effects in its metadata \(erase_once_effects\)"),
        ({"metadata": {METADATA: '{"finder": {"side": 32}}'}}, "must describe a finder"),
        ({"metadata": {METADATA: json.dumps({"finder": {"side": 32, "widths": [8, 8]}})}}, "must hold down.1.0.weight"),
        ({"stray": torch.zeros(1)}, "must hold nothing but its model's weights, got stray too"),
    ],
)
def test_another_file_is_refused(random_finder, tmp_path, change, said):
    path = tmp_path / "one.safetensors"
    write_finder(path, random_finder)
    described = {METADATA: json.dumps({"finder": {"side": 32, "widths": [8, 16]}})}
    strays = {key: value for key, value in change.items() if key != "metadata"}
    save_file(load_file(path) | strays, path, metadata=change.get("metadata", described) | {"format": "pt"})
    with pytest.raises(ValueError, match=said):
        load_finder(path)
