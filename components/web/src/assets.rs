//! The style sheet and the script. Their path holds a digest of both, so that browsers may keep them.

use common::error::{ApiError, Code};
use http::{HeaderValue, StatusCode, header};
use service::{
    extract::Path,
    headers::Headers,
    response::{Response, bytes, empty},
};

/// The style sheet as it is written, and without what only those read that write it.
const WRITTEN: &[u8] = include_bytes!("style.css");
const SQUEEZED: ([u8; WRITTEN.len()], usize) = squeeze(WRITTEN);
const STYLE: &str = match std::str::from_utf8(SQUEEZED.0.split_at(SQUEEZED.1).0) {
    Ok(style) => style,
    Err(_) => "",
};
const SCRIPT_WRITTEN: &[u8] = include_bytes!("script.js");
const UNINDENTED: ([u8; SCRIPT_WRITTEN.len()], usize) = unindent(SCRIPT_WRITTEN);
const SCRIPT: &str = match std::str::from_utf8(UNINDENTED.0.split_at(UNINDENTED.1).0) {
    Ok(script) => script,
    Err(_) => "",
};

/// What both files have together.
#[cfg(test)]
pub(crate) const BYTES: usize = STYLE.len() + SCRIPT.len();

/// CSS without comments, line ends, blanks and zeros that mean nothing, and how long that is. No text in it may hold one of these.
#[expect(clippy::indexing_slicing, reason = "it runs while this is compiled: outside of the text it does not compile")]
const fn squeeze<const N: usize>(css: &[u8]) -> ([u8; N], usize) {
    let (mut squeezed, mut length, mut at) = ([b' '; N], 0, 0);
    while at < css.len() {
        let byte = css[at];
        if byte == b'/' && at + 1 < css.len() && css[at + 1] == b'*' {
            at += 2;
            while css[at] != b'*' || css[at + 1] != b'/' {
                at += 1;
            }
            at += 2;
            continue;
        }
        at += 1;
        let is_blank = byte == b' ' || byte == b'\n';
        if is_blank && (length == 0 || matches!(squeezed[length - 1], b' ' | b';' | b':' | b',' | b'{' | b'}' | b'>')) {
            continue;
        }
        // 0.5 is .5, but for 10.5.
        let begins = length == 0 || !squeezed[length - 1].is_ascii_alphanumeric() && squeezed[length - 1] != b'.';
        if byte == b'0' && begins && at < css.len() && css[at] == b'.' {
            continue;
        }
        // Nothing has to end before a brace, and no blank stands before a child.
        while matches!(byte, b'{' | b'}') && matches!(squeezed[length - 1], b' ' | b';')
            || byte == b'>' && squeezed[length - 1] == b' '
        {
            length -= 1;
        }
        squeezed[length] = if is_blank { b' ' } else { byte };
        length += 1;
    }
    (squeezed, length)
}

/// A script without the blanks that its lines begin with, empty lines, lines that are comments and line ends that mean nothing, and how long
/// that is. No text in it may go over several lines, and no comment may stand behind code.
#[expect(clippy::indexing_slicing, reason = "it runs while this is compiled: outside of the text it does not compile")]
const fn unindent<const N: usize>(script: &[u8]) -> ([u8; N], usize) {
    let (mut left, mut length, mut at) = ([b' '; N], 0, 0);
    while at < script.len() {
        while at < script.len() && (script[at] == b' ' || script[at] == b'\n') {
            at += 1;
        }
        let is_comment = at + 1 < script.len() && script[at] == b'/' && script[at + 1] == b'/';
        while at < script.len() {
            let byte = script[at];
            at += 1;
            // After these nothing has to end.
            let is_needless = byte == b'\n' && length > 0 && matches!(left[length - 1], b';' | b'{' | b',');
            if !is_comment && !is_needless {
                left[length] = byte;
                length += 1;
            }
            if byte == b'\n' {
                break;
            }
        }
    }
    (left, length)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// R193: what is sent means the same as what is written.
    #[test]
    fn the_style_is_sent_without_what_means_nothing() {
        let written = b"/* a: b */\n.a :is(p, b) > .c {\n  color: light-dark(#fff,\n    #000);  margin: 0 auto 0.5rem 10.5em;\n}\n/* x */\n@media (width: 2rem) { a { b: c } }\n";
        let (squeezed, length) = squeeze::<200>(written);
        let text = std::str::from_utf8(squeezed.get(..length).unwrap()).unwrap();
        let means = ".a :is(p,b)>.c{color:light-dark(#fff,#000);margin:0 auto .5rem 10.5em}@media (width:2rem){a{b:c}}";
        assert_eq!(text, means);
        let braces = |mark: char| STYLE.matches(mark).count();
        assert_eq!((braces('{'), STYLE.contains("/*"), STYLE.contains('\n')), (braces('}'), false, false));
        assert!(STYLE.len() + 2000 < WRITTEN.len(), "{} of {}", STYLE.len(), WRITTEN.len());
    }

    /// R193: the script is sent without what means nothing, and has no comment behind code, which would take in what comes after it.
    #[test]
    fn the_script_is_sent_without_what_means_nothing() {
        let written =
            b"// Says it.\nconst say = (text) => {\n  if (!text) return;\n\n  show(\n    text,\n  );\n  // Once.\n};\n";
        let (left, length) = unindent::<200>(written);
        let text = std::str::from_utf8(left.get(..length).unwrap()).unwrap();
        assert_eq!(text, "const say = (text) => {if (!text) return;show(\ntext,);};");
        let lines = std::str::from_utf8(SCRIPT_WRITTEN).unwrap().lines().map(str::trim);
        for line in lines.filter(|line| !line.starts_with("//")) {
            assert!(!line.contains("// "), "{line}");
        }
    }
}
