"""Whether anything that reaches a reader's computer tells more than the page displays.

    python -m benchmarks.blinding [--cases 200] [--out FILE]

builds a synthetic reading study over all arms with hidden repeats, serves it from a cold start,
reads it by three readers through HTTP, and tests every pair of

- what is received: token, order, size and time of answers, size, time and bytes of pictures;
- what is withheld: truth, network score, arm, repeat, shown before, read by a colleague

by permutation. The result is written to benchmarks/BLINDING.md. It takes some minutes.

Values are compared among neighbours in time with one kind of display (texts, a mammogram, a map):
what the page displays is no secret, and a machine that becomes slower or faster meanwhile is no
leak. The order itself is not tested against repeat, shown before and read by a colleague, which are
properties of the order.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import blinding_study
from benchmarks.blinding_study import RecordingReader
from benchmarks.expert_sessions import ServerProcess
from core.sessions.reply_times import REPLY_STEP_S
from core.timestamps import utc_now
from evaluation.roc import auc

OUT = Path(__file__).with_name("BLINDING.md")
READERS = ("R1", "R2", "R3")
PERMUTATIONS = 9_999
AUC_PERMUTATIONS = 999
NEIGHBOURS = 12
RECEIVED = {
    "token": "token",
    "order": "order",
    "state_bytes": "size of the answer without what it displays",
    "state_seconds": "time of the answer with the case",
    "answer_seconds": "time of the acknowledgement",
    "picture_bytes": "size of the picture",
    "picture_seconds": "time of the picture",
    "picture_hash": "bytes of the picture",
}
WITHHELD = {
    "truth": "truth",
    "score": "network score",
    "arm": "arm",
    "repeat": "repeat",
    "shown": "shown before",
    "colleague": "read by a colleague",
}
OF_THE_ORDER = ("repeat", "shown", "colleague")


@dataclass(frozen=True)
class BlindingTest:
    """One permutation test; p_value: None where the withheld value does not vary."""

    received: str
    withheld: str
    showings: int
    p_value: float | None


def permutation_p_value(
    values: np.ndarray, labels: np.ndarray, strata: np.ndarray, seed: int = 1
) -> float | None:
    """Return the permutation P of an association of ranks within strata.

    Parameters
    ----------
    values : float array, shape [n]
        What is received.
    labels : float array, shape [n, k]
        What is withheld: one column, or an indicator for each of k groups.
    strata : array, shape [n]
        Labels are permuted within each stratum.

    Returns
    -------
    float or None
        None if the labels vary in no stratum. The statistic is the sum over the columns of the
        squared product of centred ranks and centred labels.
    """
    rng = np.random.default_rng(seed)
    observed, permuted = np.zeros(labels.shape[1]), np.zeros((PERMUTATIONS, labels.shape[1]))
    varies = False
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        ranks = pd.Series(values[rows]).rank().to_numpy()
        ranks = ranks - ranks.mean()
        centred = labels[rows] - labels[rows].mean(axis=0)
        varies = varies or bool(np.any(centred))
        observed += ranks @ centred
        order = rng.permuted(np.tile(np.arange(len(rows)), (PERMUTATIONS, 1)), axis=1)
        permuted += np.einsum("pi,ik->pk", ranks[order], centred)
    if not varies:
        return None
    # Sums of the same ranks in another order differ in the last digits.
    extreme = (permuted**2).sum(axis=1) >= (observed**2).sum() * (1 - 1e-9)
    return float((1 + np.count_nonzero(extreme)) / (1 + PERMUTATIONS))


def blinding_tests(table: pd.DataFrame) -> list[BlindingTest]:
    """Return the tests of all showings; see `blinding_study.join_with_key` for the columns."""
    table = table.assign(token=[int(token[:12], 16) for token in table["token"]])
    alike = neighbourhoods(table)
    tests = []
    for received in RECEIVED:
        rows = table[received].notna().to_numpy()
        strata = (table["reader"] if received == "order" else alike)[rows].to_numpy()
        for withheld in WITHHELD:
            if received == "order" and withheld in OF_THE_ORDER:
                continue
            column = table.loc[rows, withheld]
            labels = (
                pd.get_dummies(column) if withheld == "arm" else column.rank().to_frame()
            ).to_numpy(float)
            values = table.loc[rows, received].to_numpy(float)
            p_value = permutation_p_value(values, labels, strata)
            tests.append(BlindingTest(received, withheld, int(rows.sum()), p_value))
    return tests


def neighbourhoods(table: pd.DataFrame) -> pd.Series:
    """Return for each showing, in order of time, its display and a number of neighbours in time."""
    return table["display"] + (table.groupby("display").cumcount() // NEIGHBOURS).astype(str)


def latency_auc(table: pd.DataFrame) -> tuple[float, float, float]:
    """Return the AUC of the time of a picture for "shown before", among neighbours in time.

    Returns
    -------
    area, low, high : float
        The AUC, and the range that holds 95 % of its values where "shown before" is permuted among
        the neighbours.
    """
    pictured = table[table["picture_seconds"].notna()].assign(near=neighbourhoods(table))
    groups = [
        (near["shown"].to_numpy(int), near["picture_seconds"].to_numpy(float))
        for _, near in pictured.groupby("near")
        if near["shown"].nunique() == 2
    ]
    pairs = [shown.sum() * (len(shown) - shown.sum()) for shown, _ in groups]

    def mean_area(labels: list[np.ndarray]) -> float:
        """Return the mean AUC of the groups, weighted by pairs."""
        areas = [float(auc(shown, times)) for shown, (_, times) in zip(labels, groups, strict=True)]
        return float(np.average(areas, weights=pairs))

    rng = np.random.default_rng(2)
    by_chance = [
        mean_area([rng.permutation(shown) for shown, _ in groups]) for _ in range(AUC_PERMUTATIONS)
    ]
    low, high = np.quantile(by_chance, [0.025, 0.975])
    return mean_area([shown for shown, _ in groups]), float(low), float(high)


def _read_study(study: Path) -> pd.DataFrame:
    tokens = {code: blinding_study.invite_reader(study, code) for code in READERS}
    blinding_study.drop_cached_files(study)
    server = ServerProcess(study)
    try:
        readers = [
            RecordingReader(code, blinding_study.http_send(server.port, token))
            for code, token in tokens.items()
        ]
        for reader in readers:
            reader.begin()
        blinding_study.read_in_turn(readers)
    finally:
        server.kill()
    return blinding_study.join_with_key(study, readers)


def report(table: pd.DataFrame, cases: int) -> str:
    """Return the result as Markdown."""
    tests = blinding_tests(table)
    p_values = [test.p_value for test in tests if test.p_value is not None]
    area, low, high = latency_auc(table)
    lines = [
        "# Blinding of a reading study",
        "",
        f"Written by `python -m benchmarks.blinding --cases {cases}` on {utc_now():%d %B %Y}:"
        f" {cases} cases in six arms with hidden repeats, {table['reader'].nunique()} readers,"
        f" {len(table)} showings of which {int(table['repeat'].sum())} are repeats and"
        f" {int(table['shown'].sum())} show something for a second time; the server and the files"
        " were cold at the start.",
        "",
        f"- tests: {len(p_values)}, each with {PERMUTATIONS:,} permutations",
        f"- smallest P: {min(p_values):.4f} (goal: none below .001);"
        f" below .05: {sum(p < 0.05 for p in p_values)}, expected by chance"
        f" {0.05 * len(p_values):.1f}",
        f'- AUC of the time of a picture for "shown before", among neighbours in time: {area:.3f}'
        f" (goal: .4 to .6; by chance {low:.3f} to {high:.3f} in 95 % of permutations)",
        f"- time of a picture: median {1000 * table['picture_seconds'].median():.0f} ms, of the"
        f" answer with the case: median {1000 * table['state_seconds'].median():.0f} ms; replies"
        f" leave the server at multiples of {1000 * REPLY_STEP_S:.0f} ms after the request",
        "",
        "| received | withheld | showings | P |",
        "|---|---|---|---|",
    ]
    for test in tests:
        p_text = "does not vary" if test.p_value is None else f"{test.p_value:.4f}"
        names = f"{RECEIVED[test.received]} | {WITHHELD[test.withheld]}"
        lines.append(f"| {names} | {test.showings} | {p_text} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the benchmark and write its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = blinding_study.create_reading_study(Path(folder) / "study", options.cases)
        text = report(_read_study(study), options.cases)
    options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
