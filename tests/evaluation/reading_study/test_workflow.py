"""Check, freezing, closing and scoring: of what was checked and of the version named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import core
from core import store
from core.errors import UserError
from core.sessions import reading_instructions
from core.sessions.reading_session import ReadingSession
from core.store import participant_table, run_table
from core.store.reading import protocol_table, reading_table
from core.store.reading.protocol_states import PROTOCOL_STATES
from evaluation.queries import provenance
from evaluation.queries.reading_states import load_reading_states
from evaluation.queries.study_status import study_status
from evaluation.reading_study import workflow
from evaluation.reading_study.workflow import pictures
from evaluation.reporting.base import MissingInput, load_closed_study, primary_answers
from evaluation.reporting.tables.reading_study import build_protocol_table
from support import explained_study
from support.explained_study import NAME

ALL_ARMS = ("explanation", "shuffled", "class_map", "image")


@pytest.fixture(scope="module", autouse=True)
def few_permutations() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        explained_study.use_few_permutations(patch)
        yield


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return explained_study.create_study(tmp_path_factory.mktemp("explained") / "study")


@pytest.fixture(scope="module")
def checked_template(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = tmp_path_factory.mktemp("checked") / "study"
    shutil.copytree(template, study)
    explained_study.checked(study, arms=ALL_ARMS, prevalence_told=True)
    return study


@pytest.fixture(scope="module")
def frozen_template(checked_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = tmp_path_factory.mktemp("frozen") / "study"
    shutil.copytree(checked_template, study)
    freeze(study)
    return study


@pytest.fixture(scope="module")
def begun_template(frozen_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = tmp_path_factory.mktemp("begun") / "study"
    shutil.copytree(frozen_template, study)
    read_all(study, "R1", 1)
    return study


@pytest.fixture
def designing(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "study"))


@pytest.fixture
def checked(checked_template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checked_template, tmp_path / "study"))


@pytest.fixture
def frozen(frozen_template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(frozen_template, tmp_path / "study"))


@pytest.fixture
def begun(begun_template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(begun_template, tmp_path / "study"))


def find(study: Path, version: int = 1) -> protocol_table.Protocol:
    with store.read(study) as con:
        return protocol_table.find_protocol(con, NAME, version)


def freeze(study: Path, version: int = 1) -> protocol_table.Protocol:
    reasons = explained_study.accepted(find(study, version))
    return workflow.freeze_protocol(study, NAME, "team", reasons, version=version)


def close(study: Path, version: int | None = 1, confirm: str = NAME) -> protocol_table.Protocol:
    return workflow.close_protocol(study, NAME, "team", confirm=confirm, version=version)


def read_all(study: Path, code: str, version: int) -> None:
    """Give every answer of one reader: 4 and 2 by turns."""
    with store.write(study) as con:
        if participant_table.participant_role(con, code) is None:
            participant_table.add_participant(con, code, "reader")
        protocol = protocol_table.find_protocol(con, NAME, version)
        ReadingSession(code, b"secret").assign_order(con, protocol)
        items = reading_table.load_reading_items(con, NAME, version)
        for item in items[(items["code"] == code)].itertuples():
            reading_table.append_reading_answer(
                con,
                protocol=protocol,
                code=code,
                position=int(item.position),
                revision=1,
                answer=4 if item.position % 2 else 2,
                seconds=3.0,
            )


def test_designing_again_needs_a_new_check(designing: Path) -> None:
    explained_study.checked(designing)
    changed = explained_study.small_design(arms=("explanation",), seed=77)
    again = workflow.create_protocol(designing, NAME, changed, "team")
    assert again.version == 1 and find(designing).state == "design"
    with pytest.raises(UserError, match="is design and cannot become frozen"):
        workflow.freeze_protocol(designing, NAME, "team", {})
    version = workflow.check_protocol(designing, NAME, "team")[0]
    assert freeze(designing).design["seed"] == version.design["seed"] == 77


def _execute(statement: str) -> Callable[[Path], None]:
    def change(study: Path) -> None:
        """Change the store as somebody with a database client can."""
        with store.write(study) as con:
            con.execute(statement)

    return change


def _paint_image(study: Path) -> None:
    for file in (study / "images").glob("*.npy"):
        pixels = np.load(file)
        pixels[0, 0] ^= 1
        np.save(file, pixels)


def _change_map(study: Path) -> None:
    for file in (study / "runs" / explained_study.EXPLAIN).glob("*.npz"):
        np.savez(file, probability=np.full((3, 8, 8), 0.5, np.float16))


def _write_consent(study: Path) -> None:
    (study / "consent.md").write_text("Einwilligung\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("part", "change"),
    [
        (
            "the texts of the cases",
            _execute("UPDATE reading_cases SET texts = '[\"Mass\"]' WHERE case_number = 3"),
        ),
        (
            "the cases or their truth",
            _execute(
                "UPDATE reading_cases SET truth = CASE truth WHEN 'benign' THEN 'malignant'"
                " ELSE 'benign' END WHERE case_number = 3"
            ),
        ),
        (
            "the rule or the blocks of the order",
            _execute("UPDATE reading_cases SET block = block + 1 WHERE case_number = 3"),
        ),
        (
            "the rule or the blocks of the order",
            _execute("UPDATE reading_cases SET block = NULL"),
        ),
        (
            "the truth by one of the rules",
            _execute(
                "INSERT INTO findings SELECT * REPLACE (0 AS number, 'UNPROVEN' AS pathology)"
                " FROM findings WHERE pathology = 'MALIGNANT'"
            ),
        ),
        ("the pictures of the cases", _paint_image),
        ("the pictures of the cases", _change_map),
        ("the consent text", _write_consent),
        (
            "the result of the leakage check",
            _execute("UPDATE protocols SET lint = '[]' WHERE state = 'checked'"),
        ),
        (
            "the result of the leakage check",
            _execute("UPDATE protocols SET lint = replace(lint, 'permutation', 'exact')"),
        ),
    ],
    ids=[
        *("texts", "truth", "block", "rule", "truth rule", "image", "class map", "consent"),
        *("set of issues", "text of an issue"),
    ],
)
def test_only_what_was_checked_is_frozen(
    checked: Path, part: str, change: Callable[[Path], None]
) -> None:
    change(checked)
    with pytest.raises(UserError, match=f"{part}.* changed since the leakage check"):
        freeze(checked)
    assert find(checked).state == "checked"
    workflow.check_protocol(checked, NAME, "team", "reviewed")
    assert freeze(checked).state == "frozen"


def test_changed_instructions_and_practice_need_a_new_check(
    checked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(reading_instructions, "_IMAGE_CASES", "Most cases are malignant.")
        with pytest.raises(UserError, match="the instructions to readers changed"):
            freeze(checked)
    monkeypatch.setattr(pictures, "usual_practice", lambda study: (("Mass",),) * 5)
    with pytest.raises(UserError, match="the practice cases changed"):
        freeze(checked)


@pytest.mark.parametrize(
    "content", ["'{}'", "json_merge_patch(content, '{\"issues\": null}')"], ids=["none", "issues"]
)
def test_check_of_an_earlier_release_is_repeated(checked: Path, content: str) -> None:
    _execute(f"UPDATE protocols SET content = {content}")(checked)
    with pytest.raises(UserError, match="checked by an earlier DeepMiner"):
        freeze(checked)


def test_review_of_conflicting_truth_cannot_be_rewritten(designing: Path) -> None:
    _execute(
        "INSERT INTO findings SELECT * REPLACE (0 AS number, 'BENIGN' AS pathology) FROM findings"
        " WHERE pathology = 'MALIGNANT'"
    )(designing)
    design = explained_study.small_design(discrepant="in", truth_rule="any_malignant")
    workflow.create_protocol(designing, NAME, design, "team")
    workflow.check_protocol(designing, NAME, "T1", "read by two radiologists")
    _execute("UPDATE protocols SET lint = replace(lint, 'two radiologists', 'T1 alone')")(designing)
    with pytest.raises(UserError, match="the result of the leakage check changed"):
        freeze(designing)


@pytest.mark.parametrize("step", ["add_case_pictures", "append_log", "write_bytes"])
def test_a_freeze_that_fails_leaves_no_picture(
    checked: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full at the third picture, or something fails in the transaction."""
    calls = []

    def fail(*_: object, **__: object) -> None:
        calls.append(step)
        raise KeyboardInterrupt

    write_bytes = Path.write_bytes

    def fail_at_third(path: Path, content: bytes) -> int:
        calls.append(step)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return write_bytes(path, content)

    with monkeypatch.context() as patch:
        if step == "write_bytes":
            patch.setattr(Path, "write_bytes", fail_at_third)
        else:
            module = reading_table if step == "add_case_pictures" else run_table
            patch.setattr(module, step, fail)
        with pytest.raises((KeyboardInterrupt, OSError)):
            freeze(checked)
    assert calls and not (checked / "pictures").exists()
    assert find(checked).state == "checked"
    assert freeze(checked).state == "frozen" and list((checked / "pictures").iterdir())


