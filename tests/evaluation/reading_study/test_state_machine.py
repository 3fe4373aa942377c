"""Reading studies driven in any order: two versions, two sites, on the real store.

A model beside the study says only what must hold: what was checked, what was acknowledged, and in
which state each version is. Everything else is the product's own code.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core import store
from core.errors import RequestRefused, UserError
from core.sessions.reading_session import ReadingSession
from core.store import backup, participant_table
from core.store.evidence import verify_chain
from core.store.reading import protocol_table, reading_table
from evaluation.reading_study import site_bundles, workflow
from support import explained_study
from support.explained_study import NAME

READERS = ("R1", "R2", "R3")
SECRET = b"secret"
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
    bundles: set[str] = field(default_factory=set)


@dataclass
class Site:
    """A site bundle: what its reader R1 answered, and its exports with the answers in each."""

    bundle: str
    version: int
    folder: Path
    answers: Answers = field(default_factory=dict)
    exports: list[tuple[Path, Answers]] = field(default_factory=list)


@pytest.fixture(scope="module", autouse=True)
def template(tmp_path_factory: pytest.TempPathFactory):
    """The study that every run starts from; the machine finds it in its class."""
    study = explained_study.create_study(tmp_path_factory.mktemp("machine") / "study")
    ReadingStudies.template = study
    with pytest.MonkeyPatch.context() as patch:
        explained_study.use_few_permutations(patch)
        # Writers attach the file to a database that is open already, which is ten times as fast as
        # opening it; the statements and the file are the same.
        patch.setattr(store, "read", store.write)
        yield study


class ReadingStudies(RuleBasedStateMachine):
    """The rules are what people do; the invariants hold after each of them."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.study = Path(shutil.copytree(self.template, self.folder / "study"))
        self.model, self.pixel, self.consent = Model(), False, False
        self.backup: Model | None = None
        self.last_token: dict[str, tuple[str, int]] = {}
        self.site: Site | None = None

    def teardown(self) -> None:
        with store.read(self.study) as con:
            verification = verify_chain(con)
        assert verification.valid, verification.reason
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
    @rule(seed=st.integers(1, 3), wordless=st.booleans())
    def design(self, seed: int, wordless: bool) -> None:
        design = explained_study.small_design(
            seed=seed,
            arms=("explanation", "image") if wordless else ("explanation", "shuffled"),
            comparison_share=0.25,
            discrepant="in",
            truth_rule="any_malignant",
        )
        number = workflow.create_protocol(self.study, NAME, design, "team").version
        drafts = self.versions_in("design", "checked")
        assert drafts in ([], [number])
        self.model.versions[number] = Version(seed=seed, cases=self.stored_cases(number))

    @precondition(lambda self: self.model.versions)
    @rule(data=st.data())
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
    @rule(data=st.data())
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

    @precondition(lambda self: self.model.versions)
    @rule(kind=st.sampled_from(["pixels", "consent", "truth"]))
    def change_surroundings(self, kind: str) -> None:
        """Change what belongs to a check outside the tables of reading studies, or undo it."""
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
    @rule(unit=st.integers(0, 7), word=st.sampled_from("ABC"))
    def relabel(self, unit: int, word: str) -> None:
        """Change the label of a unit: texts that were designed before must not change."""
        with store.write(self.study) as con:
            con.execute(
                "UPDATE annotations SET answer = json_merge_patch(answer, ?) WHERE unit = ?",
                [f'{{"label": "Label {word}{unit}"}}', unit],
            )

    # Reading

    @precondition(lambda self: self.versions_in("frozen", "reading"))
    @rule(data=st.data(), code=st.sampled_from(READERS))
    def start(self, data: st.DataObject, code: str) -> None:
        number, version = self.pick(data, "frozen", "reading")
        with store.write(self.study) as con:
            if code not in self.model.participants:
                participant_table.add_participant(con, code, "reader")
                participant_table.record_consent(con, code, "10 years", "agreed")
                self.model.participants.add(code)
            protocol = protocol_table.find_protocol(con, NAME, number)
            ReadingSession(code, SECRET).assign_order(con, protocol)
        version.state = "reading"

    @precondition(lambda self: self.model.participants)
    @rule(data=st.data(), answers=st.lists(st.integers(1, 6), min_size=1, max_size=9))
    def answer(self, data: st.DataObject, answers: list[int]) -> None:
        code = data.draw(st.sampled_from(sorted(self.model.participants)), label="reader")
        session = ReadingSession(code, SECRET)
        for value in answers:
            try:
                with store.write(self.study) as con:
                    protocol = session.protocol(con)
                    case = session.displayed_case(con, protocol)
                    if case is None:
                        return
                    saved, _, _ = session.save_answer(con, case.token, value, 1.0, False)
            except RequestRefused as refusal:
                assert refusal.code in ("closed", "empty", "stale")
                return
            self.acknowledge(code, protocol.version, saved)
            self.last_token[code] = (case.token, value)

    @precondition(lambda self: self.last_token)
    @rule(data=st.data(), correction=st.integers(1, 6))
    def correct_or_repeat(self, data: st.DataObject, correction: int) -> None:
        """Send the last answer again, which must not count, or correct it."""
        code = data.draw(st.sampled_from(sorted(self.last_token)), label="reader")
        session, (token, value) = ReadingSession(code, SECRET), self.last_token[code]
        try:
            with store.write(self.study) as con:
                session.save_answer(con, token, value, 2.0, False)
            with store.write(self.study) as con:
                protocol = session.protocol(con)
                case = session.reopen_previous(con, protocol)
                saved, _, _ = session.save_answer(con, case.token, correction, 1.0, True)
        except RequestRefused as refusal:
            assert refusal.code in ("closed", "empty", "stale")
            return
        self.acknowledge(code, protocol.version, saved)
        self.last_token[code] = (case.token, correction)

    def acknowledge(self, code: str, number: int, saved: reading_table.SavedAnswer) -> None:
        version = self.model.versions[number]
        assert version.state == "reading"
        revisions = version.answers.setdefault((code, saved.position), [])
        assert saved.revision == len(revisions) + 1
        revisions.append((saved.revision, saved.answer))

    # The other site

    @precondition(lambda self: self.site is None and self.versions_in("frozen", "reading"))
    @rule(data=st.data())
    def make_bundle(self, data: st.DataObject) -> None:
        number, version = self.pick(data, "frozen", "reading")
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
            participant_table.record_consent(con, "R1", "2 years", "agreed")
            session = ReadingSession("R1", SECRET)
            session.assign_order(con, session.protocol(con))
        self.site = Site(bundle.id, number, folder)
        self.model.bundles.add(bundle.id)

    @precondition(lambda self: self.site is not None)
    @rule(answers=st.lists(st.integers(1, 6), min_size=1, max_size=9))
    def read_at_the_site(self, answers: list[int]) -> None:
        session = ReadingSession("R1", SECRET)
        for value in answers:
            with store.write(self.site.folder) as con:
                case = session.displayed_case(con, session.protocol(con))
                if case is None:
                    return
                saved, _, _ = session.save_answer(con, case.token, value, 1.0, False)
            place = (f"{self.site.bundle}-R1", saved.position)
            self.site.answers.setdefault(place, []).append((saved.revision, saved.answer))

    @precondition(lambda self: self.site is not None)
    @rule()
    def export_at_the_site(self) -> None:
        for action, arguments in (
            (workflow.score_protocol, ()),
            (workflow.check_protocol, ("site",)),
        ):
            with pytest.raises(UserError, match="site bundle without ground truth"):
                action(self.site.folder, NAME, *arguments)
        file = self.site.folder / f"answers{len(self.site.exports)}.json"
        site_bundles.export_answers(self.site.folder, file, "site")
        self.site.exports.append((file, copy.deepcopy(self.site.answers)))

    @precondition(lambda self: self.site is not None and self.site.exports)
    @rule(data=st.data())
    def import_from_the_site(self, data: st.DataObject) -> None:
        file, sent = data.draw(st.sampled_from(self.site.exports), label="export")
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
        version.state = "reading"

    # Closing and scoring

    @precondition(lambda self: self.model.versions)
    @rule(data=st.data(), typed=st.sampled_from([NAME, NAME, NAME, "zqxstudy"]))
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
    @rule(data=st.data())
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
        version.state = "scored"

    @precondition(lambda self: len(self.model.versions) == 2)
    @rule()
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
    @rule()
    def back_up(self) -> None:
        file = self.folder / "backup.duckdb"
        file.unlink(missing_ok=True)
        backup.create_backup(self.study, file)
        self.backup = copy.deepcopy(self.model)

    @precondition(lambda self: self.backup is not None)
    @rule()
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
        """Check the states, and that no acknowledged answer was changed or lost."""
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


TestReadingStudies = ReadingStudies.TestCase
# 12 runs of 50 steps keep the time of the suite; 40 runs have passed once.
TestReadingStudies.settings = settings(
    max_examples=12,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
