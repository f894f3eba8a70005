//! R64, R209: what `cargo xtask dist` makes, installed for real: by the script, by the text of `/install`, by pip and by uv. The commands come
//! from what the server shows, and are run to the letter.
//!
//! `cargo xtask test` builds it as it is released. By hand the program of the other tests is packed: set `ACCREDIT_DIST` for another one.
#![expect(clippy::unwrap_used, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use tempfile::TempDir;
use tests::{
    Client, Server, Shared,
    browser::{Browser, unescaped},
    cli::Ran,
    host, packages,
};

/// A server that hands the release out, and its first admin.
struct Site {
    server: Server,
    admin: Client,
    _folder: TempDir,
}

static SITE: Shared<Site> = Shared::new();

fn site() -> Arc<Site> {
    SITE.get(|| release(|_| ()))
}

/// A site that hands out what this makes of the release.
fn release(change: fn(&Path)) -> Site {
    let folder = tempfile::Builder::new().prefix("accredit-release-").tempdir().unwrap();
    let manifest = host::write_manifest(folder.path());
    let dist = folder.path().join("dist");
    match std::env::var_os("ACCREDIT_DIST") {
        Some(made) => {
            fs::create_dir(&dist).unwrap();
            for entry in fs::read_dir(PathBuf::from(made)).unwrap().flatten() {
                fs::copy(entry.path(), dist.join(entry.file_name())).unwrap();
            }
        }
        None => {
            let mut pack = Command::new(env!("CARGO"));
            pack.current_dir(host::root()).args(["run", "--quiet", "--package", "xtask", "--"]);
            let packed = pack.args(["dist", "--no-build", "--into"]).arg(&dist).output().unwrap();
            assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
        }
    }
    change(&dist);
    let server = Server::settings().manifest(manifest).start();
    let admin = server.bootstrap();
    Site { server, admin, _folder: folder }
}

/// A person with an empty home and one shell.
struct Person {
    home: TempDir,
    bin: TempDir,
}

impl Person {
    /// With this shell as `sh`.
    fn with(shell: &Path) -> Self {
        let person = Self { home: tempfile::tempdir().unwrap(), bin: tempfile::tempdir().unwrap() };
        symlink(shell, person.bin.path().join("sh")).unwrap();
        person
    }

    /// One for each shell.
    fn of_each_shell() -> [Self; 3] {
        ["dash", "bash", "busybox"].map(|shell| Self::with(&packages::program(shell)))
    }

    fn path(&self, below: &str) -> PathBuf {
        self.home.path().join(below)
    }

    /// Runs lines as somebody who types them one after the other, up to the first that fails.
    fn types(&self, lines: &[String], variables: &[(&str, &str)]) -> Ran {
        let mut shell = Command::new(self.bin.path().join("sh"));
        shell.args(["-e", "-c", &lines.join("\n")]).env_clear().current_dir(self.home.path());
        shell.env("HOME", self.home.path()).env("PATH", format!("{}:/usr/bin:/bin", self.bin.path().display()));
        Ran::of(shell.envs(variables.iter().copied()).output().unwrap())
    }
}

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// R64: one line in an empty home, and the program that it leaves knows its server.
#[test]
fn the_release_is_installed_by_one_line() {
    let site = site();
    let page = Browser::new(&site.server).page("/install");
    let command = page.split("id=\"install\">").nth(1).and_then(|rest| rest.split('<').next()).unwrap();
    for person in Person::of_each_shell() {
        let ran = person.types(&[unescaped(command)], &[]).is(0);
        assert!(format!("{}{}", ran.out, ran.err).contains("is not in your PATH"), "{ran:?}");
        let program = person.path(".local/bin/accredit");
        assert_eq!(fs::metadata(&program).unwrap().permissions().mode() & 0o777, 0o755);
        let mut words = lines(&["export PATH=\"$HOME/.local/bin:$PATH\"", "accredit --version", "accredit ready"]);
        let ran = person.types(&words, &[]).is(0);
        assert!(ran.out.contains(env!("CARGO_PKG_VERSION")) && ran.out.contains("ready"), "{ran:?}");
        // Nobody is signed in yet: the next step is named.
        words.push("accredit whoami".to_owned());
        let ran = person.types(&words, &[]).is(2);
        assert!(ran.err.contains("accredit auth login"), "{ran:?}");
        let ran = person.types(&lines(&["PATH=\"$HOME/.local/bin:$PATH\"; accredit self update --check"]), &[]).is(0);
        assert!(ran.out.contains(env!("CARGO_PKG_VERSION")), "{ran:?}");
    }
}

