//! `GET /cli/simple/accredit/`: the wheels as an index of the Python world (PEP 503), so that pip and uv install and upgrade by name.

use common::error::ApiError;
use http::{HeaderValue, StatusCode, header};
use service::response::{Response, bytes};

use crate::dist::{Dist, Kind, Manifest};

/// `GET /cli/simple/accredit/`.
pub(crate) async fn wheels(dist: Dist) -> Result<Response, ApiError> {
    let mut response = bytes(StatusCode::OK, "text/html; charset=utf-8", write(&dist.manifest()?));
    for (name, value) in [
        // The next release has the same path.
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

/// Each wheel as a link, relative to this page, with its digest. Names of wheels have no character that means something in HTML: the
/// manifest was checked.
fn write(manifest: &Manifest) -> String {
    let links = manifest.of(Kind::Wheel).map(|wheel| {
        let (file, in_url) = (&wheel.file, wheel.file.replace('+', "%2B"));
        format!("<a href=\"../../wheel/{in_url}#sha256={}\">{file}</a><br>\n", wheel.sha256)
    });
    let links: String = links.collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"pypi:repository-version\" content=\"1.0\">\n\
         <title>Links for accredit</title>\n</head>\n<body>\n<h1>Links for accredit</h1>\n{links}</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::Value::Null;
    use service::testing::TestApp;

    use crate::{dist::Dist, routes::over, testing};

    const PATH: &str = "/cli/simple/accredit/";

    /// PEP 503: an anchor for each file, with its digest; and no file that is no wheel.
    #[tokio::test]
    async fn the_index_links_each_wheel_with_its_digest() {
        let folder = testing::folder(b"program", b"wheel");
        let t = TestApp::new(over(Dist::at(folder.path().into())));
        let answer = t.nobody("GET", PATH, Null).await;
        assert_eq!(answer.status, 200);
        let wheel = testing::WHEEL;
        let link = format!("<a href=\"../../wheel/{wheel}#sha256={}\">{wheel}</a>", testing::sha256(b"wheel"));
        assert!(answer.text.contains(&link) && !answer.text.contains(testing::PROGRAM), "{}", answer.text);
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        // What the link names is there.
        t.nobody("GET", &format!("/cli/wheel/{wheel}"), Null).await.is(200);
    }

    #[tokio::test]
    async fn without_a_release_there_is_no_index() {
        let folder = tempfile::tempdir().unwrap();
        let t = TestApp::new(over(Dist::at(folder.path().into())));
        t.nobody("GET", PATH, Null).await.refused(404, "cli_not_built");
    }
}
