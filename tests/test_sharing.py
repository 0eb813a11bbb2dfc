"""Preparing a folder with several processes: nothing twice, nothing lost, whoever is killed."""

import os
import signal
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import pytest
from PIL import Image

from training import prepare_shards
from training.data import sharing
from training.data.ledger import read_rows
from training.data.sharing import SharedLedger, own_device, share_out
from training.prepare_shards import write_shards

NAMES = [f"{number:03d}.png" for number in range(40)]


def together(*calls) -> list[int]:
    """Run each call in a process of its own, all at once; how each ended."""
    started = [get_context("fork").Process(target=function, args=arguments) for function, *arguments in calls]
    for process in started:
        process.start()
    for process in started:
        process.join()
    return [process.exitcode for process in started]


def noted(log: Path) -> list[str]:
    return log.read_text().split() if log.exists() else []


def work(folder: Path, log: str, dies_at: str | None = None) -> None:
    """What a prepare script does, with a note of every picture that it works on; each tenth is refused."""

    def prepare(names: list[str]) -> Iterator[tuple[str, str]]:
        for name in names:
            with open(folder / log, "a") as file:
                file.write(f"{name}\n")
            time.sleep(0.01)
            if name == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            yield name, "it has a seven" if name.endswith("7.png") else ""

    share_out(NAMES, folder / "table.csv", prepare)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(sharing, "PIECE", 4)


def assert_all_there(folder: Path) -> None:
    rows = read_rows(folder / "table.csv")
    assert sorted(rows) == NAMES
    assert [name for name in NAMES if rows[name] == ("refused", "it has a seven")] == NAMES[7::10]
    assert len((folder / "table.csv").read_text().splitlines()) == len(NAMES) + 1, "no row comes twice"


def test_two_processes_share_the_work_and_do_nothing_twice(tmp_path):
    assert together((work, tmp_path, "one"), (work, tmp_path, "two")) == [0, 0]
    one, two = noted(tmp_path / "one"), noted(tmp_path / "two")
    assert sorted(one + two) == NAMES and len(one) >= 4 and len(two) >= 4
    assert_all_there(tmp_path)
    assert not (tmp_path / "table.locks").exists()


def test_what_a_killed_process_leaves_the_other_one_does(tmp_path):
    killed = together((work, tmp_path, "one", NAMES[2]), (work, tmp_path, "two"), (work, tmp_path, "three", NAMES[30]))
    assert killed.count(0) >= 1 and killed.count(-signal.SIGKILL) in (1, 2)
    if 0 in killed:
        assert_all_there(tmp_path)
    done = [name for log in ("one", "two", "three") for name in noted(tmp_path / log)]
    assert len(done) - len(set(done)) == killed.count(-signal.SIGKILL), "only what was being done at the kill"


def test_a_row_that_a_killed_process_left_half_written_is_cut_off_by_whoever_adds_next(tmp_path):
    ledger, other = SharedLedger(tmp_path / "table.csv"), SharedLedger(tmp_path / "table.csv")
    ledger.add("a.png", "done", "")
    with open(tmp_path / "table.csv", "a") as file:
        file.write("b.png,refu")
    other.add("c.png", "refused", "a line\nbreak, and a comma")
    ledger.take_in()
    assert ledger.rows == read_rows(tmp_path / "table.csv")
    assert ledger.rows == {"a.png": ("done", ""), "c.png": ("refused", "a line break, and a comma")}
    third = SharedLedger(tmp_path / "table.csv")  # writes the file anew
    third.add("d.png", "done", "")
    ledger.take_in()
    assert list(ledger.rows) == ["a.png", "c.png", "d.png"]


def test_processes_that_a_launcher_started_have_a_card_each(monkeypatch):
    assert own_device("cuda") == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert [own_device(name) for name in ("cuda", "cuda:1", "cpu")] == ["cuda:3", "cuda:1", "cpu"]


@pytest.fixture(scope="module")
def greys(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("greys")
    for number in range(11):
        Image.new("RGB", (64, 64), (20 * number,) * 3).save(folder / f"{number}.png")
    return folder


def shards_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.tar"))}


def pictures_of(out: Path) -> dict[str, list[bytes]]:
    """Without the dates that a .tar has of its files."""
    import tarfile

    found = {}
    for path in sorted(out.glob("*.tar")):
        with tarfile.open(path) as tar:
            found[path.name] = [tar.extractfile(member).read() for member in tar]
    return found


def test_two_processes_write_the_shards_of_one_and_none_twice(greys, tmp_path, monkeypatch):
    assert write_shards(greys, tmp_path / "one" / "set", 2) == 11
    write = prepare_shards.write_shard

    def watched(folder, numbers, first, path):
        with open(tmp_path / "log", "a") as file:
            file.write(f"{path.name}\n")
        time.sleep(0.05)
        write(folder, numbers, first, path)

    monkeypatch.setattr(prepare_shards, "write_shard", watched)
    call = (write_shards, greys, tmp_path / "two" / "set", 2)
    assert together(call, call) == [0, 0]
    assert pictures_of(tmp_path / "one") == pictures_of(tmp_path / "two")
    assert sorted(noted(tmp_path / "log")) == sorted(pictures_of(tmp_path / "two")), "each once"
    left = {path.suffix for path in (tmp_path / "two").iterdir()}
    assert left <= {".tar", ".npy", ".json", ".lock"}


def test_writing_shards_goes_on_where_it_was_killed_and_keeps_to_its_pictures(greys, tmp_path):
    write_shards(greys, tmp_path / "set", 4)
    whole = pictures_of(tmp_path)
    (tmp_path / "set-000001.tar").unlink()
    (tmp_path / "set-000001.tmp").write_bytes(b"half")
    first = (tmp_path / "set-000000.tar").stat().st_mtime_ns
    write_shards(greys, tmp_path / "set", 4)
    assert pictures_of(tmp_path) == whole and (tmp_path / "set-000000.tar").stat().st_mtime_ns == first
    for other in ({"per_shard": 5}, {"per_shard": 4, "seed": 1}):
        with pytest.raises(ValueError, match=r"set.json names other shards: .* \(now .*Give another --out"):
            write_shards(greys, tmp_path / "set", **other)
