//! A folder as `cargo xtask dist` leaves one.

use std::path::Path;

use serde_json::{Value as Json, json};
use sha2::Digest as _;
use tempfile::TempDir;

pub(crate) const PROGRAM: &str = "accredit-1.2.3-linux-x86_64";
pub(crate) const WHEEL: &str = "accredit-1.2.3-py3-none-manylinux_2_17_x86_64.whl";

/// In lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn put(folder: &Path, kind: &str, file: &str, bytes: &[u8]) -> Json {
    std::fs::write(folder.join(file), bytes).unwrap();
    let platform = json!({ "os": "linux", "arch": "x86_64" });
    json!({ "kind": kind, "platform": platform, "file": file, "size": bytes.len(), "sha256": sha256(bytes) })
}

/// A program and a wheel for Linux.
pub(crate) fn folder(program: &[u8], wheel: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let files = [put(folder.path(), "binary", PROGRAM, program), put(folder.path(), "wheel", WHEEL, wheel)];
    let manifest = json!({ "version": "1.2.3", "built_at": "2026-11-01T10:00:00Z", "files": files });
    std::fs::write(folder.path().join("manifest.json"), manifest.to_string()).unwrap();
    folder
}
