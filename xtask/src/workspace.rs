//! The folders of the project, as cargo sees them: nothing that is discovered here is listed anywhere else.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::command;

/// The name of the target triple that components are built for.
pub(crate) const WASM: &str = "wasm32-wasip1";

pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Where cargo builds; not always `target` in the root.
    pub(crate) target: PathBuf,
    packages: Vec<Package>,
}

struct Package {
    name: String,
    folder: PathBuf,
    /// Whether it makes a `.wasm`.
    is_component: bool,
}

impl Workspace {
    pub(crate) fn load() -> Result<Self> {
        let output = command::cargo()
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .output()
            .context("cannot start `cargo metadata`")?;
        if !output.status.success() {
            bail!("`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Self::parse(&serde_json::from_slice(&output.stdout).context("`cargo metadata` answered no JSON")?)
    }

    fn parse(metadata: &Value) -> Result<Self> {
        let text = |value: &Value, field: &str| -> Result<String> {
            Ok(value
                .get(field)
                .and_then(Value::as_str)
                .with_context(|| format!("`cargo metadata` answered no {field}"))?
                .to_owned())
        };
        let list = |value: &Value, field: &str| value.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
        let mut packages = Vec::new();
        for package in list(metadata, "packages") {
            let manifest = PathBuf::from(text(&package, "manifest_path")?);
            packages.push(Package {
                name: text(&package, "name")?,
                folder: manifest.parent().context("a package without a folder")?.to_owned(),
                is_component: list(&package, "targets")
                    .iter()
                    .any(|target| list(target, "crate_types").iter().any(|kind| kind == "cdylib")),
            });
        }
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            root: text(metadata, "workspace_root")?.into(),
            target: text(metadata, "target_directory")?.into(),
            packages,
        })
    }

    /// Names of the packages in `components/` that make a `.wasm`.
    pub(crate) fn components(&self) -> Vec<&str> {
        self.below("components").filter(|package| package.is_component).map(|package| package.name.as_str()).collect()
    }

    /// Names of the packages in `crates/` and `components/`, and the guard, whose tests need no wasm.
    pub(crate) fn native_packages(&self) -> Vec<&str> {
        let packages = self.below("crates").chain(self.below("components")).chain(self.guard());
        packages.map(|package| package.name.as_str()).collect()
    }

    /// Names of the components that this application does not have: those of tests, in folders below `tests/`, and the guard, which is for
    /// the applications of others.
    pub(crate) fn test_components(&self) -> Vec<&str> {
        let packages = self.below("tests").chain(self.guard());
        packages.filter(|package| package.is_component).map(|package| package.name.as_str()).collect()
    }

    /// The guard, as a component of its own and as middleware.
    fn guard(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.folder.starts_with(self.root.join("guard")))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.packages.iter().any(|package| package.name == name)
    }

    /// Where manifests look for the components.
    pub(crate) fn wasm_folder(&self) -> PathBuf {
        self.root.join("target").join(WASM).join("release")
    }

    /// A native program, built in the profile `native`.
    pub(crate) fn native(&self, program: &str) -> PathBuf {
        self.target.join("native").join(program)
    }

    pub(crate) fn manifest(&self) -> PathBuf {
        self.root.join("spin.toml")
    }

    fn below(&self, folder: &str) -> impl Iterator<Item = &Package> {
        let folder = self.root.join(folder);
        self.packages.iter().filter(move |package| package.folder.parent() == Some(Path::new(&folder)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn package(name: &str, folder: &str, kind: &str) -> Value {
        json!({"name": name, "manifest_path": format!("/w/{folder}/Cargo.toml"), "targets": [{"crate_types": [kind]}]})
    }

    #[test]
    fn components_are_found_by_their_folder_and_kind() {
        let metadata = json!({"workspace_root": "/w", "target_directory": "/cache/t", "packages": [
            package("signin", "components/signin", "cdylib"), package("auth", "components/auth", "cdylib"),
            package("common", "crates/common", "lib"), package("trap", "tests/trap", "cdylib"),
            package("guard", "guard", "cdylib"),
            package("tests", "tests", "lib"), package("hello", "bench/hello", "cdylib"),
        ]});
        let workspace = Workspace::parse(&metadata).unwrap();
        assert_eq!(workspace.components(), ["auth", "signin"]);
        assert_eq!(workspace.native_packages(), ["common", "auth", "signin", "guard"]);
        assert_eq!(workspace.test_components(), ["trap", "guard"]);
        assert_eq!(workspace.wasm_folder(), Path::new("/w/target/wasm32-wasip1/release"));
        assert_eq!(workspace.native("accredit-host"), Path::new("/cache/t/native/accredit-host"));
    }
}
