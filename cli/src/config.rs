//! The files of a user: which server, and the credential for it.
//!
//! - `config.toml` is the user's own: `url`, and `url` below `[profiles.<name>]`. The installer writes the first; this command never does.
//! - `credentials.json` is ours: for each profile an address, a token, and the key that it is bound to, if it is. Directory 0700, file 0600, made so and replaced in one move. A
//!   token is sent to the address that it was saved with, and to no other.

use std::{
    ffi::OsString,
    fs,
    io::{ErrorKind, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
};

use common::secret::Secret;
use serde_json::{Map, Value as Json, json};

use crate::{
    again::quoted,
    fail::{Exit, Failure, of_file},
    key::Key,
    show,
};

const FOLDER: &str = "accredit";
const CONFIG: &str = "config.toml";
const CREDENTIALS: &str = "credentials.json";
/// Links behind each other that are followed.
const MOST_LINKS: usize = 8;
/// What saves a credential.
const SIGN_INS: &[&str] = &["accredit auth login", "accredit auth enroll"];
/// Bytes that a first credential may need.
const ROOM: usize = 1024;
/// The profile without a name.
pub(crate) const DEFAULT: &str = "default";

/// What the command was called with, beside its verb.
#[derive(Clone, Default)]
pub(crate) struct Asked {
    pub(crate) url: Option<String>,
    pub(crate) profile: Option<String>,
}

/// Where to, and with what.
pub(crate) struct Settings {
    /// Where the files are. `None`: there is no place for them, which stops nobody who needs none.
    folder: Option<PathBuf>,
    pub(crate) profile: String,
    /// The server; `None`: nobody said.
    pub(crate) url: Option<Url>,
    /// The credential, if there is one for this server.
    pub(crate) token: Option<Secret>,
    /// The key that the profile's token is bound to, if it is.
    pub(crate) key: Option<Key>,
    /// Whether the token comes from the environment.
    pub(crate) is_from_environment: bool,
    /// Whether the token was made by a sign-in of this command: nobody else has it.
    pub(crate) is_made: bool,
    /// Whether the profile has a token of its own beside that of the environment.
    pub(crate) is_saved_too: bool,
    /// The server that the profile is signed in to, if it is another one.
    pub(crate) elsewhere: Option<String>,
}

/// A credential that a sign-in of this command had made, and that it has no longer.
pub(crate) struct Former {
    /// The server that it works at.
    pub(crate) url: String,
    pub(crate) token: Secret,
    /// The key that it is bound to, if it is.
    pub(crate) key: Option<Key>,
}

impl Former {
    /// What a profile had. `None`: nothing, or something that came from elsewhere.
    fn of(saved: &Json) -> Option<Self> {
        let text = |name: &str| saved.get(name).and_then(Json::as_str);
        let token = text("token").filter(|_| saved.get("made") == Some(&Json::Bool(true)))?;
        Some(Self { url: text("url")?.to_owned(), token: Secret::parse(token)?, key: text("key").and_then(Key::parse) })
    }
}

/// The address of a server, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    text: String,
    /// Whether it leads to this machine.
    pub(crate) is_loopback: bool,
}

