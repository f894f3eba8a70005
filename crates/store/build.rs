//! Puts the migrations into the code without their comments and indentation: every component with a database carries them.

use std::{env, fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    // As it is now, not as it was when this program was built: several clones may share one folder of builds.
    let home = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let folder = home.join("../../migrations");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder)? {
        files.push(entry?.path());
    }
    files.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    let files = files.iter().map(|path| Ok(statements(&fs::read_to_string(path)?))).collect::<io::Result<Vec<_>>>()?;
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let texts: Vec<String> = files.iter().map(|statements| format!("&{statements:?}")).collect();
    fs::write(out.join("migrations.rs"), format!("[{}]", texts.join(",")))?;
    let all: Vec<&str> = files.iter().flatten().map(String::as_str).collect();
    fs::write(out.join("objects.rs"), objects(&all).to_string())?;
    fs::write(out.join("guarded.sql"), guarded(&all))?;
    io::Write::write_all(&mut io::stdout(), format!("cargo::rerun-if-changed={}\n", folder.display()).as_bytes())
}

/// The line between two statements of a file.
const MARKER: &str = "--- next";

/// A file's statements. No text in them holds two hyphens.
fn statements(sql: &str) -> Vec<String> {
    sql.split(MARKER).map(bare).collect()
}

fn bare(sql: &str) -> String {
    let lines = sql.lines().map(|line| line.split("--").next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// How many indexes, triggers and views there are after all of them.
fn objects(all: &[&str]) -> usize {
    let count = |verb: &str| {
        let kinds = ["INDEX ", "UNIQUE INDEX ", "TRIGGER ", "VIEW "].map(|kind| format!("{verb} {kind}"));
        all.iter().filter(|sql| kinds.iter().any(|kind| sql.starts_with(kind))).count()
    };
    count("CREATE") - count("DROP")
}

/// An expression of SQL: whether the table `audit` has its triggers as they were made, and no other.
fn guarded(all: &[&str]) -> String {
    let is_on_audit = |sql: &&&str| {
        sql.starts_with("CREATE TRIGGER ") && sql.lines().next().is_some_and(|line| line.ends_with(" ON audit"))
    };
    let texts: Vec<String> =
        all.iter().filter(is_on_audit).map(|sql| format!("'{}'", sql.replace('\'', "''"))).collect();
    format!(
        "(SELECT count(*) = {0} AND count(*) FILTER (WHERE sql IN ({1})) = {0} FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'audit')",
        texts.len(),
        texts.join(", ")
    )
}
