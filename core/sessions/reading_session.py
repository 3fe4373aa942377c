"""What a reader's page may request: the next case, the answer just given, the case before it.

Truth, pathology, case, patient, file, score, arm, repeats, later cases, the own count of answers
and other readers are not available here; `core.store.blinded_queries` does not select them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from core.errors import RequestRefused
from core.images.blinded_rendering import FILM_PLACES
from core.lexicon.birads_categories import PRACTICE_TEXTS
from core.sessions.arms import shows_images
from core.sessions.case_order import reader_case_order
from core.sessions.positions import current_position, find_stored_answer, previous_position
from core.sessions.reading.advice_statements import advice_statement, gives_advice
from core.sessions.reading.crossover import crossover_case_order
from core.sessions.reading.displayed_case import DisplayedAdvice, DisplayedCase
from core.sessions.reading.steps import (
    FINAL_STEP,
    FIRST_STEP,
    PREDICTION_STEP,
    current_step,
    locks_answers,
    valid_question_answers,
    washout_end,
)
from core.sessions.tokens import one_time_token, refuse_invalid_answer, valid_seconds
from core.store import blinded_queries, participant_table
from core.store.blinded_queries import ReadingPosition
from core.store.connection import Connection
from core.store.reading import bundle_table, protocol_table, reading_table, stage_table
from core.store.reading.protocol_states import OPEN_STATES
from core.store.reading.protocol_table import Protocol
from core.store.reading.reading_table import ReadingItem, SavedAnswer
from core.store.reading.stage_table import CLOSING_QUESTION, FIRST, PREDICTION, QUESTION
from core.timestamps import utc_now

TEXT_SLOTS = 3
STUDY_CLOSED = (
    "This reading study has been closed; no further answers are taken. What you answered before is"
    " kept. Thank you."
)
NO_OPEN_STUDY = (
    "Nothing to read yet. The research team will tell you when the reading study is open."
)
STALE_CASE = "This case was answered in another window; the next one is shown here."


class ReadingSession:
    """One reader in one study."""

    def __init__(self, code: str, secret: bytes) -> None:
        self.code = code
        self._secret = secret

    def has_consented(self, con: Connection) -> bool:
        """Return whether this person has given consent."""
        return participant_table.has_consented(con, self.code)

    def protocol(self, con: Connection, next_study: bool = False) -> Protocol:
        """Return the reading study that this reader reads.

        It is the study begun until it is finished or closed, whatever else is frozen meanwhile; for
        a new reader it is the open one. next_study: the reader has seen that the study begun is
        finished or closed and requests the next one. RequestRefused("closed") where the study begun
        was closed, RequestRefused("empty") where there is nothing to read.
        """
        current = protocol_table.current_reading_study(con, self.code)
        protocol = current[0] if current is not None else None
        if current is None or (next_study and (current[1] or current[0].state not in OPEN_STATES)):
            protocol = protocol_table.next_reading_study(con, self.code) or protocol
        if protocol is None:
            raise RequestRefused("empty", NO_OPEN_STUDY)
        if protocol.state not in OPEN_STATES:
            raise RequestRefused("closed", STUDY_CLOSED)
        # Without its images such a case would be shown incompletely.
        needs_images = any(map(shows_images, protocol.design.get("arms", ())))
        if needs_images and not self.has_pictures(con, protocol):
            raise RequestRefused(
                "empty",
                "This reading study needs images, which were not frozen with it. Please tell the"
                " research team.",
            )
        return protocol

    def has_pictures(self, con: Connection, protocol: Protocol) -> bool:
        """Return whether any case of a study shows an image."""
        return blinded_queries.has_case_pictures(con, protocol.protocol, protocol.version)

    def has_next_study(self, con: Connection) -> bool:
        """Return whether there is an open study that this reader has not begun."""
        return protocol_table.next_reading_study(con, self.code) is not None

    def start_token(self, protocol: Protocol) -> str:
        """Return the token that the instructions of a study carry.

        It binds the start to that study: no reader begins another one than the one introduced.
        """
        return one_time_token(self._secret, "begin", self.code, protocol.protocol, protocol.version)

    def start_study(self, con: Connection, start_token: str) -> None:
        """Assign the order once the instructions with this token were read.

        Nothing happens where another study, or none, is to be read by now. A reader who has begun
        no study needs no token. RequestRefused("consent") without consent.
        """
        if not self.has_consented(con):
            raise RequestRefused("consent", "Please give your consent first.")
        is_first = protocol_table.current_reading_study(con, self.code) is None
        protocol = self.protocol(con, next_study=True)
        if start_token == self.start_token(protocol) or (is_first and not start_token):
            self.assign_order(con, protocol)

    def has_order(self, con: Connection, protocol: Protocol) -> bool:
        """Return whether this reader's order in a study has been assigned."""
        return reading_table.has_reading_order(con, protocol.protocol, protocol.version, self.code)

    def assign_order(self, con: Connection, protocol: Protocol) -> None:
        """Assign this reader's order in a study, once."""
        if self.has_order(con, protocol):
            return
        # A site bundle holds the orders of its readers; it lacks what the rule of order needs.
        items = bundle_table.load_seat(con, self.code) or reader_items(con, protocol, self.code)
        reading_table.assign_reading_order(
            con, protocol.protocol, protocol.version, self.code, items
        )

    def reading_progress(self, con: Connection, protocol: Protocol) -> list[ReadingPosition]:
        """Return this reader's whole order with the latest answers."""
        return blinded_queries.load_reading_positions(
            con, protocol.protocol, protocol.version, self.code
        )

    def displayed_case(
        self,
        con: Connection,
        protocol: Protocol,
        positions: Sequence[ReadingPosition] | None = None,
        position: ReadingPosition | None = None,
    ) -> DisplayedCase | None:
        """Return the case at a position, or the first unanswered one.

        None when none is left, or when the next period of a crossover is not open yet.
        """
        positions = self.reading_progress(con, protocol) if positions is None else positions
        position = position or current_position(positions)
        if position is None or washout_end(protocol.design, positions, utc_now()):
            return None
        # Practice and real cases are counted apart.
        same_kind = [p for p in positions if p.practice == position.practice]
        number = same_kind.index(position) + 1
        texts, pictures = _load_content(con, protocol, position)
        has_advice, advice = gives_advice(protocol.design), None
        step = current_step(protocol.design, position)
        if has_advice and step == FINAL_STEP:
            advice = _load_advice(con, protocol, position, texts)
        return DisplayedCase(
            token=self._step_token(protocol, position),
            # The texts of a case with advice belong to the advice.
            texts=() if has_advice else _padded(texts, protocol),
            number=number,
            total=len(same_kind),
            practice=position.practice,
            answer=position.answer,
            position=position.position,
            can_reopen=number > 1
            and position.answer is None
            and not locks_answers(protocol.design),
            pictures=tuple(pictures),
            step=step if has_advice else None,
            first_answer=position.first,
            advice=advice,
        )

    def _token(self, position: ReadingPosition, revision: int) -> str:
        """Return the one-time token for a revision of the answer at a position."""
        return one_time_token(self._secret, "read", position.token, revision)

    def _lock_token(self, position: ReadingPosition, step: str) -> str:
        """Return the one-time token for a step before the final answer."""
        return one_time_token(self._secret, "read", position.token, step)

    def _step_token(self, protocol: Protocol, position: ReadingPosition) -> str:
        """Return the token of the step at which the reader is."""
        step = current_step(protocol.design, position)
        if step == FINAL_STEP:
            return self._token(position, position.revision + 1)
        return self._lock_token(position, step)

    def washout_end(self, con: Connection, protocol: Protocol) -> datetime | None:
        """Return when the next period of a crossover opens for this reader (UTC), else None."""
        return washout_end(protocol.design, self.reading_progress(con, protocol), utc_now())

    def reopen_previous(self, con: Connection, protocol: Protocol) -> DisplayedCase:
        """Return the previous case with its answer, the only one that may be answered again.

        RequestRefused("stale") at the first case, and in a study whose answers are locked.
        """
        positions = self.reading_progress(con, protocol)
        previous = None if locks_answers(protocol.design) else _previous_of_kind(positions)
        case = None if previous is None else self.displayed_case(con, protocol, positions, previous)
        if case is None:
            raise RequestRefused("stale", "There is no earlier case to reopen.")
        return case

    def save_answer(
        self,
        con: Connection,
        token: str,
        answer: Any,
        seconds: Any,
        idle: Any,
        questions: Any = None,
    ) -> tuple[SavedAnswer, DisplayedCase | None, Protocol]:
        """Append the answer on the case displayed with this token; return it with the next case.

        In a study with advice the next case is the same one at its next step, until its final
        answer. questions: answers to the further questions, with the final answer. The same token
        with the same answer gets the same acknowledgement again. RequestRefused("stale") for a
        token that is neither the current case's nor the previous one's, "closed" when the study is
        closed, "consent" without consent, "answer" for an answer that cannot be stored.
        """
        if not self.has_consented(con):
            raise RequestRefused("consent", "Please give your consent first.")
        # The study begun, never the newest one: answers belong to the cases that were displayed.
        current = protocol_table.current_reading_study(con, self.code)
        if current is None:
            raise RequestRefused("stale", STALE_CASE)
        protocol = current[0]
        if protocol.state not in OPEN_STATES:
            raise RequestRefused("closed", STUDY_CLOSED)
        positions = self.reading_progress(con, protocol)
        if washout_end(protocol.design, positions, utc_now()):
            raise RequestRefused("stale", STALE_CASE)
        # Earlier answers are final: later cases must not influence them.
        previous = None if locks_answers(protocol.design) else _previous_of_kind(positions)
        for position in (current_position(positions), previous):
            if position is None or self._step_token(protocol, position) != token:
                continue
            entry = (answer, valid_seconds(seconds), bool(idle))
            with refuse_invalid_answer():
                saved, answered = self._append(con, protocol, position, entry, questions)
            # Updated in place of a second query.
            positions[positions.index(position)] = answered
            return saved, self.displayed_case(con, protocol, positions), protocol
        saved = self._stored_answer(positions, token, answer)
        return saved, self.displayed_case(con, protocol, positions), protocol

    def _append(
        self,
        con: Connection,
        protocol: Protocol,
        position: ReadingPosition,
        entry: tuple[Any, float | None, bool],
        questions: Any,
    ) -> tuple[SavedAnswer, ReadingPosition]:
        """Append an answer at the step of a position; return it with the position as it is then.

        entry: answer, seconds, idle. UserError or RequestRefused before anything is written.
        """
        answer, seconds, idle = entry
        step, design = current_step(protocol.design, position), protocol.design
        where: dict[str, Any] = {
            "protocol": protocol,
            "code": self.code,
            "position": position.position,
        }
        if step != FINAL_STEP:
            is_first = step == FIRST_STEP
            highest = protocol_table.answer_scale(design) if is_first else 2
            reading_table.check_answer(answer, highest)
            stored_at = stage_table.append_stage_answer(
                con,
                **where,
                stage=FIRST if is_first else PREDICTION,
                value=str(answer),
                seconds=seconds,
                idle=idle,
            )
            locked = {"first" if is_first else "prediction": answer, "locked_at": stored_at}
            return (
                SavedAnswer(position.position, 0, answer, stored_at),
                replace(position, **locked),
            )
        asked = design.get("questions", ())
        values = valid_question_answers(asked, questions) if asked else []
        saved = reading_table.append_reading_answer(
            con,
            **where,
            revision=position.revision + 1,
            answer=answer,
            seconds=seconds,
            idle=idle,
        )
        self._append_question_answers(con, protocol, position.position, QUESTION, values)
        return saved, replace(
            position, revision=saved.revision, answer=saved.answer, made=saved.made
        )

    def _append_question_answers(
        self, con: Connection, protocol: Protocol, position: int, kind: str, values: Sequence[str]
    ) -> None:
        for number, value in enumerate(values, start=1):
            stage_table.append_stage_answer(
                con,
                protocol=protocol,
                code=self.code,
                position=position,
                stage=stage_table.question_stage(kind, number),
                value=value,
            )

    def _stored_answer(
        self, positions: Sequence[ReadingPosition], token: str, answer: Any
    ) -> SavedAnswer:
        """Return the answer that was stored with this token before. RequestRefused("stale")."""
        stored = find_stored_answer(
            positions, token, answer, lambda position: self._token(position, position.revision)
        )
        if stored is not None and stored.answer is not None and stored.made is not None:
            return SavedAnswer(stored.position, stored.revision, stored.answer, stored.made)
        position = current_position(positions)
        if position is not None and position.locked_at is not None:
            # A first answer or a prediction whose acknowledgement was lost.
            for step, locked in (
                (FIRST_STEP, position.first),
                (PREDICTION_STEP, position.prediction),
            ):
                is_same = locked is not None and locked == answer
                if is_same and self._lock_token(position, step) == token:
                    return SavedAnswer(position.position, 0, answer, position.locked_at)
        raise RequestRefused("stale", STALE_CASE)

    def questionnaire_token(self, con: Connection, protocol: Protocol) -> str | None:
        """Return the token of the questionnaire at the end; None where there is nothing to answer.

        It follows the last case, and is answered once.
        """
        if not protocol.design.get("questionnaire") or blinded_queries.has_questionnaire_answers(
            con, protocol.protocol, protocol.version, self.code
        ):
            return None
        if current_position(self.reading_progress(con, protocol)) is not None:
            return None
        return one_time_token(
            self._secret, "questionnaire", self.code, protocol.protocol, protocol.version
        )

    def save_questionnaire(
        self, con: Connection, token: str, answers: Any
    ) -> tuple[datetime, Protocol]:
        """Append the answers to the questionnaire; return the time and the study.

        RequestRefused("stale") where it is not due or was answered, else as `save_answer`.
        """
        if not self.has_consented(con):
            raise RequestRefused("consent", "Please give your consent first.")
        current = protocol_table.current_reading_study(con, self.code)
        if current is None:
            raise RequestRefused("stale", STALE_CASE)
        protocol = current[0]
        if protocol.state not in OPEN_STATES:
            raise RequestRefused("closed", STUDY_CLOSED)
        if token != self.questionnaire_token(con, protocol):
            raise RequestRefused("stale", "These questions are not due, or were answered already.")
        values = valid_question_answers(protocol.design["questionnaire"], answers)
        self._append_question_answers(
            con, protocol, stage_table.QUESTIONNAIRE_POSITION, CLOSING_QUESTION, values
        )
        return utc_now(), protocol