impl Url {
    /// Reads an address. Without https a credential travels in clear, so that is taken for a loopback host alone, or where the user
    /// says that the network is theirs.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let text = text.trim().trim_end_matches('/');
        if text.is_empty() {
            return Err(Failure::usage("The address of the server is empty.")
                .fix("Give it, such as --url https://accredit.example, or set the variable ACCREDIT_URL."));
        }
        // What stands before an @ may be a password.
        let shown = text.rsplit_once('@').map_or_else(|| text.to_owned(), |(_, place)| format!("…@{place}"));
        let wrong = |why: &str| Failure::usage(format!("{} is no address of a server: {why}", show::line(&shown)));
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| wrong("it begins with https://, such as https://accredit.example"))?;
        let authority = rest.split('/').next().unwrap_or_default();
        if rest.contains(['?', '#', '@', '\\', ' ', '"']) || rest.chars().any(char::is_control) {
            return Err(wrong("it has no user name, query or fragment"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(literal) => literal.split_once(']').unwrap_or_default(),
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let name = authority.strip_suffix(port).unwrap_or_default();
        // Neither depends on the case.
        let (scheme, mut place) = (scheme.to_ascii_lowercase(), name.to_ascii_lowercase());
        // What asks takes a port that it cannot read for none, and another server would get the token.
        if let Some(digits) = port.strip_prefix(':').filter(|digits| !digits.is_empty()) {
            let number = digits.parse::<u16>().ok().filter(|number| *number > 0 && !digits.starts_with('+'));
            let number = number.ok_or_else(|| wrong("its port is a number from 1 to 65535"))?;
            if number != (if scheme == "http" { 80 } else { 443 }) {
                place = format!("{place}:{number}");
            }
        } else if !port.trim_start_matches(':').is_empty() {
            return Err(wrong("behind the ] of an IPv6 address comes its port or nothing"));
        }
        let path = rest.get(authority.len()..).unwrap_or_default();
        let is_loopback = host.eq_ignore_ascii_case("localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
        let url = Self { text: format!("{scheme}://{place}{path}"), is_loopback };
        match scheme.as_str() {
            _ if host.is_empty() => Err(wrong("it names no host")),
            "https" => Ok(url),
            "http" if is_loopback || is_insecure(|name| std::env::var_os(name)) => Ok(url),
            "http" => Err(wrong("over http everybody on the way could read your token")
                .fix("Use https. If nobody else is on this network, set the variable ACCREDIT_INSECURE=1.")),
            _ => Err(wrong("it begins with https://")),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// The address of a path below the server.
    pub(crate) fn join(&self, path: &str) -> String {
        format!("{}{path}", self.text)
    }

    /// The address of a link, which names a path from the root of the host.
    pub(crate) fn of_link(&self, link: &str) -> String {
        format!("{}{link}", self.root())
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.text.starts_with("https://")
    }

    /// The host and, where one is given, the port.
    pub(crate) fn authority(&self) -> &str {
        self.root().split_once("://").map_or("", |(_, authority)| authority)
    }

    fn root(&self) -> &str {
        let end = self.text.find("://").map_or(0, |at| at + 3);
        let root = self.text.get(end..).and_then(|rest| rest.find('/')).map_or(self.text.len(), |at| end + at);
        self.text.get(..root).unwrap_or_default()
    }

    /// What to do where nobody answers as expected: a path in the address leads beside the server, unless the server is below it.
    pub(crate) fn too_long(&self) -> Option<String> {
        let root = self.root();
        let path = self.text.strip_prefix(root).filter(|path| !path.is_empty())?;
        Some(format!("The address of the server ends with {path}. Give it without the path: --url {root}"))
    }
}

/// A variable that says something. One that cannot be read is not passed over: another server, profile or credential would be used.
fn variable(name: &str, environment: impl Fn(&str) -> Option<OsString>) -> Result<Option<String>, Failure> {
    let Some(value) = environment(name) else { return Ok(None) };
    let value = value.into_string().map_err(|_| {
        Failure::usage(format!("{name} is no text in UTF-8.")).fix(format!("Set {name} to what is meant, or unset it."))
    })?;
    Ok(Some(value).filter(|value| !value.trim().is_empty()))
}

/// Whether the user says that tokens may travel in clear.
fn is_insecure(environment: impl Fn(&str) -> Option<OsString>) -> bool {
    let off = ["", "0", "false", "no", "off"];
    environment("ACCREDIT_INSECURE")
        .is_some_and(|value| !off.contains(&value.to_string_lossy().trim().to_ascii_lowercase().as_str()))
}

/// Where the files are. A folder of their own that depends on where the command was called is refused: the files of another one would be
/// read and written.
fn folder(environment: impl Fn(&str) -> Option<OsString>) -> Result<Option<PathBuf>, Failure> {
    let set = |name: &str| environment(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("ACCREDIT_CONFIG_DIR") {
        return match folder.is_absolute() {
            true => Ok(Some(folder)),
            false => {
                let typed = folder.to_string_lossy();
                Err(Failure::usage(format!("ACCREDIT_CONFIG_DIR is no absolute path: {}", show::line(&typed)))
                    .fix("Set it to a path that begins with /, or unset it."))
            }
        };
    }
    let absolute = |name: &str| set(name).filter(|path| path.is_absolute());
    Ok(absolute("XDG_CONFIG_HOME")
        .map(|folder| folder.join(FOLDER))
        .or_else(|| absolute("HOME").map(|home| home.join(".config").join(FOLDER))))
}

impl Settings {
    /// Reads files and environment. What is asked for beats the environment, which beats the files. A file that cannot be read stops
    /// only those who need what it may say.
    pub(crate) fn load(asked: &Asked) -> Result<Self, Failure> {
        let variable = |name| variable(name, |name| std::env::var_os(name));
        let folder = folder(|name| std::env::var_os(name))?;
        let profile = match &asked.profile {
            Some(profile) => profile.clone(),
            None => variable("ACCREDIT_PROFILE")?.unwrap_or_else(|| DEFAULT.to_owned()),
        };
        let saved = match folder.as_ref().map(|folder| read_saved(&folder.join(CREDENTIALS))) {
            None => Map::new(),
            Some(Ok(saved)) => saved,
            Some(Err(failure)) => {
                show::warning(&failure);
                Map::new()
            }
        };
        let of_profile = saved.get(&profile).cloned().unwrap_or_default();
        let text = |json: &Json, name: &str| json.get(name).and_then(Json::as_str).map(str::to_owned);
        let saved_url = text(&of_profile, "url");
        let in_config = folder.as_ref().map_or(Ok(None), |folder| url_of(&folder.join(CONFIG), &profile));
        let url = match &asked.url {
            Some(url) => Some(url.clone()),
            None => variable("ACCREDIT_URL")?.or_else(|| saved_url.clone()),
        };
        let url = match (url, in_config) {
            (Some(url), Err(failure)) => {
                show::warning(&failure);
                Some(url)
            }
            (url, in_config) => url.or(in_config?),
        };
        let url = url.map(|url| Url::parse(&url)).transpose()?;
        let key = text(&of_profile, "key").and_then(|key| Key::parse(&key));
        let (token, is_from_environment) = match variable("ACCREDIT_TOKEN")? {
            Some(token) => (Some(read_token(&token, "ACCREDIT_TOKEN")?), true),
            None => {
                let is_its_server = url == saved_url.as_deref().and_then(|saved| Url::parse(saved).ok());
                let token = text(&of_profile, "token").filter(|_| is_its_server);
                (token.and_then(|token| Secret::parse(&token)), false)
            }
        };
        let has_token = text(&of_profile, "token").is_some();
        let is_saved = !is_from_environment && token.is_none() && has_token;
        let is_made = !is_from_environment && token.is_some() && of_profile.get("made") == Some(&Json::Bool(true));
        let is_saved_too = is_from_environment && has_token;
        let elsewhere = saved_url.filter(|_| is_saved);
        Ok(Self { folder, profile, url, token, key, is_from_environment, is_made, is_saved_too, elsewhere })
    }

    /// The server.
    pub(crate) fn server(&self) -> Result<&Url, Failure> {
        self.url.as_ref().ok_or_else(|| {
            Failure::usage("No server is named.").fix("Add --url https://…, or set the variable ACCREDIT_URL.")
        })
    }

    /// A failure for want of a credential, with the server that the profile has one for; and a sign-in that would change nothing, with what
    /// stands in its place.
    pub(crate) fn explained(&self, mut failure: Failure) -> Failure {
        if let (Exit::Credential, None, Some(there), Some(here)) =
            (failure.exit, &failure.answer, &self.elsewhere, &self.url)
        {
            let profile = show::line(&self.profile);
            failure.lines.push(format!("The profile {profile} is signed in to {}.", show::line(there)));
            // In this profile it would end the credential that works there.
            failure.fix = Some(format!(
                "Sign in here too, in another profile: accredit auth login --url {} --profile {}. Or ask that server: without --url \
                 and ACCREDIT_URL.",
                quoted(here.as_str()),
                quoted(here.authority())
            ));
        }
        let is_sign_in = |fix: &&String| SIGN_INS.iter().any(|sign_in| fix.contains(sign_in));
        if let Some(fix) = failure.fix.as_ref().filter(is_sign_in).filter(|_| self.is_from_environment) {
            failure.fix = Some(format!("Unset ACCREDIT_TOKEN first: it is used in place of a sign-in. {fix}"));
        }
        failure
    }

    /// The file of credentials.
    pub(crate) fn file(&self) -> Result<PathBuf, Failure> {
        let folder = self.folder.as_ref().ok_or_else(|| {
            Failure::usage("There is no place to save a credential.")
                .fix("Set HOME or ACCREDIT_CONFIG_DIR to an absolute path, or use ACCREDIT_URL and ACCREDIT_TOKEN.")
        })?;
        Ok(folder.join(CREDENTIALS))
    }

    /// Makes sure that a credential can be saved, by writing what there is anew. Code asks for it before a code is spent, or a credential made.
    pub(crate) fn prepare(&self) -> Result<(), Failure> {
        let (file, _turn) = self.opened()?;
        let tried = match fs::read(&file) {
            Ok(saved) => replace(&file, &saved),
            Err(_) => {
                let tried = linked(&file).with_extension("tried");
                replace(&tried, &[b' '; ROOM]).and_then(|()| fs::remove_file(&tried))
            }
        };
        tried.map_err(of_file(file.display()))
    }

    /// Saves a credential with its server and the key that it is bound to, in place of the profile's former one; and whether a sign-in of this
    /// command has made it. Returns the former one if nobody has it any more.
    pub(crate) fn save(
        &self,
        url: &Url,
        token: &Secret,
        key: Option<&Key>,
        is_made: bool,
    ) -> Result<Option<Former>, Failure> {
        let mut saved = json!({ "url": url.as_str(), "token": token.reveal() });
        if let (true, Some(members)) = (is_made, saved.as_object_mut()) {
            members.insert("made".to_owned(), true.into());
        }
        if let (Some(key), Some(members)) = (key, saved.as_object_mut()) {
            members.insert("key".to_owned(), key.text().into());
        }
        let mut former = None;
        self.change(|profiles| former = profiles.insert(self.profile.clone(), saved))?;
        Ok(former.and_then(|former| Former::of(&former)).filter(|former| former.token.reveal() != token.reveal()))
    }

    /// The key that the token is bound to: one of the environment is sent as it is, since the key is of the profile's own token.
    pub(crate) fn key_of_token(&self) -> Option<&Key> {
        self.key.as_ref().filter(|_| self.token.is_some() && !self.is_from_environment)
    }

    /// Refuses to hand out a token that works with the profile's key alone.
    pub(crate) fn hand_out(&self) -> Result<(), Failure> {
        match self.key_of_token() {
            None => Ok(()),
            Some(_) => Err(Failure::usage("The token of this profile is bound to a key, and does nothing without it.")
                .fix(format!(
                    "Run the commands with --profile {}, or ask the owner of the agent for another token.",
                    self.profile
                ))),
        }
    }

    /// Forgets the profile's credential, not its server. `false`: there was none.
    pub(crate) fn forget(&self) -> Result<bool, Failure> {
        let mut was_there = false;
        if self.folder.is_none() {
            return Ok(false);
        }
        self.change(|profiles| {
            let saved = profiles.get_mut(&self.profile).and_then(Json::as_object_mut);
            was_there = saved.is_some_and(|profile| {
                profile.remove("key");
                profile.remove("token").is_some()
            });
        })?;
        Ok(was_there)
    }

    /// The file of credentials, in a folder that is there, for one that changes it alone: of two at the same time one would lose what the other
    /// saves.
    fn opened(&self) -> Result<(PathBuf, Option<fs::File>), Failure> {
        let file = self.file()?;
        let folder = file.parent().unwrap_or(Path::new("."));
        make_folder(folder).map_err(of_file(folder.display()))?;
        let turn = turn(folder);
        Ok((file, turn))
    }

    fn change(&self, change: impl FnOnce(&mut Map<String, Json>)) -> Result<(), Failure> {
        let (file, _turn) = self.opened()?;
        // The one who loaded the settings was warned of a damaged file, which holds no token.
        let mut profiles = read_saved(&file).unwrap_or_default();
        change(&mut profiles);
        let text = format!("{:#}\n", json!({ "profiles": profiles }));
        replace(&file, text.as_bytes()).map_err(of_file(file.display()))
    }
}

/// Reads a credential that somebody gave; what is none of ours is told apart offline.
pub(crate) fn read_token(text: &str, from: &str) -> Result<Secret, Failure> {
    Secret::parse(text.trim()).ok_or_else(|| {
        Failure::new(Exit::Credential, format!("{from} holds no credential of an Accredit server: its form is wrong."))
            .fix("Copy the whole token, as it was issued: 57 characters that begin with acr_.")
    })
}

/// The address in the user's own file for a profile, if there is one.
fn url_of(file: &Path, profile: &str) -> Result<Option<String>, Failure> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let fix = "Make it readable for you, or name the server with --url or ACCREDIT_URL.";
            return Err(Failure::usage(format!("{} cannot be read: {error}", file.display())).fix(fix));
        }
    };
    let config: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let (line, column) = place(&text, error.span().map_or(0, |span| span.start));
        let sentence = format!("{}, line {line}, column {column}: {}", file.display(), error.message());
        Failure::usage(sentence).fix(format!(
            "Mend line {line}, or move the file away. A server is written in it as url = \"https://accredit.example\"."
        ))
    })?;
    let (at, url) = match profile {
        DEFAULT => (String::new(), config.get("url")),
        name => (
            format!(" of the profile {}", show::line(name)),
            config.get("profiles").and_then(|profiles| profiles.get(name)).and_then(|one| one.get("url")),
        ),
    };
    match url {
        None => Ok(None),
        Some(toml::Value::String(url)) => Ok(Some(url.clone())),
        Some(_) => Err(Failure::usage(format!("{}: the url{at} is no text.", file.display()))
            .fix("Write it in quotes: url = \"https://accredit.example\".")),
    }
}

