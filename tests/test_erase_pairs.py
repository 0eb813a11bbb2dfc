"""Which pictures and masks ``training.erase`` finds in folders as people have them."""

from pathlib import Path

import pytest
from erase_folders import mask, photo

from training.erasing.pairs import Pair, find_pairs


def found(folder: Path, images: str = "images", masks: str = "masks", out: str = "out") -> dict[str, Pair]:
    pairs, _ = find_pairs(folder / images, folder / masks, folder / out)
    return {pair.name: pair for pair in pairs}


def masks_found(folder: Path, **where: str) -> dict[str, str | None]:
    pairs = found(folder, **where).values()
    return {pair.name: pair.mask and pair.mask.relative_to(folder).as_posix() for pair in pairs}


def test_the_tree_is_kept_whatever_the_names(tmp_path: Path):
    names = ["a/b/c/deep.png", "IMG.JPG", "scan.TIFF", "x.png/inside.bmp", "ø/été 1 [x].webp", "two.dots.jpeg"]
    for name in names:
        photo(tmp_path / "images" / name)
        mask((tmp_path / "masks" / name).with_suffix(".png"))
    pairs = found(tmp_path)
    assert sorted(pairs) == sorted(names)
    assert all(pair.target == tmp_path / "out" / name for name, pair in pairs.items())
    assert all(pair.mask and not pair.problem for pair in pairs.values())


@pytest.mark.parametrize("name", ["1.jpg", "1.PNG", "1.bmp", "1_mask.tif", "1_mask.png"])
def test_a_mask_may_have_any_format(tmp_path: Path, name: str):
    photo(tmp_path / "images" / "a" / "1.png")
    mask(tmp_path / "masks" / "a" / name)
    (tmp_path / "masks" / "a" / "1.json").write_text("{}")
    assert masks_found(tmp_path) == {"a/1.png": f"masks/a/{name}"}


def test_a_flat_folder_of_masks_serves_every_picture_of_a_name(tmp_path: Path):
    for name in ("a/img.png", "b/img.jpg", "c.png"):
        photo(tmp_path / "images" / name)
    mask(tmp_path / "masks" / "img.png")
    mask(tmp_path / "masks" / "c_mask.png")
    assert masks_found(tmp_path) == {
        "a/img.png": "masks/img.png",
        "b/img.jpg": "masks/img.png",
        "c.png": "masks/c_mask.png",
    }


def test_a_mask_of_another_folder_is_never_borrowed(tmp_path: Path):
    for name in ("img.png", "a/img.png", "b/img.png"):
        photo(tmp_path / "images" / name)
    for name in ("img.png", "a/img.png"):
        mask(tmp_path / "masks" / name)
    assert masks_found(tmp_path) == {"img.png": "masks/img.png", "a/img.png": "masks/a/img.png", "b/img.png": None}
    assert found(tmp_path)["b/img.png"].problem == f"it has no mask: {tmp_path}/masks/b/img.* is missing."


def test_two_masks_of_one_picture_are_refused_by_name(tmp_path: Path):
    photo(tmp_path / "images" / "1.png")
    both = [mask(tmp_path / "masks" / name) for name in ("1.jpg", "1.png")]
    pair = found(tmp_path)["1.png"]
    assert pair.mask is None and all(str(path) in pair.problem for path in both)


def test_masks_may_lie_beside_their_pictures(tmp_path: Path):
    for name in ("dog.jpg", "a/cat.png"):
        photo(tmp_path / "images" / name)
    for name in ("dog_mask.png", "a/cat_mask.jpg", "a/cat_matte.png"):
        mask(tmp_path / "images" / name)
    beside = {"dog.jpg": "images/dog_mask.png", "a/cat.png": "images/a/cat_mask.jpg"}
    assert masks_found(tmp_path, masks="images") == beside
    photo(tmp_path / "images" / "venetian_mask.jpg")  # a photograph of one
    assert masks_found(tmp_path, masks="images") == {**beside, "venetian_mask.jpg": None}


def test_masks_and_results_below_the_pictures_are_no_pictures(tmp_path: Path):
    photo(tmp_path / "images" / "1.png")
    photo(tmp_path / "images" / "out" / "1.png")
    photo(tmp_path / "images" / "former" / "1.png")
    (tmp_path / "images" / "former" / "erased.csv").write_text("")
    mask(tmp_path / "images" / "masks" / "1.png")
    assert masks_found(tmp_path, masks="images/masks", out="images/out") == {"1.png": "images/masks/1.png"}


def test_one_mask_for_all_and_one_picture_alone(tmp_path: Path):
    for name in ("1.png", "a/2.jpg", "watermark.png"):
        photo(tmp_path / "images" / name)
    watermark = "images/watermark.png"
    assert masks_found(tmp_path, masks=watermark) == {"1.png": watermark, "a/2.jpg": watermark}
    assert masks_found(tmp_path, images="images/a/2.jpg", masks=watermark) == {"2.jpg": watermark}


def test_what_is_no_picture_is_counted_and_what_is_hidden_passed_over(tmp_path: Path):
    photo(tmp_path / "images" / "1.png")
    mask(tmp_path / "masks" / "1.png")
    for name in ("notes.txt", "b.TXT", "raw.heic", "Makefile", ".DS_Store", "._1.png", ".thumbs/1.png"):
        (tmp_path / "images" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "images" / name).write_text("")
    pairs, others = find_pairs(tmp_path / "images", tmp_path / "masks", tmp_path / "out")
    assert [pair.name for pair in pairs] == ["1.png"]
    assert others == {".txt": 2, ".heic": 1, "Makefile": 1}


def test_linked_folders_are_followed_but_not_in_circles(tmp_path: Path):
    photo(tmp_path / "elsewhere" / "1.png")
    photo(tmp_path / "images" / "2.png")
    (tmp_path / "images" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images" / "circle").symlink_to(tmp_path / "images")
    (tmp_path / "images" / "broken.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "masks").mkdir()
    assert sorted(found(tmp_path)) == ["2.png", "broken.png", "link/1.png"]


def test_a_folder_without_pictures_is_refused(tmp_path: Path):
    mask(tmp_path / "masks" / "1.png")
    with pytest.raises(FileNotFoundError, match="there is no file or folder .*images"):
        found(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(ValueError, match=r"images holds no pictures \(\.avif, "):
        found(tmp_path)