def _edit_design(key: str, value: object) -> Callable[[Path], None]:
    def change(study: Path) -> None:
        """Change one entry of the frozen design in the store."""
        with store.write(study) as con:
            design = protocol_table.find_protocol(con, NAME, 1).design | {key: value}
            con.execute(
                "UPDATE protocols SET design = ? WHERE state = 'frozen'", [json.dumps(design)]
            )

    return change


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("the reasons for accepting warnings", _edit_design("reasons", {"texts": "no reason"})),
        ("the practice cases", _edit_design("practice", [["Cancer"]])),
        ("the design", _edit_design("told", "Most cases are malignant.")),
        (
            "the result of the leakage check",
            _execute("UPDATE protocols SET lint = '[]' WHERE state = 'frozen'"),
        ),
        (
            "the pictures of the cases",
            _execute(
                "UPDATE reading_pictures SET source = (SELECT min(source) FROM reading_pictures"
                " WHERE kind = 'film') WHERE kind = 'film'"
            ),
        ),
        ("the pictures of the cases", _paint_image),
        (
            "the rendered files of the pictures",
            _execute(
                "UPDATE reading_pictures SET source = json_merge_patch(source,"
                " json_object('ready', (SELECT min(source ->> 'ready') FROM reading_pictures)))"
            ),
        ),
        (
            "the rule or the blocks of the order",
            _execute("UPDATE reading_cases SET block = NULL"),
        ),
    ],
    ids=["reasons", "practice", "told", "issues", "picture row", "picture file", "file", "order"],
)
def test_content_hash_covers_more_than_the_protocol_hash(
    frozen: Path, part: str, change: Callable[[Path], None]
) -> None:
    before = find(frozen)
    assert len(before.content_hash) == 64 and before.content_hash != before.hash
    change(frozen)
    with pytest.raises(UserError, match=f"is not what was frozen: .*{part}"):
        close(frozen)
    assert find(frozen).state == "frozen"


