"""A bar chart as SVG, drawn from ``docs/segments-chart.json``: ``python -m tests.benchmarks.chart``.

Each bar is a measured figure as a share of its target: shorter than the line is within it.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import Any

SOURCE = Path("docs/segments-chart.json")
TARGET = Path("docs/segments-chart.svg")
ROW, LEFT, WIDTH, RIGHT = 26, 330, 300, 150


def drawn(figures: list[dict[str, Any]]) -> str:
    """The chart of rows ``{"what", "measured", "target", "unit"}``; the line stands where a bar meets its target."""
    height = ROW * len(figures) + 46
    line = LEFT + WIDTH * 2 / 3
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + RIGHT}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{LEFT + WIDTH + RIGHT}" height="{height}" fill="white"/>',
    ]
    for number, row in enumerate(figures):
        top = 30 + number * ROW
        share = row["measured"] / row["target"]
        bar = min(share, 1.5) * WIDTH * 2 / 3
        colour = "#2f7d5b" if share <= 1 else "#b5482f"
        said = f"{row['measured']:g} of {row['target']:g} {row['unit']}"
        parts += [
            f'<text x="{LEFT - 8}" y="{top + 14}" text-anchor="end">{escape(row["what"])}</text>',
            f'<rect x="{LEFT}" y="{top + 2}" width="{bar:.1f}" height="{ROW - 8}" fill="{colour}"/>',
            f'<text x="{LEFT + WIDTH + 6}" y="{top + 14}">{escape(said)}</text>',
        ]
    parts += [
        f'<line x1="{line}" y1="24" x2="{line}" y2="{height - 10}" stroke="black" stroke-dasharray="4 3"/>',
        f'<text x="{line}" y="18" text-anchor="middle">target</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    TARGET.write_text(drawn(json.loads(SOURCE.read_text())))
    print(f"written: {TARGET}")