/// R209: every command of the text for a coding agent works as it stands there, one after the other, in an empty home.
#[test]
fn the_text_for_a_coding_agent_is_followed_to_the_letter() {
    let site = site();
    let browser = Browser::of(&site.server, &site.admin);
    for (number, person) in Person::of_each_shell().into_iter().enumerate() {
        let name = format!("agent {number}");
        let made = browser.submit("/install", "/install", &[("name", &name), ("may", "agents")]).text();
        let text = made.split("id=\"secret\" tabindex=\"0\">").nth(1).and_then(|rest| rest.split("</pre>").next());
        let text = unescaped(text.unwrap());
        let commands: Vec<String> =
            text.lines().filter_map(|line| Some(line.strip_prefix("     ")?.to_owned())).collect();
        assert!(commands.len() >= 7, "{text}");
        let token = text.split("printf %s ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        let ran = person.types(&commands, &[]).is(0);
        for part in ["Signed in as ada@example.com", "credential.", "accredit-agents", "# "] {
            assert!(ran.out.contains(part), "{part:?} is not in {ran:?}");
        }
        assert!(!ran.out.contains(token) && !ran.err.contains(token), "{ran:?}");
        let file = person.path(".config/accredit/credentials.json");
        assert!(fs::read_to_string(&file).unwrap().contains(token));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        // What the text installs says how to go on when the token has been revoked.
        site.server.with(token).delete("/auth/tokens/me").is(204);
        let again = lines(&["PATH=\"$HOME/.local/bin:$PATH\"", "accredit whoami"]);
        let ran = person.types(&again, &[]).is(2);
        assert!(ran.err.contains("revoked") && ran.err.contains("fix:"), "{ran:?}");
    }
}

/// The one command of the manual that begins like this.
fn of_the_manual(site: &Site, begin: &str) -> Vec<String> {
    let page = site.server.nobody().get("/docs/agents/cli").text();
    let found: Vec<String> = page.lines().filter(|line| line.starts_with(begin)).map(str::to_owned).collect();
    assert_eq!(found.len(), 1, "{begin}: {found:?}");
    found
}

/// A person with an environment of Python, and with uv, which is part of the list of packages: a test that cannot have it fails.
struct Pythonist<'s> {
    site: &'s Site,
    person: Person,
    env: PathBuf,
}

impl<'s> Pythonist<'s> {
    fn new(site: &'s Site) -> Self {
        let person = Person::with(Path::new("/bin/sh"));
        let env = person.path("env");
        let made = Command::new("python3").args(["-m", "venv"]).arg(&env).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        Self { site, person, env }
    }

    /// Runs lines with both on the path.
    fn types(&self, lines: &[String]) -> Ran {
        let packages = packages::pypi(Path::new(env!("CARGO_TARGET_TMPDIR")), "install").join("packages");
        let path = format!("{}:{}:/usr/bin:/bin", self.env.join("bin").display(), packages.join("bin").display());
        let variables = [
            ("ACCREDIT_URL", self.site.server.host().base_url()),
            ("PATH", &path),
            ("NO_PROXY", "*"),
            ("no_proxy", "*"),
            ("UV_PYTHON_DOWNLOADS", "never"),
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
        ];
        self.person.types(lines, &variables).is(0)
    }

