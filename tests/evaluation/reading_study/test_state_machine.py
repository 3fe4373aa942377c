"""Reading studies driven in any order: two versions, two sites, real store, routes and imports.

A model beside the study says only what must hold: what was checked, what was acknowledged, and in
which state each version is. Everything else is the product's own code, but for three parts without
a state that are replaced by faster ones: the statistics of a score, most permutations of the
leakage check, and all practice texts but one.
"""

from __future__ import annotations

import copy
import functools
import os
import shutil
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from core import store
from core.errors import UserError
from core.sessions import reading_session
from core.store import backup, participant_table
from core.store.connection import Connection
from core.store.evidence import verify_chain
from core.store.key_files import keys_beside
from core.store.reading import protocol_table, reading_table
from dashboard.components.reading import READING_ROUTES
from dashboard.server import context
from evaluation.permutation import PatientPermutations
from evaluation.reading_study import site_bundles, workflow
from evaluation.reading_study.joined_answers import join_answers
from evaluation.reading_study.workflow import content, pictures, scores
from support import explained_study
from support.explained_study import NAME
from support.route_requests import RouteClient

# What must have been executed in the end.
LEAST = {"steps": 2000, "answers": 100, "imports with answers": 5, "scores": 3}
MOST_ROUNDS, RUNS_OF_A_ROUND, STEPS_OF_A_RUN = 20, 6, 100
READERS = ("R1", "R2")
ONE_PRACTICE_TEXT = (("Mass",),)
# A folder in memory, where the machine has one: a commit need not wait for a disk.
MEMORY = Path("/dev/shm")
PATIENTS_TRUTH = (
    "INSERT INTO findings SELECT * REPLACE (0 AS number, 'BENIGN' AS pathology) FROM findings"
    " WHERE pathology = 'MALIGNANT'"
)
# (reader, position) to its revisions: each (revision, answer).
Answers = dict[tuple[str, int], list[tuple[int, int]]]


@dataclass(frozen=True)
class Surroundings:
    """What lies outside the tables of a reading study and belongs to what is checked."""

    pixel: bool = False
    consent: bool = False
    truth: bool = False


@dataclass
class Version:
    """What must hold of one version."""

    state: str = "design"
    seed: int = 0
    cases: list[tuple] = field(default_factory=list)
    checked: tuple[Surroundings, list[tuple]] | None = None
    frozen: Surroundings | None = None
    answers: Answers = field(default_factory=dict)
    practice: int = 0

    @property
    def has_counted_answer(self) -> bool:
        """Whether any answer was given to a case that is not practice."""
        return any(position > self.practice for _, position in self.answers)


@dataclass
class Model:
    """What must hold of the study: its versions; backups return to an earlier one."""

    versions: dict[int, Version] = field(default_factory=dict)
    truth: bool = False
    participants: set[str] = field(default_factory=set)
    begun: set[tuple[str, int]] = field(default_factory=set)
    bundles: set[str] = field(default_factory=set)


@dataclass
class Site:
    """A site bundle: what its reader R1 answered, and its exports with the answers in each."""

    bundle: str
    version: int
    folder: Path
    answers: Answers = field(default_factory=dict)
    exports: list[tuple[Path, Answers]] = field(default_factory=list)


def small_design(seed: int, wordless: bool) -> Any:
    """Return a design of 4 mammograms, 1 of which is shown in a second arm as well."""
    return explained_study.small_design(
        seed=seed,
        arms=("explanation", "image") if wordless else ("explanation", "shuffled"),
        cases_per_class=2,
        comparison_share=0.25,
        repeats=1,
        discrepant="in",
        truth_rule="any_malignant",
    )


def score_without_statistics(answers: Any, key: Any, design: Any, **_: Any) -> SimpleNamespace:
    """Join the answers with their key, as a score does, and compute nothing of them."""
    join_answers(answers, key, design)
    return SimpleNamespace(design=design)


READ_STORE = store.read


@contextmanager
def read_past_refusals(study: Path) -> Iterator[Connection]:
    """Read the store; a refusal leaves after the block.

    Inside it, the database instance would be closed, and starting one takes longer than a step.
    """
    refusal = None
    with READ_STORE(study) as con:
        try:
            yield con
        except UserError as error:
            refusal = error
    if refusal is not None:
        raise refusal


