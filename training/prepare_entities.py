"""Label a folder with the entities of its pictures once: what YOEO's holes are made of, and what they must spare.

    python -m training.prepare_entities --images photos --detector Mask2Former_swin_tiny_3x_3cacfb.pth \\
        --semantic facebook/mask2former-swin-large-coco-panoptic --things panoptic_val2017.json --device cuda
    python -m training.prepare_entities --images train2017 --panoptic panoptic_train2017.json \\
        --panoptic-masks panoptic_train2017
    python -m training.prepare_entities --images train --open-images train-annotations-object-segmentation.csv \\
        --open-images-masks train-masks
    accelerate launch -m training.prepare_entities --images photos --detector ... --device cuda     # a card each

Beside NAME.jpg come ``NAME_entities.png`` (one channel of ids, 0 = nothing) and ``NAME_entities.json`` (a list of
{"id", "score", "thing"}).  --detector takes what Load Sundry Detector takes; its queries become entities by
Mask2Former's panoptic inference at 0.6 and 0.6.  "thing" is the mean over the entity of P(thing) / (P(thing) +
P(stuff)) by --semantic, any semantic or panoptic checkpoint of transformers, with the names of its things in a COCO
panoptic json or a text file; without it every entity counts as a thing.  Annotations say themselves what is a thing.

Maps that are there are kept, verified and listed.  A killed run continues when it is started again, and whoever starts
it a second time, here or on another machine that sees the folder, shares the work.  ``entities.csv`` lists every
picture with its status, and for one that could not be labelled the reason.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from inpainting_core.shapes import Int
from training.data.annotated import instances_in
from training.data.annotations import Annotations, add_arguments, annotations_of
from training.data.labelled import read_labelled
from training.data.listing import MAP, list_pictures, namesakes
from training.data.pictures import to_tensor
from training.data.reading import Unusable, Upright, as_stored, read_upright
from training.data.refused import DONE, ENTITIES, REFUSED
from training.data.sharing import is_first, own_device, share_out
from training.data.sources import Files
from training.data.thingness import Thingness, load_thingness, mean_over_entities, thing_names
from yoeo_core.detector import Detections, SundryDetector, load_detector
from yoeo_core.metrics import panoptic_merge

LONGEST = 1333  # px: more than this no detector sees; a larger picture's map is enlarged without interpolation

Entities = tuple[np.ndarray, list[dict]]  # ids [h, w], 0 = nothing, and what is known of each: "id", "score", "thing"
Source = Callable[[Path, Upright], Entities]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="folder of pictures, searched to its depth")
    # where the entities come from: a detector or annotations
    parser.add_argument("--detector", help="a Mask2Former: .safetensors of ours, EntitySeg .pth or transformers folder")
    parser.add_argument("--semantic", help="a transformers checkpoint that tells things from stuff, with --things")
    parser.add_argument("--things", metavar="FILE", help="names of its things: COCO panoptic json, or one a line")
    parser.add_argument("--device", default="cpu", help="where the networks run: cpu, cuda, mps, ...")
    add_arguments(parser)
    return parser.parse_args(argv)


def source_of(args: argparse.Namespace) -> Source:
    """Entities from the detector or the annotations.  Raises ValueError for none, both, or half of a pair of flags."""
    annotations = annotations_of(args)
    if (annotations is None) == (args.detector is None):
        got = "both" if args.detector else "none"
        raise ValueError(f"entities must come from --detector or from annotations, got {got}.")
    if bool(args.semantic) != bool(args.things) or (args.semantic and annotations is not None):
        raise ValueError("--semantic and --things must come together and with --detector, got them otherwise.")
    if annotations is not None:
        return from_annotations(annotations)
    device = own_device(args.device)
    thingness = load_thingness(args.semantic, thing_names(args.things), device) if args.semantic else None
    return from_detector(load_detector(args.detector, device), thingness, device)


def from_detector(detector: SundryDetector, thingness: Thingness | None, device: str) -> Source:
    @torch.no_grad()
    def entities(_: Path, read: Upright) -> Entities:
        picture = read.picture
        found = detector(to_tensor(picture)[None].to(device))
        ids = panoptic_merge(found.class_logits, found.mask_logits, (picture.height, picture.width))[0].cpu()
        scores = scores_of(ids, found)
        things = mean_over_entities(thingness(picture), ids) if thingness else dict.fromkeys(scores, 1.0)
        return ids.numpy(), [{"id": e, "score": scores[e], "thing": things[e]} for e in scores]

    return entities


def scores_of(ids: Int[Tensor, "h w"], found: Detections) -> dict[int, float]:
    """The score of every entity of a merged map: that of the query which is surest of its pixels."""
    height, width = found.mask_logits.shape[-2:]
    scores = found.entity_score[0].cpu()
    claims = found.mask_logits[0].sigmoid().cpu()
    values = {}
    for entity in range(1, int(ids.max()) + 1):
        share = interpolate((ids == entity)[None, None].float(), size=(height, width), mode="area")[0, 0]
        claimed = (claims * share).flatten(1).sum(1) / share.sum()
        values[entity] = float(scores[(scores * claimed).argmax()])
    return values


def from_annotations(annotations: Annotations) -> Source:
    def entities(path: Path, read: Upright) -> Entities:
        instances = [each for each in instances_in(annotations, path, read) if not each.crowd]
        ids, facts = np.zeros((read.picture.height, read.picture.width), dtype=np.int64), []
        # the smaller over the larger, so that no thing is lost behind what it lies on
        for number, each in enumerate(sorted(instances, key=lambda each: -each.mask.sum()), start=1):
            ids[each.mask] = number
            facts.append({"id": number, "score": each.score, "thing": float(each.thing)})
        return ids, [fact for fact in facts if (ids == fact["id"]).any()]

    return entities


def label(path: Path, source: Source) -> tuple[Image.Image, list[dict]]:
    """A picture's map of ids at its full size, as its pixels are stored, and what is known of each.

    Raises Unusable with the reason.
    """
    read = read_upright(path, LONGEST)
    ids, facts = source(path, read)
    if ids.max() >= 2**16:
        raise Unusable(f"more than 65535 entities: got {ids.max()}")
    turned = as_stored(Image.fromarray(ids.astype(np.uint8 if ids.max() < 2**8 else np.uint16)), read.orientation)
    return turned.resize(read.stored, Image.Resampling.NEAREST), facts


def facts_of(path: Path) -> Path | None:
    """The table beside a picture's map, if there is one."""
    facts = path.with_name(f"{path.stem}{MAP}.json")
    return facts if facts.exists() else None


