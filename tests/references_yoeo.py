"""Slow and obvious twins of YOEO's losses and metrics; tests hold the two together."""

import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor

# Distillation


def start_probabilities_by_loop(mixture: tuple[float, ...]) -> list[float]:
    """The mixture of Gaussians around the 1st, 6th, 11th and 16th of twenty starts, added up one by one."""
    density = []
    for i in range(20):
        bells = [math.exp(-((i - centre) ** 2) / 0.5) for centre in (0, 5, 10, 15)]
        density.append(sum(p * bell for p, bell in zip(mixture, bells, strict=True)))
    return [value / sum(density) for value in density]


def dmd_loss_by_sample(
    student: Tensor, noisy: Tensor, noise_real: Tensor, noise_fake: Tensor, signal: Tensor, keep: Tensor
) -> Tensor:
    """DMD as it is published: in the two noises, one sample after the other."""
    losses = []
    for i in range(len(student)):
        amplitude, spread = signal[i].sqrt(), (1 - signal[i]).sqrt()
        clean_real = (noisy[i] - spread * noise_real[i]) / amplitude
        weight = 1 / ((student[i] - clean_real).abs().mean() + 1e-5)
        coefficient = (noise_real[i] - noise_fake[i]) * spread / amplitude * keep[i]
        target = (student[i] - weight * coefficient).detach()
        losses.append(torch.nn.functional.mse_loss(student[i], target))
    return torch.stack(losses)


# Sundries


def panoptic_by_pixel(scores: Tensor, masks: Tensor, object_threshold: float, overlap_threshold: float) -> Tensor:
    """Mask2Former's merge, pixel by pixel; scores ``[q]``, masks ``[q, h, w]`` in [0, 1] at the picture's size."""
    kept = [q for q in range(len(scores)) if scores[q] > object_threshold]
    height, width = masks.shape[1:]
    wins = {q: set() for q in kept}
    for y in range(height):
        for x in range(width):
            best = None
            for q in kept:
                if best is None or scores[q] * masks[q, y, x] > scores[best] * masks[best, y, x]:
                    best = q
            if best is not None:
                wins[best].add((y, x))
    merged, number = torch.zeros(height, width, dtype=torch.long), 0
    for q in kept:
        own = {(y, x) for y in range(height) for x in range(width) if masks[q, y, x] >= 0.5}
        if not wins[q] or not own or not wins[q] & own or len(wins[q]) / len(own) < overlap_threshold:
            continue
        number += 1
        for y, x in wins[q] & own:
            merged[y, x] = number
    return merged


def sundries_by_pixel(segments: list[list[int]], hole: list[list[int]], inside: float, share: float) -> list[float]:
    """For every segment that is a sundry, its share of the hole; rows of numbers in, plain counting."""
    pixels = [(y, x) for y in range(len(segments)) for x in range(len(segments[0]))]
    hole_area, found = sum(hole[y][x] for y, x in pixels), []
    for number in sorted({segments[y][x] for y, x in pixels} - {0}):
        area = sum(segments[y][x] == number for y, x in pixels)
        shared = sum(segments[y][x] == number and hole[y][x] for y, x in pixels)
        if shared / area > inside and shared / hole_area > share:
            found.append(shared / hole_area)
    return found


# CFD, the context-aware feature deviation


def cfd_by_loop(image: Image.Image, mask: np.ndarray, look: Callable, segments: list[np.ndarray], published: bool):
    """CFD of an RGB picture; mask and segments bool ``[h, w]``, ``look`` ``[224, 224, 3]`` in 0..255 to tokens.

    ``published``: with the published code's mistakes, made by the very conversions of Pillow and NumPy that it makes.
    Resized pictures are not rounded to 8 bits, so that the twins can be held together closely.
    """
    kept = []
    for segment in sorted(segments, key=lambda segment: -segment.sum()):
        repeats = any((segment & other).sum() / (segment | other).sum() > 0.8 for other in kept)
        contained = any((segment & other).sum() / segment.sum() > 0.9 for other in kept)
        if not repeats and not contained:
            kept.append(segment)
    scores = [_cfd_of_part(image, part, look, kept, published) for part in parts_by_flooding(mask)]
    return sum(scores) / len(scores)


def parts_by_flooding(mask: np.ndarray) -> list[np.ndarray]:
    """The connected parts of a mask, corners included."""
    left, parts = {(y, x) for y, x in np.argwhere(mask)}, []
    while left:
        part, border = np.zeros_like(mask), [left.pop()]
        while border:
            y, x = border.pop()
            part[y, x] = True
            near = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= near
            border += near
        parts.append(part)
    return parts


