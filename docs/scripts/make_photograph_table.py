"""Cut two photographs of scikit-learn into tiles with outlined objects, and write their table.

The table and the tiles are the input of the study in `docs/guides/other_images.md`:

    python docs/scripts/make_photograph_table.py PHOTOGRAPHS

The photographs are `china.jpg` and `flower.jpg` of `sklearn.datasets.load_sample_images`. The
outlines were drawn by hand for this example.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_image

TILE = 64  # pixels of the photograph
# A smaller piece of an object at the border of a tile is left out, as a share of the tile.
_LEAST_SHARE = 0.02
_CIRCLE = [
    (round(308 + 138 * np.cos(angle)), round(221 + 136 * np.sin(angle)))
    for angle in np.linspace(0, 2 * np.pi, 40)
]
_BUILDING = [
    *((205, 28), (195, 60), (150, 90), (97, 108), (97, 135), (120, 138), (120, 158), (86, 170)),
    *((86, 188), (97, 195), (97, 245), (65, 255), (65, 282), (80, 290), (75, 335), (130, 335)),
    *((180, 362), (210, 385), (290, 388), (300, 400), (320, 400), (330, 372), (372, 345)),
    *((355, 320), (342, 318), (340, 280), (352, 262), (352, 248), (325, 240), (318, 190)),
    *((330, 182), (328, 168), (295, 162), (292, 138), (320, 128), (318, 116), (270, 95)),
    *((230, 70), (216, 55), (214, 30)),
]
_TREES = [
    [(0, 145), (20, 185), (45, 195), (75, 235), (62, 250), (30, 258), (20, 275), (0, 278)],
    [
        *((0, 290), (30, 320), (50, 345), (130, 332), (180, 362), (210, 385), (250, 395)),
        *((290, 410), (300, 427), (0, 427)),
    ],
    [
        *((330, 427), (345, 385), (380, 345), (420, 318), (470, 300), (540, 278), (548, 210)),
        *((590, 150), (600, 138), (640, 158), (640, 427)),
    ],
]
_SECOND_FLOWER = [
    *((288, 410), (300, 392), (330, 378), (365, 388), (400, 378), (435, 390), (468, 427)),
    (290, 427),
]
# Polygons of each object in pixels (x, y) of the photograph.
OBJECTS = {
    "china.jpg": {"building": [_BUILDING], "foliage": _TREES},
    "flower.jpg": {"petal": [_CIRCLE, _SECOND_FLOWER]},
}


def write_photograph_table(folder: Path) -> Path:
    """Write the tiles, the masks of their objects and `table.csv` into a folder.

    Returns
    -------
    Path
        The table: one row per object of a tile, or per tile without an object.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, objects in OBJECTS.items():
        pixels = load_sample_image(name)
        height, width = pixels.shape[:2]
        masks = {kind: _fill(polygons, height, width) for kind, polygons in objects.items()}
        for y in range(0, height - TILE + 1, TILE):
            for x in range(0, width - TILE + 1, TILE):
                tile = f"{Path(name).stem}_{y:03d}_{x:03d}"
                window = np.s_[y : y + TILE, x : x + TILE]
                Image.fromarray(pixels[window]).save(folder / f"{tile}.png")
                found = {k: m[window] for k, m in masks.items() if m[window].mean() > _LEAST_SHARE}
                for kind, mask in found.items():
                    Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{tile}_{kind}.png")
                    rows.append((f"{tile}.png", tile, kind, f"{tile}_{kind}.png"))
                if not found:
                    rows.append((f"{tile}.png", tile, "background", ""))
    table = folder / "table.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("image", "patient", "pathology", "outline"))
        writer.writerows(rows)
    return table


def _fill(polygons: list[list[tuple[int, int]]], height: int, width: int) -> np.ndarray:
    """Return the union of polygons as a mask, bool [height, width]."""
    image = Image.new("1", (width, height))
    for polygon in polygons:
        ImageDraw.Draw(image).polygon(polygon, fill=1)
    return np.asarray(image)


if __name__ == "__main__":
    print(write_photograph_table(Path(sys.argv[1])))
