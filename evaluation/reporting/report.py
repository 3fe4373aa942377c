"""The report of a study: the same figures, tables and sentences as the pages, in the order of a
paper, as one HTML file or a PDF.

Nothing in it is typed by hand: where an input is missing, the report says which step makes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core import settings, store
from core.errors import UserError
from core.store import dataset_table, run_table
from evaluation.intervals import percent, words
from evaluation.queries import provenance as passport
from evaluation.queries import study_overview
from evaluation.queries.provenance import Missing, Passport, closed_protocol
from evaluation.reading_study.leakage_checks import reason_for
from evaluation.reporting.figures import FIGURES
from evaluation.reporting.figures.base import Drawn
from evaluation.reporting.figures.export import caption_tail, draw
from evaluation.reporting.figures.reading_study import scored
from evaluation.reporting.tables import TABLES, Table

Report = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Heading:
    """A heading of level 1 (a part) or 2."""

    text: str
    level: int = 1


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; strong: set off as a warning."""

    text: str
    strong: bool = False


@dataclass(frozen=True)
class Picture:
    """A figure with its caption."""

    title: str
    drawn: Drawn
    caption: str


@dataclass(frozen=True)
class Grid:
    """A table with its title and note."""

    title: str
    table: Table


Block = Heading | Paragraph | Picture | Grid
# The order of a paper; each name is a figure or a table.
RESULTS = (
    ("Patients", ("flow",), ("cohort",)),
    ("Classifier", ("roc", "calibration", "subgroups"), ("classifiers", "architectures")),
    (
        "Units and their names",
        ("units", "coverage", "agreement", "ablation"),
        ("coverage", "agreement"),
    ),
    ("Explanations", ("explanations",), ("similarity",)),
    ("Reading study", ("reading", "time_order"), ("reading", "truth_rules", "examples")),
)


def blocks(study: Path, report: Report) -> list[Block]:
    """The whole report as blocks, in order."""
    title = settings.load(study).study.name
    every = ("data", "labels", "annotations", "protocol")
    parts = passport.simulated_parts(study, every)
    found: list[Block] = [Heading(title)]
    if parts:
        found.append(
            Paragraph(
                f"SIMULATED: {parts}. Nothing in this report is a result about people.", strong=True
            )
        )
    if passport.image_level_labels(study):
        found.append(
            Paragraph(
                "Labels are image-level: every tissue patch carries its film's diagnosis. All"
                " numbers are made from such weak labels.",
                strong=True,
            )
        )
    found += [
        Heading("Methods"),
        *_figure(study, "framework"),
        *(Paragraph(text) for text in methods(study)),
    ]
    total = sum(len(figures) + len(tables) for _, figures, tables in RESULTS)
    done = 0
    for name, figures, tables in RESULTS:
        found.append(Heading(name))
        if name == "Reading study":
            found += _paragraph(study)
        for build, names in ((_figure, figures), (_table, tables)):
            for item in names:
                found += build(study, item)
                done += 1
                report(done, total, "parts")
    found += [Heading("Limits"), *(Paragraph(text) for text in limits(study))]
    found += [
        Heading("Reporting checklists"),
        *_table(study, "checklist"),
        Heading("Provenance"),
        *(Paragraph(text) for text in provenance(study)),
        *_table(study, "protocol"),
    ]
    return found


def _missing(title: str, missing: Missing) -> list[Block]:
    return [
        Paragraph(
            f"{title}: not there, because {missing.reason}."
            + (f" Next: {missing.command}." if missing.command else "")
        )
    ]


def _figure(study: Path, name: str) -> list[Block]:
    kind = FIGURES[name]
    try:
        drawn, parts = draw(study, kind, kind.width)
    except Missing as missing:
        return _missing(f'Figure "{kind.title}"', missing)
    return [Picture(kind.title, drawn, drawn.caption + caption_tail(study, parts))]


def _table(study: Path, name: str) -> list[Block]:
    kind = TABLES[name]
    try:
        return [Grid(kind.title, kind.build(study))]
    except Missing as missing:
        return _missing(f'Table "{kind.title}"', missing)


def _paragraph(study: Path) -> list[Block]:
    """The statistics paragraph of the closed reading study."""
    try:
        protocol, score = scored(study)
    except (Missing, UserError) as error:
        return [Paragraph(f"No result: {error}.".replace("..", "."))]
    return [
        Paragraph(f"{protocol.protocol}, version {protocol.version}, protocol {protocol.hash}."),
        Paragraph(score.paragraph()),
    ]


