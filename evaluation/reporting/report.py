"""The report of a study: its figures, tables and methods text in the order of a paper.

Nothing in it is written by hand. Where an input is missing, the report names the step that supplies
it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from core import lineage, settings
from core.atomic_files import write_text
from core.errors import UserError
from core.progress import ProgressCallback
from evaluation.annotation.efficiency import annotation_efficiency
from evaluation.annotation.group_measures import measure_groups
from evaluation.annotation.stability import load_stability
from evaluation.annotation.sufficiency import load_sufficiency
from evaluation.queries import provenance
from evaluation.queries.provenance import MissingInput, ProvenanceRecord
from evaluation.reading_study.narrative import narrative_paragraphs
from evaluation.reporting.base import (
    caption_suffix,
    load_closed_study,
    newest_run,
    remember_scores,
)
from evaluation.reporting.blocks import Block, FigureBlock, Heading, Paragraph, TableBlock
from evaluation.reporting.figures import FIGURES
from evaluation.reporting.figures.export import render_figure
from evaluation.reporting.html_writer import render_html
from evaluation.reporting.methods_text import methods_sentences
from evaluation.reporting.pdf_writer import require_weasyprint, write_pdf
from evaluation.reporting.report_text import (
    limitation_sentences,
    provenance_sentences,
    summary_sentences,
)
from evaluation.reporting.tables import TABLES
from evaluation.reporting.tables.export import build_table

_READING_STUDY, _EXPLANATIONS = "Reading study", "Explanations"
_UNITS = "Units and their names"
# The parts of the results in the order of a paper, with the names of their figures and tables.
RESULTS = (
    ("Patients", ("flow",), ("cohort",)),
    (
        "Classifier",
        ("roc", "calibration", "decision", "subgroups"),
        ("classifiers", "operating_points", "architectures"),
    ),
    (
        _UNITS,
        ("units", "categories", "coverage", "agreement", "ablation"),
        ("categories", "coverage", "agreement"),
    ),
    (_EXPLANATIONS, ("explanations",), ("similarity",)),
    (_READING_STUDY, ("reading", "time_order"), ("reading", "truth_rules", "examples")),
)
REPORT_INPUTS = ("data", *provenance.RUN_KINDS, "labels", "annotations", "picks", "protocol")


def build_blocks(study: Path, report: ProgressCallback) -> list[Block]:
    """Return the whole report as blocks, in order."""
    with remember_scores():
        blocks = _build_blocks(study, report)
    noun = settings.load_image_noun(study)
    return [
        replace(block, text=settings.in_study_words(block.text, noun))
        if isinstance(block, Paragraph)
        else block
        for block in blocks
    ]


def _build_blocks(study: Path, report: ProgressCallback) -> list[Block]:
    blocks: list[Block] = [
        Heading(settings.load_settings(study).study.name),
        *_warnings(study),
        Heading("Summary"),
        *(Paragraph(text) for text in summary_sentences(study)),
        Heading("Methods"),
        *_figure_blocks(study, "framework"),
        *(Paragraph(text) for text in methods_sentences(study)),
    ]
    total = sum(len(figures) + len(tables) for _, figures, tables in RESULTS)
    done = 0
    for title, figures, tables in RESULTS:
        blocks.append(Heading(title))
        if title == _READING_STUDY:
            blocks += _reading_study_paragraphs(study)
        if title == _UNITS:
            blocks += _efficiency_paragraph(study)
        if title == _EXPLANATIONS:
            blocks += _sufficiency_paragraph(study)
            blocks += _stability_paragraph(study)
        for build, names in ((_figure_blocks, figures), (_table_blocks, tables)):
            for name in names:
                blocks += build(study, name)
                done += 1
                report(done, total, "parts")
        if title == _READING_STUDY:
            blocks += _question_blocks(study)
    return [
        *blocks,
        Heading("Limitations"),
        *(Paragraph(text) for text in limitation_sentences(study)),
        Heading("Reporting checklists"),
        *_table_blocks(study, "checklist"),
        Heading("Provenance"),
        *(Paragraph(text) for text in provenance_sentences(study)),
        *_table_blocks(study, "protocol"),
    ]


def _warnings(study: Path) -> list[Block]:
    """Return the paragraphs that must precede every result, where they apply."""
    warnings: list[Block] = []
    simulated = provenance.simulated_parts(study, ("data", "labels", "annotations", "protocol"))
    if simulated:
        text = f"SIMULATED: {simulated}. Nothing in this report is a result about people."
        warnings.append(Paragraph(text, strong=True))
    if lineage.has_image_level_labels(study):
        text = (
            "Labels are image-level: every tissue patch carries the diagnosis of its mammogram. All"
            " numbers are based on these weak labels."
        )
        warnings.append(Paragraph(text, strong=True))
    warnings += [Paragraph(text, strong=True) for text in lineage.truth_statements(study)]
    return warnings


def _figure_blocks(study: Path, name: str) -> list[Block]:
    """Return a figure, or the paragraph that names its missing input."""
    spec = FIGURES[name]
    try:
        result, simulated = render_figure(study, spec, spec.width)
    except MissingInput as missing:
        return [_missing_paragraph(f'Figure "{spec.title}"', missing)]
    caption = result.caption + caption_suffix(study, simulated)
    return [FigureBlock(spec.title, result, caption)]


def _table_blocks(study: Path, name: str) -> list[Block]:
    """Return a table, or the paragraph that names its missing input."""
    spec = TABLES[name]
    try:
        return [TableBlock(spec.title, build_table(study, spec))]
    except MissingInput as missing:
        return [_missing_paragraph(f'Table "{spec.title}"', missing)]


def _question_blocks(study: Path) -> list[Block]:
    """Return the answers to the questions of the reading study; nothing without questions."""
    spec = TABLES["questions"]
    try:
        return [TableBlock(spec.title, build_table(study, spec))]
    except MissingInput:
        # Few designs ask questions; that no study is closed is stated by the other tables.
        return []


def _missing_paragraph(title: str, missing: MissingInput) -> Paragraph:
    next_command = f" Next command: {missing.command}." if missing.command else ""
    return Paragraph(f"{title} is not available: {missing.reason}.{next_command}")


def _efficiency_paragraph(study: Path) -> list[Block]:
    """Return the expert time against the labelled coverage; nothing before the first answer."""
    try:
        efficiency = annotation_efficiency(study, newest_run(study, "dissect"))
    except MissingInput:
        # The figures of units name the missing step.
        return []
    if efficiency is None or not efficiency.answers:
        return []
    measures = measure_groups(study, newest_run(study, "dissect"))
    sentences = [] if measures is None else measures.sentences()
    return [Paragraph(text) for text in (efficiency.sentence(), *sentences)]


def _sufficiency_paragraph(study: Path) -> list[Block]:
    """Return what the named units carry alone of the decision, or the step that measures it."""
    try:
        result = load_sufficiency(study, newest_run(study, "dissect"))
    except MissingInput:
        # The figures of explanations name the missing step.
        return []
    if result is None:
        text = (
            "Sufficiency of the named units is not available. Next command: deepminer sufficiency."
        )
        return [Paragraph(text)]
    return [Paragraph(result.sentence())]


def _stability_paragraph(study: Path) -> list[Block]:
    """Return which names came back in repeated trainings; nothing without any."""
    try:
        stability = load_stability(study, newest_run(study, "dissect"))
    except MissingInput:
        # The figures of units name the missing step.
        return []
    return [] if stability is None else [Paragraph(stability.sentence())]


def _reading_study_paragraphs(study: Path) -> list[Block]:
    """Return the statistics paragraph of the closed reading study."""
    try:
        protocol, score = load_closed_study(study)
    except (MissingInput, UserError) as error:
        return [Paragraph(f"No result: {error}.".replace("..", "."))]
    return [
        Paragraph(f"{protocol.protocol}, version {protocol.version}, protocol {protocol.hash}."),
        *(Paragraph(text) for text in narrative_paragraphs(score)),
    ]


def write_report(study: Path, out: Path, report: ProgressCallback) -> ProvenanceRecord:
    """Write the report to a .html or .pdf file, with its provenance record beside it.

    UserError where the folder does not exist, or a PDF is impossible on this machine.
    """
    if not out.parent.is_dir():
        raise UserError(
            f"{out.parent} is not a folder; create it, or name another file with --out."
        )
    if out.suffix == ".pdf":
        # Before the figures are drawn, which takes a minute.
        require_weasyprint()
    blocks = build_blocks(study, report)
    if out.suffix == ".pdf":
        write_pdf(blocks, out)
    else:
        write_text(out, render_html(blocks))
    tables = {
        block.title: block.table.raw_frame().to_csv(index=False, float_format="%.10g")
        for block in blocks
        if isinstance(block, TableBlock)
    }
    record = ProvenanceRecord(
        name=out.name,
        kind="report",
        title="Report",
        caption="",
        counts={},
        method="",
        seed=provenance.study_seed(study),
        simulated=provenance.simulated_parts(study, REPORT_INPUTS),
        inputs=provenance.current_inputs(study, REPORT_INPUTS),
        data_hash=provenance.hash_tables(tables),
        command=f"deepminer report --study STUDY --out {out.name}",
        software=provenance.export_software(),
        evidence=provenance.evidence_head(study),
        files=(out.name,),
    )
    record.write(out.parent)
    return record
