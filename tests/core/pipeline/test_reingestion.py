"""A source that is ingested again: corrected patients replace those of the study."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import settings, store
from core.errors import UserError
from core.pipeline import ingest, patches
from core.store import dataset_table, problem_table, withdrawal
from core.study_folder import create_study
from evaluation.queries.study_overview import step_cards
from support.study_templates import copy_template

CHOSEN = settings.settings_from_preset(settings.PHANTOM_PRESET)
HEIGHT, WIDTH = 300, 256
INSIDE, IN_THE_AIR = "box 20 120 70 170", "box 190 120 240 170"


def build_empty_study(path: Path) -> None:
    create_study(path, CHOSEN)


def quiet(*_: object) -> None:
    return None


def write_film(path: Path, seed: int) -> None:
    """Write a breast at the left edge, 130 px deep, on black."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    texture = np.random.default_rng(seed).normal(110, 12, (HEIGHT, WIDTH))
    breast = (x / 130) ** 2 + ((y - 150) / 110) ** 2 < 1
    Image.fromarray(np.where(breast, texture, 2).clip(0, 255).astype(np.uint8)).save(path)


def write_table(folder: Path, outlines: list[str]) -> Path:
    lines = ["image,patient,laterality,view,pathology,outline"]
    for k, outline in enumerate(outlines):
        if not (folder / f"{k}.png").exists():
            write_film(folder / f"{k}.png", k)
        lines.append(f'{k}.png,P{k},LEFT,CC,MALIGNANT,"{outline}"')
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def run_ingestion(study: Path, path: Path, **more: object) -> ingest.IngestionResult:
    return ingest.ingest(study, CHOSEN, "manifest", path, quiet, **more)  # type: ignore[arg-type]


