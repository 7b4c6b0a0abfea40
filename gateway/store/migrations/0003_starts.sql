-- Where the rows of each start of the gateway begin. Of those that are here already only the last start is known.
CREATE TABLE start (
    first_position INTEGER PRIMARY KEY,
    boot           INTEGER NOT NULL
) STRICT;
INSERT INTO start (first_position, boot) SELECT 0, value FROM meta WHERE key = 'boot';
