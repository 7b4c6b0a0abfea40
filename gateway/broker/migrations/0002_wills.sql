-- Wills that may still be due: of connections, and of clients that are lost and may come back in time.
CREATE TABLE will (
    -- Number of the connection.
    connection     INTEGER PRIMARY KEY NOT NULL,
    session        INTEGER NOT NULL,
    client         TEXT NOT NULL,
    -- Absent for clients that did not say who they are.
    user           TEXT,
    topic          TEXT NOT NULL,
    payload        BLOB NOT NULL,
    properties     BLOB NOT NULL,
    qos            INTEGER NOT NULL,
    retain         INTEGER NOT NULL,
    -- Seconds after the loss.
    delay          INTEGER NOT NULL,
    -- Seconds that the message lives; absent for ever.
    message_expiry INTEGER
);
