//! The grant `refresh_token` (RFC 6749, section 6): a new access token, and the next refresh token, for the one that is sent.
//!
//! Exactly one refresh token of a grant works. One that came before is known by its family: somebody has it who should not, or the client
//! lost an answer. Nothing tells the two apart, so that it ends the grant, without a grace (RFC 9700, section 4.14.2).

use common::{
    error::{ApiError, Code},
    id::CredentialId,
    scope::{CustomScopes, Patterns, ScopeSet, Scopes},
    secret::{Kind, RefreshToken, Secret},
};
use http::StatusCode;
use serde_json::{Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    proof,
    response::{Response, uncached_json},
    throttle,
};
use store::{
    audit::{self, Event},
    db::Purpose,
    oauth_grant::{self, Access, Grant},
    user,
};

use super::{
    clients,
    form::{Parameters, scope_words},
    issued::{self, Issued, Service},
};

/// The grant type.
pub(crate) const GRANT: &str = "refresh_token";
/// How often a client may send one in a window, and the window, seconds.
const REFRESHES: (i64, i64) = (60, 600);

fn invalid() -> ApiError {
    Code::InvalidGrant.detail("This refresh token is unknown, has ended or was replaced.")
}

/// Answers a request with this grant type.
pub(crate) async fn grant(app: &App, form: &Parameters, key: Option<&str>) -> Result<Response, ApiError> {
    let client = clients::authenticate(app, form).await?;
    let sent = RefreshToken::parse(form.get("refresh_token")?).ok_or_else(invalid)?;
    let (scope, resource) = (form.find("scope")?, issued::resource(form)?);
    let is_public = clients::is_public(app, form, &client).await?;
    let found = find(app, &sent, &client).await?;
    // Without the key its token is worth nothing; nothing is spent.
    if found.bound_to.as_deref().is_some_and(|bound| key != Some(bound)) {
        return Err(proof::refused("this refresh token is bound to a key, and the request does not prove that key"));
    }
    let scope = narrowed(&found, scope)?;
    issued::check_resource(app, resource, found.resource.as_deref())?;
    let refusal = Code::TooManyAttempts.detail("This client gets new tokens too often.");
    throttle::count(app, &["refresh", found.id.as_str()], REFRESHES, refusal).await?;

    let record = found.credential_id.as_deref().ok_or_else(invalid)?;
    // Before the refresh token is spent: whatever is refused here, the client can send it again.
    let signed = match &found.resource {
        None => None,
        Some(identifier) => {
            let service = Service { identifier, tenant: &found.tenant }.find(app).await?;
            Some(issued::sign(app, None, &service, (record, &client), &scope, key).await?)
        }
    };
    let tx = app.db().begin(Purpose::Durable).await?;
    let login = user::login_of(&tx, &found.user).await?.filter(|login| login.is_active);
    login.ok_or_else(invalid)?;
    let (now, next) = (app.now(), sent.next(app.chance()));
    // RFC 9449, section 5: of a public client, by the first proof that comes with the grant.
    let bound_to = key.filter(|_| is_public);
    if !oauth_grant::refresh(&tx, &found.id, (&sent, &next), bound_to, now).await? {
        // Another request was first: it has the next token.
        drop(tx);
        find(app, &sent, &client).await?;
        return Err(invalid());
    }
    let ends = now.plus_seconds(oauth_grant::ACCESS).min(found.expires_at);
    let secret = Secret::generate(Kind::Pat, app.chance());
    if signed.is_none() {
        let past = CredentialId::generate(now, app.chance());
        let access = Access { secret: &secret, scope: &scope, key, expires_at: ends, past: &past };
        if !oauth_grant::replace_access(&tx, record, &access, now).await? {
            return Err(invalid());
        }
    }
    let works = match signed {
        None => usable(&Caller::of_record(&tx, record, now).await?.ok_or_else(invalid)?, &scope),
        Some(_) => scope.clone(),
    };
    let origin = app.origin(&found.tenant, Some(&found.user));
    let after =
        json!({ "name": found.client_name, "client_id": found.client_id, "scope": scope, "credential": record });
    let event = Event { action: "oauth.refresh", object: found.id.as_str(), before: Null, after };
    audit::insert(&tx, &origin, &event).await?;
    tx.commit().await?;
    let answer = match signed {
        None => Issued::new((secret.reveal().to_owned(), now.seconds_until(ends)), &next, &works, key),
        Some((signed, scope)) => Issued::new((signed.token, signed.expires_in), &next, &scope, key),
    };
    uncached_json(StatusCode::OK, &answer)
}

/// What of the scope works now (RFC 6749, section 5.1): the person's role may have been lowered since they gave it.
fn usable(app: &Caller, scope: &Patterns) -> Patterns {
    let can = app.scopes();
    match scope.scopes(app.custom_scopes()).without(&can).is_empty() {
        true => scope.clone(),
        false => can.to_patterns(),
    }
}

/// The live grant of which this is the refresh token that works. One that was replaced ends it.
async fn find(app: &App, sent: &RefreshToken, client: &str) -> Result<Grant, ApiError> {
    let found = oauth_grant::of_family(app.db(), sent, app.now()).await?;
    let found = found.filter(|found| found.client_id == client && found.is_live).ok_or_else(invalid)?;
    if found.refresh.matches(&sent.digest()) {
        return Ok(found);
    }
    let tx = app.db().begin(Purpose::Revoking).await?;
    issued::end_for_replay(app, &tx, &found, "refresh token").await?;
    tx.commit().await?;
    Err(invalid())
}

/// The scope that the client asks for: of what was given, all or less. A client that sends the scope of its authorization request once more may
/// name what the person did not give: that is passed over, and the answer says what is left (RFC 6749, section 3.3).
fn narrowed(found: &Grant, asked: Option<&str>) -> Result<Patterns, ApiError> {
    let words: Vec<&str> = scope_words(asked.unwrap_or_default()).collect();
    if words.is_empty() {
        return Ok(found.scope.clone());
    }
    let given = found.scope.to_column();
    // Those that were given are all that count of custom scopes: whether others are defined decides nothing.
    let custom: Vec<&str> = given.split(' ').filter(|word| CustomScopes::is_name(word)).collect();
    let custom = CustomScopes::stored(&custom.join(" "));
    let scope = Scopes::stored(&words.join(" "), &custom).and(&found.scope.scopes(&custom));
    if words.into_iter().all(is_scope) && !scope.is_empty() {
        return Ok(scope.to_patterns());
    }
    Err(Code::InvalidScope
        .detail("The scope holds nothing that the person gave, or a word that is no scope.")
        .fix(format!("Leave scope out, or send some of: {given}. For more, send the person to /oauth/authorize again."))
        .page("/docs/agents/concepts/oauth-clients#the-token-requests"))
}

/// Whether a word can be a scope: one of this server, a pattern of some, or the name or a pattern of custom ones.
fn is_scope(word: &str) -> bool {
    let name = word.strip_suffix(".*").unwrap_or(word);
    ScopeSet::expand(word).is_some() || word == "x.*" || CustomScopes::is_name(name)
}
