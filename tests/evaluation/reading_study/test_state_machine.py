"""Reading studies driven in any order: two versions, two sites, real store, routes and imports.

A model beside the study says only what must hold: what was checked, what was acknowledged, and in
which state each version is. Everything else is the product's own code, but for four parts without
a state that are replaced by faster ones: the statistics of a score, most permutations of the
leakage check, all practice texts but one, and the wait that gives all replies one time.
"""

from __future__ import annotations

import copy
import os
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from core import store
from core.errors import UserError
from core.sessions import reading_session
from core.sessions.consent import DEFAULT_CONSENT
from core.store import backup, participant_table
from core.store.evidence import verify_chain
from core.store.key_files import keys_beside
from core.store.reading import protocol_table
from dashboard.components import http
from dashboard.server import context
from evaluation.permutation import PatientPermutations
from evaluation.reading_study import site_bundles, workflow
from evaluation.reading_study.joined_answers import join_answers
from evaluation.reading_study.workflow import content, pictures, scores
from support import explained_study
from support.explained_study import NAME
from support.reading_machine import (
    ONE_PRACTICE_TEXT,
    ModelledStudy,
    read_past_refusals,
    step,
)
from support.reading_model import Site, Version

pytestmark = pytest.mark.slow

# What must have been executed in the end.
LEAST = {
    "steps": 350,
    "refusals": 70,
    "freezes": 4,
    "answers": 40,
    "closings": 4,
    "imports with answers": 4,
    "scores": 2,
    "restorations": 3,
}
MOST_ROUNDS, RUNS_OF_A_ROUND, STEPS_OF_A_RUN = 60, 1, 100
MOST_EXPORTS = 4
ANSWERS = st.lists(st.integers(1, 6), min_size=2, max_size=6)
PATIENTS_TRUTH = (
    "INSERT INTO findings SELECT * REPLACE (0 AS number, 'BENIGN' AS pathology) FROM findings"
    " WHERE pathology = 'MALIGNANT'"
)


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


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[ReadingStudies]:
    """The machine, with the two studies from which its runs start."""
    monkeypatch.setattr(store, "read", read_past_refusals)
    monkeypatch.setattr(PatientPermutations.__init__, "__defaults__", (9,))
    monkeypatch.setattr(scores, "score_study", score_without_statistics)
    monkeypatch.setattr(http, "seconds_until_reply", lambda seconds: 0.0)
    for module in (reading_session, content):
        monkeypatch.setattr(module, "PRACTICE_TEXTS", ONE_PRACTICE_TEXT)
    monkeypatch.setattr(pictures, "usual_practice", lambda study: ONE_PRACTICE_TEXT)
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