def _cfd_of_part(image, part, look, segments, published):
    height, width = part.shape
    rows, columns = part.nonzero()
    tall, wide = rows.max() + 1 - rows.min(), columns.max() + 1 - columns.min()
    ring = np.zeros_like(part)
    for y in range(height):
        for x in range(width):
            vertically = rows.min() - tall // 3 <= y <= rows.max() + 1 + tall // 3
            horizontally = columns.min() - wide // 3 <= x <= columns.max() + 1 + wide // 3
            ring[y, x] = vertically and horizontally and not part[y, x]
    score = _feature_distance((image, Image.fromarray(part)), (image, Image.fromarray(ring)), look, published)
    centres = [segment for segment in segments if all(part[y, x] for y, x in np.argwhere(segment).tolist())]
    others = [segment & part for segment in segments if not all(part[y, x] for y, x in np.argwhere(segment).tolist())]
    for centre in centres:
        near = [other for other in others if _within(centre, other, 6)]
        if near:
            crops = [_on_white(image, np.logical_or.reduce(near)), _on_white(image, centre)]
            score += centre.sum() / sum(c.sum() for c in centres) * _feature_distance(*crops, look, published)
    return score


def _within(one: np.ndarray, other: np.ndarray, reach: int) -> bool:
    """Whether some pixel of one is at most ``reach`` rows and columns from a pixel of the other."""
    there = np.argwhere(other).tolist()
    return any(abs(y - a) <= reach and abs(x - b) <= reach for y, x in np.argwhere(one).tolist() for a, b in there)


def _on_white(image: Image.Image, mask: np.ndarray) -> tuple[Image.Image, Image.Image]:
    """The box of a mask: the picture on white, and the mask as an 8-bit picture."""
    box = Image.fromarray(mask).getbbox()
    white = Image.composite(image, Image.new("RGB", image.size, "white"), Image.fromarray(mask))
    return white.crop(box), Image.fromarray(mask).convert("L").crop(box)


def _feature_distance(first, second, look, published) -> float:
    """One minus the cosine of two masked means of tokens of length 1."""
    means = []
    for place, (image, mask) in enumerate((first, second)):
        channels = [Image.fromarray(np.float32(channel)) for channel in image.split()]
        small = np.stack([channel.resize((224, 224), Image.BICUBIC) for channel in channels], axis=-1)
        tokens = look(small.clip(0, 255))
        tokens = [token / np.linalg.norm(token) for token in tokens]
        if published:  # the second mask is resized as Pillow thinks best: by nearest if it is 1-bit, else smoothly
            mask = mask.resize((224, 224), Image.NEAREST) if place == 0 else mask.resize((224, 224))
            index = np.append(np.array(mask.resize((16, 16), Image.NEAREST)).flatten(), True)
            chosen = list(np.array(tokens)[index])
        else:
            cells = np.array(mask.convert("1").resize((224, 224), Image.NEAREST).resize((16, 16), Image.NEAREST))
            chosen = [tokens[1 + 16 * y + x] for y in range(16) for x in range(16) if cells[y, x]]
        mean = sum(chosen) / len(chosen)
        means.append(mean / np.linalg.norm(mean))
    return 1 - float(means[0] @ means[1])


# Suppression and coherence


def nearest_exact_by_loop(plane: Tensor, height: int, width: int) -> Tensor:
    """What stands at the centre of each cell of another grid; plane ``[h, w]``."""
    rows, columns = plane.shape
    picked = torch.zeros(height, width, dtype=plane.dtype)
    for y in range(height):
        for x in range(width):
            picked[y, x] = plane[int((y + 0.5) * rows / height), int((x + 0.5) * columns / width)]
    return picked


def bilinear_by_loop(plane: Tensor, height: int, width: int) -> Tensor:
    """A plane at a larger size, by the weights of the four values around each new centre; plane ``[h, w]``."""
    rows, columns = plane.shape
    grown = torch.zeros(height, width, dtype=plane.dtype)
    for i in range(height):
        for j in range(width):
            y, x = max((i + 0.5) * rows / height - 0.5, 0), max((j + 0.5) * columns / width - 0.5, 0)
            top, left = int(y), int(x)
            bottom, right, down, along = min(top + 1, rows - 1), min(left + 1, columns - 1), y - top, x - left
            above = (1 - along) * plane[top, left] + along * plane[top, right]
            below = (1 - along) * plane[bottom, left] + along * plane[bottom, right]
            grown[i, j] = (1 - down) * above + down * below
    return grown


def ios_by_loop(mask: Tensor, hole: Tensor) -> float:
    """The share of a mask's weights ``[h, w]`` that lies in the hole ``[h, w]``."""
    inside = total = 0.0
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            total += float(mask[y, x])
            inside += float(mask[y, x]) * float(hole[y, x])
    return inside / max(total, 1e-4)


