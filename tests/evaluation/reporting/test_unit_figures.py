"""Figures of units and of their coverage: captions, panels and data for differing numbers."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.class_labels import MAMMOGRAPHY
from core.store.labels.label_sets import DEFAULT_SET
from evaluation.queries.provenance import MissingInput
from evaluation.reporting.figures import categories, coverage, style, units
from support.drawn_axes import (
    axis_limits,
    axis_texts,
    drawn_lines,
    drawn_texts,
    empty_axes,
    error_bar_ends,
    tick_labels,
)

STUDY = Path("study")
COLOURS = {name: colour.upper() for name, colour in style.CLASS_COLOURS.items()}
INK, MUTED = style.INK, style.MUTED


def replace_inputs(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    monkeypatch.setattr(module.store, "read", lambda study: nullcontext(study))
    for name, function in {
        "newest_run": lambda study, kind: f"{kind}-1",
        "run_classes": lambda study, run: MAMMOGRAPHY,
        "set_sentence": lambda name: f"Set {name}.",
        "influence_note": lambda study, run: f"Note of {run}.",
    }.items():
        monkeypatch.setattr(module, name, function)


def coverage_frame() -> pd.DataFrame:
    """Coverage of three classes; two units are selected, the curves end at three."""
    rows: list[Any] = []
    for code in (2, 0, 1):
        k = code / 100
        rows += [
            (code, "selected", 0.5 + k, np.nan, np.nan, "counted"),
            (code, "split_half", 0.4 + k, 0.3 + k, 0.6 + k, f"halves {code % 2}"),
            (code, "interval", 0.41 + k, 0.31 + k, 0.61 + k, f"halves {code % 2}"),
            (code, "chance", 0.25, np.nan, np.nan, "arbitrary"),
            *((code, f"curve_{j}", 0.2 * j + k, np.nan, np.nan, "same") for j in (1, 2, 3)),
        ]
    frame = pd.DataFrame(rows, columns=["class", "name", "estimate", "low", "high", "method"])
    return frame.assign(n=[40 + i % 3 for i in range(len(frame))])


@pytest.fixture
def covered(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    replace_inputs(monkeypatch, coverage)
    found = SimpleNamespace(run="coverage-1", sets=[])
    settings = {"settings": {"dissection": {"select": 2, "top": 8}}}

    def labelled(study: Path, dissect: str, label_set: str) -> dict[int, tuple[Any, ...]]:
        found.sets.append((study, dissect, label_set))
        return {0: (0.1, 1, 2), 1: (None, 3, 4), 2: (0.12, 5, 6)}

    for owner, name, function in (
        (coverage.run_table, "latest_run", lambda con, kind, parent: found.run),
        (coverage.run_table, "load_run", lambda con, run: settings),
        (coverage.unit_table, "load_coverage", lambda con, run: coverage_frame()),
        (
            coverage.unit_table,
            "load_selected_units",
            lambda con, run: pd.DataFrame({"unit": [3, 4, 3]}),
        ),
        (coverage.unit_summaries, "labelled_coverage_by_class", labelled),
    ):
        monkeypatch.setattr(owner, name, function)
    return found


def test_coverage_figure(covered: SimpleNamespace) -> None:
    result = coverage.plot_coverage(STUDY, 85)
    assert result.caption == (
        "Coverage: proportion of the 8 most influential units of each of 42 hold-out mammograms"
        " that the first k units account for. At 2 units: malignant 52.0 % (split half 42.0 %, 95 %"
        " CI 33.0 % to 63.0 %; labelled 12.0 %); benign 51.0 % (split half 41.0 %, 95 % CI 32.0 %"
        " to 62.0 %; labelled –); normal 50.0 % (split half 40.0 %, 95 % CI 31.0 % to 61.0 %;"
        " labelled 10.0 %); 2 arbitrary units 25.0 %. Filled symbols: measured on the mammograms"
        " that selected the units, hence optimistic; open symbols with 95 % intervals: selected on"
        f" one half of the patients, measured on the other. CI, confidence interval. Set"
        f" {DEFAULT_SET}. Note of dissect-1."
    )
    assert result.counts == {"mammograms": 42, "units selected": 2}
    assert result.method == "halves 0; halves 1"
    assert covered.sets == [(STUDY, "dissect-1", DEFAULT_SET)]
    rows = result.data["coverage"]
    names = [
        *("selected", "split_half", "interval", "chance", "curve_1", "curve_2", "curve_3"),
        "labelled",
    ]
    assert rows["class"].tolist() == [n for n in MAMMOGRAPHY.names for _ in names]
    assert rows["name"].tolist() == names * 3
    assert rows["estimate"].tolist()[:8] == pytest.approx(
        [0.5, 0.4, 0.41, 0.25, 0.2, 0.4, 0.6, 0.1]
    )
    [ax] = result.figure.axes
    lines = drawn_lines(ax)
    curves = [line for line in lines if len(line[0]) == 3]
    assert curves == [
        (
            *([1, 2, 3], pytest.approx([0.2 + k, 0.4 + k, 0.6 + k])),
            *("None", line_style, COLOURS[name]),
        )
        for k, name, line_style in zip((0, 0.01, 0.02), MAMMOGRAPHY.names, (":", "--", "-"))
    ]
    marks = [line for line in lines if len(line[0]) == 1 and line[2] in "^so"]
    assert [(m[0], m[1], m[2]) for m in marks] == [
        ([pytest.approx(2 + (i - 1) * 0.35)], [pytest.approx(share + i / 100)], marker)
        for i, marker in enumerate("^so")
        for share in (0.5, 0.4)
    ]
    for container, i in zip(ax.containers, range(3), strict=True):
        x = pytest.approx(2 + (i - 1) * 0.35)
        assert error_bar_ends(container) == [
            [[x, pytest.approx(0.31 + i / 100)], [x, pytest.approx(0.61 + i / 100)]]
        ]
    assert ([0, 3], [0, 0.375], "None", "-", MUTED) in lines
    assert lines[-1][:2] == ([2, 2], [0, 1])
    [note] = ax.texts
    assert (note.get_text(), note.xy, note.xyann) == ("2 selected", (2, 0.02), (3, 0))
    entries = ["malignant", "benign", "normal", "arbitrary units"]
    assert axis_texts(ax) == ("Units selected", "Proportion of the top 8 slots", entries)
    assert axis_limits(ax) == ([0, 3.5], [0, 1.02])
    handles = ax.get_legend().get_lines()
    assert [line.get_linestyle() for line in handles] == ["-", "--", ":", "-"]
    assert result.figure.get_size_inches() * 25.4 == pytest.approx([85, 70])
    for width, columns in ((119, 2), (120, 4)):
        ax = coverage.plot_coverage(STUDY, width).figure.axes[0]
        assert ax.get_legend()._ncols == columns
    assert "Set own." in coverage.plot_coverage(STUDY, 85, "own").caption
    covered.run = None
    with pytest.raises(MissingInput) as error:
        coverage.plot_coverage(STUDY, 85)
    assert error.value.step == coverage.MISSING_INPUTS["coverage"][0]


def selected(unit: int, label: str) -> dict[str, Any]:
    return {
        "unit": unit,
        "name": f"n{unit}",
        "label": label,
        "state": f"s{unit}",
        "share": unit / 100,
        "top_patients": unit + 1,
    }


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Five selected units, of which one has no label and one is selected for two classes."""
    replace_inputs(monkeypatch, units)
    found = SimpleNamespace(asked=[])
    chosen = pd.DataFrame(
        [(2, 2, 7, 11), (2, 1, 5, 12), (2, 3, 6, 13), (1, 1, 7, 14), (1, 2, 8, 15), (0, 1, 9, 16)],
        columns=["class", "rank", "unit", "count"],
    )
    rows = [selected(u, "" if u == 6 else f"label {u}") for u in (5, 6, 7, 8, 9)]
    monkeypatch.setattr(units.unit_table, "load_selected_units", lambda con, run: chosen)
    monkeypatch.setattr(
        units,
        "selected_units",
        lambda study, run, label_set: found.asked.append(label_set) or pd.DataFrame(rows),
    )
    monkeypatch.setattr(
        units, "run_class_names", lambda study, run: dict(enumerate(MAMMOGRAPHY.names))
    )
    return found


