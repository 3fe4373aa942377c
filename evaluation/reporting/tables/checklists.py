"""What a study's record can answer of STARD 2015, CLAIM 2024 and TRIPOD+AI.

Item texts are paraphrases of ours; nothing is ever ticked off by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core import settings, store
from core.store import annotation_table, dataset_table, reading_table, run_table, unit_table
from core.store.dataset_table import Connection
from evaluation.intervals import decimal, interval_text

FOUND, MISSING, WRITE = "evidence found", "missing", "please write"


@dataclass(frozen=True)
class Item:
    """One item: its number, our paraphrase, the state, and where to look (evidence found), what
    makes it (missing), or why only people can say it.
    """

    guideline: str
    number: str
    text: str
    state: str
    evidence: str


# Number, what it asks for in our words, and the fact that may answer it ("" = only the authors
# can).
STARD = (
    ("1", "Say in the title or abstract that accuracy was measured, and by which measure", ""),
    ("2", "Give a structured summary", ""),
    ("3", "Tell the clinical background and what the test is for", ""),
    ("4", "State aims and hypotheses", "hypothesis"),
    ("5", "Were data collected before or after planning", ""),
    ("6", "Who could take part", "eligibility"),
    ("7", "How possible participants were found", ""),
    ("8", "Where and when they were found", ""),
    ("9", "Consecutive, random or convenient series", ""),
    ("10a", "Describe the index test so that it can be repeated", "network"),
    ("10b", "Describe the reference standard so that it can be repeated", "reference"),
    ("11", "Why this reference standard", ""),
    ("12a", "Cut-offs of the index test, fixed beforehand or searched", "threshold"),
    ("12b", "Cut-offs of the reference standard", "reference"),
    ("13a", "Did those who performed the index test know the reference", "blinding"),
    ("13b", "Did those who judged the reference know the index test", ""),
    ("14", "How accuracy was estimated or compared", "statistics"),
    ("15", "What was done with indeterminate results", "unproven"),
    ("16", "What was done with missing data", "excluded"),
    ("17", "Analyses of variability, planned or exploratory", "subgroups"),
    ("18", "Planned sample size and its basis", "sample"),
    ("19", "Flow of participants in a diagram", "flow"),
    ("20", "Demographic and clinical characteristics", "baseline"),
    ("21a", "How severe the disease was in those who had it", "severity"),
    ("21b", "Which other diagnoses the others had", "severity"),
    ("22", "Time and treatment between index test and reference", ""),
    ("23", "Index test against reference in a table", "crosstab"),
    ("24", "Accuracy with its precision", "accuracy"),
    ("25", "Harm done by testing", ""),
    ("26", "Limitations, bias, generalisability", "limits"),
    ("27", "What it means for practice", ""),
    ("28", "Registration", ""),
    ("29", "Where the protocol can be read", "protocol"),
    ("30", "Funding and the funders' part", ""),
)
CLAIM = (
    ("1", "Say that AI was studied, and of which kind", ""),
    ("2", "Give a structured summary", ""),
    ("3", "Background, intended use and role", ""),
    ("4", "Aims and hypotheses", "hypothesis"),
    ("5", "Prospective or retrospective", ""),
    ("6", "Goal of the study", ""),
    ("7", "Sources of the data", "sources"),
    ("8", "Criteria for including and excluding", "eligibility"),
    ("9", "Preprocessing of the data", "preprocessing"),
    ("10", "Choice of parts of the data", "patches"),
    ("11", "How data were freed of identity", ""),
    ("12", "Handling of missing data", "excluded"),
    ("13", "How images were acquired", "scanner"),
    ("14", "How the reference standard was obtained", "reference"),
    ("15", "Why this reference standard", ""),
    ("16", "Who annotated, and their experience", "annotators"),
    ("17", "Annotation of the test set", "reference"),
    ("18", "Variability between and within annotators", "agreement"),
    ("19", "How data were assigned to splits", "split"),
    ("20", "At which level splits are disjoint", "split"),
    ("21", "Planned sample size and its basis", "sample"),
    ("22", "The model in detail", "network"),
    ("23", "Software and versions", "software"),
    ("24", "Starting values of the parameters", "network"),
    ("25", "Training in detail", "training"),
    ("26", "How the final model was chosen", "selection"),
    ("27", "Ensembles", "ensemble"),
    ("28", "Measures of performance", "statistics"),
    ("29", "Measures of significance and uncertainty", "statistics"),
    ("30", "Robustness and sensitivity analyses", "subgroups"),
    ("31", "Methods of explanation", "explanation"),
    ("32", "Evaluation on internal data", "accuracy"),
    ("33", "Testing on external data", "external"),
    ("34", "Trial registration", ""),
    ("35", "Numbers included and excluded", "flow"),
    ("36", "Characteristics of the cases in each split", "baseline"),
    ("37", "Performance with uncertainty", "accuracy"),
    ("38", "Diagnostic performance with precision", "crosstab"),
    ("39", "Analysis of wrong decisions", "failures"),
    ("40", "Limitations", "limits"),
    ("41", "Implications for practice", ""),
    ("42", "Where the protocol can be read", "protocol"),
    ("43", "Availability of software, model and data", ""),
    ("44", "Funding", ""),
)
TRIPOD = (
    ("1", "Title names model, population and outcome", ""),
    ("2", "Abstract by the abstracts' checklist", ""),
    ("3a", "Context and reasons for the model", ""),
    ("3b", "Target population and purpose", ""),
    ("3c", "Known health inequalities", ""),
    ("4", "Objectives: development, evaluation or both", "hypothesis"),
    ("5a", "Sources of data for each part", "sources"),
    ("5b", "Dates of the data", ""),
    ("6a", "Setting, number and place of centres", ""),
    ("6b", "Who was eligible", "eligibility"),
    ("6c", "Treatments and how they were handled", ""),
    ("7", "Preparation and quality checks of the data", "preprocessing"),
    ("8a", "Outcome, and how it was assessed", "reference"),
    ("8b", "Who assessed the outcome, if by judgement", ""),
    ("8c", "Blinding of outcome assessment", ""),
    ("9a", "Choice of predictors", "patches"),
    ("9b", "Definition of predictors", "patches"),
    ("9c", "Who assessed predictors, if by judgement", ""),
    ("10", "How the size of the study came about", "sample"),
    ("11", "Missing data", "excluded"),
    ("12a", "How data were used and split", "split"),
    ("12b", "How predictors entered the analysis", "patches"),
    ("12c", "Type of model, its building and internal validation", "training"),
    ("12d", "Differences between clusters such as centres", "subgroups"),
    ("12e", "Measures and plots of performance", "statistics"),
    ("12f", "Updating of the model", ""),
    ("12g", "How predictions were calculated", "threshold"),
    ("13", "Class imbalance", "imbalance"),
    ("14", "Fairness", ""),
    ("15", "Output of the model, classes and thresholds", "threshold"),
    ("16", "Differences between development and evaluation data", "baseline"),
    ("17", "Ethical approval", ""),
    ("18a", "Funding", ""),
    ("18b", "Conflicts of interest", ""),
    ("18c", "Where the protocol can be read", "protocol"),
    ("18d", "Registration", ""),
    ("18e", "Availability of data", ""),
    ("18f", "Availability of code", ""),
    ("19", "Involvement of patients and public", ""),
    ("20a", "Flow of participants", "flow"),
    ("20b", "Their characteristics", "baseline"),
    ("20c", "Development against evaluation data", "baseline"),
    ("21", "Numbers and events in each analysis", "flow"),
    ("22", "The full model for predictions in new people", "network"),
    ("23a", "Performance with intervals, also in subgroups", "accuracy"),
    ("23b", "Differences of performance between clusters", "subgroups"),
    ("24", "Results of updating", ""),
    ("25", "Interpretation, fairness included", ""),
    ("26", "Limitations", "limits"),
    ("27a", "Poor or missing input at use", ""),
    ("27b", "What users must do and know", ""),
    ("27c", "Next steps of research", ""),
)
GUIDELINES = {"STARD 2015": STARD, "CLAIM 2024": CLAIM, "TRIPOD+AI": TRIPOD}


def items(study: Path) -> list[Item]:
    """Every item of the three guidelines with what the record holds for it."""
    known = facts(study)
    found = []
    for guideline, entries in GUIDELINES.items():
        for number, text, fact in entries:
            if not fact:
                found.append(
                    Item(
                        guideline,
                        number,
                        text,
                        WRITE,
                        "not in the record: only the authors can say it",
                    )
                )
            else:
                there, words = known[fact]
                found.append(Item(guideline, number, text, FOUND if there else MISSING, words))
    return found


def facts(study: Path) -> dict[str, tuple[bool, str]]:
    """What the record says: fact -> (there, where to look or what makes it)."""
    chosen = settings.load(study)
    with store.read(study) as con:
        newest = {
            kind: run_table.latest(con, kind)
            for kind in ("patches", "train", "evaluate", "dissect", "explain")
        }
        known = (
            _data_facts(con, newest["patches"], chosen)
            | _network_facts(con, newest)
            | _expert_facts(con, newest["dissect"])
            | _reading_facts(con)
        )
    external = "one data set only: nothing in the record was tested on data from elsewhere"
    return known | {
        "external": (False, external),
        "ensemble": (True, "none: one network, one checkpoint"),
        "limits": known["limits"],
    }


def _data_facts(
    con: Connection, run: str | None, chosen: settings.Settings
) -> dict[str, tuple[bool, str]]:
    sources, counts, people, films = (
        dataset_table.sources(con),
        dataset_table.counts(con),
        dataset_table.patients(con),
        dataset_table.mammograms(con),
    )
    there = bool(counts["mammograms"])
    kinds, none = ", ".join(sources["kind"]) if len(sources) else "", "deepminer ingest"
    skipped, problems = (
        int(sources["skipped"].sum()) if len(sources) else 0,
        dataset_table.problems(con),
    )
    unproven = int((dataset_table.findings(con)["pathology"] == "UNPROVEN").sum())
    patches, parts = chosen.patches, chosen.splits
    aged = there and bool(people["age"].notna().any() or people["density"].notna().any())
    findings = dataset_table.findings(con)
    rule = (
        f"patches of a quarter of the width; tissue at least {100 * patches.min_tissue:g} %;"
        f" overlap {100 * patches.min_overlap:g} % of the patch {patches.rule} of one finding;"
        f" ambiguous patches: {patches.ambiguous}"
    )
    return {
        "sources": (there, f"source: {kinds}" if there else none),
        "eligibility": (
            there,
            (
                f"every patient of the source that could be read; {skipped} left out, each with its"
                " cause"
                if there
                else none
            ),
        ),
        "preprocessing": (
            there,
            (
                f"films resized to four patches in width; inverted films turned; {len(problems)}"
                " problems listed"
                if there
                else none
            ),
        ),
        "excluded": (
            there,
            (
                f"{skipped} patients left out because a file could not be read (Data page,"
                " Problems); no value was imputed"
                if there
                else none
            ),
        ),
        "scanner": (
            there and bool((films["scanner"] != "").any()),
            "scanner: " + ", ".join(sorted(set(films["scanner"]) - {""})) if there else none,
        ),
        "reference": (
            there,
            (
                "pathology of each finding as the source gives it; the worst finding of an image is"
                " its truth"
                if there
                else none
            ),
        ),
        "unproven": (
            there,
            f"{unproven} findings UNPROVEN: left out of truth and counted" if there else none,
        ),
        "baseline": (
            aged and run is not None,
            (
                "table cohort: age and density by split"
                if aged
                else "the source gives neither age nor density"
            ),
        ),
        "severity": (
            bool(len(findings)),
            (
                "table cohort: findings by pathology; lesion type, assessment and subtlety in the"
                " store"
                if len(findings)
                else none
            ),
        ),
        "patches": (run is not None, rule if run else "deepminer patches"),
        "split": (
            run is not None,
            (
                f"by patient, seed {chosen.study.seed}, {parts.train:.0%} / {parts.holdout:.0%} /"
                " rest; all images of a patient in one split"
                if run
                else "deepminer patches"
            ),
        ),
        "flow": (run is not None, "figure flow, table cohort" if run else "deepminer patches"),
    }


def _network_facts(con: Connection, newest: dict[str, str | None]) -> dict[str, tuple[bool, str]]:
    train, evaluate = newest["train"], newest["evaluate"]
    row = run_table.get(con, train) if train else None
    training: dict[str, Any] = row["settings"]["training"] if row else {}
    steps = (
        f"{training['epochs']} epochs, {training['optimizer']}, learning rate"
        f" {training['learning_rate']:g}, batch {training['batch']}, seed {training['seed']}; run"
        f" {train}"
        if row
        else ""
    )
    versions = (
        ", ".join(
            f"{k} {v}"
            for k, v in row["manifest"]["software"].items()
            if k in ("deepminer", "python", "torch", "torchvision")
        )
        if row
        else ""
    )
    wanted = "deepminer train"
    accuracy = ""
    if evaluate:
        metrics = run_table.metrics(con, evaluate, "test")
        for m in metrics[(metrics["name"] == "auc") & (metrics["class"] == "malignant")].to_dict(
            "records"
        ):
            value = {k: None if m[k] != m[k] else m[k] for k in ("estimate", "low", "high")}
            accuracy += (
                f"{m['level']} AUC {decimal(value['estimate'])}"
                f" ({interval_text(value['low'], value['high'], 0.95, m['reason'])}); "
            )
    measured = "deepminer evaluate"
    done = evaluate is not None
    return {
        "network": (
            bool(row),
            (
                f"{row['manifest']['architecture']}, weights {Path(training['weights']).name}, pool"
                f" {training['pool']}; run {train}"
                if row
                else wanted
            ),
        ),
        "training": (bool(row), steps or wanted),
        "imbalance": (bool(row), f"sampling: {training['sampling']}" if row else wanted),
        "selection": (
            bool(row),
            (
                "the epoch with the best hold-out result (epoch"
                f" {row['manifest']['best_epoch'] + 1})"
                if row
                else wanted
            ),
        ),
        "software": (bool(row), versions if row else wanted),
        "threshold": (
            done,
            (
                "fixed on hold-out, used on test; Performance page and figure roc"
                if done
                else measured
            ),
        ),
        "statistics": (
            done,
            (
                "AUC with patient-clustered intervals (Obuchowski), partial AUC, calibration; each"
                " export's passport names its method"
                if done
                else measured
            ),
        ),
        "accuracy": (done, accuracy + "table classifiers, figure roc" if done else measured),
        "crosstab": (
            done,
            "Performance page, Confusion; table reading for readers" if done else measured,
        ),
        "subgroups": (
            done,
            "figure subgroups: density, view, scanner; exploratory" if done else measured,
        ),
        "failures": (
            done,
            (
                "Performance page, Failures; figure explanations shows a wrong decision of each"
                " class"
                if done
                else measured
            ),
        ),
        "explanation": (
            newest["explain"] is not None,
            (
                "influence of units and their labels; figures units, coverage, explanations"
                if newest["explain"]
                else "deepminer explain"
            ),
        ),
    }


def _expert_facts(con: Connection, dissect: str | None) -> dict[str, tuple[bool, str]]:
    progress = annotation_table.progress(con, dissect) if dissect else None
    count = 0 if progress is None else len(progress)
    chosen = unit_table.selected(con, dissect)["unit"].nunique() if dissect else 0
    return {
        "annotators": (
            count > 0,
            (
                f"{count} annotators of {chosen} selected units; experience on the People page"
                if count
                else "deepminer invite annotator"
            ),
        ),
        "agreement": (
            count > 1,
            (
                "table and figure agreement"
                if count > 1
                else "needs two annotators: deepminer invite annotator"
            ),
        ),
    }


def _reading_facts(con: Connection) -> dict[str, tuple[bool, str]]:
    frozen = [
        p for p in reading_table.protocols(con) if p.state in ("frozen", "closed", "unblinded")
    ]
    if not frozen:
        wanted = (False, "deepminer reading freeze")
        return dict.fromkeys(("hypothesis", "sample", "blinding", "protocol", "limits"), wanted)
    p = frozen[-1]
    warned = [f for f in p.lint if f["severity"] != "note"]
    return {
        "hypothesis": (True, f"frozen before reading: {p.design['hypothesis']}"),
        "sample": (
            True,
            (
                f"planned for {p.design['expected_share']:.0%} right, alpha {p.design['alpha']:g},"
                f" {p.design['readers']} readers; power on the Reading study page"
            ),
        ),
        "blinding": (
            True,
            (
                "readers saw texts only: no truth, score, image or order that tells (linted before"
                " freezing)"
            ),
        ),
        "protocol": (
            True,
            f"{p.protocol}, version {p.version}, hash {p.hash[:12]}; table protocol",
        ),
        "limits": (
            True,
            f"{len(warned)} warnings of the linter with the reasons given; see Limits",
        ),
    }
