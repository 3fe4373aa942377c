"""Addresses of the images of a case, as the reading page receives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.images.blinded_rendering import FILM_PLACES
from dashboard.server import image_routes


def picture_fields(
    code: str, position: int, pictures: Sequence[tuple[int, str, str]], *, is_exam: bool
) -> dict[str, Any]:
    """Return the fields of a reply that show the images of a case, or those of its advice.

    Addresses of cases that can no longer be reopened end.

    Parameters
    ----------
    code : str
        Code of the reader, the only one who can open the addresses.
    position : int
        Position of the case in the reader's order.
    pictures : sequence of (int, str, str)
        Slot, kind and source of each image. The slots of advice follow those of the films.
    is_exam : bool
        Whether a case is an exam, in which each film has its place in the layout.

    Returns
    -------
    dict
        `image` with kind and url, or None without an image. Exams have None there, and `films`, a
        list with kind, url, side, view and name of each film.
    """
    if pictures:
        # While a case is reopened, the one after it stays available.
        image_routes.revoke_image_urls(code, (position - 1, position, position + 1))
    images = [
        {
            "kind": kind,
            "url": image_routes.image_url(
                "blinded", code, content=kind, source=source, position=position
            ),
        }
        for _, kind, source in pictures
    ]
    if not is_exam:
        return {"image": images[0] if images else None}
    film_places = [FILM_PLACES[slot % len(FILM_PLACES)] for slot, _, _ in pictures]
    return {
        "image": None,
        "films": [
            image
            | {
                "side": film_place.laterality[0],
                "view": film_place.view,
                "name": film_place.name,
            }
            for image, film_place in zip(images, film_places, strict=True)
        ],
    }
