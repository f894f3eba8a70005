//! The files that a component may read. As in Spin, they are copied at the start into a directory of the component's own.

use std::path::{Component as Part, Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use glob::Pattern;

use crate::manifest::{Component, Files};
use crate::temporary::{self, Directory};

/// A temporary directory with one directory for each component that has files.
pub(crate) struct Staged(Directory);

impl Staged {
    /// An empty one.
    pub(crate) fn new() -> Result<Self> {
        temporary::directory().map(Self)
    }

    /// Copies a component's files. `home` is the manifest's directory.
    pub(crate) fn component(&self, id: &str, component: &Component, home: &Path) -> Result<PathBuf> {
        let excluded =
            component.exclude_files.iter().map(|pattern| Ok(Pattern::new(pattern)?)).collect::<Result<Vec<_>>>()?;
        // Matches below `.` are paths without the dot: only a whole path is a prefix of the matches.
        let home = &home.canonicalize().with_context(|| format!("cannot read {}", home.display()))?;
        let root = self.0.path().join(id);
        std::fs::create_dir(&root)?;
        let from = Copy { home, excluded: &excluded };
        for files in &component.files {
            match files {
                Files::Pattern(pattern) => from.matching(pattern, &root),
                Files::Mount { source, destination } => from.mount(&home.join(source), &inside(&root, destination)?),
            }
            .with_context(|| format!("in the files of component {id}: {files:?}"))?;
        }
        Ok(root)
    }
}

/// Where files come from.
struct Copy<'a> {
    home: &'a Path,
    /// Compared with paths below `home`. `*` matches slashes here, but not in the patterns of files to copy.
    excluded: &'a [Pattern],
}

impl Copy<'_> {
    /// Copies a file, even if it is excluded; or a directory, into a further directory of its name; or what matches.
    fn matching(&self, pattern: &str, root: &Path) -> Result<()> {
        // With `..` in the middle Spin copies the files to a place that no component sees.
        ensure!(pattern.split('/').all(|part| part != ".."), "a pattern cannot have `..` in it");
        ensure!(pattern != "." && !pattern.ends_with("/."), "a pattern cannot end in `.`");
        let path = self.home.join(pattern);
        if path.is_dir() {
            self.all(&format!("{}/**/*", escape(&path)), self.home, &inside(root, pattern)?)
        } else if path.exists() {
            self.file(&path, &inside(root, pattern)?)
        } else if Pattern::escape(pattern) != pattern {
            self.all(&format!("{}/{pattern}", escape(self.home)), self.home, root)
        } else {
            bail!("there is no such file, and it is not a pattern")
        }
    }

    /// Copies a file, even if it is excluded, or the content of a directory.
    fn mount(&self, source: &Path, destination: &Path) -> Result<()> {
        if source.is_dir() {
            return self.all(&format!("{}/**/*", escape(source)), source, destination);
        }
        self.file(source, destination)
    }

    fn all(&self, pattern: &str, prefix: &Path, destination: &Path) -> Result<()> {
        for found in glob::glob(pattern)? {
            let found = found?;
            let name = self.name(&found)?;
            if found.is_file() && !self.excluded.iter().any(|pattern| pattern.matches_path(name)) {
                self.file(&found, &inside(destination, &found.strip_prefix(prefix)?.to_string_lossy())?)?;
            }
        }
        Ok(())
    }

    fn file(&self, source: &Path, destination: &Path) -> Result<()> {
        self.name(source)?;
        if let Some(parent) = destination.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::copy(source, destination).with_context(|| format!("cannot copy {}", source.display())).map(drop)
    }

    fn name<'p>(&self, path: &'p Path) -> Result<&'p Path> {
        path.strip_prefix(self.home)
            .with_context(|| format!("{} is not in the directory of the manifest", path.display()))
    }
}

