"""Interim looks: due by the plan, once each, recorded, and silent about the estimate."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from core import store
from core.errors import UserError
from core.sessions.reading_session import ReadingSession
from core.store import participant_table, run_table
from core.store.evidence import verify_chain
from core.store.reading import bundle_table, protocol_table, reading_table
from dashboard.commands.reading_study import reading_app
from evaluation.group_sequential import nominal_levels
from evaluation.reading_study import design_preset, workflow
from evaluation.reading_study.design import Design
from evaluation.reading_study.joined_answers import join_answers
from evaluation.reading_study.narrative import narrative
from evaluation.reading_study.primary.interim import information_share, interim_look
from support import explained_study
from support.explained_study import NAME

LEVELS = nominal_levels(2, 0.05)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A frozen study of 16 cases in one arm, one reader, two looks."""
    with pytest.MonkeyPatch.context() as patch:
        explained_study.use_few_permutations(patch)
        study = explained_study.create_study(tmp_path_factory.mktemp("looks") / "study")
        explained_study.frozen(
            study, arms=("explanation",), repeats=0, looks=2, primary="exact_binomial"
        )
        with store.write(study) as con:
            participant_table.add_participant(con, "R1", "reader")
            protocol = protocol_table.find_protocol(con, NAME, 1)
            ReadingSession("R1", b"secret").assign_order(con, protocol)
        yield study


@pytest.fixture
def study(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "study"))


def read_cases(study: Path, count: int, correct: int, skip: int = 0) -> None:
    """Give the next answers of the reader, the first of them correct ones."""
    with store.write(study) as con:
        protocol = protocol_table.find_protocol(con, NAME, 1)
        truth = reading_table.load_reading_cases(con, NAME, 1).set_index("case_number")["truth"]
        items = reading_table.load_reading_items(con, NAME, 1)
        items = items[~items["practice"].astype(bool)].iloc[skip : skip + count]
        for number, item in enumerate(items.itertuples()):
            malignant = (truth[item.case_number] == "malignant") == (number < correct)
            reading_table.append_reading_answer(
                con,
                protocol=protocol,
                code="R1",
                position=int(item.position),
                revision=1,
                answer=6 if malignant else 1,
                seconds=2.0,
            )


def take(study: Path, confirm: str = NAME) -> tuple[protocol_table.Protocol, object]:
    return workflow.take_interim_look(study, NAME, "team", confirm=confirm)


def traces(study: Path) -> tuple[int, int, str]:
    """Return the number of log rows and evidence records, and the state."""
    with store.read(study) as con:
        records = con.execute("SELECT count(*) FROM evidence").fetchone()[0]
        state = protocol_table.find_protocol(con, NAME, 1).state
        return len(run_table.load_log(con)), records, state


def test_a_look_that_crosses_its_boundary_closes_the_study(study: Path) -> None:
    # 8 of 8 by the exact binomial test: P = 1 / 256 = .0039, below .0056.
    read_cases(study, 8, correct=8)
    protocol, look = take(study)
    assert look.stops and protocol.state == "closed"
    assert (look.number, look.information, look.answers) == (1, 0.5, 8)
    assert look.boundary == pytest.approx(LEVELS[0])
    _, score = workflow.score_protocol(study, NAME)
    primary = score.primary
    assert (primary.n, primary.look, primary.missing) == (8, 1, 0)
    assert primary.final_alpha == pytest.approx(LEVELS[0]) and primary.significant
    assert primary.p_value == pytest.approx(1 / 256)
    text = narrative(score)
    assert "tested at .0056 at look 1 of 2, which stopped the study" in text
    # What was not read then is not missing.
    assert score.conduct.missing and "assigned answer" not in text
    assert "look 1 at 50 % of the planned answers, boundary P .0056: stop" in text
    with store.read(study) as con:
        verified = verify_chain(con)
    assert not verified.faults and verified.counts["interim_look"] == 1


def test_a_look_below_its_boundary_changes_nothing_else(study: Path) -> None:
    read_cases(study, 8, correct=7)
    logged, _, _ = traces(study)
    protocol, look = take(study)
    assert not look.stops and protocol.state == "reading"
    # P of 7 of 8 is .0352: significant without the rule.
    assert set(asdict(look)) == {"number", "information", "answers", "boundary", "stops"}
    assert traces(study)[0] == logged + 1
    with pytest.raises(UserError, match="results are hidden until it is closed"):
        workflow.score_protocol(study, NAME)
    with pytest.raises(UserError, match="Every planned interim look .* has been taken"):
        take(study)
    read_cases(study, 8, correct=5, skip=8)
    with pytest.raises(UserError, match="Every planned interim look .* has been taken"):
        take(study)
    workflow.close_protocol(study, NAME, "team", confirm=NAME)
    _, score = workflow.score_protocol(study, NAME)
    assert (score.primary.n, score.primary.correct, score.primary.look) == (16, 12, 2)
    assert score.primary.final_alpha == pytest.approx(LEVELS[1])
    assert "tested at .0482 as the last of 2 looks" in narrative(score)
    assert "boundary P .0056: continue" in narrative(score)


