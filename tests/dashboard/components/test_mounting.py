"""What components are mounted with: their files in order, their data, and nothing of a case."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import streamlit

from core import store
from core.lexicon import annotation_answers
from core.store import dataset_table
from dashboard.components import (
    annotation,
    mammograms,
    next_step,
    patch_tiles,
    reading,
    unit_gallery,
)
from dashboard.components.mammograms import Box, Panel
from dashboard.server import context
from support.paths import ROOT

FOLDER = ROOT / "dashboard" / "components"


def file(*names: str) -> str:
    """Return the joined texts of files of the components."""
    return "".join((FOLDER / name).read_text(encoding="utf-8") for name in names)


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Components as they are declared and mounted."""
    calls: list[Any] = []
    result = SimpleNamespace(open=None)

    def component(name: str, **sources: str) -> Any:
        calls.append((name, sources))
        return lambda **values: calls.append(values) or result

    monkeypatch.setattr(streamlit.components.v2, "component", component)
    calls.append(result)
    return calls


def test_pages_of_experts(mounted: list[Any], study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(context.STUDY_VARIABLE, str(study))
    monkeypatch.setenv(context.PREFIX_VARIABLE, "/mining")
    annotation.mount_annotation()
    reading.mount_reading()
    (annotate, sources), values, (read, read_sources), read_values = mounted[1:]
    assert (annotate, read) == ("expert_annotate", "expert_read")
    own = ("mammogram", "form", "audit", "annotation")
    assert sources == {
        "html": file("annotation/annotation.html"),
        "css": file("design_tokens.css", "annotation/annotation.css"),
        "js": file("session.js", "viewer.js", *(f"annotation/{name}.js" for name in own)),
    }
    with store.read(study) as con:
        lexicon = annotation_answers.lexicon_data(dataset_table.load_lexicon(con))
    assert values == {
        "key": "expert",
        "data": {"lexicon": lexicon, "prefix": "/mining"},
        "height": "content",
    }
    own = ("films", "questions", "reading")
    assert read_sources == {
        "html": file("reading/reading.html"),
        "css": file("design_tokens.css", "reading/reading.css"),
        "js": file("session.js", "viewer.js", *(f"reading/{name}.js" for name in own)),
    }
    # Nothing about a case, an arm or the truth is in the page.
    assert read_values == {"key": "expert", "data": {"prefix": "/mining"}, "height": "content"}


def test_parts_of_team_pages(mounted: list[Any]) -> None:
    item = {"name": "patch 1"}
    patch_tiles.show_patch_tiles((item,), key="tiles")
    patch_tiles.show_patch_mammogram(item, key="mammogram", height=392)
    next_step.show_next_step("Do it.", "short", "long")
    assert mounted[1::2][:1] == [
        (
            "team_tiles",
            {
                "html": '<div class="grid"></div>',
                "css": file("patch_tiles/patch_tiles.css"),
                "js": file("patch_tiles/patch_tiles.js"),
            },
        )
    ]
    assert mounted[2] == {
        "key": "tiles",
        "data": {"items": [item], "columns": 8},
        "height": "content",
    }
    (name, sources), values = mounted[3:5]
    assert name == "team_patch_mammogram" and sources["js"] == file(
        "patch_tiles/patch_mammogram.js"
    )
    assert sources["css"] == file("patch_tiles/patch_tiles.css")
    assert sources["html"].startswith('<div class="side"><div class="mammogram"><img alt="">')
    assert values == {
        "key": "mammogram",
        "data": {"item": item, "height": 392},
        "height": "content",
    }
    (name, sources), values = mounted[5:]
    assert name == "next_step" and sources["css"] == file("next_step/next_step.css")
    assert sources["js"] == file("next_step/next_step.js")
    assert 'aria-label="Next step"' in sources["html"]
    assert values == {
        "key": "next_step",
        "data": {"sentence": "Do it.", "command": "short", "full": "long"},
        "height": "content",
    }


def test_gallery(mounted: list[Any]) -> None:
    rows = ({"unit": 4}, {"unit": 7})
    assert unit_gallery.show_unit_gallery(rows, key="gallery") is None
    mounted[0].open = "7"
    assert unit_gallery.show_unit_gallery(rows, key="gallery") == 7
    (name, sources), values = mounted[1:3]
    assert name == "team_gallery" and sources == {
        "html": '<div class="gallery"></div>',
        "css": file("unit_gallery/unit_gallery.css"),
        "js": file("unit_gallery/unit_gallery.js"),
    }
    assert values.pop("on_open_change")() is None
    assert values == {"key": "gallery", "data": {"rows": list(rows)}, "height": "content"}


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["normal", "benign"], ["N", "B"]),
        (["stone", "sky", "steel"], ["Sto", "Sky", "Ste"]),
        (["mass", "mass line"], ["Mass", "Mass "]),
        (["a"], ["A"]),
        (["ab", "abc"], ["Ab", "Abc"]),
    ],
)
def test_short_names(names: list[str], short: list[str]) -> None:
    assert unit_gallery.short_names(names) == dict(zip(names, short))


def test_panels(mounted: list[Any]) -> None:
    box = Box(x=0.1, y=0.2, width=0.3, height=0.4, kind="benign", text="t", color="#fff")
    panel = Panel(
        url="u",
        width=200,
        height=400,
        source="s",
        title="T",
        right="R",
        caption="C",
        note="N",
        outlines=[np.array([[9.5, 19.5]])],
        nested=[np.array([[99.5, 99.5]])],
        boxes=[box],
        # A value that is not a number counts as 0; values beyond the scale are its ends.
        heat=np.array([[0.0, 0.5, np.nan], [1.0, 2.0, -1.0]]),
        scale=("0", "1"),
        ramp="contribution",
    )
    mammograms.show_mammograms([panel], key="k", height=212, linked=True)
    mammograms.show_mammograms(
        [Panel(url="v", width=10, height=20)], key="l", height=9, patches=True
    )
    (name, sources), values = mounted[1:3]
    assert name == "team_mammograms" and sources == {
        "html": '<div class="mammograms"></div>',
        "css": file("mammograms/mammograms.css"),
        "js": file("mammograms/mammograms.js"),
    }
    assert (values["key"], values["height"]) == ("k", "content")
    assert values["data"] == {
        "panels": [
            {
                "url": "u",
                "source": "s",
                "pixels": 200,
                "aspect": 0.5,
                "title": "T",
                "right": "R",
                "caption": "C",
                "note": "N",
                "alt": "mammogram",
                # Pixel centres, in per cent of the sides.
                "outlines": ["M5.00 5.00Z"],
                "nested": ["M50.00 25.00Z"],
                "boxes": [vars(box)],
                # Bytes 0, 127, 0, 255, 255, 0.
                "heat": {"w": 3, "h": 2, "data": "AH8A//8A"},
                "scale": ("0", "1"),
                "ramp": "contribution",
            }
        ],
        "height": 212,
        "patches": False,
        "linked": True,
    }
    data = mounted[4]["data"]
    assert (data["height"], data["patches"], data["linked"]) == (9, True, False)
    assert data["panels"][0] == {
        "url": "v",
        "source": "",
        "pixels": 10,
        "aspect": 0.5,
        "title": "",
        "right": "",
        "caption": "",
        "note": "",
        "alt": "mammogram",
        "outlines": [],
        "nested": [],
        "boxes": [],
        "heat": None,
        "scale": None,
        "ramp": "probability",
    }