/// The line and column of a byte of a text, each from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let column = before.get(start..).unwrap_or_default().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

/// The saved profiles. A file that is damaged holds no token.
fn read_saved(file: &Path) -> Result<Map<String, Json>, Failure> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Map::new()),
        Err(error) => {
            return Err(Failure::credential(format!(
                "{} cannot be read, so no token of it is used: {error}",
                file.display()
            ))
            .fix("Make it readable for you, or sign in again, which writes it anew: accredit auth login"));
        }
    };
    narrow(file);
    let damaged = |at: String| {
        Failure::credential(format!("{} is damaged{at}, so it holds no token.", file.display()))
            .fix("Mend it, or sign in again, which writes it anew without what is in it: accredit auth login")
    };
    let mut json: Json = serde_json::from_str(show::unmarked(&text))
        .map_err(|error| damaged(format!(" at line {}, column {}", error.line(), error.column())))?;
    match json.get_mut("profiles").map(Json::take) {
        Some(Json::Object(profiles)) => Ok(profiles),
        _ => Err(damaged(": it has no profiles".to_owned())),
    }
}

/// Waits until nobody else changes a file of this folder. Where the system has no such locks, nobody waits.
#[cfg(unix)]
fn turn(folder: &Path) -> Option<fs::File> {
    let folder = fs::File::open(folder).ok()?;
    folder.lock().ok()?;
    Some(folder)
}

