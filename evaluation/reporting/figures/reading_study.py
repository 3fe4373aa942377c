"""Figures about experts: the blinded reading study, how it was conducted, and agreement between
annotators.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from scipy import stats

from core import store
from core.store import annotation_table, reading_table
from evaluation.annotation import category_agreement
from evaluation.intervals import decimal, interval_text, p_text
from evaluation.proportion import proportion_interval
from evaluation.queries.provenance import Missing, closed_protocol
from evaluation.reading_study import ReadingScore, workflow
from evaluation.reporting.figures import style
from evaluation.reporting.figures.base import Drawn, newest
from evaluation.reporting.figures.classifier import yerror
from evaluation.roc.partial_area import vertices

BLOCK = 10


def closed(study: Path) -> reading_table.Protocol:
    """The newest reading study that was closed; Missing before: results of an open study are
    nobody's.
    """
    with store.read(study) as con:
        found, last = closed_protocol(con), next(reversed(reading_table.protocols(con)), None)
    if found is None:
        command = (
            "deepminer reading create"
            if last is None
            else "deepminer reading close"
            if last.state == "frozen"
            else "deepminer reading freeze"
        )
        raise Missing("Reading", "no reading study has been closed", command)
    return found


def scored(study: Path) -> tuple[reading_table.Protocol, ReadingScore]:
    """The newest closed reading study with its score."""
    protocol = closed(study)
    return workflow.scored(study, protocol.protocol)


def answered(study: Path) -> pd.DataFrame:
    """Answers of the primary arm without hidden repeats: code, position (the first case after
    practice is 1), answer, seconds, right, malignant, score (the network's), patient_id.
    """
    protocol = closed(study)
    design = workflow.design_of(protocol)
    with store.read(study) as con:
        answers = reading_table.answers(con, protocol.protocol, protocol.version)
        cases = reading_table.cases(con, protocol.protocol, protocol.version)
        items = reading_table.items(con, protocol.protocol, protocol.version)
    table = answers[~answers["repeat"].astype(bool)].merge(cases, on="case_number")
    practice = items[items["practice"].astype(bool)].groupby("code")["position"].max()
    table["position"] = table["position"] - table["code"].map(practice).fillna(0).astype(int)
    table = table[table["arm"] == design.arms[0]]
    malignant = table["truth"] == "malignant"
    return table.assign(
        malignant=malignant,
        right=malignant == (table["answer"] >= design.threshold),
        score=table["network_score"],
    )


def reading(study: Path, width: float) -> Drawn:
    """(a) Share right per reader and in all; (b) ROC of the readers' answers and of the network;
    (c) the binomial test's null distribution.
    """
    protocol, score = scored(study)
    table = answered(study)
    figure, axes = style.panels(width, 3, 66)
    data = {
        "shares": _forest(axes[0], score),
        "roc": _curves(axes[1], table, score),
        "null": _null(axes[2], score),
    }
    network, readers_auc = score.network.auc, score.readers_auc
    area = (
        f"readers {decimal(readers_auc.estimate)}, "
        if readers_auc is not None and readers_auc.estimate is not None
        else f"reader {decimal(score.roc.estimate)}, "
    )
    alone = (
        " One reader: the result does not generalise to readers." if len(score.readers) == 1 else ""
    )
    first, primary_interval = (
        score.primary,
        interval_text(
            score.primary.low, score.primary.high, 1 - score.primary.alpha, score.primary.reason
        ),
    )
    caption = (
        f'Reading study "{protocol.protocol}" (protocol {protocol.hash[:12]}): {first.n} answers on'
        f" texts of {score.patients} patients. (a) Share of right answers per reader and in all"
        f" (diamond: prespecified analysis, {primary_interval}; {p_text(first.p_value)}); dashed:"
        " chance. (b) ROC of the answers and of the network alone on the same cases (AUC:"
        f" {area}network {decimal(network.estimate)},"
        f" {interval_text(network.low, network.high, network.level, network.reason)}). (c) Number"
        f" right under chance if all answers were independent: observed {score.binomial.successes},"
        f" critical count {score.binomial.critical_count}, one-sided"
        f" {p_text(score.binomial.p_value)}.{alone} AUC, area under the curve; CI, confidence"
        " interval."
    )
    counts = {"answers": score.primary.n, "patients": score.patients, "readers": len(score.readers)}
    return Drawn(figure=figure, data=data, caption=caption, counts=counts, method=score.paragraph())


def _forest(ax: Axes, score: ReadingScore) -> pd.DataFrame:
    rows = [(r.code, r.share.estimate, r.share.low, r.share.high, r.n) for r in score.readers]
    rows.append(
        ("all", score.primary.estimate, score.primary.low, score.primary.high, score.primary.n)
    )
    style.grid(ax, "x")
    for i, (name, centre, low, high, _) in enumerate(rows):
        if low is not None and high is not None:
            ax.plot([low, high], [i, i], color=style.INK, linewidth=1)
        if centre is None:
            ax.text(0.52, i, "not estimable", va="center", fontsize=7, color=style.QUIET)
        else:
            ax.plot(
                centre,
                i,
                "D" if name == "all" else "s",
                color=style.INK,
                markersize=5 if name == "all" else 4,
            )
    ax.axvline(0.5, color=style.QUIET, linewidth=0.7, linestyle="--")
    ax.set(
        yticks=range(len(rows)),
        ylim=(len(rows) - 0.4, -0.6),
        xlim=(min(0.25, *(r[2] for r in rows if r[2] is not None), 1) - 0.02, 1),
        xlabel="Share right (95 % CI)",
    )
    ax.set_yticklabels([f"{name}\nn = {n}" for name, _, _, _, n in rows])
    return pd.DataFrame(rows, columns=["reader", "share", "low", "high", "n"])


def _curves(ax: Axes, table: pd.DataFrame, score: ReadingScore) -> pd.DataFrame:
    style.grid(ax)
    ax.plot([0, 1], [0, 1], color=style.QUIET, linewidth=0.6)
    cases = table.drop_duplicates("case_number")
    drawn: list[tuple[Any, pd.Series, pd.Series, dict[str, Any]]] = [
        (
            code,
            rows["malignant"],
            rows["answer"],
            {"marker": "o", "markersize": 2.5, "linewidth": 0.9, "color": style.INK},
        )
        for code, rows in table.groupby("code")
    ]
    drawn.append(
        (
            "network",
            cases["malignant"],
            cases["score"],
            {"linestyle": "--", "color": style.COLOURS["benign"]},
        )
    )
    parts = []
    for name, y, s, look in drawn:
        truth = y.to_numpy(bool)
        if truth.all() or not truth.any():
            continue
        fpr, tpr, _ = vertices(truth, s.to_numpy(float))
        ax.plot(fpr, tpr, label=str(name), **look)
        parts.append(pd.DataFrame({"who": name, "fpr": fpr, "tpr": tpr}))
    ax.set(
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        xlabel="1 − specificity",
        ylabel="Sensitivity",
        aspect="equal",
    )
    ax.legend(loc="lower right")
    return pd.concat(parts) if parts else pd.DataFrame(columns=["who", "fpr", "tpr"])


def _null(ax: Axes, score: ReadingScore) -> pd.DataFrame:
    """The binomial distribution of the number right under chance."""
    test = score.binomial
    n = test.trials
    counts = np.arange(n + 1)
    mass = stats.binom.pmf(counts, n, 0.5)
    kept = mass > mass.max() / 1000
    kept |= counts == test.successes
    beyond = counts >= (test.critical_count if test.critical_count is not None else n + 1)
    ax.bar(counts[kept & ~beyond], mass[kept & ~beyond], width=0.9, color="#C9CFD6")
    ax.bar(
        counts[kept & beyond],
        mass[kept & beyond],
        width=0.9,
        color="white",
        edgecolor=style.INK,
        linewidth=0.5,
        hatch="////",
    )
    ax.axvline(test.successes, color=style.COLOURS["malignant"], linewidth=1.2)
    ax.annotate(
        f"{test.successes} right",
        (test.successes, mass.max()),
        xytext=(3, 0),
        textcoords="offset points",
        fontsize=7,
        va="top",
    )
    ax.set(
        xlabel=f"Right answers of {n}",
        ylabel="Probability under chance",
        ylim=(0, mass.max() * 1.05),
    )
    return pd.DataFrame({"right": counts, "probability": mass, "rejected": beyond})


def _blocks(table: pd.DataFrame) -> pd.DataFrame:
    """Per reader and block of positions: median seconds, and the share right with Wilson's
    interval.
    """
    blocks = []
    for code, mine in table.groupby("code"):
        for start, rows in mine.groupby((mine["position"] - 1) // BLOCK):
            share = proportion_interval(int(rows["right"].sum()), len(rows), "wilson")
            blocks.append(
                {
                    "reader": code,
                    "from": int(start) * BLOCK + 1,
                    "middle": float(rows["position"].mean()),
                    "n": len(rows),
                    "median_seconds": rows["seconds"].median(),
                    "right": int(rows["right"].sum()),
                    "share": share.estimate,
                    "low": share.low,
                    "high": share.high,
                }
            )
    return pd.DataFrame(blocks)


def _courses(axes: list[Axes], table: pd.DataFrame, found: pd.DataFrame) -> None:
    """Dots and medians of seconds (first axes), shares right (second), a marker a reader."""
    for code, mine in table.groupby("code"):
        axes[0].plot(
            mine["position"],
            mine["seconds"],
            linestyle="none",
            marker="o",
            markersize=2.5,
            label=str(code),
            color=style.QUIET,
        )
    for marker, (code, rows) in zip("osD^v<>Pph*X" * 9, found.groupby("reader")):
        middle = rows["middle"]
        axes[0].plot(middle, rows["median_seconds"], color=style.INK, linewidth=1)
        axes[1].errorbar(
            middle,
            rows["share"],
            yerr=yerror([list(rows["share"] - rows["low"]), list(rows["high"] - rows["share"])]),
            marker=marker,
            markersize=3.5,
            linewidth=0.9,
            elinewidth=0.6,
            capsize=1.5,
            color=style.INK,
            label=str(code),
        )


def time_order(study: Path, width: float) -> Drawn:
    """Seconds per text and share right along the order of reading."""
    protocol, score = scored(study)
    table = answered(study)
    figure, axes = style.panels(width, 2, 62)
    found = _blocks(table.sort_values("position"))
    _courses(axes, table, found)
    for ax in axes:
        style.grid(ax)
        ax.set_xlabel("Position in the order")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set(ylabel="Seconds", ylim=(0, None))
    axes[1].axhline(0.5, color=style.QUIET, linewidth=0.7, linestyle="--")
    axes[1].set(ylabel=f"Share right, {BLOCK} at a time", ylim=(0, 1))
    axes[1].legend(loc="lower right")
    # Both panels over the same positions: a single block would else stretch over a width of its
    # own.
    axes[1].set_xlim(axes[0].get_xlim())
    caption = (
        f'Time and order in the reading study "{protocol.protocol}": {len(table)} answers of'
        f" {score.patients} patients. (a) Seconds per text (dots) and median of each {BLOCK}"
        f" positions (line). (b) Share right in each {BLOCK} positions with 95 % Wilson intervals;"
        f" dashed: chance. {score.conduct.sentence()}"
    )
    data = {"answers": table[["code", "position", "seconds", "right"]], "blocks": found}
    return Drawn(
        figure=figure,
        data=data,
        caption=caption,
        counts={"answers": len(table), "patients": score.patients, "readers": len(score.readers)},
        method="Trend: least squares on the position, readers' means taken out, clustered by patient.",
    )


def agreement_rows(study: Path) -> tuple[list[category_agreement.Row], int]:
    """Agreement between annotators, as the Annotations page shows it, and the number of annotators;
    Missing for fewer than two.
    """
    dissect = newest(study, "dissect")
    with store.read(study) as con:
        frame = annotation_table.answers(con, dissect)
    raters = category_agreement.raters(frame)
    if raters < 2:
        raise Missing(
            "Annotation",
            f"agreement needs two annotators; there {'is one' if raters == 1 else 'are none'}",
            "deepminer invite annotator",
        )
    return [
        *category_agreement.per_category(frame),
        category_agreement.overall(frame),
        category_agreement.jaccard(frame),
        *category_agreement.repeats(frame),
    ], raters


def agreement(study: Path, width: float) -> Drawn:
    """Agreement per category, overall, and with oneself, with intervals."""
    rows, raters = agreement_rows(study)
    figure, (ax,) = style.panels(width, 1, 14 + 5.5 * len(rows))
    style.grid(ax, "x")
    for i, r in enumerate(rows):
        if r.low is not None and r.high is not None:
            ax.plot([r.low, r.high], [i, i], color=style.INK, linewidth=1)
        if r.estimate is not None:
            ax.plot(r.estimate, i, "s", color=style.INK, markersize=4)
        else:
            ax.text(0.02, i, "not estimable", va="center", fontsize=7, color=style.QUIET)
    ax.axvline(0, color=style.QUIET, linewidth=0.7, linestyle="--")
    ax.set(
        yticks=range(len(rows)),
        ylim=(len(rows) - 0.5, -0.5),
        xlim=(min([-0.05, *(r.low for r in rows if r.low is not None)]) - 0.02, 1.03),
        xlabel="Agreement (95 % CI)",
    )
    ax.set_yticklabels([f"{r.name} (n = {r.n})" for r in rows])
    table = pd.DataFrame(
        [
            {
                "what": r.name,
                "estimate": r.estimate,
                "low": r.low,
                "high": r.high,
                "n": r.n,
                "method": r.method,
                "reason": r.reason or "",
            }
            for r in rows
        ]
    )
    methods = "; ".join(dict.fromkeys(r.method for r in rows))
    if "alpha" in methods:
        methods += "; alpha's interval: units resampled"
    caption = (
        f"Agreement of {raters} annotators on the units that two or more answered: presence of each"
        " category, first-named category, share of categories in common, and each annotator with"
        " themselves at hidden repeats. Bars: 95 % intervals; dashed: agreement by chance (kappa,"
        " alpha). CI, confidence interval."
    )
    return Drawn(
        figure=figure,
        data={"agreement": table},
        caption=caption,
        counts={"annotators": raters, "units": max(r.n for r in rows)},
        method=methods,
    )
