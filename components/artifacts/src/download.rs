//! Files, handed out piece by piece: whatever their size, a request holds one piece of them.
//!
//! RFC 9110 in this order (section 13.2.2): `If-None-Match` (304), then `Range` if `If-Range` lets it (206, 416). One range
//! of bytes is answered; a list of ranges is answered with the whole file, which a server may do (section 14.2). The entity
//! tag is the file's SHA-256.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use common::{
    error::{ApiError, Code},
    form,
    form::Params,
    http::{Headers, Segment},
};

use crate::dist::{Artifact, Dist, Kind};

/// What is read and sent at once, bytes.
const PIECE: usize = 64 * 1024;

form! {
    /// A platform, in the words of the manifest.
    pub(crate) struct Which {
        os: String,
        arch: String,
    }
}

/// `GET /cli/download?os=&arch=`: the program for a platform.
pub(crate) async fn program(
    dist: Dist,
    method: Method,
    headers: Headers,
    Params(which): Params<Which>,
) -> Result<Response, ApiError> {
    let manifest = dist.manifest()?;
    let Some(artifact) = manifest.program(&which.os, &which.arch) else {
        let platforms = manifest
            .of(Kind::Binary)
            .map(|known| serde_json::json!({ "os": known.platform.os, "arch": known.platform.arch }));
        let platforms: Vec<serde_json::Value> = platforms.collect();
        return Err(Code::ArtifactNotFound
            .detail("There is no program for this platform.")
            .extra("platforms", platforms));
    };
    hand_out(&dist, artifact, &method, &headers)
}

/// `GET /cli/wheel/{file}`: the wheel of this very name.
pub(crate) async fn wheel(
    dist: Dist,
    method: Method,
    headers: Headers,
    Segment(name): Segment,
) -> Result<Response, ApiError> {
    let manifest = dist.manifest()?;
    let artifact = manifest.wheel(&name).ok_or(Code::ArtifactNotFound)?;
    hand_out(&dist, artifact, &method, &headers)
}

fn hand_out(dist: &Dist, artifact: &Artifact, method: &Method, asked: &Headers) -> Result<Response, ApiError> {
    let mut file = dist.open(artifact)?;
    let tag = format!("\"{}\"", artifact.sha256);
    let mut headers = HeaderMap::new();
    // Revalidated each time: the next release has the same path.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::ETAG, value(&tag)?);
    if is_known(asked, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, headers).into_response());
    }
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let (status, part) = match range(method, asked, &tag, artifact.size) {
        Asked::Whole => (StatusCode::OK, 0..artifact.size),
        Asked::Part(part) => {
            let text = format!("bytes {}-{}/{}", part.start, part.end.saturating_sub(1), artifact.size);
            headers.insert(header::CONTENT_RANGE, value(&text)?);
            (StatusCode::PARTIAL_CONTENT, part)
        }
        Asked::Beyond => {
            let mut refusal = ApiError::from(Code::RangeNotSatisfiable).into_response();
            refusal.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
            refusal.headers_mut().insert(header::CONTENT_RANGE, value(&format!("bytes */{}", artifact.size))?);
            return Ok(refusal);
        }
    };
    let form = match artifact.kind {
        Kind::Binary => "application/octet-stream",
        Kind::Wheel => "application/zip",
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form));
    headers.insert(header::CONTENT_DISPOSITION, value(&format!("attachment; filename=\"{}\"", artifact.file))?);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let left = part.end.saturating_sub(part.start);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(left));
    if part.start > 0 {
        file.seek(SeekFrom::Start(part.start)).map_err(|error| ApiError::from(Code::Internal).cause(error))?;
    }
    // Of a HEAD the router keeps the headers, and drops the body before a byte of it is read.
    let body = Body::from_stream(futures_util::stream::iter(Pieces { file, left }));
    Ok((status, headers, body).into_response())
}

fn value(text: &str) -> Result<HeaderValue, ApiError> {
    HeaderValue::from_str(text).map_err(|error| ApiError::from(Code::Internal).cause(error))
}

/// The rest of a part of a file. It is read as fast as it is taken.
struct Pieces {
    file: File,
    left: u64,
}

impl Iterator for Pieces {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<io::Result<Bytes>> {
        if self.left == 0 {
            return None;
        }
        let mut piece = vec![0; PIECE.min(usize::try_from(self.left).unwrap_or(PIECE))];
        match self.file.read(&mut piece) {
            // The length was promised: a file that has become shorter breaks the answer off instead of ending it.
            Ok(0) => {
                self.left = 0;
                Some(Err(io::ErrorKind::UnexpectedEof.into()))
            }
            Ok(read) => {
                piece.truncate(read);
                self.left = self.left.saturating_sub(read as u64);
                Some(Ok(piece.into()))
            }
            Err(error) => {
                self.left = 0;
                Some(Err(error))
            }
        }
    }
}

