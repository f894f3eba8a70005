//! `POST /internal/key-sets`: fetches the public keys of others that somebody waits for: of issuers whose workloads are trusted, and of
//! OAuth clients that prove themselves by a key. Public, without a body, always 204: it fetches what a row of the database asks for, which only a
//! request can have made that named a URL which an admin, or the document of a client, has given, and at most once a minute for each.

use common::{
    error::{ApiError, Code},
    json,
    url::{Url, check_outbound},
};
use futures_util::future::join_all;
use http::{Request, header};
use serde_json::Value as Json;
use service::{
    app::{App, log},
    outbound,
    response::{Response, no_content},
};
use store::{
    db::DbError,
    key_set::{self, Source},
};

/// Bytes of an answer that are read at most: key sets of large providers have some 10 KB.
const MOST: usize = 64 * 1024;
/// Sets that one request fetches at most.
const AT_ONCE: i64 = 8;

/// The handler. A failure of the database is logged; the one that waits finds out that nothing came.
pub(crate) async fn fetch(app: App) -> Result<Response, ApiError> {
    if let Err(error) = run(&app).await {
        log(app.request_id(), "key sets", &error.to_string());
    }
    Ok(no_content())
}

async fn run(app: &App) -> Result<(), DbError> {
    let taken = key_set::take(app.db(), AT_ONCE).await?;
    join_all(taken.iter().map(|source| fetch_one(app, source))).await.into_iter().collect()
}

async fn fetch_one(app: &App, source: &Source) -> Result<(), DbError> {
    let outcome = read(app, source).await;
    if let Err(failure) = &outcome {
        log(app.request_id(), "key set", &format!("{}: {failure}", source.to_column()));
    }
    key_set::put(app.db(), source, outcome.as_ref().map_err(String::as_str), app.clock().now()).await
}

/// The keys of a source, as they are served.
async fn read(app: &App, source: &Source) -> Result<Json, String> {
    let said;
    let uri = match source {
        Source::Jwks(uri) => uri,
        Source::Issuer(issuer) => {
            // OpenID Connect Discovery 1.0, section 4: a slash at the end of the issuer is removed first.
            let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
            said = get(app, &url).await?;
            let text = |name: &str| said.get(name).and_then(Json::as_str);
            // Section 4.3: it must be the issuer that was asked.
            if text("issuer") != Some(issuer) {
                return Err("its discovery document names another issuer".to_owned());
            }
            text("jwks_uri").ok_or("its discovery document has no jwks_uri")?
        }
    };
    let set = get(app, uri).await?;
    let keys = set.get("keys").filter(|keys| keys.is_array());
    keys.cloned().ok_or_else(|| "it serves no key set".to_owned())
}

/// Reads what everybody may read, in JSON. `Err` says in few words why it cannot be: what is behind a name is not for those that sent it.
async fn get(app: &App, url: &str) -> Result<Json, String> {
    check_outbound("url", url, &app.settings().outbound_hosts).map_err(|refusal| match refusal.code() {
        Code::HostNotAllowed => {
            let host = Url::parse(url).map_or("", |url| url.host);
            format!("the operator has not allowed requests to {host}")
        }
        _ => "its URL is not https, or has a user or a fragment".to_owned(),
    })?;
    let request = Request::get(url)
        .header(header::ACCEPT, "application/json, application/jwk-set+json")
        .header(header::USER_AGENT, "Accredit")
        .body(String::new());
    let request = request.map_err(|_| "its URL cannot be asked")?;
    let answer = outbound::send(request, MOST).await.map_err(|cause| {
        log(app.request_id(), "key set", &format!("{url}: {}", cause.chars().take(120).collect::<String>()));
        "its host does not answer, or not in time"
    })?;
    let body = answer.found("the answer is longer than 64 KiB, or ended too late")?;
    let object = std::str::from_utf8(body).ok().and_then(json::parse).filter(Json::is_object);
    object.ok_or_else(|| "its host does not answer with a JSON object".to_owned())
}

#[cfg(test)]
mod tests {
    use common::url::OutboundHosts;
    use serde_json::{Value::Null, json};
    use service::{outbound::stub, settings::Settings, testing::TestApp};

    use super::*;
    use crate::with_neighbours;

    const ISSUER: &str = "https://issuer.example.com";

