-- Evidence: how the data key is wrapped by a passphrase. One row.
CREATE TABLE envelope (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    wallet TEXT NOT NULL,
    version INTEGER NOT NULL,
    memory_kib INTEGER NOT NULL,
    passes INTEGER NOT NULL,
    lanes INTEGER NOT NULL,
    salt BLOB NOT NULL,
    data BLOB NOT NULL
) STRICT;

-- Evidence: passphrases that did not fit, since the last that did. One row.
CREATE TABLE attempt (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    failed INTEGER NOT NULL,
    last_at INTEGER NOT NULL
) STRICT;

-- Evidence: sealed records, each bound to kind, id and generation.
CREATE TABLE record (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    tag BLOB,
    data BLOB NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;

CREATE UNIQUE INDEX record_tag ON record (kind, tag) WHERE tag IS NOT NULL;

-- Evidence: what became of each record, in order. Each row's hash covers the one before.
CREATE TABLE audit (
    number INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    generation INTEGER NOT NULL,
    digest BLOB NOT NULL,
    data BLOB NOT NULL,
    hash BLOB NOT NULL
) STRICT;

CREATE INDEX audit_subject ON audit (kind, id, number);
