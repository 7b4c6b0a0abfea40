-- Retained messages that clients published.
CREATE TABLE retained (
    topic       BLOB PRIMARY KEY NOT NULL,
    payload     BLOB NOT NULL,
    properties  BLOB NOT NULL,
    qos         INTEGER NOT NULL,
    -- Unix milliseconds from which on nobody needs it any more.
    expires     INTEGER,
    -- Number of the session that published it.
    sender      INTEGER NOT NULL,
    answerable  INTEGER NOT NULL
) WITHOUT ROWID;

-- Sessions that outlive their connection.
CREATE TABLE session (
    number        INTEGER PRIMARY KEY NOT NULL,
    client        TEXT NOT NULL,
    -- Absent for clients that did not say who they are.
    user          TEXT,
    -- Seconds; 4294967295 is for ever.
    expiry        INTEGER NOT NULL,
    -- Unix milliseconds; absent while the client is connected.
    offline_since INTEGER,
    last_id       INTEGER NOT NULL,
    -- Packet ids, two bytes each, most significant first: of QoS 2 messages from the client that it has not released, and to the
    -- client that it has and has not forgotten.
    received      BLOB NOT NULL,
    released      BLOB NOT NULL
);

CREATE TABLE subscription (
    session             INTEGER NOT NULL,
    filter              TEXT NOT NULL,
    qos                 INTEGER NOT NULL,
    no_local            INTEGER NOT NULL,
    retain_as_published INTEGER NOT NULL,
    identifier          INTEGER,
    PRIMARY KEY (session, filter)
) WITHOUT ROWID;

-- Messages with QoS 1 and 2 that wait for a client, or are sent and not acknowledged.
CREATE TABLE message (
    session     INTEGER NOT NULL,
    number      INTEGER NOT NULL,
    -- 0 when it has not been sent.
    packet_id   INTEGER NOT NULL,
    topic       BLOB NOT NULL,
    payload     BLOB NOT NULL,
    properties  BLOB NOT NULL,
    -- The level for this client, and that of the publisher.
    qos         INTEGER NOT NULL,
    sent_qos    INTEGER NOT NULL,
    retain      INTEGER NOT NULL,
    -- Subscription identifiers, four bytes each, most significant first.
    identifiers BLOB NOT NULL,
    -- The shared subscription that it is from.
    shared      TEXT,
    expires     INTEGER,
    sender      INTEGER NOT NULL,
    answerable  INTEGER NOT NULL,
    PRIMARY KEY (session, number)
);
