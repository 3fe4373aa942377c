"""Addresses of patch images on the team pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core import lineage
from core.store import run_table, unit_table
from dashboard.server.image_routes import TEAM_AUDIENCE, image_url
from dashboard.ui.cached_queries import cached_query, cached_result


def _location(patch: Mapping[str, Any], size: int) -> dict[str, Any]:
    sides = {name: int(patch[name]) for name in ("y", "x", "side")}
    return {"file": patch["file"], **sides, "size": size}


def patch_url(patch: Mapping[str, Any], size: int) -> str:
    """Return the address of a patch without a highlighted region.

    patch: file, y, x and side in pixels of the working image; size: pixels of the square tile.
    """
    return image_url("patch", TEAM_AUDIENCE, **_location(patch, size))


def unit_patch_url(patch: Mapping[str, Any], dissect: str, level: float, size: int) -> str:
    """Return the address of a top patch of a unit with the unit's region highlighted.

    patch: as in `patch_url`, and unit and rank; level: activation at which the region begins.
    """
    return image_url(
        "unit",
        TEAM_AUDIENCE,
        **_location(patch, size),
        run=dissect,
        unit=int(patch["unit"]),
        rank=int(patch["rank"]),
        level=level,
    )


def top_patch_urls(
    dissect: str, units: Sequence[int], number: int, size: int
) -> dict[int, list[str]]:
    """Return for each unit the addresses of its first top patches, highlighted."""
    run = cached_query(run_table.load_run, dissect)
    threshold = float(run["settings"]["dissection"]["threshold"])
    largest = cached_query(unit_table.load_units, dissect).set_index("unit")["largest"]
    patches_run = cached_result(lineage.ancestor_run, dissect, "patches")
    patches = cached_query(unit_table.load_top_patches, dissect, patches_run, list(units), number)
    urls: dict[int, list[str]] = {unit: [] for unit in units}
    for patch in patches.to_dict("records"):
        unit = int(patch["unit"])
        urls[unit].append(unit_patch_url(patch, dissect, threshold * float(largest[unit]), size))
    return urls
