-- What a witness has promised, and whom it lets in: as 0003_witness.sql of SQLite, column by column.
--
-- Triggers need stored procedures, so they are not here. The unique index is the promise all the
-- same: one event for one place, whoever writes. Checks keep what nothing may supersede. That rows
-- are not deleted, and nothing but `stands` is changed, is a matter of rights: see
-- docs/postgresql.md. What may come instead of a superseded event is up to the decision on it, and
-- to the memory of the signer.

CREATE TABLE witnessed (
    aid TEXT COLLATE "C" NOT NULL,
    first_seen_number BIGINT NOT NULL,          -- of the event
    sn BIGINT NOT NULL,
    said TEXT COLLATE "C" NOT NULL,
    rank BIGINT NOT NULL CHECK (rank IN (0, 1, 2)), -- 0: interaction, 1: delegated rotation, 2: any other
    stands BIGINT NOT NULL CHECK (stands = 1 OR (stands = 0 AND rank < 2)), -- it has its place still
    PRIMARY KEY (aid, first_seen_number),
    UNIQUE (aid, said),
    FOREIGN KEY (aid, first_seen_number) REFERENCES event (aid, first_seen_number)
);

CREATE UNIQUE INDEX witnessed_once ON witnessed (aid, sn) WHERE stands = 1;

CREATE TABLE neighbour (
    aid TEXT COLLATE "C" NOT NULL,
    log TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (aid, log)
);

CREATE INDEX neighbour_log ON neighbour (log);

CREATE TABLE admission (
    aid TEXT COLLATE "C" PRIMARY KEY,
    allowed BIGINT NOT NULL,                    -- 0: no more events are taken
    origin TEXT COLLATE "C" NOT NULL,           -- how it was let in
    since TEXT COLLATE "C" NOT NULL
);

CREATE INDEX admission_origin ON admission (origin);

CREATE TABLE invitation (
    digest BYTEA PRIMARY KEY,                   -- SHA-256 of the code
    remaining BIGINT NOT NULL CHECK (remaining >= 0),
    expires BIGINT                              -- microseconds since 1970, empty: never
);

-- One row. Each commit writes it, so those of several processes come one after another.
CREATE TABLE witness (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    aid TEXT COLLATE "C" NOT NULL,
    store TEXT COLLATE "C" NOT NULL,            -- random name of this database
    generation BIGINT NOT NULL,                 -- counts what was committed
    quarantined BIGINT NOT NULL
);

CREATE TABLE unconfirmed (
    aid TEXT COLLATE "C" PRIMARY KEY,
    said TEXT COLLATE "C" NOT NULL              -- empty: any answer of another
);

CREATE TABLE mail (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recipient TEXT COLLATE "C" NOT NULL,
    topic TEXT COLLATE "C" NOT NULL,
    place BIGINT NOT NULL,
    message BYTEA NOT NULL,
    since BIGINT NOT NULL,                      -- microseconds since 1970
    UNIQUE (recipient, topic, place)
);

CREATE INDEX mail_since ON mail (since);
