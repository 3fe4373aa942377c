"""What is measured of a whole study: explanations against reports, architectures, the network's
threshold, the planned readers.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core import lineage, store
from core.errors import UserError
from core.store import run_table, unit_table
from core.store.labels import label_states
from core.store.reading import reading_table
from evaluation.queries import architectures, performance
from evaluation.queries.report_similarity import descriptive_part, measure_report_similarity
from evaluation.reading_study import Design, workflow
from evaluation.similarity import concept_f1, report_tokens


def latest(path: Path, kind: str) -> str:
    with store.read(path) as con:
        return str(run_table.latest_run(con, kind))


def test_verdicts_of_the_report_are_no_reference() -> None:
    line = (
        "LESION_TYPE MASS SHAPE OVAL MARGINS CIRCUMSCRIBED ASSESSMENT 2 SUBTLETY 3 PATHOLOGY BENIGN"
    )
    assert "benign" not in report_tokens(descriptive_part(line)) and "oval" in report_tokens(
        descriptive_part(line)
    )


def test_concept_f1_of_the_top_unit_equals_a_plain_loop(demonstration: Path) -> None:
    run = latest(demonstration, "explain")
    found = next(
        r
        for r in measure_report_similarity(demonstration, run)
        if r.selection == "top unit" and r.measure == "Concept F1"
    )
    with store.read(demonstration) as con:
        table, labels = (
            unit_table.load_explanations(con, run),
            label_states.unit_labels(con, lineage.ancestor_run(demonstration, run, "dissect"), []),
        )
        lines = con.execute(
            "SELECT mammogram_id, report FROM findings ORDER BY mammogram_id, number"
        ).df()
        values = []
        for row in table.to_dict("records"):
            report = " ".join(
                descriptive_part(r)
                for r in lines[lines["mammogram_id"] == row["mammogram_id"]]["report"]
            )
            if not report:
                continue
            influences = unit_table.load_influences(con, run, row["mammogram_id"])
            mine = influences[
                (influences["class"] == max(row["predicted"], 0)) & (influences["rank"] <= 8)
            ].sort_values("rank")
            text = next((labels[u].text for u in mine["unit"] if u in labels), "")
            values.append(concept_f1(report_tokens(report), report_tokens(text)).f1)
    known = [v for v in values if v is not None]
    assert found.result.pairs == len(known) and found.result.undefined == len(values) - len(known)
    assert found.result.mean.estimate == pytest.approx(float(np.mean(known)))


def test_a_word_vector_file_of_the_settings_is_used_and_named(
    demonstration: Path, tmp_path: Path
) -> None:
    study = tmp_path / "study"
    shutil.copytree(demonstration, study)
    run = latest(study, "explain")
    own = next(r for r in measure_report_similarity(study, run) if r.selection == "top eight")
    assert own.vectors == "the study's own lines" and own.result.oov_reference == 0
    settings = study / "study.toml"
    settings.write_text(
        settings.read_text()
        + ("" if "[evaluation]" in settings.read_text() else '[evaluation]\nword_vectors = ""\n')
    )
    settings.write_text(
        settings.read_text().replace('word_vectors = ""', 'word_vectors = "glove.txt"')
    )
    with pytest.raises(UserError, match="no such word-vector file"):
        measure_report_similarity(study, run)
    (study / "glove.txt").write_text("mass 1 0 0\nspiculated 0 1 0\ncircumscribed 0 0\n")
    with pytest.raises(UserError, match="glove.txt, line 3"):
        measure_report_similarity(study, run)
    (study / "glove.txt").write_text("mass 1 0 0\nspiculated 0 1 0\ncircumscribed 0 0 1\n")
    found = next(r for r in measure_report_similarity(study, run) if r.selection == "top eight")
    # Three words only: the others are out of vocabulary, and the rate says so.
    assert found.vectors == "glove.txt" and (found.result.oov_reference or 0) > 0


def test_architectures_repeat_the_stored_metrics(demonstration: Path) -> None:
    row = architectures.load_architectures(demonstration, "test", "patch")[-1]
    fresh = {
        r.name: r.auc
        for r in performance.load_class_results(demonstration, row.run, "test", "patch")
    }
    for name, auc in row.auc.items():
        assert auc.estimate == pytest.approx(fresh[name].estimate) and auc.low == pytest.approx(
            fresh[name].low
        )
        assert (auc.positives, auc.negatives) == (fresh[name].positives, fresh[name].negatives)
    assert architectures.PUBLISHED_ARCHITECTURES["vgg16"][0]["malignant"] == 0.8929


def test_the_networks_threshold_comes_from_hold_out_and_is_used(demonstration: Path) -> None:
    run = latest(demonstration, "explain")
    threshold = workflow.holdout_threshold(demonstration, run, Design())
    assert threshold is not None
    protocol, score = workflow.score_protocol(demonstration)
    with store.read(demonstration) as con:
        cases = reading_table.load_reading_cases(con, protocol.protocol, protocol.version)
        evaluate = run_table.ancestor(con, run, "evaluate")
        films = unit_table.load_image_scores(con, evaluate, "holdout")
    assert threshold in set(films["s_malignant"])
    mine = cases[cases["arm"] == score.design.arms[0]]
    assert score.network.threshold == threshold
    assert score.network.right == int(
        ((mine["network_score"] >= threshold) == (mine["truth"] == "malignant")).sum()
    )


def test_planned_readers_fill_up_with_the_codes_of_invitations(own_study: Path) -> None:
    from core.store import participant_table

    assert workflow.planned_reader_codes(own_study, Design(readers=3)) == ["R1", "R2", "R3"]
    with store.write(own_study) as con:
        participant_table.add_participant(con, "R2", "reader")
    assert workflow.planned_reader_codes(own_study, replace(Design(), readers=3)) == [
        "R2",
        "R1",
        "R3",
    ]
