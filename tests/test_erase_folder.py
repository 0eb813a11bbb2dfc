"""A folder of pictures erased without ComfyUI: what is done, what is refused, and what each run says of it."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from erase_folders import flags, has_red, mask, photo, rows, run
from PIL import Image, ImageDraw

from training import erase
from training.erase import main, parse_args
from training.erasing.eraser import Eraser

PICTURES = Path(__file__).resolve().parent.parent / "assets" / "pictures"


@pytest.mark.parametrize("method", ["yoeo", "eradiff"])
def test_a_folder_is_erased_and_the_rest_left_alone(tmp_path: Path, method: str):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    Image.open(PICTURES / "wren.jpg").crop((200, 40, 456, 232)).save(tmp_path / "images" / "part.png")
    drawn = Image.new("L", (256, 192))
    ImageDraw.Draw(drawn).ellipse((90, 60, 140, 110), fill=255)
    drawn.save(tmp_path / "masks" / "part_mask.png")
    where = flags(tmp_path)[-6:]
    assert main(parse_args(["--method", method, "--model", "nano", "--steps", "2", *where])) == 0
    before, after = (np.asarray(Image.open(tmp_path / name / "part.png")) for name in ("images", "out"))
    changed = (before != after).any(-1)
    assert changed[60:110, 95:135].mean() > 0.5
    assert not changed[:40].any() and not changed[:, :70].any() and not changed[:, 160:].any()


def test_each_result_has_its_pictures_place_name_and_format(tmp_path: Path, capsys: pytest.CaptureFixture):
    names = ["a/img.png", "b/img.png", "b/c d/ü.JPG", "scan.tiff"]
    for name in names:
        photo(tmp_path / "images" / name)
        mask((tmp_path / "masks" / name).with_suffix(".tif"))
    (tmp_path / "images" / "notes.txt").write_text("")
    assert run(tmp_path) == 0
    for name in names:
        assert has_red(tmp_path / "images" / name) and not has_red(tmp_path / "out" / name)
        with Image.open(tmp_path / "images" / name) as before, Image.open(tmp_path / "out" / name) as after:
            assert before.format == after.format and before.size == after.size
    said = capsys.readouterr()
    assert "not taken for pictures: 1 .txt" in said.err and f"4 erased: see {tmp_path}/out/erased.csv" in said.out
    done = rows(tmp_path)
    assert sorted(done) == sorted(names) and {row["status"] for row in done.values()} == {"erased"}
    row = done["b/c d/ü.JPG"]
    assert row["mask"] == "../masks/b/c d/ü.tif" and row["result"] == "b/c d/ü.JPG"
    assert row["crops"] == "1" and row["sizes"] == "128 x 128" and float(row["seconds"]) > 0 and row["verdict"] == ""
    assert row["says"].startswith("Erased 1 object: 128 x 128, 1 step, ")


def test_bad_pairs_are_named_and_the_others_done(tmp_path: Path, capsys: pytest.CaptureFixture):
    for name in ("1.png", "2.png", "3.png", "4.jpg", "5.png", "6.png"):
        photo(tmp_path / "images" / name)
        mask((tmp_path / "masks" / name).with_suffix(".png"))
    mask(tmp_path / "masks" / "2.png", size=(64, 64))
    (tmp_path / "masks" / "3.png").unlink()
    whole = (tmp_path / "images" / "4.jpg").read_bytes()
    (tmp_path / "images" / "4.jpg").write_bytes(whole[: len(whole) // 2])
    mask(tmp_path / "masks" / "5.png", box=(0, 0, 96, 64))
    assert run(tmp_path) == 1
    said = capsys.readouterr()
    assert "1 of 6 pictures will be left, for not exactly one mask was found: 3.png" in said.err
    assert "2.png: mask must have the picture's size or aspect ratio" in said.err
    assert f"3.png: it has no mask: {tmp_path}/masks/3.* is missing." in said.err
    assert "4.jpg: 4.jpg must be a whole picture file" in said.err
    assert "5.png: mask must leave some of the picture to look at" in said.err
    assert "2 erased, 4 failed: see" in said.out and "Traceback" not in said.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["1.png", "6.png", "erased.csv"]
    assert [row["status"] for row in rows(tmp_path).values()] == [
        "erased",
        "failed",
        "failed",
        "failed",
        "failed",
        "erased",
    ]


def test_an_empty_or_faint_mask_is_told_and_the_picture_copied(tmp_path: Path, capsys: pytest.CaptureFixture):
    for name in ("empty.jpg", "faint.png"):
        photo(tmp_path / "images" / name)
    mask(tmp_path / "masks" / "empty.png", box=None)
    mask(tmp_path / "masks" / "faint.png", value=110)
    assert run(tmp_path) == 0
    said = capsys.readouterr()
    assert "empty.jpg: The mask is empty" in said.err and "faint.png: " in said.err and "0.43" in said.err
    assert "2 nothing to erase: see" in said.out
    for name in ("empty.jpg", "faint.png"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "images" / name).read_bytes()


def test_a_mask_of_most_of_the_picture_is_asked_about(tmp_path: Path, capsys: pytest.CaptureFixture):
    photo(tmp_path / "images" / "1.png", size=(64, 64))
    mask(tmp_path / "masks" / "1.png", size=(64, 64), box=(0, 0, 63, 57))
    assert run(tmp_path) == 0
    assert "1.png: " in (said := capsys.readouterr()).err and "is the mask inverted?" in said.err
    assert "1 erased: see" in said.out


def test_one_mask_serves_all_pictures_and_a_flat_folder_every_name(tmp_path: Path, capsys: pytest.CaptureFixture):
    for name in ("a/img.png", "b/img.png"):
        photo(tmp_path / "images" / name)
    mask(tmp_path / "masks" / "img.png")
    assert run(tmp_path) == 0
    assert f"{tmp_path}/masks/img.png serves 2 pictures: a/img.png, b/img.png" in capsys.readouterr().err
    assert run(tmp_path, "--masks", tmp_path / "masks" / "img.png", "--out", tmp_path / "again") == 0
    assert not any(has_red(tmp_path / out / f"{name}/img.png") for out in ("out", "again") for name in "ab")


@pytest.mark.parametrize("out", ["images", "images/", "images/a/..", "linked", "masks", "images/a/1.png", "inside"])
def test_no_result_takes_an_originals_place(tmp_path: Path, capsys: pytest.CaptureFixture, out: str):
    original = photo(tmp_path / "images" / "a" / "1.png").read_bytes()
    mask(tmp_path / "masks" / "a" / "1.png")
    (tmp_path / "linked").symlink_to(tmp_path / "images")
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "a").symlink_to(tmp_path / "images" / "a")
    assert run(tmp_path, "--out", f"{tmp_path}/{out}", "--overwrite") == 2
    assert "must" in (said := capsys.readouterr().err) and said.count("\n") == 1
    assert (tmp_path / "images" / "a" / "1.png").read_bytes() == original
    assert sorted(path.name for path in (tmp_path / "images").rglob("*")) == ["1.png", "a"]


def test_results_are_not_mixed_with_masks(tmp_path: Path, capsys: pytest.CaptureFixture):
    photo(tmp_path / "images" / "1.png")
    mask(tmp_path / "masks" / "1_mask.png")
    assert run(tmp_path, "--out", tmp_path / "masks") == 2
    assert "--out must be another folder than --masks" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["1_mask.png"]


def test_results_below_the_pictures_are_not_taken_for_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    photo(tmp_path / "images" / "1.png")
    mask(tmp_path / "masks" / "1.png")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert run(Path(), "--out", "images/out", "--again") == 0
    assert sorted(path.name for path in Path("images").rglob("*")) == ["1.png", "1.png", "erased.csv", "out"]


@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_memory_may_be_too_small_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, device: str):
    for name, size in (("1.png", (128, 64)), ("2.png", (96, 64))):
        photo(tmp_path / "images" / name, size=size)
        mask(tmp_path / "masks" / name, size=size)
    loaded = erase.load_eraser

    def load_small(args) -> Eraser:
        real = loaded(args)

        def fits(image: torch.Tensor, hole: torch.Tensor):
            if image.shape[-1] > 96 and device == "cuda":
                raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
            if image.shape[-1] > 96:
                torch.empty(2**60)
            return real.erase(image, hole)

        return Eraser(fits, real.steps, real.judged)

    monkeypatch.setattr(erase, "load_eraser", load_small)
    assert run(tmp_path) == 1
    assert "1.png: memory is too small for it" in capsys.readouterr().err
    assert not has_red(tmp_path / "out" / "2.png")


def test_the_detector_chooses_and_its_verdict_is_in_the_table(tmp_path: Path):
    photo(tmp_path / "images" / "1.png")
    mask(tmp_path / "masks" / "1.png")
    assert run(tmp_path, "--detector", "nano", "--candidates", "2", "--until-clean", "--tries", "2") == 0
    row = rows(tmp_path)["1.png"]
    assert row["verdict"] == "clean" and "best of 2" in row["says"] and row["says"].endswith(" Clean.")
    assert "--candidates 2 --detector nano --until-clean --tries 2" in row["settings"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture):
    photo(tmp_path / "images" / "1.png").chmod(0)
    mask(tmp_path / "masks" / "1.png")
    assert run(tmp_path) == 1
    assert "1.png: " in capsys.readouterr().err


def test_a_shadow_goes_with_its_object_where_that_is_asked_for(tmp_path: Path):
    """The shadow is 10 px of falling light around a red square; outside of mask and shadow no bit differs."""
    distance = np.hypot(*(np.maximum(0, np.abs(axis - 80) - 24) for axis in np.mgrid[:160, :160]))
    light = 1 - 0.3 * (1 - distance / 10).clip(0, 1)
    pixels = np.where((distance == 0)[..., None], (220, 30, 30), 150 * light[..., None]).round().astype(np.uint8)
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    Image.fromarray(pixels).save(tmp_path / "images" / "1.png")
    Image.fromarray(((distance == 0) * 255).astype(np.uint8)).save(tmp_path / "masks" / "1.png")
    ring, beyond = (distance > 1) & (distance < 7), distance > 14
    for more, gone in (([], False), (["--effects"], True)):
        assert run(tmp_path, "--grow", "0", *more) == 0
        changed = (np.asarray(Image.open(tmp_path / "out" / "1.png")) != pixels).any(-1)
        assert bool(changed[ring].mean() > 0.8) is gone and not changed[beyond].any()
        says = rows(tmp_path)["1.png"]["says"]
        assert ("A shadow of " in says and says.endswith("% of the mask's area was found and added.")) is gone


def test_a_mask_without_a_shadow_stays_and_one_without_a_hole_is_said_to_be_so(tmp_path: Path):
    photo(tmp_path / "images" / "1.png")
    mask(tmp_path / "masks" / "1.png")
    photo(tmp_path / "images" / "faint.png")
    mask(tmp_path / "masks" / "faint.png", value=110)
    assert run(tmp_path) == 0
    plain = (tmp_path / "out" / "1.png").read_bytes()
    assert run(tmp_path, "--effects") == 0
    assert (tmp_path / "out" / "1.png").read_bytes() == plain
    assert rows(tmp_path)["1.png"]["says"].endswith("No shadow was found: the mask is unchanged.")
    assert "0.43" in rows(tmp_path)["faint.png"]["says"] and "shadow" not in rows(tmp_path)["faint.png"]["says"]