def reader_items(con: Connection, protocol: Protocol, code: str) -> list[ReadingItem]:
    """Return the order that the frozen rule assigns to a reader, practice first."""
    numbers, patients, texts, blocks = blinded_queries.load_cases_to_order(
        con, protocol.protocol, protocol.version
    )
    seed, repeats = int(protocol.design.get("seed", 0)), int(protocol.design.get("repeats", 0))
    practice_count = len(_practice_texts(protocol))
    # Practice has negative numbers, so it can never be taken for a case.
    items = [ReadingItem(-i, practice=True) for i in range(1, practice_count + 1)]
    if protocol.design.get("washout_days"):
        rotation = reading_table.count_reading_orders(con, protocol.protocol, protocol.version)
        in_periods = crossover_case_order(
            numbers, patients, texts, [block or 0 for block in blocks], seed, code, rotation
        )
        return items + [ReadingItem(number, period=period) for number, period in in_periods]
    order = reader_case_order(numbers, patients, texts, seed, code, repeats, blocks)
    return items + [ReadingItem(number, repeat=is_repeat) for number, is_repeat in order]


def _previous_of_kind(positions: Sequence[ReadingPosition]) -> ReadingPosition | None:
    """Return the previous position, or None at the first real case: practice is never reopened."""
    previous, current = previous_position(positions), current_position(positions)
    if previous is not None and current is not None and current.practice != previous.practice:
        return None
    return previous


