//! The folder `dist/`: `manifest.json` lists the files in it, and only these are sent. `dist/README.md` describes the manifest.
//!
//! All of the manifest is checked before any of it is used: names and versions go into headers and into a script.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use common::{
    error::{ApiError, Code},
    time::Timestamp,
};
use serde::{Deserialize, Deserializer, de::Error as _};
use service::call::{Call, FromCall};

/// Where the component sees the folder.
const GRANTED: &str = "/dist";
/// The list of what is in it.
const MANIFEST: &str = "manifest.json";
/// The largest manifest that is read, bytes: some hundred times what one needs.
const MAX_MANIFEST: u64 = 256 * 1024;
/// The longest name, characters.
const MAX_NAME: usize = 200;

/// The folder.
#[derive(Clone)]
pub(crate) struct Dist(Arc<Path>);

/// The content of `manifest.json`: one release.
#[derive(Debug, Deserialize)]
pub(crate) struct Manifest {
    /// The CLI's version.
    pub(crate) version: String,
    /// When it was made.
    #[serde(default, deserialize_with = "moment")]
    pub(crate) built_at: Option<Timestamp>,
    /// The files.
    pub(crate) files: Vec<Artifact>,
}

/// One file.
#[derive(Debug, Deserialize)]
pub(crate) struct Artifact {
    pub(crate) kind: Kind,
    pub(crate) platform: Platform,
    /// Its name in the folder, and in the caller's.
    pub(crate) file: String,
    /// Bytes.
    pub(crate) size: u64,
    /// Of its bytes, as 64 lower-case hexadecimal digits.
    pub(crate) sha256: String,
}

/// The kind of a file.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// The program itself.
    Binary,
    /// The program as a Python wheel.
    Wheel,
}

/// The platform that it runs on.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Platform {
    /// `linux`, `macos`, `windows` …
    pub(crate) os: String,
    /// `x86_64`, `aarch64` …
    pub(crate) arch: String,
}

impl FromCall for Dist {
    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        call.held()
    }
}

impl Dist {
    /// The folder that `spin.toml` grants.
    pub(crate) fn granted() -> Self {
        Self::at(PathBuf::from(GRANTED))
    }

    /// A folder.
    pub(crate) fn at(folder: PathBuf) -> Self {
        Self(folder.into())
    }

    /// Reads the manifest and checks all of it. 404: there is none, since nothing was built.
    pub(crate) fn manifest(&self) -> Result<Manifest, ApiError> {
        let mut text = Vec::new();
        match File::open(self.0.join(MANIFEST)) {
            Ok(file) => {
                file.take(MAX_MANIFEST + 1).read_to_end(&mut text).map_err(|error| damaged(MANIFEST, error))?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Code::CliNotBuilt.into()),
            Err(error) => return Err(damaged(MANIFEST, error)),
        }
        Manifest::read(&text).map_err(|why| damaged(MANIFEST, why))
    }

    /// Opens a file that the manifest names, if it is as the manifest says.
    pub(crate) fn open(&self, artifact: &Artifact) -> Result<File, ApiError> {
        let opened = File::open(self.0.join(&artifact.file)).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (size, file) = opened.map_err(|error| damaged(&artifact.file, error))?;
        if size != artifact.size {
            return Err(damaged(
                &artifact.file,
                format!("the file has {size} bytes, but {MANIFEST} says {}", artifact.size),
            ));
        }
        Ok(file)
    }
}

/// An error of the server: the folder was filled wrongly. The caller learns no more than that.
fn damaged(file: &str, why: impl std::fmt::Display) -> ApiError {
    Code::Internal
        .detail("The files of the CLI on this server are damaged. The error was logged with this request_id.")
        .cause(format!("dist/{file}: {why}"))
}

impl Manifest {
    fn read(text: &[u8]) -> Result<Self, String> {
        if text.len() as u64 > MAX_MANIFEST {
            return Err(format!("the file is larger than {MAX_MANIFEST} bytes"));
        }
        let manifest: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if !is_version(&manifest.version) {
            return Err(format!("not a valid version: {:?}", manifest.version));
        }
        for (place, artifact) in manifest.files.iter().enumerate() {
            artifact.check()?;
            let is_twin = |other: &Artifact| {
                let same_platform = other.kind == Kind::Binary && other.platform == artifact.platform;
                other.file == artifact.file || (artifact.kind == Kind::Binary && same_platform)
            };
            if manifest.files.iter().take(place).any(is_twin) {
                return Err(format!("two files have the same name or the same platform: {:?}", artifact.file));
            }
        }
        Ok(manifest)
    }

    /// The program for a platform.
    pub(crate) fn program(&self, os: &str, arch: &str) -> Option<&Artifact> {
        self.of(Kind::Binary).find(|artifact| artifact.platform.os == os && artifact.platform.arch == arch)
    }

    /// The wheel of this name.
    pub(crate) fn wheel(&self, name: &str) -> Option<&Artifact> {
        self.of(Kind::Wheel).find(|artifact| artifact.file == name)
    }

    /// The files of a kind.
    pub(crate) fn of(&self, kind: Kind) -> impl Iterator<Item = &Artifact> {
        self.files.iter().filter(move |artifact| artifact.kind == kind)
    }
}

impl Artifact {
    fn check(&self) -> Result<(), String> {
        let Platform { os, arch } = &self.platform;
        if !is_word(os) || !is_word(arch) {
            return Err(format!("not a valid platform: {os:?}, {arch:?}"));
        }
        let is_named = match self.kind {
            Kind::Binary => is_file_name(&self.file) && self.file != MANIFEST,
            Kind::Wheel => is_wheel_name(&self.file),
        };
        if !is_named {
            return Err(format!("not a valid file name for this kind: {:?}", self.file));
        }
        if self.sha256.len() != 64 || !self.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(format!("not a SHA-256 in lower-case hexadecimal: {:?}", self.sha256));
        }
        Ok(())
    }

    /// The path that hands it out.
    pub(crate) fn path(&self) -> String {
        match self.kind {
            Kind::Binary => format!("/cli/download?os={}&arch={}", self.platform.os, self.platform.arch),
            Kind::Wheel => format!("/cli/wheel/{}", self.file),
        }
    }
}

