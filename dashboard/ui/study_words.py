"""What the pages call an image of the study, in one place."""

from __future__ import annotations

from core.settings import load_image_noun
from dashboard.ui.cached_queries import cached_result


def image_noun() -> str:
    """Return "mammogram", or "image" in a study of other images."""
    return cached_result(load_image_noun)


def image_nouns() -> str:
    """Return the plural of `image_noun`."""
    return f"{image_noun()}s"


def shows_breasts() -> bool:
    """Return whether the images show breasts, so that views and tissue mean something."""
    return image_noun() != "image"
