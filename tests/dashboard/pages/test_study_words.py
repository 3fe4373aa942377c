"""The pages call the images of a study what they are, and offer the classes of any number."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from core.class_labels import ClassDefinition
from dashboard.ui.controls import class_choice
from support.team_page import Open, page_text


@pytest.fixture
def photographs(demonstration: Path, tmp_path: Path) -> Path:
    """The demonstration as if its images were of another subject."""
    for item in demonstration.iterdir():
        if item.name in ("images", "runs"):
            (tmp_path / item.name).symlink_to(item)
        elif item.is_file():
            shutil.copy(item, tmp_path)
    settings = (tmp_path / "study.toml").read_text(encoding="utf-8")
    assert 'subject = "breast"' in settings
    (tmp_path / "study.toml").write_text(
        settings.replace('subject = "breast"', 'subject = "any"'), encoding="utf-8"
    )
    return tmp_path


@pytest.mark.parametrize("name", ["overview", "data", "units", "explanations"])
def test_pages_of_other_images(name: str, photographs: Path, team: Open) -> None:
    page = team(photographs, name)
    assert not page.exception, page.exception[0].message
    text = page_text(page) + " ".join(
        column for table in page.dataframe for column in table.value.columns
    )
    # Whole words: names of columns do not count.
    assert re.findall(r"(?i).{30}\b(?:mammograms?|breasts?)\b", text) == []
    options = [option for box in page.selectbox for option in box.options]
    assert not any("breast" in option for option in options)


def test_pages_of_mammograms_keep_their_words(demonstration: Path, team: Open) -> None:
    assert "mammograms" in page_text(team(demonstration, "data"))


class Column:
    """A column of a page that records which control was rendered."""

    def __init__(self) -> None:
        self.control = ""

    def segmented_control(
        self, label: str, options: list[str], *, default: str, **_: object
    ) -> str:
        self.control = "segments"
        return default

    def selectbox(self, label: str, options: list[str], *, index: int, **_: object) -> str:
        self.control = "menu"
        return options[index]


@pytest.mark.parametrize(
    ("names", "control"),
    [
        (("normal", "benign", "malignant"), "segments"),
        (("background", "foliage", "petal", "building"), "menu"),
        (("normal", "architectural distortion"), "menu"),
    ],
)
def test_class_menus_are_not_cut_off(names: tuple[str, ...], control: str) -> None:
    classes = ClassDefinition(names, names[-1], names[0])
    titles = {name: name.capitalize() for name in classes.names} | {"wrong": "Wrong", "all": "All"}
    column = Column()
    choice = class_choice(column, "Cases", titles, default=classes.positive, key="kind")
    assert (choice, column.control) == (names[-1], control)