def save_entities(path: Path, ids: Image.Image, facts: list[dict]) -> None:
    """Write both files beside the picture, each whole or not at all; the map comes last."""
    facts_path, map_path = (path.with_name(f"{path.stem}{MAP}.{kind}") for kind in ("json", "png"))
    scratch = map_path.with_suffix(".tmp")
    scratch.write_text(json.dumps(facts))
    scratch.replace(facts_path)
    ids.save(scratch, format="PNG")
    scratch.replace(map_path)


def main(args: argparse.Namespace) -> None:
    images, source = Path(args.images), source_of(args)
    pictures = list_pictures(images)
    twins = namesakes(pictures, "map")

    def prepare(name: str) -> None:
        path = images / name
        if path in twins:
            raise Unusable(twins[path])
        if (beside := path.with_name(f"{path.stem}{MAP}.png")).exists():  # brought, or a killed run's
            read_labelled(Files(name, path, beside, facts_of(path)))
        else:
            save_entities(path, *label(path, source))

    counts = share_out([path.relative_to(images).as_posix() for path in pictures], images / ENTITIES, prepare)
    if is_first():
        print(f"{counts[DONE]} pictures labelled, {counts[REFUSED]} refused: {images / ENTITIES} names each")


if __name__ == "__main__":
    main(parse_args())