def step(**strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """Return the decorator of a rule that is none of the last steps.

    Hypothesis often enables few rules in a run, which would then repeat one or two in vain.
    """

    def decorate(action: Callable[..., None]) -> Any:
        @functools.wraps(action)
        def act(self: ReadingStudies, **drawn: Any) -> None:
            self.last_steps.append(action.__name__)
            action(self, **drawn)

        is_new = precondition(lambda self: action.__name__ not in self.last_steps)
        return is_new(rule(**strategies)(act))

    return decorate


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[ReadingStudies]:
    """The machine, with the two studies from which its runs start."""
    monkeypatch.setattr(store, "read", read_past_refusals)
    monkeypatch.setattr(PatientPermutations.__init__, "__defaults__", (9,))
    monkeypatch.setattr(scores, "score_study", score_without_statistics)
    for module in (reading_session, pictures, content):
        monkeypatch.setattr(module, "PRACTICE_TEXTS", ONE_PRACTICE_TEXT)
    # The requests of this test name the study that they are for.
    monkeypatch.setenv(context.STUDY_VARIABLE, "")
    ReadingStudies.empty = explained_study.create_study(tmp_path / "empty")
    ReadingStudies.frozen = Path(shutil.copytree(ReadingStudies.empty, tmp_path / "frozen"))
    workflow.create_protocol(ReadingStudies.frozen, NAME, small_design(1, False), "team")
    checked, _ = workflow.check_protocol(ReadingStudies.frozen, NAME, "team", "reviewed")
    reasons = explained_study.accepted(checked)
    workflow.freeze_protocol(ReadingStudies.frozen, NAME, "team", reasons)
    ReadingStudies.counts = Counter()
    return ReadingStudies


class ReadingStudies(RuleBasedStateMachine):
    """The rules are what people do; the invariants hold after each of them."""

    empty: ClassVar[Path]
    frozen: ClassVar[Path]
    # Steps that were executed, and what they did, over all runs.
    counts: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else None))
        self.study = self.folder / "study"
        self.model, self.pixel, self.consent = Model(), False, False
        self.backup: Model | None = None
        self.last_token: dict[str, tuple[str, int]] = {}
        self.site: Site | None = None
        self.client = RouteClient(READING_ROUTES)
        self.checked_commit: tuple[int, int] | None = None
        self.steps_without_change = 0
        # Fewer than the rules that are possible in every state of a version.
        self.last_steps: deque[str] = deque(maxlen=4)

    @initialize(is_frozen=st.sampled_from([True, True, True, False]))
    def start_study(self, is_frozen: bool) -> None:
        """Begin without a version, or with version 1 frozen, which takes three steps of many."""
        shutil.copytree(self.frozen if is_frozen else self.empty, self.study)
        self.counts["steps"] -= 1  # the invariant is checked once before the first step
        if is_frozen:
            cases = self.stored_cases(1)
            checked = Surroundings(), cases
            self.model.versions[1] = Version("frozen", 1, cases, checked, Surroundings())
            self.model.versions[1].practice = len(ONE_PRACTICE_TEXT)

    def teardown(self) -> None:
        self.checked_commit = None
        self.states_and_answers_are_those_of_the_model()
        self.counts["steps"] -= 1
        with store.read(self.study) as con:
            verification = verify_chain(con)
        assert verification.valid, verification.reason
        for study in (self.study, self.site.folder if self.site else None):
            if study is not None:
                context.group_commit_writer(study).close()
        self.client.close()
        shutil.rmtree(self.folder)

    # Helpers

    @property
    def surroundings(self) -> Surroundings:
        return Surroundings(self.pixel, self.consent, self.model.truth)

    def stored_cases(self, version: int) -> list[tuple]:
        with store.read(self.study) as con:
            return con.execute(
                "SELECT * FROM reading_cases WHERE protocol = ? AND version = ? ORDER BY ALL",
                [NAME, version],
            ).fetchall()

    def refused(self, action, *arguments, **options) -> UserError:
        with pytest.raises(UserError) as raised:
            action(self.study, NAME, *arguments, **options)
        return raised.value

    def versions_in(self, *states: str) -> list[int]:
        return [n for n, version in self.model.versions.items() if version.state in states]

    def pick(self, data: st.DataObject, *states: str) -> tuple[int, Version]:
        number = data.draw(st.sampled_from(self.versions_in(*states)), label="version")
        return number, self.model.versions[number]

    # Design, check and freeze

    @precondition(
        lambda self: (
            not self.versions_in("design")
            and (len(self.model.versions) < 2 or self.versions_in("checked"))
        )
    )
    @step(seed=st.integers(1, 3), wordless=st.booleans())
    def design(self, seed: int, wordless: bool) -> None:
        design = small_design(seed, wordless)
        number = workflow.create_protocol(self.study, NAME, design, "team").version
        drafts = self.versions_in("design", "checked")
        assert drafts in ([], [number])
        self.model.versions[number] = Version(seed=seed, cases=self.stored_cases(number))

    @precondition(lambda self: self.model.versions)
    @step(data=st.data())
    def check(self, data: st.DataObject) -> None:
        number, version = self.pick(
            data, "design", "checked", "frozen", "reading", "closed", "scored"
        )
        arguments = ("team", "reviewed")
        if version.state not in ("design", "checked"):
            self.refused(workflow.check_protocol, *arguments, version=number)
            return
        checked, _ = workflow.check_protocol(self.study, NAME, *arguments, version=number)
        assert checked.version == number
        version.state, version.checked = "checked", (self.surroundings, self.stored_cases(number))

    @precondition(lambda self: self.model.versions)
    @step(data=st.data())
    def freeze(self, data: st.DataObject) -> None:
        number, version = self.pick(
            data, "design", "checked", "frozen", "reading", "closed", "scored"
        )
        with store.read(self.study) as con:
            stored = protocol_table.find_protocol(con, NAME, number)
        reasons = explained_study.accepted(stored)
        now = (self.surroundings, self.stored_cases(number))
        if version.state != "checked" or not self._same_as_checked(version, stored.design, now):
            self.refused(workflow.freeze_protocol, "team", reasons, version=number)
            return
        frozen = workflow.freeze_protocol(self.study, NAME, "team", reasons, version=number)
        # Nothing is frozen that was not checked as it is.
        assert now[1] == version.checked[1] == version.cases
        version.state, version.frozen = "frozen", self.surroundings
        version.practice = len(frozen.design["practice"])

    @staticmethod
    def _same_as_checked(version: Version, design: dict, now: tuple) -> bool:
        before, cases = version.checked
        same = (before.consent, before.truth) == (now[0].consent, now[0].truth)
        has_pictures = "image" in design["arms"]
        return same and cases == now[1] and (before.pixel == now[0].pixel or not has_pictures)

    # Changes of what surrounds the study

    # Rare: most other steps are refused while something differs from what was checked or frozen.
    @precondition(lambda self: self.model.versions and self.steps_without_change >= 10)
    @step(kind=st.sampled_from(["pixels", "consent", "truth"]))
    def change_surroundings(self, kind: str) -> None:
        """Change what belongs to a check outside the tables of reading studies, or undo it."""
        self.steps_without_change = 0
        if kind == "pixels":
            self.pixel = not self.pixel
            for file in (self.study / "images").glob("*.npy"):
                pixels = np.load(file)
                pixels[0, 0] ^= 1
                np.save(file, pixels)
        elif kind == "consent":
            self.consent = not self.consent
            text = "Other words.\n" if self.consent else "Einwilligung.\n"
            (self.study / "consent.md").write_text(text, encoding="utf-8")
        else:
            self.model.truth = not self.model.truth
            with store.write(self.study) as con:
                con.execute(
                    PATIENTS_TRUTH if self.model.truth else "DELETE FROM findings WHERE number = 0"
                )

    @precondition(lambda self: self.model.versions)
    @step(unit=st.integers(0, 7), word=st.sampled_from("ABC"))
    def relabel(self, unit: int, word: str) -> None:
        """Change the label of a unit: texts that were designed before must not change."""
        with store.write(self.study) as con:
            con.execute(
                "UPDATE annotations SET answer = json_merge_patch(answer, ?) WHERE unit = ?",
                [f'{{"label": "Label {word}{unit}"}}', unit],
            )

    # Reading

    def stored_answers(self, study: Path, code: str) -> list[tuple[int, int, int, int]]:
        """Return version, position, revision and answer of a reader's rows, in their order."""
        with store.read(study) as con:
            return con.execute(
                "SELECT version, position, revision, answer FROM answers WHERE code = ?"
                " ORDER BY made, version, position, revision",
                [code],
            ).fetchall()

    def open_page(self, study: Path, code: str) -> dict[str, Any]:
        """Go from a reader's page to a case as far as possible; return what the page shows."""
        os.environ[context.STUDY_VARIABLE] = str(study)
        state = self.client.get_state(code)
        if state["stage"] == "consent":
            _, state = self.client.post(code, "consent", consent_hash=state["consent_hash"])
        if state["stage"] in ("closed", "done") and state.get("button"):
            _, state = self.client.post(code, "next")
        if state["stage"] == "instructions":
            _, state = self.client.post(code, "begin", start_token=state["start_token"])
        return state

    def give_answers(
        self, study: Path, code: str, state: dict[str, Any], answers: list[int], stored: int
    ) -> list[tuple[int, ...]]:
        """Give answers on a reader's page; return the rows of those that were acknowledged.

        stored: number of rows that the reader has before.
        """
        given = []
        for value in answers:
            if state["stage"] != "case":
                break
            token = state["case"]["token"]
            status, state = self.client.post(
                code, "answer", token=token, answer=value, seconds=1.0, idle=False
            )
            assert status == 200 and state["saved"]
            given.append(value)
            self.last_token[code] = (token, value)
        if not given:
            return []
        rows = self.stored_answers(study, code)[stored:]
        assert [row[3] for row in rows] == given
        return rows

    @precondition(lambda self: self.model.versions)
    @step(
        code=st.sampled_from(READERS),
        answers=st.lists(st.integers(1, 6), min_size=1, max_size=6),
    )
    def read(self, code: str, answers: list[int]) -> None:
        """Begin the study that the page offers, or go on with the one begun, and answer."""
        if code not in self.model.participants:
            with store.write(self.study) as con:
                participant_table.add_participant(con, code, "reader")
            self.model.participants.add(code)
        state = self.open_page(self.study, code)
        with store.read(self.study) as con:
            rows = con.execute(
                "SELECT DISTINCT code, version FROM reading_items WHERE code = ?", [code]
            ).fetchall()
        begun = set(rows) - self.model.begun
        assert len(begun) <= 1
        for _, number in begun:
            version = self.model.versions[number]
            assert version.state in ("frozen", "reading")
            version.state = "reading"
        self.model.begun |= begun
        stored = self.acknowledged(code)
        for number, *row in self.give_answers(self.study, code, state, answers, stored):
            self.acknowledge(code, number, *row)

    def acknowledged(self, code: str) -> int:
        """Return how many answers of a reader were acknowledged, with corrections."""
        return sum(
            len(revisions)
            for version in self.model.versions.values()
            for (reader, _), revisions in version.answers.items()
            if reader == code
        )

    @precondition(lambda self: self.last_token and self.model.begun)
    @step(data=st.data(), correction=st.integers(1, 6))
    def correct_or_repeat(self, data: st.DataObject, correction: int) -> None:
        """Send the last answer again, which must not count, or correct it."""
        code = data.draw(st.sampled_from(sorted(self.last_token)), label="reader")
        token, value = self.last_token[code]
        os.environ[context.STUDY_VARIABLE] = str(self.study)
        before = self.acknowledged(code)
        self.client.post(code, "answer", token=token, answer=value, seconds=2.0, idle=False)
        assert len(self.stored_answers(self.study, code)) == before
        status, state = self.client.post(code, "reopen")
        if status != 200 or state["stage"] != "case":
            assert state["code"] in ("closed", "empty", "stale")
            return
        status, _ = self.client.post(
            code, "answer", token=state["case"]["token"], answer=correction, seconds=1.0, idle=True
        )
        (row,) = self.stored_answers(self.study, code)[before:]
        assert status == 200 and row[3] == correction
        self.acknowledge(code, *row)
        self.last_token[code] = (state["case"]["token"], correction)

    def acknowledge(self, code: str, number: int, position: int, revision: int, value: int) -> None:
        version = self.model.versions[number]
        assert version.state == "reading"
        revisions = version.answers.setdefault((code, position), [])
        assert revision == len(revisions) + 1
        revisions.append((revision, value))
        self.counts["answers"] += 1

    # The other site

    @precondition(lambda self: self.site or self.versions_in("frozen", "reading"))
    @step(data=st.data(), answers=st.lists(st.integers(1, 6), min_size=1, max_size=6))
    def read_and_export_at_the_site(self, data: st.DataObject, answers: list[int]) -> None:
        if self.site is None:
            self.make_bundle(*self.pick(data, "frozen", "reading"))
        if self.site is None:
            return
        # The reader R1 of the original study has another token.
        token = self.last_token.pop("R1", None)
        state = self.open_page(self.site.folder, "R1")
        stored = sum(map(len, self.site.answers.values()))
        rows = self.give_answers(self.site.folder, "R1", state, answers, stored)
        for _, position, *revision in rows:
            place = f"{self.site.bundle}-R1", position
            self.site.answers.setdefault(place, []).append(tuple(revision))
        self.last_token.pop("R1", None)
        if token is not None:
            self.last_token["R1"] = token
        for action, arguments in (
            (workflow.score_protocol, ()),
            (workflow.check_protocol, ("site",)),
        ):
            with pytest.raises(UserError, match="site bundle without ground truth"):
                action(self.site.folder, NAME, *arguments)
        file = self.site.folder / f"answers{len(self.site.exports)}.json"
        site_bundles.export_answers(self.site.folder, file, "site")
        self.site.exports.append((file, copy.deepcopy(self.site.answers)))

    def make_bundle(self, number: int, version: Version) -> None:
        """Make the bundle of the other site, which is refused where the version changed."""
        folder = self.folder / "site"
        arguments = (self.study, folder, NAME, "team")
        if not self._still_frozen(number, version):
            # What readers would see at the site is not what was frozen.
            with pytest.raises(UserError):
                site_bundles.create_bundle(*arguments, version=number, readers=1)
            assert not folder.exists()
            return
        bundle = site_bundles.create_bundle(*arguments, version=number, readers=1)
        with store.write(folder) as con:
            participant_table.add_participant(con, "R1", "reader")
        assert self.open_page(folder, "R1")["stage"] == "case"
        self.site = Site(bundle.id, number, folder)
        self.model.bundles.add(bundle.id)

    @precondition(lambda self: self.site is not None and self.site.exports)
    @step(data=st.data())
    def import_from_the_site(self, data: st.DataObject) -> None:
        # The newest one more often than the others, which bring nothing new.
        exports = [self.site.exports[-1]] * 3 + self.site.exports
        file, sent = data.draw(st.sampled_from(exports), label="export")
        version = self.model.versions.get(self.site.version)
        is_open = version is not None and version.state in ("frozen", "reading")
        if not is_open or self.site.bundle not in self.model.bundles:
            with pytest.raises(UserError):
                site_bundles.import_answers(self.study, file, "team")
            return
        imported = site_bundles.import_answers(self.study, file, "team")
        assert imported.version == self.site.version
        added = 0
        for place, revisions in sent.items():
            known = version.answers.get(place, [])
            added += max(0, len(revisions) - len(known))
            # An older export, or one that was imported before, changes nothing.
            version.answers[place] = max(known, revisions, key=len)
        assert imported.added == added
        self.counts["imports with answers"] += added > 0
        version.state = "reading"

    # Closing and scoring

    @precondition(lambda self: self.model.versions)
    @step(data=st.data(), typed=st.sampled_from([NAME, NAME, NAME, "zqxstudy"]))
    def close(self, data: st.DataObject, typed: str) -> None:
        number, version = self.pick(
            data, "design", "checked", "frozen", "reading", "closed", "scored"
        )
        unchanged = version.frozen is not None and self._still_frozen(number, version)
        if typed != NAME or version.state not in ("frozen", "reading") or not unchanged:
            self.refused(workflow.close_protocol, "team", confirm=typed, version=number)
            return
        workflow.close_protocol(self.study, NAME, "team", confirm=typed, version=number)
        version.state = "closed"

    def _still_frozen(self, number: int, version: Version) -> bool:
        with store.read(self.study) as con:
            has_pictures = bool(reading_table.load_case_pictures(con, NAME, number))
        pixels = self.pixel == version.frozen.pixel or not has_pictures
        return pixels and self.model.truth == version.frozen.truth

    @precondition(lambda self: self.model.versions)
    @step(data=st.data())
    def score(self, data: st.DataObject) -> None:
        number, version = self.pick(
            data, "design", "checked", "frozen", "reading", "closed", "scored"
        )
        may_score = (
            version.state in ("closed", "scored")
            and version.has_counted_answer
            and self.model.truth == version.frozen.truth
        )
        if not may_score:
            error = self.refused(workflow.score_protocol, number)
            # Nothing is scored before closing.
            assert ("hidden" in str(error)) == (version.state not in ("closed", "scored"))
            return
        scored, score = workflow.score_protocol(self.study, NAME, number)
        assert scored.version == number and score.design.seed == version.seed
        self.counts["scores"] += version.state == "closed"
        version.state = "scored"

    @precondition(lambda self: len(self.model.versions) == 2)
    @step()
    def leave_out_the_version(self) -> None:
        for action, arguments in (
            (workflow.check_protocol, ("team",)),
            (workflow.freeze_protocol, ("team",)),
            (workflow.score_protocol, ()),
        ):
            assert "name one with --version" in str(self.refused(action, *arguments))
        error = self.refused(workflow.close_protocol, "team", confirm=NAME)
        assert "name one with --version" in str(error)

    # Backup and restoration

    @precondition(lambda self: self.versions_in("frozen", "reading", "closed"))
    @precondition(lambda self: self.model != self.backup)
    @step()
    def back_up(self) -> None:
        file = self.folder / "backup.duckdb"
        file.unlink(missing_ok=True)
        shutil.rmtree(keys_beside(file), ignore_errors=True)
        backup.create_backup(self.study, file)
        self.backup = copy.deepcopy(self.model)

    # Restoring what was just backed up takes long and changes no state.
    @precondition(lambda self: self.backup is not None and self.model != self.backup)
    @step()
    def restore(self) -> None:
        backup.restore_backup(self.study, self.folder / "backup.duckdb")
        self.model = copy.deepcopy(self.backup)
        self.last_token = {}
        with store.read(self.study) as con:
            verification = verify_chain(con)
        assert verification.valid, verification.reason

    # What always holds

    @invariant()
    def states_and_answers_are_those_of_the_model(self) -> None:
        """Check the states, and that no acknowledged answer was changed or lost.

        Once for each commit: a step that the product refuses writes nothing.
        """
        self.counts["steps"] += 1
        self.steps_without_change += 1
        commit = store.change_token(self.study)
        if commit == self.checked_commit:
            return  # nothing was written since
        self.checked_commit = commit
        with store.read(self.study) as con:
            states = con.execute("SELECT version, state FROM protocols").fetchall()
            begun = con.execute("SELECT DISTINCT version FROM reading_items").fetchall()
            rows = con.execute(
                "SELECT version, code, position, revision, answer FROM answers"
                " ORDER BY version, code, position, revision"
            ).fetchall()
        latest = {}
        for state in ("design", "checked", "frozen", "closed", "scored"):
            latest |= {number: state for number, stored in states if stored == state}
        for (number,) in begun:
            latest[number] = "reading" if latest[number] == "frozen" else latest[number]
        assert latest == {n: version.state for n, version in self.model.versions.items()}
        expected = [
            (number, code, position, revision, answer)
            for number, version in self.model.versions.items()
            for (code, position), revisions in version.answers.items()
            for revision, answer in revisions
        ]
        assert rows == sorted(expected)


def is_enough(counts: Counter[str]) -> bool:
    """Return whether the steps suffice, and enough of them reach what matters."""
    return all(counts[name] >= least for name, least in LEAST.items())


def test_reading_studies_in_any_order(studies: type[ReadingStudies]) -> None:
    rounds = 0
    # Hypothesis begins some runs without executing a step, so their number says little.
    while not is_enough(studies.counts) and rounds < MOST_ROUNDS:
        run_state_machine_as_test(
            studies,
            settings=settings(
                max_examples=RUNS_OF_A_ROUND,
                stateful_step_count=STEPS_OF_A_RUN,
                deadline=None,
                database=None,
                # Without Phase.shrink, since finding the shortest run would take many minutes.
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
        rounds += 1
    assert is_enough(studies.counts), studies.counts
