"""Figures of the classifier: captions, panels and data, written down for differing numbers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.class_labels import MAMMOGRAPHY
from evaluation.queries.provenance import MissingInput
from evaluation.reporting.figures import classifier, probabilities, style
from support.drawn_axes import (
    axis_limits,
    axis_texts,
    drawn_bars,
    drawn_lines,
    drawn_texts,
    empty_axes,
    error_bar_ends,
    rounded,
    tick_labels,
)
from support.score_parts import bounds

STUDY = Path("study")
TWO = MAMMOGRAPHY.with_outputs(2)
COLOURS = {name: colour.upper() for name, colour in style.CLASS_COLOURS.items()}
INK, MUTED = style.INK, style.MUTED


def class_result(name: str, k: int) -> SimpleNamespace:
    curve = SimpleNamespace(
        fpr=np.array([0, k / 100, 1]),
        tpr=np.array([0, k / 50, 1]),
        thresholds=np.array([np.inf, k / 10, 0]),
        grid=np.array([0, 0.5, 1]),
        low=np.array([0, k / 200, 0.9]),
        high=np.array([0.1, k / 40, 1]),
    )
    auc = SimpleNamespace(**vars(bounds(k)) | {"method": "obuchowski"})
    return SimpleNamespace(name=name, auc=auc, curve=curve, row=lambda: {"class": name, "auc": k})


def point(k: int) -> SimpleNamespace:
    table = SimpleNamespace(sensitivity=bounds(k), specificity=bounds(k + 1, "few"))
    return SimpleNamespace(table=table)


def put(monkeypatch: pytest.MonkeyPatch, module: Any, **functions: Any) -> None:
    for name, function in functions.items():
        monkeypatch.setattr(module, name, function)


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Put results of two levels in the place of an evaluate run."""
    found = SimpleNamespace(
        results={
            "patch": [class_result(n, k) for n, k in zip(MAMMOGRAPHY.names, (11, 12, 13))],
            "image": [class_result(n, k) for n, k in zip(MAMMOGRAPHY.names, (21, 22, 23))],
        },
        points={"patch": point(31), "image": None},
        classes=MAMMOGRAPHY,
    )

    def by_level(values: str) -> Any:
        def load(*given: Any) -> Any:
            assert given[:3] == (STUDY, "evaluate-1", "test")
            return getattr(found, values)[given[3]]

        return load

    found.observations = {
        "patch": SimpleNamespace(truth=range(1234), patients=17),
        "image": SimpleNamespace(truth=range(56), patients=16, definition=MAMMOGRAPHY),
    }
    for module in (classifier, probabilities):
        put(
            monkeypatch,
            module,
            newest_run=lambda study, kind: f"{kind}-1",
            run_classes=lambda study, run: found.classes,
            load_observations=by_level("observations"),
        )
    put(
        monkeypatch,
        classifier.performance,
        load_class_results=by_level("results"),
        load_operating_point=by_level("points"),
    )
    return found


