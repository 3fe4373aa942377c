"""A reading study beside its model: what the steps of the state machine share."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from core import store
from core.errors import UserError
from core.store.connection import Connection
from core.store.evidence import verify_chain
from core.store.reading import reading_table
from dashboard.components.reading import READING_ROUTES
from dashboard.server import context
from support.explained_study import NAME
from support.reading_model import Model, Site, Surroundings, Version
from support.route_requests import RouteClient

ONE_PRACTICE_TEXT = (("Mass",),)
# Three studies of four begin with version 1 frozen.
FIRST_STATES = st.sampled_from(["frozen", "frozen", "frozen", "empty"])
READERS = ("R1", "R2")
# A study where nothing else is possible has reached its end.
WITHOUT_PROGRESS = {
    "relabel",
    "back_up",
    "restore",
    "change_surroundings",
    "correct_or_repeat",
    "import_from_the_site",
}
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


@dataclass(frozen=True)
class Step:
    """What a person may do in a state; weight: how often it is drawn beside the others."""

    action: Callable[[ModelledStudy, st.DataObject], None]
    when: Callable[[ModelledStudy], Any]
    weight: int

    @property
    def name(self) -> str:
        """The name of the action."""
        return self.action.__name__

    def __repr__(self) -> str:
        return self.name


STEPS: list[Step] = []


def step(when: Callable[[ModelledStudy], Any], weight: int = 1) -> Callable[[Any], Any]:
    """Return the decorator that lists a method among the steps."""

    def enlist(action: Any) -> Any:
        STEPS.append(Step(action, when, weight))
        return action

    return enlist


class ModelledStudy(RuleBasedStateMachine):
    """A study, its model, and the invariant, which holds after each step."""

    # Studies without a version and with version 1 frozen, which are copied and never changed.
    empty: ClassVar[Path]
    frozen: ClassVar[Path]
    # Steps that were executed, and what they did, over all runs.
    counts: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self.client = RouteClient(READING_ROUTES)
        self.steps_without_change = 0
        # The number of the last time that a step was taken.
        self.last_time: dict[str, int] = {}

    @initialize(first_state=FIRST_STATES)
    def begin_study(self, first_state: str) -> None:
        """Begin a study without a version, or with version 1 frozen."""
        self.folder = Path(tempfile.mkdtemp(dir=self.empty.parent))
        self.study = self.folder / "study"
        self.model, self.pixel, self.consent = Model(), False, False
        self.backup: Model | None = None
        self.last_token: dict[str, tuple[str, int]] = {}
        self.site: Site | None = None
        self.checked_commit: tuple[int, int] | None = None
        # Steps that change nothing when they are taken again in the same state.
        self.tried: set[tuple] = set()
        shutil.copytree(self.frozen if first_state == "frozen" else self.empty, self.study)
        self.counts["steps"] -= 1  # the invariant is checked after the beginning as well
        if first_state == "frozen":
            cases = self.stored_cases(1)
            checked = Surroundings(), cases
            self.model.versions[1] = Version("frozen", 1, cases, checked, Surroundings())
            self.model.versions[1].practice = len(ONE_PRACTICE_TEXT)

    def teardown(self) -> None:
        self.end_study()
        self.client.close()

    def end_study(self) -> None:
        """Check all that must hold of the study, and remove it."""
        self.checked_commit = None
        self.states_and_answers_are_those_of_the_model()
        self.counts["steps"] -= 1
        with store.read(self.study) as con:
            verification = verify_chain(con)
        assert verification.valid, verification.reason
        for study in (self.study, self.site.folder if self.site else None):
            if study is not None:
                context.group_commit_writer(study).close()
        shutil.rmtree(self.folder)

    # Hypothesis enables few of many rules in a run, so that most runs would repeat two of them in
    # vain. A single rule, which draws the step, has the useful steps at every time.
    @rule(data=st.data())
    def take_step(self, data: st.DataObject) -> None:
        """Take one of the steps that may change or find something in this state."""
        possible = [step for step in STEPS if step.when(self)]
        if {step.name for step in possible} <= WITHOUT_PROGRESS:
            self.end_study()
            self.begin_study(data.draw(FIRST_STATES))
            return
        # The first run of Hypothesis takes the first of each list: here the step of longest ago.
        possible.sort(key=lambda step: self.last_time.get(step.name, 0))
        weighted = [step for step in possible for _ in range(step.weight)]
        step = data.draw(st.sampled_from(weighted), label="step")
        self.last_time[step.name] = 1 + max(self.last_time.values(), default=0)
        step.action(self, data)

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

    def refused(self, step: str, numbers: list[int], action, *arguments, **options) -> UserError:
        """Take an action that must be refused, and note for which versions it was."""
        with pytest.raises(UserError) as raised:
            action(self.study, NAME, *arguments, **options)
        for number in numbers:
            self.note(step, number)
        self.counts["refusals"] += 1
        return raised.value

    def _attempt(self, step: str, number: int) -> tuple:
        """Return what decides whether a step is refused, by the model."""
        version = self.model.versions[number]
        checked = version.checked and version.checked[0]
        states = version.state, version.seed, version.has_counted_answer
        return step, number, *states, checked, version.frozen, self.surroundings

    def note(self, step: str, number: int) -> None:
        """Note that a step would change nothing in this state of a version."""
        self.tried.add(self._attempt(step, number))

    def untried(self, step: str) -> list[int]:
        """Return the versions for which a step may change something, or was not refused yet."""
        return [n for n in self.model.versions if self._attempt(step, n) not in self.tried]

    def states(self) -> tuple:
        """Return the state of each version."""
        return tuple((n, version.state) for n, version in self.model.versions.items())

    def waiting_readers(self) -> list[str]:
        """Return the readers whose page was not found without a case in the same states."""
        return [code for code in READERS if ("read", code, self.states()) not in self.tried]

    def versions_in(self, *states: str) -> list[int]:
        return [n for n, version in self.model.versions.items() if version.state in states]

    def pick(self, data: st.DataObject, numbers: list[int]) -> tuple[int, Version]:
        number = data.draw(st.sampled_from(numbers), label="version")
        return number, self.model.versions[number]

    def still_frozen(self, number: int, version: Version) -> bool:
        with store.read(self.study) as con:
            has_pictures = bool(reading_table.load_case_pictures(con, NAME, number))
        pixels = self.pixel == version.frozen.pixel or not has_pictures
        return pixels and self.model.truth == version.frozen.truth

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

    def acknowledged(self, code: str) -> int:
        """Return how many answers of a reader were acknowledged, with corrections."""
        return sum(
            len(revisions)
            for version in self.model.versions.values()
            for (reader, _), revisions in version.answers.items()
            if reader == code
        )

    def acknowledge(self, code: str, number: int, position: int, revision: int, value: int) -> None:
        version = self.model.versions[number]
        assert version.state == "reading"
        revisions = version.answers.setdefault((code, position), [])
        assert revision == len(revisions) + 1
        revisions.append((revision, value))
        self.counts["answers"] += 1

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
