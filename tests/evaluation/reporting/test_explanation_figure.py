"""Figure of explained mammograms: cases, places, pictures and texts for differing numbers."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import colormaps
from PIL import Image

from core.class_labels import MAMMOGRAPHY
from evaluation.queries.provenance import MissingInput
from evaluation.reporting.figures import explanations, style
from support.drawn_axes import axis_limits, drawn_lines, drawn_texts, empty_axes, rounded

STUDY = Path("study")
TWO = MAMMOGRAPHY.with_outputs(2)


def replace(monkeypatch: pytest.MonkeyPatch, owner: Any, **functions: Any) -> None:
    for name, function in functions.items():
        monkeypatch.setattr(owner, name, function)


def unit(number: int, rank: int, label: str = "") -> SimpleNamespace:
    return SimpleNamespace(
        unit=number, rank=rank, influence=number / 8, label=label, state=f"s{rank}"
    )


def phenomenon(text: str, leading: SimpleNamespace) -> SimpleNamespace:
    return SimpleNamespace(text=text, leading=leading)


def explained(name: str, **changes: Any) -> SimpleNamespace:
    units = (unit(3, 1, "mass"), unit(5, 2), unit(9, 3, "skin"))
    shown = [phenomenon("mass", units[0]), phenomenon("skin", units[2])]
    outlines: list[Any] = [[[[10, 20], [30, 20], [30, 40]]], [], []]
    values = {
        "mammogram_id": name,
        "patient_id": f"p{name}",
        "image_file": name,
        "width": 100,
        "height": 60,
        "view": "left cc",
        "predicted": "malignant",
        "truth": "benign",
        "scores": {"benign": 0.25, "malignant": 0.625},
        "all_units": units,
        "unit_maps": np.zeros((7, 2, 2)),
        "class_map": np.zeros((2, 2)),
        "scale": 6.0,
        "label_set": "own",
        "findings": pd.DataFrame({"report": ["MASS_OVAL", "", "X"], "outline": outlines}),
        "phenomena": lambda limit: shown[:limit],
        "unit_heat": lambda given: np.full((2, 2), given.rank / 10),
        "rank_text": lambda given: f"{given.rank} of 7",
    }
    return SimpleNamespace(**values | changes)


def test_cases_that_are_illustrated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest picked case of a role, else the first of its order; a role may be empty."""
    classes = [MAMMOGRAPHY]
    tables = {
        "malignant": pd.DataFrame(
            [("a", "x", False), ("b", None, True), ("c", "x", True), ("d", "x", True)],
            columns=["mammogram_id", "truth", "right"],
        ),
        "benign": pd.DataFrame(
            [("e", "x", True), ("f", "x", True), ("g", "x", True)],
            columns=["mammogram_id", "truth", "right"],
        ),
    }
    tables["other"] = tables["benign"].assign(right=False)
    picks = [{"mammogram_id": m, "how": f"picked {m}"} for m in ("z", "g", "f", "b")]
    asked: list[Any] = []
    monkeypatch.setattr(explanations.store, "read", lambda study: nullcontext(study))
    monkeypatch.setattr(explanations.unit_table, "load_figure_picks", lambda con, run: picks)
    replace(
        monkeypatch,
        explanations,
        run_classes=lambda study, run: classes[-1],
        list_explained=lambda *given: asked.append(given) or tables[given[2]],
    )
    malignant = [
        ("malignant, right", "c", "random, seed 7"),
        ("malignant, wrong", "a", "random, seed 7"),
    ]
    assert explanations.choose_example_cases(STUDY, "run", 7) == [
        *malignant,
        ("benign, right", "f", "picked f"),
    ]
    assert asked == [(STUDY, "run", "malignant", 7), (STUDY, "run", "benign", 7)]
    classes.append(TWO)
    assert explanations.choose_example_cases(STUDY, "run", 7) == [
        *malignant,
        ("other, wrong", "f", "picked f"),
    ]


