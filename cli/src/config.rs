//! The files of a user: which server, and the credential for it.
//!
//! - `config.toml` is the user's own: `url`, and `url` below `[profiles.<name>]`. The installer writes the first; this command never does.
//! - `credentials.json` is ours: for each profile an address, a token, and the key that it is bound to, if it is. Directory 0700, file 0600, made so and replaced in one move. A
//!   token is sent to the address that it was saved with, and to no other.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
};

use common::secret::Secret;
use serde_json::{Map, Value as Json, json};

use crate::{
    fail::{Exit, Failure, of_file},
    key::Key,
    show,
};

const FOLDER: &str = "accredit";
const CONFIG: &str = "config.toml";
const CREDENTIALS: &str = "credentials.json";
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
    folder: PathBuf,
    pub(crate) profile: String,
    /// The server; `None`: nobody said.
    pub(crate) url: Option<Url>,
    /// The credential, if there is one for this server.
    pub(crate) token: Option<Secret>,
    /// The key that the profile's token is bound to, if it is.
    pub(crate) key: Option<Key>,
    /// Whether the token comes from the environment.
    pub(crate) is_from_environment: bool,
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
        let wrong = |why: &str| Failure::usage(format!("{} is no address of a server: {why}", show::line(text)));
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| wrong("it begins with https://, such as https://accredit.example"))?;
        let authority = rest.split('/').next().unwrap_or_default();
        if rest.contains(['?', '#', '@', '\\', ' ', '"']) || rest.chars().any(char::is_control) {
            return Err(wrong("it has no user name, query or fragment"));
        }
        let host = match authority.strip_prefix('[') {
            Some(literal) => literal.split(']').next().unwrap_or_default(),
            None => authority.split(':').next().unwrap_or_default(),
        };
        let is_loopback = host.eq_ignore_ascii_case("localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
        let url = Self { text: text.to_owned(), is_loopback };
        match scheme {
            _ if host.is_empty() => Err(wrong("it names no host")),
            "https" => Ok(url),
            "http" if is_loopback || std::env::var_os("ACCREDIT_INSECURE").is_some() => Ok(url),
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

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

fn folder() -> Result<PathBuf, Failure> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("ACCREDIT_CONFIG_DIR")
        .or_else(|| absolute("XDG_CONFIG_HOME").map(|folder| folder.join(FOLDER)))
        .or_else(|| absolute("HOME").map(|home| home.join(".config").join(FOLDER)))
        .ok_or_else(|| {
            Failure::usage("There is no place for the configuration.")
                .fix("Set HOME or ACCREDIT_CONFIG_DIR to an absolute path.")
        })
}

impl Settings {
    /// Reads files and environment. What is asked for beats the environment, which beats the files.
    pub(crate) fn load(asked: &Asked) -> Result<Self, Failure> {
        let folder = folder()?;
        let config = read_config(&folder.join(CONFIG))?;
        let named = asked.profile.clone().or_else(|| variable("ACCREDIT_PROFILE"));
        let profile = named.unwrap_or_else(|| DEFAULT.to_owned());
        let saved = read_saved(&folder.join(CREDENTIALS));
        let of_profile = saved.get(&profile).cloned().unwrap_or_default();
        let text = |json: &Json, name: &str| json.get(name).and_then(Json::as_str).map(str::to_owned);
        let saved_url = text(&of_profile, "url");
        let in_config = match profile.as_str() {
            DEFAULT => config.get("url"),
            name => config.get("profiles").and_then(|profiles| profiles.get(name)).and_then(|one| one.get("url")),
        };
        let url = asked
            .url
            .clone()
            .or_else(|| variable("ACCREDIT_URL"))
            .or_else(|| saved_url.clone())
            .or_else(|| in_config.and_then(toml::Value::as_str).map(str::to_owned));
        let url = url.map(|url| Url::parse(&url)).transpose()?;
        let key = text(&of_profile, "key").and_then(|key| Key::parse(&key));
        let (token, is_from_environment) = match variable("ACCREDIT_TOKEN") {
            Some(token) => (Some(read_token(&token, "ACCREDIT_TOKEN")?), true),
            None => {
                let is_its_server = url.as_ref().map(Url::as_str) == saved_url.as_deref();
                let token = text(&of_profile, "token").filter(|_| is_its_server);
                (token.and_then(|token| Secret::parse(&token)), false)
            }
        };
        Ok(Self { folder, profile, url, token, key, is_from_environment })
    }

    /// The server.
    pub(crate) fn server(&self) -> Result<&Url, Failure> {
        self.url.as_ref().ok_or_else(|| {
            Failure::usage("No server is named.").fix("Add --url https://…, or set the variable ACCREDIT_URL.")
        })
    }

    /// The file of credentials.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join(CREDENTIALS)
    }

    /// Saves a credential with its server and the key that it is bound to, in place of the profile's former one.
    pub(crate) fn save(&self, url: &Url, token: &Secret, key: Option<&Key>) -> Result<(), Failure> {
        let mut saved = json!({ "url": url.as_str(), "token": token.reveal() });
        if let (Some(key), Some(members)) = (key, saved.as_object_mut()) {
            members.insert("key".to_owned(), key.text().into());
        }
        self.change(|profiles| drop(profiles.insert(self.profile.clone(), saved)))
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
        self.change(|profiles| {
            let saved = profiles.get_mut(&self.profile).and_then(Json::as_object_mut);
            was_there = saved.is_some_and(|profile| {
                profile.remove("key");
                profile.remove("token").is_some()
            });
        })?;
        Ok(was_there)
    }

    fn change(&self, change: impl FnOnce(&mut Map<String, Json>)) -> Result<(), Failure> {
        let file = self.file();
        let mut profiles = read_saved(&file);
        change(&mut profiles);
        let text = format!("{:#}\n", json!({ "profiles": profiles }));
        make_folder(&self.folder).and_then(|()| replace(&file, text.as_bytes())).map_err(of_file(file.display()))
    }
}

