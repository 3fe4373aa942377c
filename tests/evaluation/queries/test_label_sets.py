"""The label set that is chosen by name decides the labels, and stands in every result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.text import Text

from core import lineage, store
from core.errors import UserError
from core.pipeline import explain
from core.settings import load_settings
from core.store import run_table, unit_table
from core.store.labels import decision_table, label_sets
from core.store.reading import protocol_table
from evaluation.queries.explanations import load_explanation
from evaluation.reading_study import DESIGN_PRESETS, Design, workflow
from evaluation.reporting.figures import FIGURES
from evaluation.reporting.figures.export import render_figure
from evaluation.reporting.methods_text import reading_sentences
from evaluation.reporting.tables.reading_study import frozen_protocol_table


def test_chosen_label_set_reaches_every_result(own_study: Path) -> None:
    """One unit, the most influential of a case, is decided: the consensus then has one label."""
    with store.write(own_study) as con:
        run = run_table.latest_run(con, "explain") or ""
        dissect = run_table.ancestor(con, run, "dissect")
        mammogram = str(unit_table.load_explanations(con, run)["mammogram_id"].iloc[0])
        con.execute("DELETE FROM decisions")
        decided = int(unit_table.load_explanations(con, run)["predicted"].iloc[0])
        influences = unit_table.load_influences(con, run, mammogram)
        unit = int(influences[influences["class"] == decided]["unit"].iloc[0])
        decision_table.record_decision(con, dissect, unit, "Pectoral muscle", [], "seen", "team")
        sizes = label_sets.list_label_sets(con, dissect)
    assert sizes["consensus"] == 1 and sizes["default"] > 1
    # Without a choice nothing changes, and the default has a name.
    assert load_explanation(own_study, run, mammogram).label_set == "default"
    case = load_explanation(own_study, run, mammogram, "consensus")
    assert {u.label for u in case.units} == {"Pectoral muscle", None} and not case.simulated
    with pytest.raises(UserError, match="choose one of default, consensus"):
        load_explanation(own_study, run, mammogram, "nobody")

    settings, quiet = load_settings(own_study), lambda *_: None
    made = explain.run_explanation(
        own_study, settings, quiet, mammograms=[mammogram], label_set="consensus"
    )
    plain = explain.run_explanation(own_study, settings, quiet, mammograms=[mammogram])
    assert made.created and plain.run != made.run
    assert lineage.run_label_set(own_study, made.run) == "consensus"
    assert lineage.run_label_set(own_study, plain.run) == "default"
    assert load_explanation(own_study, made.run, mammogram).label_set == "consensus"
    with pytest.raises(UserError, match="'nobody' names no unit"):
        explain.run_explanation(own_study, settings, quiet, label_set="nobody")

    result, simulated = render_figure(own_study, FIGURES["units"], 174, "consensus")
    assert 'Label set "consensus"' in result.caption and simulated == "images"
    assert any("Pectoral" in t.get_text() for t in result.figure.findobj(Text))

    designs = [Design(label_set=name) for name in ("default", "consensus")]
    assert "label_set" not in designs[0].as_dict()
    texts = [
        {
            text
            for texts in workflow.candidate_images(own_study, run, design)["texts"]
            for text in texts
        }
        for design in designs
    ]
    assert texts[1] == {"Pectoral muscle"} and len(texts[0]) > 1
    created = workflow.create_protocol(own_study, "Named", designs[1], "team", explain=run)
    with store.read(own_study) as con:
        protocol = protocol_table.find_protocol(con, "Named", created.version)
    assert 'Label set "consensus"' in reading_sentences(protocol)
    rows = dict(frozen_protocol_table(protocol).rows)
    assert rows["labels"].endswith("Labels: 1 adjudicated.")
    # A protocol of an earlier version has no such record: the rule of that time is stated.
    earlier = {k: v for k, v in protocol.design.items() if k not in ("labels", "label_set")}
    assert "the first expert's latest answer" in workflow.frozen_label_sentence(
        replace(protocol, design=earlier)
    )
    assert rows["labels"].startswith('Label set "consensus"')
    assert all(preset.label_set == "default" for preset in DESIGN_PRESETS.values())
