//! `GET /api/oauth/documents`: reads the document by which an OAuth client says who it is (draft-ietf-oauth-client-id-metadata-document).
//!
//! Its URL comes from the address of a page, so that only a person who is signed in makes this server fetch it, only a host that the
//! operator allows is asked, and how often is counted for the person and for the host. What a document said is kept for an hour; a failure
//! is not kept.

use common::{
    error::{ApiError, Code},
    oauth::{MOST_URIS, document_url, redirect_uri},
    secret::Secret,
    text::text,
    url::check_outbound,
};
use http::{Request, StatusCode, header};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value as Json};
use service::{
    app::App,
    caller::Caller,
    extract::Query,
    form, outbound,
    response::{Response, json},
    throttle,
};
use store::{
    key_set::{Keys, Source},
    oauth_document::{self, Document, Proof},
};

/// Bytes of a document at most: twice what the draft advises.
const MOST: usize = 10 * 1024;
/// Documents that one person may have fetched in a window, and that are fetched from one host.
const OF_A_PERSON: i64 = 20;
const OF_A_HOST: i64 = 60;
/// The window, seconds.
const WINDOW: i64 = 600;
/// How a client proves itself by a key.
const BY_KEY: &str = "private_key_jwt";

form! {
    pub(crate) struct Asked {
        client_id: String,
    }
}

/// What a document says.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "OauthClientDocument")]
pub(crate) struct Shown {
    client_id: String,
    name: String,
    redirect_uris: Vec<String>,
}

/// The handler.
pub(crate) async fn get(app: App, caller: Caller, Query(asked): Query<Asked>) -> Result<Response, ApiError> {
    let id = asked.client_id;
    let found = match oauth_document::find(app.db(), &id, app.now()).await? {
        Some(known) => known,
        None => fetch(&app, &caller, &id).await?,
    };
    json(StatusCode::OK, &Shown { client_id: id, name: found.name, redirect_uris: found.redirect_uris })
}

/// Fetches a document and keeps what it says.
async fn fetch(app: &App, caller: &Caller, id: &str) -> Result<Document, ApiError> {
    document_url(id).ok_or(Code::UnknownClient)?;
    let url = check_outbound("client_id", id, &app.settings().outbound_hosts)?;
    let too_many = |whose: &str| {
        Code::TooManyAttempts.detail(format!("Too many documents of OAuth clients were asked for {whose}."))
    };
    let person = ["client-document", caller.user_id().as_str()];
    throttle::count(app, &person, (OF_A_PERSON, WINDOW), too_many("in your name")).await?;
    throttle::count(app, &["client-document-of", url.host], (OF_A_HOST, WINDOW), too_many("of this host")).await?;

    let request = Request::get(id).header(header::ACCEPT, "application/json").body(String::new());
    let request = request.map_err(|_| Code::UnknownClient)?;
    let answer = outbound::send(request, MOST).await.map_err(|cause| {
        // In few words: what is behind the name is for the operator's log.
        wrong("its host does not answer, or not in time").cause(cause)
    })?;
    let body = answer.found("it is longer than 10 KiB, or ended too late").map_err(|why| wrong(&why))?;
    let document = read(app, id, body)?;
    oauth_document::put(app.db(), id, &document, app.now()).await?;
    Ok(document)
}

fn wrong(why: &str) -> ApiError {
    Code::InvalidClientDocument.detail(format!("The document of this client cannot be used: {why}."))
}

/// Reads how a client proves itself: by nothing, by a key, or in either way, which some say in a list beside.
fn proof(app: &App, members: &Map<String, Json>) -> Result<Proof, ApiError> {
    let methods = members.get("token_endpoint_auth_methods_supported").and_then(Json::as_array);
    let has = |name: &str| methods.is_some_and(|methods| methods.iter().any(|method| method == name));
    let (is_public, has_key) = match members.get("token_endpoint_auth_method") {
        None | Some(Json::Null) => (true, has(BY_KEY)),
        Some(Json::String(method)) if method == "none" => (true, has(BY_KEY)),
        Some(Json::String(method)) if method == BY_KEY => (has("none"), true),
        Some(_) => return Err(wrong("only the token_endpoint_auth_method none and private_key_jwt are supported")),
    };
    match keys(app, members) {
        _ if !has_key => Ok(Proof { keys: None, is_public }),
        Ok(keys) => Ok(Proof { keys: Some(keys), is_public }),
        // It need not prove itself.
        Err(_) if is_public => Ok(Proof { keys: None, is_public }),
        Err(refusal) => Err(refusal),
    }
}

