//! GitHub, which has OAuth 2 and an API in the place of OpenID Connect. Its word for a person is the number `id`; names change hands.

use common::{email, error::ApiError};
use http::{Method, header};
use serde_json::Value as Json;
use service::settings::provider::IdentityProvider;

use crate::{
    accounts::Identity,
    call::{self, text},
    id_token::invalid,
};

/// Where the browser is sent to.
pub(crate) const AUTHORIZE: &str = "https://github.com/login/oauth/authorize";
/// Where a code is traded.
pub(crate) const TOKEN: &str = "https://github.com/login/oauth/access_token";
/// To read the person's id and addresses, and nothing else.
pub(crate) const SCOPE: &str = "read:user user:email";

const USER: &str = "https://api.github.com/user";
const EMAILS: &str = "https://api.github.com/user/emails";

/// The person behind a token response. The token is used for these two requests, and forgotten.
pub(crate) async fn identity(provider: &IdentityProvider, tokens: &Json) -> Result<Identity, ApiError> {
    let token = text(tokens, "access_token");
    if !text(tokens, "token_type").eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(invalid("no bearer token in the answer"));
    }
    let user = ask(USER, token).await?;
    let id = user.get("id").and_then(Json::as_u64).ok_or_else(|| invalid("no id in the answer"))?;
    let emails = ask(EMAILS, token).await?;
    let is = |email: &Json, name: &str| email.get(name) == Some(&Json::Bool(true));
    let primary = emails.as_array().into_iter().flatten().find(|email| is(email, "primary") && is(email, "verified"));
    let address = primary.map(|email| text(email, "email")).and_then(email::parse);
    Ok(Identity {
        issuer: provider.issuer.clone(),
        subject: id.to_string(),
        name: [text(&user, "name"), text(&user, "login")].into_iter().find(|name| !name.is_empty()).map(str::to_owned),
        said_email: address.clone(),
        email: address,
        two_factors: false,
        auth_time: None,
    })
}

async fn ask(url: &str, token: &str) -> Result<Json, ApiError> {
    let request = call::request(Method::GET, url)
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header("x-github-api-version", "2022-11-28");
    call::read(url, request).await
}
