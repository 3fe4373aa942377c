"""Does a reading study give its answers away?

The checks before freezing, and the same checks of somebody else's study (PAGES, Lint).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from core.birads_lexicon import without_association
from core.errors import UserError
from evaluation.intervals import counted, decimal
from evaluation.permutation import Association, PatientPermutations
from evaluation.validation import Array

ERROR, WARNING, NOTE = "error", "warning", "note"
ALPHA = 0.001
VERDICTS = {
    "malignant": r"malignan\w*|cancer\w*|carcinoma\w*|suspicious",
    "benign": r"benign\w*|normal",
}
# The lexicon's own name of a finding that passes no verdict on it.
ORDINARY = r"normal (fatty |glandular |dense )?tissue"
MOST_NAMED = 8
DOMINANT = 0.5
FEW_TEXTS = 1 / 3
WORDLESS_ARMS = ("class_map", "image")
MANY_COPIES = 0.1


@dataclass(frozen=True)
class Finding:
    """One thing the linter found.

    `error` stops a study, `warning` needs a typed reason, `note` is for the record; `auc` and `p`
    belong to a permutation test where there was one.
    """

    field: str
    severity: str
    finding: str
    auc: float | None = None
    p: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """As INTERFACE.md names the fields."""
        return asdict(self)

    def sentence(self) -> str:
        """For the protocol."""
        return f"{self.severity.capitalize()}, {self.field}: {self.finding}"


def reason_for(reasons: Mapping[str, str], field: str, finding: str) -> str:
    """Why a warning was accepted: the reason given for this very finding (key "field: finding"),
    else the one for all warnings of its field; "" without one.
    """
    return reasons.get(f"{field}: {finding}", reasons.get(field, "")).strip()


def stops(findings: Iterable[Finding]) -> bool:
    """Whether a study with these findings must not be frozen."""
    return any(finding.severity == ERROR for finding in findings)


def lint(
    cases: pd.DataFrame,
    identifiers: Sequence[str] = ("case",),
    labels: Mapping[str, str] | None = None,
    conflicts: int = 0,
    annotators: Sequence[str] = (),
    seed: int = 1,
) -> tuple[Finding, ...]:
    """Everything about the shown cases that could give truth away or make the result weak, errors
    first.

    `cases`, one row per shown case: `texts` (a list of str), `truth` (bool: malignant), `patient`;
    optional `order` (position shown; else the rows' order), `score` (the network's, nan where
    unknown), `arm`, and the columns named in `identifiers` (anything shown beside the texts: case
    numbers, file names, sites). `labels`: unit id -> label, to say which can never appear.
    `conflicts`: cases whose truth rules differ and that nobody reviewed. `annotators`: readers who
    named units themselves. Permutation tests exchange patients (seeded).
    """
    missing = [
        name for name in ("texts", "truth", "patient", *identifiers) if name not in cases.columns
    ]
    if missing:
        needed = ", ".join(["texts", "truth", "patient", *identifiers])
        raise UserError(
            f"The table of cases lacks the column {missing[0]!r}; the linter needs {needed}."
        )
    if cases.empty:
        raise UserError("There are no cases to check; choose cases first.")
    table = cases.sort_values("order", kind="stable") if "order" in cases.columns else cases
    tests = PatientPermutations(table["patient"].to_numpy(), seed)
    findings: list[Finding] = []
    for name in identifiers:
        findings += identifier_findings(name, table[name], table, tests)
    findings += order_findings(table, tests)
    findings += _worded_findings(table, seed, labels)
    findings += design_findings(table, conflicts, annotators)
    return tuple(
        sorted(findings, key=lambda finding: (ERROR, WARNING, NOTE).index(finding.severity))
    )


def _truth(table: pd.DataFrame) -> Array:
    return table["truth"].to_numpy(dtype=bool)


def _tell(
    field: str, test: str, result: Association, what: str, severity: str = ERROR
) -> list[Finding]:
    """A finding where a test could be made: severe at P < ALPHA, else a note.

    The AUC is given in the direction that tells (at least .5).
    """
    if result.p is None:
        return []
    leak, area, auc = result.p < ALPHA, "", None
    if result.auc is not None:
        auc = max(result.auc, 1 - result.auc)
        area = f"AUC {decimal(auc, 2)}{', smaller values with malignant or higher scores' if result.auc < 0.5 else ''}, "
    words = (
        f"{test} {'predicts' if leak else 'is not shown to predict'} {what} ({area}permutation P"
        f" {_p(result.p)})"
    )
    return [Finding(field, severity if leak else NOTE, words, auc, result.p)]


def _p(p: float) -> str:
    return "< .001" if p < 0.001 else f"= {decimal(p)}"


def identifier_findings(
    name: str, values: pd.Series, table: pd.DataFrame, tests: PatientPermutations
) -> list[Finding]:
    """An identifier must carry nothing: its value, its last digit or category, its length, its
    words, against truth and network score.
    """
    truth, findings = _truth(table), []
    told = values.astype(str).str.lower()
    spoken = int(told.str.contains("|".join(VERDICTS.values()), regex=True).sum())
    if spoken:
        findings.append(
            Finding(
                name,
                ERROR,
                f"{spoken} of {len(table)} values of {name} contain a verdict word such as"
                f" {_example(told)!r}",
            )
        )
    ranks = natural_ranks(values)
    findings += _strongest(
        name,
        [("its value", tests.ordered(ranks, truth)), *_category_tests(values, truth, tests)],
        "truth",
    )
    if "score" in table.columns and table["score"].notna().all():
        findings += _tell(
            name,
            "its value",
            tests.correlated(ranks, table["score"].to_numpy(dtype=float)),
            "the network's score",
        )
    return findings


def _example(told: pd.Series) -> str:
    return str(told[told.str.contains("|".join(VERDICTS.values()), regex=True)].iloc[0])[:40]


def _strongest(name: str, results: list[tuple[str, Association]], what: str) -> list[Finding]:
    """The first leak found, for later tests see the same leak again; or else the note of the first
    test.
    """
    told = [finding for test, result in results for finding in _tell(name, test, result, what)]
    leaks = [finding for finding in told if finding.severity == ERROR]
    return (leaks or told)[:1]


def _category_tests(
    values: pd.Series, truth: Array, tests: PatientPermutations
) -> list[tuple[str, Association]]:
    """Tests of what a mere order misses: few categories, the last character, the length, a pattern
    along the values.
    """
    text = values.astype(str)
    found = []
    if 1 < values.nunique() <= max(2, len(values) // 5):
        found.append(("its category", tests.categories(pd.factorize(text)[0], truth)))
    for test, codes in (
        ("its last character", pd.factorize(text.str[-1])[0]),
        ("its length", pd.factorize(text.str.len())[0]),
        ("its first character", pd.factorize(text.str[:1])[0]),
    ):
        if 0 < codes.max() < len(values) // 5:
            found.append((test, tests.categories(codes, truth)))
    # Eighths of the order find a leak that is not monotone, such as one class at both ends.
    found.append(("its range", tests.categories(_eighths(natural_ranks(values)), truth)))
    return found


def _eighths(ranks: Array) -> Array:
    return np.minimum((ranks - ranks.min()) * 8 // max(1.0, np.ptp(ranks) + 1e-9), 7).astype(int)


def natural_ranks(values: pd.Series) -> Array:
    """Ranks of identifiers in the order a person would sort them: numbers by value, texts with the
    numbers in them by value.
    """
    if pd.api.types.is_numeric_dtype(values):
        return values.rank().to_numpy(dtype=float)
    keys = [
        tuple(
            (0, int(part), "") if part.isdigit() else (1, 0, part)
            for part in re.findall(r"[0-9]+|[^0-9]+", str(value))
        )
        for value in values
    ]
    place = {key: index for index, key in enumerate(sorted(set(keys)))}
    return np.array([place[key] for key in keys], dtype=float)


def order_findings(table: pd.DataFrame, tests: PatientPermutations) -> list[Finding]:
    """The order of the cases must not tell truth or score: trend, blocks, alternation."""
    truth, position = _truth(table), np.arange(len(table), dtype=float)
    results = [
        ("the position in the order", tests.ordered(position, truth)),
        ("the run of neighbouring cases", tests.runs(truth)),
        ("the eighth of the order", tests.categories(_eighths(position), truth)),
    ]
    findings = _strongest("order", results, "truth")
    if "score" in table.columns and table["score"].notna().all():
        findings += _tell(
            "order",
            "the position in the order",
            tests.correlated(position, table["score"].to_numpy(dtype=float)),
            "the network's score",
        )
    return findings


def picture_findings(table: pd.DataFrame, seed: int) -> list[Finding]:
    """What films show without meaning to: their shape, their grey and the scanner they come from
    must not tell truth. A warning, because the film itself is what the arm shows. `table`: truth,
    patient, and the columns `height` (for a width of 1), `grey` (mean over the breast) and
    `scanner`, a row per film.
    """
    truth, tests = _truth(table), PatientPermutations(table["patient"].to_numpy(), seed)
    findings: list[Finding] = []
    for name in ("height", "grey"):
        findings += _tell(
            "images",
            f"the films' {name}",
            tests.ordered(table[name].to_numpy(dtype=float), truth),
            "truth",
            WARNING,
        )
    return findings + _tell(
        "images",
        "the films' scanner",
        tests.categories(pd.factorize(table["scanner"].astype(str))[0], truth),
        "truth",
        WARNING,
    )


def _worded_findings(
    table: pd.DataFrame, seed: int, labels: Mapping[str, str] | None
) -> list[Finding]:
    """The texts' findings over the arms that show texts."""
    worded = table[~table["arm"].isin(WORDLESS_ARMS)] if "arm" in table.columns else table
    return (
        text_findings(worded, PatientPermutations(worded["patient"].to_numpy(), seed), labels)
        if len(worded)
        else []
    )


