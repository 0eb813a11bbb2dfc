"""Plots of the report, as inline SVG."""

from html import escape

import numpy as np

COLOURS = ("#3b6fd4", "#d9731a", "#2f9e5b", "#b5408f", "#7a5cd0", "#8a7a1f", "#c23b3b", "#3a9aa8")
WIDTH, LEFT, RIGHT, ROW, TOP = 440, 12, 12, 34, 26
MOST = 400  # dots a strip; of more pictures every k-th is drawn, in the order of their values


def strip_plot(name: str, better: str, values: dict[str, list[float]], table: dict) -> str:
    """One metric: a strip a method, dots for pictures, a bar for the mean's interval."""
    kept = {method: np.sort([x for x in found if not np.isnan(x)]) for method, found in values.items()}
    every = np.concatenate(list(kept.values()))
    if not len(every):
        return ""
    low, high = float(every.min()), float(every.max())
    reach = (high - low) or 1.0
    height = TOP + ROW * len(kept) + 22

    def x_of(value: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / reach

    parts = [f'<text x="{LEFT}" y="15" class="title">{escape(name)}, {better}</text>']
    for i, (method, found) in enumerate(kept.items()):
        y, colour = TOP + ROW * i + ROW / 2, COLOURS[i % len(COLOURS)]
        parts += dots(found, y, colour, x_of)
        parts += bar(table[method].get(name, {}), y, x_of, f"{method}, {name}")
    floor = TOP + ROW * len(kept) + 4
    parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{floor}" y2="{floor}" class="axis"/>')
    for value, anchor in ((low, "start"), (low + reach / 2, "middle"), (low + reach, "end")):
        parts.append(f'<text x="{x_of(value):.1f}" y="{floor + 14}" text-anchor="{anchor}">{value:.4g}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(name)}">{"".join(parts)}</svg>'


def dots(found: np.ndarray, y: float, colour: str, x_of) -> list[str]:
    """Every picture's value; they lie beside each other in a fixed order, so that none hides another."""
    drawn = found[:: max(1, -(-len(found) // MOST))]
    shifts = ((np.arange(len(drawn)) * 7) % 11 - 5) * 2.2
    return [
        f'<circle cx="{x_of(value):.1f}" cy="{y + shift:.1f}" r="2.6" fill="{colour}" fill-opacity=".45"/>'
        for value, shift in zip(drawn, shifts, strict=True)
    ]


def bar(found: dict, y: float, x_of, says: str) -> list[str]:
    if not found.get("n") or "low" not in found:
        return []
    mean, low, high = (x_of(found[key]) for key in ("mean", "low", "high"))
    title = f"{says}: {found['mean']:.4g} ({found['low']:.4g} to {found['high']:.4g})"
    return [
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" class="interval"/>',
        f'<circle cx="{mean:.1f}" cy="{y}" r="5" class="mean"><title>{escape(title)}</title></circle>',
    ]
