"""Which picture stands at each place of an endless stream: each once a pass, those of a batch of one group."""

import numpy as np

WINDOW = 16  # storage units (shards) that are read at a time, their pictures mixed: 16,000 pictures of usual shards


class Order:
    """An endless order of pictures in ``groups`` (arrays of their numbers, none empty), a pure function of the seed.

    Places ``k block`` to ``(k + 1) block - 1`` are of one group, and a group has blocks by its share.  Every group is
    gone through whole before one of its pictures comes again.  ``units`` says where each picture is stored: neighbours
    come from ``WINDOW`` units at most.
    """

    def __init__(self, groups: list[np.ndarray], block: int, seed: int, units: np.ndarray | None = None):
        self.groups, self.block, self.seed, self.units = groups, block, seed, units
        self.counts = np.array([len(group) for group in groups], dtype=np.int64)
        self._kept: dict[tuple[str, int, int], np.ndarray] = {}

    def __len__(self) -> int:
        return int(self.counts.sum())

    def place(self, index: int) -> tuple[int, int]:
        """The group at this place of the stream, and the place in the group's own endless stream."""
        if len(self.groups) == 1:
            return 0, index
        block, within = divmod(index, self.block)
        # after r rounds a group of n pictures has had r n / block blocks, rounded down: none is cut, none is lost
        turn = block * self.block // len(self)
        while self._start(turn + 1) <= block:
            turn += 1
        group, ordinal = self._remember("round", turn, 0)[block - self._start(turn)]
        return int(group), int(ordinal) * self.block + within

    def at(self, group: int, place: int) -> int:
        """The number of the picture at a place of the group's own stream."""
        turn, within = divmod(place, int(self.counts[group]))
        return int(self._remember("pass", turn, group)[within])

    def _start(self, turn: int) -> int:
        return int((turn * self.counts // self.block).sum())

    def _round(self, turn: int) -> np.ndarray:
        """The blocks of a round, ``[n, 2]``: the group of each and which of that group's blocks it is."""
        ends = [turn * self.counts // self.block, (turn + 1) * self.counts // self.block]
        blocks = [(g, k) for g, (low, high) in enumerate(zip(*ends, strict=True)) for k in range(low, high)]
        return np.random.default_rng((self.seed, turn, 0, 2)).permutation(np.array(blocks))

    def _pass(self, turn: int, group: int) -> np.ndarray:
        """A group's pictures in one order, the units drawn first and their pictures mixed a window at a time."""
        rng, numbers = np.random.default_rng((self.seed, turn, group, 1)), self.groups[group]
        if self.units is None:
            return rng.permutation(numbers)
        units = self.units[numbers]
        windows = rng.permutation(int(units.max()) + 1)[units] // WINDOW
        return numbers[np.lexsort((rng.random(len(numbers)), windows))]

    def _remember(self, kind: str, turn: int, group: int) -> np.ndarray:
        """An order drawn once and kept while it is likely to be asked for."""
        key = (kind, turn, group)
        if key not in self._kept:
            while len(self._kept) > 2 * len(self.groups) + 2:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = self._round(turn) if kind == "round" else self._pass(turn, group)
        return self._kept[key]
