//! Files, sent piece by piece: whatever their size, a request holds one piece of them in memory.
//!
//! RFC 9110 in this order (section 13.2.2): `If-None-Match` (304), then `Range` if `If-Range` allows it (206, 416). A single range of
//! bytes is answered with that part, a list of ranges with the whole file, which a server may do (section 14.2). The entity tag is the
//! file's SHA-256.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
};

use bytes::Bytes;
use common::error::{ApiError, Code, RefusalHeader};
use futures_util::stream;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use service::{
    body::Body,
    extract::{Path, Query},
    form,
    headers::Headers,
    response::{Response, bytes, empty},
};

use crate::dist::{Artifact, Dist, Kind};

/// The size of a piece that is read and sent at once, bytes.
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
    Query(which): Query<Which>,
) -> Result<Response, ApiError> {
    let manifest = dist.manifest()?;
    let Some(artifact) = manifest.program(&which.os, &which.arch) else {
        let platforms = manifest
            .of(Kind::Binary)
            .map(|known| serde_json::json!({ "os": known.platform.os, "arch": known.platform.arch }));
        let platforms: Vec<serde_json::Value> = platforms.collect();
        return Err(Code::ArtifactNotFound
            .detail("This server has no program for this platform.")
            .extra("platforms", platforms));
    };
    send(&dist, artifact, &method, &headers)
}

/// `GET /cli/wheel/{file}`: the wheel of this name.
pub(crate) async fn wheel(
    dist: Dist,
    method: Method,
    headers: Headers,
    Path(name): Path,
) -> Result<Response, ApiError> {
    let manifest = dist.manifest()?;
    let artifact = manifest.wheel(&name).ok_or(Code::ArtifactNotFound)?;
    send(&dist, artifact, &method, &headers)
}

fn send(dist: &Dist, artifact: &Artifact, method: &Method, request: &Headers) -> Result<Response, ApiError> {
    let mut file = dist.open(artifact)?;
    let tag = format!("\"{}\"", artifact.sha256);
    if is_known(request, &tag) {
        let mut response = empty(StatusCode::NOT_MODIFIED);
        set_validators(&mut response, &tag)?;
        return Ok(response);
    }
    let (status, part) = match range(method, request, &tag, artifact.size) {
        Requested::Whole => (StatusCode::OK, 0..artifact.size),
        Requested::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Requested::Beyond => {
            return Err(Code::RangeNotSatisfiable
                .header(RefusalHeader::AcceptRanges, "bytes")
                .header(RefusalHeader::ContentRange, format!("bytes */{}", artifact.size)));
        }
    };
    if part.start > 0 {
        file.seek(SeekFrom::Start(part.start)).map_err(|error| ApiError::from(Code::Internal).cause(error))?;
    }
    let left = part.end.saturating_sub(part.start);
    // The router keeps the headers of a HEAD, and drops the body before a byte of it is read.
    let pieces = stream::iter(Pieces { file, left });
    let media_type = match artifact.kind {
        Kind::Binary => "application/octet-stream",
        Kind::Wheel => "application/zip",
    };
    let mut response = bytes(status, media_type, Body::pieces(pieces));
    set_validators(&mut response, &tag)?;
    set(&mut response, header::ACCEPT_RANGES, "bytes")?;
    set(&mut response, header::CONTENT_DISPOSITION, &format!("attachment; filename=\"{}\"", artifact.file))?;
    set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff")?;
    set(&mut response, header::CONTENT_LENGTH, &left.to_string())?;
    if status == StatusCode::PARTIAL_CONTENT {
        let place = format!("bytes {}-{}/{}", part.start, part.end.saturating_sub(1), artifact.size);
        set(&mut response, header::CONTENT_RANGE, &place)?;
    }
    Ok(response)
}

/// The headers that a cache needs. It must revalidate each time: the next release has the same path.
fn set_validators(response: &mut Response, tag: &str) -> Result<(), ApiError> {
    set(response, header::CACHE_CONTROL, "no-cache")?;
    set(response, header::ETAG, tag)
}

