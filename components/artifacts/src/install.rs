//! `GET /cli/install.sh`: the script that installs the CLI from this server.
//!
//! R63: of what a caller sends, only a `Host` of a strict form gets into it, and that only while `public_url` is unset. All values
//! in it are quoted for the shell all the same.

use common::error::{ApiError, Code};
use http::{HeaderValue, StatusCode, header};
use service::{
    app::App,
    response::{Response, bytes},
    site,
};

use crate::dist::{Dist, Kind, Manifest};

/// The script, with a mark for each value.
const TEMPLATE: &str = include_str!("install.sh");

/// `GET /cli/install.sh`.
pub(crate) async fn script(app: App, dist: Dist) -> Result<Response, ApiError> {
    let server = site::address(&app).ok_or(Code::InvalidHost)?;
    let manifest = dist.manifest()?;
    let mut response = bytes(StatusCode::OK, "text/x-shellscript; charset=utf-8", write(&server, &manifest));
    for (name, value) in [
        (header::CONTENT_DISPOSITION, "inline; filename=\"install.sh\""),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // It depends on the `Host` of the request, and on the release.
        (header::CACHE_CONTROL, "no-store"),
        (header::VARY, "host"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

fn write(server: &str, manifest: &Manifest) -> String {
    let mut choices = String::new();
    for artifact in manifest.of(Kind::Binary) {
        let platform = format!("{}-{}", artifact.platform.os, artifact.platform.arch);
        choices.push_str(&format!(
            "    {}) path={} size={} sha256={} ;;\n",
            quoted(&platform),
            quoted(&artifact.path()),
            artifact.size,
            quoted(&artifact.sha256)
        ));
    }
    TEMPLATE
        .replace("@SERVER@", &quoted(server))
        .replace("@VERSION@", &quoted(&manifest.version))
        .replace("    # @CHOICES@\n", &choices)
}

/// One word of the shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests;
