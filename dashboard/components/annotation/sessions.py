"""The sessions of one annotator under the settings of the served study."""

from __future__ import annotations

from core import settings
from core.sessions.annotation_session import AnnotationSession
from core.sessions.audit_session import AuditSession
from dashboard.server import context


def annotation_session_of(code: str) -> AnnotationSession:
    """Return the session of one annotator."""
    path = context.served_study()
    annotation = settings.load_settings(path).annotation
    secret = context.study_secret(path)
    return AnnotationSession(
        code, secret, annotation.repeats, annotation.show_patch_labels, annotation.by_group
    )


def audit_session_of(code: str) -> AuditSession:
    """Return the audit session of one annotator."""
    return AuditSession(annotation_session_of(code), context.study_secret(context.served_study()))