def state(study: Path) -> tuple[dict[str, int], str | None, list[str], list[str]]:
    """Return counts, hash of the data, names of the images, and causes of the problems."""
    with store.read(study) as con:
        return (
            dataset_table.dataset_counts(con),
            dataset_table.get_meta(con, "data_hash"),
            sorted(file.name for file in (study / "images").iterdir()),
            sorted(problem_table.list_problems(con)["cause"]),
        )


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study of three patients, the second outlined in the air."""
    study = copy_template(build_empty_study, tmp_path / "study")
    run_ingestion(study, write_table(tmp_path, [INSIDE, IN_THE_AIR, INSIDE]))
    return study


def test_corrected_outline_replaces_the_patient(study: Path, tmp_path: Path) -> None:
    earlier = patches.run_patch_extraction(study, CHOSEN, quiet)
    before = state(study)
    assert len(before[3]) == 1
    result = run_ingestion(study, write_table(tmp_path, [INSIDE, INSIDE, INSIDE]))
    assert (result.patients, result.replaced, result.already_ingested) == (1, 1, False)
    after = state(study)
    # The film itself is the same, so its images are; the problem has left the list.
    assert after[0] == before[0] and after[2] == before[2] and after[3] == []
    assert after[1] != before[1]
    with store.read(study) as con:
        outline = dataset_table.load_findings(con, ["P1.LEFT_CC"])["outline"].iloc[0][0]
        sources = dataset_table.load_sources(con)
    assert outline[:, 0].max() < 130
    assert list(sources["patients"]) == [2, 1]
    # What rested on the earlier content is out of date, and is made again.
    (card,) = [card for card in step_cards(study) if card.command == "deepminer patches"]
    assert card.state == "stale"
    later = patches.run_patch_extraction(study, CHOSEN, quiet)
    assert later.created and later.run != earlier.run
    with store.read(study) as con:
        assert len(dataset_table.load_splits(con, later.run)) == 3
    assert run_ingestion(study, tmp_path / "table.csv").already_ingested


def test_corrected_film_gets_new_images(study: Path, tmp_path: Path) -> None:
    before = state(study)
    write_film(tmp_path / "0.png", 77)
    result = run_ingestion(study, tmp_path / "table.csv")
    assert (result.patients, result.replaced) == (1, 1)
    after = state(study)
    assert len(after[2]) == len(before[2]) and set(after[2]) != set(before[2])
    with store.read(study) as con:
        files = set(dataset_table.load_mammograms(con)["file"])
    # No file without a mammogram, no mammogram without its file.
    assert {name.split(".")[0] for name in after[2]} == files


def test_same_content_written_again_changes_nothing(study: Path, tmp_path: Path) -> None:
    with store.write(study) as con:
        name = problem_table.list_problems(con)["problem_id"][0]
        problem_table.resolve_problems(con, [name], problem_table.ACCEPTED, "team")
    before = state(study)
    os.utime(tmp_path / "1.png", (1, 1))
    assert run_ingestion(study, tmp_path / "table.csv").already_ingested
    assert state(study) == before
    with store.read(study) as con:
        assert list(problem_table.list_problems(con)["resolution"]) == ["accepted"]


def test_failure_leaves_the_earlier_content(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(study)
    images = {name: (study / "images" / name).read_bytes() for name in before[2]}
    write_film(tmp_path / "0.png", 77)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dataset_table, "append_rows", fail)
    with pytest.raises(OSError):
        run_ingestion(study, tmp_path / "table.csv")
    monkeypatch.undo()
    after = state(study)
    assert (after[:2], after[3]) == (before[:2], before[3])
    assert all((study / "images" / name).read_bytes() == data for name, data in images.items())
    # The new images were moved before the failure; the next command finds them in place.
    assert run_ingestion(study, tmp_path / "table.csv").replaced == 1


def test_patient_of_an_open_reading_study_is_not_replaced(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state(study)

    def refuse(con: store.Connection, patients: Collection[str], purpose: str) -> None:
        if patients:
            raise UserError(f"a study shows {min(patients)}; close it, then {purpose}.")

    monkeypatch.setattr(withdrawal, "check_not_shown", refuse)
    write_film(tmp_path / "0.png", 77)
    with pytest.raises(UserError, match="shows P0; close it, then ingest the corrected source"):
        run_ingestion(study, tmp_path / "table.csv")
    assert state(study) == before


def test_damaged_file_keeps_the_earlier_content(study: Path, tmp_path: Path) -> None:
    before = state(study)
    (tmp_path / "0.png").write_bytes(b"\x89PNG cut")
    with pytest.raises(UserError, match="0.png"):
        run_ingestion(study, tmp_path / "table.csv")
    assert state(study) == before
    run_ingestion(study, tmp_path / "table.csv", skip_bad=True)
    after = state(study)
    assert after[:3] == before[:3] and len(after[3]) == len(before[3]) + 1


def test_withdrawn_patient_does_not_come_back(study: Path, tmp_path: Path) -> None:
    with store.write(study) as con:
        withdrawal.withdraw_patient(con, "P0", "team")
        rows = con.execute("SELECT count(*) FROM ingested_patients WHERE patient_id = 'P0'")
        assert rows.fetchone() == (0,)
    write_film(tmp_path / "0.png", 77)
    run_ingestion(study, tmp_path / "table.csv")
    counts, _, _, causes = state(study)
    assert counts["patients"] == 2 and "patient P0 was withdrawn from the study" in causes


def test_problems_of_the_source_leave_the_list_when_repaired(tmp_path: Path) -> None:
    """A patient that was left out is listed once, and no more after the file was repaired."""
    study = copy_template(build_empty_study, tmp_path / "study")
    path = write_table(tmp_path, [INSIDE, INSIDE])
    whole = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(b"\x89PNG cut")
    for _ in range(2):
        run_ingestion(study, path, skip_bad=True)
        (cause,) = state(study)[3]
        assert "1.png" in cause and "does not exist" not in cause
    # Another reason takes the place of the earlier one.
    (tmp_path / "1.png").unlink()
    run_ingestion(study, path, skip_bad=True)
    (cause,) = state(study)[3]
    assert "does not exist" in cause
    (tmp_path / "1.png").write_bytes(whole)
    assert run_ingestion(study, path).patients == 1
    assert state(study)[3] == []


def test_outlines_of_a_whole_source_in_other_units(tmp_path: Path) -> None:
    """Some lie in the breast by chance: nothing of the source is used until it is decided."""
    study = copy_template(build_empty_study, tmp_path / "study")
    path = write_table(tmp_path, [IN_THE_AIR] * 3 + [INSIDE] * 5)
    run_ingestion(study, path)
    with store.read(study) as con:
        listed = problem_table.list_problems(con, code="doubtful_source")
    assert len(listed) == 8 and set(listed["cause"]) == {
        "3 of the 8 outlines of the source are misplaced: flipped, or other units?"
    }
    with pytest.raises(UserError, match="findings of 8 mammograms are doubtful"):
        patches.run_patch_extraction(study, CHOSEN, quiet)
    # With the outlines corrected the problems leave the list, of unchanged patients too.
    result = run_ingestion(study, write_table(tmp_path, [INSIDE] * 8))
    assert result.replaced == 3
    with store.read(study) as con:
        assert len(problem_table.list_problems(con)) == 0


def test_film_without_a_clear_side_is_listed_and_used(tmp_path: Path) -> None:
    """Its breast fills the film, so that its side cannot be compared with the table."""
    study = copy_template(build_empty_study, tmp_path / "study")
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    texture = np.random.default_rng(0).normal(110, 12, (HEIGHT, WIDTH))
    breast = ((x - 128) / 125) ** 2 + ((y - 150) / 110) ** 2 < 1
    Image.fromarray(np.where(breast, texture, 2).clip(0, 255).astype(np.uint8)).save(
        tmp_path / "0.png"
    )
    run_ingestion(study, write_table(tmp_path, ["box 100 120 150 170"]))
    with store.read(study) as con:
        listed = problem_table.list_problems(con)
    assert list(zip(listed["item"], listed["code"])) == [("P0.LEFT_CC", "unclear_side")]
    step = patches.run_patch_extraction(study, CHOSEN, quiet)
    with store.read(study) as con:
        assert dataset_table.load_patches(con, step.run)["label"].max() == 2


def test_film_of_the_other_side_is_listed(tmp_path: Path) -> None:
    """Its chest wall is at the right, that of the other left breasts at the left."""
    study = copy_template(build_empty_study, tmp_path / "study")
    lines = ["image,patient,laterality,view,pathology,outline"]
    y, x = np.mgrid[:80, :64]
    for k in range(21):
        texture = np.random.default_rng(k).normal(110, 12, (80, 64))
        film = np.where((x / 50) ** 2 + ((y - 40) / 30) ** 2 < 1, texture, 2).clip(0, 255)
        pixels = film.astype(np.uint8)
        Image.fromarray(pixels[:, ::-1] if k == 7 else pixels).save(tmp_path / f"{k}.png")
        # In the middle of the film, where both a film and its mirror image hold tissue.
        lines.append(f'{k}.png,P{k},LEFT,CC,MALIGNANT,"box 26 30 38 50"')
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    run_ingestion(study, tmp_path / "table.csv")
    with store.read(study) as con:
        listed = problem_table.list_problems(con)
    assert list(zip(listed["item"], listed["code"])) == [("P7.LEFT_CC, finding 1", "other_side")]
    step = patches.run_patch_extraction(study, CHOSEN, quiet)
    with store.read(study) as con:
        films = set(dataset_table.load_patches(con, step.run)["mammogram_id"])
    assert len(films) == 20 and "P7.LEFT_CC" not in films


def test_remarks_about_a_patient_leave_the_list_when_repaired(tmp_path: Path) -> None:
    """Also those without a kind, such as that of an outline that was clipped."""
    study = copy_template(build_empty_study, tmp_path / "study")
    run_ingestion(study, write_table(tmp_path, [INSIDE, "box -1 120 60 170"]))
    (cause,) = state(study)[3]
    assert "leaves the film" in cause
    run_ingestion(study, write_table(tmp_path, [INSIDE, INSIDE]))
    assert state(study)[3] == []


class _CountingConnection:
    """Counts the statements of a connection."""

    def __init__(self, con: store.Connection, statements: list[str]) -> None:
        self._con, self._statements = con, statements

    def execute(self, query: str, *parameters: object) -> store.Connection:
        self._statements.append(query)
        return self._con.execute(query, *parameters)

    def __getattr__(self, name: str) -> object:
        return getattr(self._con, name)


def test_the_number_of_statements_does_not_depend_on_that_of_patients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the time of a whole corrected source grows with its patients, not their square."""
    counts = []
    for patients in (2, 6):
        folder = tmp_path / str(patients)
        folder.mkdir()
        study = copy_template(build_empty_study, folder / "study")
        run_ingestion(study, write_table(folder, [IN_THE_AIR] * patients))
        write_table(folder, [INSIDE] * patients)
        statements: list[str] = []
        with monkeypatch.context() as patch:
            for name in ("read", "write"):
                patch.setattr(store, name, _counted(getattr(store, name), statements))
            assert run_ingestion(study, folder / "table.csv").replaced == patients
        counts.append(len(statements))
    assert counts[0] == counts[1] > 10


def _counted(opened: Callable[..., AbstractContextManager], statements: list[str]) -> Callable:
    @contextmanager
    def open_counted(*given: object, **more: object) -> Iterator[_CountingConnection]:
        with opened(*given, **more) as con:
            yield _CountingConnection(con, statements)

    return open_counted


def test_patient_of_the_study_in_another_spelling(study: Path, tmp_path: Path) -> None:
    """A second table must not bring the images of one patient into two splits."""
    before = state(study)
    write_film(tmp_path / "new.png", 31)
    path = tmp_path / "second.csv"
    path.write_text("image,patient,laterality,view,pathology\nnew.png,p0,LEFT,MLO,NORMAL\n")
    with pytest.raises(UserError, match="patient p0 is in the study already as P0"):
        run_ingestion(study, path)
    assert state(study) == before
    path.write_text(path.read_text().replace("p0", "P00"))
    assert run_ingestion(study, path).patients == 1