def methods(study: Path) -> list[str]:
    """Sentences for a methods section, from the settings and manifests of the newest runs."""
    chosen = settings.load(study)
    with store.read(study) as con:
        newest = {
            kind: run_table.latest(con, kind)
            for kind in ("train", "evaluate", "dissect", "explain")
        }
        rows = {kind: run_table.get(con, run) for kind, run in newest.items() if run}
        closed = closed_protocol(con)
    p, s = chosen.patches, chosen.splits
    found = [
        (
            f"Patients were assigned to training, hold-out and test ({percent(s.train, 0)},"
            f" {percent(s.holdout, 0)}, the rest; seed {chosen.study.seed}); all images of a"
            " patient are in one split."
        ),
        "Patches with a side of 25 % of the mammogram's width were taken at half their side; a"
        f" patch was kept if tissue covered at least {percent(p.min_tissue, 0)} of it. A class"
        f" counted if its findings covered {percent(p.min_overlap, 0)} of the patch {p.rule}"
        f" {percent(p.min_overlap, 0)} of one finding lay in it; malignant came before benign, all"
        " other patches were normal"
        + (" (those that touched a finding were left out)." if p.ambiguous == "drop" else "."),
    ]
    if "train" in rows:
        t, made = rows["train"]["settings"]["training"], rows["train"]["manifest"]
        found.append(
            f"The network ({made['architecture']}, starting weights: {Path(t['weights']).name}) was"
            f" trained for {t['epochs']} epochs with {t['optimizer']}, learning rate"
            f" {t['learning_rate']:g}, batches of {t['batch']}, seed {t['seed']}; the epoch that"
            f" did best on hold-out was kept (epoch {made['best_epoch'] + 1})."
        )
    if "evaluate" in rows:
        found.append(
            "Performance: area under the ROC curve of one class against the rest with intervals by"
            " Obuchowski's method, patients as clusters; partial area over sensitivity .8 to 1;"
            " thresholds fixed on hold-out. Scores of images and cases are the largest lesion"
            " probabilities over tissue."
        )
    if "dissect" in rows:
        d, made = rows["dissect"]["settings"]["dissection"], rows["dissect"]["manifest"]
        found.append(
            f'Units: the channels of layer "{made["layer"]}" ({made["units"]}). Influence of a unit'
            f" on a class: {made['influence']}. Per class the "
            f"{d['select']} units most often among the {d['top']} with the largest influence on"
            " hold-out mammograms were selected and shown to experts by "
            "their top patches."
        )
    if closed is not None:
        q, side = closed.design, "one-sided" if closed.design["side"] == "greater" else "two-sided"
        found.append(
            f"Reading study: {q['texts']} labels per case from the most influential labelled units,"
            f" arms {', '.join(map(words, q['arms']))}, truth rule {words(q['truth_rule'])},"
            f" answers 1 to {q['scale']}, primary analysis {words(q['primary'])} ({side}, alpha"
            f" {q['alpha']:g}), frozen before reading with hash {closed.hash[:12]}. Hypothesis:"
            f" {q['hypothesis']}"
        )
    return found


def limits(study: Path) -> list[str]:
    """What the linter found, with the reasons given, and what the study warns of itself."""
    found = list(study_overview.warnings(study))
    with store.read(study) as con:
        closed = closed_protocol(con)
        problems = dataset_table.problems(con)
    if len(problems):
        found.append(
            f"{len(problems)} problems came in with the data, such as: {problems['item'].iloc[0]}:"
            f" {problems['cause'].iloc[0]}."
        )
    if closed is not None:
        reasons = closed.design.get("reasons", {})
        found += [
            f"Linter, {f['severity']}, {f['field']}: {f['finding']}."
            + (
                f" Accepted because: {why}."
                if f["severity"] == "warning"
                and (why := reason_for(reasons, f["field"], f["finding"]))
                else ""
            )
            for f in closed.lint
            if f["severity"] != "note"
        ]
        if closed.design["readers"] == 1:
            found.append("One reader: the result does not generalise to readers.")
    return found or ["Nothing was found by the linter; that is no proof of anything."]


def provenance(study: Path) -> list[str]:
    """Runs, versions and hashes."""
    now = passport.inputs(study, ("data", *passport.RUN_KINDS, "protocol"))
    versions = ", ".join(f"{k} {v}" for k, v in passport.software().items())
    runs = ", ".join(value for name, value in now.items() if name in passport.RUN_KINDS and value)
    return [
        (
            f"Data {now['data'][:16] or 'none'}; runs {runs or 'none'}; protocol"
            f" {now['protocol'] or 'none'}."
        ),
        f"Versions: {versions}.",
        (
            "Made by: deepminer report --study STUDY --out FILE. Figures and tables alone:"
            " deepminer figures all, deepminer tables all."
        ),
    ]


def write_report(study: Path, out: Path, report: Report) -> Passport:
    """Write the report to a .html or .pdf file, with its passport beside it."""
    from evaluation.reporting.html_writer import as_html
    from evaluation.reporting.pdf_writer import write_pdf

    if not out.parent.is_dir():
        raise UserError(f"{out.parent} is not a folder; make it, or name another file with --out.")
    found = blocks(study, report)
    if out.suffix == ".pdf":
        write_pdf(found, out)
    else:
        out.write_text(as_html(found), encoding="utf-8")
    needs = ("data", *passport.RUN_KINDS, "labels", "annotations", "picks", "protocol")
    tables = {
        b.title: b.table.raw().to_csv(index=False, float_format="%.10g")
        for b in found
        if isinstance(b, Grid)
    }
    parts = passport.simulated_parts(study, needs)
    made = Passport(
        name=out.name,
        kind="report",
        title="Report",
        caption="",
        counts={},
        method="",
        seed=passport.seed_of(study),
        simulated=parts,
        inputs=passport.inputs(study, needs),
        data_hash=passport.data_hash(tables),
        command=f"deepminer report --study STUDY --out {out.name}",
        software=passport.software(),
        files=(out.name,),
    )
    made.write(out.parent)
    return made
