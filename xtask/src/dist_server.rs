//! `cargo xtask dist --server`: the server as one archive that needs neither Rust nor this repository.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::dist::{make_executable, sha256};
use crate::ui::{Step, out, say};
use crate::workspace::{WASM, Workspace};
use crate::{build, command, dist};

/// Files that go in as they are.
const PLAIN: [&str; 3] = ["LICENSE", "SECURITY.md", "runtime-config.toml"];
/// Files of `packaging/`.
const PACKAGING: [&str; 3] = ["accredit.service", "accredit.env.example", "Containerfile"];
/// Files of `packaging/` that say which version they belong to.
const FILLED: [&str; 2] = ["README.md", "spinapp.yaml"];
/// The components for applications of the company's own, which are none of this one; the folder of both; and the manifests beside them.
const GUARD: &str = "guard";
const GUARDS: [&str; 2] = [GUARD, "guard-middleware"];
const GUARDED: [&str; 3] = ["guard/spin.toml", "guard/address.toml", "guard/middleware.toml"];
/// Folders that the components read, and the operator's pages.
const FOLDERS: [&str; 3] = ["docs/agents", "docs/reference", "dist"];
const PAGES: [&str; 5] = ["architecture.md", "contract.md", "grafana.json", "operations.md", "security.md"];

/// Packs the server. With `is_built` it takes what an earlier build left.
pub(crate) fn run(is_built: bool, into: Option<PathBuf>) -> Result<()> {
    let workspace = Workspace::load()?;
    let components = workspace.components();
    let host = if is_built {
        Host::of_this_machine(workspace.native("accredit-host"))
    } else {
        build::components(&workspace, &components)?;
        // By a call of its own: built together, the features of one go into the others.
        for guard in GUARDS {
            build::components(&workspace, &[guard])?;
        }
        Host::build(&workspace)?
    };
    let step = Step::begin("packing the server".to_owned());
    let version = env!("CARGO_PKG_VERSION");
    let arch = std::env::consts::ARCH;
    let name = format!("accredit-server-{version}-{}-{arch}", std::env::consts::OS);
    let into = into.unwrap_or_else(|| workspace.target.join("server"));
    let folder = into.join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("components"))?;
    for component in &components {
        let file = format!("{component}.wasm");
        copy(&workspace.wasm_folder().join(&file), &folder.join("components").join(&file))?;
    }
    fs::create_dir(folder.join(GUARD))?;
    for wasm in ["guard.wasm", "guard_middleware.wasm"] {
        copy(&workspace.wasm_folder().join(wasm), &folder.join(GUARD).join(wasm))?;
    }
    for manifest in GUARDED {
        copy(&workspace.root.join("packaging").join(manifest), &folder.join(manifest))?;
    }
    let program = folder.join("accredit-host");
    copy(&host.program, &program)?;
    make_executable(&program)?;
    // By the host that will use it, so that engine and settings are the same.
    let mut ahead = std::process::Command::new(&program);
    ahead.arg("compile-ahead").arg("--into").arg(folder.join("compiled"));
    ahead.args(components.iter().map(|name| folder.join(format!("components/{name}.wasm"))));
    command::run(ahead.arg(folder.join("guard/guard.wasm")))?;
    let manifest = fs::read_to_string(workspace.manifest())?;
    fs::write(folder.join("spin.toml"), packed(&manifest, &components)?)?;
    for file in PLAIN {
        copy(&workspace.root.join(file), &folder.join(file))?;
    }
    for file in PACKAGING {
        copy(&workspace.root.join("packaging").join(file), &folder.join(file))?;
    }
    for from in FOLDERS {
        copy_folder(&workspace.root.join(from), &folder.join(from))?;
    }
    for page in PAGES {
        copy(&workspace.root.join("docs").join(page), &folder.join("docs").join(page))?;
    }
    let commit = build::commit(&workspace).map_or_else(|| "an unknown commit".to_owned(), |(commit, _)| commit);
    let values = [("version", version), ("arch", arch), ("commit", &commit), ("needs", &host.needs)];
    for file in FILLED {
        let text = fs::read_to_string(workspace.root.join("packaging").join(file))?;
        fs::write(folder.join(file), filled(&text, &values))?;
    }
    let bill = bill(&workspace, &[&components[..], &[GUARD]].concat())?;
    fs::write(folder.join("sbom.cdx.json"), format!("{bill:#}\n"))?;
    fs::write(folder.join("SHA256SUMS"), sums(&folder)?)?;

    let archive = format!("{name}.tar.gz");
    let mut tar = std::process::Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "--mode=u=rwX,go=rX"]);
    tar.arg("-C").arg(&into).args(["-I", "gzip -n6", "-cf"]);
    command::run(tar.arg(into.join(&archive)).arg(&name))?;
    let bytes = fs::read(into.join(&archive))?;
    fs::write(into.join(format!("{archive}.sha256")), format!("{}  {archive}\n", sha256(&bytes)))?;
    step.done();
    out(format_args!("{:>9}  {}", bytes.len(), into.join(&archive).display()))?;
    Ok(())
}

