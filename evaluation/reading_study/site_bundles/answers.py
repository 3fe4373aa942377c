"""Answers of a site bundle: export at the other site, import into the original study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core import store, study_folder
from core.errors import UserError
from core.store import run_table
from core.store.connection import Connection
from core.store.evidence import chain_head
from core.store.reading import bundle_table, protocol_table
from core.store.reading.bundle_table import BundleReader
from core.store.reading.protocol_states import OPEN_STATES
from core.store.reading.protocol_table import Protocol
from core.timestamps import utc_now
from evaluation.intervals import count_text
from evaluation.reading_study.site_bundles import keys
from evaluation.reading_study.site_bundles.bundles import check_bundle, check_bundle_schema
from evaluation.reading_study.site_bundles.merging import store_readers
from evaluation.reading_study.site_bundles.payload import (
    AnswersPayload,
    check_readers,
    parse_payload,
    payload_content,
)

ANSWERS_KIND = "deepminer reading answers"
ANSWERS_SCHEMA = 2
LARGEST_FILE = 100_000_000


class _Form(BaseModel):
    """What every answers file says first, whatever its form."""

    model_config = ConfigDict(strict=True, frozen=True)

    form: int = Field(alias="schema")
    kind: str


class AnswersFile(_Form):
    """An answers file: encrypted content, and a signature over everything else."""

    model_config = ConfigDict(extra="forbid")

    bundle: str
    content: str
    signature: str

    def header(self) -> list[Any]:
        """Return what the encryption is bound to."""
        return [self.kind, self.form, self.bundle]

    def signed_content(self) -> list[Any]:
        """Return what the signature covers."""
        return [*self.header(), self.content]


_FormT = TypeVar("_FormT", bound=_Form)


@dataclass(frozen=True, kw_only=True)
class ImportedAnswers:
    """Imported answers of a bundle.

    Parameters
    ----------
    id : str
        The bundle.
    protocol, version
        The protocol.
    readers : dict
        Code of each reader in this study to the number of answers in the file, without practice.
    added : int
        Number of new rows of answers, with practice and corrections; 0 where all were imported
        before.
    """

    id: str
    protocol: str
    version: int
    readers: dict[str, int]
    added: int


def export_answers(study: Path, file: Path, user: str) -> dict[str, int]:
    """Write the answers of a site bundle into a file for the original study.

    The file is encrypted to the original study and signed with the bundle's key.

    Parameters
    ----------
    study : Path
        The study folder of the bundle.
    file : Path
        New JSON file.
    user : str
        Code of the acting person, for the log.

    Returns
    -------
    dict
        Code of each reader to the number of answers, without practice.

    Raises
    ------
    UserError
        If the study is not a bundle, was changed, has no answers or lacks its key, or the file
        exists.
    """
    protocol = check_bundle(study)
    if protocol is None:
        raise UserError(
            f"{study} is not a site bundle; its answers are in its own store (`deepminer reading"
            " answers` after closing)."
        )
    if file.exists():
        raise UserError(f"{file} exists already; name a new file for the answers.")
    signing_key = keys.load_signing_key(study)
    with store.read(study) as con:
        identity = bundle_table.bundle_identity(con) or {}
        readers = bundle_table.load_bundle_readers(con, protocol.protocol, protocol.version)
        head = chain_head(con)
    if not readers:
        raise UserError(
            "There are no answers to export yet; invite a reader with `deepminer invite reader`."
        )
    exported = utc_now()
    content = payload_content(
        protocol=protocol.protocol,
        version=protocol.version,
        hash=protocol.hash,
        seal=identity["seal"],
        exported=exported,
        head=head,
        readers=readers,
    )
    # What the original study would refuse is reported here, where it can be corrected.
    _check_content(str(study), keys.canonical_json(content), identity, protocol, exported)
    sealed = seal_answers(signing_key, identity, content)
    counts = {reader.code: _count_answers(reader) for reader in readers}
    with store.write(study) as con:
        run_table.append_log(
            con, user, "bundle answers exported", f"{sum(counts.values())} answers to {file.name}"
        )
    study_folder.write_text(file, sealed.model_dump_json(indent=1, by_alias=True) + "\n")
    return counts


def seal_answers(
    signing_key: keys.Ed25519PrivateKey, identity: Mapping[str, Any], content: Mapping[str, Any]
) -> AnswersFile:
    """Return a content encrypted to the original study and signed with a bundle's key."""
    unsigned = AnswersFile(
        schema=ANSWERS_SCHEMA, kind=ANSWERS_KIND, bundle=identity["id"], content="", signature=""
    )
    ciphertext = keys.encrypt(identity["encryption_key"], content, unsigned.header())
    encrypted = unsigned.model_copy(update={"content": ciphertext})
    signature = keys.sign(signing_key, encrypted.signed_content())
    return encrypted.model_copy(update={"signature": signature})


def _count_answers(reader: BundleReader) -> int:
    """Count the answered positions of a reader's order, without practice."""
    practice = sum(item.practice for item in reader.items)  # practice comes first
    # A set: the revisions of one answer count once.
    return len({answer.position for answer in reader.answers if answer.position > practice})