def test_two_versions_do_not_touch_each_other(begun: Path) -> None:
    explained_study.frozen(begun, seed=2)
    read_all(begun, "R2", 2)
    assert close(begun, 1).version == 1
    assert (find(begun, 1).state, find(begun, 2).state) == ("closed", "reading")
    _, first = workflow.score_protocol(begun, NAME, 1)
    with pytest.raises(UserError, match="version 2, is reading: results are hidden"):
        workflow.score_protocol(begun, NAME, 2)
    close(begun, 2)
    version, second = workflow.score_protocol(begun, NAME, 2)
    assert (version.version, version.state) == (2, "scored") and find(begun, 1).state == "scored"
    assert [r.code for r in first.readers] == ["R1"] and [r.code for r in second.readers] == ["R2"]
    for action in (
        lambda: close(begun, None),
        lambda: workflow.score_protocol(begun, NAME),
        lambda: workflow.check_protocol(begun, NAME, "team"),
        lambda: workflow.freeze_protocol(begun, NAME, "team"),
    ):
        with pytest.raises(UserError, match=r"versions 1 \(scored\), 2 \(scored\); name one"):
            action()


def test_draft_beside_a_finished_version_disables_nothing(begun: Path) -> None:
    draft = workflow.create_protocol(begun, NAME, explained_study.small_design(seed=2), "team")
    assert draft.version == 2
    assert close(begun, 1).version == 1
    version, score = load_closed_study(begun)
    assert version.version == 1 and score.primary.n
    reading = study_status(begun)["reading"]
    assert reading["answered"] == score.primary.n and reading["correct"] == score.primary.correct
    with store.read(begun) as con:
        states = {(r.version, r.state) for r in load_reading_states(con)}
    assert states == {(1, "scored"), (2, "design")}
    assert ("version", "1") in build_protocol_table(begun).rows
    assert len(core.open_study(begun).answers(NAME, 1))


