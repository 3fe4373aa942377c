"""Which rows each record of the evidence covers."""

from __future__ import annotations

from core.store.evidence import covered_rows

VERSION = ("protocol", "version")


def test_rows_keys_and_orders() -> None:
    """Other keys or orders would give other hashes than those of earlier stores."""
    found = [
        (k.kind, k.table, k.key, k.order, k.replaceable) for k in covered_rows.ROW_KINDS.values()
    ]
    position = (*VERSION, "code", "position")
    revoked = "(SELECT * FROM invitations WHERE revoked_at IS NOT NULL)"
    assert found == [
        ("reading_cases", "reading_cases", VERSION, (*VERSION, "case_number"), True),
        (
            *("reading_pictures", "reading_pictures", VERSION),
            *((*VERSION, "case_number", "slot"), False),
        ),
        ("reading_order", "reading_items", (*VERSION, "code"), position, False),
        ("reading_answer", "answers", (*position, "revision"), (*position, "revision"), False),
        ("reading_stage", "reading_stages", (*position, "stage"), (*position, "stage"), False),
        ("interim_look", "interim_looks", (*VERSION, "number"), (*VERSION, "number"), False),
        ("protocol_state", "protocols", (*VERSION, "state"), (*VERSION, "state"), True),
        ("participant", "people", ("code",), ("code",), False),
        ("consent", "consents", (), ("code", "made"), False),
        ("withdrawal", revoked, ("token_hash",), ("token_hash",), False),
        ("log", "log", (), ("made", "who", "event", "detail"), False),
        ("restore", "replaced_records", ("restored_at",), ("restored_at", "number", "hash"), False),
    ]


def test_subjects_name_version_reader_and_position() -> None:
    row = {
        "protocol": "P",
        "version": 2,
        "code": "R3",
        "position": 4,
        "revision": 5,
        "stage": "first",
        "number": 6,
        "state": "frozen",
        "made": "then",
        "event": "e",
        "who": "w",
        "restored_at": "later",
    }
    subjects = {name: kind.subject.format(**row) for name, kind in covered_rows.ROW_KINDS.items()}
    assert subjects == {
        "reading_cases": "P, version 2: cases",
        "reading_pictures": "P, version 2: images",
        "reading_order": "P, version 2: order of reader R3",
        "reading_answer": "P, version 2: answer of reader R3 at position 4, revision 5",
        "reading_stage": "P, version 2: first of reader R3 at position 4",
        "interim_look": "P, version 2: interim look 6",
        "protocol_state": "P, version 2: state frozen",
        "participant": "participant R3",
        "consent": "consent of R3 at then",
        "withdrawal": "withdrawal of the link of R3 that was made at then",
        "log": "log of then: e, w",
        "restore": "restore of a backup at later",
    }


def test_what_may_not_be_recorded_after_a_closing() -> None:
    assert set(covered_rows.ENDED_KINDS) == {
        *("reading_cases", "reading_pictures", "reading_order", "reading_answer"),
        *("reading_stage", "interim_look"),
    }
    assert (
        covered_rows.ROW_KINDS["protocol_state"]
        .subject.format(protocol="P", version=1, state="closed")
        .endswith(covered_rows.CLOSING)
    )