def text_findings(
    table: pd.DataFrame, tests: PatientPermutations, labels: Mapping[str, str] | None
) -> list[Finding]:
    """The texts: missing, telling by number or length, verdict words, too alike, labels that can
    never appear.
    """
    truth, texts = _truth(table), [tuple(map(str, shown)) for shown in table["texts"]]
    findings = []
    empty = [row for row, shown in enumerate(texts) if not any(text.strip() for text in shown)]
    if empty:
        findings.append(
            Finding(
                "texts",
                ERROR,
                f"{len(empty)} of {len(texts)} cases have no text: leave them out or choose another"
                " depth",
            )
        )
    number = np.array([len(shown) for shown in texts], dtype=float)
    length = np.array([sum(map(len, shown)) for shown in texts], dtype=float)
    findings += _tell(
        "number of texts", "the number of texts", tests.ordered(number, truth), "truth", WARNING
    )
    findings += _tell(
        "length of texts", "the length of the texts", tests.ordered(length, truth), "truth", WARNING
    )
    names = table["case"] if "case" in table.columns else range(1, len(table) + 1)
    # Identifiers that are numbers come as floats, so that their order is that of their values; in a
    # sentence a case is 253, not 253.0.
    names = [f"{n:g}" if isinstance(n, float) else str(n) for n in names]
    findings += _verdict_findings(texts, list(names), truth, tests)
    return findings + _variety_findings(texts, labels)