def _load_content(
    con: Connection, protocol: Protocol, position: ReadingPosition
) -> tuple[Sequence[str], Sequence[tuple[int, str, str]]]:
    """Return the texts of a position, and slot, kind and source of each of its images."""
    texts, pictures = blinded_queries.load_case_content(
        con, protocol.protocol, protocol.version, position.case_number, len(FILM_PLACES)
    )
    if position.practice:
        return _practice_texts(protocol)[-position.case_number - 1], pictures
    if texts is None:
        raise RequestRefused(
            "stale", "This case does not exist any more; please tell the research team."
        )
    return texts, pictures


def _load_advice(
    con: Connection, protocol: Protocol, position: ReadingPosition, texts: Sequence[str]
) -> DisplayedAdvice | None:
    """Return the advice of a position; None for a case without advice."""
    advice, maps = blinded_queries.load_case_advice(
        con, protocol.protocol, protocol.version, position.case_number, len(FILM_PLACES)
    )
    if position.practice:
        advice = protocol.design["practice_advice"][-position.case_number - 1]
    if advice is None:
        return None
    return DisplayedAdvice(advice_statement(protocol.design, advice), tuple(texts), tuple(maps))


def _practice_texts(protocol: Protocol) -> Sequence[Sequence[str]]:
    return protocol.design.get("practice") or PRACTICE_TEXTS


def _padded(texts: Sequence[str], protocol: Protocol) -> tuple[str, ...]:
    """Return texts padded to the design's constant number, which reveals nothing about a case."""
    slots = int(protocol.design.get("texts", TEXT_SLOTS))
    return tuple([*texts, *[""] * slots][: max(slots, 1)])
