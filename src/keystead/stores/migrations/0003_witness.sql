-- Evidence: for which events this witness has given a receipt, or must give one. The unique index
-- is the promise of a witness: one event for one place. The triggers keep it when events of a log
-- lose their place by a recovery: what nothing may supersede stays, and what comes instead is a
-- rotation, or what follows one that was seen later. They hold against INSERT OR REPLACE too, which
-- deletes without asking them.
CREATE TABLE witnessed (
    aid TEXT NOT NULL,
    first_seen_number INTEGER NOT NULL, -- of the event
    sn INTEGER NOT NULL,
    said TEXT NOT NULL,
    rank INTEGER NOT NULL,              -- 0: interaction, 1: delegated rotation, 2: any other
    stands INTEGER NOT NULL,            -- it has its place still
    PRIMARY KEY (aid, first_seen_number),
    UNIQUE (aid, said),
    FOREIGN KEY (aid, first_seen_number) REFERENCES event (aid, first_seen_number)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX witnessed_once ON witnessed (aid, sn) WHERE stands = 1;

CREATE INDEX witnessed_before ON witnessed (aid, sn) WHERE stands = 0;

CREATE TRIGGER witnessed_begins BEFORE INSERT ON witnessed
WHEN new.stands != 1 OR new.rank NOT IN (0, 1, 2)
  OR EXISTS (SELECT 1 FROM witnessed WHERE aid = new.aid AND first_seen_number = new.first_seen_number)
  OR EXISTS (SELECT 1 FROM witnessed WHERE aid = new.aid AND said = new.said)
  OR EXISTS (SELECT 1 FROM witnessed WHERE aid = new.aid AND sn = new.sn AND stands = 1)
  OR EXISTS (SELECT 1 FROM witnessed old WHERE aid = new.aid AND sn = new.sn AND stands = 0
             AND (new.rank = 0 OR rank > 1 OR (rank = 1 AND new.rank != 1))
             AND NOT EXISTS (SELECT 1 FROM witnessed before
                             WHERE before.aid = new.aid AND before.sn = new.sn - 1 AND before.stands = 1
                               AND before.first_seen_number > old.first_seen_number))
BEGIN SELECT raise(ABORT, 'a place is witnessed once'); END;

CREATE TRIGGER witnessed_stays BEFORE DELETE ON witnessed
BEGIN SELECT raise(ABORT, 'what was witnessed is never forgotten'); END;

CREATE TRIGGER witnessed_is_fixed BEFORE UPDATE ON witnessed
WHEN new.stands != 0 OR old.rank > 1
  OR new.aid != old.aid OR new.first_seen_number != old.first_seen_number
  OR new.sn != old.sn OR new.said != old.said OR new.rank != old.rank
BEGIN SELECT raise(ABORT, 'what was witnessed never changes'); END;

-- Derived: who is a witness of a log that is witnessed here. Where they are is kept, so that whoever
-- asks here for a log finds its other witnesses too.
CREATE TABLE neighbour (
    aid TEXT NOT NULL,
    log TEXT NOT NULL,
    PRIMARY KEY (aid, log)
) STRICT, WITHOUT ROWID;

CREATE INDEX neighbour_log ON neighbour (log);

-- Evidence: whose events a witness takes.
CREATE TABLE admission (
    aid TEXT PRIMARY KEY,
    allowed INTEGER NOT NULL,           -- 0: no more events are taken
    origin TEXT NOT NULL,               -- how it was let in: operator, invitation, open
    since TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Evidence: codes with which strangers may be let in.
CREATE TABLE invitation (
    digest BLOB PRIMARY KEY,            -- SHA-256 of the code
    remaining INTEGER NOT NULL,         -- identifiers that it still lets in
    expires INTEGER                     -- microseconds since 1970, empty: never
) STRICT, WITHOUT ROWID;

-- Evidence: which witness this is, and how often it wrote. One row.
CREATE TABLE witness (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    aid TEXT NOT NULL,
    store TEXT NOT NULL,                -- random name of this database
    generation INTEGER NOT NULL,        -- counts what was committed
    quarantined INTEGER NOT NULL        -- it was restored, and must catch up before it signs
) STRICT;

-- Evidence: logs that a restored witness must see again before it signs.
CREATE TABLE unconfirmed (
    aid TEXT PRIMARY KEY,
    said TEXT NOT NULL                  -- event that must be in the log; empty: any answer of another
) STRICT, WITHOUT ROWID;

-- Evidence: messages for those who ask for them later. The oldest go first.
CREATE TABLE mail (
    number INTEGER PRIMARY KEY,
    recipient TEXT NOT NULL,
    topic TEXT NOT NULL,
    place INTEGER NOT NULL,             -- order for this recipient and topic, from 0
    message BLOB NOT NULL,
    since INTEGER NOT NULL,             -- microseconds since 1970
    UNIQUE (recipient, topic, place)
) STRICT;

CREATE INDEX mail_since ON mail (since);
