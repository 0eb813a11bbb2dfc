"""The package that the ComfyUI registry would hand out: made by the registry's own tool, unpacked, and run."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess, check_output, run
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import numpy as np
import pytest
import yaml
from comfy_cli.registry.config_parser import extract_node_configuration
from PIL import Image
from scipy import ndimage
from test_arrows import LIGHT
from test_server import GROWN_PX, NODES, ROOT, drive, saved

from workflows.client import Client
from workflows.comfyui import Server, lay_out, serving
from workflows.convert import to_prompt

WHOLE = (*LIGHT, "training", "web", "locales", "subgraphs")  # rooms, as far as there are
WEIGHTS = {"assets/nano.safetensors", "assets/nano_eradiff.safetensors", "assets/nano_detector.safetensors"}
KEPT_OUT = {"tests", "benchmarks", "docs", "demo", "test", "mkdocs.yml", ".ci", ".github", ".comfyignore", ".gitignore"}
MOST_BYTES = 40e6
PICTURES = ROOT / "assets" / "pictures"


def tracked(*folders: str) -> list[str]:
    """The repository's files, or those of some folders, as git lists them; the registry's tool takes no others."""
    return check_output(["git", "ls-files", "-z", *folders], cwd=ROOT, text=True).strip("\0").split("\0")


def comfy(folder: Path, command: str) -> CompletedProcess:
    """A command of the registry's tool, which works in ``folder``, tells nobody, and leaves no settings behind."""
    words = [sys.executable, "-m", "comfy_cli", "--skip-prompt", "node", command]
    with TemporaryDirectory() as home:
        alone = {**os.environ, "DO_NOT_TRACK": "1", "HOME": home}
        return run(words, cwd=folder, env=alone, capture_output=True, text=True)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package: a zip file, made beside the repository so that nothing is written into that."""
    folder = tmp_path_factory.mktemp("registry") / "repository"
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(ROOT / name)
    for arguments in (["init", "--quiet"], ["add", "--force", "--all"]):
        run(["git", *arguments], cwd=folder, check=True)
    result = comfy(folder, "pack")
    assert result.returncode == 0 and "Warning" not in result.stdout + result.stderr, result.stdout + result.stderr
    return folder / "node.zip"


@pytest.fixture(scope="module")
def installed(package: Path, comfyui: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A ComfyUI that has the unpacked package and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    with ZipFile(package) as archive:
        archive.extractall(folder / "erase-once")
    with serving(comfyui, Path(sys.executable), lay_out(folder / "base", folder / "erase-once"), "--cpu") as server:
        yield server


def publishing(words: str) -> str:
    """The command of the step, in publishing, whose name has these words."""
    steps = yaml.safe_load((ROOT / ".github/workflows/publish.yml").read_text())["jobs"]["publish"]["steps"]
    (script,) = [step["run"] for step in steps if words in step.get("name", "")]
    return script


def test_the_registrys_tool_finds_nothing_to_complain_of():
    result = comfy(ROOT, "validate")
    said = result.stdout + result.stderr
    assert result.returncode == 0, said
    assert "All validation checks passed" in said and "arning" not in said, said


def test_the_version_is_published_with_its_dated_part_of_the_changelog(tmp_path: Path):
    title, text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n## ")[1].split("\n", 1)
    version = extract_node_configuration(str(ROOT / "pyproject.toml")).project.version
    assert re.fullmatch(rf"{re.escape(version)} - \d{{4}}-\d\d-\d\d", title)
    given = tmp_path / "env"
    run(["bash", "-ec", publishing("CHANGELOG.md")], cwd=ROOT, env={**os.environ, "GITHUB_ENV": str(given)}, check=True)
    name, rest = given.read_text(encoding="utf-8").split("<<END_OF_CHANGELOG\n")
    assert name == "COMFY_NODE_CHANGELOG" and rest.removesuffix("END_OF_CHANGELOG\n").strip() == text.strip()


def test_the_package_holds_what_the_nodes_and_the_training_need(package: Path):
    held = set(ZipFile(package).namelist())
    needed = {name for name in tracked() if name.split("/")[0] in WHOLE}
    needed |= {name for name in tracked() if name.startswith("workflows/") and not name.endswith(".py")}
    assert (needed | WEIGHTS | {"__init__.py", "pyproject.toml", "requirements.txt", "LICENSE"}) - held == set()


def test_the_package_holds_no_tests_and_nothing_large_that_the_nodes_do_not_read(package: Path):
    held = ZipFile(package).namelist()
    assert {name.split("/")[0] for name in held} & KEPT_OUT == set()
    assert {name for name in held if name.endswith(".safetensors")} == WEIGHTS
    assert package.stat().st_size < MOST_BYTES


def test_a_commit_is_packed_to_the_same_bytes_whenever_and_wherever_it_is_checked_out(tmp_path: Path):
    """By publishing's own step and the registry's tool, on the nodes alone; without the step the dates differ."""
    repository = tmp_path / "repository"
    for name in [*tracked("nodes"), "pyproject.toml", "__init__.py", "test"]:
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, repository / name)
    me = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "--quiet"], ["add", "--all"], [*me, "commit", "--quiet", "--message", "All"]):
        run(["git", *arguments], cwd=repository, check=True)

    def packed(checkout: Path, checked_out_at: int, *commands: str) -> bytes:
        run(["git", "clone", "--quiet", repository, checkout], check=True)
        for path in checkout.rglob("*.*"):
            os.utime(path, (checked_out_at, checked_out_at))
        for command in commands:
            run(["bash", "-ec", command], cwd=checkout, check=True)
        result = comfy(checkout, "pack")
        assert result.returncode == 0, result.stdout + result.stderr
        return (checkout / "node.zip").read_bytes()

    dated = publishing("Date every file")
    one, other = packed(tmp_path / "one", 1_500_000_000, dated), packed(tmp_path / "other", 1_700_000_000, dated)
    assert one == other
    assert packed(tmp_path / "undated", 1_500_000_000) != one


def test_icon_and_banner_have_the_registrys_shapes():
    page = extract_node_configuration(str(ROOT / "pyproject.toml")).tool_comfy
    icon, banner = (ROOT / url.partition("/main/")[2] for url in (page.icon, page.banner_url))
    with Image.open(icon) as picture:
        assert picture.format == "PNG" and picture.width == picture.height <= 400
    with Image.open(banner) as picture:
        assert picture.format == "PNG" and picture.width * 9 == picture.height * 21
    assert banner.stat().st_size <= 200_000


def test_the_unpacked_package_registers_its_nodes(installed: Server):
    info = drive(installed, Client.object_info)
    assert {name for name in info if info[name]["python_module"] == "custom_nodes.erase-once"} == NODES


def test_the_unpacked_package_erases(installed: Server, package: Path):
    """The example graph as a user opens it: with the picture that comes in the package."""
    photo, mask = PICTURES / "wren.jpg", PICTURES / "wren_mask.png"
    stored = ZipFile(package).read("workflows/erase_yoeo.json")

    async def scenario(client: Client) -> np.ndarray:
        prompt = to_prompt(json.loads(stored), await client.object_info())
        return await saved(client, await client.run(prompt))

    before, after = np.asarray(Image.open(photo)), drive(installed, scenario)
    distance = ndimage.distance_transform_edt(np.asarray(Image.open(mask)) == 0)
    assert (after[distance > GROWN_PX] == before[distance > GROWN_PX]).all()
    assert (after[distance == 0] != before[distance == 0]).mean() > 0.9


def test_publishing_waits_for_the_tests():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "publish.yml").read_text())["jobs"]
    assert jobs["publish"]["needs"] == "test" and "if" not in jobs["publish"]
    called = yaml.safe_load((ROOT / jobs["test"]["uses"]).read_text())["jobs"]
    commands = [step["run"] for job in called.values() for step in job["steps"] if "run" in step]
    assert {".ci/run", "mkdocs build --strict"} <= set(commands)
