//! Dynamic registration (RFC 7591) of programs on a person's own device, as MCP clients do it. Nothing is stored: the id that a client gets holds
//! what it said of itself, authenticated by a key of this server, so that strangers fill nothing and an id never ends. Nobody has looked at such
//! a client, so it is let go back to the device alone; an admin registers one that goes back to a site.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use common::{
    error::{ApiError, Code},
    oauth::{MOST_URIS, is_local, private_use, redirect_uri},
    secret::{Digest, Key, equal},
    text::{text, without_unseen},
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use service::{
    app::App,
    extract::Raw,
    form,
    response::{Response, uncached_json},
};

use super::form::as_oauth;

/// What such an id begins with.
const PREFIX: &str = "dyn_";
/// Bytes of what an id holds, at most: requests for authorization have to stay addresses.
const MOST: usize = 900;
/// What is authenticated beside it.
const PURPOSE: &[u8] = b"client registration\0";
/// Characters of a name at most.
const NAME: usize = 64;
/// The name of a client that says none, or one of which nothing is seen.
const NAMELESS: &str = "An app without a name";

/// What a client said of itself.
pub(super) struct Registered {
    pub(super) name: String,
    pub(super) redirect_uris: Vec<String>,
}

/// What a client is told (RFC 7591, section 3.2.1): where it differs from what it asked for, it goes by this.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RegisteredOauthClient")]
pub(crate) struct Shown<'a> {
    /// The id that it sends from now on.
    client_id: String,
    /// When that was made: seconds since 1970.
    client_id_issued_at: i64,
    /// What it is called on the page where people let it in.
    client_name: &'a str,
    /// Those that it may use, of what it sent.
    redirect_uris: &'a [String],
    /// The grants that it can use.
    grant_types: &'static [&'static str],
    /// The answers to a request for authorization.
    response_types: &'static [&'static str],
    /// How it proves itself at the token endpoint: not at all.
    token_endpoint_auth_method: &'static str,
}

/// `POST /oauth/register`.
pub(crate) async fn register(app: App, Raw(body): Raw) -> Result<Response, ApiError> {
    let client = form::members(&body).and_then(|members| read(&members)).map_err(as_oauth)?;
    let client_id = seal(&app, &client).map_err(as_oauth)?;
    let shown = Shown {
        client_id,
        client_id_issued_at: app.now().millis() / 1_000,
        client_name: &client.name,
        redirect_uris: &client.redirect_uris,
        grant_types: &["authorization_code", "refresh_token"],
        response_types: &["code"],
        token_endpoint_auth_method: "none",
    };
    uncached_json(StatusCode::CREATED, &shown)
}

/// The client with this id; `None`: it was not made here, or by a key that was taken away since.
pub(super) fn open(app: &App, id: &str) -> Option<Registered> {
    let (text, mac) = id.strip_prefix(PREFIX)?.split_once('.')?;
    let held = URL_SAFE_NO_PAD.decode(text).ok().filter(|held| held.len() <= MOST)?;
    app.settings().signing_keys.iter().any(|key| equal(&mac_of(key, &held), mac)).then_some(())?;
    let (name, redirect_uris) = serde_json::from_slice(&held).ok()?;
    Some(Registered { name, redirect_uris })
}

fn seal(app: &App, client: &Registered) -> Result<String, ApiError> {
    let key = app.settings().signing_keys.first().ok_or(Code::SigningDisabled)?;
    let held = json!([client.name, client.redirect_uris]).to_string();
    if held.len() > MOST {
        return Err(wrong("name and redirect URIs together are longer than 900 bytes"));
    }
    Ok(format!("{PREFIX}{}.{}", URL_SAFE_NO_PAD.encode(&held), mac_of(key, held.as_bytes())))
}

fn mac_of(key: &Key, held: &[u8]) -> String {
    let mac: Digest = key.mac(&[PURPOSE, held].concat());
    URL_SAFE_NO_PAD.encode(mac.bytes())
}

fn wrong(why: &str) -> ApiError {
    Code::InvalidClientMetadata.detail(format!("This client cannot be registered: {why}."))
}

/// Reads what a client says. Members that mean nothing here are passed over (section 2), and what it asks for is replaced where this server
/// has only one way: the answer says so.
fn read(members: &Map<String, Json>) -> Result<Registered, ApiError> {
    let name = match members.get("client_name") {
        None | Some(Json::Null) => NAMELESS.to_owned(),
        Some(Json::String(name)) => {
            text("client_name", &without_unseen(name, NAME), NAME).unwrap_or_else(|_| NAMELESS.to_owned())
        }
        Some(_) => return Err(wrong("its client_name is no text")),
    };
    let Some(Json::Array(sent)) = members.get("redirect_uris") else {
        return Err(wrong("it has no redirect_uris, a list of texts"));
    };
    let is_usable = |uri: &&str| (redirect_uri(uri).is_some() || private_use(uri).is_some()) && is_local(uri);
    let usable: Vec<String> = sent.iter().filter_map(Json::as_str).filter(is_usable).map(str::to_owned).collect();
    if usable.len() > MOST_URIS {
        return Err(Code::InvalidRedirectUri
            .detail(format!("It has {} redirect URIs, and at most {MOST_URIS} are registered.", usable.len()))
            .fix("Send fewer redirect_uris: a port of http://127.0.0.1/callback need not be named, since any is taken.")
            .page("/docs/agents/concepts/oauth-clients#dynamic-registration")
            .extra("field", "redirect_uris"));
    }
    if usable.is_empty() {
        let refusal =
            Code::InvalidRedirectUri.detail("None of its redirect URIs leads to a program on the person's own device.");
        return Err(refusal
            .fix("Send redirect_uris with one like http://127.0.0.1/callback or com.example.app:/callback. For an app that goes back to a site, an admin registers it with POST /api/oauth/clients, and it uses that client_id.")
            .page("/docs/agents/concepts/oauth-clients#dynamic-registration")
            .extra("field", "redirect_uris"));
    }
    Ok(Registered { name, redirect_uris: usable })
}

#[cfg(test)]
mod tests;