/// Reads a credential that somebody gave; what is none of ours is told apart offline.
pub(crate) fn read_token(text: &str, from: &str) -> Result<Secret, Failure> {
    Secret::parse(text.trim()).ok_or_else(|| {
        Failure::new(Exit::Credential, format!("{from} holds no credential of an Accredit server: its form is wrong."))
            .fix("Copy the whole token, as it was issued: 57 characters that begin with acr_.")
    })
}

fn read_config(file: &Path) -> Result<toml::Table, Failure> {
    match fs::read_to_string(file) {
        Ok(text) => text
            .parse()
            .map_err(|error: toml::de::Error| Failure::usage(format!("{}: {}", file.display(), error.message()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(toml::Table::new()),
        Err(error) => Err(of_file(file.display())(error)),
    }
}

/// The saved profiles. A file that is damaged holds no token.
fn read_saved(file: &Path) -> Map<String, Json> {
    let Ok(text) = fs::read_to_string(file) else { return Map::new() };
    narrow(file);
    let json = serde_json::from_str::<Json>(&text).ok();
    match json.as_ref().and_then(|json| json.get("profiles")).and_then(Json::as_object) {
        Some(profiles) => profiles.clone(),
        None => {
            show::warn(&format!("{} is damaged, so it holds no token.", file.display()));
            Map::new()
        }
    }
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

/// Nobody else reads it, whoever made it. A file that cannot be narrowed is used all the same: the user was able to read it.
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

/// Writes a file that only its owner can read, beside the old one, and puts it in its place.
fn replace(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let part = file.with_extension(format!("part-{}", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&part).and_then(|mut new| {
        new.write_all(bytes)?;
        new.sync_all()
    });
    let moved = written.and_then(|()| fs::rename(&part, file));
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
        ] {
            assert_eq!(Url::parse(text).unwrap_err().exit, Exit::Usage, "{text}");
        }
        for text in ["", " ", "/"] {
            let failure = Url::parse(text).unwrap_err();
            assert_eq!(failure.sentence, "The address of the server is empty.");
            assert!(failure.fix.as_deref().unwrap().contains("--url https://"), "{failure:?}");
        }
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
    }
}