/// Reads where the keys of a client are, or which they are. They are looked at when they are used.
fn keys(app: &App, members: &Map<String, Json>) -> Result<Keys, ApiError> {
    let has_private = |keys: &[Json]| keys.iter().any(|key| key.get("d").is_some() || key.get("k").is_some());
    let set = members.get("jwks").and_then(|set| set.get("keys"));
    match (members.get("jwks_uri").filter(|uri| !uri.is_null()), set) {
        (Some(Json::String(uri)), None) => {
            check_outbound("jwks_uri", uri, &app.settings().outbound_hosts).map_err(|refusal| {
                match refusal.code() {
                    Code::HostNotAllowed => refusal,
                    _ => wrong("its jwks_uri is no https address"),
                }
            })?;
            Ok(Keys::From(Source::Jwks(uri.clone())))
        }
        (None, Some(Json::Array(keys))) if has_private(keys) => Err(wrong("it holds a secret")),
        (None, Some(Json::Array(keys))) if !keys.is_empty() => Ok(Keys::Pasted(keys.clone())),
        _ => Err(wrong("private_key_jwt needs either jwks_uri or jwks")),
    }
}

/// Reads a document.
fn read(app: &App, id: &str, body: &[u8]) -> Result<Document, ApiError> {
    let Ok(Json::Object(members)) = serde_json::from_slice(body) else { return Err(wrong("it is no JSON object")) };
    // Section 4.1: compared as text, so that no document speaks for another URL.
    if members.get("client_id").and_then(Json::as_str) != Some(id) {
        return Err(wrong("its client_id is not its URL"));
    }
    if members.keys().any(|name| name.starts_with("client_secret")) || Secret::is_in(body) {
        return Err(wrong("it holds a secret"));
    }
    let name = members.get("client_name").and_then(Json::as_str).and_then(|name| text("client_name", name, 64).ok());
    let name = name.ok_or_else(|| wrong("it has no client_name of 1 to 64 visible characters"))?;
    let sent = members.get("redirect_uris").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    // Others are left out: a client may name ways back that this server does not go.
    let usable = sent.iter().filter_map(Json::as_str).filter(|uri| redirect_uri(uri).is_some());
    let redirect_uris: Vec<String> = usable.take(MOST_URIS).map(str::to_owned).collect();
    if redirect_uris.is_empty() {
        return Err(wrong("it has no redirect URI that is allowed here"));
    }
    Ok(Document { name, redirect_uris, proof: proof(app, &members)? })
}

#[cfg(test)]
mod tests {
    use common::{role::Role, url::OutboundHosts};
    use serde_json::{Value::Null, json};
    use service::{settings::Settings, testing::TestApp};

    use super::*;
    use crate::with_neighbours;

    const ID: &str = "https://app.example.com/client.json";

    fn app() -> TestApp {
        let outbound_hosts = OutboundHosts::parse("app.example.com").unwrap();
        TestApp::with(with_neighbours(), Settings { outbound_hosts, ..Settings::default() })
    }

    fn decide(document: &Json) -> Result<Document, String> {
        read(&app().app(), ID, document.to_string().as_bytes()).map_err(|refusal| refusal.sentence().to_owned())
    }

    /// R132: a document speaks for its own URL alone, holds no secret, and is taken as a public client.
    #[test]
    fn a_document_is_held_against_its_url() {
        let good = json!({
            "client_id": ID, "client_name": "Example", "redirect_uris": ["https://app.example.com/cb", "app:/cb", "http://evil.example/"],
            "token_endpoint_auth_method": "none", "logo_uri": "https://app.example.com/logo.png", "grant_types": ["authorization_code"],
        });
        let expected = Document {
            name: "Example".to_owned(),
            redirect_uris: vec!["https://app.example.com/cb".to_owned()],
            proof: Proof { keys: None, is_public: true },
        };
        assert_eq!(decide(&good), Ok(expected));
        for (member, value, why) in [
            ("client_id", json!("https://app.example.com/client.json/"), "its client_id is not its URL"),
            ("client_id", Null, "its client_id is not its URL"),
            ("client_secret", json!("s"), "it holds a secret"),
            ("client_secret_expires_at", json!(0), "it holds a secret"),
            ("token_endpoint_auth_method", json!("client_secret_basic"), "only the token_endpoint_auth_method none"),
            ("token_endpoint_auth_method", json!(["none"]), "only the token_endpoint_auth_method none"),
            ("token_endpoint_auth_method", json!("private_key_jwt"), "private_key_jwt needs either jwks_uri or jwks"),
            ("client_name", Null, "no client_name"),
            ("client_name", json!("a\u{202e}b"), "no client_name"),
            ("client_name", json!("a".repeat(65)), "no client_name"),
            ("redirect_uris", json!([]), "no redirect URI"),
            ("redirect_uris", json!("https://app.example.com/cb"), "no redirect URI"),
            ("redirect_uris", json!(["http://evil.example/", 7]), "no redirect URI"),
        ] {
            let mut bad = good.clone();
            bad[member] = value;
            let sentence = decide(&bad).unwrap_err();
            assert!(sentence.contains(why), "{sentence}");
        }
        for bad in ["", "[]", "{", "\"x\"", "\u{1}"] {
            assert!(read(&app().app(), ID, bad.as_bytes()).is_err(), "{bad}");
        }
    }

