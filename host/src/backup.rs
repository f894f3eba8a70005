//! `backup` and `restore`: the database as one file, checked both ways.
//!
//! A backup is one reading transaction of a running database (`VACUUM INTO`): writers go on, and what was deleted is not in it. It is
//! written beside its place and moved there when it was checked. A restore checks the copy that it will use, keeps the database that it
//! replaces, and needs the directory alone.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, fchown};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::private::{BESIDE, HEAD, folder_of, with_end};
use crate::runtime_config::RuntimeConfig;
use crate::{cache, lock, private};

/// How far a restore puts ahead the numbers that clients hold: more than were given between the backup and the restore.
const AHEAD: i64 = 1_000_000_000;

/// The statements for it, each with what it takes: a column of a table, which an older release may lack. Each tenant's epochs go on behind a
/// change of the whole tenant. Events and lines move with their counters, since only the newest behind a counter are kept.
const PUT_AHEAD: &[(&str, &str, &str)] = &[
    (
        "epochs",
        "epoch",
        "INSERT INTO epochs (tenant_id, epoch, kind, object_id, change)
         SELECT t.id, ?1 + ifnull((SELECT max(e.epoch) FROM epochs e WHERE e.tenant_id = t.id), 0), 'tenant', t.id, 'narrowed' FROM tenants t",
    ),
    ("agents", "inbox_seq", "UPDATE inbox SET seq = seq + ?1"),
    ("agents", "inbox_seq", "UPDATE agents SET inbox_seq = inbox_seq + ?1"),
    ("agents", "log_seq", "UPDATE agent_logs SET seq = seq + ?1"),
    ("agents", "log_seq", "UPDATE agents SET log_seq = log_seq + ?1"),
];

/// The label of the database that is meant.
const LABEL: &str = "default";

/// Where the database is, said as a host is told it.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// The manifest, or its directory.
    #[arg(short = 'f', long = "from", default_value = "spin.toml")]
    from: PathBuf,
    /// The directory of databases, as for the host. By default `.spin` beside the manifest.
    #[arg(long)]
    state_dir: Option<String>,
    /// The runtime configuration, if the host has one.
    #[arg(long, env = "RUNTIME_CONFIG_FILE")]
    runtime_config_file: Option<PathBuf>,
}

impl Place {
    fn database(&self) -> Result<PathBuf> {
        let home = if self.from.is_dir() { self.from.as_path() } else { folder_of(&self.from) };
        let config = match &self.runtime_config_file {
            Some(path) => RuntimeConfig::read(path)?,
            None => RuntimeConfig::default(),
        };
        let path = config.database(LABEL, self.state_dir.as_deref(), home);
        path.context("the database is in memory")
    }
}

/// Writes a copy of the database into a new file, also while a host runs.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file to write. It must not be there yet.
    file: PathBuf,
    #[command(flatten)]
    place: Place,
}

/// Puts a backup in the database's place, while no host runs on it.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup.
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Replace the database that is there. It is kept beside, as `….before-1`.
    #[arg(long)]
    replace: bool,
    /// Restore also where the backup's tables, indexes, triggers and views are not those of the database that it replaces.
    #[arg(long)]
    other_schema: bool,
}

/// What was found in a database.
struct Checked {
    /// The application's version of the schema.
    version: i64,
    /// SHA-256 over the texts of the schema.
    schema: String,
    /// How many tables there are.
    tables: i64,
    /// Whether they are Accredit's, as far as its oldest release has them.
    is_accredits: bool,
}

