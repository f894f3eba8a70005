//! The files that a component may read, copied at the start into a directory of its own, as Spin does.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Component as Part, Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use glob::{MatchOptions, Pattern};

use crate::manifest::{Component, Files};

/// `*` stays in its directory and `**` does not, as in Spin.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };

/// A temporary directory with one directory for each component that has files; removed at the end.
pub(crate) struct Staged(PathBuf);

impl Staged {
    /// An empty one, that nobody else made or may read.
    pub(crate) fn new() -> Result<Self> {
        let started = std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_nanos();
        let path = std::env::temp_dir().join(format!("accredit-host-{}-{started:x}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    /// Copies a component's files. `home` is the manifest's directory.
    pub(crate) fn component(&self, id: &str, component: &Component, home: &Path) -> Result<PathBuf> {
        let excluded =
            component.exclude_files.iter().map(|pattern| Ok(Pattern::new(pattern)?)).collect::<Result<Vec<_>>>()?;
        // What a pattern finds below `.` has lost the dot: only a whole path is a prefix of what is found.
        let home = &home.canonicalize().with_context(|| format!("cannot read {}", home.display()))?;
        let root = self.0.join(id);
        std::fs::create_dir(&root)?;
        for files in &component.files {
            match files {
                Files::Pattern(pattern) => copy_matching(pattern, home, &excluded, &root),
                Files::Mount { source, destination } => {
                    copy(&home.join(source), &inside(&root, destination)?, home, &excluded)
                }
            }
            .with_context(|| format!("in the files of component {id}: {files:?}"))?;
        }
        Ok(root)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // What cannot be removed is the system's temporary directory's to clean.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn copy_matching(pattern: &str, home: &Path, excluded: &[Pattern], root: &Path) -> Result<()> {
    let absolute = format!("{}/{pattern}", Pattern::escape(&home.to_string_lossy()));
    for found in glob::glob_with(&absolute, OPTIONS)? {
        let found = found?;
        if found.is_file() {
            copy(&found, &inside(root, &found.strip_prefix(home)?.to_string_lossy())?, home, excluded)?;
        }
    }
    Ok(())
}

/// Copies a file, or a directory with all that is in it.
fn copy(source: &Path, destination: &Path, home: &Path, excluded: &[Pattern]) -> Result<()> {
    if source.is_dir() {
        for entry in std::fs::read_dir(source)? {
            let entry = entry?;
            copy(&entry.path(), &destination.join(entry.file_name()), home, excluded)?;
        }
        return Ok(());
    }
    let name = source.strip_prefix(home).unwrap_or(source);
    if excluded.iter().any(|pattern| pattern.matches_path_with(name, OPTIONS)) {
        return Ok(());
    }
    if let Some(parent) = destination.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::copy(source, destination).with_context(|| format!("cannot copy {}", source.display())).map(drop)
}

fn inside(root: &Path, path: &str) -> Result<PathBuf> {
    let path = Path::new(path.trim_start_matches('/'));
    ensure!(
        path.components().all(|part| matches!(part, Part::Normal(_) | Part::CurDir)),
        "{} leaves its directory",
        path.display()
    );
    Ok(root.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_files(files: Vec<Files>) -> Component {
        Component {
            source: PathBuf::new(),
            description: String::new(),
            variables: Default::default(),
            environment: Default::default(),
            files,
            exclude_files: vec!["**/*.md".into()],
            sqlite_databases: Vec::new(),
            key_value_stores: Vec::new(),
            allowed_outbound_hosts: Vec::new(),
        }
    }

    #[test]
    fn what_matches_is_copied_but_not_what_is_excluded() {
        let home = Staged::new().unwrap();
        std::fs::create_dir_all(home.0.join("data/deep")).unwrap();
        for name in ["data/a.txt", "data/b.md", "data/deep/c.txt"] {
            std::fs::write(home.0.join(name), name).unwrap();
        }
        let component = with_files(vec![
            Files::Pattern("data/*".into()),
            Files::Mount { source: "data".into(), destination: "/all".into() },
        ]);
        let staged = Staged::new().unwrap();
        let root = staged.component("one", &component, &home.0).unwrap();
        assert_eq!(std::fs::read_to_string(root.join("data/a.txt")).unwrap(), "data/a.txt");
        assert!(root.join("all/deep/c.txt").exists());
        assert!(
            !root.join("data/deep").exists() && !root.join("data/b.md").exists() && !root.join("all/b.md").exists()
        );
    }

    #[test]
    fn the_manifest_may_lie_in_the_working_directory() {
        let staged = Staged::new().unwrap();
        let root = staged.component("one", &with_files(vec![Files::Pattern("src/*".into())]), Path::new(".")).unwrap();
        assert!(root.join("src/files.rs").exists());
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_no_mistake_and_a_source_that_is_missing_is_one() {
        let (home, staged) = (Staged::new().unwrap(), Staged::new().unwrap());
        let nothing = with_files(vec![Files::Pattern("missing/*".into())]);
        assert!(staged.component("one", &nothing, &home.0).unwrap().is_dir());
        let missing = with_files(vec![Files::Mount { source: "missing".into(), destination: "/x".into() }]);
        assert!(staged.component("two", &missing, &home.0).is_err());
    }

    #[test]
    fn a_destination_cannot_leave_the_directory() {
        assert!(inside(Path::new("/root"), "/../x").is_err());
        assert_eq!(inside(Path::new("/root"), "/a/b").unwrap(), Path::new("/root/a/b"));
    }
}
