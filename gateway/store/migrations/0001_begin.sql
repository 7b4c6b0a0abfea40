-- One row a fact about the database as a whole; FORMAT.md lists the keys.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What the columns of streams can be; devices of one profile share one.
CREATE TABLE schema (
    id      INTEGER PRIMARY KEY,
    hash    INTEGER NOT NULL,
    columns BLOB NOT NULL
) STRICT;

-- A group of a device with the columns it had from some time on.
CREATE TABLE stream (
    id         INTEGER PRIMARY KEY,
    device     TEXT NOT NULL,
    group_name TEXT NOT NULL,
    schema_id  INTEGER NOT NULL
) STRICT;

-- The last number given to a row of a group, as of meta.sequence_position.
CREATE TABLE sequence (
    device     TEXT NOT NULL,
    group_name TEXT NOT NULL,
    last_seq   INTEGER NOT NULL,
    PRIMARY KEY (device, group_name)
) STRICT, WITHOUT ROWID;

-- The rows of one commit, or of a part of one. The body comes last so that the rest is read without it.
CREATE TABLE log (
    first_position INTEGER PRIMARY KEY,
    row_count      INTEGER NOT NULL,
    time_min       INTEGER NOT NULL,
    time_max       INTEGER NOT NULL,
    age            INTEGER NOT NULL,
    summary        BLOB NOT NULL,
    body           BLOB NOT NULL
) STRICT;

-- How far each target is: the first position it has not acknowledged.
CREATE TABLE cursor (
    target   TEXT PRIMARY KEY,
    position INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Rows that a target will never get, delivered before the row at `position`.
CREATE TABLE gap (
    id        INTEGER PRIMARY KEY,
    target    TEXT NOT NULL,
    position  INTEGER NOT NULL,
    stream_id INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL,
    reason    INTEGER NOT NULL
) STRICT;
CREATE INDEX gap_in_order ON gap (target, position, id);
