"""Weights that somebody else publishes: where they are expected, the line that gets them, and their hash."""

from functools import cache
from hashlib import sha256
from pathlib import Path

import torch

from evaluation.scorer import Absent

FILES = (".safetensors", ".bin", ".pth", ".pt")
TORCHVISION = "https://download.pytorch.org/models"
PUBLISHED = {  # file: where it comes from
    "alexnet-owt-7be5be79.pth": f"{TORCHVISION}/alexnet-owt-7be5be79.pth",
    "vgg16-397923af.pth": f"{TORCHVISION}/vgg16-397923af.pth",
    "inception_v3_google-0cc3c7bd.pth": f"{TORCHVISION}/inception_v3_google-0cc3c7bd.pth",
    "pt_inception-2015-12-05-6726825d.pth": "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
    "pt_inception-2015-12-05-6726825d.pth",
}


def published_file(name: str) -> Path:
    """A file where torch keeps its downloads (TORCH_HOME moves it).  Raises Absent: nothing is downloaded by itself."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        raise Absent(f"needs {name}. Get it: curl -L --create-dirs -o {path} {PUBLISHED[name]}")
    return path


def folder_of(flag: str, given: Path | None, repository: str) -> Path:
    """A Hugging Face folder that a flag names.  Raises Absent for none, FileNotFoundError for one that is not there."""
    if given is None:
        raise Absent(f"needs {flag} FOLDER. Get it: hf download {repository} --local-dir FOLDER")
    if not (given / "config.json").is_file():
        raise FileNotFoundError(f"{flag} must be a folder with a config.json, got {given}.")
    return given


@cache
def hash_of(path: Path) -> str:
    """The first 16 digits of the SHA-256 of a file, or of all weights in a folder in the order of their names."""
    files = sorted(file for file in path.iterdir() if file.suffix in FILES) if path.is_dir() else [path]
    digest = sha256()
    for file in files:
        with open(file, "rb") as opened:
            while piece := opened.read(1 << 22):
                digest.update(piece)
    return digest.hexdigest()[:16]
