"""What a judge is asked, and the content under which its answer is kept."""

import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from PIL import Image

from evaluation.folders import Case
from evaluation.report_pictures import as_image, tinted
from evaluation.scene import Given

GONE = (
    "The first picture shows, under a red tint, an object that was to be removed. The second is the result. "
    "Is the object gone, with plausible background in its place and no new object there? "
    "Answer with one word: yes or no."
)
BETTER = (
    "The first picture shows, under a red tint, an object that was to be removed. The second and the third are two "
    "results, A and B. In which is the object removed better, with plausible background and nothing new there? "
    "Answer with one word: A, B or same."
)
VERSION = 1  # change it with the words: answers to other words are other answers


@dataclass(frozen=True)
class Question:
    """One question; ``shown`` are its result files in the order in which they are shown."""

    name: str
    methods: tuple[str, ...]
    case: Case
    key: str

    @property
    def text(self) -> str:
        return GONE if len(self.methods) == 1 else BETTER

    @property
    def pictures(self) -> int:
        return 1 + len(self.methods)

    @property
    def says(self) -> str:
        return f"{self.name}, {' against '.join(self.methods)}"

    def messages(self) -> list[dict]:
        """The chat message, made when it is sent: pictures are not kept."""
        given = Given.read(self.case)
        before = as_image(given.picture)
        shown = [tinted(before, given.mask)]
        shown += [as_image(given.scene(self.case.results[method]).result) for method in self.methods]
        parts = [{"type": "image_url", "image_url": {"url": as_url(image)}} for image in shown]
        return [{"role": "user", "content": [{"type": "text", "text": self.text}, *parts]}]


def questions_of(
    cases: list[Case], pairs: list[tuple[str, str]], model: str, problems: list[str]
) -> Iterator[Question]:
    """Whether each result is a success, and each pair of methods in both orders; files that cannot be read are told."""
    for case in cases:
        try:
            for path in (case.picture, case.mask, *case.results.values()):
                with Image.open(path) as opened:
                    opened.verify()
        except (OSError, SyntaxError, ValueError) as err:
            problems.append(f"{case.name}: {err}")
            continue
        orders = [order for pair in pairs for order in (pair, pair[::-1]) if set(order) <= set(case.results)]
        for methods in [*((method,) for method in case.results), *orders]:
            yield Question(case.name, methods, case, key_of(case, methods, model))


def key_of(case: Case, methods: tuple[str, ...], model: str) -> str:
    """By the content of what is asked: the words, the model and the files, in their order."""
    files = [case.picture, case.mask, *(case.results[method] for method in methods)]
    digests = [sha256(Path(file).read_bytes()).hexdigest() for file in files]
    return sha256(json.dumps([VERSION, model, len(methods), *digests]).encode()).hexdigest()


def as_url(image: Image.Image) -> str:
    stream = BytesIO()
    image.save(stream, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{b64encode(stream.getvalue()).decode()}"