def import_answers(study: Path, file: Path, user: str) -> ImportedAnswers:
    """Import the answers of a site bundle: all or none.

    A later export of the same bundle adds what is new. A file that was imported before, or is older
    than one that was, changes nothing.

    Parameters
    ----------
    study : Path
        The original study folder.
    file : Path
        File of `export_answers`.
    user : str
        Code of the acting person, for the log.

    Returns
    -------
    ImportedAnswers
        Readers have codes such as B1-R1: bundle, then their code in the bundle.

    Raises
    ------
    UserError
        If the file is unreadable, was changed, cannot be decrypted or contains a value that the
        bundle cannot have produced; if the bundle is unknown; if the protocol is closed; or if the
        answers contradict those imported before.
    """
    sealed = _read_answers_file(file)
    with store.read(study) as con:
        record = _find_record(con, file, sealed)
        protocol = _open_protocol(con, file, record)
    text = keys.decrypt(
        keys.load_decryption_key(study, sealed.bundle), sealed.content, sealed.header()
    )
    if text is None:
        raise UserError(
            f"{file} cannot be decrypted with {keys.decryption_key_path(study, sealed.bundle)}:"
            " that is not the key of this bundle; restore it from a backup of the study folder."
        )
    payload, readers = _check_content(str(file), text, record, protocol, utc_now())
    # Every site starts with R1; the bundle's id makes the codes unique in the study.
    readers = [replace(reader, code=f"{sealed.bundle}-{reader.code}") for reader in readers]
    counts = {reader.code: _count_answers(reader) for reader in readers}
    # One transaction: an error in any reader's rows leaves the study unchanged.
    with store.write(study) as con:
        _open_protocol(con, file, record)
        added = store_readers(con, file, protocol, sealed.bundle, readers)
        if added is not None:
            content = {"signature": sealed.signature, "head": payload.head.model_dump()}
            bundle_table.record_bundle_import(con, sealed.bundle, payload.exported, content, user)
            run_table.append_log(
                con,
                user,
                "bundle answers imported",
                f"{sealed.bundle}: {count_text(added, 'new row')} of {', '.join(counts)}; at the"
                f" other site evidence record {payload.head.number}, SHA-256 {payload.head.hash}",
            )
    return ImportedAnswers(
        id=sealed.bundle,
        protocol=protocol.protocol,
        version=protocol.version,
        readers=counts,
        added=added or 0,
    )


def _read_answers_file(file: Path) -> AnswersFile:
    """Return the outer form of an answers file."""
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise UserError(
                f"{file} has more than {LARGEST_FILE // 1_000_000} MB; name a file written by"
                " `deepminer reading export-answers`."
            )
        text = file.read_bytes()
    except OSError as error:
        raise UserError(
            f"Cannot read {file} ({error.strerror}); name a file written by `deepminer reading"
            " export-answers`."
        ) from error
    form = _parse(file, _Form, text)
    if form.kind != ANSWERS_KIND:
        raise UserError(
            f"{file} contains no answers of a site bundle; name a file written by `deepminer"
            " reading export-answers`."
        )
    if form.form != ANSWERS_SCHEMA:
        raise UserError(
            f"{file} has the form {form.form} and this DeepMiner reads form {ANSWERS_SCHEMA}; use"
            " the same version of DeepMiner at both sites."
        )
    return _parse(file, AnswersFile, text)


def _parse(file: Path, model: type[_FormT], text: bytes) -> _FormT:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise UserError(
            f"{file} is not a complete file of answers; name an unchanged file written by"
            " `deepminer reading export-answers`."
        ) from error


def _find_record(con: Connection, file: Path, sealed: AnswersFile) -> dict[str, Any]:
    """Return the study's record of a bundle after a check of the file's signature."""
    record = bundle_table.bundle_exports(con).get(sealed.bundle)
    if record is None:
        raise UserError(
            f"{file} comes from the bundle {sealed.bundle[:20]!r}, which this study did not issue;"
            " import it into the study that created the bundle."
        )
    check_bundle_schema(f"{file} cannot be imported: the bundle {sealed.bundle}", record)
    # Checked before the content is used: an unsigned file may hold anything.
    if not keys.is_signed(record["signing_key"], sealed.signature, sealed.signed_content()):
        raise UserError(
            f"{file} does not carry the signature of the bundle {sealed.bundle}: it was edited or"
            " truncated after the export, or comes from another study's bundle. Ask the other site"
            " to export the answers again."
        )
    return record


def _open_protocol(con: Connection, file: Path, record: Mapping[str, Any]) -> Protocol:
    """Return the protocol of a bundle if it is the one that was bundled, and open."""
    name, version = record["protocol"], record["version"]
    protocol = protocol_table.load_protocol(con, name, version)
    if protocol is None or protocol.hash != record["hash"]:
        raise UserError(
            f"{file} was read under {name}, version {version} ({record['hash'][:12]}), which is not"
            " the protocol of this study; nothing was imported."
        )
    if protocol.state not in OPEN_STATES:
        raise UserError(
            f"{file} cannot be imported: {name}, version {version}, is {protocol.state}; it was"
            " closed before these answers arrived and accepts no more."
        )
    return protocol


def _check_content(
    source: str, text: bytes, issued: Mapping[str, Any], protocol: Protocol, now: datetime
) -> tuple[AnswersPayload, list[BundleReader]]:
    """Return the content and the readers if the bundle can have produced all of it.

    issued: the bundle's identity, or the original study's record of it.
    """
    payload = parse_payload(source, text)
    expected = (protocol.protocol, protocol.version, protocol.hash, issued["seal"])
    if (payload.protocol, payload.version, payload.hash, payload.seal) != expected:
        raise UserError(
            f"{source} was read under {payload.protocol[:40]!r}, version {payload.version}"
            f" ({payload.hash[:12]}), and not under {protocol.protocol!r}, version"
            f" {protocol.version} ({protocol.hash[:12]}), as the bundle was issued; nothing was"
            " imported."
        )
    readers = check_readers(
        source,
        payload,
        seats=issued["seats"],
        design=protocol.design,
        created_at=datetime.fromisoformat(issued["made"]),
        now=now,
    )
    return payload, readers
