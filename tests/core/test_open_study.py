"""core.open_study: tables of a study for notebooks, read only, answers only after closing."""

from __future__ import annotations

from pathlib import Path

import pytest

import core
from core import store
from core.errors import MissingRunError, MissingStudyError, UserError
from core.store.reading import protocol_table
from core.store.reading.protocol_states import OPEN_STATES, RESULT_STATES


def file_states(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of change of every file below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def test_tables(demonstration: Path) -> None:
    study = core.open_study(str(demonstration))
    patients, patches = study.patients(), study.patches()
    assert set(patches["patient_id"]) <= set(patients["patient_id"])
    assert {"label", "split", "y", "x", "side"} <= set(patches)
    assert set(study.labels()["unit"]) <= set(
        range(study.runs("dissect")["manifest"].iloc[-1]["units"])
    )
    assert study.labels()["simulated"].all()
    explanations = study.explanations()
    assert explanations["mammogram_id"].is_unique and set(explanations["split"]) <= {
        "holdout",
        "test",
    }


def test_units(demonstration: Path) -> None:
    study = core.open_study(demonstration)
    units = study.units()
    assert units.groupby("class")["rank"].apply(lambda ranks: list(ranks) == [*range(1, 9)]).all()
    assert units["share"].between(0, 1).all() and (units["mean_influence"] != 0).any()
    # More units cover more of the most influential ones.
    for _, coverage in units.groupby("class")["coverage"]:
        assert coverage.is_monotonic_increasing and coverage.between(0, 1).all()
    assert not units["dead"].any() and units["name"].iloc[0].startswith("unit_")


def test_nothing_is_written(own_study: Path) -> None:
    before = file_states(own_study)
    study = core.open_study(own_study)
    for table in (study.patients, study.patches, study.units, study.labels, study.explanations):
        assert len(table())
    assert file_states(own_study) == before


def test_answers_need_a_closed_protocol(demonstration: Path) -> None:
    study = core.open_study(demonstration)
    with store.read(demonstration) as con:
        protocols = protocol_table.list_protocols(con)
    closed = next(p for p in protocols if p.state in RESULT_STATES)
    still_open = next(p for p in protocols if p.state in OPEN_STATES)
    answers = study.answers(closed.protocol)
    assert len(answers) and answers.equals(study.answers(closed.protocol, closed.version))
    with pytest.raises(UserError, match="results are hidden until it is closed"):
        study.answers(still_open.protocol)
    with pytest.raises(UserError, match="There is no reading study called 'none'"):
        study.answers("none")
    with pytest.raises(UserError, match=f"{closed.protocol}' has no version 99"):
        study.answers(closed.protocol, 99)


def test_missing_run_and_study(demonstration: Path, tmp_path: Path) -> None:
    study = core.open_study(demonstration)
    with pytest.raises(MissingRunError, match="There is no run dissect-0"):
        study.units("dissect-0")
    with pytest.raises(UserError, match="a dissect run is needed"):
        study.units(study.runs("patches")["run"].iloc[-1])
    with pytest.raises(MissingStudyError, match="not a study folder"):
        core.open_study(tmp_path)