    /// R566: a client says that it proves itself by a key, as assistants of large providers do, or that it can do so and need not.
    #[test]
    fn a_document_may_name_keys() {
        let from = || Some(Keys::From(Source::Jwks("https://app.example.com/jwks.json".to_owned())));
        let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
        let uri = ("jwks_uri", json!("https://app.example.com/jwks.json"));
        let by_key = ("token_endpoint_auth_method", json!("private_key_jwt"));
        let list = |methods: Json| ("token_endpoint_auth_methods_supported", methods);
        let both = || list(json!(["none", "private_key_jwt"]));
        let set = ("jwks", json!({ "keys": [key] }));
        let with = |members: &[(&str, Json)]| {
            let mut document =
                json!({ "client_id": ID, "client_name": "Example", "redirect_uris": ["https://app.example.com/cb"] });
            for (name, value) in members {
                document[*name] = value.clone();
            }
            decide(&document).map(|document| document.proof)
        };
        for (members, keys, is_public) in [
            (vec![by_key.clone(), uri.clone()], from(), false),
            (vec![by_key.clone(), set.clone()], Some(Keys::Pasted(vec![key.clone()])), false),
            (vec![by_key.clone(), uri.clone(), list(json!(["private_key_jwt"]))], from(), false),
            (vec![by_key.clone(), uri.clone(), both()], from(), true),
            (vec![("token_endpoint_auth_method", json!("none")), uri.clone(), both()], from(), true),
            (vec![uri.clone()], None, true),
            (vec![("jwks_uri", Null), by_key.clone(), set.clone()], Some(Keys::Pasted(vec![key.clone()])), false),
            // Keys that cannot be used are none of a client that need not prove itself.
            (vec![("token_endpoint_auth_method", json!("none")), both()], None, true),
            (vec![("jwks_uri", json!("https://elsewhere.example.com/jwks.json")), both()], None, true),
        ] {
            assert_eq!(with(&members), Ok(Proof { keys, is_public }), "{members:?}");
        }
        let neither = "private_key_jwt needs either jwks_uri or jwks";
        let mut private = key.clone();
        private["d"] = json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A");
        for (members, why) in [
            (vec![by_key.clone()], neither),
            (vec![by_key.clone(), uri.clone(), set], neither),
            (vec![by_key.clone(), ("jwks_uri", json!(7))], neither),
            (vec![by_key.clone(), ("jwks", json!([key]))], neither),
            (vec![by_key.clone(), ("jwks", json!({ "keys": [] }))], neither),
            (vec![by_key.clone(), ("jwks", json!({ "keys": [key, private] }))], "it holds a secret"),
            (
                vec![by_key.clone(), ("jwks_uri", json!("https://elsewhere.example.com/jwks.json"))],
                "has not allowed requests to this host",
            ),
            (vec![by_key, ("jwks_uri", json!("http://app.example.com/jwks.json"))], "no https address"),
        ] {
            let sentence = with(&members).unwrap_err();
            assert!(sentence.contains(why), "{members:?}: {sentence}");
        }
    }

    /// R132: no stranger makes this server fetch, and only hosts on the operator's list are asked.
    #[tokio::test]
    async fn only_a_person_has_a_document_fetched_and_only_of_an_allowed_host() {
        let t = app();
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Viewer).await;
        let path = |id: &str| format!("/api/oauth/documents?client_id={id}");
        t.nobody("GET", &path(ID), Null).await.refused(401, "missing_credential");
        t.as_(&ada, "GET", &path("https://other.example.com/c"), Null).await.refused(403, "host_not_allowed");
        for bad in
            ["cli_1", "http://app.example.com/c", "https://app.example.com/../c", "https://app.example.com/c%23x"]
        {
            t.as_(&ada, "GET", &path(bad), Null).await.refused(400, "unknown_client");
        }
        // Natively nothing answers.
        for _ in 0..OF_A_PERSON {
            t.as_(&ada, "GET", &path(ID), Null).await.refused(400, "invalid_client_document");
        }
        t.as_(&ada, "GET", &path(ID), Null).await.refused(429, "too_many_attempts");
        let document = Document {
            name: "Example".to_owned(),
            redirect_uris: vec!["https://a.example/".to_owned()],
            proof: Proof { keys: None, is_public: true },
        };
        oauth_document::put(t.db(), ID, &document, t.now()).await.unwrap();
        let known = t.as_(&ada, "GET", &path(ID), Null).await.is(200);
        assert_eq!(known, json!({ "client_id": ID, "name": "Example", "redirect_uris": ["https://a.example/"] }));
        t.wait(oauth_document::LIFE);
        t.as_(&ada, "GET", &path(ID), Null).await.refused(400, "invalid_client_document");
    }
}
