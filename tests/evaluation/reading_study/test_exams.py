"""Exams as cases: pooling over films, selection, pictures of each film, what readers receive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from core import lineage, store
from core.class_labels import MAMMOGRAPHY
from core.errors import UserError
from core.images.blinded_rendering import FILM_PLACES
from core.sessions.reading_instructions import EXAM_INSTRUCTION, reading_instructions
from core.store import blinded_queries, dataset_table, participant_table
from core.store.reading import reading_table
from dashboard.components.reading import READING_ROUTES
from dashboard.server import context
from dashboard.server.image_routes import IMAGE_ROUTES
from evaluation.reading_study import Design, choose_cases, label_texts, site_bundles, workflow
from evaluation.reading_study.narrative.verdict import stimuli
from evaluation.reading_study.workflow import candidates
from evaluation.reading_study.workflow.exams import film_slots, pool_exams, pool_influences
from support import synthetic_study
from support.advice_study import NAME, add_advice_study
from support.image_arms import close_open_study, freeze_image_study
from support.route_requests import RouteClient

SIDES, VIEWS = ("RIGHT", "LEFT"), ("CC", "MLO")
RULES = ("any_malignant", "first_abnormality")
EXAMS = {"case_unit": "exam", "single_films": "in"}


def film_table(patients: int = 3, seed: int = 1) -> pd.DataFrame:
    """Return four explained films of each patient."""
    generator = np.random.default_rng(seed)
    rows = [
        {
            "mammogram_id": f"{patient}-{side}-{view}",
            "patient_id": f"P{patient}",
            "split": "test",
            "laterality": side,
            "view": view,
            "lesion_class": int(generator.integers(1, 3)),
            "p_normal": generator.random(),
            "p_benign": generator.random(),
            "p_malignant": generator.random(),
        }
        for patient in range(patients)
        for side in SIDES
        for view in VIEWS
    ]
    return pd.DataFrame(rows).sample(frac=1, random_state=seed, ignore_index=True)


def film_counts(films: pd.DataFrame) -> pd.Series:
    """Return the number of films of each patient."""
    return films["patient_id"].value_counts()


@pytest.mark.parametrize(
    ("arm", "unit", "words"),
    [
        ("image", "exam", "exams"),
        ("image_explanation", "exam", "exams with texts"),
        ("advice_units", "exam", "exams with advice"),
        ("image_explanation", "image", "images with texts"),
        ("class_map", "exam", "class maps"),
        ("explanation", "image", "texts"),
    ],
)
def test_results_name_what_was_read(arm: str, unit: str, words: str) -> None:
    score = SimpleNamespace(design=SimpleNamespace(arms=(arm,), case_unit=unit))
    assert stimuli(score) == words


def test_scores_of_an_exam_are_the_extremes_of_its_films() -> None:
    films = film_table()
    exams = pool_exams(films, film_counts(films), MAMMOGRAPHY).set_index("patient_id")
    for patient, rows in films.groupby("patient_id"):
        exam = exams.loc[patient]
        assert exam["p_malignant"] == rows["p_malignant"].max()
        assert exam["p_benign"] == rows["p_benign"].max()
        assert exam["p_normal"] == rows["p_normal"].min()
        deciding = rows.loc[rows["p_malignant"].idxmax()]
        assert exam["mammogram_id"] == deciding["mammogram_id"]
        assert exam["lesion_class"] == deciding["lesion_class"]
        assert exam["films"] == tuple(place.name for place in FILM_PLACES)
        assert exam["fits"]


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({}, True),
        ({"view": "XCCL"}, False),  # another view
        ({"view": "MLO"}, False),  # a view of that side twice
        ({"laterality": ""}, False),  # no side
        ({"patient_id": "P9"}, False),  # an ingested film that is not explained
    ],
)
def test_an_exam_fits_the_layout_or_not(change: dict[str, str], fits: bool) -> None:
    films = film_table(1)
    changed = films["mammogram_id"] == "0-RIGHT-CC"
    for name, value in change.items():
        films.loc[changed, name] = value
    exams = pool_exams(films, pd.Series({"P0": 4, "P9": 1}), MAMMOGRAPHY).set_index("patient_id")
    assert bool(exams.loc["P0", "fits"]) is fits


def test_pooled_influences_are_those_of_all_films_together() -> None:
    generator = np.random.default_rng(2)
    films = film_table(1)
    maxima = generator.random((len(films), 200)) * 9  # largest value of each unit's map
    weights = generator.normal(size=200)
    stored = []
    for film, values in zip(films["mammogram_id"], maxima * weights, strict=True):
        for rank, unit in enumerate(np.argsort(-values)[:64], start=1):
            stored.append((film, "P0", 2, rank, unit, values[unit]))
    columns = ["mammogram_id", "patient_id", "class", "rank", "unit", "influence"]
    pooled = pool_influences(pd.DataFrame(stored, columns=columns), films).head(64)
    expected = np.max(maxima * weights, axis=0)
    order = np.argsort(-expected)[:64]
    assert pooled["unit"].tolist() == order.tolist()
    assert pooled["influence"].to_numpy() == pytest.approx(expected[order])
    slots = film_slots(films["laterality"], films["view"])
    shown = [FILM_PLACES[slots[film]].name for film in np.argmax(maxima * weights, axis=0)[order]]
    assert pooled["film"].tolist() == shown


def candidate_exams(films: dict[str, tuple[str, ...]]) -> pd.DataFrame:
    """Return eligible exams with these films, malignant and benign in turn."""
    return pd.DataFrame(
        [
            {
                "mammogram_id": f"m{i}",
                "patient_id": patient,
                "split": "test",
                "network_score": i / len(films),
                "predicted": "malignant",
                "texts": ("Mass", "Skin"),
                "text_films": (names[0], names[-1]),
                "random_texts": ("Vessel",),
                "films": names,
                "fits": patient != "ODD",
                "any_malignant": "malignant" if i % 2 else "benign",
            }
            for i, (patient, names) in enumerate(films.items())
        ]
    )


PAIRS = {f"P{i}": ("left CC", "left MLO") if i % 4 < 2 else ("right CC",) * 2 for i in range(12)}
SINGLES = {"S1": ("left CC",), "S2": ("right MLO",)}


def test_exams_of_a_single_film_are_asked_about() -> None:
    images = candidate_exams(PAIRS | SINGLES)
    with pytest.raises(
        UserError, match=r"2 of 14 exams .* single film \(patients S1, S2\)"
    ) as said:
        choose_cases(images, Design(case_unit="exam"))
    assert "single_films" in str(said.value)
    cases, flow = choose_cases(images, Design(case_unit="exam", single_films="in"))
    assert {"S1", "S2"} <= set(cases["patient_id"])
    cases, flow = choose_cases(images, Design(case_unit="exam", single_films="out"))
    assert not {"S1", "S2"} & set(cases["patient_id"])
    assert ("two films or more", 24, 12) in flow.steps


def test_exams_that_do_not_fit_are_left_out_and_counted() -> None:
    images = candidate_exams(PAIRS | {"ODD": ("left CC", "left MLO")})
    cases, flow = choose_cases(images, Design(case_unit="exam"))
    assert "ODD" not in set(cases["patient_id"])
    assert flow.steps[:2] == (
        ("test split", 26, 13),
        ("every film explained, one CC and MLO a side at most", 24, 12),
    )


def test_texts_name_films_and_sham_texts_only_films_of_the_case() -> None:
    design = Design(
        arms=("explanation", "shuffled", "random_units"),
        comparison_share=1.0,
        case_unit="exam",
    )
    cases, _ = choose_cases(candidate_exams(PAIRS), design)
    for row in cases.itertuples():
        films = PAIRS[row.patient_id]
        if row.arm == "explanation":
            assert row.texts == (f"Mass ({films[0]})", f"Skin ({films[-1]})")
        else:
            assert all(text.endswith(tuple(f"({film})" for film in films)) for text in row.texts)
    assert set(label_texts(cases, design)) == {("Mass", "Skin"), ("Vessel",)}
    images = candidate_exams(PAIRS).drop(columns=["films", "text_films", "fits"])
    cases, _ = choose_cases(images, Design(arms=("explanation",)))
    assert set(cases["texts"]) == {("Mass", "Skin")}


def test_the_truth_of_an_exam_is_its_worst_known_finding(own_study: Path) -> None:
    with store.write(own_study) as con:
        images = dataset_table.load_image_truth(con)
        patient = images[images["truth"] == 2]["patient_id"].iloc[0]
        first, second = sorted(images[images["patient_id"] == patient]["mammogram_id"])
        con.execute("DELETE FROM findings WHERE mammogram_id = ?", [first])
        con.execute("UPDATE findings SET pathology = 'UNPROVEN' WHERE mammogram_id = ?", [second])

        def truths(**settings: str) -> dict[str, tuple[str | None, str | None]]:
            table = candidates.load_truth_by_rule(con, Design(**settings)).set_index("mammogram_id")
            return {
                name: tuple(None if pd.isna(row[rule]) else row[rule] for rule in RULES)
                for name, row in table.loc[[first, second]].iterrows()
            }

        assert truths() == {first: (None, None), second: ("unproven", "unproven")}
        # A film without finding is known to be normal, which the classes compared do not include.
        assert truths(case_unit="exam") == {first: (None, None), second: (None, None)}
        con.execute("UPDATE findings SET pathology = 'BENIGN' WHERE mammogram_id = ?", [second])
        assert truths()[first] == (None, None)
        assert truths(case_unit="exam") == {first: ("benign",) * 2, second: ("benign",) * 2}


@pytest.fixture
def exam_study(own_study: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RouteClient]:
    """The routes of the reading page over an open study of exams with two arms."""
    close_open_study(own_study)
    freeze_image_study(own_study, ("image_explanation", "class_map"), "Exams", **EXAMS)
    with store.write(own_study) as con:
        for code in ("R1", "R2"):
            participant_table.add_participant(con, code, "reader")
            participant_table.record_consent(con, code, "", "yes")
    monkeypatch.setenv(context.STUDY_VARIABLE, str(own_study))
    client = RouteClient([*READING_ROUTES, *IMAGE_ROUTES])
    client.study = own_study
    yield client
    context.group_commit_writer(own_study).close()
    client.close()


def test_readers_receive_each_film_and_nothing_else(exam_study: RouteClient) -> None:
    with store.read(exam_study.study) as con:
        cases = reading_table.load_reading_cases(con, "Exams", 1)
        secrets = [
            name
            for row in con.execute(
                "SELECT mammogram_id, patient_id, file FROM mammograms"
            ).fetchall()
            for name in row
        ]
        pictures = reading_table.load_case_pictures(con, "Exams", 1)
    # Every film of the patient in its place, once for each case.
    assert {(p.case_number, p.slot) for p in pictures if p.case_number > 0} >= {
        (number, 0 if "RIGHT" in mammogram else 1)
        for number, mammogram in zip(cases["case_number"], cases["mammogram_id"], strict=True)
    }
    status, state = exam_study.post("R1", "begin")
    assert status == 200
    sizes, bodies, films, kinds, old = set(), [], [], set(), []
    while state["stage"] == "case":
        case = state["case"]
        text = json.dumps(state)
        assert not any(secret in text for secret in secrets)
        assert case["image"] is None
        if not case["practice"] or case["films"]:
            assert [film["name"] for film in case["films"]] in (
                ["right CC", "right MLO"],
                ["left CC", "left MLO"],
            )
        for film in case["films"]:
            assert set(film) == {"kind", "url", "side", "view", "name"}
            kinds.add(film["kind"])
            status, body = exam_study.send("R1", "GET", film["url"])
            assert status == 200
            assert exam_study.send("R2", "GET", film["url"])[0] == 403
            sizes.add(len(body))
            bodies.append(body)
            films.append(film["url"])
        for url in old[:-4]:  # those of cases that cannot be reopened
            assert exam_study.send("R1", "GET", url)[0] == 403
        old = list(films)
        _, state = exam_study.post("R1", "answer", token=case["token"], answer=3, seconds=1.0)
    assert kinds == {"film", "class_map"}
    assert len(sizes) == 1 and len(set(bodies)) == len(bodies)
    assert len(set(films)) == len(films)


def test_images_of_advice_are_not_among_those_of_the_case(tmp_path: Path) -> None:
    study = synthetic_study.create_study(tmp_path / "study", protocol=False)
    add_advice_study(study)
    with store.read(study) as con:
        stored = reading_table.load_case_pictures(con, NAME, 1)
        shown = [
            picture
            for number in range(1, 7)
            for picture in blinded_queries.load_case_content(
                con, NAME, 1, number, len(FILM_PLACES)
            )[1]
        ]
    assert {picture.slot for picture in stored} == {0, 4}
    assert {(slot, kind) for slot, kind, _ in shown} == {(0, "film")} and len(shown) == 6


def test_a_bundle_keeps_the_places_of_films(exam_study: RouteClient, tmp_path: Path) -> None:
    made = site_bundles.create_bundle(exam_study.study, tmp_path / "away", "Exams", "team")
    with store.read(exam_study.study) as con, store.read(made.folder) as there:
        home = reading_table.load_case_pictures(con, "Exams", 1)
        away = reading_table.load_case_pictures(there, "Exams", 1)
    places = [(p.case_number, p.slot, p.kind) for p in home]
    assert places == [(p.case_number, p.slot, p.kind) for p in away]
    assert {slot for _, slot, _ in places} == {0, 1, 2, 3}


def test_candidates_of_a_study_name_the_film_of_each_text(own_study: Path) -> None:
    run = lineage.resolve_run(own_study, "explain", None)
    design = Design(**EXAMS)
    exams = candidates.candidate_images(own_study, run, design)
    images = candidates.candidate_images(own_study, run, Design())
    assert exams["patient_id"].is_unique
    assert set(exams["patient_id"]) == set(images["patient_id"])
    largest = images.groupby("patient_id")["network_score"].max()
    assert exams.set_index("patient_id")["network_score"].to_dict() == largest.to_dict()
    assert exams["fits"].all()
    for row in exams.itertuples():
        assert len(row.text_films) == len(row.texts)
        assert set(row.text_films) <= set(row.films) and len(row.films) == 2


def test_a_design_of_exams_is_stored_and_explained_to_readers(own_study: Path) -> None:
    design = Design(**EXAMS).as_dict()
    assert (design["case_unit"], design["single_films"]) == ("exam", "in")
    assert not {"case_unit", "single_films"} & set(Design().as_dict())
    told = reading_instructions(design, has_images=True)
    assert EXAM_INSTRUCTION in " ".join(told.paragraphs) and "this exam" in told.question
    assert EXAM_INSTRUCTION not in " ".join(reading_instructions({}, has_images=True).paragraphs)
    with pytest.raises(UserError, match="single_films is 'never'"):
        Design(case_unit="exam", single_films="never")
    created = workflow.create_protocol(own_study, "Exams", Design(**EXAMS), "team")
    assert "images of" in created.flow.sentence()