impl Backup {
    pub(crate) fn run(&self) -> Result<()> {
        let database = self.place.database()?;
        ensure!(database.is_file(), "there is no database at {}", database.display());
        ensure!(self.file != Path::new("-"), "a backup is written into a file, and not to standard output; name one");
        ensure!(!self.file.exists(), "{} is there already; name another file", self.file.display());
        let folder = folder_of(&self.file);
        // 0600, and removed unless it is kept.
        let part = tempfile::Builder::new().prefix(".accredit-backup-").tempfile_in(folder);
        let part = part.with_context(|| format!("cannot write into {}", folder.display()))?;
        let source = open(&database)?;
        // Byte for byte: a path need not be UTF-8.
        let into = ToSqlOutput::Borrowed(ValueRef::Text(part.path().as_os_str().as_bytes()));
        let copied = source.execute("VACUUM INTO ?1", [into]);
        copied.with_context(|| format!("cannot copy {}", database.display()))?;
        let (before, after) = (schema(&source)?, check(part.path())?);
        ensure!(
            (before.version, &before.schema) == (after.version, &after.schema),
            "the schema of the database was changed meanwhile; make the backup again"
        );
        part.as_file().sync_all()?;
        let (bytes, sha256) = digest(part.path())?;
        part.persist_noclobber(&self.file)
            .map_err(|kept| kept.error)
            .with_context(|| self.file.display().to_string())?;
        File::open(folder)?.sync_all()?;
        say(&format!(
            "Backed up {} to {}: {bytes} bytes, schema version {}.\nintegrity: ok\nschema: {}\nsha256: {sha256}",
            database.display(),
            self.file.display(),
            after.version,
            after.schema,
        ))
    }
}

impl Restore {
    pub(crate) fn run(&self) -> Result<()> {
        let database = self.place.database()?;
        let folder = folder_of(&database);
        private::directory(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let running = || format!("a host runs on {}; stop it first", folder.display());
        let _alone = lock::own(folder)?.with_context(running)?;
        // A link stays, and leads to the new one: somebody wants the database on another disk.
        let database = match database.is_symlink() {
            true => database.canonicalize().with_context(|| format!("{} leads nowhere", database.display()))?,
            false => database,
        };
        let folder = folder_of(&database);
        let part = self.copy(folder)?;
        let new = check(part.path()).with_context(|| format!("{} cannot be restored", self.file.display()))?;
        ensure!(new.tables > 0, "{} is an empty database", self.file.display());
        ensure!(new.is_accredits, "{} is the database of another program", self.file.display());
        put_ahead(part.path()).with_context(|| format!("{} cannot be restored", self.file.display()))?;
        part.as_file().sync_all()?;
        belong_to(part.as_file(), if database.exists() { &database } else { folder })?;
        let mut kept = None;
        if database.exists() {
            ensure!(
                self.replace,
                "there is a database at {}; with --replace it is kept beside, and the backup takes its place",
                database.display()
            );
            self.compare(&database, &new)?;
            kept = Some(put_aside(&database)?);
        }
        let moved = if kept.is_some() { part.persist(&database) } else { part.persist_noclobber(&database) };
        moved.map_err(|kept| kept.error).with_context(|| format!("cannot write {}", database.display()))?;
        File::open(folder)?.sync_all()?;
        // The next whole second: all that came back is older.
        let now = "SELECT strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '+1 second')";
        let now: String = Connection::open_in_memory()?.query_row(now, [], |row| row.get(0))?;
        let kept = kept.map(|path| format!("The database that was there is {}.\n", path.display())).unwrap_or_default();
        say(&format!(
            "Restored {} to {}: schema version {}.\nintegrity: ok\nschema: {}\n{kept}\n\
             Were credentials revoked since this backup was made? They work again, and so do sessions that were ended, approvals that\n\
             were revoked, accounts that were deactivated, and old passwords. Unless you are sure that there were none, start the host\n\
             where nobody else reaches it, and end every credential from before now:\n\n\
             POST /operator/revoke {{\"secret\": \"<the operator secret>\", \"issued_before\": \"{now}\"}}\n\n\
             That ends approvals too. Grants, ceilings and the states of agents are as they were when the backup was made: look at them.\n\
             docs/operations.md, \"Restoring a backup\", has the other steps.",
            self.file.display(),
            database.display(),
            new.version,
            new.schema,
        ))
    }

    /// A copy of the backup beside the database: what is checked is what is used.
    fn copy(&self, folder: &Path) -> Result<NamedTempFile> {
        for end in ["-wal", "-journal"] {
            let beside = with_end(&self.file, end);
            let has_more = beside.metadata().is_ok_and(|found| found.len() > 0);
            ensure!(!has_more, "{} belongs to it, so this is no backup: make one with `backup`", beside.display());
        }
        let unreadable = || format!("cannot read {}", self.file.display());
        // A pipe would be waited for when it is opened.
        ensure!(self.file.metadata().with_context(unreadable)?.is_file(), "{} is no file", self.file.display());
        let mut from = File::open(&self.file).with_context(unreadable)?;
        let mut part = tempfile::Builder::new().prefix(".accredit-restore-").tempfile_in(folder)?;
        std::io::copy(&mut from, part.as_file_mut()).with_context(unreadable)?;
        part.as_file().sync_all()?;
        Ok(part)
    }

    /// Compares the backup with the database that it replaces. Whatever has that one open must go first; one that is damaged is not
    /// compared.
    fn compare(&self, database: &Path, new: &Checked) -> Result<()> {
        let old = match leave_alone(database).and_then(|()| schema(&open(database)?)) {
            Ok(old) => old,
            Err(error) => match error.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code) {
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                    bail!("another program has {} open; stop it first", database.display())
                }
                _ => {
                    say!("accredit-host: {} is damaged, so it is not compared: {error:#}", database.display());
                    return Ok(());
                }
            },
        };
        ensure!(
            self.other_schema || old.version != new.version || old.schema == new.schema,
            "both databases have the schema version {}, and their schemas differ: somebody has added something to one of them, or \
             removed it; with --other-schema the backup is restored as it is",
            new.version
        );
        Ok(())
    }
}

