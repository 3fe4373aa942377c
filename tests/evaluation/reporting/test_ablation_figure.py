"""Figure of ablation: caption, panels and data, written down for differing numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.class_labels import MAMMOGRAPHY, ClassDefinition
from evaluation.queries.provenance import MissingInput
from evaluation.reporting.figures import ablation, style
from support.drawn_axes import (
    axis_limits,
    axis_texts,
    drawn_lines,
    error_bar_ends,
    rounded,
    tick_labels,
)

STUDY = Path("study")
TWO = MAMMOGRAPHY.with_outputs(2)
COLOURS = {name: colour.upper() for name, colour in style.CLASS_COLOURS.items()}
INK, MUTED = style.INK, style.MUTED


def put(monkeypatch: pytest.MonkeyPatch, module: Any, **functions: Any) -> None:
    for name, function in functions.items():
        monkeypatch.setattr(module, name, function)


def ablation_rows() -> pd.DataFrame:
    rows: list[Any] = [
        (2, subject, "deletion", step, e, e - 0.25, e + 0.5, f"method {subject}", n)
        for subject, n, values in (
            ("at random", 30, (4.0, 3.0, 2.0)),
            ("by influence", 31, (5.0, 2.5, 1.0)),
        )
        for step, e in zip((16, 0, 1), values)
    ]
    rows += [
        (
            code,
            subject,
            "logit_beyond_random",
            None,
            e,
            low,
            round(e + 0.12, 2),
            "method of falls",
            n,
        )
        for code, subject, e, low, n in (
            (0, "labelled", 0.11, 0.01, 3),
            (2, "selected", 1.22, 1.02, 12),
            (2, "labelled", 1.33, None, 5),
            (1, "all", 9.0, 8.0, 99),
        )
    ]
    rows += [(1, "by influence", "deletion", 2, 8.0, 7.0, 9.0, "other", 77)]
    columns = ["class", "subject", "name", "step", "estimate", "low", "high", "method", "n"]
    frame = pd.DataFrame(rows, columns=columns).astype({"low": float})
    frame.loc[frame["low"].isna(), "high"] = np.nan
    return frame


@pytest.mark.parametrize("classes", [MAMMOGRAPHY, TWO])
def test_ablation_figure(classes: ClassDefinition, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = [ablation_rows()]
    put(
        monkeypatch,
        ablation,
        newest_run=lambda study, kind: f"{kind}-1",
        run_classes=lambda study, run: classes,
        influence_note=lambda study, run: f"Note of {run}.",
    )
    monkeypatch.setattr(ablation.faithfulness, "load_ablation_table", lambda study, run: frame[-1])
    result = ablation.plot_ablation(STUDY, 174)
    rest = classes.outputs[0]
    assert result.caption == (
        "Unit ablation on the test split. (a) Mean malignant logit on 31 malignant patches after"
        " the first k units are set to zero, in the order of their mean influence on hold-out"
        " mammograms (solid, 95 % interval clustered by patient) and in random orders (dashed,"
        " range of the orders); the horizontal axis is linear from 0 to 1 and logarithmic from 1"
        " on. (b) Decrease of the logit of a class on its patches beyond the decrease with as many"
        " random units of equal activation: malignant, 12 selected units 1.22 (1.02 to 1.34);"
        f" malignant, 5 labelled units 1.33; {rest}, 3 labelled units .11 (.01 to .23). Bars: 95 %"
        " intervals clustered by patient. Note of dissect-1."
    )
    assert result.counts == {"malignant patches": 31}
    assert result.method == "method at random; method by influence; method of falls"
    assert result.data["ablation"] is frame[0]
    assert result.figure.get_size_inches() * 25.4 == pytest.approx([174, 66])
    ax, falls = result.figure.axes
    assert drawn_lines(ax)[:2] == [
        ([0, 1, 16], [2.5, 1, 5], "None", "-", COLOURS["malignant"]),
        ([0, 1, 16], [3, 2, 4], "None", "--", MUTED),
    ]
    assert axis_texts(ax) == (
        "Units set to zero (logarithmic scale)",
        "Mean malignant logit",
        ["by influence", "at random"],
    )
    assert ax.get_xscale() == "symlog" and tick_labels(ax)[0] == ["0", "16"]
    scale = ax.xaxis.get_transform()
    assert (scale.base, scale.linthresh) == (2, 1)
    bands = [{tuple(rounded(v)) for v in band.get_paths()[0].vertices} for band in ax.collections]
    assert {(0, 2.25), (0, 3), (16, 4.75), (16, 5.5)} <= bands[0]
    assert {(0, 2.75), (0, 3.5), (16, 3.75), (16, 4.5)} <= bands[1]
    assert [band.get_alpha() for band in ax.collections] == [0.18, 0.18]
    marks = [
        (c.lines[0].get_xydata()[0].tolist(), c.lines[0].get_marker()) for c in falls.containers
    ]
    lesion, other = style.CLASS_MARKERS["malignant"], style.CLASS_MARKERS[rest]
    assert marks == [([1.22, 0], lesion), ([1.33, 1], lesion), ([0.11, 2], other)]
    assert error_bar_ends(falls.containers[0]) == [[[1.02, 0], [1.34, 0]]]
    assert error_bar_ends(falls.containers[2]) == [[[0.01, 2], [0.23, 2]]]
    assert drawn_lines(falls)[-1] == ([0, 0], [0, 1], "None", "--", MUTED)
    assert axis_limits(falls)[1] == [2.5, -0.5]
    assert tick_labels(falls)[1] == [
        "malignant, selected (12)",
        "malignant, labelled (5)",
        f"{rest}, labelled (3)",
    ]
    assert axis_texts(falls)[0] == "Decrease of the logit\nbeyond random units"
    frame.append(frame[0][frame[0]["name"] != "deletion"])
    assert ablation.plot_ablation(STUDY, 174).counts == {"malignant patches": 0}
    frame.append(frame[0].iloc[:0])
    with pytest.raises(MissingInput) as error:
        ablation.plot_ablation(STUDY, 174)
    assert error.value.command == "deepminer ablate"
