//! How this machine builds for wasm32-wasip1, and how it comes to be able to.
//!
//! 1. A standard library for the target that is there already is used.
//! 2. Else Debian's compiler with the sources of its standard library, where they are installed: cargo builds the library too.
//! 3. Else `rustup target add`.
//! 4. Else Debian's packages are installed, where we may.
//! 5. Else a text that says what to install.
//!
//! No `rust-toolchain.toml`: one that names a target makes rustup ask the network at every call.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::ui::{Step, say};
use crate::workspace::{WASM, Workspace};
use crate::{command, debian};

/// The oldest compiler that builds this project; the same as `rust-version` in Cargo.toml.
const OLDEST: (u32, u32) = (1, 95);
/// Debian's compiler, the sources of its standard library, and the C library that this rests on.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "wasi-libc"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_WASI: &str = "/usr/lib/wasm32-wasi";
/// The download is some 20 MB; a network that swallows packets must not hold anybody up for long.
const RUSTUP_LIMIT: Duration = Duration::from_secs(120);

/// A way to build components.
pub(crate) enum Toolchain {
    /// The compiler has a standard library for the target.
    Installed,
    /// Debian's compiler; the standard library is built from its sources.
    Debian { linker: PathBuf },
}

impl Toolchain {
    /// The way that is there now. The error says what each way lacks.
    pub(crate) fn find() -> Result<Self, Vec<String>> {
        let mut lacking = Vec::new();
        match installed() {
            Ok(()) => return Ok(Self::Installed),
            Err(why) => lacking.push(why),
        }
        match debian() {
            Ok(linker) => Ok(Self::Debian { linker }),
            Err(why) => {
                lacking.push(why);
                Err(lacking)
            }
        }
    }

    /// The way that is there, or that can be made.
    pub(crate) fn ensure() -> Result<Self> {
        let mut lacking = match Self::find() {
            Ok(found) => return Ok(found),
            Err(lacking) => lacking,
        };
        for make in [add_target, install_debians] {
            if let Err(why) = make() {
                lacking.push(why);
            } else {
                match Self::find() {
                    Ok(found) => return Ok(found),
                    Err(still) => lacking = still,
                }
            }
        }
        bail!(advice(&lacking))
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Installed => "the installed target wasm32-wasip1",
            Self::Debian { .. } => "Debian's rustc with a standard library built from rust-web-src",
        }
    }

    /// `cargo build` for the target in the profile `release`, and the folder that it puts the `.wasm` in.
    pub(crate) fn build(&self, workspace: &Workspace) -> (Command, PathBuf) {
        let mut cargo = command::cargo();
        cargo.current_dir(&workspace.root).args(["build", "--release", "--target", WASM]);
        let target = match self {
            Self::Installed => workspace.target.clone(),
            Self::Debian { linker } => {
                // Apart from the native builds: other compiler and flags in one folder would rebuild everything at each change of sides.
                let target = workspace.target.join("guest");
                let linker = format!("linker={}", linker.display());
                let reactor = format!("link-arg={DEBIAN_WASI}/crt1-reactor.o");
                let library = format!("native={DEBIAN_WASI}");
                let flags = ["-C", &linker, "-C", "link-self-contained=no", "-L", &library, "-C", &reactor];
                cargo
                    .arg("-Zbuild-std=std,panic_abort")
                    .arg("--target-dir")
                    .arg(&target)
                    .env("RUSTC", DEBIAN_RUSTC)
                    .env("RUSTC_BOOTSTRAP", "1")
                    // Not `RUSTFLAGS`: the path of the linker may hold a space. And it beats a `RUSTFLAGS` from outside.
                    .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
                target
            }
        };
        (cargo, target.join(WASM).join("release"))
    }
}

/// `cargo xtask setup`: makes what is missing, or with `only_check` says so.
pub(crate) fn setup(only_check: bool) -> Result<()> {
    let mut complete = true;
    match command::output_of(rustc(), &["--version"]) {
        Some(line) if version(&line).is_some_and(|found| found >= OLDEST) => say(format_args!("ok       {line}")),
        Some(line) => {
            say(format_args!("too old  {line}: {}.{} or newer is needed; `rustup update stable`", OLDEST.0, OLDEST.1));
            complete = false;
        }
        None => {
            say("missing  rustc: https://www.rust-lang.org/tools/install");
            complete = false;
        }
    }
    match c_compiler() {
        Some(name) => say(format_args!("ok       C compiler {name} (SQLite is built from source)")),
        None => {
            say("missing  a C compiler, for SQLite: `apt-get install gcc libc6-dev`, or your system's own; or set CC");
            complete = false;
        }
    }
    if only_check {
        match Toolchain::find() {
            Ok(found) => say(format_args!("ok       {}", found.name())),
            Err(lacking) => {
                say(format_args!("missing  {}", advice(&lacking)));
                complete = false;
            }
        }
    } else {
        say(format_args!("ok       {}", Toolchain::ensure()?.name()));
    }
    complete &= crate::programs::setup(only_check);
    complete &= crate::browser::setup(only_check);
    for (tool, why) in [
        ("wrk", "cargo xtask bench installs it"),
        ("cargo-deny", "for cargo xtask check: `cargo install --locked cargo-deny`"),
        ("spin", "for cargo xtask up --spin"),
    ] {
        let state = if command::on_path(tool).is_some() { "ok      " } else { "optional" };
        say(format_args!("{state} {tool} ({why})"));
    }
    if !complete {
        bail!("something is missing: see above");
    }
    Ok(())
}

