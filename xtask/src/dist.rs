//! `cargo xtask dist`: the CLI as the server hands it out, in `dist/`: the program, an archive, a wheel, checksums, and last the manifest.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::ui::{Step, out, say};
use crate::workspace::Workspace;
use crate::zip::Zip;
use crate::{build, command, debian};

const PACKAGE: &str = "accredit-cli";
const PROGRAM: &str = "accredit";
/// The bound on the program's size, bytes: it is downloaded.
pub(crate) const MOST: u64 = 8_000_000;

/// What it is built for.
struct Target {
    triple: String,
    os: &'static str,
    arch: &'static str,
    /// The platform tags of the wheel.
    tags: Vec<String>,
}

impl Target {
    /// Linux without a C library of its own where the target can be had, since such a program runs on every Linux; else this machine.
    fn choose() -> Result<Self> {
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        ensure!(os == "linux", "docs/operations.md says how to build for {os}");
        let musl = musl();
        if has_musl() {
            let tags = ["manylinux_2_17", "manylinux2014", "musllinux_1_1"].map(|tag| format!("{tag}_{arch}")).to_vec();
            return Ok(Self { triple: musl, os, arch, tags });
        }
        let own = Self::of_this_machine()?;
        say(format_args!(
            "{musl} cannot be had here: built for {}, which asks for this machine's C library or a newer one",
            own.triple
        ));
        Ok(own)
    }

    fn of_this_machine() -> Result<Self> {
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        ensure!(os == "linux", "docs/operations.md says how to build for {os}");
        Ok(Self { triple: format!("{arch}-unknown-linux-gnu"), os, arch, tags: vec![format!("linux_{arch}")] })
    }
}

/// The target whose programs have no C library of their own beside them.
pub(crate) fn musl() -> String {
    format!("{}-unknown-linux-musl", std::env::consts::ARCH)
}

/// Whether the compiler has a standard library for it, or gets one.
fn has_musl() -> bool {
    let triple = musl();
    has_target(&triple) || command::run(std::process::Command::new("rustup").args(["target", "add", &triple])).is_ok()
}

/// The same, and a C compiler for it.
pub(crate) fn can_have_musl() -> bool {
    let has_compiler = || command::on_path("musl-gcc").is_some();
    has_musl() && (has_compiler() || (debian::install(&["musl-tools"]).is_ok() && has_compiler()))
}

fn has_target(triple: &str) -> bool {
    let installed = command::output_of("rustup", &["target", "list", "--installed"]);
    installed.is_some_and(|list| list.lines().any(|line| line == triple))
}

/// Fills a folder; `None`: the one that the server hands out. With `is_built` it packs the program that an earlier build has left.
pub(crate) fn run(is_built: bool, into: Option<&Path>) -> Result<()> {
    let workspace = Workspace::load()?;
    let (target, program) = if is_built {
        let target = Target::of_this_machine()?;
        say(format_args!("packed as it was built for tests, for {}", target.triple));
        (target, workspace.native(PROGRAM))
    } else {
        let target = Target::choose()?;
        let program = build(&workspace, &target)?;
        (target, program)
    };
    let bytes = fs::read(&program).with_context(|| format!("cargo left no {}", program.display()))?;
    ensure!(bytes.len() as u64 <= MOST, "{PROGRAM} has {} bytes, and may have {MOST}", bytes.len());
    let version = env!("CARGO_PKG_VERSION");
    let folder = into.map_or_else(|| workspace.root.join("dist"), Path::to_path_buf);
    clear(&folder)?;

    let name = format!("{PROGRAM}-{version}-{}-{}", target.os, target.arch);
    let wheel_name = format!("{PROGRAM}-{version}-py3-none-{}.whl", target.tags.join("."));
    let licence = fs::read(workspace.root.join("LICENSE"))?;
    let wheel = wheel(&bytes, &licence, version, &target.tags);
    fs::write(folder.join(&name), &bytes)?;
    make_executable(&folder.join(&name))?;
    fs::write(folder.join(&wheel_name), &wheel)?;
    let archive_name = archive(&workspace.root.join("LICENSE"), &folder, &name)?;
    let archive = fs::read(folder.join(&archive_name))?;

    let files: [(&str, &[u8]); 3] = [(&name, &bytes), (&archive_name, &archive), (&wheel_name, &wheel)];
    let mut sums = String::new();
    for (name, bytes) in files {
        writeln!(sums, "{}  {name}", sha256(bytes))?;
        out(format_args!("{:>9}  {}", bytes.len(), folder.join(name).display()))?;
    }
    fs::write(folder.join("SHA256SUMS"), sums)?;
    let mut manifest = json!({ "version": version, "files": [
        listed("binary", &target, &name, &bytes),
        listed("wheel", &target, &wheel_name, &wheel),
    ] });
    if let (Some(manifest), Some((_, time))) = (manifest.as_object_mut(), build::commit(&workspace)) {
        manifest.insert("built_at".to_owned(), time.into());
    }
    // Last, and in one move: without it nothing is handed out.
    let part = folder.join("manifest.part");
    fs::write(&part, format!("{manifest:#}\n"))?;
    fs::rename(&part, folder.join("manifest.json"))?;
    if into.is_none() {
        out(format_args!("built for {}; a host that runs takes it at its next start", target.triple))?;
    }
    Ok(())
}