/// The program that goes into the archive.
struct Host {
    program: PathBuf,
    /// The C library that a machine must have for it, in words.
    needs: String,
}

impl Host {
    /// Without a C library of its own where that can be built, since such a program runs on every Linux; else for this machine's.
    fn build(workspace: &Workspace) -> Result<Self> {
        if dist::can_have_musl() {
            match Self::build_static(workspace) {
                Ok(host) => return Ok(host),
                Err(error) => say(format_args!("    no static host: {error:#}")),
            }
        }
        say("    the host is built for this machine's C library, or a newer one");
        Ok(Self::of_this_machine(build::host(workspace)?))
    }

    fn build_static(workspace: &Workspace) -> Result<Self> {
        let target = dist::musl();
        let step = Step::begin(format!("building accredit-host for {target}"));
        let mut cargo = command::cargo();
        cargo.current_dir(&workspace.root).args(["build", "--profile", "native", "--package", "accredit-host"]);
        // SQLite and the allocator are C that uses the C library, so this machine's compiler alone does not do.
        cargo.args(["--target", &target]).env(format!("CC_{}", target.replace('-', "_")), "musl-gcc");
        command::run(&mut cargo)?;
        step.done();
        let program = workspace.target.join(&target).join("native/accredit-host");
        Ok(Self { program, needs: "no C library: the program is static".to_owned() })
    }

    fn of_this_machine(program: PathBuf) -> Self {
        let said = command::output_of("ldd", &["--version"]);
        let version = said.as_deref().and_then(|text| text.lines().next()?.split(' ').next_back()).unwrap_or("unknown");
        Self { program, needs: format!("glibc {version} or newer") }
    }
}

/// A text with `{name}` replaced by its value.
fn filled(text: &str, values: &[(&str, &str)]) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() { copy_folder(&from, &to)? } else { copy(&from, &to)? }
    }
    Ok(())
}

/// The manifest with the components where the archive has them, and without how they are built.
fn packed(manifest: &str, components: &[&str]) -> Result<String> {
    let mut text = String::new();
    let (mut is_build, mut found) = (false, BTreeSet::new());
    for line in manifest.lines() {
        if line.starts_with('[') || line.is_empty() {
            is_build = line.ends_with(".build]");
        }
        if is_build {
            continue;
        }
        let built = line.strip_prefix(&format!("source = \"target/{WASM}/release/"));
        match built.and_then(|rest| rest.strip_suffix(".wasm\"")) {
            Some(name) => {
                writeln!(text, "source = \"components/{name}.wasm\"")?;
                found.insert(name);
            }
            None => writeln!(text, "{line}")?,
        }
    }
    let all: BTreeSet<&str> = components.iter().copied().collect();
    ensure!(found == all, "spin.toml names the components {found:?}, and there are {all:?}");
    ensure!(!text.contains("target/"), "spin.toml names another file below target");
    Ok(text)
}

