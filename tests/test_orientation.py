"""A camera's orientation: pictures are seen upright, and what was drawn on their stored pixels turns along."""

import json

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from eradiff_core.synthesis import Ranges
from inpainting_core.picture_files import read_picture, visible_rgb
from training import prepare_entities, prepare_mattes
from training.data.composites import Composites
from training.data.mattes import read_picture_and_matte
from training.data.pairs import MatteScenes, Pairs
from training.data.reading import Unusable, as_stored, read_bounded, read_upright, upright, whole_size
from training.data.recipe import Recipe

ORIENTATIONS = pytest.mark.parametrize("orientation", range(1, 9))


def stored_photo(path, orientation, size=(120, 90)):
    """A dark picture with a bright box off its middle, as a camera stores it; gives the box as stored."""
    width, height = size
    box = (width // 2, 10, width // 2 + 40, 50)
    picture = Image.new("RGB", size, (20, 20, 20))
    picture.paste((230, 230, 230), box)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    picture.save(path, exif=exif, quality=95)
    return box


def filled(size, box, value, mode="L"):
    drawn = Image.new(mode, size)
    drawn.paste(value, box)
    return drawn


@ORIENTATIONS
@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_training_sees_a_picture_as_the_nodes_do(tmp_path, orientation, kind):
    path = tmp_path / f"a.{kind}"
    stored_photo(path, orientation)
    read = np.asarray(read_bounded(path), dtype=float)
    nodes = visible_rgb(read_picture(path))[0].permute(1, 2, 0).numpy() * 255
    assert read.shape == nodes.shape and np.abs(read - nodes).max() <= 2
    with Image.open(path) as stored:
        assert read_bounded(path).size == ImageOps.exif_transpose(stored).size == whole_size(path)


@ORIENTATIONS
def test_to_turn_and_to_turn_back_are_the_reverse_of_each_other(orientation):
    for values in (np.arange(12, dtype=np.uint8), np.arange(12, dtype=np.uint16), np.arange(12, dtype=np.int32)):
        picture = Image.fromarray(values.reshape(3, 4))
        assert np.array_equal(np.asarray(as_stored(upright(picture, orientation), orientation)), picture)


@ORIENTATIONS
@pytest.mark.parametrize("size", [(120, 90), (100, 100)])
def test_a_map_of_the_stored_pixels_turns_with_its_picture(tmp_path, orientation, size):
    box = stored_photo(tmp_path / "a.jpg", orientation, size)
    filled(size, box, 3).save(tmp_path / "a_entities.png")
    samples = Composites(tmp_path, 64, 12, 0, "d1", Recipe(squares=True))
    for index in range(12):
        item = samples[index]
        bright = item["image"].mean(0) > 0.5
        assert (bright == (item["entities"] == 3)).float().mean() > 0.97


@ORIENTATIONS
def test_a_matte_of_the_stored_pixels_turns_with_its_picture_and_so_does_one_of_the_upright(tmp_path, orientation):
    box = stored_photo(tmp_path / "a.jpg", orientation)
    matte = filled((120, 90), box, 255)
    for drawn in [matte] + [upright(matte, orientation)] * (orientation >= 5):  # the sides tell these two apart
        drawn.save(tmp_path / "a_matte.png")
        rgb, alpha = read_picture_and_matte(tmp_path / "a.jpg", tmp_path / "a_matte.png")
        bright = np.asarray(rgb.convert("L")) > 128
        assert rgb.size == alpha.size and (bright == (np.asarray(alpha) > 128)).mean() > 0.99
    pair = Pairs(MatteScenes(tmp_path, 64, 0), 4, 0, Ranges())[1]
    pasted = pair["with_object"][:, pair["mask"][0] > 0]
    assert pasted.max() > 0.8 and (pair["original"] != pair["with_object"]).any()


def test_a_matte_of_neither_shape_is_refused(tmp_path):
    stored_photo(tmp_path / "a.jpg", 6)
    Image.new("L", (120, 120), 255).save(tmp_path / "a_matte.png")
    with pytest.raises(Unusable, match="its matte must have the proportions 120 x 90, got 120 x 120"):
        read_picture_and_matte(tmp_path / "a.jpg", tmp_path / "a_matte.png")


def coco(path, size, box):
    left, top, right, bottom = box
    polygon = [left, top, right, top, right, bottom, left, bottom]
    table = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": size[0], "height": size[1]}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [polygon]}],
        "categories": [{"id": 1, "name": "cup"}],
    }
    path.write_text(json.dumps(table))
    return str(path)


@pytest.mark.parametrize(
    ("orientation", "drawn"), [(n, "stored") for n in range(1, 9)] + [(n, "upright") for n in range(5, 9)]
)
def test_what_is_prepared_from_annotations_lies_on_the_stored_pixels(tmp_path, orientation, drawn):
    box = stored_photo(tmp_path / "a.jpg", orientation)
    stored = np.asarray(filled((120, 90), box, 255)) > 0
    read = read_upright(tmp_path / "a.jpg")
    size, corners = (120, 90), box
    if drawn == "upright":
        turned = upright(Image.fromarray(stored), orientation)
        size, corners = turned.size, turned.getbbox()
    flags = ["--images", str(tmp_path), "--coco", coco(tmp_path / "coco.json", size, corners)]
    prepare_mattes.main(prepare_mattes.parse_args(flags))
    prepare_entities.main(prepare_entities.parse_args(flags))
    matte, ids = (np.asarray(Image.open(tmp_path / f"a_{kind}.png")) for kind in ("matte", "entities"))
    assert matte.shape == ids.shape == read.stored[::-1]
    assert ((matte > 127) != stored).mean() < 0.02 and ((ids > 0) != stored).mean() < 0.02


@ORIENTATIONS
def test_a_network_is_shown_the_picture_upright(tmp_path, orientation):
    box = stored_photo(tmp_path / "a.jpg", orientation)

    read = read_upright(tmp_path / "a.jpg")
    assert read.picture.size == read.whole
    ids = prepare_entities.stored_map(read, (np.asarray(read.picture.convert("L")) > 128).astype(np.int64))
    assert (
        ids.size == (120, 90) and ((np.asarray(ids) > 0) != (np.asarray(filled((120, 90), box, 1)) > 0)).mean() < 0.02
    )
