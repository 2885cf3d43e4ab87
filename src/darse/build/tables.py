"""The tables of builds. Apart from who uses them: an engine that has built nothing yet loads this alone."""

from __future__ import annotations

from darse.core.state import Schema

SCHEMA = Schema(
    "build",
    (
        """
        CREATE TABLE build_records (id TEXT PRIMARY KEY, document BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE build_results (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, record TEXT NOT NULL, UNIQUE (key, record)
        );
        CREATE INDEX build_results_record ON build_results (record);
        CREATE TABLE build_links (key TEXT PRIMARY KEY, target TEXT NOT NULL) WITHOUT ROWID;
        CREATE INDEX build_links_target ON build_links (target);
        CREATE TABLE build_inputs (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT, operation TEXT NOT NULL UNIQUE, inputs BLOB NOT NULL
        )
        """,
        """
        CREATE TABLE build_history (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, summary BLOB NOT NULL,
            steps BLOB NOT NULL, log BLOB NOT NULL
        )
        """,
        """
        CREATE TABLE build_attachments (build TEXT PRIMARY KEY, document BLOB NOT NULL) WITHOUT ROWID;
        CREATE TABLE build_blobs (
            build TEXT NOT NULL, digest TEXT NOT NULL, size INTEGER NOT NULL, content BLOB NOT NULL,
            PRIMARY KEY (build, digest)
        );
        CREATE INDEX build_blobs_digest ON build_blobs (digest)
        """,
        "CREATE TABLE build_pins (build TEXT PRIMARY KEY) WITHOUT ROWID",
    ),
)
