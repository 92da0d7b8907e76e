-- Logs, what waits for them, and what was stated.
--
-- Evidence is what came from outside, as the bytes that were signed, and when it came: it changes
-- only by new rows (event, receipt, duplicity), by a later statement (statement), or when it is
-- settled (held). Derived is what can be computed of evidence alone; it is dropped and made anew by
-- `replaying.rebuild`. Numbers that may be larger than 63 bits are hex text. A checksum is SHA-256 over
-- what never changes in the rest of its row, in the order of columns.

-- Evidence: accepted events in the order in which they were first seen.
CREATE TABLE event (
    number INTEGER PRIMARY KEY,         -- order over all logs
    aid TEXT NOT NULL,
    first_seen_number INTEGER NOT NULL, -- order in this log, from 0
    raw BLOB NOT NULL,
    proofs BLOB NOT NULL,               -- verified signatures, as CESR groups
    first_seen_at TEXT NOT NULL,
    source_sn INTEGER,                  -- the delegator's event that seals it
    source_said TEXT,
    checksum BLOB NOT NULL,
    UNIQUE (aid, first_seen_number)
) STRICT;

CREATE INDEX event_inception ON event (number, aid) WHERE first_seen_number = 0;

CREATE TRIGGER event_stays BEFORE DELETE ON event
BEGIN SELECT raise(ABORT, 'accepted events are never deleted'); END;

CREATE TRIGGER event_is_fixed BEFORE UPDATE ON event
BEGIN SELECT raise(ABORT, 'accepted events never change'); END;

-- Evidence: verified signatures that came after their event.
CREATE TABLE receipt (
    aid TEXT NOT NULL,
    first_seen_number INTEGER NOT NULL, -- of the event
    number INTEGER NOT NULL,            -- order for this event, from 0
    proofs BLOB NOT NULL,
    checksum BLOB NOT NULL,
    PRIMARY KEY (aid, first_seen_number, number),
    FOREIGN KEY (aid, first_seen_number) REFERENCES event (aid, first_seen_number)
) STRICT, WITHOUT ROWID;

-- Evidence: other versions of accepted events.
CREATE TABLE duplicity (
    aid TEXT NOT NULL,
    number INTEGER NOT NULL,            -- order for this identifier, from 0
    said TEXT NOT NULL,                 -- of the other version
    raw BLOB NOT NULL,
    proofs BLOB NOT NULL,
    first_seen_number INTEGER NOT NULL, -- of the accepted event
    accepted_proofs BLOB NOT NULL,      -- those of the accepted event then
    seen TEXT NOT NULL,                 -- first-seen numbers of the logs that refused it, as JSON
    checksum BLOB NOT NULL,
    PRIMARY KEY (aid, number),
    UNIQUE (aid, said),
    FOREIGN KEY (aid, first_seen_number) REFERENCES event (aid, first_seen_number)
) STRICT;

-- Evidence: the latest statement of each kind.
CREATE TABLE statement (
    aid TEXT NOT NULL,                  -- the first identifier that it speaks of
    key TEXT NOT NULL,                  -- all that a later one must agree in, as JSON
    signer_sn INTEGER,
    raw BLOB NOT NULL,
    proofs BLOB NOT NULL,
    checksum BLOB NOT NULL,
    PRIMARY KEY (aid, key)
) STRICT;

-- Evidence: what waits.
CREATE TABLE held (
    arrived INTEGER PRIMARY KEY,        -- order of first arrival
    log TEXT NOT NULL,                  -- whose keys or events it is about
    key TEXT NOT NULL,                  -- its identity, as JSON
    message INTEGER NOT NULL,           -- it is no event and no receipt
    raw BLOB NOT NULL,                  -- empty for receipts
    claims BLOB NOT NULL,               -- unverified signatures
    proofs BLOB NOT NULL,               -- verified ones
    proven_under TEXT,                  -- by the keys of this establishment event
    missing TEXT NOT NULL,              -- what it waits for, as JSON
    local INTEGER NOT NULL,
    since INTEGER NOT NULL,             -- microseconds since 1970
    size INTEGER NOT NULL,              -- in memory
    verified INTEGER NOT NULL,
    placed INTEGER NOT NULL,            -- order of those that are as well verified
    checksum BLOB NOT NULL,
    UNIQUE (log, key)
) STRICT;

CREATE INDEX held_order ON held (log, message, verified, placed);

CREATE INDEX held_since ON held (since);

-- Derived: how much there is of each log.
CREATE TABLE log (
    aid TEXT PRIMARY KEY,
    events INTEGER NOT NULL,
    duplicities INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Derived: where each event stands, and the key state after it.
CREATE TABLE place (
    aid TEXT NOT NULL,
    first_seen_number INTEGER NOT NULL,
    said TEXT NOT NULL,
    sn INTEGER NOT NULL,
    prior_said TEXT,
    message_type TEXT NOT NULL,
    established INTEGER NOT NULL,       -- first-seen number of the event that set the keys
    trunk INTEGER NOT NULL,             -- it was not superseded
    receipts INTEGER NOT NULL,          -- rows with later signatures over it
    checksum BLOB NOT NULL,             -- of all but the two before
    PRIMARY KEY (aid, first_seen_number),
    UNIQUE (aid, said),
    FOREIGN KEY (aid, first_seen_number) REFERENCES event (aid, first_seen_number)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX place_trunk ON place (aid, sn) WHERE trunk;

-- Derived: what establishment events set.
CREATE TABLE establishment (
    aid TEXT NOT NULL,
    first_seen_number INTEGER NOT NULL,
    state BLOB NOT NULL,                -- MessagePack
    checksum BLOB NOT NULL,
    PRIMARY KEY (aid, first_seen_number),
    FOREIGN KEY (aid, first_seen_number) REFERENCES event (aid, first_seen_number)
) STRICT, WITHOUT ROWID;

-- Derived: event seals.
CREATE TABLE seal (
    aid TEXT NOT NULL,                  -- log of the event that anchors it
    sealed_aid TEXT NOT NULL,
    sealed_sn TEXT NOT NULL,
    sealed_said TEXT NOT NULL,
    first_seen_number INTEGER NOT NULL,
    PRIMARY KEY (aid, sealed_aid, sealed_sn, sealed_said, first_seen_number),
    FOREIGN KEY (aid, first_seen_number) REFERENCES event (aid, first_seen_number)
) STRICT, WITHOUT ROWID;

-- Derived: how many statements there are of each signer, and under the empty name of all.
CREATE TABLE statement_count (
    signer TEXT PRIMARY KEY,
    number INTEGER NOT NULL,
    size INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Derived: what is waited for.
CREATE TABLE held_missing (
    aid TEXT NOT NULL,                  -- log in which it will appear
    missing TEXT NOT NULL,              -- all of its key, as JSON
    arrived INTEGER NOT NULL REFERENCES held (arrived) ON DELETE CASCADE,
    PRIMARY KEY (aid, missing, arrived)
) STRICT, WITHOUT ROWID;

CREATE INDEX held_missing_entry ON held_missing (arrived);

-- Derived: how much room each log takes of what waits, and under the empty name all together.
CREATE TABLE held_share (
    log TEXT NOT NULL,
    message INTEGER NOT NULL,
    entries INTEGER NOT NULL,
    size INTEGER NOT NULL,
    large INTEGER,                      -- order in which they began to take more than their part
    PRIMARY KEY (log, message)
) STRICT, WITHOUT ROWID;

CREATE INDEX held_share_entries ON held_share (entries);

CREATE INDEX held_share_size ON held_share (size);

CREATE INDEX held_share_large ON held_share (large);