def test_named_units_of_each_class(named: SimpleNamespace) -> None:
    """The last class first, by rank; every unit once, and at most so many of a class."""
    table = units.select_named_units(STUDY, "dissect-1", 2)
    rows = table[["unit", "under", "rank", "count", "label", "name", "share", "top_patients"]]
    assert rows.to_numpy().tolist() == [
        [5, "malignant", 1, 12, "label 5", "n5", 0.05, 6],
        [7, "malignant", 2, 11, "label 7", "n7", 0.07, 8],
        [8, "benign", 2, 15, "label 8", "n8", 0.08, 9],
        [9, "normal", 1, 16, "label 9", "n9", 0.09, 10],
    ]
    assert named.asked == [DEFAULT_SET]
    one = units.select_named_units(STUDY, "dissect-1", 1, "own")
    # Unit 7 is not listed under malignant, and so stands under benign.
    assert one[["unit", "under"]].to_numpy().tolist() == [
        [5, "malignant"],
        [7, "benign"],
        [9, "normal"],
    ]
    assert named.asked == [DEFAULT_SET, "own"]


def test_figure_of_units(
    named: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Any] = []
    drawn: list[Any] = []
    tiles = pd.DataFrame(
        [(u, r, f"p{(u + r) % 3}") for u in (5, 7, 8, 9) for r in (1, 0, 2)],
        columns=["unit", "rank", "patient_id"],
    )
    maps = np.arange(10 * 3 * 4, dtype=np.float16).reshape(10, 3, 2, 2)
    np.save(tmp_path / "top_maps.npy", maps)
    largest = pd.DataFrame({"unit": range(10), "largest": [u * 2.0 for u in range(10)]})
    settings = {"settings": {"dissection": {"threshold": 0.25, "top": 8}}}
    for owner, name, function in (
        (units.lineage, "ancestor_run", lambda study, run, kind: f"{kind} of {run}"),
        (units.runs, "run_folder", lambda study, run: tmp_path),
        (
            units.unit_table,
            "load_top_patches",
            lambda con, *given: asked.append(given) or tiles,
        ),
        (units.unit_table, "load_units", lambda con, run: largest),
        (units.run_table, "load_run", lambda con, run: settings),
        (units, "states_sentence", lambda states: f"States {','.join(states)}."),
        (units, "_write_unit", lambda ax, row, key: drawn.append((ax, row["unit"], key))),
        (
            units,
            "_plot_tile",
            lambda ax, study, patch, unit_map, level: drawn.append(
                (ax, patch["unit"], patch["rank"], unit_map.tolist(), level)
            ),
        ),
    ):
        monkeypatch.setattr(owner, name, function)
    result = units.plot_units(STUDY, 174)
    assert asked == [("dissect-1", "patches of dissect-1", [5, 7, 8, 9], 4)]
    assert result.caption == (
        "Units that carry a label, at most 4 of each class (malignant, benign, normal), ordered by"
        " how often they are among the 8 units with the largest influence on hold-out mammograms."
        " Each row: unit, class, label, and its 4 patches with the largest activation; outlined:"
        " the map of the unit above 0.25 of its largest activation. All patches of one row may come"
        f" from few patients (listed in the data). Set {DEFAULT_SET}. States s5,s7,s8,s9. Note of"
        " dissect-1."
    )
    assert result.counts == {"units": 4, "patches": 12, "patients": 3}
    assert result.kind == "image" and result.method.startswith("Top patches were ranked by the")
    table = result.data["tiles"]
    assert list(table) == [
        *("unit", "rank", "patient_id", "name", "under", "label", "state", "class_rank", "count"),
        *("share", "top_patients"),
    ]
    assert table["class_rank"].tolist() == [1] * 3 + [2] * 6 + [1] * 3
    axes = np.array(result.figure.axes).reshape(2, 10)
    cells = [axes[0, :5], axes[1, :5], axes[0, 5:], axes[1, 5:]]
    expected: list[Any] = []
    for cell, (unit, key) in zip(
        cells, ((5, "malignant"), (7, "malignant"), (8, "benign"), (9, "normal"))
    ):
        expected.append((cell[0], unit, key))
        expected += [
            (cell[1 + i], unit, rank, maps[unit, rank].tolist(), 0.25 * 2 * unit)
            for i, rank in enumerate((1, 0, 2))
        ]
    assert drawn == expected
    assert not any(ax.axison for ax in result.figure.axes)
    assert result.figure.get_size_inches() * 25.4 == pytest.approx([174, 5 + 16.5 * 2])
    ratios = axes[0, 0].get_subplotspec().get_gridspec().get_width_ratios()
    assert list(ratios) == [2.4, 1, 1, 1, 1] * 2
    narrow = units.plot_units(STUDY, 119, "own")
    assert narrow.figure.get_size_inches() * 25.4 == pytest.approx([119, 5 + 16.5 * 4])
    assert len(narrow.figure.axes) == 20 and "Set own." in narrow.caption
    assert len(units.plot_units(STUDY, 120).figure.axes) == 20
    figure, cells = units._create_unit_grid(3, 174)
    assert len(cells) == 3 and len(figure.axes) == 20
    monkeypatch.setattr(units, "select_named_units", lambda *given: pd.DataFrame())
    with pytest.raises(MissingInput) as error:
        units.plot_units(STUDY, 174)
    assert error.value.reason == units.MISSING_INPUTS["labels"][1]