#[cfg(not(unix))]
fn turn(_: &Path) -> Option<fs::File> {
    None
}

#[cfg(unix)]
fn make_folder(folder: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
fn make_folder(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)
}

/// Nobody else reads it, also where another program made it. A file that cannot be narrowed is used all the same: the user was able to read it.
#[cfg(unix)]
fn narrow(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let is_wide = fs::metadata(file).is_ok_and(|known| known.permissions().mode() & 0o077 != 0);
    if is_wide && fs::set_permissions(file, fs::Permissions::from_mode(0o600)).is_err() {
        show::warn(&format!("others can read {}.", file.display()));
    }
}

#[cfg(not(unix))]
fn narrow(_: &Path) {}

/// The file that a link leads to, which need not be there; a file that is no link is itself.
fn linked(file: &Path) -> PathBuf {
    let mut file = file.to_owned();
    // What leads in a circle leads to no file.
    for _ in 0..MOST_LINKS {
        let Ok(target) = fs::read_link(&file) else { break };
        file = file.parent().unwrap_or(Path::new(".")).join(target);
    }
    file
}

/// Writes a file that only its owner can read, beside the old one, and puts it in its place. A link stays, and leads to the new one.
fn replace(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let file = linked(file);
    let part = file.with_extension(format!("part-{}", std::process::id()));
    // A program with the same number that was killed may have left one, as in a container.
    drop(fs::remove_file(&part));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&part).and_then(|mut new| {
        new.write_all(bytes)?;
        new.sync_all()
    });
    let moved = written.and_then(|()| fs::rename(&part, &file));
    if moved.is_err() {
        drop(fs::remove_file(&part));
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_https_or_loopback() {
        for (text, url) in [
            ("https://accredit.example", "https://accredit.example"),
            (" https://a.example/acc/ ", "https://a.example/acc"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
            ("http://[::1]:3000/", "http://[::1]:3000"),
            ("http://localhost", "http://localhost"),
            ("HTTP://LOCALHOST:3980", "http://localhost:3980"),
            ("Https://A.Example/Acc", "https://a.example/Acc"),
            ("https://a.example:443/acc", "https://a.example/acc"),
            ("https://a.example:", "https://a.example"),
            ("http://localhost:080", "http://localhost"),
            ("https://[::1]:0080", "https://[::1]:80"),
        ] {
            assert_eq!(Url::parse(text).unwrap().as_str(), url);
        }
        for (text, is_loopback) in [
            ("http://127.0.0.1:3000", true),
            ("https://127.9.9.9/acc", true),
            ("https://[::1]:3000", true),
            ("https://[::ffff:127.0.0.1]", true),
            ("https://LocalHost:3000", true),
            ("https://localhost.evil.example", false),
            ("https://128.0.0.1", false),
            ("https://[::2]", false),
        ] {
            assert_eq!(Url::parse(text).unwrap().is_loopback, is_loopback, "{text}");
        }
        for text in [
            "",
            "accredit.example",
            "ftp://a",
            "https://",
            "http://a.example",
            "http://localhost.evil.example",
            "https://a@b",
            "https://a?x",
            "https://a#x",
            "https://a b",
            "https://a\\b",
            "https://[::1",
            "https://[::1]3000",
        ] {
            assert_eq!(Url::parse(text).unwrap_err().exit, Exit::Usage, "{text}");
        }
        for text in ["", " ", "/"] {
            let failure = Url::parse(text).unwrap_err();
            assert_eq!(failure.sentence, "The address of the server is empty.");
            assert!(failure.fix.as_deref().unwrap().contains("--url https://"), "{failure:?}");
        }
    }

    /// R546: a port that is none leads to no other port, and an address that is refused shows no password.
    #[test]
    fn a_port_that_is_none_is_refused() {
        for port in ["0", "65536", "99999", "+443", "-1", "80x", "443:443", "４４３"] {
            for text in [format!("https://a.example:{port}"), format!("http://[::1]:{port}/acc")] {
                let failure = Url::parse(&text).unwrap_err();
                assert_eq!(failure.exit, Exit::Usage, "{text}");
                assert!(failure.sentence.ends_with("its port is a number from 1 to 65535"), "{failure:?}");
            }
        }
        let failure = Url::parse("https://ada:hunter2@a.example").unwrap_err();
        assert!(failure.sentence.starts_with("…@a.example is no address"), "{failure:?}");
    }

    #[test]
    fn a_link_begins_at_the_root_of_the_host() {
        let url = Url::parse("https://a.example/acc").unwrap();
        assert_eq!(url.of_link("/acc/docs/agents/errors"), "https://a.example/acc/docs/agents/errors");
        assert_eq!(url.join("/api"), "https://a.example/acc/api");
        assert_eq!(Url::parse("https://a.example").unwrap().of_link("/docs/"), "https://a.example/docs/");
        assert!(url.too_long().unwrap().ends_with("ends with /acc. Give it without the path: --url https://a.example"));
        assert_eq!(Url::parse("https://a.example/").unwrap().too_long(), None);
    }

    #[test]
    fn the_files_have_a_place_or_none() {
        let folder_with = |set: &[(&str, &str)]| {
            folder(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value)))
        };
        let all = [("ACCREDIT_CONFIG_DIR", "/own"), ("XDG_CONFIG_HOME", "/xdg"), ("HOME", "/home/ada")];
        for (from, place) in [(0, "/own"), (1, "/xdg/accredit"), (2, "/home/ada/.config/accredit")] {
            assert_eq!(folder_with(&all[from..]).unwrap(), Some(PathBuf::from(place)));
        }
        assert_eq!(folder_with(&[("HOME", ""), ("XDG_CONFIG_HOME", "relative")]).unwrap(), None);
        // R469: what is meant for a folder of its own is neither read from nor written to another one.
        for typed in ["cfg", "./cfg", "~/cfg"] {
            let failure = folder_with(&[("ACCREDIT_CONFIG_DIR", typed), ("HOME", "/home/ada")]).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{typed}");
            assert!(failure.sentence.contains(typed), "{failure:?}");
        }
        let unset = folder_with(&[("ACCREDIT_CONFIG_DIR", ""), ("HOME", "/home/ada")]).unwrap();
        assert_eq!(unset, Some(PathBuf::from("/home/ada/.config/accredit")));
    }

    /// R469: a variable that cannot be read is no variable that is not set.
    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_no_text_is_refused() {
        use std::os::unix::ffi::OsStringExt as _;
        let read = |value: &[u8]| variable("ACCREDIT_TOKEN", |_| Some(OsString::from_vec(value.to_vec())));
        let failure = read(b"acr_\xff").unwrap_err();
        assert!(failure.exit == Exit::Usage && failure.sentence.starts_with("ACCREDIT_TOKEN "), "{failure:?}");
        assert_eq!(read(b" \n").unwrap(), None);
        assert_eq!(read(b"text").unwrap().as_deref(), Some("text"));
        assert_eq!(variable("ACCREDIT_TOKEN", |_| None).unwrap(), None);
    }

    /// R655: a step leads out of a refusal: not back into it, and not at the cost of a credential that works elsewhere.
    #[test]
    fn a_sign_in_that_would_not_help_is_not_the_step() {
        let settings = |is_from_environment, elsewhere: Option<&str>| Settings {
            folder: None,
            profile: DEFAULT.to_owned(),
            url: Some(Url::parse("https://b.example:8443").unwrap()),
            token: None,
            key: None,
            is_from_environment,
            is_made: false,
            is_saved_too: false,
            elsewhere: elsewhere.map(str::to_owned),
        };
        let fix = |settings: Settings, failure: Failure| settings.explained(failure).fix.clone().unwrap();
        let refused = || Failure::new(Exit::Refused, "No.").fix("Sign in with accredit auth login.");
        assert_eq!(fix(settings(false, None), refused()), "Sign in with accredit auth login.");
        assert_eq!(
            fix(settings(true, None), refused()),
            "Unset ACCREDIT_TOKEN first: it is used in place of a sign-in. Sign in with accredit auth login."
        );
        assert_eq!(fix(settings(true, None), Failure::usage("No.").fix("Wait.")), "Wait.");
        let there = fix(settings(false, Some("https://a.example")), Failure::no_credential("https://b.example:8443"));
        let command = "accredit auth login --url https://b.example:8443 --profile b.example:8443";
        assert!(there.contains(command), "{there}");
    }

    /// R469: what says no is no yes.
    #[test]
    fn a_switch_that_is_off_is_off() {
        for (value, expected) in
            [("1", true), ("true", true), ("yes", true), ("", false), ("0", false), ("False", false), ("off", false)]
        {
            assert_eq!(is_insecure(|_| Some(value.into())), expected, "{value}");
        }
        assert!(!is_insecure(|_| None));
    }

    /// R107: a file that cannot be read is told with its place and a step.
    #[test]
    fn a_broken_file_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(CONFIG);
        let read = |text: &str, profile: &str| {
            fs::write(&file, text).unwrap();
            url_of(&file, profile)
        };
        let config = "url = 'https://a'\n[profiles.b]\nurl = 'https://b'\n";
        for (profile, url) in [(DEFAULT, Some("https://a")), ("b", Some("https://b")), ("c", None)] {
            assert_eq!(read(config, profile).unwrap().as_deref(), url);
        }
        for (text, profile, says, fix) in [
            ("url = ", DEFAULT, "config.toml, line 1, column 7: ", "Mend line 1, "),
            ("# ä\nurl = 'https://a'\nä\n", DEFAULT, "config.toml, line 3, column 2: ", "Mend line 3, "),
            ("url = 5", DEFAULT, "config.toml: the url is no text.", "in quotes"),
            ("[profiles.b]\nurl = []", "b", "config.toml: the url of the profile b is no text.", "in quotes"),
        ] {
            let failure = read(text, profile).unwrap_err();
            assert!(failure.sentence.contains(says), "{failure:?}");
            assert!(failure.fix.as_deref().unwrap().contains(fix) && failure.exit == Exit::Usage, "{failure:?}");
        }
        let file = folder.path().join(CREDENTIALS);
        assert!(read_saved(&file).unwrap().is_empty());
        for (text, says) in [
            ("{\n  \"profiles\": {,\n", " is damaged at line 2, column 16, so"),
            ("[]", " is damaged: it has no profiles, so"),
            ("{\"profiles\": 1}", " is damaged: it has no profiles, so"),
        ] {
            fs::write(&file, text).unwrap();
            let failure = read_saved(&file).unwrap_err();
            assert!(failure.sentence.contains(says), "{failure:?}");
            assert!(failure.fix.as_deref().unwrap().contains("accredit auth login"), "{failure:?}");
        }
    }

    #[test]
    fn a_file_is_replaced_in_one_move_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials.json");
        for text in ["one", "two"] {
            replace(&file, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt as _;
                assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
            }
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        // R369: a link leads to the new one, also to one that was not there.
        #[cfg(unix)]
        {
            let (elsewhere, link) = (folder.path().join("elsewhere"), folder.path().join("link"));
            fs::create_dir(&elsewhere).unwrap();
            std::os::unix::fs::symlink("first", &link).unwrap();
            std::os::unix::fs::symlink("elsewhere/saved.json", folder.path().join("first")).unwrap();
            for text in ["one", "two"] {
                replace(&link, text.as_bytes()).unwrap();
                assert_eq!(fs::read_to_string(elsewhere.join("saved.json")).unwrap(), text);
                assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
            }
            let circle = folder.path().join("circle");
            std::os::unix::fs::symlink("circle", &circle).unwrap();
            replace(&circle, b"three").unwrap();
            assert_eq!(fs::read_to_string(&circle).unwrap(), "three");
        }
    }
}
