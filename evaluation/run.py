"""Scoring: every metric of every picture and method, one picture after another, so that memory does not grow."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from evaluation.cache import Cache, key_of
from evaluation.folders import Case
from evaluation.scene import Given, Scene
from evaluation.scorer import Absent, Comparison, Scorer

TOGETHER = 256  # features a batch
Rows = dict[str, dict[str, dict[str, float]]]  # method -> picture -> column -> number
SIZE = Scorer("size", {}, lambda scene: {"stretched": float(scene.stretched)})  # reads a result, so that it is known


@dataclass(eq=False)
class Run:
    """What is scored with what; ``rows`` and ``problems`` fill up while ``score`` goes on."""

    cases: list[Case]
    methods: list[str]
    scorers: list[Scorer]
    comparisons: list[Comparison]
    cache: Cache
    seconds: dict[str, dict[str, float]]  # method -> picture
    tell: Callable[[str], None]
    rows: Rows = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    stretched: dict[str, int] = field(default_factory=dict)  # method -> results that came in another size
    compared: dict[str, list[Case]] = field(default_factory=dict)  # method -> those with all features

    def score(self) -> None:
        """Fill ``rows``; a file that cannot be read is told in a sentence, and the rest goes on."""
        self.rows = {method: {} for method in self.methods}
        self.compared = {method: [] for method in self.methods}
        for case in tqdm(self.cases, unit="picture", disable=not self.cases):
            files = Files(case)
            referred = all([self.attempt(files, comparison, None) is not None for comparison in self.comparisons])
            for method in case.results:
                self.score_one(files, method, referred)

    def score_one(self, files: "Files", method: str, referred: bool) -> None:
        """One row of the table; what was found before is taken from the cache."""
        has_truth = files.case.truth is not None
        scorers = [scorer for scorer in self.scorers if has_truth or not scorer.needs_truth]
        found = [self.attempt(files, scorer, method) for scorer in [SIZE, *scorers]]
        row = {column: value for part in found if part is not None for column, value in part.items()}
        if found[0] is None:
            return
        self.stretched[method] = self.stretched.get(method, 0) + int(row.pop("stretched"))
        if files.case.name in self.seconds.get(method, {}):
            row["seconds"] = self.seconds[method][files.case.name]
        self.rows[method][files.case.name] = row
        if referred and all([self.attempt(files, comparison, method) is not None for comparison in self.comparisons]):
            self.compared[method].append(files.case)

    def attempt(self, files: "Files", metric: Scorer | Comparison, method: str | None) -> dict | np.ndarray | None:
        """A metric of one result, or with None of the reference; None where it cannot be had, which is told once."""
        measure = metric.measure if isinstance(metric, Scorer) else metric.features
        try:
            return self.found(metric.identity, files, method, measure)
        except (ValueError, OSError) as err:
            self.tell_once(f"{files.case.name}, {method or 'reference'}: {err}")
        except (MemoryError, torch.cuda.OutOfMemoryError):
            torch.cuda.empty_cache()
            self.tell_once(f"{files.case.name}, {method or 'reference'}: memory is too small for {metric.name}.")
        return None

    def tell_once(self, sentence: str) -> None:
        """A file that cannot be read fails every metric: one sentence is enough."""
        if sentence not in self.problems[-len(self.scorers) - 2 :]:
            self.problems.append(sentence)
            self.tell(sentence)

    def found(self, identity: str, files: "Files", method: str | None, measure: Callable[[Scene], object]):
        key = files.key(identity, method)
        value = self.cache.get(key)
        if value is None:
            value = measure(files.scene(method))
            self.cache.put(key, value)
        return value

    def compare(self) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
        """The distances of sets, by method and column, and why some are missing."""
        table, missing = {method: {} for method in self.methods}, {}
        for comparison in self.comparisons:
            for method in self.methods:
                cases = self.compared[method]
                for column, distance in comparison.distances.items():
                    pair = (self.batches(comparison, cases, method), self.batches(comparison, cases, None))
                    try:
                        table[method][column] = distance(*pair)
                    except Absent as err:
                        missing[column] = str(err)
        return table, missing

    def batches(self, comparison: Comparison, cases: list[Case], method: str | None) -> Iterator[np.ndarray]:
        """The features of a method, or of the references, as the cache has them."""
        for at in range(0, len(cases), TOGETHER):
            keys = [Files(case).key(comparison.identity, method) for case in cases[at : at + TOGETHER]]
            yield np.stack([self.cache.get(key) for key in keys])


class Files:
    """A case whose files are read when they are first needed, each once."""

    def __init__(self, case: Case):
        self.case, self.opened = case, {}

    @cached_property
    def given(self) -> Given:
        return Given.read(self.case)

    def key(self, identity: str, method: str | None) -> str:
        """What a result's number, or without a method a reference's features, are kept under."""
        case = self.case
        identity = f"{identity} {case.box}" if case.box else identity
        return key_of(identity, case.picture, case.mask, case.truth, case.effect, self.of(method))

    def of(self, method: str | None) -> Path:
        return (self.case.truth or self.case.picture) if method is None else self.case.results[method]

    def scene(self, method: str | None) -> Scene:
        """A result in its case; without a method the reference: the truth, or the picture where there is none."""
        if method not in self.opened:
            self.opened = {method: self.given.scene(self.of(method))}  # one at a time: pictures can be large
        return self.opened[method]
