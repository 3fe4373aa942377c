"""The migrations of the store's schema, in order.

A migration that has been released is never edited; a change of the schema is a new one at the end.
"""

from __future__ import annotations

from core.store.migrations.migration import Migration
from core.store.migrations.recent_versions import RECENT_MIGRATIONS

# Tables that a step fills have a `run` column; a run's rows are written once, together. Tables of
# answers are append-only: their rows have `made`, the person's code and a version or revision.
# Outlines, answers and settings are JSON text.
MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        "0001_dataset_and_runs",
        "2026-11-20",
        """
        CREATE TABLE meta (name VARCHAR PRIMARY KEY, value VARCHAR NOT NULL);
        CREATE TABLE sources (
            source_id VARCHAR PRIMARY KEY, kind VARCHAR NOT NULL, location VARCHAR NOT NULL,
            options VARCHAR NOT NULL, simulated BOOLEAN NOT NULL, image_labels BOOLEAN NOT NULL,
            made TIMESTAMP NOT NULL, patients INTEGER NOT NULL, mammograms INTEGER NOT NULL,
            skipped INTEGER NOT NULL
        );
        CREATE TABLE problems (
            source_id VARCHAR NOT NULL, item VARCHAR NOT NULL, cause VARCHAR NOT NULL,
            action VARCHAR NOT NULL, skipped BOOLEAN NOT NULL
        );
        CREATE TABLE patients (
            patient_id VARCHAR PRIMARY KEY, source_id VARCHAR NOT NULL, age INTEGER,
            density INTEGER, features VARCHAR NOT NULL, published_split VARCHAR
        );
        CREATE TABLE mammograms (
            mammogram_id VARCHAR PRIMARY KEY, patient_id VARCHAR NOT NULL,
            laterality VARCHAR NOT NULL, view VARCHAR NOT NULL, file VARCHAR NOT NULL,
            width INTEGER NOT NULL, height INTEGER NOT NULL, source_width INTEGER NOT NULL,
            source_height INTEGER NOT NULL, pixel_mm DOUBLE, scanner VARCHAR NOT NULL,
            image_label VARCHAR, inverted BOOLEAN NOT NULL, tissue DOUBLE NOT NULL,
            pixel_hash VARCHAR NOT NULL, has_concepts BOOLEAN NOT NULL
        );
        CREATE TABLE findings (
            mammogram_id VARCHAR NOT NULL, number INTEGER NOT NULL, pathology VARCHAR NOT NULL,
            lesion_type VARCHAR NOT NULL, descriptors VARCHAR NOT NULL, assessment INTEGER,
            subtlety INTEGER, outline VARCHAR NOT NULL, nested VARCHAR NOT NULL,
            report VARCHAR NOT NULL, PRIMARY KEY (mammogram_id, number)
        );
        CREATE TABLE runs (
            run VARCHAR PRIMARY KEY, kind VARCHAR NOT NULL, settings VARCHAR NOT NULL,
            parents VARCHAR NOT NULL, manifest VARCHAR NOT NULL, made TIMESTAMP NOT NULL,
            seconds DOUBLE NOT NULL
        );
        CREATE TABLE splits (
            run VARCHAR NOT NULL, patient_id VARCHAR NOT NULL, split VARCHAR NOT NULL
        );
        CREATE TABLE patches (
            run VARCHAR NOT NULL, patch_id INTEGER NOT NULL, mammogram_id VARCHAR NOT NULL,
            y INTEGER NOT NULL, x INTEGER NOT NULL, side INTEGER NOT NULL, tissue REAL NOT NULL,
            benign_cover REAL NOT NULL, benign_part REAL NOT NULL, malignant_cover REAL NOT NULL,
            malignant_part REAL NOT NULL, label INTEGER NOT NULL, split VARCHAR NOT NULL
        );
        CREATE TABLE history (
            run VARCHAR NOT NULL, epoch INTEGER NOT NULL, part VARCHAR NOT NULL,
            loss DOUBLE NOT NULL, accuracy DOUBLE NOT NULL, learning_rate DOUBLE, seconds DOUBLE
        );
        CREATE TABLE predictions (
            run VARCHAR NOT NULL, patch_id INTEGER NOT NULL, p_normal REAL, p_benign REAL,
            p_malignant REAL NOT NULL
        );
        CREATE TABLE image_scores (
            run VARCHAR NOT NULL, mammogram_id VARCHAR NOT NULL, s_normal REAL, s_benign REAL,
            s_malignant REAL NOT NULL, truth INTEGER, predicted INTEGER NOT NULL,
            split VARCHAR NOT NULL
        );
        CREATE TABLE metrics (
            run VARCHAR NOT NULL, split VARCHAR NOT NULL, level VARCHAR NOT NULL,
            class VARCHAR NOT NULL, name VARCHAR NOT NULL, estimate DOUBLE, low DOUBLE,
            high DOUBLE, method VARCHAR NOT NULL, reason VARCHAR NOT NULL, n INTEGER,
            positives INTEGER, patients INTEGER
        );
        CREATE TABLE units (
            run VARCHAR NOT NULL, layer VARCHAR NOT NULL, unit INTEGER NOT NULL,
            largest REAL NOT NULL, quantile REAL NOT NULL, dead BOOLEAN NOT NULL,
            top_patients INTEGER NOT NULL
        );
        CREATE TABLE top_patches (
            run VARCHAR NOT NULL, layer VARCHAR NOT NULL, unit INTEGER NOT NULL,
            rank INTEGER NOT NULL, patch_id INTEGER NOT NULL, activation REAL NOT NULL,
            y INTEGER NOT NULL, x INTEGER NOT NULL
        );
        CREATE TABLE influences (
            run VARCHAR NOT NULL, mammogram_id VARCHAR NOT NULL, class INTEGER NOT NULL,
            rank INTEGER NOT NULL, unit INTEGER NOT NULL, influence REAL NOT NULL
        );
        CREATE TABLE selected (
            run VARCHAR NOT NULL, class INTEGER NOT NULL, rank INTEGER NOT NULL,
            unit INTEGER NOT NULL, count INTEGER NOT NULL
        );
        CREATE TABLE coverage (
            run VARCHAR NOT NULL, class INTEGER NOT NULL, name VARCHAR NOT NULL, estimate DOUBLE,
            low DOUBLE, high DOUBLE, method VARCHAR NOT NULL, n INTEGER
        );
        CREATE TABLE concepts (
            run VARCHAR NOT NULL, unit INTEGER NOT NULL, concept VARCHAR NOT NULL,
            share DOUBLE NOT NULL, iou DOUBLE NOT NULL
        );
        CREATE TABLE explanations (
            run VARCHAR NOT NULL, mammogram_id VARCHAR NOT NULL, split VARCHAR NOT NULL,
            predicted INTEGER NOT NULL, lesion_class INTEGER NOT NULL, truth INTEGER,
            p_normal REAL, p_benign REAL, p_malignant REAL NOT NULL, file VARCHAR NOT NULL
        );
        CREATE TABLE ablations (
            run VARCHAR NOT NULL, class INTEGER NOT NULL, name VARCHAR NOT NULL, estimate DOUBLE,
            low DOUBLE, high DOUBLE, method VARCHAR NOT NULL, n INTEGER
        );
        """,
    ),
    Migration(
        "0002_participants_annotations_readings",
        "2026-11-20",
        """
        CREATE TABLE people (
            code VARCHAR NOT NULL, role VARCHAR NOT NULL, simulated BOOLEAN NOT NULL,
            made TIMESTAMP NOT NULL, PRIMARY KEY (code)
        );
        CREATE TABLE invitations (
            code VARCHAR NOT NULL, token_hash VARCHAR NOT NULL, made TIMESTAMP NOT NULL,
            revoked_at TIMESTAMP
        );
        CREATE TABLE consents (
            code VARCHAR NOT NULL, experience VARCHAR NOT NULL, consent VARCHAR NOT NULL,
            made TIMESTAMP NOT NULL
        );
        CREATE TABLE annotations (
            annotation_id VARCHAR PRIMARY KEY, run VARCHAR NOT NULL, layer VARCHAR NOT NULL,
            unit INTEGER NOT NULL, code VARCHAR NOT NULL, version INTEGER NOT NULL,
            repeat BOOLEAN NOT NULL, practice BOOLEAN NOT NULL, answer VARCHAR NOT NULL,
            seconds DOUBLE, patch_labels_shown BOOLEAN NOT NULL, simulated BOOLEAN NOT NULL,
            made TIMESTAMP NOT NULL
        );
        CREATE TABLE skips (
            run VARCHAR NOT NULL, unit INTEGER NOT NULL, repeat BOOLEAN NOT NULL,
            code VARCHAR NOT NULL, made TIMESTAMP NOT NULL
        );
        CREATE TABLE decisions (
            run VARCHAR NOT NULL, layer VARCHAR NOT NULL, unit INTEGER NOT NULL,
            label VARCHAR NOT NULL, sources VARCHAR NOT NULL, reason VARCHAR NOT NULL,
            decided_by VARCHAR NOT NULL, made TIMESTAMP NOT NULL
        );
        CREATE TABLE protocols (
            protocol VARCHAR NOT NULL, version INTEGER NOT NULL, state VARCHAR NOT NULL,
            design VARCHAR NOT NULL, lint VARCHAR NOT NULL, hash VARCHAR NOT NULL,
            run VARCHAR NOT NULL, simulated BOOLEAN NOT NULL, who VARCHAR NOT NULL,
            made TIMESTAMP NOT NULL, PRIMARY KEY (protocol, version, state)
        );
        CREATE TABLE reading_cases (
            protocol VARCHAR NOT NULL, version INTEGER NOT NULL, case_number INTEGER NOT NULL,
            mammogram_id VARCHAR, patient_id VARCHAR, arm VARCHAR NOT NULL,
            texts VARCHAR NOT NULL, truth VARCHAR, network_score DOUBLE, predicted VARCHAR,
            PRIMARY KEY (protocol, version, case_number)
        );
        CREATE TABLE reading_items (
            protocol VARCHAR NOT NULL, version INTEGER NOT NULL, code VARCHAR NOT NULL,
            position INTEGER NOT NULL, case_number INTEGER NOT NULL, repeat BOOLEAN NOT NULL,
            practice BOOLEAN NOT NULL, token VARCHAR NOT NULL,
            PRIMARY KEY (protocol, version, code, position)
        );
        CREATE TABLE answers (
            protocol VARCHAR NOT NULL, version INTEGER NOT NULL, code VARCHAR NOT NULL,
            position INTEGER NOT NULL, revision INTEGER NOT NULL, answer INTEGER NOT NULL,
            seconds DOUBLE, idle BOOLEAN NOT NULL, simulated BOOLEAN NOT NULL,
            made TIMESTAMP NOT NULL, PRIMARY KEY (protocol, version, code, position, revision)
        );
        CREATE TABLE log (
            made TIMESTAMP NOT NULL, who VARCHAR NOT NULL, event VARCHAR NOT NULL,
            detail VARCHAR NOT NULL
        );
        CREATE TABLE figure_picks (
            run VARCHAR NOT NULL, mammogram_id VARCHAR NOT NULL, how VARCHAR NOT NULL,
            who VARCHAR NOT NULL, made TIMESTAMP NOT NULL
        );
        """,
    ),
    Migration(
        "0003_unlocated_findings_and_strata",
        "2026-11-20",
        """
        ALTER TABLE mammograms ADD COLUMN unlocated BOOLEAN DEFAULT FALSE;
        ALTER TABLE patients ADD COLUMN stratum VARCHAR;
        ALTER TABLE patients ADD COLUMN filed_as VARCHAR;
        """,
    ),
    Migration(
        "0004_unit_meanings",
        "2026-11-20",
        """
        CREATE TABLE meanings (
            run VARCHAR NOT NULL, unit INTEGER NOT NULL, descriptor VARCHAR NOT NULL,
            contrast VARCHAR NOT NULL, auc DOUBLE, low DOUBLE, high DOUBLE, p DOUBLE,
            p_adjusted DOUBLE, iou DOUBLE, positives INTEGER NOT NULL, patients INTEGER NOT NULL
        );
        ALTER TABLE ablations ADD COLUMN subject VARCHAR DEFAULT '';
        ALTER TABLE ablations ADD COLUMN step DOUBLE;
        """,
    ),
    Migration(
        "0005_run_uses",
        "2026-11-20",
        """
        CREATE TABLE uses (run VARCHAR NOT NULL, made TIMESTAMP NOT NULL);
        """,
    ),
    Migration(
        "0006_audits_and_reading_pictures",
        "2026-11-20",
        """
        CREATE TABLE audits (
            audit VARCHAR PRIMARY KEY, run VARCHAR NOT NULL, seed INTEGER NOT NULL,
            patches INTEGER NOT NULL, simulated BOOLEAN NOT NULL, who VARCHAR NOT NULL,
            made TIMESTAMP NOT NULL
        );
        CREATE TABLE audit_ends (
            audit VARCHAR PRIMARY KEY, who VARCHAR NOT NULL, made TIMESTAMP NOT NULL
        );
        CREATE TABLE audit_items (
            audit VARCHAR NOT NULL, item INTEGER NOT NULL, unit INTEGER NOT NULL,
            label VARCHAR NOT NULL, kind VARCHAR NOT NULL, patch_id INTEGER NOT NULL,
            rank INTEGER NOT NULL, activation REAL NOT NULL, PRIMARY KEY (audit, item)
        );
        CREATE TABLE audit_answers (
            audit VARCHAR NOT NULL, code VARCHAR NOT NULL, item INTEGER NOT NULL,
            version INTEGER NOT NULL, answer VARCHAR NOT NULL, seconds DOUBLE,
            simulated BOOLEAN NOT NULL, made TIMESTAMP NOT NULL,
            PRIMARY KEY (audit, code, item, version)
        );
        CREATE TABLE reading_pictures (
            protocol VARCHAR NOT NULL, version INTEGER NOT NULL, case_number INTEGER NOT NULL,
            slot INTEGER NOT NULL, kind VARCHAR NOT NULL, source VARCHAR NOT NULL,
            PRIMARY KEY (protocol, version, case_number, slot)
        );
        """,
    ),
    Migration(
        "0007_attention",
        "2026-11-20",
        """
        ALTER TABLE history ADD COLUMN auc_normal DOUBLE;
        ALTER TABLE history ADD COLUMN auc_benign DOUBLE;
        ALTER TABLE history ADD COLUMN auc_malignant DOUBLE;
        CREATE TABLE attention (
            run VARCHAR NOT NULL, mammogram_id VARCHAR NOT NULL, place INTEGER NOT NULL,
            source VARCHAR NOT NULL, value VARCHAR NOT NULL, missing BOOLEAN NOT NULL,
            weight DOUBLE NOT NULL
        );
        """,
    ),
    Migration(
        "0008_descriptor_associations",
        "2026-11-27",
        """
        ALTER TABLE meanings RENAME TO descriptor_associations;
        UPDATE runs SET kind = 'descriptor_association' WHERE kind = 'meaning';
        """,
    ),
    Migration(
        "0009_coded_problems_and_mammogram_attributes",
        "2026-11-27",
        """
        ALTER TABLE problems ADD COLUMN code VARCHAR DEFAULT '';
        ALTER TABLE problems ADD COLUMN mammogram_id VARCHAR;
        ALTER TABLE problems ADD COLUMN finding INTEGER;
        ALTER TABLE problems ADD COLUMN resolution VARCHAR;
        ALTER TABLE problems ADD COLUMN resolved_by VARCHAR;
        ALTER TABLE problems ADD COLUMN resolved_at TIMESTAMP;
        ALTER TABLE mammograms ADD COLUMN attributes VARCHAR DEFAULT '{}';
        ALTER TABLE units ADD COLUMN outside REAL;
        ALTER TABLE explanations ADD COLUMN outside REAL;
        """,
    ),
    Migration(
        "0010_reading_study_states",
        "2026-11-27",
        """
        UPDATE protocols SET state = 'checked' WHERE state = 'lint';
        UPDATE protocols SET state = 'scored' WHERE state = 'unblinded';
        ALTER TABLE protocols ADD COLUMN content VARCHAR DEFAULT '{}';
        ALTER TABLE reading_cases ADD COLUMN block INTEGER;
        """,
    ),
    Migration(
        "0011_consent_hashes_and_ended_sessions",
        "2026-11-27",
        """
        ALTER TABLE consents ADD COLUMN consent_hash VARCHAR;
        UPDATE consents SET consent_hash = sha256(consent);
        CREATE TABLE ended_sessions (session VARCHAR PRIMARY KEY, made TIMESTAMP NOT NULL);
        """,
    ),
    Migration(
        "0012_evidence_chain",
        "2026-11-27",
        """
        CREATE TABLE evidence (
            number BIGINT PRIMARY KEY, made TIMESTAMP NOT NULL, kind VARCHAR NOT NULL,
            subject VARCHAR NOT NULL, actor VARCHAR NOT NULL, claimed VARCHAR NOT NULL,
            content_hash VARCHAR NOT NULL, previous_hash VARCHAR NOT NULL, hash VARCHAR NOT NULL
        );
        CREATE TABLE replaced_records (
            restored_at TIMESTAMP NOT NULL, number BIGINT NOT NULL, made TIMESTAMP NOT NULL,
            kind VARCHAR NOT NULL, subject VARCHAR NOT NULL, actor VARCHAR NOT NULL,
            claimed VARCHAR NOT NULL, content_hash VARCHAR NOT NULL,
            previous_hash VARCHAR NOT NULL, hash VARCHAR NOT NULL
        );
        """,
    ),
    Migration(
        "0013_truth_basis_of_sources",
        "2026-11-27",
        """
        ALTER TABLE sources ADD COLUMN truth_basis VARCHAR DEFAULT '';
        """,
    ),
    Migration(
        "0014_withdrawn_patients",
        "2026-11-27",
        """
        CREATE TABLE withdrawn_patients (
            patient_id VARCHAR PRIMARY KEY, made TIMESTAMP NOT NULL, who VARCHAR NOT NULL
        );
        """,
    ),
    Migration(
        "0015_interim_looks",
        "2026-11-27",
        """
        CREATE TABLE interim_looks (
            protocol VARCHAR NOT NULL, version INTEGER NOT NULL, number INTEGER NOT NULL,
            information DOUBLE NOT NULL, answers INTEGER NOT NULL, boundary DOUBLE NOT NULL,
            stops BOOLEAN NOT NULL, who VARCHAR NOT NULL, made TIMESTAMP NOT NULL,
            PRIMARY KEY (protocol, version, number)
        );
        """,
    ),
    Migration(
        "0016_ingested_patients",
        "2026-11-27",
        """
        CREATE TABLE ingested_patients (
            origin VARCHAR NOT NULL, patient_id VARCHAR NOT NULL, stamp VARCHAR NOT NULL,
            PRIMARY KEY (origin, patient_id)
        );
        """,
    ),
    Migration(
        "0017_label_categories_and_origins",
        "2026-11-28",
        """
        CREATE TABLE label_categories (
            run VARCHAR NOT NULL, unit INTEGER NOT NULL, label_key VARCHAR NOT NULL,
            version INTEGER NOT NULL, categories VARCHAR NOT NULL, state VARCHAR NOT NULL,
            who VARCHAR NOT NULL, made TIMESTAMP NOT NULL,
            PRIMARY KEY (run, unit, label_key, version)
        );
        ALTER TABLE decisions ADD COLUMN origin VARCHAR DEFAULT '';
        UPDATE decisions SET origin = 'imported' WHERE starts_with(reason, 'imported from ');
        """,
    ),
    Migration(
        "0018_annotation_assignments",
        "2026-11-28",
        # Annotators used to see the current dissection, whichever that was: those who have answered
        # keep what they answered on, the others get the current one.
        """
        CREATE TABLE annotation_assignments (
            number BIGINT PRIMARY KEY, code VARCHAR NOT NULL, run VARCHAR NOT NULL,
            assigned BOOLEAN NOT NULL, who VARCHAR NOT NULL, made TIMESTAMP NOT NULL
        );
        INSERT INTO annotation_assignments
        WITH used AS (SELECT run, max(made) AS used FROM uses GROUP BY run),
        current AS (
            SELECT runs.run FROM runs LEFT JOIN used USING (run) WHERE kind = 'dissect'
            ORDER BY greatest(runs.made, coalesce(used, runs.made)) DESC, runs.made DESC,
                runs.run DESC
            LIMIT 1
        ),
        answered AS (
            SELECT code, run, min(made) AS made FROM annotations
            WHERE run IN (SELECT run FROM runs) GROUP BY code, run
        ),
        waiting AS (
            SELECT code, current.run, people.made FROM people, current
            WHERE role = 'annotator' AND code NOT IN (SELECT code FROM answered)
        )
        SELECT row_number() OVER (ORDER BY made, code, run), code, run, TRUE, 'automatic', made
        FROM (
            SELECT * FROM answered WHERE code IN (SELECT code FROM people WHERE role = 'annotator')
            UNION ALL SELECT * FROM waiting
        );
        """,
    ),
    Migration(
        "0019_undone_decisions_and_finished_annotators",
        "2026-11-28",
        """
        ALTER TABLE decisions ADD COLUMN undone BOOLEAN DEFAULT FALSE;
        ALTER TABLE decisions ADD COLUMN number BIGINT;
        UPDATE decisions SET number = ordered.place FROM (
            SELECT rowid AS id, row_number() OVER (ORDER BY made, rowid) AS place FROM decisions
        ) AS ordered WHERE decisions.rowid = ordered.id;
        CREATE TABLE annotator_finishes (
            number BIGINT PRIMARY KEY, run VARCHAR NOT NULL, code VARCHAR NOT NULL,
            finished BOOLEAN NOT NULL, who VARCHAR NOT NULL, made TIMESTAMP NOT NULL
        );
        """,
    ),
    Migration(
        "0020_separated_units_and_label_sets_of_audits",
        "2026-11-28",
        """
        ALTER TABLE audits ADD COLUMN label_set VARCHAR DEFAULT 'default';
        CREATE TABLE group_separations (
            number BIGINT PRIMARY KEY, run VARCHAR NOT NULL, unit INTEGER NOT NULL,
            separated BOOLEAN NOT NULL, who VARCHAR NOT NULL, made TIMESTAMP NOT NULL
        );
        """,
    ),
    Migration(
        "0021_classes_named_by_the_study",
        "2026-11-28",
        # Studies with other classes have columns of their own for them.
        """
        ALTER TABLE patches ALTER COLUMN benign_cover DROP NOT NULL;
        ALTER TABLE patches ALTER COLUMN benign_part DROP NOT NULL;
        ALTER TABLE patches ALTER COLUMN malignant_cover DROP NOT NULL;
        ALTER TABLE patches ALTER COLUMN malignant_part DROP NOT NULL;
        ALTER TABLE predictions ALTER COLUMN p_malignant DROP NOT NULL;
        ALTER TABLE image_scores ALTER COLUMN s_malignant DROP NOT NULL;
        ALTER TABLE explanations ALTER COLUMN p_malignant DROP NOT NULL;
        """,
    ),
    *RECENT_MIGRATIONS,
)
