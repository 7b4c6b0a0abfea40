-- Ranges of positions that a target has acknowledged behind its place in `cursor`.
CREATE TABLE acknowledged (
    target         TEXT NOT NULL,
    first_position INTEGER NOT NULL,
    end_position   INTEGER NOT NULL,
    PRIMARY KEY (target, first_position)
) STRICT, WITHOUT ROWID;

-- The id of its schema in blocks, and the salt that keeps it apart from those of the store's other streams.
ALTER TABLE stream ADD COLUMN wire_id INTEGER;
ALTER TABLE stream ADD COLUMN salt INTEGER NOT NULL DEFAULT 0;

-- A stretch of positions whose rows are in blocks, in the order of their streams. All epochs come before all of `log`.
CREATE TABLE epoch (
    first_position INTEGER PRIMARY KEY,
    end_position   INTEGER NOT NULL,
    level          INTEGER NOT NULL,
    row_count      INTEGER NOT NULL,
    blocks         INTEGER NOT NULL,
    short_blocks   INTEGER NOT NULL,
    bytes          INTEGER NOT NULL,
    time_min       INTEGER NOT NULL,
    time_max       INTEGER NOT NULL,
    age            INTEGER NOT NULL
) STRICT;

-- Rows of one stream, without their values; small, so that many of them can be moved to other positions at once.
CREATE TABLE block (
    first_position INTEGER PRIMARY KEY,
    row_count      INTEGER NOT NULL,
    stream_id      INTEGER NOT NULL,
    first_seq      INTEGER NOT NULL,
    -- 0 when its rows are lost.
    body_id        INTEGER NOT NULL,
    -- The numbers of its rows, where they do not follow each other.
    seqs           BLOB
) STRICT;

-- What a block's rows are encoded as. Written in order, so that neighbours stand on neighbouring pages.
CREATE TABLE body (
    id    INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL
) STRICT;

-- Bodies that no block refers to any more, or none yet; removed bit by bit, or at the next start.
CREATE TABLE loose (
    first_id INTEGER PRIMARY KEY,
    end_id   INTEGER NOT NULL
) STRICT;