def test_closing_needs_the_name_of_the_study(frozen: Path) -> None:
    for typed in ("", "zqxstudy", f"{NAME} "):
        with pytest.raises(UserError, match="Type the study's name exactly"):
            close(frozen, confirm=typed)
    assert find(frozen).state == "frozen"
    assert close(frozen).state == "closed"


@pytest.mark.parametrize(
    "result",
    [
        lambda study: workflow.score_protocol(study, NAME, 1),
        lambda study: workflow.count_correct(study, NAME, 1),
        lambda study: core.open_study(study).answers(NAME),
        load_closed_study,
        primary_answers,
    ],
    ids=["score", "count", "notebook", "report", "figures"],
)
def test_no_result_before_closing(begun: Path, result: Callable[[Path], object]) -> None:
    with pytest.raises(
        (UserError, MissingInput), match="hidden until it is closed|has been closed"
    ):
        result(begun)
    assert study_status(begun)["reading"]["correct"] is None
    close(begun)
    assert result(begun) is not None


def _revisions(study: Path) -> object:
    with store.read(study) as con:
        return reading_table.load_answer_revisions(con, NAME, 1)


@pytest.mark.parametrize(
    "result",
    [load_closed_study, primary_answers, _revisions],
    ids=["score", "figures", "export"],
)
def test_reports_cannot_get_answers_of_an_open_study(
    begun: Path, result: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answers are refused, also where the choice of the version is wrong."""
    monkeypatch.setattr(provenance, "RESULT_STATES", PROTOCOL_STATES)
    with pytest.raises(UserError, match="results are hidden until it is closed"):
        result(begun)
    close(begun)
    assert result(begun) is not None


def test_interim_answers_need_a_design_with_looks(begun: Path) -> None:
    with store.read(begun) as con, pytest.raises(UserError, match="plans no interim look"):
        reading_table.load_interim_answers(con, NAME, 1)
    close(begun)
    with store.read(begun) as con, pytest.raises(UserError, match="needs a version that is froz"):
        reading_table.load_interim_answers(con, NAME, 1)


def test_first_scoring_is_recorded_once(begun: Path) -> None:
    close(begun)
    for _ in range(2):
        assert workflow.score_protocol(begun, NAME, 1, "T1")[0].state == "scored"
    with store.read(begun) as con:
        assert run_table.load_log(con, "reading study scored")["who"].tolist() == ["T1"]
        version = protocol_table.find_protocol(con, NAME)
    assert version.who == "T1" and version.content_hash == find(begun).content_hash


def test_scoring_refuses_another_truth_than_the_frozen_one(begun: Path) -> None:
    close(begun)
    _execute(
        "INSERT INTO findings SELECT * REPLACE (0 AS number, 'BENIGN' AS pathology)"
        " FROM findings WHERE pathology = 'MALIGNANT'"
    )(begun)
    with pytest.raises(UserError, match="the truth by one of the rules changed"):
        workflow.score_protocol(begun, NAME, 1)