/// Asks rustup for the target. The error says why that cannot be.
fn add_target() -> Result<(), String> {
    if command::on_path("rustup").is_none() {
        return Err("no rustup here to fetch it with".to_owned());
    }
    let limit = RUSTUP_LIMIT.as_secs();
    let step = Step::begin(format!("rustup target add {WASM} (at most {limit} s)"));
    let mut rustup = Command::new("rustup");
    // Once is enough: the next way is Debian's.
    rustup.args(["target", "add", WASM]).env("RUSTUP_MAX_RETRIES", "0");
    if !command::succeeds_within(&mut rustup, RUSTUP_LIMIT) {
        say("    not possible here");
        return Err(format!("rustup could not fetch {WASM} (no network?)"));
    }
    step.done();
    Ok(())
}

/// Installs Debian's way to build.
fn install_debians() -> Result<(), String> {
    let mut packages = DEBIAN_PACKAGES.to_vec();
    if linker().is_none() {
        packages.push("lld");
    }
    debian::install(&packages)
}

/// Whether the compiler has a standard library for the target.
fn installed() -> Result<(), String> {
    let folder = command::output_of(rustc(), &["--print", "target-libdir", "--target", WASM])
        .ok_or("the compiler does not know wasm32-wasip1")?;
    let has_std = std::fs::read_dir(&folder).is_ok_and(|mut files| {
        files.any(|file| file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with("libstd-")))
    });
    if has_std { Ok(()) } else { Err("the Rust toolchain in use has no standard library for wasm32-wasip1".to_owned()) }
}

/// Whether Debian's compiler can build it, and the linker to do it with.
fn debian() -> Result<PathBuf, String> {
    let line = command::output_of(DEBIAN_RUSTC, &["--version"]).ok_or("Debian's rustc is not installed")?;
    if version(&line).is_none_or(|found| found < OLDEST) {
        return Err(format!("Debian's compiler is {line}; {}.{} or newer is needed", OLDEST.0, OLDEST.1));
    }
    let sysroot = command::output_of(DEBIAN_RUSTC, &["--print", "sysroot"]).ok_or("Debian's rustc does not run")?;
    for (file, package) in [
        (Path::new(&sysroot).join("lib/rustlib/src/rust/library/std/Cargo.toml"), "rust-web-src"),
        (Path::new(DEBIAN_WASI).join("crt1-reactor.o"), "wasi-libc"),
    ] {
        if !file.exists() {
            return Err(format!("Debian's package {package} is not installed"));
        }
    }
    linker().ok_or_else(|| {
        "no linker for wasm: neither rust-lld (comes with rustup's toolchains) nor wasm-ld (Debian's package lld)"
            .to_owned()
    })
}

/// `rust-lld` of the toolchain in use or on `PATH`, or else `wasm-ld`.
fn linker() -> Option<PathBuf> {
    let of_toolchain = || {
        let sysroot = command::output_of(rustc(), &["--print", "sysroot"])?;
        let folders = std::fs::read_dir(Path::new(&sysroot).join("lib/rustlib")).ok()?;
        folders.filter_map(|folder| Some(folder.ok()?.path().join("bin/rust-lld"))).find(|path| path.is_file())
    };
    of_toolchain().or_else(|| command::on_path("rust-lld")).or_else(|| command::on_path("wasm-ld"))
}

fn advice(lacking: &[String]) -> String {
    format!(
        "nothing here can build for {WASM}:\n  - {}\nAny one of these is enough, then again `cargo xtask setup`:\n  \
         rustup target add {WASM}\n  apt-get install {}   (Debian 12 with its security updates, or newer)\n  \
         your system's package with Rust's standard library for {WASM}",
        lacking.join("\n  - "),
        DEBIAN_PACKAGES.join(" "),
    )
}

fn rustc() -> std::ffi::OsString {
    std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}

fn c_compiler() -> Option<String> {
    let named = std::env::var("CC").ok();
    let candidates = named.as_deref().into_iter().chain(["cc", "gcc", "clang"]);
    candidates.map(str::to_owned).find(|name| command::output_of(name, &["--version"]).is_some())
}

/// `rustc 1.95.0 (…)` → (1, 95).
fn version(line: &str) -> Option<(u32, u32)> {
    let mut numbers = line.split_whitespace().nth(1)?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_tells_its_version() {
        assert_eq!(version("rustc 1.95.0 (59807616e 2026-04-14)"), Some((1, 95)));
        assert_eq!(version("rustc 1.96.0-nightly (ac68faa20 2026-05-25) (built from a source tarball)"), Some((1, 96)));
        assert_eq!(version("something else"), None);
    }

    #[test]
    fn the_oldest_compiler_is_the_one_that_cargo_asks_for() {
        let asked = env!("CARGO_PKG_RUST_VERSION");
        assert_eq!(version(&format!("rustc {asked}")), Some(OLDEST));
    }

    #[test]
    fn the_advice_names_every_way() {
        let text = advice(&["no this".to_owned(), "no that".to_owned()]);
        for part in ["no this", "no that", "rustup target add wasm32-wasip1", "rustc-web", "rust-web-src", "wasi-libc"]
        {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }
}