def test_roc_figure(evaluated: SimpleNamespace) -> None:
    result = classifier.plot_roc(STUDY, 174)

    def areas(k: int) -> str:
        return "; ".join(
            f"{name} AUC .{n}5 (95 % CI .{n}1 to .{n}9)"
            for name, n in zip(("malignant", "benign", "normal"), (k + 3, k + 2, k + 1))
        )

    assert result.caption == (
        "Receiver operating characteristic of one class against the rest, test split. (a) patches"
        f" (n = 1,234, 17 patients): {areas(10)}. (b) mammograms (n = 56, 16 patients):"
        f" {areas(20)}. Shaded band: pointwise 95 % interval for malignant. Grey: region of the"
        " partial AUC (sensitivity at least .8). Open circle: threshold fixed on the hold-out split"
        " at a sensitivity of .8; patches: sensitivity .315 (95 % CI .311 to .319) and specificity"
        " .325 (95 % CI .321 to .329; few). AUC, area under the curve; CI, confidence interval."
    )
    assert result.counts == {"patches": 1234, "mammograms": 56, "patients": 16}
    assert result.method == (
        f"{classifier.auc_method_sentence([evaluated.results['image'][0].auc])} The band is from"
        " 500 resamples of the Bayesian bootstrap of patients, as percentiles at each"
        " false-positive rate. The partial AUC was computed by the trapezoid rule over"
        " sensitivities of .8 to 1."
    )
    assert result.data["auc"].to_dict("list") == {
        "level": ["patch"] * 3 + ["image"] * 3,
        "class": [*MAMMOGRAPHY.names] * 2,
        "auc": [11, 12, 13, 21, 22, 23],
    }
    curves = result.data["curves"]
    assert curves["level"].tolist() == ["patch"] * 9 + ["image"] * 9
    assert curves["tpr"].tolist()[10::3] == [0.42, 0.44, 0.46]
    assert [ax.get_title() for ax in result.figure.axes] == ["Patches", "Mammograms"]
    assert [ax.get_title(loc="left") for ax in result.figure.axes] == ["a", "b"]
    assert result.figure.get_size_inches() * 25.4 == pytest.approx([174, 84])
    # With one class there is no rest of several.
    for level, results in evaluated.results.items():
        evaluated.results[level] = results[2:]
    text = classifier.plot_roc(STUDY, 85).caption
    assert text.startswith("Receiver operating characteristic of malignant against all other, test")
    evaluated.results["image"] = []
    with pytest.raises(MissingInput) as error:
        classifier.plot_roc(STUDY, 85)
    assert (error.value.step, error.value.reason, error.value.command) == (
        "Evaluation",
        "the test split is empty",
        "deepminer patches",
    )


def test_panel_of_a_roc_figure() -> None:
    results = [class_result(n, k) for n, k in zip(MAMMOGRAPHY.names, (11, 12, 13))]
    ax = empty_axes()
    classifier._plot_roc_panel(ax, results, MAMMOGRAPHY, point(31))
    assert drawn_lines(ax) == [
        ([0, 1], [0, 1], "None", "-", MUTED),
        *(
            ([0, k / 100, 1], [0, k / 50, 1], "None", line, COLOURS[name])
            for name, k, line in (
                ("normal", 11, ":"),
                ("benign", 12, "--"),
                ("malignant", 13, "-"),
            )
        ),
        ([0.675], [0.315], "o", "None", drawn_lines(ax)[-1][4]),
    ]
    mark = ax.lines[-1]
    assert (mark.get_markerfacecolor(), mark.get_markeredgewidth()) == ("white", 1.2)
    assert mark.get_markeredgecolor().upper() == COLOURS["malignant"]
    assert axis_texts(ax) == (
        "1 − specificity",
        "Sensitivity",
        ["malignant .135", "benign .125", "normal .115"],
    )
    assert ax.get_legend().get_title().get_text() == "AUC"
    assert [line.get_linestyle() for line in ax.get_legend().get_lines()] == ["-", "--", ":"]
    assert axis_limits(ax) == ([-0.01, 1.01], [-0.01, 1.01]) and ax.get_aspect() == 1
    [region] = ax.patches
    assert (region.get_y(), region.get_height()) == pytest.approx((0.8, 0.2))
    [band] = ax.collections
    corners = {tuple(rounded(v)) for v in band.get_paths()[0].vertices}
    assert {(0.5, 0.065), (0.5, 0.325), (1, 0.9), (0, 0.1)} <= corners
    assert band.get_alpha() == 0.18
    # Neither a band nor a mark where one of the numbers is missing.
    results[2].curve.low = None
    missing = point(31)
    missing.table.specificity.estimate = None
    for given in (None, missing):
        ax = empty_axes()
        classifier._plot_roc_panel(ax, results, MAMMOGRAPHY, given)
        assert len(ax.lines) == 4 and not ax.collections
    results[2].curve.low, results[2].curve.high = np.zeros(3), None
    ax = empty_axes()
    classifier._plot_roc_panel(ax, results, MAMMOGRAPHY, None)
    assert not ax.collections