fn sums(folder: &Path) -> Result<String> {
    let mut files = Vec::new();
    list(folder, &mut files)?;
    files.sort();
    let mut text = String::new();
    for file in files {
        let name = file.strip_prefix(folder).unwrap_or(&file);
        writeln!(text, "{}  {}", sha256(&fs::read(&file)?), name.display())?;
    }
    Ok(text)
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { list(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

/// What the host and the components are made of, as CycloneDX 1.6 (ECMA-424): crates with their licences and the digests of the registry.
/// Cargo knows all of it; a library for this one form would bring sixty crates.
fn bill(workspace: &Workspace, components: &[&str]) -> Result<Value> {
    let native = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut found = Bill::default();
    found.add(workspace, &native, &["accredit-host"])?;
    found.add(workspace, WASM, components)?;
    let digests = digests(&fs::read_to_string(workspace.root.join("Cargo.lock"))?);
    let parts: Vec<Value> = found.packages.values().map(|package| part(package, &digests)).collect();
    let edges = found.edges.iter().map(|(from, to)| json!({ "ref": from, "dependsOn": to }));
    let version = env!("CARGO_PKG_VERSION");
    let own = format!("accredit-server@{version}");
    let roots = json!({ "ref": own, "dependsOn": found.roots });
    Ok(json!({
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": { "component": {
            "type": "application", "bom-ref": own, "name": "accredit-server", "version": version,
            "licenses": [{ "expression": "Apache-2.0" }],
        } },
        "components": parts,
        "dependencies": std::iter::once(roots).chain(edges).collect::<Vec<_>>(),
    }))
}

#[derive(Default)]
struct Bill {
    /// By their references.
    packages: BTreeMap<String, Value>,
    edges: BTreeMap<String, BTreeSet<String>>,
    roots: BTreeSet<String>,
}

impl Bill {
    /// Adds what these packages are made of on a target, without what only builds or tests them.
    fn add(&mut self, workspace: &Workspace, target: &str, roots: &[&str]) -> Result<()> {
        let mut cargo = command::cargo();
        cargo.current_dir(&workspace.root);
        cargo.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", target]);
        let output = cargo.output().context("cannot start `cargo metadata`")?;
        ensure!(output.status.success(), "`cargo metadata` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        let metadata: Value = serde_json::from_slice(&output.stdout)?;
        let by_id = |value: &Value| -> BTreeMap<String, Value> {
            let items = value.as_array().into_iter().flatten();
            items.filter_map(|item| Some((item.get("id")?.as_str()?.to_owned(), item.clone()))).collect()
        };
        let packages = by_id(metadata.get("packages").unwrap_or(&Value::Null));
        let nodes = by_id(metadata.pointer("/resolve/nodes").unwrap_or(&Value::Null));
        let is_root = |package: &Value| {
            package.get("source").is_none_or(Value::is_null) && roots.contains(&text(package, "name"))
        };
        let mut left: Vec<&String> =
            packages.iter().filter(|(_, package)| is_root(package)).map(|(id, _)| id).collect();
        ensure!(left.len() == roots.len(), "not all of {roots:?} are packages");
        self.roots.extend(left.iter().filter_map(|id| packages.get(*id)).map(reference));
        while let Some(id) = left.pop() {
            let (Some(package), Some(node)) = (packages.get(id), nodes.get(id)) else { continue };
            let below = node.get("deps").and_then(Value::as_array).into_iter().flatten().filter(|dep| is_normal(dep));
            let below: Vec<&String> =
                below.filter_map(|dep| packages.get_key_value(text(dep, "pkg"))).map(|(id, _)| id).collect();
            let edges = self.edges.entry(reference(package)).or_default();
            let is_new = self.packages.insert(reference(package), package.clone()).is_none();
            let before = edges.len();
            edges.extend(below.iter().filter_map(|id| packages.get(*id)).map(reference));
            if is_new || edges.len() > before {
                left.extend(below);
            }
        }
        Ok(())
    }
}

/// Whether a dependency is part of what is made.
fn is_normal(dependency: &Value) -> bool {
    let kinds = dependency.get("dep_kinds").and_then(Value::as_array).into_iter().flatten();
    kinds.into_iter().any(|kind| kind.get("kind").is_none_or(Value::is_null))
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn reference(package: &Value) -> String {
    format!("pkg:cargo/{}@{}", text(package, "name"), text(package, "version"))
}

fn part(package: &Value, digests: &BTreeMap<(String, String), String>) -> Value {
    let (name, version) = (text(package, "name"), text(package, "version"));
    let mut part = json!({ "type": "library", "bom-ref": reference(package), "name": name, "version": version });
    let digest = digests.get(&(name.to_owned(), version.to_owned()));
    let licence = package.get("license").and_then(Value::as_str);
    let members = [
        // The slash is how licences were written before SPDX had expressions.
        ("licenses", licence.map(|licence| json!([{ "expression": licence.replace('/', " OR ") }]))),
        ("hashes", digest.map(|digest| json!([{ "alg": "SHA-256", "content": digest }]))),
        // Our own crates are in no registry.
        ("purl", digest.map(|_| reference(package).into())),
    ];
    if let Some(part) = part.as_object_mut() {
        part.extend(members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
    part
}

/// The digests of a `Cargo.lock`, by name and version.
fn digests(lock: &str) -> BTreeMap<(String, String), String> {
    let member = |block: &str, name: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \""))?;
        Some(line.trim_end_matches('"').to_owned())
    };
    let blocks = lock.split("[[package]]").skip(1);
    blocks
        .filter_map(|block| Some(((member(block, "name")?, member(block, "version")?), member(block, "checksum")?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_manifest_has_its_components_beside_it() {
        let manifest = "[component.a]\nsource = \"target/wasm32-wasip1/release/a.wasm\"\n[component.a.build]\ncommand = \"cargo\"\n\n# b\n[component.b]\nfiles = [\"dist/*\"]\n";
        let text = packed(manifest, &["a"]).unwrap();
        assert_eq!(text, "[component.a]\nsource = \"components/a.wasm\"\n\n# b\n[component.b]\nfiles = [\"dist/*\"]\n");
        assert!(packed(manifest, &["a", "b"]).is_err());
    }

    #[test]
    fn digests_are_those_of_the_lock_file() {
        let lock = "[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"a\"\nversion = \"1.2.3\"\nsource = \"registry\"\nchecksum = \"00ff\"\n";
        assert_eq!(digests(lock), BTreeMap::from([(("a".to_owned(), "1.2.3".to_owned()), "00ff".to_owned())]));
    }
}
