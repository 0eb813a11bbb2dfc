"""What the scripts that prepare a folder share: which pictures are still to do, several at a time through a network."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

from training.data.listing import namesakes
from training.data.reading import LONGEST, Unusable, Upright, read_upright
from training.data.sharing import share_out

T = TypeVar("T")
Read = tuple[str, Upright]  # a picture's name and the picture
See = Callable[[list[Path], list[Upright]], list[Callable[[], T]]]
WAITING = 4  # batches' worth of pictures that lie in memory until as many of one size have come


@dataclass(frozen=True, eq=False)
class Preparation(Generic[T]):
    """What is to lie beside each picture of a folder, and how it is made.

    ``beside`` are the pictures' names with the files, which are called ``what``.  ``see`` looks at up to ``batch``
    pictures of one size at once, read at ``longest`` px, and gives for each of them what works the rest out; ``save``
    writes that.  ``verify`` looks at a file that is there already.  All but ``see`` may raise Unusable: then the
    picture is refused.
    """

    images: Path
    beside: dict[str, Path]
    what: str
    see: See[T]
    save: Callable[[Path, T], None]
    verify: Callable[[Path, Path], object]
    batch: int = 1
    longest: int = LONGEST

    @cached_property
    def twins(self) -> dict[Path, str]:
        return namesakes([self.images / name for name in self.beside], self.what)

    def share_out(self, table: Path) -> Counter[str]:
        """Prepare what ``table`` does not name yet, with whoever else is at it; how many rows of each status it has."""
        return share_out(list(self.beside), table, self.prepare)

    def prepare(self, names: list[str]) -> Iterator[tuple[str, str]]:
        """Each of these pictures once it is done, with the reason why it is refused, empty for one that is not."""
        waiting: dict[tuple[int, int], list[Read]] = defaultdict(list)
        for name in names:
            path = self.images / name
            try:
                if path in self.twins:
                    raise Unusable(self.twins[path])
                if self.beside[name].exists():  # of another tool, or of a run that was killed before it wrote the row
                    self.verify(path, self.beside[name])
                    yield name, ""
                    continue
                read = read_upright(path, self.longest)
            except Unusable as error:
                yield name, str(error)
                continue
            waiting[read.picture.size].append((name, read))
            size = max(waiting, key=lambda size: len(waiting[size]))
            if len(waiting[size]) == self.batch or sum(map(len, waiting.values())) == WAITING * self.batch:
                yield from self.label(waiting.pop(size))
        for group in waiting.values():
            yield from self.label(group)

    def label(self, group: list[Read]) -> Iterator[tuple[str, str]]:
        """As ``prepare``, of pictures of one size."""
        paths = [self.images / name for name, _ in group]
        for (name, _), path, found in zip(group, paths, self.see(paths, [read for _, read in group]), strict=True):
            try:
                self.save(path, found())
                yield name, ""
            except Unusable as error:
                yield name, str(error)
