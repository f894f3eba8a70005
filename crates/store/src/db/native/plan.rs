//! No route reads a table whole that grows with its users: each statement of a request in the tests is planned, once, and looked
//! at. What was fast with ten agents in a test is slow with 100,000.
//!
//! And no statement gives a column without a short name: SQLite calls it by the text of its expression, and the host hands that
//! to the component with each answer.

use std::{
    collections::HashSet,
    sync::{LazyLock, Mutex, PoisonError},
};

/// Tables that grow, and what statements call them.
const GROWING: &[&str] = &[
    "agents",
    "a",
    "b",
    "users",
    "u",
    "credentials",
    "c",
    "grants",
    "g",
    "api_keys",
    "k",
    "notifications",
    "n",
    "audit",
    "r",
    "x",
    "inbox",
    "outbox",
    "o",
    "agent_logs",
    "access_requests",
    "idempotency",
    "guides",
    "federated_credentials",
    "fed",
    "key_sets",
    "assertions_seen",
    "proofs_seen",
];

/// The exceptions: parts of the statements' texts.
const ALLOWED: &[&str] = &[
    // The operator's, after a backup was restored.
    "SET revoked_at = ?2 WHERE revoked_at IS NULL AND created_at < ?1",
    "UPDATE api_keys SET sealed = NULL WHERE sealed_at < ?1",
    "SELECT tenant_id, count(*) FROM (",
    "DELETE FROM federated_credentials WHERE created_at < ?1",
    "AND spent_at IS NULL AND ends_at > ?2 AND decided_at < ?1",
    // All agents of the tenant are what is to be stopped.
    "state <> 'stopped'",
    // Purging an agent for good.
    "UPDATE notifications SET agent_id = NULL",
    "DELETE FROM agents WHERE id = ?1",
    // SQLite plans to look for rows without a parent, which it does only when there are any.
    "INSERT INTO agents",
    "INSERT INTO users",
    "INSERT INTO tenants",
    // After an upgrade the first instance counts and writes what is there.
    "UPDATE agents SET stored_bytes =\nifnull",
    "INSERT INTO usage (subject_id, agents, bytes)",
    "UPDATE access_requests SET end_told_at = ends_at",
    "UPDATE agents SET written = (SELECT w.text",
    "UPDATE credentials SET written = (SELECT w.text",
    // The first instance looks once whether something is bound to a key already.
    "UPDATE schema_info SET oldest_code = 42 WHERE oldest_code < 42 AND (\nEXISTS",
    // A migration makes the table anew.
    "CREATE TABLE api_keys_before",
    // An admin asks which users store the most.
    "ORDER BY s.bytes DESC",
    // Open: the audit rows of a caller that is not an admin.
    "WITH mine AS MATERIALIZED",
];

/// The longest name of a column, bytes.
const LONGEST_NAME: usize = 40;

/// Fails the test if the statement's plan reads all rows, or all of a tenant's, of a table that grows, or if a column's name is
/// long.
pub(super) fn check(connection: &rusqlite::Connection, sql: &str) {
    static SEEN: LazyLock<Mutex<HashSet<String>>> = LazyLock::new(Mutex::default);
    if !SEEN.lock().unwrap_or_else(PoisonError::into_inner).insert(sql.to_owned()) {
        return;
    }
    if let Ok(statement) = connection.prepare(sql) {
        let long = statement.column_names().into_iter().find(|name| name.len() > LONGEST_NAME);
        assert_eq!(long, None, "a column wants `AS` and a short name");
    }
    if ALLOWED.iter().any(|allowed| sql.contains(allowed)) {
        return;
    }
    let Ok(mut statement) = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")) else { return };
    let mut rows = statement.raw_query();
    while let Ok(Some(row)) = rows.next() {
        let step: String = row.get(3).unwrap_or_default();
        assert!(!reads_all(&step), "a route reads a whole table ({step}): {sql}");
    }
}

/// Whether a step of a plan goes over a whole table.
fn reads_all(step: &str) -> bool {
    let mut words = step.split(' ');
    let (how, what) = (words.next(), words.next().unwrap_or_default());
    GROWING.contains(&what)
        && match how {
            Some("SCAN") => !step.contains("VIRTUAL TABLE"),
            // A page of the audit trail goes by its number; admins are few; agents in each state are counted up to a bound, by the index alone;
            // a tenant's guides are few, and counted by the index alone.
            Some("SEARCH") => {
                step.ends_with("(tenant_id=?)")
                    && ![
                        "audit_by_tenant",
                        "users_admins",
                        "COVERING INDEX agents_by_state",
                        "COVERING INDEX sqlite_autoindex_guides_",
                    ]
                    .iter()
                    .any(|few| step.contains(few))
            }
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    #[test]
    fn whole_tables_are_told_from_searches() {
        for step in [
            "SCAN a",
            "SCAN agents USING INDEX agents_by_owner",
            "SEARCH u USING INDEX users_by_age (tenant_id=?)",
            // All guides of a tenant, with their texts.
            "SEARCH g USING INDEX sqlite_autoindex_guides_1 (tenant_id=?)",
        ] {
            assert!(super::reads_all(step), "{step}");
        }
        for step in
            ["SCAN below", "SEARCH a USING PRIMARY KEY (id=?)", "SCAN n VIRTUAL TABLE INDEX 1:", "SCAN CONSTANT ROW"]
        {
            assert!(!super::reads_all(step), "{step}");
        }
    }
}
