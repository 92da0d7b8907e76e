-- What a watcher follows, and what it has to tell.
--
-- Times are microseconds since 1970. A checksum is SHA-256 over the rest of its row, in the order of
-- columns.

-- Evidence: whose log is followed. `number` tells the order in which they came.
CREATE TABLE watched (
    aid TEXT PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,
    added_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Evidence: where it is followed, and what became of that. The columns from `asked_at` on change.
CREATE TABLE watched_source (
    aid TEXT NOT NULL REFERENCES watched (aid) ON DELETE CASCADE,
    url TEXT NOT NULL,
    eid TEXT NOT NULL,                  -- the witness or watcher that is asked there
    kind TEXT NOT NULL,                 -- witness, watcher
    asked_at INTEGER,                   -- the last call
    confirmed_at INTEGER,               -- when the last call began whose answer was a good log
    sn INTEGER,                         -- the end of that log
    said TEXT,
    furthest_sn INTEGER,                -- the end of the log that reached furthest so far
    furthest_said TEXT,
    failures INTEGER NOT NULL,          -- calls without a good answer since the last one
    problem TEXT NOT NULL,              -- what is wrong with the last answer, else empty
    PRIMARY KEY (aid, url)
) STRICT, WITHOUT ROWID;

-- Derived: one row. Who changes what is followed counts, so that those who serve notice it.
CREATE TABLE following (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    changes INTEGER NOT NULL
) STRICT;

INSERT INTO following VALUES (1, 0);

-- Evidence: what happened, in order, for those who are told. The oldest make room.
CREATE TABLE notice (
    number INTEGER PRIMARY KEY,         -- without gaps; the last one is always kept
    aid TEXT NOT NULL,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    same TEXT NOT NULL,                 -- what it is about; the same is not told again
    data TEXT NOT NULL                  -- JSON
) STRICT;

CREATE UNIQUE INDEX notice_same ON notice (aid, kind, same);

-- Evidence: proofs of duplicity, signed by this watcher, for each other version of an event.
CREATE TABLE bundle (
    aid TEXT NOT NULL,
    said TEXT NOT NULL,                 -- of the other version
    observed_at INTEGER NOT NULL,
    sources TEXT NOT NULL,              -- who served it, as JSON
    proofs BLOB NOT NULL,               -- all signatures over it that were ever served
    data BLOB NOT NULL,                 -- the bundle
    checksum BLOB NOT NULL,
    PRIMARY KEY (aid, said)
) STRICT, WITHOUT ROWID;

-- Evidence: who is called when something happens.
CREATE TABLE webhook (
    url TEXT PRIMARY KEY,
    told INTEGER NOT NULL,              -- number of the last notice that was delivered
    failures INTEGER NOT NULL,          -- calls in vain since the last delivery
    problem TEXT NOT NULL
) STRICT, WITHOUT ROWID;
