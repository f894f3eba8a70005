//! `GET /cli/simple/` and below: the wheels as an index of the Python world (PEP 503), so that pip and uv install and upgrade by name.

use common::error::ApiError;
use http::{HeaderValue, StatusCode, header};
use service::response::{Response, bytes, see_other};

use crate::dist::{Dist, Kind};

/// `GET /cli/simple/accredit/`: each wheel as a link, relative to this page, with its digest. Names of wheels have no character that means
/// something in HTML: the manifest was checked.
pub(crate) async fn wheels(dist: Dist) -> Result<Response, ApiError> {
    let manifest = dist.manifest()?;
    let links = manifest.of(Kind::Wheel).map(|wheel| {
        let (file, in_url) = (&wheel.file, wheel.file.replace('+', "%2B"));
        format!("<a href=\"../../wheel/{in_url}#sha256={}\">{file}</a><br>\n", wheel.sha256)
    });
    Ok(page("Links for accredit", &links.collect::<String>()))
}

/// `GET /cli/simple/`: the projects, of which there is one.
pub(crate) async fn root(dist: Dist) -> Result<Response, ApiError> {
    dist.manifest()?;
    Ok(page("Projects", "<a href=\"accredit/\">accredit</a><br>\n"))
}

/// `GET /cli/simple`: what is meant ends with a slash. It leads there relatively, since the server may stand below a path.
pub(crate) async fn to_root(dist: Dist) -> Result<Response, ApiError> {
    dist.manifest().map(|_| see_other("simple/"))
}

/// `GET /cli/simple/accredit`: the same.
pub(crate) async fn to_wheels(dist: Dist) -> Result<Response, ApiError> {
    dist.manifest().map(|_| see_other("accredit/"))
}

fn page(title: &str, links: &str) -> Response {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"pypi:repository-version\" content=\"1.0\">\n\
         <title>{title}</title>\n</head>\n<body>\n<h1>{title}</h1>\n{links}</body>\n</html>\n"
    );
    let mut response = bytes(StatusCode::OK, "text/html; charset=utf-8", html);
    for (name, value) in [
        // The next release has the same path.
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
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

    /// R372: the index has a root, and what lacks the slash leads to it (PEP 503).
    #[tokio::test]
    async fn the_index_has_a_root() {
        let folder = testing::folder(b"program", b"wheel");
        let t = TestApp::new(over(Dist::at(folder.path().into())));
        let answer = t.nobody("GET", "/cli/simple/", Null).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "text/html; charset=utf-8"));
        assert!(answer.text.contains("<a href=\"accredit/\">accredit</a>"), "{}", answer.text);
        for (path, leads_to) in [("/cli/simple", "simple/"), ("/cli/simple/accredit", "accredit/")] {
            let answer = t.nobody("GET", path, Null).await;
            assert_eq!((answer.status.as_u16(), answer.header("location")), (303, leads_to), "{path}");
        }
    }

    #[tokio::test]
    async fn without_a_release_there_is_no_index() {
        let folder = tempfile::tempdir().unwrap();
        let t = TestApp::new(over(Dist::at(folder.path().into())));
        for path in [PATH, "/cli/simple/", "/cli/simple", "/cli/simple/accredit"] {
            t.nobody("GET", path, Null).await.refused(404, "cli_not_built");
        }
    }
}
