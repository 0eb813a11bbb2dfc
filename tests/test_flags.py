"""What a person types wrongly is one line with the rule and what came, before any weight is read."""

import argparse
import re

import pytest
import torch
from PIL import Image
from tiny import TINY, tiny_checkpoint, tiny_config

from inpainting_core.checkpoint import write_checkpoint
from training import (
    nano,
    prepare_entities,
    prepare_mattes,
    prepare_shards,
    train_detector,
    train_eradiff,
    train_vae,
    train_yoeo_stage1,
    train_yoeo_stage2,
    train_yoeo_stage3,
)
from training.data.synthesis_flags import ranges_of
from training.running.endings import run_script

YOEO = [train_yoeo_stage1, train_yoeo_stage2, train_yoeo_stage3]
TRAINERS = [train_detector, train_eradiff, train_vae, *YOEO]
PREPARING = [prepare_entities, prepare_mattes, prepare_shards]


def name_of(script) -> str:
    return script.__name__.split(".")[-1]


every_script = pytest.mark.parametrize("script", [*TRAINERS, *PREPARING, nano], ids=name_of)


@every_script
def test_no_flag_takes_a_number_that_it_cannot_use(script, monkeypatch):
    """nan is what ``float`` takes and nothing can be done with; a whole number is from 0 or 1."""
    parsers = []
    with monkeypatch.context() as patch, pytest.raises(StopIteration):
        patch.setattr(argparse.ArgumentParser, "parse_args", lambda parser, _: parsers.append(parser) or next(iter(())))
        script.parse_args()
    numbers = [action for action in parsers[0]._actions if action.type is not None]
    assert numbers
    for action in numbers:
        for value in ("nan", "-1"):
            with pytest.raises(argparse.ArgumentTypeError, match=f"must be .*, got {value}"):
                action.type(value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two pictures in photos, a folder of shards of them, an empty one, and files of nothing that means anything."""
    folder = tmp_path_factory.mktemp("work")
    for name in ("photos", "shards", "empty"):
        (folder / name).mkdir()
    for name in "ab":
        Image.effect_noise((80, 70), 40).convert("RGB").save(folder / "photos" / f"{name}.png")
    prepare_shards.write_shards(folder / "photos", folder / "shards" / "set", 1)
    for name in ("junk.pth", "junk.json", "junk.safetensors"):
        (folder / name).write_bytes(b"junk")
    write_checkpoint(folder / "base.safetensors", tiny_checkpoint(tiny_config(vae=TINY)), torch.float32)
    return folder


ENTITIES, MATTES, SHARDS = (f"--images {{}} {rest}" for rest in ("--detector junk.pth", "--model junk", "--out o/set"))
STAGE_1 = "--base base.safetensors --out run --unlabelled drawn --resolution 32 --workers 0 --steps 1 --images"
MISTAKES = [
    *[
        (script, flags.format(images), said)
        for script, flags in ((prepare_entities, ENTITIES), (prepare_mattes, MATTES), (prepare_shards, SHARDS))
        for images, said in (
            ("nowhere", "there is nothing at --images nowhere"),
            ("empty", "must hold .jpg, .png or .webp pictures, got none in empty"),
            ("photos/*.png", r"must be given as a folder, and shards as one or as \*.tar files, got photos/\*.png"),
            ("photos/a.png", "must be given as a folder"),
            ("shards", "got none in shards|got shards, which holds shards already"),
        )
    ],
    (prepare_entities, "--images photos --detector nowhere", "nothing at --detector nowhere"),
    (prepare_entities, "--images photos --detector junk.pth", "junk.pth must be a whole file written by torch.save"),
    (prepare_entities, "--images photos --coco nowhere.json", "nothing at --coco nowhere.json"),
    (prepare_entities, "--images photos --detector junk.pth --semantic x --things junk.json", "got junk.json: "),
    (prepare_entities, "--images photos --detector junk.pth --device cuda:99", "--device cuda:99 cannot be used here"),
    (prepare_mattes, "--images photos --model junk.pth --device warp", "--device warp cannot be used here"),
    (
        prepare_mattes,
        "--images photos --open-images junk.json --open-images-masks x",
        "nothing at --open-images-masks x",
    ),
    (train_yoeo_stage1, f"{STAGE_1} photos/*.png", "must be given as a folder"),
    (train_yoeo_stage1, f"{STAGE_1} shards/*", "must be given as a folder"),
    (train_yoeo_stage1, f"{STAGE_1} empty", "got none in empty"),
    (train_yoeo_stage1, f"{STAGE_1} shards/set-{{000000..000009}}.tar", "set-000002.tar"),
    (train_yoeo_stage1, f"{STAGE_1} photos --vae empty", "--vae is for --base nano or small alone"),
    (train_vae, "--images photos --out run --size 33", "--size must be a multiple of 8, got 33"),
]


@pytest.mark.parametrize(("script", "flags", "said"), MISTAKES, ids=lambda value: getattr(value, "__name__", None))
def test_a_mistake_is_one_line_that_names_it(script, flags, said, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    flags = flags.replace("--out run", f"--out {tmp_path}")
    with pytest.raises(SystemExit) as end:
        run_script(lambda: script.parse_args(flags.split()), script.main)
    assert end.value.code == 2
    *_, line = capsys.readouterr().err.splitlines()
    assert "error: " in line
    assert re.search(said, line), line


def test_a_range_that_falls_is_refused():
    argv = "--base b --images i --out o --grow 5 1".split()
    with pytest.raises(ValueError, match="--grow must be given from low to high, got 5 1"):
        ranges_of(train_eradiff.parse_args(argv))
