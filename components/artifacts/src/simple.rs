//! `GET /cli/simple/` and below: the wheels as an index of the Python world, so that pip and uv install and upgrade by name: as HTML (PEP 503),
//! or as JSON (PEP 691 and PEP 700) for clients that want to know how old a file is.

use common::error::ApiError;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value as Json, json};
use service::{
    accept::weight,
    app::App,
    response::{Response, bytes, see_other},
};

use crate::dist::{Dist, Kind};

const HTML: &str = "text/html; charset=utf-8";
/// The media types of both, as PEP 691 names them.
const JSON: &str = "application/vnd.pypi.simple.v1+json";
const JSONS: [&str; 2] = [JSON, "application/vnd.pypi.simple.latest+json"];
const HTMLS: [&str; 3] =
    ["text/html", "application/vnd.pypi.simple.v1+html", "application/vnd.pypi.simple.latest+html"];

/// `GET /cli/simple/accredit/`: each wheel as a link, relative to this page, with its digest. Names of wheels have no character that means
/// something in HTML: the manifest was checked.
pub(crate) async fn wheels(app: App, dist: Dist) -> Result<Response, ApiError> {
    let manifest = dist.manifest()?;
    if wants_json(&app) {
        let files = manifest.of(Kind::Wheel).map(|wheel| {
            let url = format!("../../wheel/{}", wheel.file.replace('+', "%2B"));
            let mut file =
                json!({ "filename": wheel.file, "url": url, "hashes": { "sha256": wheel.sha256 }, "size": wheel.size });
            if let (Some(file), Some(built_at)) = (file.as_object_mut(), manifest.built_at) {
                file.insert("upload-time".to_owned(), built_at.to_string().into());
            }
            file
        });
        // As the names of the wheels say it.
        let mut versions: Vec<&str> =
            manifest.of(Kind::Wheel).filter_map(|wheel| wheel.file.split('-').nth(1)).collect();
        versions.dedup();
        return Ok(listing(json!({ "name": "accredit", "versions": versions, "files": files.collect::<Vec<_>>() })));
    }
    let links = manifest.of(Kind::Wheel).map(|wheel| {
        let (file, in_url) = (&wheel.file, wheel.file.replace('+', "%2B"));
        format!("<a href=\"../../wheel/{in_url}#sha256={}\">{file}</a><br>\n", wheel.sha256)
    });
    Ok(page("Links for accredit", &links.collect::<String>()))
}

/// `GET /cli/simple/`: the projects, of which there is one.
pub(crate) async fn root(app: App, dist: Dist) -> Result<Response, ApiError> {
    dist.manifest()?;
    if wants_json(&app) {
        return Ok(listing(json!({ "projects": [{ "name": "accredit" }] })));
    }
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

fn wants_json(app: &App) -> bool {
    let accepts = app.headers().texts(header::ACCEPT.as_str()).join(",");
    let most = |names: &[&str]| names.iter().filter_map(|name| weight(&accepts, name)).max().unwrap_or(0);
    let json = most(&JSONS);
    json > 0 && json >= most(&HTMLS)
}

fn listing(mut form: Json) -> Response {
    if let Some(form) = form.as_object_mut() {
        form.insert("meta".to_owned(), json!({ "api-version": "1.1" }));
    }
    sent(JSON, form.to_string())
}

fn page(title: &str, links: &str) -> Response {
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"pypi:repository-version\" content=\"1.0\">\n\
         <title>{title}</title>\n</head>\n<body>\n<h1>{title}</h1>\n{links}</body>\n</html>\n"
    );
    sent(HTML, html)
}

fn sent(media_type: &'static str, text: String) -> Response {
    let mut response = bytes(StatusCode::OK, media_type, text);
    for (name, value) in [
        // The next release has the same path.
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::VARY, "accept"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use serde_json::{Value::Null, json};
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

    /// R435: a client that asks for JSON learns when each wheel was made, and how large it is (PEP 691, PEP 700).
    #[tokio::test]
    async fn the_index_is_there_as_json() {
        let folder = testing::folder(b"program", b"wheel");
        let t = TestApp::new(over(Dist::at(folder.path().into())));
        let ask = async |path: &str, accept: &str| {
            let answer = t.call("GET", path, &[("accept", accept)], Null).await;
            assert_eq!((answer.status.as_u16(), answer.header("vary")), (200, "accept"), "{accept}");
            (answer.header("content-type").to_owned(), answer.text)
        };
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let of_pip =
            "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01";
        let (media, text) = ask(PATH, of_pip).await;
        assert_eq!(media, super::JSON);
        let wheel = testing::WHEEL;
        assert_eq!(
            read(&text),
            json!({ "meta": { "api-version": "1.1" }, "name": "accredit", "versions": ["1.2.3"], "files": [{
                "filename": wheel, "url": format!("../../wheel/{wheel}"), "hashes": { "sha256": testing::sha256(b"wheel") },
                "size": 5, "upload-time": "2026-11-01T10:00:00.000Z",
            }] })
        );
        let (media, text) = ask("/cli/simple/", of_pip).await;
        assert_eq!(media, super::JSON);
        assert_eq!(read(&text), json!({ "meta": { "api-version": "1.1" }, "projects": [{ "name": "accredit" }] }));
        for (accept, is_json) in [
            ("application/vnd.pypi.simple.latest+json", true),
            ("text/html;q=0.5, application/vnd.pypi.simple.v1+json;q=0.4", false),
            ("application/vnd.pypi.simple.v1+json;q=0", false),
            ("application/json", false),
            ("*/*", false),
            ("text/html", false),
        ] {
            assert_eq!(ask(PATH, accept).await.0 == super::JSON, is_json, "{accept}");
        }
        // A release that does not say when it was made has no time here.
        let manifest = folder.path().join("manifest.json");
        let old = std::fs::read_to_string(&manifest).unwrap().replace("built_at", "other");
        std::fs::write(&manifest, old).unwrap();
        assert_eq!(read(&ask(PATH, of_pip).await.1)["files"][0].get("upload-time"), None);
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
