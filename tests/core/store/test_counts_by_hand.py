"""Counts and versions that pages and exports show, on rows whose numbers are all different."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from core import store
from core.errors import UserError
from core.sessions.reading_session import ReadingSession
from core.sessions.tokens import load_secret_key
from core.store import (
    annotation_table,
    audit_table,
    blinded_queries,
    dataset_table,
    participant_table,
)
from core.store.labels import category_table, decision_table, label_states
from core.store.reading import bundle_table
from support import synthetic_study

RUN = synthetic_study.DISSECT


def test_progress_of_an_annotator(study: Path) -> None:
    """Five units, of which two revised and one without a label, one repeat, two practice units."""
    mass, other = synthetic_study.mass_answer(), synthetic_study.mass_answer("obscured")
    nothing = {
        "recognisable": "nothing",
        "phenomena": [],
        "confidence": 1,
        "words": "",
        "label": "",
    }
    with store.write(study) as con:
        for unit, answer, options in (
            *((unit, mass, {}) for unit in (1, 2, 3, 4)),
            (2, other, {}),
            (3, other, {}),
            (3, mass, {}),
            (5, nothing, {}),
            (1, other, {"repeat": True}),
            (20, mass, {"practice": True}),
            (21, mass, {"practice": True}),
            (20, other, {"practice": True}),
        ):
            synthetic_study.annotate(con, "A1", unit, answer, **options)
        synthetic_study.annotate(con, "A2", 9, mass, simulated=True)
        progress = annotation_table.annotation_progress_by_expert(con, RUN).set_index("code")
        participants = participant_table.load_participants(con).set_index("code")
    names = ["units", "named", "revised", "repeats"]
    assert progress.loc["A1", names].tolist() == [5, 4, 2, 1]
    assert progress.loc["A2", names].tolist() == [1, 1, 0, 0]
    assert list(progress["simulated"]) == [False, True]
    # Units 1 to 5; practice and repeats are no further units.
    assert participants.loc["A1", "annotated"] == 5


def test_cases_read_do_not_count_practice(study: Path) -> None:
    session = ReadingSession("R1", load_secret_key(study))
    with store.write(study) as con:
        participant_table.add_participant(con, "R1", "reader")
        participant_table.record_consent(con, "R1", "", "text")
        session.assign_order(con, session.protocol(con))
        for _ in range(5 + 3):
            case = session.displayed_case(con, session.protocol(con))
            session.save_answer(con, case.token, 3, 1.0, False)
        session.reopen_previous(con, session.protocol(con))
        assert con.execute("SELECT count(*) FROM answers").fetchone()[0] >= 8
        participants = participant_table.load_participants(con).set_index("code")
    assert participants.loc["R1", "answered"] == 3


def test_the_last_consent_counts_and_a_bundle_holds_all(study: Path) -> None:
    with store.write(study) as con:
        participant_table.add_participant(con, "R1", "reader")
        for number in (1, 2, 3):
            participant_table.record_consent(con, "R1", f"{number} years", f"text {number}")
        participants = participant_table.load_participants(con).set_index("code")
        reader = bundle_table.load_bundle_reader(con, "ZQXSTUDY", 1, "R1")
    assert participants.loc["R1", "experience"] == "3 years"
    assert [(c.experience, c.text) for c in reader.consents] == [
        (f"{number} years", f"text {number}") for number in (1, 2, 3)
    ]


def test_the_last_decision_on_a_unit_counts(study: Path) -> None:
    with store.write(study) as con:
        for unit, label in ((7, "First"), (3, "Other"), (7, "Second"), (7, "Third")):
            decision_table.record_decision(con, RUN, unit, label, [], f"why {label}", "T1")
        decisions = decision_table.load_decisions(con, RUN)
        labels = label_states.unit_labels(con, RUN, [])
    assert decisions[["unit", "label", "reason"]].to_numpy().tolist() == [
        [3, "Other", "why Other"],
        [7, "Third", "why Third"],
    ]
    assert {unit: label.text for unit, label in labels.items()} == {3: "Other", 7: "Third"}


def add_findings(con, rows: list[tuple[str, int, str]], outline: list | None = None) -> None:
    frame = pd.DataFrame(rows, columns=["mammogram_id", "number", "pathology"]).assign(
        lesion_type="MASS", descriptors="{}", nested="[]", report="", assessment=None, subtlety=None
    )
    frame["outline"] = [outline or [[1.0, 2.0], [3.0, 4.0], [5.0, 1.0]]] * len(frame)
    dataset_table.append_rows(con, "findings", frame)


@pytest.mark.parametrize(
    ("image_label", "findings", "truth"),
    [
        (None, [], 0),
        ("NORMAL", [], 0),
        ("BENIGN", [], 1),
        ("BENIGN_WITHOUT_CALLBACK", [], 1),
        ("MALIGNANT", [], 2),
        ("UNPROVEN", [], None),
        ("BENIGN", ["MALIGNANT"], 2),
        ("MALIGNANT", ["BENIGN"], 1),
        ("BENIGN", ["UNPROVEN"], None),
        (None, ["UNPROVEN", "BENIGN"], 1),
        (None, ["BENIGN", "MALIGNANT", "UNPROVEN"], 2),
        (None, ["BENIGN_WITHOUT_CALLBACK"], 1),
    ],
)
def test_truth_of_a_mammogram(study: Path, image_label, findings, truth) -> None:
    """Findings come before the label of the image; nothing unproven becomes normal."""
    with store.write(study) as con:
        con.execute(
            "UPDATE mammograms SET image_label = ? WHERE mammogram_id = 'ZQXCASE003'", [image_label]
        )
        add_findings(con, [("ZQXCASE003", i, p) for i, p in enumerate(findings, start=1)])
        table = dataset_table.load_image_truth(con).set_index("mammogram_id")
    got = table.loc["ZQXCASE003", "truth"]
    assert (None if pd.isna(got) else int(got)) == truth
    assert (table["truth"].drop("ZQXCASE003") == 0).all()


def test_data_hash_covers_what_the_results_rest_on(study: Path) -> None:
    mammogram = "WHERE mammogram_id = 'ZQXCASE003'"
    with store.write(study) as con:
        add_findings(con, [("ZQXCASE003", 1, "BENIGN")])
        hashes = [dataset_table.content_hash(con)]
        for change in (
            "UPDATE findings SET outline = '[[1, 2], [3, 4], [6, 1]]'",
            "UPDATE findings SET pathology = 'MALIGNANT'",
            "UPDATE findings SET lesion_type = 'CALCIFICATION'",
            "UPDATE findings SET subtlety = 3",
            "UPDATE findings SET assessment = 4",
            f"UPDATE mammograms SET image_label = 'BENIGN' {mammogram}",
            f"UPDATE mammograms SET pixel_hash = 'x' {mammogram}",
            f"UPDATE mammograms SET laterality = 'RIGHT' {mammogram}",
            f"UPDATE mammograms SET view = 'MLO' {mammogram}",
            f"UPDATE mammograms SET patient_id = 'ZQXPATIENT000' {mammogram}",
            "UPDATE patients SET density = 3 WHERE patient_id = 'ZQXPATIENT001'",
            "UPDATE patients SET age = 51 WHERE patient_id = 'ZQXPATIENT001'",
        ):
            con.execute(change)
            hashes.append(dataset_table.content_hash(con))
            assert hashes[-1] not in hashes[:-1], change
        # Where the data were read from plays no part.
        con.execute(f"UPDATE mammograms SET file = 'elsewhere' {mammogram}")
        assert dataset_table.content_hash(con) == hashes[-1]


def test_first_pathology_has_the_lowest_number(study: Path) -> None:
    rows = [
        ("ZQXCASE000", 2, "MALIGNANT"),
        ("ZQXCASE000", 1, "BENIGN"),
        ("ZQXCASE001", 3, "NORMAL"),
    ]
    names = ["mammogram_id", "number", "pathology"]
    findings = pd.DataFrame(rows, columns=names).assign(
        lesion_type="MASS", descriptors="{}", outline="[]", nested="[]", report=""
    )
    with store.write(study) as con:
        con.execute("DELETE FROM findings")
        dataset_table.append_rows(con, "findings", findings)
        first = dataset_table.load_first_pathologies(con)
    assert first == {"ZQXCASE000": "BENIGN", "ZQXCASE001": "NORMAL"}


@pytest.mark.parametrize("simulated", [(), ("A1",), ("A2",), ("A1", "A2")])
def test_label_with_a_simulated_annotation_is_simulated(
    study: Path, simulated: tuple[str, ...]
) -> None:
    with store.write(study) as con:
        con.execute("DELETE FROM selected WHERE unit NOT IN (0, 1)")
        for code in ("A1", "A2"):
            for unit in (0, 1):
                is_simulated = code in simulated and unit == 0
                answer = synthetic_study.mass_answer()
                synthetic_study.annotate(con, code, unit, answer, simulated=is_simulated)
        labels = label_states.unit_labels(con, RUN, ())
        ids = {
            (row.code, row.unit): row.annotation_id
            for row in annotation_table.load_annotations(con, RUN).itertuples()
        }
        for unit in (0, 1):
            assert set(labels[unit].annotation_ids) == {ids["A1", unit], ids["A2", unit]}
        assert labels[0].simulated == bool(simulated) and not labels[1].simulated
        sources = [ids["A1", 0], ids["A2", 0]]
        decision_table.record_decision(con, RUN, 0, "Mass", sources, "seen", "T1")
        assert label_states.unit_labels(con, RUN, ())[0].simulated == bool(simulated)


def test_repeated_and_missing_categories_are_refused(study: Path) -> None:
    with store.write(study) as con:
        for categories in ((), ("mass", "mass"), ("mass", "calcification", "mass")):
            with pytest.raises(UserError, match="one or several different categories"):
                category_table.confirm_categories(con, RUN, 3, "Mass", categories, "T1")
        assert category_table.confirmed_categories(con, RUN) == {}
        for unit, categories in ((3, ("mass",)), (4, ("calcification", "mass"))):
            category_table.confirm_categories(con, RUN, unit, "Mass", categories, "T1")
        confirmed = category_table.confirmed_categories(con, RUN)
    assert {unit: names for (unit, _), names in confirmed.items()} == {
        3: ("mass",),
        4: ("calcification", "mass"),
    }


def test_latest_answers_of_an_audit_by_one_expert(study: Path) -> None:
    with store.write(study) as con:
        audit = synthetic_study.add_audit(con, units=1, each=1)
        for code, item, version, answer in (
            ("A1", 1, 1, "no"),
            ("A2", 1, 1, "unsure"),
            ("A1", 1, 2, "yes"),
            ("A1", 3, 1, "no"),
        ):
            audit_table.append_audit_answer(con, audit.audit, code, item, version, answer, 1.0)
        positions = blinded_queries.load_audit_positions(con, audit.audit, "A1")
    found = {p.item: (p.revision, p.answer, p.made is not None) for p in positions}
    assert found == {1: (2, "yes", True), 2: (0, None, False), 3: (1, "no", True)}
    assert {(p.unit, p.label) for p in positions} == {(0, synthetic_study.LABELS[0])}


def test_states_are_stored_and_exported_under_these_names() -> None:
    assert label_states.LABEL_STATES == (
        "provisional",
        "agreed",
        "adjudicated",
        "published",
        "machine",
    )
    assert label_states.PUBLISHED == "published" and label_states.MACHINE == "machine"
    assert (label_states.PROVISIONAL, label_states.AGREED) == ("provisional", "agreed")
    assert label_states.ADJUDICATED == "adjudicated"


def test_postponed_units(study: Path) -> None:
    with store.write(study) as con:
        annotation_table.record_skip(con, RUN, 3, "A1")
        annotation_table.record_skip(con, RUN, 4, "A1", repeat=True)
        annotation_table.record_skip(con, RUN, 3, "A1")
        annotation_table.record_skip(con, RUN, 5, "A2")
        assert annotation_table.skipped_units(con, RUN, "A1") == {(3, False), (4, True)}
        assert annotation_table.skipped_units(con, "dissect-other", "A1") == set()


def test_how_an_answer_came_about_is_stored(study: Path) -> None:
    """Nothing is set that was not stated: an imported answer had no times and no patch labels."""
    flags = ("repeat", "practice", "simulated", "patch_labels_shown")
    answer = synthetic_study.mass_answer()

    with store.write(study) as con:
        participant_table.add_participant(con, "A1", "annotator")
        for unit, stated in enumerate(({}, *({flag: True} for flag in flags))):
            annotation_table.append_annotation(
                con,
                run=RUN,
                unit=unit,
                code="A1",
                answer=answer,
                seconds=2.5 + unit,
                annotation_id=f"own{unit}",
                **stated,
            )
        annotation_table.append_imported_annotation(
            con,
            run=RUN,
            unit=7,
            code="A1",
            answer=answer,
            annotation_id="imported",
            origin="labels.json: unit_0008",
        )
        rows = annotation_table.load_annotations(con, RUN).set_index("annotation_id")
    for unit, stated in enumerate((None, *flags)):
        row = rows.loc[f"own{unit}"]
        assert {flag: bool(row[flag]) for flag in flags} == {flag: flag == stated for flag in flags}
        assert (row["seconds"], row["version"], row["unit"]) == (2.5 + unit, 1, unit)
        assert "origin" not in row["answer"]
    imported = rows.loc["imported"]
    assert not any(imported[flag] for flag in flags) and pd.isna(imported["seconds"])
    assert imported["answer"]["origin"] == "labels.json: unit_0008"