fn escape(path: &Path) -> String {
    Pattern::escape(&path.to_string_lossy())
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
        without(files, &["**/*.md"])
    }

    fn without(files: Vec<Files>, excluded: &[&str]) -> Component {
        Component {
            source: PathBuf::new(),
            middleware: Vec::new(),
            description: String::new(),
            variables: Default::default(),
            environment: Default::default(),
            files,
            exclude_files: excluded.iter().map(|pattern| (*pattern).to_owned()).collect(),
            sqlite_databases: Vec::new(),
            key_value_stores: Vec::new(),
            allowed_outbound_hosts: Vec::new(),
        }
    }

    #[test]
    fn a_file_that_matches_is_copied_unless_it_is_excluded() {
        let home = Staged::new().unwrap();
        std::fs::create_dir_all(home.0.path().join("data/deep")).unwrap();
        for name in ["data/a.txt", "data/b.md", "data/deep/c.txt"] {
            std::fs::write(home.0.path().join(name), name).unwrap();
        }
        let component = with_files(vec![
            Files::Pattern("data/*".into()),
            Files::Mount { source: "data".into(), destination: "/all".into() },
        ]);
        let staged = Staged::new().unwrap();
        let root = staged.component("one", &component, home.0.path()).unwrap();
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

    /// Of all files below a directory, in order.
    fn listed(root: &Path) -> Vec<String> {
        let found = glob::glob(&format!("{}/**/*", root.display())).unwrap().map(Result::unwrap);
        let files = found.filter(|path| path.is_file());
        files.map(|path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned()).collect()
    }

    /// Expected: what Spin 4.1 copies.
    #[test]
    fn patterns_have_the_meaning_that_they_have_in_spin() {
        let home = Staged::new().unwrap();
        std::fs::create_dir_all(home.0.path().join("data/deep")).unwrap();
        for name in ["data/a.txt", "data/b.md", "data/[x].txt", "data/deep/c.txt", "data/deep/d.md", "top.md"] {
            std::fs::write(home.0.path().join(name), name).unwrap();
        }
        let pattern = |text: &str| Files::Pattern(text.to_owned());
        let mount = |text: &str| Files::Mount { source: text.into(), destination: "/x".into() };
        let cases: [(Files, &str, &[&str]); 8] = [
            (pattern("data/*"), "*.md", &["data/[x].txt", "data/a.txt"]),
            (pattern("data/**/*"), "data/*.md", &["data/[x].txt", "data/a.txt", "data/deep/c.txt"]),
            (pattern("data/[x].txt"), "-", &["data/[x].txt"]),
            (pattern("top.md"), "*.md", &["top.md"]),
            (mount("top.md"), "*.md", &["x"]),
            (mount("data"), "data/*.txt", &["x/b.md", "x/deep/d.md"]),
            (pattern("data"), "*.md", &["data/data/[x].txt", "data/data/a.txt", "data/data/deep/c.txt"]),
            (pattern("**/*"), "*", &[]),
        ];
        for (files, excluded, expected) in cases {
            let (staged, what) = (Staged::new().unwrap(), format!("{files:?} without {excluded}"));
            let root = staged.component("one", &without(vec![files], &[excluded]), home.0.path()).unwrap();
            assert_eq!(listed(&root), expected, "{what}");
        }
    }

    #[test]
    fn a_pattern_may_match_nothing_but_a_missing_file_is_an_error() {
        let home = Staged::new().unwrap();
        let staging = |files: Files| {
            let staged = Staged::new().unwrap();
            staged.component("one", &with_files(vec![files]), home.0.path()).map(drop)
        };
        let mount = |source: &str| Files::Mount { source: source.into(), destination: "/x".into() };
        assert!(staging(Files::Pattern("missing/*".into())).is_ok());
        for wrong in ["missing.txt", "..", "x/.", "../*", "x/../y"] {
            assert!(staging(Files::Pattern(wrong.into())).is_err(), "{wrong}");
        }
        for wrong in ["missing", "/etc/hostname"] {
            assert!(staging(mount(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_destination_cannot_leave_the_directory() {
        assert!(inside(Path::new("/root"), "/../x").is_err());
        assert_eq!(inside(Path::new("/root"), "/a/b").unwrap(), Path::new("/root/a/b"));
    }
}
