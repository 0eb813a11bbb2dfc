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
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from inpainting_core.shapes import Float, Int
from training.data.annotated import instances_in
from training.data.annotations import ANNOTATIONS, Annotations, add_arguments, annotations_of
from training.data.labelled import read_labelled
from training.data.listing import MAP, list_pictures
from training.data.pictures import to_tensor
from training.data.preparing import Preparation, See
from training.data.reading import Unusable, Upright, as_stored
from training.data.refused import DONE, ENTITIES, REFUSED
from training.data.sharing import is_first, own_device
from training.data.sources import Files
from training.data.thingness import Thingness, load_thingness, mean_over_entities, thing_names
from training.running.endings import run_script
from training.running.flags import add_debug_flag, add_labelling_flags, check_device, check_paths
from yoeo_core.detector import Detections, SundryDetector, load_detector
from yoeo_core.metrics import panoptic_merge

LONGEST = 1333  # px: more than this no detector sees; a larger picture's map is enlarged without interpolation

Entities = tuple[np.ndarray, list[dict]]  # ids [h, w], 0 = nothing, and what is known of each: "id", "score", "thing"
Stored = tuple[Image.Image, list[dict]]  # the same, the ids as the picture's pixels are stored


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="folder of pictures, searched to its depth")
    # where the entities come from: a detector or annotations
    parser.add_argument("--detector", help="a Mask2Former: .safetensors of ours, EntitySeg .pth or transformers folder")
    parser.add_argument("--semantic", help="a transformers checkpoint that tells things from stuff, with --things")
    parser.add_argument("--things", metavar="FILE", help="names of its things: COCO panoptic json, or one a line")
    add_labelling_flags(parser)
    add_arguments(parser)
    add_debug_flag(parser)
    return parser.parse_args(argv)


def source_of(args: argparse.Namespace) -> See[Stored]:
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


def from_detector(detector: SundryDetector, thingness: Thingness | None, device: str) -> See[Stored]:
    @torch.no_grad()
    def see(_: list[Path], reads: list[Upright]) -> list[Callable[[], Stored]]:
        pictures = [read.picture for read in reads]
        found = detector(torch.stack([to_tensor(picture) for picture in pictures]).to(device))
        things = thingness(pictures) if thingness else [None] * len(pictures)
        return [partial(merged, *each) for each in zip(reads, one_by_one(found), things, strict=True)]

    return see


def one_by_one(found: Detections) -> list[Detections]:
    """What was found in each picture of a batch, as a batch of one."""
    parts = (found.class_logits, found.mask_logits, found.features)
    return [Detections(*each) for each in zip(*(part.split(1) for part in parts), strict=True)]


def merged(read: Upright, found: Detections, things: Float[Tensor, "h4 w4"] | None) -> Stored:
    """A picture's queries as entities, each by its mean a thing or not."""
    ids = panoptic_merge(found.class_logits, found.mask_logits, (read.picture.height, read.picture.width))[0].cpu()
    scores = scores_of(ids, found)
    thing = dict.fromkeys(scores, 1.0) if things is None else mean_over_entities(things, ids)
    return stored_map(read, ids.numpy()), [{"id": e, "score": scores[e], "thing": thing[e]} for e in scores]


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


def from_annotations(annotations: Annotations) -> See[Stored]:
    return lambda paths, reads: [partial(annotated, annotations, *each) for each in zip(paths, reads, strict=True)]


def annotated(annotations: Annotations, path: Path, read: Upright) -> Stored:
    instances = [each for each in instances_in(annotations, path, read) if not each.crowd]
    ids, facts = np.zeros((read.picture.height, read.picture.width), dtype=np.int64), []
    # the smaller over the larger, so that no thing is lost behind what it lies on
    for number, each in enumerate(sorted(instances, key=lambda each: -each.mask.sum()), start=1):
        ids[each.mask] = number
        facts.append({"id": number, "score": each.score, "thing": float(each.thing)})
    return stored_map(read, ids), [fact for fact in facts if (ids == fact["id"]).any()]


def stored_map(read: Upright, ids: np.ndarray) -> Image.Image:
    """A map of ids ``[h, w]`` at its picture's full size, as its pixels are stored.  Raises Unusable for too many."""
    if ids.max() >= 2**16:
        raise Unusable(f"more than 65535 entities: got {ids.max()}")
    turned = as_stored(Image.fromarray(ids.astype(np.uint8 if ids.max() < 2**8 else np.uint16)), read.orientation)
    return turned.resize(read.stored, Image.Resampling.NEAREST)


def verify(path: Path, beside: Path) -> None:
    """Raise Unusable where a picture and the map that is there do not go together."""
    facts = beside.with_suffix(".json")
    read_labelled(Files(path.name, path, beside, facts if facts.exists() else None))


def save_entities(path: Path, entities: Stored) -> None:
    """Write both files beside the picture, each whole or not at all; the map comes last."""
    ids, facts = entities
    facts_path, map_path = (path.with_name(f"{path.stem}{MAP}.{kind}") for kind in ("json", "png"))
    scratch = map_path.with_suffix(".tmp")
    scratch.write_text(json.dumps(facts))
    scratch.replace(facts_path)
    ids.save(scratch, format="PNG")
    scratch.replace(map_path)


def main(args: argparse.Namespace) -> None:
    check_paths(args, ("images", "detector", "things", *ANNOTATIONS))
    check_device(args.device)
    images = Path(args.images)
    pictures = list_pictures(images)  # before any weight is loaded
    maps = {path.relative_to(images).as_posix(): path.with_name(f"{path.stem}{MAP}.png") for path in pictures}
    see, batch = source_of(args), args.batch_size if args.detector else 1
    preparation = Preparation(images, maps, "map", see, save_entities, verify, batch, LONGEST)
    counts = preparation.share_out(images / ENTITIES)
    if is_first():
        print(f"{counts[DONE]} pictures labelled, {counts[REFUSED]} refused: {images / ENTITIES} names each")


if __name__ == "__main__":
    run_script(parse_args, main)