/// Opens a database that is there.
fn open(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags);
    connection.with_context(|| format!("cannot open {}", path.display()))
}

/// Ends the write-ahead log of a database, which no other connection may have open. A file of another kind is not opened: SQLite would
/// take away what is left beside it.
fn leave_alone(database: &Path) -> Result<()> {
    let mut head = [0; HEAD.len()];
    File::open(database)?.read_exact(&mut head).context("it has no head")?;
    ensure!(&head == HEAD, "it has the head of another kind of file");
    let connection = open(database)?;
    connection.busy_timeout(std::time::Duration::ZERO)?;
    connection.query_row("PRAGMA journal_mode=DELETE", [], |_| Ok(()))?;
    Ok(connection.execute_batch("BEGIN EXCLUSIVE; ROLLBACK")?)
}

fn schema(connection: &Connection) -> Result<Checked> {
    let version = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let sql = "SELECT type || char(0) || name || char(0) || tbl_name || char(0) || ifnull(sql, '') FROM sqlite_schema \
               WHERE name NOT LIKE 'sqlite~_stat%' ESCAPE '~' ORDER BY 1";
    let mut hash = Sha256::new();
    let mut statement = connection.prepare(sql)?;
    for text in statement.query_map([], |row| row.get::<_, String>(0))? {
        hash.update(text?);
        hash.update([0, b'\n']);
    }
    // Tables of every release.
    let count = |which: &str| {
        let sql = format!("SELECT count(*) FROM sqlite_schema WHERE type = 'table' {which}");
        connection.query_row(&sql, [], |row| row.get::<_, i64>(0))
    };
    let (tables, own) = (count("")?, count("AND name IN ('tenants', 'credentials', 'audit')")?);
    Ok(Checked { version, schema: cache::hex(&hash.finalize()), tables, is_accredits: version > 0 && own == 3 })
}

/// Checks a database from its first page to its last.
fn check(path: &Path) -> Result<Checked> {
    let connection = open(path)?;
    let damaged = "the file is damaged, or no database";
    let found: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).context(damaged)?;
    ensure!(found == "ok", "{damaged}: {found}");
    let is_whole = !connection.prepare("PRAGMA foreign_key_check")?.exists([])?;
    ensure!(is_whole, "{damaged}: a row names another one that is not there");
    schema(&connection)
}

/// Puts the numbers ahead that guards and agents hold as places to go on from. Those that were given after the backup would be given again, for
/// other things, and a client that has such a place would miss them.
fn put_ahead(path: &Path) -> Result<()> {
    let mut connection = open(path)?;
    connection.query_row("PRAGMA journal_mode=DELETE", [], |_| Ok(()))?;
    let transaction = connection.transaction()?;
    for (table, column, sql) in PUT_AHEAD {
        let known = "SELECT EXISTS (SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2)";
        if transaction.query_row(known, [table, column], |row| row.get(0))? {
            transaction.execute(sql, [AHEAD])?;
        }
    }
    Ok(transaction.commit()?)
}