def test_text_of_a_unit() -> None:
    ax = empty_axes()
    row = {"unit": 8, "under": "benign", "label": "one two"}
    units._write_unit(ax, row, "benign")
    assert drawn_texts(ax) == [
        (0, 0.98, "unit_0009"),
        (0, 0.8, "benign"),
        (0, 0.62, "one two"),
    ]
    assert [text.get_fontweight() for text in ax.texts] == ["bold", "normal", "normal"]
    assert ax.texts[1].get_color().upper() == COLOURS["benign"]
    assert all(text.get_transform() == ax.transAxes for text in ax.texts)
    words = [f"{'w' * 20}{k}" for k in range(5)]
    for count, text in (
        (4, "\n".join(words[:4])),
        (5, "\n".join([*words[:3], f"{words[3]} …"])),
    ):
        ax = empty_axes()
        units._write_unit(ax, row | {"label": " ".join(words[:count])}, "benign")
        assert ax.texts[2].get_text() == text
    comma = " ".join([*words[:3], f"{words[3]},", words[4]])
    ax = empty_axes()
    units._write_unit(ax, row | {"label": comma}, "benign")
    assert ax.texts[2].get_text().endswith(f"{words[3]} …")


def estimate(name: str, k: int, method: str, reason: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(
        name=name,
        estimate=None if reason else k / 100,
        low=None if reason else k / 200,
        high=None if reason else k / 50,
        n=k,
        method=method,
        reason=reason,
    )


def test_figure_of_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    estimates = [
        estimate("mass", 40, "Cohen's kappa, by unit"),
        estimate("overlap", 17, "mean Jaccard index"),
        estimate("type", 33, "Cohen's kappa, by unit", "one answer"),
        estimate("first", 21, "Krippendorff's alpha, nominal"),
    ]
    found = [estimates]
    monkeypatch.setattr(units, "annotator_agreement", lambda study: (found[-1], 3))
    result = units.plot_agreement(STUDY, 85)
    assert result.caption == (
        "Agreement of 3 annotators on the units that at least two of them answered, by statistic"
        " (Cohen's kappa: mass, type; Mean Jaccard index: overlap; Krippendorff's alpha: first)."
        " Bars: 95 % intervals. Dashed: agreement by chance, which is 0 for these statistics only."
        " CI, confidence interval."
    )
    assert result.counts == {"annotators": 3, "units": 40}
    assert result.method == (
        "Cohen's kappa, by unit; mean Jaccard index; Krippendorff's alpha, nominal; interval of"
        " alpha by resampling units"
    )
    table = result.data["agreement"]
    assert table.astype(object).where(table.notna(), None).to_dict("records") == [
        {
            "statistic": e.name,
            "estimate": e.estimate,
            "low": e.low,
            "high": e.high,
            "n": e.n,
            "method": e.method,
            "reason": e.reason or "",
        }
        for e in estimates
    ]
    assert result.figure.get_size_inches() * 25.4 == pytest.approx([85, 14 + 5 * 7])
    found.append([estimates[1]])
    plain = units.plot_agreement(STUDY, 85)
    assert "Dashed" not in plain.caption and plain.method == "mean Jaccard index"
    for name, corrected in (("Gwet's AC1", True), ("Percent agreement", False)):
        assert units._is_chance_corrected(name) is corrected


def test_categories_by_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts of two categories and two networks; one of them is proposed."""
    table = pd.DataFrame(
        [
            ("net b", "run-2", "Mass", "confirmed", 1, "a"),
            ("net b", "run-2", "Mass", "proposed", 2, "b"),
            ("net b", "run-2", "Mass", "confirmed", 3, "c"),
            ("net a", "run-1", "Skin", "confirmed", 4, "d"),
            ("net a", "run-1", "Mass", "confirmed", 4, "d"),
            ("net a", "run-1", "Skin", "confirmed", 5, "e"),
        ],
        columns=["network", "run", "category", "state", "unit", "label"],
    )
    module, asked = categories, []
    lexicon = SimpleNamespace(name="BI-RADS")
    for name, function in {
        "labelled_units_of_networks": lambda study, label_set: asked.append(label_set) or table,
        "study_lexicon": lambda study: lexicon,
        "set_sentence": lambda name: f"Set {name}.",
    }.items():
        monkeypatch.setattr(module, name, function)
    totals = pd.Series({"net b": 3, "net a": 2})
    monkeypatch.setattr(module.unit_summaries, "network_totals", lambda units: totals)
    monkeypatch.setattr(
        module.unit_summaries, "category_order", lambda units, lexicon: ["Skin", "Mass"]
    )
    result = module.plot_categories(STUDY, 100)
    mark = module.unit_summaries.PROPOSED_MARK
    caption = (
        "Labelled units by BI-RADS category and network; n, distinct labelled units. A unit with"
        " several phenomena is counted in each of its categories.{note} Set " + DEFAULT_SET + "."
    )
    note = (
        f" {mark}, of these so many categories are proposed from the words of the label and not"
        " confirmed."
    )
    assert result.caption == caption.format(note=note) and asked == [DEFAULT_SET]
    assert (result.counts, result.kind) == ({"networks": 2, "units": 5}, "mixed")
    assert result.data["units"]["unit"].tolist() == [f"unit_{u:04d}" for u in (2, 3, 4, 5, 5, 6)]
    assert list(result.data["units"]) == list(table)
    [ax] = result.figure.axes
    assert drawn_texts(ax) == [*((0, 0, "0"), (1, 0, "2"), (0, 1, f"3 (1{mark})"), (1, 1, "1"))]
    assert ax.images[0].get_array().tolist() == [
        pytest.approx(row) for row in ([0, 0.3], [0.45, 0.15])
    ]
    assert ax.images[0].get_clim() == (0, 1) and ax.images[0].get_cmap().name == "Greys"
    assert tick_labels(ax) == (["net b\nn = 3", "net a\nn = 2"], ["Skin", "Mass"])
    assert not any(spine.get_visible() for spine in ax.spines.values())
    assert ax.xaxis.get_ticks_position() == "top"
    assert result.figure.get_size_inches() * 25.4 == pytest.approx([100, 22 + 7 * 2])
    # 25 letters of a name fit beside another network at 100 mm, and never fewer than eight.
    table["network"] = table["network"].replace("net b", "abcdefgh ijklmnop qrstuvw x")
    totals.index = ["abcdefgh ijklmnop qrstuvw x", "net a"]
    for width, text in (
        (100, "abcdefgh ijklmnop qrstuvw\nx\nn = 3"),
        (31, "abcdefgh\nijklmnop\nqrstuvw\nx\nn = 3"),
    ):
        assert tick_labels(module.plot_categories(STUDY, width).figure.axes[0])[0][0] == text
    table["state"] = "confirmed"
    plain = module.plot_categories(STUDY, 100, "own")
    assert "not confirmed" not in plain.caption and "Set own." in plain.caption


@pytest.mark.parametrize(("side", "pixels"), [(128, 128), (129, 128)])
def test_tile_and_outline_of_a_unit(side: int, pixels: int, tmp_path: Path) -> None:
    """A map that rises from left to right has its half in the middle of the tile."""
    (tmp_path / "images").mkdir()
    film = np.full((150, 160), 77, np.uint8)
    np.save(tmp_path / "images" / "f.npy", film)
    patch = {"file": "f", "x": 3, "y": 5, "side": side}
    ax = empty_axes()
    units._plot_tile(ax, tmp_path, patch, np.tile([0.0, 1.0], (2, 1)), 0.5)
    [image] = ax.images
    assert image.get_array().shape == (pixels, pixels) and image.get_clim() == (0, 255)
    assert list(image.get_extent()) == [0, 1, 1, 0]
    for outline, width in zip(ax.collections, (1.4, 0.8), strict=True):
        points = np.vstack([path.vertices for path in outline.get_paths()])
        assert points[:, 0] == pytest.approx(np.full(len(points), 0.5), abs=0.002)
        # From the centre of the first pixel to that of the last one.
        ends = (points[:, 1].min(), points[:, 1].max())
        assert ends == pytest.approx((0.5 / 128, 127.5 / 128))
        assert outline.get_linewidths()[0] == width