/// Whether the caller has the file already (`If-None-Match`, compared weakly: RFC 9110, section 13.1.2).
fn is_known(asked: &Headers, tag: &str) -> bool {
    let lists = asked.texts("if-none-match");
    lists.iter().flat_map(|list| list.split(',')).any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    })
}

/// Which part of a file is asked for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Part(Range<u64>),
    /// None of it is there: 416.
    Beyond,
}

/// Reads `Range` (RFC 9110, section 14.2). What is not a single range of bytes is as if it were not there.
fn range(method: &Method, asked: &Headers, tag: &str, size: u64) -> Asked {
    let Some(range) = asked.single("range").filter(|_| method == Method::GET) else { return Asked::Whole };
    // Part of another release than the caller's would make a file that nobody built. Dates are of no use: we send none.
    if !asked.all("if-range").is_empty() && asked.single("if-range").as_deref().map(str::trim) != Some(tag) {
        return Asked::Whole;
    }
    let Some((unit, range)) = range.trim().split_once('=') else { return Asked::Whole };
    let Some((first, last)) = range.trim().split_once('-') else { return Asked::Whole };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Asked::Whole;
    }
    match (number(first), number(last)) {
        (Some(first), _) if first >= size && (last.is_empty() || number(last).is_some_and(|last| last >= first)) => {
            Asked::Beyond
        }
        (Some(first), None) if last.is_empty() => Asked::Part(first..size),
        (Some(first), Some(last)) if first <= last => Asked::Part(first..last.saturating_add(1).min(size)),
        (None, Some(length)) if first.is_empty() => match length.min(size) {
            0 => Asked::Beyond,
            length => Asked::Part(size.saturating_sub(length)..size),
        },
        _ => Asked::Whole,
    }
}

