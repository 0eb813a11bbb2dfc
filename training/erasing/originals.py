"""No result may take the place of a picture or a mask, by whatever name or link it is reached."""

from pathlib import Path

from training.erasing.pairs import Pair


def check_out(images: Path, masks: Path, out: Path) -> None:
    """Raise ValueError unless the results have a folder of their own."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out must be a folder, got the file {out}.")
    for flag, given in (("--images", images), ("--masks", masks)):
        if out.exists() and given.is_dir() and out.samefile(given):
            raise ValueError(f"--out must be another folder than {flag}, whose files would be overwritten: {out}.")


def refuse_originals(pairs: list[Pair]) -> None:
    """Raise ValueError where a result would be written over one of the pictures or masks."""
    originals = [path for pair in pairs for path in (pair.picture, pair.mask) if path is not None and path.exists()]
    known = {identity(path): path for path in originals}
    for target in (pair.target for pair in pairs if pair.target.exists()):
        if identity(target) in known:
            raise ValueError(f"a result must not overwrite an original: {target} is {known[identity(target)]}.")


def identity(path: Path) -> tuple[int, int]:
    """What tells one file from another, however it is spelled: links and capitals make no difference where they make
    none to the file system."""
    facts = path.stat()
    return facts.st_dev, facts.st_ino
