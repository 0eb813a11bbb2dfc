"""The command for a machine with a card, on the CPU: every number is there, and what is not says why."""

import json
import math

import pytest
import torch

from benchmarks.on_a_gpu.__main__ import SECTIONS, measure, parse_args, tables
from benchmarks.on_a_gpu.agreeing import of_formula
from benchmarks.on_a_gpu.book import Book, Setting
from benchmarks.on_a_gpu.training import STAGES

SMALL = Setting(torch.device("cpu"), small=True)


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict:
    out = tmp_path_factory.mktemp("card") / "small.json"
    made = measure(parse_args(["--small", "--device", "cpu", "--minutes", "60", "--out", str(out)]))
    assert json.loads(out.read_text()) == made
    return made


def test_every_entry_holds_finite_numbers(found: dict):
    assert list(found["sections"]) == list(SECTIONS)
    for section in found["sections"].values():
        for name, entry in section.items():
            assert entry and "absent" not in entry, name
            assert all(math.isfinite(value) for value in entry.values()), (name, entry)


def test_all_that_was_asked_for_is_measured(found: dict):
    sections = found["sections"]
    assert all(entry["agrees"] for entry in sections["agreement"].values()) and len(sections["agreement"]) == 9
    for method in ("YOEO, 2 steps", "EraDiff, 12 steps"):
        for way in ("whole", "network", "parts"):
            assert {"seconds", "peak GB"} == sections["erasing"][f"{method}, {way}, bfloat16"].keys()
    for entry in sections["attention"].values():
        assert {"hard", "strict", "dense"} <= entry.keys()
    for stage in STAGES:
        for way in ("no", "full", "selective"):
            entry = sections["training"][f"{stage}, batch of 2, checkpointing {way}"]
            assert {"pass, peak GB", "pass, seconds"} <= entry.keys()
        assert "batch of 2, checkpointing selective, GB" in sections["training"][f"{stage}, counted"]
    assert all(f"| {name} |" in tables(found) for section in sections.values() for name in section)


def test_what_cannot_run_is_absent_with_its_reason():
    book = Book(SMALL, seconds=60)

    def too_large() -> dict:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    def without_library() -> dict:
        import no_such_library  # noqa: F401

    def on_two_devices() -> dict:
        raise RuntimeError("Expected all tensors to be on the same device.\nMore of it.")

    book.enter("large", too_large)
    book.enter("broken", on_two_devices)
    book.enter("library", without_library)
    book.enter("runs", lambda: {"seconds": 1.0})
    Book.enter(late := Book(SMALL, seconds=-1.0), "late", lambda: {"seconds": 1.0})
    assert book.entries == {
        "large": {"absent": "it does not fit into the card's memory"},
        "broken": {"absent": "it failed: Expected all tensors to be on the same device."},
        "library": {"absent": "it needs a library: No module named 'no_such_library'"},
        "runs": {"seconds": 1.0},
    }
    assert late.entries == {"late": {"absent": "the section's -1 seconds were over"}}


def test_a_device_that_computes_something_else_is_found_out():
    """The instrument: in fp32 this formula differs from what it is in fp64."""

    def formula(a, b, c):
        return a + b * c + (a.dtype == torch.float32) * 1e-3 * a.square()

    assert of_formula(Book(SMALL, 60), formula)["agrees"] is False
