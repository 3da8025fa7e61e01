/** Tables of `archive.db`. */

/** Raised by every change that an older Orbweaver could not read. */
export const SCHEMA_VERSION = 1

/** `OWfa`: told by `file(1)` and checked at open, so that no other program's database is taken for an archive. */
export const APPLICATION_ID = 0x4f576661

/**
 * Ids of all nodes, resources and changes come from one counter, `archive.seq`. It only grows, inside write transactions,
 * of which SQLite runs one at a time: whoever reads `seq` sees every change up to it.
 *
 * Children are clustered by their parent (`WITHOUT ROWID`, key parent and label): reading a project is a walk along four
 * tables in step. `resources` of a node is the JSON of its rows in `resource`, kept in the same transaction, so that the
 * walk needs no fifth and sixth table.
 */
export const SCHEMA = `
CREATE TABLE archive (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  schema INTEGER NOT NULL,
  id TEXT NOT NULL,
  seq INTEGER NOT NULL,
  -- Up to here seq is known to be on the disk.
  synced INTEGER NOT NULL,
  -- 1: some machine reaches the archive over a network; nobody uses a write-ahead log again.
  rollback INTEGER NOT NULL
) STRICT;

CREATE TABLE project (
  id INTEGER PRIMARY KEY,
  label TEXT NOT NULL UNIQUE,
  -- seq of the last change of the project's own resources and assessors.
  changed INTEGER NOT NULL,
  resources TEXT
) STRICT;

CREATE TABLE subject (
  id INTEGER PRIMARY KEY,
  project INTEGER NOT NULL REFERENCES project,
  label TEXT NOT NULL,
  -- seq of the last change of anything in the subject.
  changed INTEGER NOT NULL,
  resources TEXT,
  UNIQUE (project, label)
) STRICT;
CREATE INDEX subject_changed ON subject (project, changed);

CREATE TABLE session (
  subject INTEGER NOT NULL,
  label TEXT NOT NULL,
  id INTEGER NOT NULL,
  modality TEXT,
  date TEXT,
  resources TEXT,
  PRIMARY KEY (subject, label)
) STRICT, WITHOUT ROWID;
CREATE INDEX session_label ON session (label);

CREATE TABLE scan (
  session INTEGER NOT NULL,
  label TEXT NOT NULL,
  id INTEGER NOT NULL,
  type TEXT NOT NULL,
  quality TEXT NOT NULL,
  description TEXT,
  resources TEXT,
  PRIMARY KEY (session, label)
) STRICT, WITHOUT ROWID;

CREATE TABLE assessor (
  -- id of the session, subject or project it hangs on.
  parent INTEGER NOT NULL,
  label TEXT NOT NULL,
  id INTEGER NOT NULL,
  proc_type TEXT NOT NULL,
  proc_version TEXT,
  state TEXT,
  status_word TEXT NOT NULL,
  cause TEXT,
  attempt INTEGER NOT NULL,
  retry_at_ms INTEGER,
  quality TEXT NOT NULL,
  scans TEXT,
  resources TEXT,
  -- seq of the last change of the assessor itself: no number comes twice, not even after it was deleted and made again.
  revision INTEGER NOT NULL,
  PRIMARY KEY (parent, label)
) STRICT, WITHOUT ROWID;

CREATE TABLE record (
  assessor INTEGER PRIMARY KEY,
  json TEXT NOT NULL
) STRICT;

CREATE TABLE resource (
  -- id of the node.
  owner INTEGER NOT NULL,
  label TEXT NOT NULL,
  id INTEGER NOT NULL,
  files INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  digest TEXT NOT NULL,
  PRIMARY KEY (owner, label)
) STRICT, WITHOUT ROWID;

CREATE TABLE file (
  resource INTEGER NOT NULL,
  path TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  sha256 TEXT NOT NULL,
  -- Size, time and inode of a linked file when it was linked; NULL: the archive's own copy.
  linked TEXT,
  PRIMARY KEY (resource, path)
) STRICT, WITHOUT ROWID;

-- Files whose new state is already told by the tables above while they still lie in the staging area. See content.ts.
CREATE TABLE pending (
  id INTEGER PRIMARY KEY,
  folder TEXT NOT NULL,
  work TEXT NOT NULL
) STRICT;

-- What was imported from where, so that the same file is not read again.
CREATE TABLE source (
  path TEXT PRIMARY KEY,
  stamp TEXT NOT NULL,
  sha256 TEXT NOT NULL
) STRICT, WITHOUT ROWID;
`
