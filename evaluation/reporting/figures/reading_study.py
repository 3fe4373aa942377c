"""Figures of the blinded reading study: its results, and the course of reading."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from core.sessions.arms import ARM_TITLES
from evaluation.intervals import count_text, decimal, interval_text, p_text
from evaluation.proportion import proportion_interval
from evaluation.reading_study import ReadingScore
from evaluation.reading_study.advice.reliance import AdviceScore
from evaluation.reading_study.narrative import narrative, primary_sentences, stimuli
from evaluation.reporting.base import load_closed_study, primary_answers
from evaluation.reporting.figures import style
from evaluation.reporting.figures.base import FigureResult
from evaluation.roc.partial_area import roc_vertices

POSITIONS_PER_BLOCK = 10
# The last block may hold few answers; a proportion of fewer than these says nothing.
LEAST_IN_BLOCK = 5
# Titles of arms beside a panel are broken after as many characters.
_TITLE_WIDTH = 18
_READER_MARKERS = "osD^v<>Pph*X"
# Readers that the legend of the curves names, with the network; of more it gives their number.
_NAMED_CURVES = 6


def plot_reading_study(study: Path, width: float) -> FigureResult:
    """Plot the results of the closed reading study in three panels.

    (a) Proportion correct per reader and overall; (b) ROC curves of the readers and of the network;
    (c) null distribution of the binomial test, or in a study with advice the answers of each arm
    that changed.
    """
    protocol, score = load_closed_study(study)
    figure, axes = style.create_panels(width, 3, 66)
    data = {
        "shares": _plot_proportions(axes[0], score),
        "roc": _plot_roc_curves(axes[1], primary_answers(study)),
    }
    if score.advice is None:
        data["null"] = _plot_null_distribution(axes[2], score)
    else:
        data["switches"] = _plot_switches(axes[2], score.advice)
    primary, network = score.primary, score.network.auc
    network_interval = interval_text(network.low, network.high, network.level, network.reason)
    single_reader = (
        " One reader: the result does not generalise to readers." if len(score.readers) == 1 else ""
    )
    caption = (
        f'Reading study "{protocol.protocol}" (protocol {protocol.hash[:12]}):'
        f" {count_text(primary.given, 'answer')} on {stimuli(score)} of"
        f" {count_text(score.patients, 'patient')}. {' '.join(primary_sentences(score))} (a)"
        f" {_proportion_caption(score)}; dashed: chance. (b) ROC of the answers and of the network"
        f" alone on the same cases (AUC: {_reader_auc(score)}; network {decimal(network.estimate)},"
        f" {network_interval}). (c) {_third_panel_caption(score)}{single_reader} AUC,"
        " area under the curve; CI, confidence interval."
    )
    counts = {"answers": primary.given, "patients": score.patients, "readers": len(score.readers)}
    return FigureResult(
        figure=figure, data=data, caption=caption, counts=counts, method=narrative(score)
    )


def _third_panel_caption(score: ReadingScore) -> str:
    """Return what panel (c) shows."""
    if score.advice is not None:
        return (
            "Answers that changed from wrong to right and from right to wrong after the advice, or"
            " after a second look without advice, in percent of the answers of each arm."
        )
    return (
        "Number correct under chance if all answers were independent:"
        f" observed {score.binomial.successes}, critical count {score.binomial.critical_count};"
        f" exact binomial test, one-sided {p_text(score.binomial.p_value)}."
    )


def _proportion_caption(score: ReadingScore) -> str:
    """Return what the panel of proportions shows."""
    share = score.proportion
    side = "one-sided " if score.primary.endpoint == "proportion" and share.high == 1 else ""
    interval = interval_text(share.low, share.high, share.level, share.reason)
    overall = f"proportion correct overall {decimal(share.estimate)}, {side}{interval}"
    if len(score.readers) == 1:
        return f"{overall[0].upper()}{overall[1:]}"
    return f"Proportion correct of each reader (squares) and overall (diamond: {overall})"


def _reader_auc(score: ReadingScore) -> str:
    """Return the mean AUC of several readers, else that of the one reader, with its interval.

    The interval of a primary AUC stands with the prespecified result already.
    """
    if len(score.readers) == 1 and score.primary.endpoint == "auc":
        return f"reader {decimal(score.roc.estimate)}"
    mean = score.readers_auc
    several = len(score.readers) > 1 and mean is not None and mean.estimate is not None
    area = mean if several and mean is not None else score.roc
    return (
        f"{'mean of readers' if several else 'reader'} {decimal(area.estimate)},"
        f" {interval_text(area.low, area.high, area.level, area.reason)}"
    )


def _plot_proportions(ax: Axes, score: ReadingScore) -> pd.DataFrame:
    """Plot the proportion correct of each of several readers, and overall in the last row."""
    rows = [
        (r.code, r.share.estimate, r.share.low, r.share.high, r.n)
        for r in score.readers
        # The answers of one reader are all answers.
        if len(score.readers) > 1
    ]
    overall = score.proportion
    name = "all" if rows else next((r.code for r in score.readers), "all")
    rows.append((name, overall.estimate, overall.low, overall.high, score.primary.n))
    style.draw_grid(ax, "x")
    for i, (_, estimate, low, high, _) in enumerate(rows):
        marker, size = ("D", 5) if i == len(rows) - 1 else ("s", 4)
        if low is not None and high is not None:
            ax.plot([low, high], [i, i], color=style.INK, linewidth=1)
        if estimate is None:
            ax.text(0.52, i, "not estimable", va="center", fontsize=7, color=style.MUTED)
        else:
            ax.plot(estimate, i, marker, color=style.INK, markersize=size, clip_on=False)
    ax.axvline(0.5, color=style.MUTED, linewidth=0.7, linestyle="--")
    ax.set(
        yticks=range(len(rows)),
        ylim=(len(rows) - 0.4, -0.6),
        xlim=(min([0.25, *(r[2] for r in rows if r[2] is not None)]) - 0.02, 1.02),
        xlabel=f"Proportion correct ({100 * overall.level:.3g} % CI)",
    )
    ax.set_yticklabels([f"{name}\nn = {n}" for name, _, _, _, n in rows])
    return pd.DataFrame(rows, columns=["reader", "share", "low", "high", "n"])


def _plot_roc_curves(ax: Axes, answers: pd.DataFrame) -> pd.DataFrame:
    """Plot the empirical ROC curve of each reader, and of the network on the same cases."""
    style.draw_grid(ax)
    ax.plot([0, 1], [0, 1], color=style.MUTED, linewidth=0.6)
    reader_line = {"markersize": 3, "linewidth": 0.9, "color": style.INK}
    raters: list[tuple[Any, pd.Series, pd.Series, dict[str, Any]]] = [
        (code, rows["malignant"], rows["answer"], reader_line | {"marker": marker})
        for marker, (code, rows) in zip(_READER_MARKERS * 9, answers.groupby("code"))
    ]
    cases = answers.drop_duplicates("case_number")
    network_line = {"linestyle": "--", "color": style.CLASS_COLOURS["benign"]}
    raters.append(("network", cases["malignant"], cases["score"], network_line))
    curves = []
    for name, malignant, rating, line in raters:
        truth = malignant.to_numpy(bool)
        # A curve needs both classes; a reader of few cases may have one.
        if truth.all() or not truth.any():
            continue
        fpr, tpr, _ = roc_vertices(truth, rating.to_numpy(float))
        ax.plot(fpr, tpr, label=str(name), **line)
        curves.append(pd.DataFrame({"reader": name, "fpr": fpr, "tpr": tpr}))
    ax.set(
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        xlabel="1 − specificity",
        ylabel="Sensitivity",
        aspect="equal",
    )
    # Below the axes: the curves of good readers and of poor ones may pass any corner inside.
    handles, names = ax.get_legend_handles_labels()
    if len(names) > _NAMED_CURVES:
        handles, names = [handles[0], handles[-1]], [f"{len(names) - 1} readers", names[-1]]
    ax.legend(
        handles,
        names,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.22),
        ncols=3,
        handlelength=1.6,
        columnspacing=0.8,
    )
    return pd.concat(curves) if curves else pd.DataFrame(columns=["reader", "fpr", "tpr"])


def _plot_null_distribution(ax: Axes, score: ReadingScore) -> pd.DataFrame:
    """Plot the binomial distribution of the number correct under chance."""
    test = score.binomial
    n = test.trials
    counts = np.arange(n + 1)
    mass = scipy.stats.binom.pmf(counts, n, 0.5)
    # Bars lower than a thousandth of the highest are invisible; the observed count always counts.
    drawn = (mass > mass.max() / 1000) | (counts == test.successes)
    rejected = counts >= (test.critical_count if test.critical_count is not None else n + 1)
    accepted_bars, rejected_bars = drawn & ~rejected, drawn & rejected
    ax.bar(counts[accepted_bars], mass[accepted_bars], width=0.9, color="#C9CFD6")
    ax.bar(
        counts[rejected_bars],
        mass[rejected_bars],
        width=0.9,
        color="white",
        edgecolor=style.INK,
        linewidth=0.5,
        hatch="////",
    )
    ax.axvline(test.successes, color=style.CLASS_COLOURS["malignant"], linewidth=1.2)
    # On the side of the line that has room.
    side = -1 if test.successes > n * 0.6 else 1
    ax.annotate(
        f"{test.successes} correct",
        (test.successes, mass.max()),
        xytext=(3 * side, 0),
        textcoords="offset points",
        fontsize=7,
        va="top",
        ha="right" if side < 0 else "left",
    )
    ax.set(
        xlabel=f"Correct answers of {n}",
        ylabel="Probability under chance",
        ylim=(0, mass.max() * 1.05),
    )
    return pd.DataFrame({"right": counts, "probability": mass, "rejected": rejected})


def _plot_switches(ax: Axes, advice: AdviceScore) -> pd.DataFrame:
    """Plot the share of answers of each arm that changed to right and to wrong."""
    rows = [
        (arm.arm, arm.answers, 100 * arm.to_right / arm.answers, 100 * arm.to_wrong / arm.answers)
        for arm in advice.arms
        if arm.answers
    ]
    style.draw_grid(ax, "x")
    places = np.arange(len(rows))
    to_right = np.array([row[2] for row in rows])
    to_wrong = np.array([row[3] for row in rows])
    ax.barh(places, to_right, 0.6, color=style.CLASS_COLOURS["normal"], label="to right")
    ax.barh(
        places,
        -to_wrong,
        0.6,
        color="white",
        edgecolor=style.CLASS_COLOURS["malignant"],
        hatch="////",
        linewidth=0.5,
        label="to wrong",
    )
    ax.axvline(0, color=style.INK, linewidth=0.7)
    largest = float(max(to_right.max(initial=1.0), to_wrong.max(initial=1.0)))
    ax.set(
        yticks=places,
        ylim=(len(rows) - 0.4, -1.1),
        xlim=(-1.1 * largest, 1.1 * largest),
        xlabel="Answers that changed (%)",
    )
    # Both directions are shares; the axis has no negative numbers.
    ax.xaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    names = ["\n".join(textwrap.wrap(ARM_TITLES[row[0]], _TITLE_WIDTH)) for row in rows]
    ax.set_yticklabels([f"{name}\nn = {row[1]}" for name, row in zip(names, rows)])
    ax.legend(loc="upper center", ncols=2, handlelength=1, columnspacing=1)
    return pd.DataFrame(rows, columns=["arm", "answers", "to_right_percent", "to_wrong_percent"])


def plot_time_order(study: Path, width: float) -> FigureResult:
    """Plot the seconds per text (a) and the proportion correct (b) along the order of reading."""
    protocol, score = load_closed_study(study)
    answers = primary_answers(study)
    blocks = _block_rows(answers.sort_values("position"))
    figure, axes = style.create_panels(width, 2, 62)
    _plot_seconds(axes[0], answers, blocks)
    _plot_block_proportions(axes[1], blocks)
    for ax in axes:
        style.draw_grid(ax)
        ax.set_xlabel("Position in the order")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    # Both panels over the same positions: a single block would otherwise set its own range.
    axes[1].set_xlim(axes[0].get_xlim())
    of_case = "per case" if score.advice is None else "per case, first and final answer together"
    caption = (
        f'Time and order in the reading study "{protocol.protocol}":'
        f" {count_text(len(answers), 'answer')}{_of_arm(score)} of"
        f" {count_text(score.patients, 'patient')}. (a)"
        f" Seconds {of_case} (dots) and median of each {POSITIONS_PER_BLOCK} positions (line). (b)"
        f" Exploratory: proportion correct in each {POSITIONS_PER_BLOCK} positions with 95 % Wilson"
        f" intervals, without blocks of fewer than {LEAST_IN_BLOCK} answers; dashed: chance."
        f" {'All arms together: ' if len(score.design.arms) > 1 else ''}{score.conduct.sentence()}"
    )
    return FigureResult(
        figure=figure,
        data={"answers": answers[["code", "position", "seconds", "right"]], "blocks": blocks},
        caption=caption,
        counts={"answers": len(answers), "patients": score.patients, "readers": len(score.readers)},
        method="The trend was estimated by least squares on the position, with the readers' means"
        " removed, clustered by patient.",
    )


def _of_arm(score: ReadingScore) -> str:
    """Return which arm the panels show; "" for a design with one arm."""
    arms = score.design.arms
    return f" in the arm {ARM_TITLES[arms[0]]}" if len(arms) > 1 else ""


def _block_rows(answers: pd.DataFrame) -> pd.DataFrame:
    """Return one row per reader and block of positions.

    With the median seconds, and the proportion correct with its Wilson interval.
    """
    blocks = []
    for code, reader_rows in answers.groupby("code"):
        for block, rows in reader_rows.groupby(
            (reader_rows["position"] - 1) // POSITIONS_PER_BLOCK
        ):
            if len(rows) < LEAST_IN_BLOCK:
                continue
            correct = int(rows["right"].sum())
            proportion = proportion_interval(correct, len(rows), "wilson")
            blocks.append(
                {
                    "reader": code,
                    "from": int(block) * POSITIONS_PER_BLOCK + 1,
                    "middle": float(rows["position"].mean()),
                    "n": len(rows),
                    "median_seconds": rows["seconds"].median(),
                    "right": correct,
                    "share": proportion.estimate,
                    "low": proportion.low,
                    "high": proportion.high,
                }
            )
    columns = ["reader", "from", "middle", "n", "median_seconds", "right", "share", "low", "high"]
    return pd.DataFrame(blocks, columns=columns)


def _plot_seconds(ax: Axes, answers: pd.DataFrame, blocks: pd.DataFrame) -> None:
    """Plot the seconds of each answer as dots, and the medians of each reader as a line."""
    for code, rows in answers.groupby("code"):
        ax.plot(
            rows["position"],
            rows["seconds"],
            linestyle="none",
            marker="o",
            markersize=2.5,
            label=str(code),
            color=style.MUTED,
        )
    for _, rows in blocks.groupby("reader"):
        # A single block makes no line.
        marker = "_" if len(rows) == 1 else "none"
        ax.plot(
            rows["middle"],
            rows["median_seconds"],
            color=style.INK,
            linewidth=1,
            marker=marker,
            markersize=9,
        )
    ax.set(ylabel="Seconds", ylim=(0, None))


def _plot_block_proportions(ax: Axes, blocks: pd.DataFrame) -> None:
    """Plot the proportion correct of each block, with one marker a reader."""
    for marker, (code, rows) in zip(_READER_MARKERS * 9, blocks.groupby("reader")):
        lengths = [list(rows["share"] - rows["low"]), list(rows["high"] - rows["share"])]
        ax.errorbar(
            rows["middle"],
            rows["share"],
            yerr=style.error_bar_lengths(lengths),
            marker=marker,
            markersize=3.5,
            linewidth=0.9,
            elinewidth=0.6,
            capsize=1.5,
            color=style.INK,
            # Lines between the blocks of many readers would tangle.
            linestyle="-" if blocks["reader"].nunique() < 4 else "none",
            label=str(code),
        )
    ax.axhline(0.5, color=style.MUTED, linewidth=0.7, linestyle="--")
    ax.set(ylabel="Proportion correct", ylim=(0, 1.03))
    if blocks.empty:
        ax.text(
            0.5,
            0.75,
            f"no {POSITIONS_PER_BLOCK} positions with\n"
            f"at least {LEAST_IN_BLOCK} answers of a reader",
            transform=ax.transAxes,
            ha="center",
            va="center",
            fontsize=7,
            color=style.MUTED,
        )
    if blocks["reader"].nunique() > 1:
        # Above the axes, because the data may lie anywhere inside.
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, borderaxespad=0.2)
