"""Cases as the server sends them to the reading page, with small drawn films."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from core.images.blinded_rendering import FILM_PLACES
from support.breast_films import breast_film

ANSWERS = [
    "Definitely benign",
    "Probably benign",
    "Possibly benign",
    "Possibly malignant",
    "Probably malignant",
    "Definitely malignant",
]
TEXTS = ["Mass with spiculated margin (left MLO)", "Skin thickening (left CC)", "Vessel (right CC)"]
QUESTIONS = [
    {"text": "How sure are you?", "kind": "scale", "options": ["Not", "Partly", "Very"]},
    {"text": "What would have helped?", "kind": "text", "options": []},
]
STATEMENT = "The network's decision: malignant"
FIRST = {"first_answer": 2, "first_answer_text": ANSWERS[1]}
DONE = {"stage": "done", "can_reopen": False, "saved": "2026-11-28T08:00:00Z"}
# Serious faults of accessibility on the page, by axe.
SERIOUS = """async () => (await axe.run({runOnly: ["wcag2a", "wcag2aa"]})).violations
    .filter(v => ["serious", "critical"].includes(v.impact))
    .flatMap(v => v.nodes.map(n => v.id + ": " + n.html.slice(0, 160)))"""


def film_images() -> dict[str, bytes]:
    """Return a film and a class map of each place of an exam as JPEG, by address."""
    images = {}
    for slot, place in enumerate(FILM_PLACES):
        film = (breast_film(slot, right=place.laterality == "RIGHT") >> 4).astype(np.uint8)
        images[f"/image/{slot}"] = _jpeg(film)
        images[f"/image/map{slot}"] = _jpeg(np.stack([film, film // 3, 255 - film], axis=-1))
    return images


def _jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def exam_films(*slots: int, maps: bool = False) -> list[dict[str, str]]:
    """Return the films of an exam, or their class maps, in the form of a reply."""
    return [
        {
            "kind": "class_map" if maps else "film",
            "url": f"/image/{'map' if maps else ''}{slot}",
            "side": FILM_PLACES[slot].laterality[0],
            "view": FILM_PLACES[slot].view,
            "name": FILM_PLACES[slot].name,
        }
        for slot in slots
    ]


def reading_case(**changes: Any) -> dict[str, Any]:
    """Return a case of the explanation-only study with changes."""
    case: dict[str, Any] = {
        "token": "t",
        "texts": TEXTS,
        "image": None,
        "number": 3,
        "total": 20,
        "practice": False,
        "answer": None,
        "can_reopen": False,
        "pause": False,
        "answers": ANSWERS,
        "question": "How likely is it that this breast contains a malignant finding?",
    }
    return case | changes


def exam_case(*slots: int, **changes: Any) -> dict[str, Any]:
    """Return a case that is an exam with films at these places."""
    return reading_case(films=exam_films(*slots)) | changes


# The advice of an exam with four films.
ADVICE = {
    "statement": STATEMENT,
    "texts": TEXTS,
    "image": None,
    "films": exam_films(0, 1, 2, 3, maps=True),
}
