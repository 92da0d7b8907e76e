-- Logs, what waits for them, and what was stated: as 0001_events.sql of SQLite, column by column.
--
-- Keys begin with the identifier, so that a database that is split by it keeps each log on one node.
-- Texts are compared byte by byte: an order that changes with the libraries of a machine would break
-- the indexes. That events never change is a matter of rights here: see docs/postgresql.md.

-- Orders over all logs. Taking a number holds up nobody, and numbers may be left out.
CREATE SEQUENCE event_number;

CREATE SEQUENCE held_arrived;

-- A row to write to. Who has written it through knows that all it can see is where it must be.
CREATE TABLE barrier (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    crossed BIGINT NOT NULL
);

INSERT INTO barrier VALUES (1, 0);

-- Evidence: accepted events in the order in which they were first seen.
CREATE TABLE event (
    number BIGINT NOT NULL,                     -- order over all logs
    aid TEXT COLLATE "C" NOT NULL,
    first_seen_number BIGINT NOT NULL,          -- order in this log, from 0
    raw BYTEA NOT NULL,
    proofs BYTEA NOT NULL,                      -- verified signatures, as CESR groups
    first_seen_at TEXT COLLATE "C" NOT NULL,
    source_sn BIGINT,                           -- the delegator's event that seals it
    source_said TEXT COLLATE "C",
    checksum BYTEA NOT NULL,
    PRIMARY KEY (aid, first_seen_number)
);

CREATE INDEX event_inception ON event (number, aid) WHERE first_seen_number = 0;

-- Evidence: verified signatures that came after their event.
CREATE TABLE receipt (
    aid TEXT COLLATE "C" NOT NULL,
    first_seen_number BIGINT NOT NULL,          -- of the event
    number BIGINT NOT NULL,                     -- order for this event, from 0
    proofs BYTEA NOT NULL,
    checksum BYTEA NOT NULL,
    PRIMARY KEY (aid, first_seen_number, number),
    FOREIGN KEY (aid, first_seen_number) REFERENCES event (aid, first_seen_number)
);

-- Evidence: other versions of accepted events.
CREATE TABLE duplicity (
    aid TEXT COLLATE "C" NOT NULL,
    number BIGINT NOT NULL,                     -- order for this identifier, from 0
    said TEXT COLLATE "C" NOT NULL,             -- of the other version
    raw BYTEA NOT NULL,
    proofs BYTEA NOT NULL,
    first_seen_number BIGINT NOT NULL,          -- of the accepted event
    accepted_proofs BYTEA NOT NULL,             -- those of the accepted event then
    seen TEXT COLLATE "C" NOT NULL,             -- first-seen numbers of the logs that refused it, as JSON
    checksum BYTEA NOT NULL,
    PRIMARY KEY (aid, number),
    UNIQUE (aid, said),
    FOREIGN KEY (aid, first_seen_number) REFERENCES event (aid, first_seen_number)
);

-- Evidence: the latest statement of each kind.
CREATE TABLE statement (
    aid TEXT COLLATE "C" NOT NULL,              -- the first identifier that it speaks of
    key TEXT COLLATE "C" NOT NULL,              -- all that a later one must agree in, as JSON
    signer_sn BIGINT,
    raw BYTEA NOT NULL,
    proofs BYTEA NOT NULL,
    checksum BYTEA NOT NULL,
    PRIMARY KEY (aid, key)
);

-- Evidence: what waits.
CREATE TABLE held (
    arrived BIGINT NOT NULL UNIQUE,             -- order of first arrival
    log TEXT COLLATE "C" NOT NULL,              -- whose keys or events it is about
    key TEXT COLLATE "C" NOT NULL,              -- its identity, as JSON
    message BIGINT NOT NULL,                    -- it is no event and no receipt
    raw BYTEA NOT NULL,                         -- empty for receipts
    claims BYTEA NOT NULL,                      -- unverified signatures
    proofs BYTEA NOT NULL,                      -- verified ones
    proven_under TEXT COLLATE "C",              -- by the keys of this establishment event
    missing TEXT COLLATE "C" NOT NULL,          -- what it waits for, as JSON
    local BIGINT NOT NULL,
    since BIGINT NOT NULL,                      -- microseconds since 1970
    size BIGINT NOT NULL,                       -- in memory
    verified BIGINT NOT NULL,
    placed BIGINT NOT NULL,                     -- order of those that are as well verified
    checksum BYTEA NOT NULL,
    PRIMARY KEY (log, key)
);