@pytest.fixture
def figure(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Three cases; what is drawn is kept."""
    found = SimpleNamespace(
        chosen=[(f"role {m}", m, f"how {m}") for m in "abc"], drawn=[], scale=True, loaded=[]
    )
    replace(
        monkeypatch,
        explanations,
        newest_run=lambda study, kind: f"{kind}-1",
        study_seed=lambda study: 7,
        choose_example_cases=lambda *given: (
            found.chosen if given == (STUDY, "explain-1", 7) else None
        ),
        load_explanation=lambda study, run, name, label_set: (
            found.loaded.append(label_set) or explained(name)
        ),
        run_classes=lambda study, run: MAMMOGRAPHY,
        set_sentence=lambda name: f"Set {name}.",
        states_sentence=lambda states: f"States {' '.join(states)}.",
        influence_note=lambda study, run: f"Note of {run}.",
        _draw_scale_bar=lambda ax, study, case: found.scale,
        _plot_case=lambda axes, study, case, *given: found.drawn.append(
            (len(axes), case.mammogram_id, *given)
        ),
        _write_report=lambda ax, case, width: found.drawn.append((case.mammogram_id, width)),
        _draw_colour_bar=lambda figure, scale: found.drawn.append(scale),
    )
    return found


def test_figure_of_explanations(figure: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    result = explanations.plot_explanations(STUDY, 174)
    caption = (
        "Explained mammograms. (a) decided role a: truth benign, how a; (b) decided role b: truth"
        " benign, how b; (c) decided role c: truth benign, how c. Left to right: mammogram with"
        " outlined findings (red), beneath the row its report; probability map of the predicted"
        " class; maps of up to {units} labelled units among the 7 with the largest influence on the"
        " decision, with rank, unit, influence and label. A label of several units is printed once,"
        " with the map of the most influential one. Colours, one scale for all cases: class maps"
        " from 0 to 1; unit maps by square root from 0 to the largest contribution of any unit to"
        " any explained mammogram.{bar} Set own. States s1 s3 s1 s3 s1 s3."
    )
    assert result.caption == caption.format(units=5, bar=" White bar: 10 mm.")
    assert result.counts == {"mammograms": 3, "patients": 3}
    assert (result.method, result.kind, result.seed) == ("Note of explain-1.", "mixed", 7)
    expected: list[Any] = []
    for panel, name in zip("abc", "abc"):
        expected += [(7, name, panel, 174, 5), (name, 174)]
    assert figure.drawn == [*expected, 6.0]
    rows = result.data["units"].to_dict("records")
    assert len(rows) == 9 and rows[4] == {
        "panel": "b",
        "role": "role b",
        "chosen": "how b",
        "mammogram_id": "b",
        "truth": "benign",
        "predicted": "malignant",
        "p_benign": 0.25,
        "p_malignant": 0.625,
        "rank": 2,
        "unit": "unit_0006",
        "influence": 0.625,
        "label": "",
        "state": "s2",
    }
    figure.scale = False
    assert figure.loaded == [None] * 3
    narrow = explanations.plot_explanations(STUDY, 119, "own")
    assert narrow.caption == caption.format(units=1, bar="") and figure.loaded[3:] == ["own"] * 3
    assert figure.drawn[-3][:1] == (3,) and explanations.plot_explanations(STUDY, 120).caption
    assert figure.drawn[-3][0] == 7
    monkeypatch.setattr(explanations, "influence_note", lambda study, run: "")
    assert explanations.plot_explanations(STUDY, 174).method == (
        "The influence of a unit is the largest value of its map on the mammogram times its weight"
        " for the class."
    )
    # Of more cases than fit on the page the first are drawn.
    figure.chosen = [(f"role {i}", f"m{i}", "how") for i in range(4)]
    monkeypatch.setattr(explanations, "_MIN_IMAGE_MM", 44.0)
    few = explanations.plot_explanations(STUDY, 174)
    assert few.counts["mammograms"] == 3
    assert set(few.data["units"]["mammogram_id"]) == {"m0", "m1", "m2"}
    figure.chosen = []
    with pytest.raises(MissingInput, match="classified as malignant or benign") as error:
        explanations.plot_explanations(STUDY, 174)
    assert (error.value.step, error.value.command) == ("Explanations", "deepminer explain")


def test_heights_and_places() -> None:
    layout = explanations._PageLayout(40.0, [10.0, 20.0], [3.0, 6.0])
    assert [layout.row(0), layout.row(1)] == [63.0, 76.0]
    assert explanations._column_width(174, 7) == pytest.approx((174 - 12) / 7)
    figure, axes, reports = explanations._create_axes(layout, 100, 3)
    height = 4.5 + 63 + 76 + 13
    assert figure.get_size_inches() * 25.4 == pytest.approx([100, height])
    column = (100 - 6) / 3

    def bounds(left: float, top: float, wide: float, high: float) -> Any:
        place = (left / 100, 1 - (top + high) / height, wide / 100, high / height)
        return pytest.approx(place)

    for k, top in enumerate((4.5, 67.5)):
        for j in range(3):
            place = bounds(1.5 + j * (column + 1.5), top + 5.5, column, 40)
            assert axes[k, j].get_position(original=True).bounds == place
        below = top + 5.5 + 40 + layout.labels[k] + 3
        place = bounds(1.5, below, 97, layout.reports[k])
        assert reports[k].get_position(original=True).bounds == place
    assert all(not ax.axison and ax.get_anchor() == "NW" for ax in figure.axes)


def test_heights_of_texts_and_images() -> None:
    """A label of three lines, a report of two; the image has what the page leaves it."""
    column = explanations._column_width(174, 7)
    letters = int(column / 1.4)
    words = " ".join("w" * letters for _ in range(3))
    report = pd.DataFrame({"report": ["x" * 124 + " y"]})
    case: Any = explained(
        "a", phenomena=lambda limit: [phenomenon(words, unit(1, 1))], findings=report
    )
    assert [len(lines) for lines in explanations._label_lines(case, 174, 5)] == [3]
    assert len(explanations._report_lines(case, 174)) == 3
    layout = explanations._fit_to_page([case], 174, 5)
    assert layout.labels == [pytest.approx(2.9 * 5)] and layout.reports == [pytest.approx(2.9 * 3)]
    none: Any = explained("a", phenomena=lambda limit: [], findings=pd.DataFrame({"report": [""]}))
    bare = explanations._fit_to_page([none], 174, 5)
    assert (bare.labels, bare.reports) == ([pytest.approx(5.8)], [pytest.approx(2.9)])
    # Of 230 - 4.5 - 13 mm four rows would leave 20 mm for an image, and three leave 38.
    assert len(explanations._fit_to_page([case] * 4, 174, 5).labels) == 3
    three = explanations._fit_to_page([case] * 3, 174, 5)
    left = (230 - 4.5 - 13) / 3 - 5.5 - 4.5 - 2.9 * 8
    assert three.image == pytest.approx(min(44, 2 * column, left)) and len(three.labels) == 3
    assert explanations._fit_to_page([none] * 4, 174, 5).image == pytest.approx(
        min(44, 2 * column, (230 - 4.5 - 13) / 4 - 5.5 - 4.5 - 2.9 * 3)
    )
    long = " ".join("w" * letters for _ in range(13))
    lines = explanations._wrap_lines(long, column)
    assert len(lines) == 12 and lines[-1] == "w" * letters + " …"
    twelve = " ".join("w" * letters for _ in range(12))
    assert explanations._wrap_lines(twelve, column) == ["w" * letters] * 12
    text = pd.DataFrame({"report": ["MASS_A", "", "B"]})
    assert explanations._report_lines(explained("a", findings=text), 174) == [  # type: ignore[arg-type]
        "Report: mass a; b"
    ]


def test_texts_of_a_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    np.save(tmp_path / "images" / "a.npy", pixels)
    drawn: list[Any] = []
    replace(
        monkeypatch,
        explanations,
        _plot_mammogram=lambda ax, given, case, heat=None: drawn.append(
            (ax, given.tolist(), None if heat is None else heat.tolist())
        ),
        _write_below=lambda ax, lines: drawn.append((ax, lines)),
    )
    monkeypatch.setattr(
        explanations.style, "label_panel", lambda ax, name: drawn.append((ax, name))
    )
    axes = np.array(list("ABCDE"))
    explanations._plot_case(axes, tmp_path, explained("a"), "b", 174, 5)  # type: ignore[arg-type]
    image = pixels.tolist()
    assert drawn == [
        ("A", "b"),
        ("A", image, None),
        ("A", ["pa", "left cc"]),
        ("B", image, [[0, 0], [0, 0]]),
        ("B", ["malignant .62", "truth benign"]),
        ("C", image, [[0.1, 0.1], [0.1, 0.1]]),
        ("C", ["1 of 7, unit_0004", ".38", "mass"]),
        ("D", image, [[0.3, 0.3], [0.3, 0.3]]),
        ("D", ["3 of 7, unit_0010", "1.12", "skin"]),
    ]
    drawn.clear()
    none: Any = explained("a", predicted=None, phenomena=lambda limit: [])
    explanations._plot_case(axes, tmp_path, none, "b", 174, 5)
    assert drawn[4] == ("B", ["None –", "truth benign"])


def test_picture_of_a_mammogram() -> None:
    ax, case = empty_axes(), explained("a")
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    explanations._plot_mammogram(ax, pixels, case)  # type: ignore[arg-type]
    [image] = ax.images
    assert image.get_array().tolist() == pixels.tolist() and image.get_clim() == (0, 255)
    assert list(image.get_extent()) == [0, 100, 60, 0]
    assert axis_limits(ax) == ([0, 100], [60, 0]) and ax.get_aspect() == 1
    outline = ([10, 30, 30, 10], [20, 20, 40, 20], "None", "-")
    colours = [line[4] for line in drawn_lines(ax)]
    assert [line[:4] for line in drawn_lines(ax)] == [outline, outline]
    assert colours == ["#FFFFFF", style.FINDING_COLOUR]
    ax = empty_axes()
    heat = np.array([[0.0, 0.2], [0.6, 2.0]])
    explanations._plot_mammogram(ax, pixels, case, heat)  # type: ignore[arg-type]
    assert len(ax.images) == 2
    # A wide one is made smaller, and a little higher than its exact height.
    wide = np.zeros((207, 801), np.uint8)
    ax = empty_axes()
    explanations._plot_mammogram(ax, wide, case)  # type: ignore[arg-type]
    assert ax.images[0].get_array().shape == (103, 400)
    ax = empty_axes()
    explanations._plot_mammogram(ax, np.zeros((207, 400), np.uint8), case)  # type: ignore[arg-type]
    assert ax.images[0].get_array().shape == (207, 400)


def test_blend_of_heat_and_image() -> None:
    """At 0 the image shines through; at most three quarters are colour."""
    gray = np.array([[0, 100], [200, 255]], np.uint8)
    heat = np.array([[0.0, 0.25], [0.46875, 1.5]])
    blended = explanations._blend(Image.fromarray(gray), heat)
    for (row, column), value in np.ndenumerate(heat):
        weight = min(0.75, 1.6 * min(1.0, value))
        colour = np.array(colormaps["inferno"](np.float32(min(1.0, value))))[:3]
        expected = gray[row, column] / 255 * (1 - weight) + colour * weight
        assert blended[row, column] == pytest.approx(expected, abs=1e-6)
    negative = explanations._blend(Image.fromarray(gray), -np.ones((2, 2)))
    assert negative[1, 1] == pytest.approx([1, 1, 1])


def test_scale_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = [{"pixel_mm": 0.05, "source_width": 400}]
    monkeypatch.setattr(explanations.store, "read", lambda study: nullcontext(study))
    monkeypatch.setattr(
        explanations.dataset_table,
        "load_mammogram",
        lambda con, name: found[-1] if name == "a" else 0,
    )
    ax = empty_axes()
    assert explanations._draw_scale_bar(ax, STUDY, explained("a")) is True  # type: ignore[arg-type]
    # 10 mm are 200 pixels of the source, and 50 of the working image.
    [line] = drawn_lines(ax)
    assert line == ([4, 54], [58.2, 58.2], "None", "-", "#FFFFFF")
    for unknown in (None, {}, {"pixel_mm": np.nan}, {"pixel_mm": 0}):
        found.append(unknown)
        ax = empty_axes()
        assert explanations._draw_scale_bar(ax, STUDY, explained("a")) is False  # type: ignore[arg-type]
        assert not ax.lines


def test_colour_bar_and_texts_below() -> None:
    figure = style.create_figure(100, 65)
    explanations._draw_colour_bar(figure, 6.0)
    [bar] = figure.axes
    assert bar.get_position(original=True).bounds == pytest.approx((0.2, 9 / 65, 0.6, 2 / 65))
    labels = [text.get_text() for text in bar.get_xticklabels()]
    assert labels == ["class map 0\nunits 0", ".5\n1.50", "1\n6.00"]
    assert rounded(bar.get_xticks()) == [0, 0.5, 1] and axis_limits(bar)[0] == [0, 1]
    ax = empty_axes()
    explanations._write_below(ax, ["one", "two"])
    [note] = ax.texts
    assert note.get_text() == "one\ntwo" and (note.xy, note.xyann) == ((0, 0), (0, -2))
    assert note.get_va() == "top" and note.xycoords == "axes fraction"
    ax = empty_axes()
    explanations._write_report(ax, explained("a"), 174)  # type: ignore[arg-type]
    assert drawn_texts(ax) == [(0, 1, "Report: mass oval; x")] and ax.texts[0].get_va() == "top"
