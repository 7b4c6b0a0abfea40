-- The first tables. docs/reference/ingest.md describes them for whoever reads them.

CREATE TYPE tidegate.quality AS ENUM ('good', 'uncertain', 'bad');

-- One row for each stream: who it is, and the ledger of what it has delivered.
-- Every write updates one row of each stream that it touches; the room left on the pages keeps those updates in place.
CREATE TABLE tidegate.stream (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gateway     text NOT NULL,
    store       text NOT NULL,
    device      text NOT NULL,
    group_name  text NOT NULL,
    delivered   int8multirange NOT NULL DEFAULT '{}',
    declared    int8multirange NOT NULL DEFAULT '{}',
    boot        bigint NOT NULL DEFAULT 0,
    rows        bigint NOT NULL DEFAULT 0,
    duplicates  bigint NOT NULL DEFAULT 0,
    first_time  timestamptz,
    last_time   timestamptz,
    UNIQUE (gateway, store, device, group_name)
) WITH (fillfactor = 50);

-- What gateways have declared not to come.
CREATE TABLE tidegate.gap (
    stream_id   integer NOT NULL REFERENCES tidegate.stream,
    first_seq   bigint NOT NULL,
    last_seq    bigint NOT NULL,
    reason      text NOT NULL,
    boot        bigint NOT NULL,
    received    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream_id, first_seq, last_seq, reason)
);

-- A tag with its type and unit; another type or unit makes another tag of the same name, so that old values keep theirs.
CREATE TABLE tidegate.tag (
    id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream_id   integer NOT NULL REFERENCES tidegate.stream,
    name        text NOT NULL,
    kind        text NOT NULL,
    items       integer,
    unit        text
);
CREATE UNIQUE INDEX tag_identity ON tidegate.tag (stream_id, name, kind, coalesce(items, -1), coalesce(unit, ''));

-- The schemas of the blocks, so that no block has to wait for one that was here before.
CREATE TABLE tidegate.schema (
    gateway     text NOT NULL,
    id          text NOT NULL,
    document    bytea NOT NULL,
    PRIMARY KEY (gateway, id)
);

-- The values. Eight columns, the fixed ones first: a sample takes 60 bytes here and about 24 in the index.
-- No key into `tag`: it would be checked for every value, and only the writer of `tag` writes here.
CREATE TABLE tidegate.sample (
    time        timestamptz NOT NULL,
    seq         bigint NOT NULL,
    value       double precision,
    tag_id      integer NOT NULL,
    quality     tidegate.quality NOT NULL,
    text        text,
    reason      text,
    device_time timestamptz
);
CREATE INDEX sample_tag_time ON tidegate.sample (tag_id, time);

-- What could not be read, whole.
CREATE TABLE tidegate.quarantine (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received    timestamptz NOT NULL DEFAULT now(),
    gateway     text NOT NULL,
    fault       text NOT NULL,
    detail      text NOT NULL,
    schema_id   text,
    frame       bytea NOT NULL
);
CREATE UNIQUE INDEX quarantine_frame ON tidegate.quarantine (gateway, fault, md5(frame));

CREATE VIEW tidegate.samples AS
SELECT sample.time, stream.gateway, stream.device, stream.group_name, tag.name AS tag, tag.unit, tag.kind,
       sample.value, sample.text, sample.quality, sample.reason, sample.seq, sample.device_time
FROM tidegate.sample
JOIN tidegate.tag ON tag.id = sample.tag_id
JOIN tidegate.stream ON stream.id = tag.stream_id;

CREATE VIEW tidegate.latest AS
SELECT DISTINCT ON (stream.gateway, stream.device, tag.name)
       last.time, stream.gateway, stream.device, stream.group_name, tag.name AS tag, tag.unit, tag.kind,
       last.value, last.text, last.quality, last.reason, last.seq, last.device_time
FROM tidegate.tag
JOIN tidegate.stream ON stream.id = tag.stream_id
CROSS JOIN LATERAL (
    SELECT * FROM tidegate.sample WHERE sample.tag_id = tag.id ORDER BY sample.time DESC, sample.seq DESC LIMIT 1
) AS last
ORDER BY stream.gateway, stream.device, tag.name, last.time DESC, tag.id DESC;

-- Numbers between the first and the last known one that have neither arrived nor been declared.
CREATE VIEW tidegate.hole AS
SELECT stream.id AS stream_id, stream.gateway, stream.store, stream.device, stream.group_name,
       lower(hole.numbers) AS first_seq, upper(hole.numbers) - 1 AS last_seq
FROM tidegate.stream
CROSS JOIN LATERAL unnest(
    int8multirange(int8range(lower(delivered + declared), upper(delivered + declared))) - delivered - declared
) AS hole(numbers)
WHERE NOT isempty(delivered + declared);