def entity_score_by_loop(class_logits: Tensor) -> float:
    """The probability of anything but the last class; logits ``[k]``."""
    exponentials = [math.exp(logit) for logit in class_logits.tolist()]
    return sum(exponentials[:-1]) / sum(exponentials)


def suppression_by_loop(class_logits: Tensor, mask_logits: Tensor, hole: Tensor, form: str) -> tuple[float, float]:
    """L_SS of one sample, query by query and pixel by pixel; ``[q, k]``, ``[q, h, w]`` and a hole of any size."""
    height, width = mask_logits.shape[-2:]
    hole = nearest_exact_by_loop(hole, height, width)
    probability_term = mask_term = 0.0
    for classes, logits in zip(class_logits, mask_logits, strict=True):
        mask = (logits > 0).to(logits) if form == "paper" else logits.sigmoid()
        score = entity_score_by_loop(classes)
        if ios_by_loop(mask, hole) <= 0.9 or score <= 0.2:
            continue
        area = sum(float(logit > 0) for logit in logits.flatten()) / (height * width)
        probability_term += -area * math.log(1 - score)
        for y in range(height):
            for x in range(width):
                counted = 1.0 if form == "paper" else float(hole[y, x])
                mask_term -= counted * math.log(1 - 1 / (1 + math.exp(-float(logits[y, x])))) / (height * width)
    return 0.5 * probability_term, 0.5 * mask_term


def judged_by_loop(class_logits: Tensor, mask_logits: Tensor, hole: Tensor, ios: float, form: str, size: tuple):
    """One sample's entities without the pixels of sundries, and these pixels: sets of (y, x) at this size."""
    on_grid = nearest_exact_by_loop(hole, *mask_logits.shape[-2:])
    entities, sundry_logits = [], []
    for classes, logits in zip(class_logits, mask_logits, strict=True):
        if entity_score_by_loop(classes) <= 0.2:
            continue
        mask = (logits > 0).to(logits) if form == "paper" else logits.sigmoid()
        if ios_by_loop(mask, on_grid) > ios:
            sundry_logits.append(logits)
        else:
            entities.append({tuple(at) for at in (bilinear_by_loop(logits, *size) > 0).nonzero().tolist()})
    area = set()
    if sundry_logits:
        surest = bilinear_by_loop(torch.stack(sundry_logits).amax(0), *size).sigmoid()
        area = {tuple(at) for at in (surest > 0.2).nonzero().tolist()}
    return [entity - area for entity in entities], area


def shares_by_loop(pixels: set, size: tuple, grid: tuple) -> dict:
    """How much of each cell of a grid a set of pixels covers; cells that it leaves empty are left out."""
    shares = {}
    for row in range(grid[0]):
        for column in range(grid[1]):
            top, bottom = row * size[0] // grid[0], -(-(row + 1) * size[0] // grid[0])
            left, right = column * size[1] // grid[1], -(-(column + 1) * size[1] // grid[1])
            cell = [(y, x) for y in range(top, bottom) for x in range(left, right)]
            share = sum(at in pixels for at in cell) / len(cell)
            if share:
                shares[row, column] = share
    return shares


def coherence_by_loop(found: tuple, hole: Tensor, teacher: tuple | None, form: str) -> float:
    """L_EFC of one sample; ``found`` is class logits, mask logits and features, ``teacher`` its first two, or None."""
    class_logits, mask_logits, features = found
    grid = tuple(features.shape[-2:])
    size = tuple(hole.shape) if form == "official" else grid
    entities, _ = judged_by_loop(class_logits, mask_logits, hole, 0.9, form, size)
    if teacher is not None:
        sure, invented = judged_by_loop(*teacher, hole, 0.85, form, size)
        entities = [entity & invented for entity in entities] + sure
    cut = nearest_exact_by_loop(hole, *size)
    inside = {tuple(at) for at in (cut > 0.5).nonzero().tolist()}

    pairs = []  # of a cell, its weight, and its cosine with an entity's mean outside
    for entity in entities:
        if not entity & inside or not entity - inside:
            continue
        outer = shares_by_loop(entity - inside, size, grid)
        mean = sum(share * features[:, y, x] for (y, x), share in outer.items()) / sum(outer.values())
        for (y, x), share in shares_by_loop(entity & inside, size, grid).items():
            f = features[:, y, x]
            pairs.append(((y, x), share, float(f @ mean / (f.norm() * mean.norm()))))
    if form == "paper":
        return -sum(cosine for _, _, cosine in pairs)
    cells = {cell for cell, _, _ in pairs}
    per_cell = [
        sum(share * (1 - cosine) for at, share, cosine in pairs if at == cell)
        / sum(share for at, share, _ in pairs if at == cell)
        for cell in cells
    ]
    return sum(per_cell) / len(per_cell) if per_cell else 0.0
