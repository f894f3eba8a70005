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
    let texts = files.iter().map(|path| Ok(format!("&{:?}", statements(&fs::read_to_string(path)?))));
    let texts = texts.collect::<io::Result<Vec<String>>>()?;
    let made = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("migrations.rs");
    fs::write(made, format!("[{}]", texts.join(",")))?;
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
