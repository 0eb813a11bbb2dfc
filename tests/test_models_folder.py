"""The models folders: what a graph may name in them, links of every kind, and files that may not be read."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from in_comfyui import nodes, room
from tiny import tiny_checkpoint, tiny_detector

from inpainting_core.checkpoint import write_checkpoint
from yoeo_core.detector import load_detector, write_detector

pytestmark = pytest.mark.usefixtures("in_comfyui")


@pytest.fixture
def secrets(models: Path) -> None:
    """A model and a detector beside the models folders."""
    write_checkpoint(models.parent / "secret.safetensors", tiny_checkpoint())
    write_detector(models.parent / "secret_detector.safetensors", tiny_detector())


def outside(models: Path, name: str) -> list[str]:
    """Ways to name a file above the models folders."""
    file = models.parent / name
    return [f"../../{name}", f"../{name}", f"x/../../../{name}", str(file), f"..\\..\\{name}", f"/../../{name}"]


@pytest.mark.usefixtures("secrets")
def test_no_name_leads_out_of_the_models_folder(models: Path):
    load, detect = nodes()["EraseOnceLoadModel"].execute, nodes()["EraseOnceLoadDetector"].execute
    for name in outside(models, "secret.safetensors"):
        with pytest.raises(FileNotFoundError):
            load(name, "none")
        with pytest.raises(FileNotFoundError):
            load("nano (built in)", name)
        with pytest.raises((FileNotFoundError, KeyError)):
            load("nano (built in)", f"inpaint/{name}")
    for name in [*outside(models, "secret_detector.safetensors"), "..", ".", "../.."]:
        with pytest.raises((FileNotFoundError, ValueError)):
            detect(name)


@pytest.mark.usefixtures("secrets")
def test_a_link_out_of_the_models_folder_is_followed_for_who_put_it_there_may(models: Path):
    (models / "checkpoints" / "mine.safetensors").symlink_to(models.parent / "secret.safetensors")
    assert nodes()["EraseOnceLoadModel"].execute("mine.safetensors", "none").result[0]


def test_links_in_circles_end_and_links_to_nowhere_are_passed_over(models: Path):
    one, other = models / "diffusers" / "one", models / "elsewhere"
    (one / "unet").mkdir(parents=True)
    other.mkdir()
    (one / "unet" / "config.json").write_text("{}")
    (one / "model_index.json").write_text("{}")
    (one / "up").symlink_to(models / "diffusers")
    (one / "self").symlink_to(one)
    (one / "aside").symlink_to(other)
    (other / "back").symlink_to(one)
    (one / "nowhere").symlink_to(models / "gone")
    (models / "diffusers" / "gone").symlink_to(models / "gone")
    load = room("load")
    assert [name for name in load.model_names() if "one" in name] == ["one"]
    assert {Path(path).name for path, _, _ in room("files").fingerprint(load.model_path("one"))} == {
        "config.json",
        "model_index.json",
    }


def test_a_models_folder_that_is_gone_takes_nothing_with_it(models: Path):
    (models / "diffusers").rmdir()
    assert room("load").model_names() == list(room("load").BUILT_IN)


@contextmanager
def nobody() -> Iterator[None]:
    """Without root's right to read everything."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has no such rights")
@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, ending: str):
    path = tmp_path / f"a{ending}"
    path.touch(mode=0)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() != "nobody" and folder.stat().st_mode & 0o001 == 0:
            folder.chmod(folder.stat().st_mode | 0o011)
    with nobody(), pytest.raises(ValueError, match=f"^a{ending} cannot be read \\(Permission denied\\): see to whom"):
        load_detector(path)
