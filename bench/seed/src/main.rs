//! `seed <state directory> <tokens> <agents>`: puts so many live tokens and agents of the first user into the database of a
//! stopped host, for the load runs; each tenth agent may be read by the user who was made last. The routes could do it too, at some
//! thousand a second; this does a million in seconds.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rusqlite::{Connection, OptionalExtension as _};

/// The schema that is known here is that of `migrations/`: a change of `credentials` there is a change here.
/// Ids and times rise as those of real tokens do; digests are as random as real ones, sorted so that inserting is quick.
const INSERT_TOKENS: &str = "
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)
    INSERT INTO credentials (digest, id, kind, prefix, tenant_id, user_id, name, scope, created_at)
    SELECT randomblob(32) AS digest, printf('tok_seed%022d', n), 'pat', printf('acr_pat_%08d', n % 100000000),
           owner.tenant_id, owner.id, printf('seed %d', n), '*', owner.created_at + n
    FROM numbers, (SELECT id, tenant_id, created_at FROM users ORDER BY created_at LIMIT 1) AS owner
    ORDER BY digest";

const INSERT_AGENTS: &str = "
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)
    INSERT INTO agents (id, tenant_id, name, owner_id, scope, created_at, updated_at)
    SELECT printf('agt_seed%022d', n), owner.tenant_id, printf('seed-%d', n), owner.id, 'agents.read', owner.created_at + n, owner.created_at + n
    FROM numbers, (SELECT id, tenant_id, created_at FROM users ORDER BY created_at LIMIT 1) AS owner";

const SHARE_EACH_TENTH: &str = "
    INSERT INTO grants (object_id, subject_id, relation, tenant_id, created_at, created_by)
    SELECT a.id, reader.id, 'viewer', a.tenant_id, a.created_at, a.owner_id
    FROM agents a, (SELECT id FROM users ORDER BY created_at DESC LIMIT 1) AS reader
    WHERE a.id LIKE 'agt_seed%0'";

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(state), Some(number), Some(agents)) = (arguments.next(), arguments.next(), arguments.next()) else {
        bail!("usage: seed <state directory> <tokens> <agents>");
    };
    let number: u64 = number.parse().context("the number of tokens is no number")?;
    let agents: u64 = agents.parse().context("the number of agents is no number")?;
    let mut database = find_database(Path::new(&state))?;
    // Only the run counts: a crash here costs nothing, a small cache costs minutes.
    database.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -524288; PRAGMA temp_store = MEMORY;")?;
    seed(&mut database, number, agents)
}

fn seed(database: &mut Connection, number: u64, agents: u64) -> Result<()> {
    let transaction = database.transaction()?;
    let inserted = transaction.execute(INSERT_TOKENS, [i64::try_from(number)?])?;
    if u64::try_from(inserted)? != number {
        bail!("{inserted} tokens went in instead of {number}: is there a user?");
    }
    if agents > 0 {
        transaction.execute(INSERT_AGENTS, [i64::try_from(agents)?])?;
        transaction.execute(SHARE_EACH_TENTH, [])?;
    }
    transaction.commit()?;
    // As a database has them that was used for a while.
    database.execute_batch("ANALYZE")?;
    // Later the database is measured, not its write-ahead log.
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}

/// The one database below a state directory that holds credentials.
fn find_database(state: &Path) -> Result<Connection> {
    let mut folders = vec![state.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Some(database) = open_if_ours(path) {
                return Ok(database);
            }
        }
    }
    bail!("{} holds no database with credentials", state.display());
}

fn open_if_ours(path: PathBuf) -> Option<Connection> {
    let database = Connection::open(path).ok()?;
    let found = database
        .query_row("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'credentials'", [], |_| Ok(()))
        .optional();
    matches!(found, Ok(Some(()))).then_some(database)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first migration as it is, with one tenant and one user.
    fn database() -> Connection {
        let database = Connection::open_in_memory().unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations");
        let mut files: Vec<_> = folder
            .read_dir()
            .unwrap()
            .map(|file| file.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "sql"))
            .collect();
        files.sort();
        for file in files {
            for statement in std::fs::read_to_string(file).unwrap().split("\n--- next\n") {
                database.execute_batch(statement).unwrap();
            }
        }
        database.execute_batch("INSERT INTO tenants (id, slug, created_at) VALUES ('ten_1', 'main', 1)").unwrap();
        database
            .execute_batch("INSERT INTO users (id, tenant_id, email, email_key, name, role, created_at) VALUES ('usr_1', 'ten_1', 'A', 'a', 'A', 'admin', 1)")
            .unwrap();
        database
    }

    #[test]
    fn so_many_live_tokens_go_into_the_schema_of_the_migrations() {
        let mut database = database();
        seed(&mut database, 1000, 100).unwrap();
        let live: i64 = database
            .query_row("SELECT COUNT(*) FROM credentials WHERE revoked_at IS NULL AND user_id = 'usr_1'", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(live, 1000);
        let shared: i64 = database.query_row("SELECT COUNT(*) FROM grants", [], |row| row.get(0)).unwrap();
        assert_eq!(shared, 10);
    }
}
