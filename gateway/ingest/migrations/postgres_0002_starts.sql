-- What tells rows that come again from other rows under the same numbers: which numbers each start of the gateway has given.

ALTER TABLE tidegate.stream
    -- start, first number, last number, start, …
    ADD COLUMN starts bigint[] NOT NULL DEFAULT '{}',
    ADD COLUMN numbered_again bigint NOT NULL DEFAULT 0;