def subgroup(variable: str, value: str, k: int) -> SimpleNamespace:
    auc = SimpleNamespace(**vars(bounds(k, "few" if k == 43 else None)) | {"method": "obuchowski"})
    return SimpleNamespace(variable=variable, value=value, auc=auc, n=k + 100, patients=k + 50)


def test_subgroup_figure(evaluated: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [
        subgroup("density", "2", 41),
        subgroup("density", "9", 42),
        subgroup("view", "mlo", 43),
        subgroup("lesion_type", "mass_margin", 44),
    ]
    asked: list[Any] = []
    monkeypatch.setattr(
        classifier.performance, "load_subgroups", lambda *given: asked.append(given) or ["all"]
    )
    printed = [groups]
    monkeypatch.setattr(
        classifier.performance,
        "printed_subgroups",
        lambda *given: asked.append(given) or printed[-1],
    )
    put(
        monkeypatch,
        classifier,
        interactions=lambda given: ["test"] if given is groups else [],
        adjusted_sentences=lambda tests: f"sentences of {tests}",
    )
    result = classifier.plot_subgroups(STUDY, 85)
    assert asked == [(STUDY, "evaluate-1", "test"), (["all"], 56)]
    least = classifier.performance.LEAST_IN_SUBGROUP
    assert result.caption == (
        "Exploratory analysis: AUC for malignant on 56 mammograms of 16 patients, test split, by"
        " subgroup (mammograms; patients in brackets). Bars: 95 % intervals; dashed: all"
        f" mammograms. Groups with fewer than {least} mammograms of either class are omitted, and"
        " so are variables with one value for all mammograms. Differences between groups (Wald"
        " test, patients resampled, adjusted by Holm's method): sentences of ['test']. AUC, area"
        " under the curve; CI, confidence interval."
    )
    assert result.counts == {"mammograms": 56, "patients": 16}
    assert result.method.startswith(classifier.auc_method_sentence([groups[0].auc]))
    assert result.method.endswith("resampled, and adjusted by Holm's method.")
    rows = [
        ("all", "", 0.235, 0.231, 0.239, "", 56, 16),
        ("breast density", "b", 0.415, 0.411, 0.419, "", 141, 91),
        ("breast density", "9", 0.425, 0.421, 0.429, "", 142, 92),
        ("view", "MLO", 0.435, 0.431, 0.439, "few", 143, 93),
        ("lesion_type", "mass margin", 0.445, 0.441, 0.449, "", 144, 94),
    ]
    table = result.data["subgroups"]
    assert list(table) == [
        *("variable", "value", "auc", "low", "high", "reason", "mammograms", "patients")
    ]
    assert [tuple(row) for row in table.itertuples(index=False)] == rows
    [ax] = result.figure.axes
    assert result.figure.get_size_inches() * 25.4 == pytest.approx([85, 16 + 6 * 5])
    lines = drawn_lines(ax)
    for i, row in enumerate(rows):
        assert lines[2 * i][:2] == (rounded(row[3:5]), [i, i])
        assert lines[2 * i + 1][:3] == ([row[2]], [i], "D" if i == 0 else "s")
    assert lines[-1] == ([0.235, 0.235], [0, 1], "None", "--", MUTED)
    assert axis_limits(ax)[1] == [4.5, -0.5]
    assert axis_texts(ax)[0] == "AUC, malignant (95 % CI)"
    assert tick_labels(ax)[1] == [
        "all (56; 16)",
        "breast density b (141; 91)",
        "breast density 9 (142; 92)",
        "view MLO (143; 93)",
        "lesion_type mass margin (144; 94)",
    ]
    codes = [classifier._group_name("density", str(k)) for k in (1, 2, 3, 4)]
    assert [value for _, value in codes] == list("abcd")
    assert classifier._interaction_text([]) == ""
    # Without an AUC of all mammograms the line stands at chance.
    ax = empty_axes()
    classifier._plot_subgroup_aucs(ax, table.assign(auc=np.nan), "malignant")
    assert drawn_lines(ax)[-1][0] == [0.5, 0.5]
    printed.append([])
    with pytest.raises(MissingInput, match="subgroup") as error:
        classifier.plot_subgroups(STUDY, 85)
    assert (error.value.step, error.value.command) == ("Evaluation", "deepminer ingest")


def calibration_bin(low: float, n: int, predicted: float | None, k: int) -> SimpleNamespace:
    observed = bounds(k) if k else SimpleNamespace(estimate=None, low=None, high=None, reason="r")
    return SimpleNamespace(low=low, high=low + 0.1, n=n, predicted=predicted, observed=observed)


def test_calibration_figure(evaluated: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    bins = [
        calibration_bin(0.0, 1500, 0.04, 6),
        calibration_bin(0.3, 7, None, 33),
        calibration_bin(0.5, 0, 0.55, 0),
        calibration_bin(0.6, 9, 0.66, 50),
    ]
    bins[3].observed.low = None
    calibration = SimpleNamespace(
        bins=bins, n=1516, ece=0.0625, brier=0.125, sentence=lambda: "Slope 1."
    )
    monkeypatch.setattr(
        probabilities.performance,
        "load_calibration",
        lambda *given: calibration if given == (STUDY, "evaluate-1", "test") else None,
    )
    result = probabilities.plot_calibration(STUDY, 85)
    assert result.caption == (
        "Calibration of the malignant probability on 1,516 patches of 17 patients, test split, in"
        " ten bins of equal width. Bars: 95 % intervals clustered by patient (Korn and Graubard);"
        " solid line: perfect calibration; below: patches in each bin (logarithmic scale). Expected"
        " calibration error .062, Brier score .125."
    )
    assert result.counts == {"patches": 1516, "patients": 17}
    assert result.method == (
        "Slope 1. The interval of the slope is clustered by patient (sandwich estimator)."
    )
    assert result.figure.get_size_inches() * 25.4 == pytest.approx([85, 106])
    ax, counts = result.figure.axes
    assert drawn_lines(ax)[0] == ([0, 1], [0, 1], "None", "-", MUTED)
    [bars] = ax.containers
    assert bars.lines[0].get_marker() == "o" and bars.lines[0].get_linestyle() == "None"
    assert error_bar_ends(bars) == [
        [[0.04, 0.061], [0.04, 0.069]],
        [[0.66, 0.505], [0.66, 0.509]],
    ]
    assert axis_limits(ax) == ([-0.02, 1.02], [-0.02, 1.02])
    assert axis_texts(ax)[1] == "Observed proportion"
    assert axis_texts(counts)[:2] == ("Predicted probability of malignant", "n")
    assert drawn_bars(counts.containers[0]) == [
        (0.005, 0, 0.09, 1500),
        (0.605, 0, 0.09, 9),
    ]
    assert counts.get_yscale() == "log" and axis_limits(counts)[1] == [0.8, 18_000]
    assert [(note.get_text(), note.xy) for note in counts.texts] == [
        ("1,500", (pytest.approx(0.05), 1500)),
        ("9", (pytest.approx(0.65), 9)),
    ]
    assert ax.get_subplotspec().get_gridspec().get_height_ratios() == (4, 1)
    wide = probabilities.plot_calibration(STUDY, 174)
    assert wide.figure.get_size_inches() * 25.4 == pytest.approx([174, 106])
    table = result.data["bins"]
    assert len(table) == 4 and table.iloc[0].to_dict() == {
        "from": 0.0,
        "to": 0.1,
        "n": 1500,
        "predicted": 0.04,
        "observed": 0.065,
        "low": 0.061,
        "high": 0.069,
    }
    note = counts.texts[0]
    assert (note.xyann, note.get_ha(), note.get_rotation()) == ((0, 2), "center", 0)
    bins[0].n = 9999
    assert probabilities.plot_calibration(STUDY, 85).figure.axes[1].texts[0].get_rotation() == 0
    bins[0].n = 10_000
    assert probabilities.plot_calibration(STUDY, 85).figure.axes[1].texts[0].get_rotation() == 90
    calibration.bins = bins[1:3]
    with pytest.raises(MissingInput, match="split is empty"):
        probabilities.plot_calibration(STUDY, 85)


def test_decision_curve(evaluated: SimpleNamespace) -> None:
    probability = np.array([0.1, 0.3, 0.5, 0.7, 0.9, 0.05, 0.3, 0.62])
    truth = np.array([0, 1, 0, 1, 1, 0, 0, 0])
    evaluated.observations["patch"] = SimpleNamespace(
        truth=truth,
        patients=1,
        definition=MAMMOGRAPHY,
        positive_against_rest=lambda: (truth, probability),
    )
    result = probabilities.plot_decision_curve(STUDY, 85)
    curve = result.data["benefit"]
    assert rounded(curve["threshold"]) == rounded(k / 50 for k in range(1, 50))
    for row in curve.itertuples():
        called = probability >= row.threshold
        odds = row.threshold / (1 - row.threshold)
        assert row.model == pytest.approx(
            ((called & (truth == 1)).sum() - odds * (called & (truth == 0)).sum()) / 8
        )
        assert row.all == pytest.approx((3 - odds * 5) / 8) and row.none == 0
    assert result.data["counts"].to_dict("list") == {
        "threshold": [0.1, 0.3, 0.5, 0.7, 0.9],
        "called": [7, 6, 4, 2, 1],
        "malignant": [3, 3, 2, 2, 1],
    }
    assert result.caption == (
        "Decision curve on 8 patches of 1 patient (3 malignant), test split: net benefit of calling"
        " a patch malignant at or above the threshold probability (solid), of calling all (dashed)"
        " and none (dotted) malignant. Below: patches called malignant, and how many of them are."
        " The proportion of malignant patches is that of this split."
    )
    assert result.counts == {"patches": 8, "patients": 1}
    assert result.method.startswith("Net benefit is the proportion of true positives less that of")
    ax, counts = result.figure.axes
    lines = drawn_lines(ax)
    for line, name, line_style, colour in zip(
        lines, ("model", "all", "none"), ("-", "--", ":"), (INK, MUTED, MUTED), strict=True
    ):
        x, y = rounded(curve["threshold"]), rounded(curve[name])
        assert line == (x, y, "None", line_style, colour)
    assert axis_texts(ax)[1:] == ("Net benefit", ["network", "all", "none"])
    assert axis_limits(ax) == ([0, 1], rounded((-0.35 * 3 / 8, 1.1 * 3 / 8)))
    expected = [
        (t, y, str(count))
        for t, pair in zip((0.1, 0.3, 0.5, 0.7, 0.9), ((7, 3), (6, 3), (4, 2), (2, 2), (1, 1)))
        for y, count in zip((1.5, 0.5), pair)
    ]
    assert drawn_texts(counts) == expected
    assert axis_texts(counts)[0] == "Threshold probability" and axis_limits(counts)[1] == [0, 2]
    assert tick_labels(counts)[1] == ["malignant", "called"]
    assert counts.get_yticks().tolist() == [0.5, 1.5] and not counts.spines["left"].get_visible()
    assert result.figure.get_size_inches() * 25.4 == pytest.approx([85, 78])
    assert ax.get_subplotspec().get_gridspec().get_height_ratios() == (5, 1)
    evaluated.observations["patch"].truth = []
    with pytest.raises(MissingInput, match="split is empty"):
        probabilities.plot_decision_curve(STUDY, 85)