CREATE INDEX held_order ON held (log, message, verified, placed);

CREATE INDEX held_since ON held (since);

-- Derived: how much there is of each log.
CREATE TABLE log (
    aid TEXT COLLATE "C" PRIMARY KEY,
    events BIGINT NOT NULL,
    duplicities BIGINT NOT NULL
);

-- Derived: where each event stands, and the key state after it.
CREATE TABLE place (
    aid TEXT COLLATE "C" NOT NULL,
    first_seen_number BIGINT NOT NULL,
    said TEXT COLLATE "C" NOT NULL,
    sn BIGINT NOT NULL,
    prior_said TEXT COLLATE "C",
    message_type TEXT COLLATE "C" NOT NULL,
    established BIGINT NOT NULL,                -- first-seen number of the event that set the keys
    trunk BOOLEAN NOT NULL,                     -- it was not superseded
    receipts BIGINT NOT NULL,                   -- rows with later signatures over it
    checksum BYTEA NOT NULL,                    -- of all but the two before
    PRIMARY KEY (aid, first_seen_number),
    UNIQUE (aid, said),
    FOREIGN KEY (aid, first_seen_number) REFERENCES event (aid, first_seen_number)
);

CREATE UNIQUE INDEX place_trunk ON place (aid, sn) WHERE trunk;

-- Derived: what establishment events set.
CREATE TABLE establishment (
    aid TEXT COLLATE "C" NOT NULL,
    first_seen_number BIGINT NOT NULL,
    state BYTEA NOT NULL,                       -- MessagePack
    checksum BYTEA NOT NULL,
    PRIMARY KEY (aid, first_seen_number),
    FOREIGN KEY (aid, first_seen_number) REFERENCES event (aid, first_seen_number)
);

-- Derived: event seals.
CREATE TABLE seal (
    aid TEXT COLLATE "C" NOT NULL,              -- log of the event that anchors it
    sealed_aid TEXT COLLATE "C" NOT NULL,
    sealed_sn TEXT COLLATE "C" NOT NULL,
    sealed_said TEXT COLLATE "C" NOT NULL,
    first_seen_number BIGINT NOT NULL,
    PRIMARY KEY (aid, sealed_aid, sealed_sn, sealed_said, first_seen_number),
    FOREIGN KEY (aid, first_seen_number) REFERENCES event (aid, first_seen_number)
);

-- Derived: how many statements there are of each signer, and under the empty name of all.
CREATE TABLE statement_count (
    signer TEXT COLLATE "C" PRIMARY KEY,
    number BIGINT NOT NULL,
    size BIGINT NOT NULL
);

-- Derived: what is waited for.
CREATE TABLE held_missing (
    aid TEXT COLLATE "C" NOT NULL,              -- log in which it will appear
    missing TEXT COLLATE "C" NOT NULL,          -- all of its key, as JSON
    arrived BIGINT NOT NULL REFERENCES held (arrived) ON DELETE CASCADE,
    PRIMARY KEY (aid, missing, arrived)
);

CREATE INDEX held_missing_entry ON held_missing (arrived);

-- Derived: how much room each log takes of what waits, and under the empty name all together.
CREATE TABLE held_share (
    log TEXT COLLATE "C" NOT NULL,
    message BIGINT NOT NULL,
    entries BIGINT NOT NULL,
    size BIGINT NOT NULL,
    large BIGINT,                               -- order in which they began to take more than their part
    PRIMARY KEY (log, message)
);

CREATE INDEX held_share_entries ON held_share (entries);

CREATE INDEX held_share_size ON held_share (size);

CREATE INDEX held_share_large ON held_share (large);
