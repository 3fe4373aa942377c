"""What a reader's page may request: the next case, the answer just given, the case before it.

Truth, pathology, case, patient, file, score, arm, repeats, later cases, the own count of answers
and other readers are not available here; `core.store.blinded_queries` does not select them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.errors import RequestRefused
from core.sessions.arms import shows_images
from core.sessions.case_order import reader_case_order
from core.sessions.positions import current_position, find_stored_answer, previous_position
from core.sessions.tokens import one_time_token, refuse_invalid_answer, valid_seconds
from core.store import blinded_queries, participant_table
from core.store.blinded_queries import ReadingPosition
from core.store.connection import Connection
from core.store.reading import bundle_table, protocol_table, reading_table
from core.store.reading.protocol_states import OPEN_STATES
from core.store.reading.protocol_table import Protocol
from core.store.reading.reading_table import ReadingItem, SavedAnswer

TEXT_SLOTS = 3
PRACTICE_TEXTS = (
    ("Mass with circumscribed margin", "Fatty tissue", "Vascular calcifications"),
    (
        "Mass with spiculated margin",
        "Architectural distortion",
        "Fine pleomorphic calcifications, grouped distribution",
    ),
    ("Lymph node", "Scattered tissue", "Round calcifications"),
    ("Focal asymmetry", "Heterogeneously dense tissue", "Mass with indistinct margin"),
    ("Pectoral muscle", "Milk of calcium calcifications", "Mass with obscured margin"),
)
STUDY_CLOSED = (
    "This reading study has been closed; no further answers are taken. What you answered before is"
    " kept. Thank you."
)
NO_OPEN_STUDY = (
    "Nothing to read yet. The research team will tell you when the reading study is open."
)
STALE_CASE = "This case was answered in another window; the next one is shown here."


@dataclass(frozen=True, kw_only=True)
class DisplayedCase:
    """One case as a reader sees it.

    number, total: its place among the real cases or, in practice, among the practice cases.
    can_reopen: the case before can be answered again. picture: kind and source of the image for the
    server to draw; it is never sent.
    """

    token: str
    texts: tuple[str, ...]
    number: int
    total: int
    practice: bool
    answer: int | None
    position: int
    can_reopen: bool
    picture: tuple[str, str] | None = None


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
        """Return the case at a position, or the first unanswered one; None when none is left."""
        positions = self.reading_progress(con, protocol) if positions is None else positions
        position = position or current_position(positions)
        if position is None:
            return None
        # Practice and real cases are counted apart.
        same_kind = [p for p in positions if p.practice == position.practice]
        number = same_kind.index(position) + 1
        texts, picture = _load_content(con, protocol, position)
        return DisplayedCase(
            token=self._token(position, position.revision + 1),
            texts=_padded(texts, protocol),
            number=number,
            total=len(same_kind),
            practice=position.practice,
            answer=position.answer,
            position=position.position,
            can_reopen=number > 1 and position.answer is None,
            picture=picture,
        )

    def _token(self, position: ReadingPosition, revision: int) -> str:
        """Return the one-time token for a revision of the answer at a position."""
        return one_time_token(self._secret, "read", position.token, revision)

    def reopen_previous(self, con: Connection, protocol: Protocol) -> DisplayedCase:
        """Return the previous case with its answer, the only one that may be answered again.

        RequestRefused("stale") at the first case.
        """
        positions = self.reading_progress(con, protocol)
        previous = _previous_of_kind(positions)
        case = None if previous is None else self.displayed_case(con, protocol, positions, previous)
        if case is None:
            raise RequestRefused("stale", "There is no earlier case to reopen.")
        return case

    def save_answer(
        self, con: Connection, token: str, answer: Any, seconds: Any, idle: Any
    ) -> tuple[SavedAnswer, DisplayedCase | None, Protocol]:
        """Append the answer on the case displayed with this token; return it with the next case.

        The same token with the same answer gets the same acknowledgement again.
        RequestRefused("stale") for a token that is neither the current case's nor the previous
        one's, "closed" when the study is closed, "consent" without consent.
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
        # Earlier answers are final: later cases must not influence them.
        for position in (current_position(positions), _previous_of_kind(positions)):
            if position is None or self._token(position, position.revision + 1) != token:
                continue
            with refuse_invalid_answer():
                saved = reading_table.append_reading_answer(
                    con,
                    protocol=protocol,
                    code=self.code,
                    position=position.position,
                    revision=position.revision + 1,
                    answer=answer,
                    seconds=valid_seconds(seconds),
                    idle=bool(idle),
                )
            # Updated in place of a second query.
            positions[positions.index(position)] = replace(
                position, revision=saved.revision, answer=saved.answer, made=saved.made
            )
            return saved, self.displayed_case(con, protocol, positions), protocol
        stored = find_stored_answer(
            positions, token, answer, lambda position: self._token(position, position.revision)
        )
        if stored is None or stored.answer is None or stored.made is None:
            raise RequestRefused("stale", STALE_CASE)
        saved = SavedAnswer(stored.position, stored.revision, stored.answer, stored.made)
        return saved, self.displayed_case(con, protocol, positions), protocol


def reader_items(con: Connection, protocol: Protocol, code: str) -> list[ReadingItem]:
    """Return the order that the frozen rule assigns to a reader, practice first."""
    numbers, patients, texts, blocks = blinded_queries.load_cases_to_order(
        con, protocol.protocol, protocol.version
    )
    seed, repeats = int(protocol.design.get("seed", 0)), int(protocol.design.get("repeats", 0))
    order = reader_case_order(numbers, patients, texts, seed, code, repeats, blocks)
    practice_count = len(_practice_texts(protocol))
    # Practice has negative numbers, so it can never be taken for a case.
    items = [ReadingItem(-i, practice=True) for i in range(1, practice_count + 1)]
    return items + [ReadingItem(number, repeat=is_repeat) for number, is_repeat in order]


def _previous_of_kind(positions: Sequence[ReadingPosition]) -> ReadingPosition | None:
    """Return the previous position, or None at the first real case: practice is never reopened."""
    previous, current = previous_position(positions), current_position(positions)
    if previous is not None and current is not None and current.practice != previous.practice:
        return None
    return previous


def _load_content(
    con: Connection, protocol: Protocol, position: ReadingPosition
) -> tuple[Sequence[str], tuple[str, str] | None]:
    """Return the texts of a position, and the kind and source of its image."""
    texts, picture = blinded_queries.load_case_content(
        con, protocol.protocol, protocol.version, position.case_number
    )
    if position.practice:
        return _practice_texts(protocol)[-position.case_number - 1], picture
    if texts is None:
        raise RequestRefused(
            "stale", "This case does not exist any more; please tell the research team."
        )
    return texts, picture


def _practice_texts(protocol: Protocol) -> Sequence[Sequence[str]]:
    return protocol.design.get("practice") or PRACTICE_TEXTS


def _padded(texts: Sequence[str], protocol: Protocol) -> tuple[str, ...]:
    """Return texts padded to the design's constant number, which reveals nothing about a case."""
    slots = int(protocol.design.get("texts", TEXT_SLOTS))
    return tuple([*texts, *[""] * slots][: max(slots, 1)])