/// A time of RFC 3339.
fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Timestamp::parse(&text).map(Some).ok_or_else(|| D::Error::custom(format!("not a valid time: {text:?}")))
}

/// Digits first, then what Semantic Versioning allows.
fn is_version(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+'))
}

fn is_word(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// One name in one folder: no separator, no hidden file, nothing that a header or a shell could misread.
fn is_file_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.len() <= MAX_NAME
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+'))
}

/// `distribution-version(-build)?-python-abi-platform.whl` (PEP 427, "File name convention").
fn is_wheel_name(text: &str) -> bool {
    let Some(stem) = text.strip_suffix(".whl").filter(|_| is_file_name(text)) else { return false };
    let parts: Vec<&str> = stem.split('-').collect();
    let is_numbered = |part: &&str| part.starts_with(|c: char| c.is_ascii_digit());
    let has_shape = match parts.len() {
        5 => true,
        6 => parts.get(2).is_some_and(is_numbered),
        _ => false,
    };
    has_shape && parts.get(1).is_some_and(is_numbered) && parts.iter().all(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHEEL: &str = "accredit-1.2.3-py3-none-manylinux_2_17_x86_64.whl";

    fn read(file: &str, kind: &str, version: &str) -> Result<Manifest, String> {
        let text = serde_json::json!({ "version": version, "files": [{
            "kind": kind, "file": file, "size": 3, "sha256": "0".repeat(64),
            "platform": { "os": "linux", "arch": "x86_64" },
        }] });
        Manifest::read(text.to_string().as_bytes())
    }

    #[test]
    fn a_manifest_is_read() {
        let manifest = read("accredit-1.2.3-linux-x86_64", "binary", "1.2.3-rc.1+b").unwrap();
        assert_eq!(manifest.program("linux", "x86_64").unwrap().path(), "/cli/download?os=linux&arch=x86_64");
        assert!(manifest.program("linux", "aarch64").is_none() && manifest.wheel(WHEEL).is_none());
        assert_eq!(read(WHEEL, "wheel", "1.2.3").unwrap().wheel(WHEEL).unwrap().path(), format!("/cli/wheel/{WHEEL}"));
    }

    /// R63: a value that goes into a script has no characters that mean something to a shell.
    #[test]
    fn a_version_is_a_version() {
        for bad in ["", "v1", "1 2", "1\"", "1'", "1$(id)", "1`id`", "1;id", "1\n", "1.2.3\n", "1/2", &"1".repeat(65)] {
            assert!(read("a", "binary", bad).unwrap_err().contains("version"), "{bad:?}");
        }
    }

    #[test]
    fn a_name_stays_in_its_folder() {
        for bad in
            ["", ".", "..", "../a", "a/b", "/a", ".a", "-a", "a b", "a\"", "a\\b", "a\n", "a%2f", "manifest.json"]
        {
            assert!(read(bad, "binary", "1").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_wheel_has_the_name_of_a_wheel() {
        for good in [WHEEL, "accredit-1.2.3-1-py3-none-win_amd64.whl", "a_b-1-py2.py3-none-any.whl"] {
            assert!(is_wheel_name(good), "{good}");
        }
        for bad in [
            "accredit.whl",
            "accredit-1.2.3.whl",
            "accredit-1.2.3-py3-none.whl",
            "accredit-1.2.3-x-py3-none-any.whl",
            "accredit-1.2.3-1-2-py3-none-any.whl",
            "accredit-v1-py3-none-any.whl",
            "accredit-1.2.3-py3--any.whl",
            "accredit-1.2.3-py3-none-any.zip",
            "accredit-1.2.3-py3-none-any.whl.exe",
            "../accredit-1.2.3-py3-none-any.whl",
            "accredit-1.2.3-py3-none-any.whl\n",
        ] {
            assert!(!is_wheel_name(bad) && read(bad, "wheel", "1").is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_damaged_is_told_with_its_reason() {
        for (text, why) in [
            ("{", "EOF"),
            ("[]", "invalid"),
            (r#"{"version": "1"}"#, "files"),
            (r#"{"version": 1, "files": []}"#, "invalid type"),
            (r#"{"version": "1", "files": [], "built_at": "today"}"#, "not a valid time"),
            (r#"{"version": "1", "files": [{"kind": "tar"}]}"#, "tar"),
        ] {
            let said = Manifest::read(text.as_bytes()).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        let one = |file: &str, sha256: &str, os: &str| serde_json::json!({ "kind": "binary", "file": file, "size": 1, "sha256": sha256, "platform": { "os": os, "arch": "x" } });
        let digest = "a".repeat(64);
        for (files, why) in [
            (vec![one("a", &digest, "linux"), one("b", &digest, "linux")], "same"),
            (vec![one("a", &digest, "linux"), one("a", &digest, "macos")], "same"),
            (vec![one("a", &"A".repeat(64), "linux")], "SHA-256"),
            (vec![one("a", "", "linux")], "SHA-256"),
            (vec![one("a", &digest, "Linux;")], "platform"),
        ] {
            let text = serde_json::json!({ "version": "1", "files": files }).to_string();
            assert!(Manifest::read(text.as_bytes()).unwrap_err().contains(why), "{text}");
        }
        assert!(Manifest::read(&vec![b' '; 300 * 1024]).unwrap_err().contains("larger"));
    }
}
