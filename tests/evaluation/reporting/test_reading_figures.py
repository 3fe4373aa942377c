"""Figures of a reading study: captions, panels and data, written down for differing numbers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import stats

from evaluation.proportion import proportion_interval
from evaluation.reporting.figures import reading_study, style
from support.drawn_axes import (
    axis_limits,
    axis_texts,
    drawn_bars,
    drawn_lines,
    empty_axes,
    error_bar_ends,
    rounded,
    tick_labels,
)
from support.score_parts import bounds, primary_result, reading_score

STUDY = Path("study")
INK, MUTED = style.INK, style.MUTED
PROTOCOL = SimpleNamespace(protocol="Masses", version=2, hash="0123456789abcdef")


def advice() -> SimpleNamespace:
    arms = [
        SimpleNamespace(arm="advice_units_map", answers=40, to_right=10, to_wrong=4),
        SimpleNamespace(arm="no_advice", answers=0, to_right=0, to_wrong=0),
        SimpleNamespace(arm="advice", answers=25, to_right=2, to_wrong=8),
    ]
    return SimpleNamespace(arms=arms)


def readers(count: int) -> tuple[SimpleNamespace, ...]:
    return tuple(
        SimpleNamespace(code=f"R{i}", share=bounds(10 + i), n=20 + i) for i in range(count)
    )


def test_captions_of_the_panels() -> None:
    one = reading_score(readers=readers(1), readers_auc=bounds(71))
    three = reading_score(readers=readers(3), readers_auc=bounds(71))
    overall = "proportion correct overall .315, 95 % CI .311 to .319"
    assert reading_study._proportion_caption(one) == f"P{overall[1:]}"
    assert reading_study._proportion_caption(three) == (
        f"Proportion correct of each reader (squares) and overall (diamond: {overall})"
    )
    # The prespecified interval of one side ends at 1; that of another endpoint is no such one.
    one_sided = bounds(31)
    one_sided.high = 1.0
    text = reading_study._proportion_caption(
        reading_score(readers=readers(1), proportion=one_sided)
    )
    assert text == "Proportion correct overall .315, one-sided 95 % CI .311 to 1.000"
    given = reading_score(readers=readers(1), proportion=one_sided, primary=primary_result("auc"))
    assert "one-sided" not in reading_study._proportion_caption(given)
    missing = reading_score(
        readers=readers(1),
        proportion=SimpleNamespace(estimate=0.5, low=None, high=None, level=0.9, reason="few"),
    )
    assert reading_study._proportion_caption(missing).endswith(
        "overall .500, 90 % CI not estimable: few"
    )


def test_auc_of_the_readers() -> None:
    ratings, mean = (
        "reader .535, 95 % CI .531 to .539",
        "mean of readers .715, 95 % CI .711 to .719",
    )
    auc = primary_result("auc")
    cases = [
        ({"readers": readers(1), "readers_auc": bounds(71)}, ratings),
        ({"readers": readers(1), "readers_auc": None, "primary": auc}, "reader .535"),
        ({"readers": readers(2), "readers_auc": bounds(71)}, mean),
        ({"readers": readers(2), "readers_auc": bounds(71), "primary": auc}, mean),
        ({"readers": readers(2), "readers_auc": None}, ratings),
        ({"readers": readers(2), "readers_auc": SimpleNamespace(estimate=None)}, ratings),
    ]
    for changes, text in cases:
        assert reading_study._reader_auc(reading_score(**changes)) == text
    assert reading_study._reader_auc(reading_score(roc=bounds(53, "few"))).endswith("; few")


def test_caption_of_the_third_panel() -> None:
    binomial = SimpleNamespace(successes=27, critical_count=25, p_value=0.0218)
    assert reading_study._third_panel_caption(reading_score(binomial=binomial)) == (
        "Number correct under chance if all answers were independent: observed 27, critical count"
        " 25; exact binomial test, one-sided P = .022."
    )
    assert reading_study._third_panel_caption(reading_score(advice=advice())) == (
        "Answers that changed from wrong to right and from right to wrong after the advice, or"
        " after a second look without advice, in percent of the answers of each arm."
    )


def test_figure_of_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    module, drawn = reading_study, []
    given = reading_score(readers=readers(1))
    monkeypatch.setattr(module, "load_closed_study", lambda study: (PROTOCOL, given))
    monkeypatch.setattr(module, "primary_answers", lambda study: "answers")
    for name in ("_plot_proportions", "_plot_roc_curves", "_plot_null_distribution"):
        monkeypatch.setattr(
            module, name, lambda ax, data, name=name: drawn.append((ax, data)) or name
        )
    monkeypatch.setattr(module, "_plot_switches", lambda ax, data: drawn.append((ax, data)) or "s")
    for name in ("primary_sentences", "narrative", "stimuli"):
        monkeypatch.setattr(module, name, lambda score, name=name: name)
    monkeypatch.setattr(module, "primary_sentences", lambda score: ["First.", "Second."])
    for name in ("_proportion_caption", "_reader_auc", "_third_panel_caption"):
        monkeypatch.setattr(module, name, lambda score, name=name: f"<{name[1:]}>")
    result = module.plot_reading_study(STUDY, 174)
    caption = (
        'Reading study "Masses" (protocol 0123456789ab): 2,222 answers on stimuli of 91 patients.'
        " First. Second. (a) <proportion_caption>; dashed: chance. (b) ROC of the answers and of"
        " the network alone on the same cases (AUC: <reader_auc>; network .415, 95 % CI .411 to"
        " .419). (c) <third_panel_caption>{one} AUC, area under the curve; CI, confidence interval."
    )
    one = " One reader: the result does not generalise to readers."
    assert result.caption == caption.format(one=one)
    assert result.counts == {"answers": 2222, "patients": 91, "readers": 1}
    assert (result.method, result.kind, result.seed) == ("narrative", "line", 1)
    assert result.data == {
        "shares": "_plot_proportions",
        "roc": "_plot_roc_curves",
        "null": "_plot_null_distribution",
    }
    axes = result.figure.axes
    assert drawn == [(axes[0], given), (axes[1], "answers"), (axes[2], given)] and len(axes) == 3
    assert result.figure.get_size_inches() * 25.4 == pytest.approx([174, 66])
    given.readers, given.advice = readers(2), advice()
    result = module.plot_reading_study(STUDY, 85)
    assert result.caption == caption.format(one="") and result.counts["readers"] == 2
    assert result.data.keys() == {"shares", "roc", "switches"} and drawn[-1][1] is given.advice
    assert result.figure.get_size_inches() * 25.4 == pytest.approx([85, 198])


def test_one_reader_has_the_code_of_the_row() -> None:
    for people, name in ((readers(1), "R0"), ((), "all")):
        ax = empty_axes()
        table = reading_study._plot_proportions(ax, reading_score(readers=people))
        assert table.values.tolist() == [[name, 0.315, 0.311, 0.319, 2345]]
        assert tick_labels(ax)[1] == [f"{name}\nn = 2345"]
        # Chance is drawn over the whole height; the limits begin at a quarter.
        assert axis_limits(ax) == ([0.23, 1.02], [0.6, -0.6])
        assert drawn_lines(ax) == [
            ([0.311, 0.319], [0, 0], "None", "-", INK),
            ([0.315], [0], "D", "None", INK),
            ([0.5, 0.5], [0, 1], "None", "--", MUTED),
        ]
        assert [line.get_markersize() for line in ax.lines[1:2]] == [5]


def answers(codes: str = "R1 R2") -> pd.DataFrame:
    rows = [
        (code, case, malignant, 1 + (case * (k + 2)) % 6, 0.1 * case)
        for k, code in enumerate(codes.split())
        for case, malignant in enumerate((True, False, True, False, False), start=1)
    ]
    return pd.DataFrame(rows, columns=["code", "case_number", "malignant", "answer", "score"])


def slow_roc(truth: list[bool], rating: list[float]) -> set[tuple[float, float]]:
    """Return the points of a ROC curve, for every threshold and above all."""
    points = {(0.0, 0.0)}
    for t in rating:
        called = [r >= t for r in rating]
        tpr = sum(c and y for c, y in zip(called, truth)) / sum(truth)
        fpr = sum(c and not y for c, y in zip(called, truth)) / (len(truth) - sum(truth))
        points.add((round(fpr, 10), round(tpr, 10)))
    return points


def test_roc_curves_of_readers_and_network() -> None:
    ax, table = empty_axes(), answers()
    # Of the third reader all cases are malignant: no curve.
    some = table[table["malignant"]].iloc[:2].assign(code="R3")
    curves = reading_study._plot_roc_curves(ax, pd.concat([table, some]))
    assert list(curves) == ["reader", "fpr", "tpr"]
    assert curves["reader"].drop_duplicates().tolist() == ["R1", "R2", "network"]
    lines = drawn_lines(ax)
    assert lines[0] == ([0, 1], [0, 1], "None", "-", MUTED)
    assert [(line[2], line[3], line[4]) for line in lines[1:]] == [
        ("o", "-", INK),
        ("s", "-", INK),
        ("None", "--", style.CLASS_COLOURS["benign"].upper()),
    ]
    for line, name in zip(lines[1:], ("R1", "R2", "network")):
        rows = table[table["code"] == name] if name != "network" else table.iloc[:5]
        rating = rows["answer" if name != "network" else "score"].tolist()
        vertices = slow_roc(rows["malignant"].tolist(), rating)
        # Points on a straight line between others may be left out.
        assert set(zip(line[0], line[1])) <= vertices and {(0, 0), (1, 1)} <= set(zip(*line[:2]))
        area = np.trapezoid(line[1], line[0])
        by_pairs = stats.mannwhitneyu(
            rows[rows["malignant"]][["answer", "score"][name == "network"]],
            rows[~rows["malignant"]][["answer", "score"][name == "network"]],
        ).statistic / (2 * 3)
        assert area == pytest.approx(by_pairs)
        drawn = curves[curves["reader"] == name]
        assert (rounded(drawn["fpr"]), rounded(drawn["tpr"])) == line[:2]
    assert axis_texts(ax) == ("1 − specificity", "Sensitivity", ["R1", "R2", "network"])
    assert axis_limits(ax) == ([-0.02, 1.02], [-0.02, 1.02]) and ax.get_aspect() == 1
    assert all(line.get_markersize() == 3 for line in ax.lines[1:3])
    six, seven = empty_axes(), empty_axes()
    reading_study._plot_roc_curves(six, answers("A B C D E"))
    reading_study._plot_roc_curves(seven, answers("A B C D E F"))
    assert axis_texts(six)[2] == ["A", "B", "C", "D", "E", "network"]
    assert axis_texts(seven)[2] == ["6 readers", "network"]
    legend = seven.get_legend()
    assert legend.legend_handles[0].get_marker() == "o"
    assert legend.legend_handles[1].get_linestyle() == "--" and legend._ncols == 3
    none = reading_study._plot_roc_curves(empty_axes(), table[table["malignant"]])
    assert list(none) == ["reader", "fpr", "tpr"] and none.empty
    # Marks begin anew after the twelfth reader.
    many = empty_axes()
    reading_study._plot_roc_curves(many, answers(" ".join(f"R{i:02d}" for i in range(14))))
    assert [line[2] for line in drawn_lines(many)][1:-1] == [*"osD^v<>Pph*X", "o", "s"]


def test_bars_of_the_distribution_under_chance() -> None:
    """Bars below a thousandth of the highest are left out, that of the result is drawn."""
    test = SimpleNamespace(trials=40, successes=39, critical_count=26)
    ax = empty_axes()
    frame = reading_study._plot_null_distribution(ax, reading_score(binomial=test))
    mass = stats.binom.pmf(range(41), 40, 0.5)
    shown = [k for k in range(41) if mass[k] > mass[20] / 1000 or k == 39]
    accepted, rejected = ax.containers
    for bars, counts in (
        (accepted, [k for k in shown if k < 26]),
        (rejected, [k for k in shown if k >= 26]),
    ):
        assert drawn_bars(bars) == [tuple(rounded((k - 0.45, 0, 0.9, mass[k]))) for k in counts]
    assert min(shown) > 0 and 38 not in shown
    assert frame["right"].tolist() == list(range(41))
    assert frame["probability"].tolist() == pytest.approx(list(mass))
    assert frame["rejected"].tolist() == [k >= 26 for k in range(41)]
    assert drawn_lines(ax)[0][:2] == ([39, 39], [0, 1])
    assert axis_texts(ax)[:2] == ("Correct answers of 40", "Probability under chance")
    assert axis_limits(ax)[1] == rounded((0, 1.05 * mass[20]))
    [note] = ax.texts
    assert note.xy == (39, pytest.approx(mass[20])) and (note.get_ha(), note.get_va()) == (
        "right",
        "top",
    )
    # Without a critical count nothing is rejected.
    test = SimpleNamespace(trials=6, successes=2, critical_count=None)
    ax = empty_axes()
    frame = reading_study._plot_null_distribution(ax, reading_score(binomial=test))
    assert not frame["rejected"].any() and len(ax.containers[0]) == 7
    assert len(ax.containers[1]) == 0 and ax.texts[0].get_ha() == "left"


def test_bars_of_a_thousandth_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    mass = np.array([1.0, 0.001, 0.0009995, 0.0010005])
    monkeypatch.setattr(reading_study.scipy.stats.binom, "pmf", lambda *_: mass)
    test = SimpleNamespace(trials=3, successes=0, critical_count=None)
    ax = empty_axes()
    reading_study._plot_null_distribution(ax, reading_score(binomial=test))
    assert [bar[3] for bar in drawn_bars(ax.containers[0])] == [1.0, 0.0010005]


def test_answers_that_changed() -> None:
    ax = empty_axes()
    table = reading_study._plot_switches(ax, advice())  # type: ignore[arg-type]
    assert table.to_dict("list") == {
        "arm": ["advice_units_map", "advice"],
        "answers": [40, 25],
        "to_right_percent": [25, 8],
        "to_wrong_percent": [10, 32],
    }
    right, wrong = ax.containers
    assert drawn_bars(right) == [(0, -0.3, 25, 0.6), (0, 0.7, 8, 0.6)]
    assert drawn_bars(wrong) == [(0, -0.3, -10, 0.6), (0, 0.7, -32, 0.6)]
    assert drawn_lines(ax) == [([0, 0], [0, 1], "None", "-", INK)]
    assert axis_limits(ax) == ([-35.2, 35.2], [1.6, -1.1])
    assert axis_texts(ax) == ("Answers that changed (%)", "", ["to right", "to wrong"])
    assert tick_labels(ax)[1] == [
        "advice with named\nunits and class\nmap\nn = 40",
        "advice\nn = 25",
    ]
    assert ax.get_yticks().tolist() == [0, 1] and ax.get_legend()._ncols == 2
    assert [ax.xaxis.get_major_formatter()(v, 0) for v in (-12.5, 3.0)] == ["12.5", "3"]
    # Nobody changed an answer: the axis still has a width.
    still = SimpleNamespace(arms=[SimpleNamespace(arm="advice", answers=5, to_right=0, to_wrong=0)])
    ax = empty_axes()
    reading_study._plot_switches(ax, still)  # type: ignore[arg-type]
    assert axis_limits(ax)[0] == [-1.1, 1.1]


def timed(count: int = 27, codes: tuple[str, ...] = ("R1", "R2")) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "code": code,
                "position": position,
                "seconds": 3.0 + (position * 7) % 11 + k,
                "right": (position + k) % 3 > 0,
            }
            for k, code in enumerate(codes)
            for position in range(1, count + 1 - 3 * k)
        ]
    )


def test_blocks_of_ten_positions() -> None:
    """The last block of the second reader holds four answers and is left out."""
    table = timed()
    blocks = reading_study._block_rows(table)
    expected = []
    for code, last in (("R1", 3), ("R2", 2)):
        for block in range(last):
            rows = table[(table["code"] == code) & ((table["position"] - 1) // 10 == block)]
            right = int(rows["right"].sum())
            share = proportion_interval(right, len(rows), "wilson")
            expected.append(
                {
                    "reader": code,
                    "from": 10 * block + 1,
                    "middle": rows["position"].mean(),
                    "n": len(rows),
                    "median_seconds": np.median(rows["seconds"]),
                    "right": right,
                    "share": right / len(rows),
                    "low": share.low,
                    "high": share.high,
                }
            )
    assert blocks.to_dict("records") == [pytest.approx(row) for row in expected]
    assert blocks["n"].tolist() == [10, 10, 7, 10, 10]
    five = reading_study._block_rows(table[table["position"] <= 5])
    assert five["n"].tolist() == [5, 5]
    assert list(reading_study._block_rows(table.iloc[:4])) == list(blocks)


def test_panels_of_the_course() -> None:
    table, ax = timed(), empty_axes()
    blocks = reading_study._block_rows(table)
    reading_study._plot_seconds(ax, table, blocks[blocks["reader"] == "R1"].iloc[:1])
    first, second, line = drawn_lines(ax)
    for drawn, code in ((first, "R1"), (second, "R2")):
        rows = table[table["code"] == code]
        assert drawn == (
            rounded(rows["position"]),
            rounded(rows["seconds"]),
            *("o", "None", MUTED),
        )
    assert line == ([5.5], rounded(blocks["median_seconds"][:1]), "_", "-", INK)
    assert ax.get_ylabel() == "Seconds" and ax.get_ylim()[0] == 0
    several = empty_axes()
    reading_study._plot_seconds(several, table, blocks)
    assert [line[2] for line in drawn_lines(several)] == ["o", "o", "none", "none"]
    ax = empty_axes()
    reading_study._plot_block_proportions(ax, blocks)
    for container, code, marker in zip(ax.containers, ("R1", "R2"), "os"):
        rows = blocks[blocks["reader"] == code]
        assert error_bar_ends(container) == [
            [rounded((r.middle, r.low)), rounded((r.middle, r.high))] for r in rows.itertuples()
        ]
        drawn = container.lines[0]
        assert rounded(drawn.get_ydata()) == rounded(rows["share"])
        assert (drawn.get_marker(), drawn.get_linestyle()) == (marker, "-")
    chance = drawn_lines(ax)[-1]
    assert chance == ([0, 1], [0.5, 0.5], "None", "--", MUTED)
    assert axis_texts(ax) == ("", "Proportion correct", ["R1", "R2"]) and ax.get_ylim() == (0, 1.03)
    for count, style_of_line in ((3, "-"), (4, "None")):
        ax = empty_axes()
        people = tuple(f"R{i}" for i in range(count))
        reading_study._plot_block_proportions(ax, reading_study._block_rows(timed(27, people)))
        assert {c.lines[0].get_linestyle() for c in ax.containers} == {style_of_line}
        assert ax.get_legend()._ncols == 4
    ax = empty_axes()
    reading_study._plot_block_proportions(ax, blocks[blocks["reader"] == "R1"])
    assert ax.get_legend() is None and not ax.texts
    ax = empty_axes()
    reading_study._plot_block_proportions(ax, blocks.iloc[:0])
    [note] = ax.texts
    assert note.get_text() == "no 10 positions with\nat least 5 answers of a reader"
    assert note.get_position() == (0.5, 0.75) and ax.get_legend() is None
    assert note.get_transform() == ax.transAxes


def test_figure_of_time_and_order(monkeypatch: pytest.MonkeyPatch) -> None:
    module = reading_study
    table = timed().sample(frac=1, random_state=1)
    given = reading_score(readers=readers(2), conduct=SimpleNamespace(sentence=lambda: "Conduct."))
    monkeypatch.setattr(module, "load_closed_study", lambda study: (PROTOCOL, given))
    monkeypatch.setattr(module, "primary_answers", lambda study: table)
    result = module.plot_time_order(STUDY, 174)
    caption = (
        'Time and order in the reading study "Masses": 51 answers{arm} of 91 patients. (a) Seconds'
        " {of_case} (dots) and median of each 10 positions (line). (b) Exploratory: proportion"
        " correct in each 10 positions with 95 % Wilson intervals, without blocks of fewer than 5"
        " answers; dashed: chance. {together}Conduct."
    )
    assert result.caption == caption.format(
        arm=" in the arm explanation text", of_case="per case", together="All arms together: "
    )
    assert result.counts == {"answers": 51, "patients": 91, "readers": 2}
    assert result.method.startswith("The trend was estimated by least squares on the position,")
    assert result.data["answers"].equals(table[["code", "position", "seconds", "right"]])
    blocks = reading_study._block_rows(timed())
    assert result.data["blocks"].equals(blocks)
    seconds, shares = result.figure.axes
    assert seconds.get_ylabel() == "Seconds" and shares.get_ylabel() == "Proportion correct"
    assert seconds.get_xlim() == shares.get_xlim()
    assert result.figure.get_size_inches() * 25.4 == pytest.approx([174, 62])
    for ax in (seconds, shares):
        assert ax.get_xlabel() == "Position in the order"
        assert ax.xaxis.get_major_locator()._integer
        assert ax.xaxis.get_gridlines()[0].get_visible()
    given.design.arms, given.advice = ("explanation",), advice()
    both = "per case, first and final answer together"
    text = module.plot_time_order(STUDY, 174).caption
    assert text == caption.format(arm="", of_case=both, together="")
    assert isinstance(result.figure, Figure)
