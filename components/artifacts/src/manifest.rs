use common::error::ApiError;
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;
use service::{
    app::App,
    response::{Response, json},
};

use crate::dist::{Artifact, Dist, Kind};

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CliManifest")]
pub(crate) struct Listing<'a> {
    version: &'a str,
    files: Vec<Listed<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CliFile")]
struct Listed<'a> {
    kind: &'static str,
    platform: ListedPlatform<'a>,
    file: &'a str,
    size: u64,
    sha256: &'a str,
    /// The path on this server.
    url: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CliPlatform")]
struct ListedPlatform<'a> {
    os: &'a str,
    arch: &'a str,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CliVersion")]
pub(crate) struct Latest<'a> {
    version: &'a str,
}

impl<'a> Listed<'a> {
    fn new(artifact: &'a Artifact, link: &str) -> Self {
        Self {
            kind: match artifact.kind {
                Kind::Binary => "binary",
                Kind::Wheel => "wheel",
            },
            platform: ListedPlatform { os: &artifact.platform.os, arch: &artifact.platform.arch },
            file: &artifact.file,
            size: artifact.size,
            sha256: &artifact.sha256,
            url: format!("{link}{}", artifact.path()),
        }
    }
}

/// `GET /cli/manifest.json`: the version, and each file with its size, its SHA-256 and its URL.
pub(crate) async fn manifest(app: App, dist: Dist) -> Result<Response, ApiError> {
    let manifest = dist.manifest()?;
    let link = app.settings().link();
    let files = manifest.files.iter().map(|artifact| Listed::new(artifact, link)).collect();
    fresh(&Listing { version: &manifest.version, files })
}

/// `GET /cli/latest`: the version of the CLI that this server has.
pub(crate) async fn latest(dist: Dist) -> Result<Response, ApiError> {
    let manifest = dist.manifest()?;
    fresh(&Latest { version: &manifest.version })
}

/// JSON that a cache must revalidate: the next release has the same path.
fn fresh(form: &impl Serialize) -> Result<Response, ApiError> {
    let mut response = json(StatusCode::OK, form)?;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value::Null, json};
    use service::{
        settings::{PublicUrl, Settings},
        testing::TestApp,
    };

    use crate::{dist::Dist, routes::over, testing};

    #[tokio::test]
    async fn the_listing_says_where_each_file_is() {
        let folder = testing::folder(b"program", b"wheel");
        let settings = Settings { public_url: PublicUrl::parse("https://example.com/acc"), ..Default::default() };
        let t = TestApp::with(over(Dist::at(folder.path().into())), settings);
        let listing = t.nobody("GET", "/cli/manifest.json", Null).await.is(200);
        let platform = json!({ "os": "linux", "arch": "x86_64" });
        assert_eq!(
            listing,
            json!({ "version": "1.2.3", "files": [
                { "kind": "binary", "platform": platform, "file": testing::PROGRAM, "size": 7,
                  "sha256": testing::sha256(b"program"), "url": "/acc/cli/download?os=linux&arch=x86_64" },
                { "kind": "wheel", "platform": platform, "file": testing::WHEEL, "size": 5,
                  "sha256": testing::sha256(b"wheel"), "url": format!("/acc/cli/wheel/{}", testing::WHEEL) },
            ] })
        );
        assert_eq!(t.nobody("GET", "/cli/latest", Null).await.is(200), json!({ "version": "1.2.3" }));
    }

    /// Nothing was built: a 404 on every route, the script's too, with a page that says what to do.
    #[tokio::test]
    async fn without_a_manifest_there_is_no_cli() {
        let folder = tempfile::tempdir().unwrap();
        for folder in [folder.path().to_owned(), folder.path().join("missing")] {
            let t = TestApp::new(over(Dist::at(folder)));
            for path in [
                "/cli/install.sh",
                "/cli/manifest.json",
                "/cli/latest",
                "/cli/download?os=linux&arch=x86_64",
                "/cli/wheel/manifest.json",
            ] {
                let refused = t.nobody("GET", path, Null).await.refused(404, "cli_not_built");
                assert_eq!(refused["doc_url"], "/docs/agents/cli#when-none-was-built");
                // Piped into a shell all the same, it runs nothing.
                assert!(!refused.to_string().contains(['`', '$']), "{refused}");
            }
        }
    }

    #[tokio::test]
    async fn a_damaged_manifest_is_an_error_and_gives_no_script() {
        let folder = tempfile::tempdir().unwrap();
        let t = TestApp::new(over(Dist::at(folder.path().into())));
        for text in ["", "{", "null", "{\"version\": \"1;id\", \"files\": []}", "{\"version\": \"1\", \"files\": 1}"] {
            std::fs::write(folder.path().join("manifest.json"), text).unwrap();
            for path in ["/cli/manifest.json", "/cli/latest", "/cli/install.sh"] {
                let refused = t.nobody("GET", path, Null).await.refused(500, "internal");
                assert!(!refused.to_string().contains(";id"), "the cause is for the log: {refused}");
            }
        }
    }
}
