use super::*;
use crate::testing::TestDb;

async fn seen(t: &TestDb) -> Schema {
    t.db().close(); // another connection may have the schema from before
    look(t.db()).await.unwrap()
}

/// R76: what the migrations are read to make is what SQLite keeps after they ran. When this fails for a new migration, it has a
/// statement that changes the schema in a way that `made` does not read yet: let it.
async fn the_migrations_make_what_they_are_read_to_make(new: fn() -> TestDb) {
    let t = new();
    let kept = t
        .texts("SELECT name || ' = ' || sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%'")
        .await;
    let read: Vec<String> =
        made(migrations::newest()).iter().map(|object| format!("{} = {}", object.name, object.sql)).collect();
    for (kept, read) in kept.iter().zip(&read) {
        assert_eq!(kept, read);
    }
    assert_eq!(kept.len(), read.len());
    assert_eq!(seen(&t).await, Schema::AsMade);
    assert!(is_as_made(&t.texts(&format!("SELECT {TEXTS}")).await.remove(0)));
}

/// R76: whatever is added, changed or removed is found and named.
async fn a_schema_that_was_bent_is_found(new: fn() -> TestDb) {
    for (statements, object) in [
        (vec!["CREATE TRIGGER evil AFTER INSERT ON agents BEGIN DELETE FROM grants; END"], "trigger evil"),
        (vec!["CREATE INDEX evil ON audit (at)"], "index evil"),
        (vec!["CREATE UNIQUE INDEX evil ON audit (at)"], "index evil"),
        (vec!["CREATE VIEW evil AS SELECT 1"], "view evil"),
        (vec!["CREATE TABLE evil (a)"], "table evil"),
        (vec!["ALTER TABLE audit ADD COLUMN evil TEXT"], "table audit"),
        (
            vec!["ALTER TABLE audit ADD COLUMN evil TEXT", "ALTER TABLE audit DROP COLUMN evil", "DROP VIEW do_log"],
            "view do_log",
        ),
        (vec!["DROP TRIGGER an_audit_row_is_never_deleted"], "trigger an_audit_row_is_never_deleted"),
        (
            vec!["DROP INDEX audit_by_tenant", "CREATE INDEX audit_by_tenant ON audit (tenant_id, seq) WHERE seq <> 2"],
            "index audit_by_tenant",
        ),
        (
            vec![
                "DROP TRIGGER notify",
                "CREATE TRIGGER notify INSTEAD OF INSERT ON do_notify BEGIN SELECT RAISE(IGNORE); END",
            ],
            "trigger notify",
        ),
        // Beside the tables that FTS5 makes for the index of guides, and in their places.
        (vec!["CREATE TRIGGER evil AFTER INSERT ON guides_text_data BEGIN DELETE FROM grants; END"], "trigger evil"),
        (vec!["CREATE TABLE guides_text_content (id INTEGER PRIMARY KEY, c0)"], "table guides_text_content"),
        (vec!["CREATE INDEX guides_text_more ON guides_text_docsize (sz)"], "index guides_text_more"),
        (vec!["ALTER TABLE guides_text_docsize ADD COLUMN evil BLOB"], "table guides_text_docsize"),
        (vec!["DROP TABLE guides_text_config"], "table guides_text_config"),
        (
            vec!["DROP TABLE guides_text_config", "CREATE TABLE guides_text_config (k PRIMARY KEY, v) WITHOUT ROWID"],
            "table guides_text_config",
        ),
        (vec!["CREATE VIRTUAL TABLE evil USING fts5(a)"], "virtual evil"),
        // An object whose name looks like others, and another one is missing for it.
        (vec!["CREATE TABLE \"sq\u{1f}\u{1e}sqlite_autoindex_a\" (a)"], "object sq"),
    ] {
        let t = new();
        for statement in &statements {
            t.execute(statement).await.unwrap();
        }
        let quick = is_as_made(&t.texts(&format!("SELECT {TEXTS}")).await.remove(0));
        let is_table = ["table", "virtual", "object"].iter().any(|kind| object.starts_with(kind));
        assert_eq!(quick, is_table, "{statements:?}");
        match seen(&t).await {
            Schema::Changed(found) => assert!(found.starts_with(object), "{statements:?}: {found}"),
            other => panic!("{statements:?}: {other:?}"),
        }
    }
}

/// R76: what SQLite adds itself is not a difference, and an object that was put back as it was is none either.
async fn a_schema_that_is_as_made_is_not_bent(new: fn() -> TestDb) {
    let t = new();
    for statement in ["ANALYZE", "REINDEX", "DROP VIEW do_log"] {
        t.execute(statement).await.unwrap();
    }
    let made = made(migrations::newest());
    for name in ["do_log", "append_to_the_log"] {
        let object = made.iter().find(|object| object.name == name).unwrap();
        t.execute(&object.sql).await.unwrap();
    }
    assert_eq!(seen(&t).await, Schema::AsMade);
}

/// R67, R76: a database of a newer release is not compared, and one that is behind is compared with what made it.
async fn only_a_known_version_is_compared(new: fn() -> TestDb) {
    let t = new();
    t.execute("ALTER TABLE agents ADD COLUMN later TEXT").await.unwrap();
    t.execute("PRAGMA user_version = 99").await.unwrap();
    assert_eq!(seen(&t).await, Schema::Newer(99));
    for version in 1..=migrations::newest() {
        let objects: Vec<_> =
            made(version).iter().map(|object| format!("{}\u{1f}{}", object.name, object.sql)).collect();
        assert_ne!(compare(version, objects.len() - 1, Some(&objects.join("\u{1e}"))), Schema::AsMade);
        assert_eq!(compare(version, objects.len(), Some(&objects.join("\u{1e}"))), Schema::AsMade);
        for (number, _) in objects.iter().enumerate() {
            let mut fewer = objects.clone();
            let gone = fewer.remove(number);
            assert_ne!(compare(version, fewer.len(), Some(&fewer.join("\u{1e}"))), Schema::AsMade, "{gone}");
            let twice = format!("{}\u{1e}{gone}", objects.join("\u{1e}"));
            assert_ne!(compare(version, objects.len() + 1, Some(&twice)), Schema::AsMade, "{gone}");
        }
    }
}

/// A state is said once, whichever instance looks.
async fn a_change_of_state_is_news_once(new: fn() -> TestDb) {
    let t = new();
    let bent = Schema::Changed("trigger evil".to_owned());
    for (schema, news) in [
        (&Schema::AsMade, false),
        (&bent, true),
        (&bent, false),
        (&Schema::Newer(99), true),
        (&Schema::AsMade, true),
        (&Schema::AsMade, false),
    ] {
        assert_eq!(is_news(t.db(), schema).await.unwrap(), news, "{schema}");
    }
}

crate::testing::on_every_engine! {
    the_migrations_make_what_they_are_read_to_make
    a_schema_that_was_bent_is_found
    a_schema_that_is_as_made_is_not_bent
    only_a_known_version_is_compared
    a_change_of_state_is_news_once
}