class ReadingStudies(ModelledStudy):
    """The steps are what people do; the invariant holds after each of them."""

    # Design, check and freeze

    @step(
        when=lambda self: (
            not self.versions_in("design")
            and (len(self.model.versions) < 2 or self.versions_in("checked"))
        )
    )
    def design(self, data: st.DataObject) -> None:
        seed, wordless = data.draw(st.tuples(st.integers(1, 3), st.booleans()))
        design = small_design(seed, wordless)
        number = workflow.create_protocol(self.study, NAME, design, "team").version
        drafts = self.versions_in("design", "checked")
        assert drafts in ([], [number])
        self.model.versions[number] = Version(seed=seed, cases=self.stored_cases(number))

    @step(when=lambda self: self.untried("check"))
    def check(self, data: st.DataObject) -> None:
        number, version = self.pick(data, self.untried("check"))
        arguments = ("team", "reviewed")
        if version.state not in ("design", "checked"):
            self.refused("check", [number], workflow.check_protocol, *arguments, version=number)
            return
        checked, _ = workflow.check_protocol(self.study, NAME, *arguments, version=number)
        assert checked.version == number
        version.state, version.checked = "checked", (self.surroundings, self.stored_cases(number))
        self.note("check", number)

    @step(weight=3, when=lambda self: self.untried("freeze"))
    def freeze(self, data: st.DataObject) -> None:
        number, version = self.pick(data, self.untried("freeze"))
        with store.read(self.study) as con:
            stored = protocol_table.find_protocol(con, NAME, number)
        reasons = explained_study.accepted(stored)
        now = (self.surroundings, self.stored_cases(number))
        if version.state != "checked" or not self._same_as_checked(version, stored.design, now):
            arguments = ("team", reasons)
            self.refused("freeze", [number], workflow.freeze_protocol, *arguments, version=number)
            return
        frozen = workflow.freeze_protocol(self.study, NAME, "team", reasons, version=number)
        # Nothing is frozen that was not checked as it is.
        assert now[1] == version.checked[1] == version.cases
        version.state, version.frozen = "frozen", self.surroundings
        version.practice = len(frozen.design["practice"])
        self.counts["freezes"] += 1

    @staticmethod
    def _same_as_checked(version: Version, design: dict, now: tuple) -> bool:
        before, cases = version.checked
        same = (before.consent, before.truth) == (now[0].consent, now[0].truth)
        has_pictures = "image" in design["arms"]
        return same and cases == now[1] and (before.pixel == now[0].pixel or not has_pictures)

    # Changes of what surrounds the study

    # Rare: most other steps are refused while something differs from what was checked or frozen.
    @step(when=lambda self: self.model.versions and self.steps_without_change >= 10)
    def change_surroundings(self, data: st.DataObject) -> None:
        """Change what belongs to a check outside the tables of reading studies, or undo it."""
        kind = data.draw(st.sampled_from(["pixels", "consent", "truth"]))
        self.steps_without_change = 0
        if kind == "pixels":
            self.pixel = not self.pixel
            for file in (self.study / "images").glob("*.npy"):
                pixels = np.load(file)
                pixels[0, 0] ^= 1
                np.save(file, pixels)
        elif kind == "consent":
            self.consent = not self.consent
            text = "Einwilligung.\n" if self.consent else DEFAULT_CONSENT
            (self.study / "consent.md").write_text(text, encoding="utf-8")
        else:
            self.model.truth = not self.model.truth
            with store.write(self.study) as con:
                con.execute(
                    PATIENTS_TRUTH if self.model.truth else "DELETE FROM findings WHERE number = 0"
                )

    @step(when=lambda self: self.model.versions)
    def relabel(self, data: st.DataObject) -> None:
        """Change the label of a unit: texts that were designed before must not change."""
        unit, word = data.draw(st.tuples(st.integers(0, 7), st.sampled_from("ABC")))
        with store.write(self.study) as con:
            con.execute(
                "UPDATE annotations SET answer = json_merge_patch(answer, ?) WHERE unit = ?",
                [f'{{"label": "Label {word}{unit}"}}', unit],
            )

    # Reading

    @step(weight=4, when=lambda self: self.model.versions and self.waiting_readers())
    def read(self, data: st.DataObject) -> None:
        """Begin the study that the page offers, or go on with the one begun, and answer."""
        code = data.draw(st.sampled_from(self.waiting_readers()))
        answers = data.draw(ANSWERS)
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
        given = self.give_answers(self.study, code, state, answers, stored)
        for number, *row in given:
            self.acknowledge(code, number, *row)
        if not given:
            self.tried.add(("read", code, self.states()))

    @step(weight=2, when=lambda self: self.last_token and self.model.begun)
    def correct_or_repeat(self, data: st.DataObject) -> None:
        """Send the last answer again, which must not count, or correct it."""
        correction = data.draw(st.integers(1, 6))
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

    # The other site

    @step(
        weight=2,
        when=lambda self: (
            len(self.site.exports) < MOST_EXPORTS
            if self.site
            else self.versions_in("frozen", "reading")
        ),
    )
    def read_and_export_at_the_site(self, data: st.DataObject) -> None:
        answers = data.draw(ANSWERS)
        if self.site is None:
            self.make_bundle(*self.pick(data, self.versions_in("frozen", "reading")))
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
        if not self.still_frozen(number, version):
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

    @step(weight=3, when=lambda self: self.site is not None and self.site.exports)
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

    @step(when=lambda self: self.untried("close"))
    def close(self, data: st.DataObject) -> None:
        number, version = self.pick(data, self.untried("close"))
        action = workflow.close_protocol
        unchanged = version.frozen is not None and self.still_frozen(number, version)
        if version.state not in ("frozen", "reading") or not unchanged:
            self.refused("close", [number], action, "team", confirm=NAME, version=number)
            return
        # A name that was typed wrong.
        self.refused("close", [number], action, "team", confirm="zqxstudy", version=number)
        workflow.close_protocol(self.study, NAME, "team", confirm=NAME, version=number)
        version.state = "closed"
        self.counts["closings"] += 1

    @step(weight=2, when=lambda self: self.untried("score"))
    def score(self, data: st.DataObject) -> None:
        number, version = self.pick(data, self.untried("score"))
        may_score = (
            version.state in ("closed", "scored")
            and version.has_counted_answer
            and self.model.truth == version.frozen.truth
        )
        if not may_score:
            error = self.refused("score", [number], workflow.score_protocol, number)
            # Nothing is scored before closing.
            assert ("hidden" in str(error)) == (version.state not in ("closed", "scored"))
            return
        scored, score = workflow.score_protocol(self.study, NAME, number)
        assert scored.version == number and score.design.seed == version.seed
        self.counts["scores"] += version.state == "closed"
        version.state = "scored"
        self.note("score", number)

    @step(when=lambda self: len(self.model.versions) == 2 and self.untried("leave out"))
    def leave_out_the_version(self, data: st.DataObject) -> None:
        for action, arguments, options in (
            (workflow.check_protocol, ("team",), {}),
            (workflow.freeze_protocol, ("team",), {}),
            (workflow.score_protocol, (), {}),
            (workflow.close_protocol, ("team",), {"confirm": NAME}),
        ):
            error = self.refused("leave out", [1, 2], action, *arguments, **options)
            assert "name one with --version" in str(error)

    # Backup and restoration

    @step(
        when=lambda self: (
            self.versions_in("frozen", "reading", "closed") and self.model != self.backup
        )
    )
    def back_up(self, data: st.DataObject) -> None:
        file = self.folder / "backup.duckdb"
        file.unlink(missing_ok=True)
        shutil.rmtree(keys_beside(file), ignore_errors=True)
        backup.create_backup(self.study, file)
        self.backup = copy.deepcopy(self.model)

    # Restoring what was just backed up takes long and changes no state.
    @step(when=lambda self: self.backup is not None and self.model != self.backup)
    def restore(self, data: st.DataObject) -> None:
        backup.restore_backup(self.study, self.folder / "backup.duckdb")
        self.model = copy.deepcopy(self.backup)
        self.counts["restorations"] += 1
        self.last_token = {}
        with store.read(self.study) as con:
            verification = verify_chain(con)
        assert verification.valid, verification.reason


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