/// Digits only; a number that is too large is as large as any.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use common::testing::{Answer, TestApp};
    use serde_json::Value::Null;

    use super::*;
    use crate::{dist::Dist, routes::over, testing};

    const PATH: &str = "/cli/download?os=linux&arch=x86_64";

    fn ranged(text: &str, size: u64) -> Asked {
        range(&Method::GET, &Headers::from([("range", text)]), "\"t\"", size)
    }

    #[test]
    fn a_range_is_read_as_the_rfc_says() {
        for (text, part) in [
            ("bytes=0-0", 0..1),
            ("bytes=2-5", 2..6),
            ("bytes=2-", 2..10),
            ("bytes=9-9", 9..10),
            ("bytes=5-99", 5..10),
            ("bytes=5-99999999999999999999999999", 5..10),
            ("bytes=5-18446744073709551615", 5..10),
            ("bytes=-3", 7..10),
            ("bytes=-99", 0..10),
            ("Bytes= 2-5", 2..6),
        ] {
            assert_eq!(ranged(text, 10), Asked::Part(part), "{text}");
        }
        for text in ["bytes=10-", "bytes=10-12", "bytes=99999999999999999999-", "bytes=-0"] {
            assert_eq!(ranged(text, 10), Asked::Beyond, "{text}");
        }
        for text in [
            "bytes=5-2",
            "bytes=12-11",
            "bytes=-",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=1-2,4-5",
            "lines=1-2",
            "1-2",
            "bytes=1",
            "bytes=--1",
            "bytes=10-x",
        ] {
            assert_eq!(ranged(text, 10), Asked::Whole, "{text}");
        }
        assert_eq!(ranged("bytes=0-", 0), Asked::Beyond);
        assert_eq!(ranged("bytes=-1", 0), Asked::Beyond);
    }

    async fn ask(t: &TestApp, method: &str, headers: &[(&str, &str)]) -> Answer {
        t.call(method, PATH, headers, Null).await
    }

    #[tokio::test]
    async fn a_file_comes_whole_with_its_name_and_its_tag() {
        let program = "p".repeat(3 * PIECE + 17);
        let folder = testing::folder(program.as_bytes(), b"wheel");
        let t = TestApp::new(over(Dist::at(folder.path().into())));
        let whole = ask(&t, "GET", &[]).await;
        assert_eq!((whole.status.as_u16(), whole.text.as_str()), (200, program.as_str()));
        let tag = format!("\"{}\"", testing::sha256(program.as_bytes()));
        let length = program.len().to_string();
        let disposition = format!("attachment; filename=\"{}\"", testing::PROGRAM);
        let expected = [
            ("etag", tag.as_str()),
            ("content-length", &length),
            ("content-type", "application/octet-stream"),
            ("content-disposition", &disposition),
            ("accept-ranges", "bytes"),
            ("x-content-type-options", "nosniff"),
        ];
        let head = ask(&t, "HEAD", &[]).await;
        assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
        for (name, value) in expected {
            assert_eq!((whole.header(name), head.header(name)), (value, value), "{name}");
        }
        let wheel = t.nobody("GET", &format!("/cli/wheel/{}", testing::WHEEL), Null).await;
        assert_eq!((wheel.text.as_str(), wheel.header("content-type")), ("wheel", "application/zip"));
    }

    #[tokio::test]
    async fn a_part_comes_with_its_place() {
        let folder = testing::folder(b"0123456789", b"wheel");
        let t = TestApp::new(over(Dist::at(folder.path().into())));
        let tag = format!("\"{}\"", testing::sha256(b"0123456789"));
        for headers in [vec![("range", "bytes=3-5")], vec![("range", "bytes=3-5"), ("if-range", tag.as_str())]] {
            let part = ask(&t, "GET", &headers).await;
            assert_eq!((part.status.as_u16(), part.text.as_str()), (206, "345"));
            assert_eq!((part.header("content-range"), part.header("content-length")), ("bytes 3-5/10", "3"));
            assert_eq!(part.header("etag"), tag);
        }
        // Of another release, of a date, or of a method that has no ranges: the whole.
        for (method, condition) in
            [("GET", "\"other\""), ("GET", "Sun, 06 Nov 1994 08:49:37 GMT"), ("HEAD", tag.as_str())]
        {
            let whole = ask(&t, method, &[("range", "bytes=3-5"), ("if-range", condition)]).await;
            assert_eq!((whole.status.as_u16(), whole.header("content-length")), (200, "10"), "{method} {condition}");
        }
        let weak = format!("W/{tag}");
        assert_eq!(ask(&t, "GET", &[("range", "bytes=3-5"), ("if-range", &weak)]).await.status.as_u16(), 200);
        let beyond = ask(&t, "GET", &[("range", "bytes=10-")]).await;
        beyond.refused(416, "range_not_satisfiable");
        assert_eq!((beyond.header("content-range"), beyond.header("accept-ranges")), ("bytes */10", "bytes"));
    }

    #[tokio::test]
    async fn what_the_caller_has_is_not_sent_again() {
        let folder = testing::folder(b"0123456789", b"wheel");
        let t = TestApp::new(over(Dist::at(folder.path().into())));
        let tag = format!("\"{}\"", testing::sha256(b"0123456789"));
        for known in [tag.clone(), format!("W/{tag}"), "*".to_owned(), format!("\"other\", {tag}")] {
            for method in ["GET", "HEAD"] {
                let same = ask(&t, method, &[("if-none-match", &known), ("range", "bytes=3-5")]).await;
                assert_eq!((same.status.as_u16(), same.text.as_str(), same.header("etag")), (304, "", tag.as_str()));
                assert_eq!(same.header("content-disposition"), "", "nothing about a body that does not come");
            }
        }
        assert_eq!(ask(&t, "GET", &[("if-none-match", "\"other\"")]).await.status.as_u16(), 200);
    }

    /// Only what the manifest names is handed out, and only as what it is.
    #[tokio::test]
    async fn nothing_else_is_handed_out() {
        let folder = testing::folder(b"program", b"wheel");
        std::fs::write(folder.path().join("secret-1-py3-none-any.whl"), "secret").unwrap();
        let t = TestApp::new(over(Dist::at(folder.path().into())));
        for name in [
            "manifest.json",
            testing::PROGRAM,
            "secret-1-py3-none-any.whl",
            "..%2fsecret-1-py3-none-any.whl",
            "%2e%2e",
            "%2fetc%2fpasswd",
            "ACCREDIT-1.2.3-py3-none-manylinux_2_17_x86_64.whl",
            "%00",
            "%ff",
        ] {
            t.nobody("GET", &format!("/cli/wheel/{name}"), Null).await.refused(404, "artifact_not_found");
        }
        t.nobody("GET", &format!("/cli/wheel/../{}", testing::PROGRAM), Null).await.refused(404, "not_found");
        for query in ["os=linux&arch=aarch64", "os=Linux&arch=x86_64", "os=..&arch=x86_64", "os=&arch="] {
            let refused =
                t.nobody("GET", &format!("/cli/download?{query}"), Null).await.refused(404, "artifact_not_found");
            assert_eq!(refused["platforms"], serde_json::json!([{ "os": "linux", "arch": "x86_64" }]));
        }
        let refused = t.nobody("GET", "/cli/download", Null).await.refused(422, "validation_error");
        assert_eq!(refused["fields"].as_array().unwrap().len(), 2);
        t.nobody("GET", &format!("{PATH}&version=1"), Null).await.refused(422, "validation_error");
    }

    #[tokio::test]
    async fn a_file_that_is_not_as_the_manifest_says_is_a_fault() {
        let folder = testing::folder(b"program", b"wheel");
        let t = TestApp::new(over(Dist::at(folder.path().into())));
        std::fs::write(folder.path().join(testing::PROGRAM), "short").unwrap();
        ask(&t, "GET", &[]).await.refused(500, "internal");
        std::fs::remove_file(folder.path().join(testing::PROGRAM)).unwrap();
        ask(&t, "GET", &[]).await.refused(500, "internal");
        ask(&t, "HEAD", &[]).await.is(500);
    }
}