/// Keeps a database beside, with what SQLite may have left beside it, and in its place until another one is moved there: a restore that is killed in
/// between leaves one there, and no host begins with an empty one.
fn put_aside(database: &Path) -> Result<PathBuf> {
    let free = (1..).map(|number| with_end(database, &format!(".before-{number}"))).find(|path| !path.exists());
    let kept = free.context("no name is free")?;
    for end in BESIDE.iter().filter(|end| !end.is_empty()) {
        let from = with_end(database, end);
        if from.exists() {
            std::fs::rename(&from, with_end(&kept, end)).with_context(|| format!("cannot move {}", from.display()))?;
        }
    }
    // Where there are no links, it is away for a moment.
    let moved = std::fs::hard_link(database, &kept).or_else(|_| std::fs::rename(database, &kept));
    moved.with_context(|| format!("cannot move {}", database.display()))?;
    // Spin makes its files as the umask has it, and nobody opens this one to narrow it.
    private::narrow(&kept).with_context(|| format!("cannot narrow {}", kept.display()))?;
    Ok(kept)
}

/// Gives a file to the user that another one belongs to: an administrator restores for the user of the host, who has to open it.
fn belong_to(file: &File, other: &Path) -> Result<()> {
    let (own, other_owner) = (file.metadata()?, other.metadata()?);
    if own.uid() == other_owner.uid() {
        return Ok(());
    }
    let given = fchown(file, Some(other_owner.uid()), Some(other_owner.gid()));
    given.with_context(|| format!("{} is another user's; restore as that user, or as root", other.display()))
}

/// Bytes and SHA-256 of a file.
fn digest(path: &Path) -> Result<(u64, String)> {
    let (mut file, mut hash, mut buffer, mut bytes) = (File::open(path)?, Sha256::new(), vec![0; 1 << 16], 0);
    loop {
        let read = file.read(&mut buffer)?;
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
        hash.update(piece);
        bytes += piece.len() as u64;
    }
    Ok((bytes, cache::hex(&hash.finalize())))
}

