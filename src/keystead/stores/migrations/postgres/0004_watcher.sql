-- What a watcher follows, and what it has to tell: as 0004_watcher.sql of SQLite, column by column.

CREATE TABLE watched (
    aid TEXT COLLATE "C" PRIMARY KEY,
    number BIGINT NOT NULL UNIQUE,
    added_at BIGINT NOT NULL
);

CREATE TABLE watched_source (
    aid TEXT COLLATE "C" NOT NULL REFERENCES watched (aid) ON DELETE CASCADE,
    url TEXT COLLATE "C" NOT NULL,
    eid TEXT COLLATE "C" NOT NULL,              -- the witness or watcher that is asked there
    kind TEXT COLLATE "C" NOT NULL,             -- witness, watcher
    asked_at BIGINT,                            -- the last call
    confirmed_at BIGINT,                        -- when the last call began whose answer was a good log
    sn BIGINT,                                  -- the end of that log
    said TEXT COLLATE "C",
    furthest_sn BIGINT,                         -- the end of the log that reached furthest so far
    furthest_said TEXT COLLATE "C",
    failures BIGINT NOT NULL,                   -- calls without a good answer since the last one
    problem TEXT COLLATE "C" NOT NULL,          -- what is wrong with the last answer, else empty
    PRIMARY KEY (aid, url)
);

-- One row. Who changes what is followed counts, so that those who serve notice it.
CREATE TABLE following (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    changes BIGINT NOT NULL
);

INSERT INTO following VALUES (1, 0);

-- No sequence gives the numbers: a lower one must never come after a higher one has been read.
CREATE TABLE notice (
    number BIGINT PRIMARY KEY,                  -- without gaps; the last one is always kept
    aid TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    same TEXT COLLATE "C" NOT NULL,             -- what it is about; the same is not told again
    data TEXT COLLATE "C" NOT NULL              -- JSON
);

CREATE UNIQUE INDEX notice_same ON notice (aid, kind, same);

CREATE TABLE bundle (
    aid TEXT COLLATE "C" NOT NULL,
    said TEXT COLLATE "C" NOT NULL,             -- of the other version
    observed_at BIGINT NOT NULL,
    sources TEXT COLLATE "C" NOT NULL,          -- who served it, as JSON
    proofs BYTEA NOT NULL,                      -- all signatures over it that were ever served
    data BYTEA NOT NULL,                        -- the bundle
    checksum BYTEA NOT NULL,
    PRIMARY KEY (aid, said)
);

CREATE TABLE webhook (
    url TEXT COLLATE "C" PRIMARY KEY,
    told BIGINT NOT NULL,                       -- number of the last notice that was delivered
    failures BIGINT NOT NULL,                   -- calls in vain since the last delivery
    problem TEXT COLLATE "C" NOT NULL
);
