//! The style sheet and the script. Their path holds a digest of both, so that browsers may keep them.

use common::error::{ApiError, Code};
use http::{HeaderValue, StatusCode, header};
use service::{
    extract::Path,
    headers::Headers,
    response::{Response, bytes, empty},
};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// What both files have together.
#[cfg(test)]
pub(crate) const BYTES: usize = STYLE.len() + SCRIPT.len();

/// FNV-1a over both files: it tells two versions apart, and protects nothing.
const DIGEST: u64 = digest(SCRIPT.as_bytes(), digest(STYLE.as_bytes(), 0xcbf2_9ce4_8422_2325));

const fn digest(bytes: &[u8], before: u64) -> u64 {
    let (mut hash, mut rest) = (before, bytes);
    while let Some((first, others)) = rest.split_first() {
        hash = (hash ^ *first as u64).wrapping_mul(0x0100_0000_01b3);
        rest = others;
    }
    hash
}

/// The version in the path of both.
pub(crate) fn version() -> String {
    format!("{DIGEST:016x}")
}

/// `GET /assets/{version}/{file}`. A page of another version gets the newest file, which it may not keep.
pub(crate) async fn asset(headers: Headers, Path(asked): Path, Path(file): Path) -> Result<Response, ApiError> {
    let (media_type, text) = match file.as_str() {
        "style.css" => ("text/css; charset=utf-8", STYLE),
        "script.js" => ("text/javascript; charset=utf-8", SCRIPT),
        _ => return Err(Code::NotFound.into()),
    };
    let (version, tag) = (version(), format!("\"{DIGEST:016x}\""));
    let is_known = headers.texts("if-none-match").iter().any(|sent| sent.contains(&tag));
    let mut response = if is_known { empty(StatusCode::NOT_MODIFIED) } else { bytes(StatusCode::OK, media_type, text) };
    let lasting = if asked == version { "public, max-age=31536000, immutable" } else { "no-cache" };
    let values =
        [(header::CACHE_CONTROL, lasting), (header::X_CONTENT_TYPE_OPTIONS, "nosniff"), (header::ETAG, tag.as_str())];
    for (name, value) in values {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}