def verdict_words(texts: Sequence[str]) -> dict[str, list[str]]:
    """The words in one case's shown texts that pass a verdict, by what they say: "malignant" and
    "benign" (or normal). "Normal tissue" is the lexicon's name of a finding and passes none.
    """
    shown = re.sub(ORDINARY, " ", " ; ".join(texts).lower())
    return {side: re.findall(rf"\b(?:{pattern})", shown) for side, pattern in VERDICTS.items()}


def verdict_balance(texts: Sequence[str]) -> int:
    """Words that say malignant minus words that say benign (or normal) in one case's texts."""
    found = verdict_words(texts)
    return len(found["malignant"]) - len(found["benign"])


def _verdict_findings(
    texts: list[tuple[str, ...]], names: Sequence[object], truth: Array, tests: PatientPermutations
) -> list[Finding]:
    """Verdict words in what is shown, each with the cases that show it. names: what the cases are
    called.
    """
    spoken: dict[str, list[str]] = {}
    for name, shown in zip(names, texts):
        for word in sorted({word for words in verdict_words(shown).values() for word in words}):
            spoken.setdefault(word, []).append(str(name))
    if not spoken:
        return []
    count = len({name for cases in spoken.values() for name in cases})
    result = tests.ordered(
        np.array([verdict_balance(shown) for shown in texts], dtype=float), truth
    )
    tail = (
        ""
        if result.p is None
        else (
            f" (their balance against truth: AUC {decimal(result.auc, 2)}, permutation P"
            f" {_p(result.p)})"
        )
    )
    words = "; ".join(
        f"{word!r} in {_cases(cases)}"
        for word, cases in sorted(spoken.items(), key=lambda item: -len(item[1]))
    )
    return [
        Finding(
            "texts",
            WARNING,
            f"the texts of {count} of {len(texts)} cases contain verdict words, so that the reader"
            f" may repeat the annotator's verdict: {words}{tail}",
            result.auc,
            result.p,
        )
    ]


