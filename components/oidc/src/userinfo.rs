//! The address and the name that an ID token leaves out: OpenID Connect Core 1.0, section 5.3. Some providers say them at their UserInfo
//! endpoint alone.

use common::{
    email,
    error::{ApiError, Code},
};
use http::{Method, header};
use serde_json::Value as Json;
use service::{
    app::{App, log},
    settings::provider::{IdentityProvider, Preset},
};
use store::identity;

use crate::{
    call::{self, text},
    discovery::Metadata,
};

/// The claims about a person's name.
const NAMES: [&str; 5] = ["name", "given_name", "family_name", "nickname", "preferred_username"];

/// Fills into the claims of a checked ID token what they lack of the person's address and name. An identity that is linked needs no
/// address. An answer that is of no use is as if the provider said none, and is logged; without an answer nobody knows. `needs_name`: the name is
/// asked for also where the address is there, and nothing depends on the answer.
pub(crate) async fn fill(
    app: &App,
    provider: &IdentityProvider,
    metadata: &Metadata,
    tokens: &Json,
    (claims, needs_name): (&mut Json, bool),
) -> Result<(), ApiError> {
    let has_address =
        !text(claims, "email").is_empty() && claims.get("email_verified").is_some_and(|word| !word.is_null());
    // Google's ID tokens have both. Microsoft vouches for an address by `xms_edov` alone, which only the ID token has.
    if has_address && !needs_name || provider.preset != Preset::Generic {
        return Ok(());
    }
    if identity::find_login(app.db(), text(claims, "iss"), text(claims, "sub")).await?.is_some() {
        return Ok(());
    }
    match ask(metadata, tokens, text(claims, "sub")).await {
        Ok(said) if has_address => merge_names(claims, &said),
        Ok(said) => merge(claims, &said),
        Err(outage) if outage.code() == Code::ProviderUnavailable && !has_address => return Err(outage),
        Err(failure) => {
            let why = failure.inner().unwrap_or_default();
            log(app.request_id(), &format!("{} userinfo", provider.name), why);
        }
    }
    Ok(())
}

/// What the endpoint says of this subject. The cause of a failure is for the log.
async fn ask(metadata: &Metadata, tokens: &Json, subject: &str) -> Result<Json, ApiError> {
    let failure = |what: &str| ApiError::from(Code::IdentityInvalid).cause(what);
    let url = metadata.userinfo_endpoint.as_deref();
    let url = url.ok_or_else(|| failure("the ID token does not say all, and the provider has no UserInfo endpoint"))?;
    let token = text(tokens, "access_token");
    if token.is_empty() || !text(tokens, "token_type").eq_ignore_ascii_case("bearer") {
        return Err(failure("the ID token does not say all, and there is no bearer token to ask for it"));
    }
    let request = call::request(Method::GET, url).header(header::AUTHORIZATION, format!("Bearer {token}"));
    let said = call::read(url, request).await?;
    // Section 5.3.2: it must be exactly the ID token's, and what is said of another subject is not used.
    if text(&said, "sub") != subject { Err(failure("the answer is about another subject")) } else { Ok(said) }
}

/// `email_verified` is said of the `email` beside it: both are taken from one place, and only for the address that the ID token names, if it
/// names one.
fn merge(claims: &mut Json, said: &Json) {
    let (known, address) = (text(claims, "email").to_owned(), text(said, "email"));
    let is_same = known.is_empty() || email::key(&known) == email::key(address);
    if is_same && !address.is_empty() {
        if let Some(members) = claims.as_object_mut() {
            members.remove("email_verified");
        }
        copy(claims, said, &["email", "email_verified"]);
    }
    merge_names(claims, said);
    // The ID token's own word about an address that it does not name is about none.
    if text(claims, "email").is_empty()
        && let Some(members) = claims.as_object_mut()
    {
        members.remove("email_verified");
    }
}

/// What the ID token does not say of the person's name.
fn merge_names(claims: &mut Json, said: &Json) {
    let missing: Vec<&str> = NAMES.into_iter().filter(|name| text(claims, name).is_empty()).collect();
    copy(claims, said, &missing);
}

fn copy(claims: &mut Json, said: &Json, names: &[&str]) {
    let Some(members) = claims.as_object_mut() else { return };
    for name in names {
        if let Some(value) = said.get(*name) {
            members.insert((*name).to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// R101: an address counts by a word that is said of this very address.
    #[test]
    fn a_word_about_one_address_is_none_about_another() {
        let merged = |claims: Json, said: Json| {
            let mut claims = claims;
            merge(&mut claims, &said);
            claims
        };
        let all = json!({ "email": "max@acme.example", "email_verified": true, "name": "Max", "amr": ["mfa"] });
        assert_eq!(
            merged(json!({ "sub": "7" }), all.clone()),
            json!({ "sub": "7", "email": "max@acme.example", "email_verified": true, "name": "Max" })
        );
        assert_eq!(
            merged(json!({ "email": "Max@acme.example", "name": "M" }), all.clone()),
            json!({ "email": "max@acme.example", "email_verified": true, "name": "M" })
        );
        assert_eq!(
            merged(json!({ "email": "eve@acme.example", "name": "M" }), all),
            json!({ "email": "eve@acme.example", "name": "M" })
        );
        assert_eq!(
            merged(json!({ "email_verified": true }), json!({ "email": "max@acme.example" })),
            json!({ "email": "max@acme.example" })
        );
        assert_eq!(
            merged(json!({ "email_verified": true }), json!({ "email": 7, "name": null })),
            json!({ "name": null })
        );
    }
}