    /// The version that both say they have installed.
    fn has(&self, version: &str) {
        let shown = self.types(&lines(&["pip show accredit", "uv tool list"])).out;
        for part in [format!("Version: {version}\n"), format!("accredit v{version}\n")] {
            assert!(shown.contains(&part), "{part} is not in {shown}");
        }
    }
}

/// R64: the wheel, by its name, with pip and with uv; and the next version, as the manual says.
#[test]
fn the_release_is_installed_and_upgraded_by_name_with_pip_and_with_uv() {
    let (site, later) = (site(), release(next_version));
    let mut person = Pythonist::new(&site);
    let (by_pip, by_uv) =
        (of_the_manual(&site, "pip install accredit "), of_the_manual(&site, "uv tool install accredit "));
    for (command, program) in
        [(&by_pip, person.env.join("bin/accredit")), (&by_uv, person.person.path(".local/bin/accredit"))]
    {
        person.types(command);
        let ran = Ran::of(Command::new(program).arg("--version").output().unwrap()).is(0);
        assert_eq!(ran.out.trim(), format!("accredit {}", env!("CARGO_PKG_VERSION")));
    }
    person.has(env!("CARGO_PKG_VERSION"));

    // The server was upgraded; this one has another address.
    person.site = &later;
    let upgrade = by_pip.iter().map(|line| line.replace("pip install ", "pip install --upgrade "));
    person.types(&upgrade.collect::<Vec<_>>());
    person.types(&lines(&["uv tool upgrade accredit --default-index \"$ACCREDIT_URL/cli/simple/\""]));
    person.has("99.0.0");
}

/// R435: clients that leave new files out learn when the wheel was made.
#[test]
fn a_client_that_leaves_new_files_out_installs_an_older_one() {
    let site = site();
    let person = Pythonist::new(&site);
    let by_uv = of_the_manual(&site, "uv tool install accredit ").concat();
    let by_pip = of_the_manual(&site, "pip install accredit ").concat();
    // That of the environment may be too old to know the option.
    let packages = packages::pypi(Path::new(env!("CARGO_TARGET_TMPDIR")), "install").join("packages");
    let by_pip = by_pip.replace("pip install", &format!("PYTHONPATH='{}' python3 -m pip install", packages.display()));
    person.types(&[
        format!("if {by_uv} --exclude-newer 2020-01-01; then exit 1; fi"),
        format!("{by_uv} --exclude-newer 2099-01-01"),
        format!("if {by_pip} --uploaded-prior-to 2020-01-01; then exit 1; fi"),
        format!("{by_pip} --uploaded-prior-to 2099-01-01"),
    ]);
    person.has(env!("CARGO_PKG_VERSION"));
}

/// Makes the wheel of a folder that of version 99.0.0.
fn next_version(dist: &Path) {
    let script = r#"
import hashlib, json, os, sys, zipfile
old, new, dist = sys.argv[1], "99.0.0", sys.argv[2]
manifest = json.load(open(f"{dist}/manifest.json"))
wheel = next(file for file in manifest["files"] if file["kind"] == "wheel")
before = zipfile.ZipFile(f"{dist}/{wheel['file']}")
name = wheel["file"].replace(f"-{old}-", f"-{new}-")
with zipfile.ZipFile(f"{dist}/{name}", "w") as after:
    for entry in before.infolist():
        data = before.read(entry)
        if entry.filename.endswith(".dist-info/METADATA"):
            data = data.replace(f"Version: {old}".encode(), f"Version: {new}".encode())
        if entry.filename.endswith(".dist-info/RECORD"):
            data = b"".join(line.replace(old.encode(), new.encode()).split(b",")[0] + b",,\n" for line in data.splitlines())
        entry.filename = entry.filename.replace(f"-{old}.", f"-{new}.")
        after.writestr(entry, data)
data = open(f"{dist}/{name}", "rb").read()
wheel.update(file=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
manifest["version"] = new
json.dump(manifest, open(f"{dist}/manifest.json", "w"))
"#;
    let made = Command::new("python3").args(["-c", script, env!("CARGO_PKG_VERSION")]).arg(dist).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