fn build(workspace: &Workspace, target: &Target) -> Result<PathBuf> {
    let step = Step::begin(format!("building {PROGRAM} for {}", target.triple));
    let mut cargo = command::cargo();
    cargo.current_dir(&workspace.root);
    cargo.args(["build", "--profile", "cli", "--package", PACKAGE, "--target", &target.triple]);
    if target.triple.ends_with("-musl") && command::on_path("musl-gcc").is_none() {
        // The little C in the dependencies uses no C library: the compiler of this machine does.
        cargo.env(format!("CC_{}", target.triple.replace('-', "_")), "cc");
    }
    command::run(&mut cargo)?;
    step.done();
    Ok(workspace.target.join(&target.triple).join("cli").join(PROGRAM))
}

/// Takes away what an earlier run left: the manifest first.
fn clear(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let mut old: Vec<PathBuf> = vec![folder.join("manifest.json"), folder.join("SHA256SUMS")];
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("accredit-"));
        if is_ours {
            old.push(path);
        }
    }
    for path in old.iter().filter(|path| path.exists()) {
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

#[cfg(unix)]
pub(crate) fn make_executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

/// The program with its licence in a folder, the same bytes from the same program.
fn archive(licence: &Path, folder: &Path, name: &str) -> Result<String> {
    let above = folder.join("accredit-archive");
    let inside = above.join(name);
    fs::create_dir_all(&inside)?;
    fs::copy(folder.join(name), inside.join(PROGRAM))?;
    fs::copy(licence, inside.join("LICENSE"))?;
    let archive = format!("{name}.tar.gz");
    let mut tar = std::process::Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "--mode=u=rwX,go=rX"]);
    tar.arg("-C").arg(&above).args(["-I", "gzip -n9", "-cf"]);
    command::run(tar.arg(folder.join(&archive)).arg(name))?;
    fs::remove_dir_all(&above)?;
    Ok(archive)
}

fn listed(kind: &str, target: &Target, file: &str, bytes: &[u8]) -> Value {
    let platform = json!({ "os": target.os, "arch": target.arch });
    json!({ "kind": kind, "platform": platform, "file": file, "size": bytes.len(), "sha256": sha256(bytes) })
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The program as a wheel (PEP 427): pip and uv put what is in `data/scripts` where programs are.
fn wheel(program: &[u8], licence: &[u8], version: &str, tags: &[String]) -> Vec<u8> {
    let info = format!("{PROGRAM}-{version}.dist-info");
    let tags: String = tags.iter().map(|tag| format!("Tag: py3-none-{tag}\n")).collect();
    let metadata = format!(
        "Metadata-Version: 2.1\nName: {PROGRAM}\nVersion: {version}\nSummary: The command of an Accredit server\n\
         License: Apache-2.0\nRequires-Python: >=3.7\n"
    );
    let about = format!("Wheel-Version: 1.0\nGenerator: accredit-xtask {version}\nRoot-Is-Purelib: false\n{tags}");
    let files: [(String, &[u8], u32); 4] = [
        (format!("{PROGRAM}-{version}.data/scripts/{PROGRAM}"), program, 0o755),
        (format!("{info}/METADATA"), metadata.as_bytes(), 0o644),
        (format!("{info}/WHEEL"), about.as_bytes(), 0o644),
        (format!("{info}/licenses/LICENSE"), licence, 0o644),
    ];
    let (mut zip, mut record) = (Zip::default(), String::new());
    for (name, bytes, mode) in files {
        record.push_str(&format!("{name},sha256={},{}\n", URL_SAFE_NO_PAD.encode(Sha256::digest(bytes)), bytes.len()));
        zip.add(&name, bytes, mode);
    }
    record.push_str(&format!("{info}/RECORD,,\n"));
    zip.add(&format!("{info}/RECORD"), record.as_bytes(), 0o644);
    zip.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The record names each file with its digest, and itself without one.
    #[test]
    fn a_wheel_records_its_files() {
        let bytes = wheel(b"program", b"licence", "1.2.3", &["linux_x86_64".to_owned()]);
        let text = String::from_utf8_lossy(&bytes);
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(b"program"));
        assert!(text.contains(&format!("accredit-1.2.3.data/scripts/accredit,sha256={digest},7\n")));
        assert!(text.contains("accredit-1.2.3.dist-info/RECORD,,\n") && text.contains("Tag: py3-none-linux_x86_64\n"));
    }
}