@pytest.mark.parametrize("cases", [0, 7])
def test_a_look_is_not_taken_before_it_is_due(study: Path, cases: int) -> None:
    read_cases(study, cases, correct=cases)
    before = traces(study)
    with pytest.raises(UserError, match=r"Look 1 of 2 .* needs 50.0 % of the planned answers"):
        take(study)
    assert traces(study) == before
    with store.read(study) as con:
        coming = workflow.next_look(con, NAME, 1)
    assert coming is not None and not coming.is_due and coming.information == cases / 16


def test_a_look_needs_the_name_and_an_open_planned_study(study: Path) -> None:
    read_cases(study, 8, correct=8)
    before = traces(study)
    with pytest.raises(UserError, match="Type the study's name exactly"):
        take(study, confirm="other")
    with store.write(study) as con:
        con.execute("UPDATE reading_cases SET truth = 'benign' WHERE case_number = 1")
    with pytest.raises(UserError, match="frozen"):
        take(study)
    with store.write(study) as con:
        con.execute("UPDATE reading_cases SET truth = 'malignant' WHERE case_number = 1")
    assert traces(study) == before
    workflow.close_protocol(study, NAME, "team", confirm=NAME)
    with pytest.raises(UserError, match="this needs a version that is frozen or reading"):
        take(study)
    assert "none was taken" in narrative(workflow.score_protocol(study, NAME)[1])


def test_a_site_bundle_has_no_looks(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_cases(study, 8, correct=8)
    before = traces(study)
    monkeypatch.setattr(bundle_table, "bundle_identity", lambda con: ("site", 1))
    with pytest.raises(UserError, match="site bundle without ground truth"):
        take(study)
    assert traces(study) == before


def test_a_design_without_looks_has_none(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    explained_study.use_few_permutations(monkeypatch)
    explained_study.frozen(study, "Plain", arms=("explanation",))
    with pytest.raises(UserError, match="plans no interim look"):
        workflow.take_interim_look(study, "Plain", "team", confirm="Plain")
    with store.read(study) as con:
        assert workflow.next_look(con, "Plain", 1) is None


def test_the_record_of_a_look_cannot_be_removed_unnoticed(study: Path) -> None:
    read_cases(study, 8, correct=4)
    take(study)
    with store.write(study) as con:
        con.execute("DELETE FROM interim_looks")
    with store.read(study) as con:
        faults = verify_chain(con).faults
    assert [fault.kind for fault in faults] == ["interim_look"]


def test_command_tells_the_decision_alone(study: Path) -> None:
    read_cases(study, 8, correct=7)

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(reading_app, [*arguments, "--study", str(study)])
        assert result.exception is None, result.exception
        return result.output

    result = json.loads(run("look", "--confirm", NAME, "--json"))["result"]
    assert result == {
        "protocol": NAME,
        "version": 1,
        "look": 1,
        "information": 0.5,
        "boundary": pytest.approx(LEVELS[0]),
        "stop": False,
    }


def two_arm_answers(images: int, readers: int = 2) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Answers of readers to the first images in both arms, and the key of 20 images."""
    key = pd.DataFrame(
        {
            "case_number": range(40),
            "mammogram_id": [f"m{i}" for i in range(20)] * 2,
            "patient_id": [f"p{i}" for i in range(20)] * 2,
            "arm": ["explanation"] * 20 + ["image"] * 20,
            "truth": ["malignant", "benign"] * 20,
            "texts": [()] * 40,
            "network_score": 0.5,
        }
    )
    read = key[key["mammogram_id"].isin([f"m{i}" for i in range(images)])]
    rng = np.random.default_rng(1)
    answers = pd.concat(
        read[["case_number"]].assign(
            code=f"R{r}", repeat=False, answer=rng.integers(1, 7, len(read))
        )
        for r in range(readers)
    )
    return answers, key


def test_information_of_a_comparison_counts_pairs_of_all_planned_readers() -> None:
    design = design_preset(
        "Recommended", arms=("explanation", "image"), primary="auc_difference", readers=3, looks=2
    )
    answers, key = two_arm_answers(15)
    share = information_share(join_answers(answers, key, design), key, design)
    assert share == pytest.approx(2 / 3 * 15 / 20)
    # An image that one reader has not read in one arm is no pair.
    fewer = answers[~((answers["code"] == "R1") & (answers["case_number"] == 0))]
    share = information_share(join_answers(fewer, key, design), key, design)
    assert share == pytest.approx(2 / 3 * 14 / 20)


def test_unread_cases_are_not_missing_and_no_estimate_is_no_stop() -> None:
    answers, key = two_arm_answers(10, readers=1)
    design = design_preset(
        "Recommended", arms=("explanation",), readers=1, looks=2, missing_answers="counted_wrong"
    )
    first = key[key["arm"] == "explanation"]
    given = answers[answers["case_number"] < 20]
    joined = join_answers(given, first, design)
    look = interim_look(joined, first, design, 1)
    assert (look.answers, look.information) == (10, 0.5)
    constant = join_answers(given.assign(answer=3), first, design)
    assert not interim_look(constant, first, design, 1).stops
    for number in (0, 2):
        with pytest.raises(ValueError, match="no interim look of 2 planned"):
            interim_look(joined, first, design, number)


def test_default_stopping_rule_names_the_looks() -> None:
    assert "interim look" in design_preset("Recommended", looks=2).stopping
    assert design_preset("Recommended").stopping == Design().stopping
    assert design_preset("Recommended", looks=2, stopping="Own rule.").stopping == "Own rule."