    fn app() -> TestApp {
        let outbound_hosts = OutboundHosts::parse("issuer.example.com keys.example.com").unwrap();
        TestApp::with(with_neighbours(), Settings { outbound_hosts, ..Settings::default() })
    }

    /// Asks for a set with these answers of its hosts: the keys, why there are none, and the addresses that were asked.
    async fn fetched(
        t: &TestApp,
        source: &Source,
        answers: &[Result<(u16, &str), &str>],
    ) -> (usize, String, Vec<String>) {
        stub::clear();
        stub::will_answer(answers);
        t.wait(key_set::AGAIN);
        assert!(key_set::want(t.db(), source, t.now()).await.unwrap());
        assert_eq!(t.nobody("POST", "/internal/key-sets", Null).await.status, 204);
        let known = key_set::find(t.db(), source).await.unwrap().unwrap();
        assert!(!known.is_awaited);
        let asked = stub::sent().iter().map(|request| request.uri().to_string()).collect();
        (known.keys.len(), known.failure.unwrap_or_default(), asked)
    }

    /// R169: keys are found by discovery or at their own URL, on hosts that the operator allows, and whatever is wrong is kept in few words.
    #[tokio::test]
    async fn a_key_set_is_fetched_from_allowed_hosts_alone() {
        let t = app();
        assert_eq!(t.nobody("POST", "/internal/key-sets", Null).await.status, 204);
        assert!(stub::sent().is_empty(), "nobody waits");
        let source = Source::Issuer(ISSUER.to_owned());
        let said = |issuer: &str, uri: &str| json!({ "issuer": issuer, "jwks_uri": uri }).to_string();
        let good = said(ISSUER, "https://keys.example.com/jwks");
        let set = json!({ "keys": [{ "kty": "EC" }] }).to_string();
        let found = fetched(&t, &source, &[Ok((200, &good)), Ok((200, &set))]).await;
        let discovery = format!("{ISSUER}/.well-known/openid-configuration");
        assert_eq!(found, (1, String::new(), vec![discovery.clone(), "https://keys.example.com/jwks".to_owned()]));

        let elsewhere = said(ISSUER, "https://evil.example/jwks");
        let plain = said(ISSUER, "http://keys.example.com/jwks");
        let slash = said("https://issuer.example.com/", "https://keys.example.com/jwks");
        let long = format!("{{\"keys\": [\"{}\"]}}", "x".repeat(MOST));
        type Case<'a> = (Vec<Result<(u16, &'a str), &'a str>>, &'a str, usize);
        let cases: Vec<Case<'_>> = vec![
            (vec![Ok((200, &elsewhere))], "evil.example", 1),
            (vec![Ok((200, &plain))], "URL", 1),
            (vec![Ok((200, &slash))], "another issuer", 1),
            (vec![Ok((200, "{}"))], "another issuer", 1),
            (vec![Ok((200, "[]"))], "does not answer with a JSON object", 1),
            (vec![Ok((200, "{\"issuer\":1,\"issuer\":2}"))], "does not answer with a JSON object", 1),
            (vec![Ok((302, ""))], "redirects are not followed", 1),
            (vec![Ok((500, ""))], "answered 500", 1),
            (vec![Err("DNS says 10.0.0.7")], "does not answer, or not in time", 1),
            (vec![Ok((200, &good)), Ok((404, ""))], "answered 404", 2),
            (vec![Ok((200, &good)), Ok((200, "{\"keys\":{}}"))], "no key set", 2),
            (vec![Ok((200, &good)), Ok((200, &long))], "longer than 64 KiB", 2),
        ];
        for (answers, why, asked) in cases {
            let (keys, failure, sent) = fetched(&t, &source, &answers).await;
            assert!(failure.contains(why) && !failure.contains("10.0.0.7"), "{failure}: {why}");
            assert_eq!((keys, sent.len()), (1, asked), "those of before count on: {answers:?}");
        }
        let foreign = Source::Jwks("https://evil.example/jwks".to_owned());
        let (keys, failure, sent) = fetched(&t, &foreign, &[Ok((200, &set))]).await;
        assert!(keys == 0 && failure.contains("evil.example") && sent.is_empty(), "{failure}");
        let direct = Source::Jwks("https://keys.example.com/jwks".to_owned());
        assert_eq!(fetched(&t, &direct, &[Ok((200, &set))]).await.0, 1);
    }
}
