"""Blinding: readers' and experts' sessions cannot reach what is withheld from them."""

from __future__ import annotations

import ast
import inspect
import re
from types import ModuleType

import pytest

from core.sessions import audit_session, positions, reading_session
from core.store import blinded_queries

SEALED = ("truth", "network_score", "predicted", "mammogram_id", "arm")
READING_FUNCTIONS = (
    blinded_queries.load_cases_to_order,
    blinded_queries.has_case_pictures,
    blinded_queries.load_reading_positions,
    blinded_queries.load_case_content,
    blinded_queries.load_case_advice,
    blinded_queries.has_questionnaire_answers,
)
AUDIT_FUNCTIONS = (blinded_queries.load_audit_positions, blinded_queries.load_audit_tile)


def without_docstring(source: str) -> str:
    return source.split('"""', 2)[2]


def attributes_of(module: ModuleType, table: str) -> set[str]:
    """Return the names that a module takes from a table module."""
    return {
        node.attr
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == table
    }


@pytest.mark.parametrize(
    "code",
    [reading_session, positions, blinded_queries.ReadingPosition, *READING_FUNCTIONS],
    ids=lambda code: code.__name__,
)
def test_reading_names_no_sealed_column(code: object) -> None:
    source = without_docstring(inspect.getsource(code))
    for column in SEALED:
        assert not re.search(rf"\b{column}\b", source)


@pytest.mark.parametrize("function", AUDIT_FUNCTIONS, ids=lambda function: function.__name__)
def test_audit_selects_no_withheld_column(function: object) -> None:
    queries = re.findall(r'"""(.*?)"""', without_docstring(inspect.getsource(function)), re.S)
    assert len(queries) == 1
    # The class of a patch is patches.label; i.label is the label of the unit that is judged.
    for column in ("rank", "activation", "kind", "p.label", "patient_id", "simulated"):
        assert not re.search(rf"\b{re.escape(column)}\b", queries[0])


def test_sessions_use_only_blinded_queries() -> None:
    reading = {function.__name__ for function in READING_FUNCTIONS}
    audit = {function.__name__ for function in AUDIT_FUNCTIONS}
    assert attributes_of(reading_session, "blinded_queries") == reading
    assert attributes_of(audit_session, "blinded_queries") == audit
    # All that the sessions take from the team's tables: the stage of a study, and appends.
    assert attributes_of(reading_session, "reading_table") == {
        "has_reading_order",
        "assign_reading_order",
        "append_reading_answer",
        "check_answer",
        "count_reading_orders",
    }
    assert attributes_of(reading_session, "stage_table") == {
        "append_stage_answer",
        "question_stage",
        "QUESTIONNAIRE_POSITION",
    }
    assert attributes_of(reading_session, "protocol_table") == {
        "answer_scale",
        "current_reading_study",
        "next_reading_study",
    }
    assert attributes_of(audit_session, "audit_table") == {"current_audit", "append_audit_answer"}