def _cases(names: Sequence[str]) -> str:
    """Cases by name, the first few of them."""
    more = len(names) - MOST_NAMED
    return f"case{'s' if len(names) > 1 else ''} {', '.join(names[:MOST_NAMED])}" + (
        f" and {more} more" if more > 0 else ""
    )


def _variety_findings(
    texts: list[tuple[str, ...]], labels: Mapping[str, str] | None
) -> list[Finding]:
    n, findings = len(texts), []
    unordered = Counter(tuple(sorted(shown)) for shown in texts)
    commonest, copies = Counter(texts).most_common(1)[0]
    if len(unordered) < FEW_TEXTS * n:
        findings.append(
            Finding(
                "texts",
                WARNING,
                f"only {len(unordered)} distinct texts (whatever their order) for {n} cases",
            )
        )
    if copies > max(2, MANY_COPIES * n):
        findings.append(
            Finding(
                "texts",
                WARNING,
                f"one text is shown for {copies} of {n} cases: {', '.join(commonest)!r}",
            )
        )
    shown = Counter(label for case in texts for label in set(case))
    if shown:
        label, cases = shown.most_common(1)[0]
        if cases > DOMINANT * n and len(shown) > 1:
            findings.append(
                Finding(
                    "texts",
                    WARNING,
                    f"one label dominates: {label!r} is shown in {cases} of {n} cases",
                )
            )
    if labels is not None:
        # A design may take verdict words out of the labels it shows.
        forms = {unit: {label, without_association(label)} for unit, label in labels.items()}
        never = [unit for unit, form in forms.items() if not form & set(shown)]
        unknown = sorted(set(shown).difference(*forms.values()))
        if never:
            findings.append(
                Finding(
                    "labels",
                    WARNING,
                    f"{len(shown)} distinct labels are shown for {len(labels)} labelled units; the"
                    f" labels of {len(never)} units never appear",
                )
            )
        if unknown:
            findings.append(
                Finding(
                    "labels",
                    WARNING,
                    f"{len(unknown)} shown labels are not in the list of labels, among them"
                    f" {unknown[0]!r}",
                )
            )
    return findings


def design_findings(
    table: pd.DataFrame, conflicts: int, annotators: Collection[str]
) -> list[Finding]:
    """Patients, truth rules, arms, readers, and the classes' sizes."""
    findings, patients, n = [], table["patient"].nunique(), len(table)
    if patients < n:
        findings.append(
            Finding(
                "patients",
                WARNING,
                f"{n} cases come from {counted(patients, 'patient')}: answers are not independent,"
                " the test must allow for it",
            )
        )
    if conflicts:
        findings.append(
            Finding(
                "truth",
                ERROR,
                f"{conflicts} cases have conflicting or unproven truth rules that nobody reviewed",
            )
        )
    if "arm" in table.columns:
        shared = int((table.groupby("patient")["arm"].nunique() > 1).sum())
        if shared:
            findings.append(Finding("arms", WARNING, f"{shared} patients are in more than one arm"))
    if annotators:
        findings.append(
            Finding(
                "readers",
                WARNING,
                f"{', '.join(sorted(annotators))} annotated units and may recognise their own"
                " words",
            )
        )
    positives = int(_truth(table).sum())
    if positives in (0, n):
        findings.append(
            Finding(
                "truth",
                ERROR,
                f"all cases are {'malignant' if positives else 'benign'}: there is nothing to tell"
                " apart",
            )
        )
    return findings