fn say(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}")?;
    Ok(stdout.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(folder: &Path) -> Place {
        let state_dir = Some(folder.to_string_lossy().into_owned());
        Place { from: "spin.toml".into(), state_dir, runtime_config_file: None }
    }

    fn database(folder: &Path) -> (PathBuf, Connection) {
        let path = folder.join("sqlite_db.db");
        let connection = Connection::open(&path).unwrap();
        let sql =
            "PRAGMA journal_mode=WAL; PRAGMA user_version=3; CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT) STRICT;
                   CREATE TABLE tenants (a); CREATE TABLE credentials (a); CREATE TABLE audit (a);
                   CREATE INDEX i ON t (b); INSERT INTO t (b) VALUES ('one')";
        connection.execute_batch(sql).unwrap();
        (path, connection)
    }

    fn backup(folder: &Path, file: &Path) -> Result<()> {
        Backup { file: file.to_owned(), place: place(folder) }.run()
    }

    fn restore(folder: &Path, file: &Path, replace: bool) -> Result<()> {
        Restore { file: file.to_owned(), place: place(folder), replace, other_schema: false }.run()
    }

    fn rows(path: &Path) -> i64 {
        Connection::open(path).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    }

    /// R599.
    #[test]
    fn another_programs_database_is_not_restored() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("other.db");
        for (sql, why) in [
            ("PRAGMA user_version=0", "is an empty database"),
            ("CREATE TABLE x (a)", "is the database of another program"),
            ("PRAGMA user_version=7", "is the database of another program"),
        ] {
            Connection::open(&file)
                .unwrap()
                .execute_batch(&format!("PRAGMA journal_mode=DELETE; {sql}; VACUUM"))
                .unwrap();
            let state = tempfile::tempdir().unwrap();
            let refused = restore(state.path(), &file, false).unwrap_err();
            assert!(format!("{refused:#}").contains(why), "{refused:#}");
            assert!(!state.path().join("sqlite_db.db").exists());
        }
    }

    /// R150.
    #[test]
    fn a_backup_is_whole_and_for_its_owner_alone() {
        let (state, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (path, connection) = database(state.path());
        // An open write does not hold it up, and is not in it.
        connection.execute_batch("BEGIN IMMEDIATE; INSERT INTO t (b) VALUES ('two')").unwrap();
        let file = out.path().join("backup.db");
        backup(state.path(), &file).unwrap();
        connection.execute_batch("COMMIT").unwrap();
        assert_eq!((rows(&file), rows(&path)), (1, 2));
        let mode = file.metadata().unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        let error = backup(state.path(), &file).unwrap_err().to_string();
        assert!(error.contains("is there already"), "{error}");
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 1);
        let empty = tempfile::tempdir().unwrap();
        assert!(backup(empty.path(), &out.path().join("other.db")).unwrap_err().to_string().contains("no database"));
    }

    /// R150: what is damaged, open or not asked for is not restored, and what is replaced is kept.
    #[test]
    fn a_restore_replaces_nothing_silently() {
        let (state, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (path, connection) = database(state.path());
        let file = out.path().join("backup.db");
        backup(state.path(), &file).unwrap();
        connection.execute_batch("INSERT INTO t (b) VALUES ('two')").unwrap();
        let refused = |replace, part: &str| {
            let error = format!("{:#}", restore(state.path(), &file, replace).unwrap_err());
            assert!(error.contains(part), "{error}");
        };
        refused(false, "--replace");
        refused(true, "another program");
        // R612: nobody writes into the pipe.
        let pipe = out.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let error = format!("{:#}", restore(state.path(), &pipe, true).unwrap_err());
        assert!(error.ends_with("is no file"), "{error}");
        drop(connection);
        assert_eq!(rows(&path), 2);
        // Another schema of the same version is named.
        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TRIGGER x AFTER INSERT ON t BEGIN DELETE FROM t; END").unwrap();
        drop(other);
        refused(true, "--other-schema");
        Connection::open(&path).unwrap().execute_batch("DROP TRIGGER x").unwrap();
        restore(state.path(), &file, true).unwrap();
        assert_eq!((rows(&path), rows(&with_end(&path, ".before-1"))), (1, 2));
        // A damaged backup, a text, an empty file and none at all.
        let mut bytes = std::fs::read(&file).unwrap();
        bytes.iter_mut().skip(4096).for_each(|byte| *byte = 7);
        for (name, bytes) in [("damaged", bytes.as_slice()), ("text", b"no database"), ("empty", b"")] {
            std::fs::write(out.path().join(name), bytes).unwrap();
            assert!(restore(state.path(), &out.path().join(name), true).is_err(), "{name}");
        }
        assert!(restore(state.path(), &out.path().join("none"), true).is_err());
        assert_eq!(rows(&path), 1);
        // A database that is damaged is what restores are for; what SQLite left beside it moves with it.
        std::fs::write(&path, "damaged").unwrap();
        std::fs::write(with_end(&path, "-wal"), "left").unwrap();
        restore(state.path(), &file, true).unwrap();
        assert_eq!(rows(&path), 1);
        assert_eq!(std::fs::read(with_end(&path, ".before-2-wal")).unwrap(), b"left");
        let left = std::fs::read_dir(state.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".accredit"));
        assert_eq!(left.count(), 0);
        // Into an empty place.
        let empty = tempfile::tempdir().unwrap();
        restore(&empty.path().join("new"), &file, false).unwrap();
        assert_eq!(rows(&empty.path().join("new/sqlite_db.db")), 1);
    }

    /// R625: numbers that were given after the backup are not given again, and what waits to be read is still there.
    #[test]
    fn numbers_go_on_behind_those_that_a_client_may_hold() {
        let (state, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (path, connection) = database(state.path());
        connection
            .execute_batch(
                "DROP TABLE tenants; CREATE TABLE tenants (id TEXT); INSERT INTO tenants VALUES ('ten_a'), ('ten_b');
                 CREATE TABLE agents (id TEXT, inbox_seq INTEGER, log_seq INTEGER); INSERT INTO agents VALUES ('agt_a', 7, 2);
                 CREATE TABLE inbox (agent_id TEXT, seq INTEGER, PRIMARY KEY (agent_id, seq)); INSERT INTO inbox VALUES ('agt_a', 6), ('agt_a', 7);
                 CREATE TABLE agent_logs (agent_id TEXT, seq INTEGER, PRIMARY KEY (agent_id, seq)); INSERT INTO agent_logs VALUES ('agt_a', 1), ('agt_a', 2);
                 CREATE TABLE epochs (tenant_id TEXT, epoch INTEGER, kind TEXT, object_id TEXT, change TEXT);
                 INSERT INTO epochs VALUES ('ten_a', 1, 'agent', 'agt_a', 'halted')",
            )
            .unwrap();
        let file = out.path().join("backup.db");
        backup(state.path(), &file).unwrap();
        drop(connection);
        restore(state.path(), &file, true).unwrap();
        let connection = Connection::open(&path).unwrap();
        for (sql, value) in [
            (
                "SELECT group_concat(tenant_id || epoch || kind || object_id, ' ') FROM (SELECT * FROM epochs ORDER BY tenant_id, epoch)",
                "ten_a1agentagt_a ten_a1000000001tenantten_a ten_b1000000000tenantten_b",
            ),
            ("SELECT inbox_seq || ' ' || log_seq FROM agents", "1000000007 1000000002"),
            ("SELECT group_concat(seq, ' ') FROM (SELECT * FROM inbox ORDER BY seq)", "1000000006 1000000007"),
            ("SELECT group_concat(seq, ' ') FROM (SELECT * FROM agent_logs ORDER BY seq)", "1000000001 1000000002"),
        ] {
            assert_eq!(connection.query_row::<String, _, _>(sql, [], |row| row.get(0)).unwrap(), value, "{sql}");
        }
    }

    /// R470: what root restores is the database of the user that the directory, or the database before, belongs to. Another user restores for
    /// themselves alone, so that as such this finds less.
    #[test]
    fn a_database_that_was_restored_is_its_hosts_own() {
        let (state, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (_, connection) = database(state.path());
        let file = out.path().join("backup.db");
        backup(state.path(), &file).unwrap();
        drop(connection);
        let is_root = file.metadata().unwrap().uid() == 0;
        let owner = if is_root { 65534 } else { file.metadata().unwrap().uid() };
        let give = |path: &Path| std::os::unix::fs::chown(path, Some(owner), None).unwrap();
        let empty = tempfile::tempdir().unwrap();
        give(empty.path());
        restore(empty.path(), &file, false).unwrap();
        let path = empty.path().join("sqlite_db.db");
        assert_eq!(path.metadata().unwrap().uid(), owner);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        std::os::unix::fs::chown(empty.path(), Some(file.metadata().unwrap().uid()), None).unwrap();
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(&path, open).unwrap();
        restore(empty.path(), &file, true).unwrap();
        for path in [&path, &with_end(&path, ".before-1")] {
            assert_eq!(path.metadata().unwrap().uid(), owner, "{}", path.display());
            // R683: also what Spin had left open to others.
            assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600, "{}", path.display());
        }
    }

    /// R470: a database that is a link stays on the disk to which it leads.
    #[test]
    fn a_link_leads_to_the_database_that_was_restored() {
        let (state, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (path, connection) = database(disk.path());
        let link = state.path().join("sqlite_db.db");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let file = state.path().join("backup.db");
        backup(state.path(), &file).unwrap();
        connection.execute_batch("INSERT INTO t (b) VALUES ('two')").unwrap();
        drop(connection);
        restore(state.path(), &file, true).unwrap();
        assert!(link.is_symlink() && !path.is_symlink());
        assert_eq!((rows(&link), rows(&with_end(&path, ".before-1"))), (1, 2));
    }

    /// R316: a restore that is killed leaves a database where there was one.
    #[test]
    fn a_database_that_is_put_aside_is_in_its_place_until_another_one_is() {
        let folder = tempfile::tempdir().unwrap();
        let (path, connection) = database(folder.path());
        drop(connection);
        let kept = put_aside(&path).unwrap();
        assert_eq!((rows(&path), rows(&kept)), (1, 1));
    }
}