fn set(response: &mut Response, name: HeaderName, value: &str) -> Result<(), ApiError> {
    let value = HeaderValue::from_str(value).map_err(|error| ApiError::from(Code::Internal).cause(error))?;
    response.headers_mut().insert(name, value);
    Ok(())
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
            // The length was promised: a file that became shorter breaks the response off instead of ending it.
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
fn is_known(request: &Headers, tag: &str) -> bool {
    let lists = request.texts("if-none-match");
    lists.iter().flat_map(|list| list.split(',')).any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    })
}

/// The part of a file that a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum Requested {
    Whole,
    Part(Range<u64>),
    /// None of it is there: 416.
    Beyond,
}

/// Reads `Range` (RFC 9110, section 14.2). A value that is not a single range of bytes is ignored.
fn range(method: &Method, request: &Headers, tag: &str, size: u64) -> Requested {
    let Some(range) = request.single("range").filter(|_| method == Method::GET) else { return Requested::Whole };
    // A part of another release than the caller's would make a file of two releases. A date never matches: we send none.
    if !request.all("if-range").is_empty() && request.single("if-range").as_deref().map(str::trim) != Some(tag) {
        return Requested::Whole;
    }
    let Some((unit, range)) = range.trim().split_once('=') else { return Requested::Whole };
    let Some((first, last)) = range.trim().split_once('-') else { return Requested::Whole };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Requested::Whole;
    }
    match (number(first), number(last)) {
        (Some(first), _) if first >= size && (last.is_empty() || number(last).is_some_and(|last| last >= first)) => {
            Requested::Beyond
        }
        (Some(first), None) if last.is_empty() => Requested::Part(first..size),
        (Some(first), Some(last)) if first <= last => Requested::Part(first..last.saturating_add(1).min(size)),
        (None, Some(length)) if first.is_empty() => match length.min(size) {
            0 => Requested::Beyond,
            length => Requested::Part(size.saturating_sub(length)..size),
        },
        _ => Requested::Whole,
    }
}

/// Reads digits; a number that is too large for the type is the largest one.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::Value::Null;
    use service::testing::{Answer, TestApp};

    use super::*;
    use crate::{dist::Dist, routes::over, testing};

    const PATH: &str = "/cli/download?os=linux&arch=x86_64";

    fn ranged(text: &str, size: u64) -> Requested {
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
            assert_eq!(ranged(text, 10), Requested::Part(part), "{text}");
        }
        for text in ["bytes=10-", "bytes=10-12", "bytes=99999999999999999999-", "bytes=-0"] {
            assert_eq!(ranged(text, 10), Requested::Beyond, "{text}");
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
            assert_eq!(ranged(text, 10), Requested::Whole, "{text}");
        }
        assert_eq!(ranged("bytes=0-", 0), Requested::Beyond);
        assert_eq!(ranged("bytes=-1", 0), Requested::Beyond);
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
        // For another release, for a date, or with a method that has no ranges: the whole file.
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
    async fn a_file_that_the_caller_has_is_not_sent_again() {
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

    /// Only files that the manifest names are sent, and each only as its own kind.
    #[tokio::test]
    async fn no_other_file_is_sent() {
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
    async fn a_file_that_differs_from_the_manifest_is_an_error() {
        let folder = testing::folder(b"program", b"wheel");
        let t = TestApp::new(over(Dist::at(folder.path().into())));
        std::fs::write(folder.path().join(testing::PROGRAM), "short").unwrap();
        ask(&t, "GET", &[]).await.refused(500, "internal");
        std::fs::remove_file(folder.path().join(testing::PROGRAM)).unwrap();
        ask(&t, "GET", &[]).await.refused(500, "internal");
        ask(&t, "HEAD", &[]).await.is(500);
    }

    /// A response whose length was promised does not end early as if it were complete.
    #[test]
    fn a_file_that_became_shorter_breaks_the_response_off() {
        let folder = testing::folder(b"program", b"wheel");
        let file = File::open(folder.path().join(testing::PROGRAM)).unwrap();
        let pieces: Vec<Option<Bytes>> = Pieces { file, left: 10 }.map(Result::ok).collect();
        assert_eq!(pieces, [Some(Bytes::from_static(b"program")), None]);
    }
}
