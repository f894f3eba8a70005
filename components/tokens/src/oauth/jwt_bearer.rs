//! The grant `jwt-bearer` (RFC 7523, section 2.1): a workload proves by what its platform has signed that it is the agent, and holds no
//! secret. `client_id` names a federated credential of the agent, which says whom to trust.
//!
//! For this server it gives an opaque credential of the agent, which is listed, and ends as every other one does. For a service, named by
//! `resource`, it gives a signed token that rests on such a credential, whose secret nobody has.

use common::{
    error::{ApiError, Code},
    id::CredentialId,
    scope::{CustomScopes, Patterns, ScopeSet},
    secret::{Kind, Secret},
    time::Timestamp,
    workload,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value as Json, Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    mint::{self, NewCredential},
    quota,
    response::{Response, uncached_json},
    throttle,
};
use store::{
    agent,
    audit::{self, Event},
    credential,
    db::{Purpose, Tx},
    federated_credential::{self, FederatedCredential},
    origin::Origin,
    resource::Resource,
};

use super::{
    assertion::{self, Assertion, Expected},
    exchange,
    form::{self, Parameters, token_type},
    issued::{self, Service},
    jwt,
};

/// The grant type (RFC 7523, section 8.1).
pub(crate) const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The action in the audit row.
const ACTION: &str = "agent.federated_credential.use";
/// Where the page explains refusals.
const PAGE: &str = "/docs/agents/concepts/workload-identity#refusals";
/// The step where GitHub writes ids into a subject and the federated credential has none, or the other way round.
const WITH_IDS: &str = "The trusted subject and this one differ in ids such as @123 alone, which GitHub writes into the subjects of repositories that were made, renamed or transferred since July 2026: an admin trusts the subject as the assertion has it, with POST /api/agents/<name>/federated-credentials.";
/// Where the page explains subjects.
const SUBJECTS: &str = "/docs/agents/concepts/workload-identity#subjects";
/// Types of tokens that say who a workload is: JSON Web Tokens without further words (GitHub), and those of SPIFFE (JWT-SVID, section 2.3).
const TYPES: &[&str] = &["jwt", "jose"];
/// Requests from one network for one federated credential in a window, and the window, seconds.
const TRIES: (i64, i64) = (600, 600);

/// The answer (RFC 6749, section 5.1).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "WorkloadToken")]
pub(crate) struct Issued {
    access_token: String,
    token_type: &'static str,
    expires_in: i64,
    scope: String,
}

fn invalid(why: &str) -> ApiError {
    Code::InvalidGrant
        .detail(format!("The assertion is not accepted: {why}."))
        .fix("Send as assertion a new token that the issuer of the federated credential has made for this workload and for its audience: GET /api/agents/<name>/federated-credentials/<its id> shows what is trusted.")
        .page(PAGE)
}

/// Whose request it is: of an unknown federated credential nothing is told.
fn unknown() -> ApiError {
    Code::InvalidClient
        .detail("client_id names no federated credential.")
        .fix("Send client_id as the id of a federated credential, which begins with fed_: an admin finds it with GET /api/agents/<name>/federated-credentials.")
        .page(PAGE)
}

/// Answers a request with this grant type.
pub(crate) async fn grant(app: &App, form: &Parameters, key: Option<&str>) -> Result<Response, ApiError> {
    let (id, text) = (form.get("client_id")?, form.get("assertion")?);
    let (asked, target) =
        (form.find("scope")?, issued::resource(form)?.filter(|resource| !issued::is_own(app, resource)));
    let trust = federated_credential::find(app.db(), id, app.now()).await?.ok_or_else(unknown)?;
    let refusal =
        Code::TooManyAttempts.detail("Too many assertions were sent from this network for this federated credential.");
    throttle::count(app, &["assertion", &app.network(), id], TRIES, refusal).await?;
    let expected = Expected {
        issuer: &trust.issuer,
        audiences: &[&trust.audience],
        is_sole: false,
        types: TYPES,
        keys: &trust.keys,
    };
    let assertion = assertion::verify(app, text, &expected, invalid).await?;
    check_workload(&trust, &assertion)?;
    let service = match target {
        None => None,
        Some(identifier) => Some(Service { identifier, tenant: &trust.tenant }.find(app).await?),
    };

    let tx = app.db().begin(Purpose::Durable).await?;
    // Between the look and the lock it may have been deleted; nothing of it changes.
    let trust = federated_credential::find(&tx, id, app.now()).await?.ok_or_else(unknown)?;
    let whose = [trust.tenant.as_str(), &trust.issuer];
    if trust.single_use && !federated_credential::spend(&tx, &assertion.digest(&whose), assertion.known_until).await? {
        return Err(invalid("it was sent before"));
    }
    let given = give(app, &tx, (&trust, &assertion), service.as_ref(), asked).await?;
    if let (Some(key), None) = (key, &service) {
        credential::bind(&tx, given.caller.credential_id(), key).await?;
    }
    let (access_token, expires_in) = match &service {
        None => (given.secret.reveal().to_owned(), app.now().seconds_until(given.ends)),
        Some(service) => {
            let grant = jwt::Grant {
                resource: service,
                footing: None,
                scopes: &given.scopes,
                client_id: given.caller.subject().id(),
                act: None,
                rests_on: &[given.caller.credential_id().to_string()],
                ends: None,
                key,
            };
            let signed = jwt::issue(app, Some(&tx), (&given.caller, &given.caller), grant).await?;
            (signed.token, signed.expires_in)
        }
    };
    tx.commit().await?;
    let scope = given.scopes.join(" ");
    uncached_json(StatusCode::OK, &Issued { access_token, token_type: token_type(key), expires_in, scope })
}

/// Holds subject and further claims against what is trusted. What the assertion says is told to its sender, who has it; what is trusted is not.
fn check_workload(trust: &FederatedCredential, assertion: &Assertion) -> Result<(), ApiError> {
    let (claims, subject) = (&assertion.claims, assertion.subject.as_str());
    if !workload::is_subject(subject) || !workload::matches(&trust.subject, subject) {
        let shown: String = subject.chars().take(workload::LONGEST).collect();
        let refusal = invalid("its sub is not trusted").extra("subject", Secret::cut_off(shown));
        let differs = workload::differs_by_ids(&trust.subject, subject);
        return Err(if differs { refusal.fix(WITH_IDS).page(SUBJECTS) } else { refusal });
    }
    let text = |value: &Json| match value {
        Json::String(text) => Some(text.clone()),
        Json::Bool(_) | Json::Number(_) => Some(value.to_string()),
        // No text is what such a claim says, the empty one neither.
        _ => None,
    };
    let is_other = |(name, value): &(&String, &String)| claims.get(*name).and_then(text).as_ref() != Some(*value);
    match trust.claims.iter().find(is_other) {
        Some((name, _)) => {
            let what = if claims.get(name).is_some() { "has another value" } else { "is missing" };
            Err(invalid(&format!("its claim {name} {what}")).extra("claim", name.as_str()))
        }
        None => Ok(()),
    }
}

/// What an assertion gives.
struct Given {
    secret: Secret,
    caller: Caller,
    ends: Timestamp,
    scopes: Vec<String>,
}

/// Makes the credential, and writes it down. If anything is refused, the assertion is not spent.
async fn give(
    app: &App,
    tx: &Tx<'_>,
    (trust, assertion): (&FederatedCredential, &Assertion),
    service: Option<&Resource>,
    asked: Option<&str>,
) -> Result<Given, ApiError> {
    let now = app.now();
    let agent = agent::by_id(tx, &trust.agent, now).await?.ok_or_else(unknown)?;
    let owner = &agent.owner.id;
    quota::check_credentials_of(app, tx, &trust.tenant, owner).await?;
    let scope = match (service, asked) {
        (None, Some(asked)) => narrowed(trust, asked)?,
        _ => trust.scope.clone(),
    };
    let life = if service.is_some() { trust.expires_in.min(jwt::LIFE) } else { trust.expires_in };
    let (id, ends) = (CredentialId::generate(now, app.chance()), now.plus_seconds(life));
    let origin = Origin { agent: Some(&agent.id), ..app.origin(&trust.tenant, Some(owner)) };
    let new = NewCredential {
        kind: Kind::ApiKey,
        id: id.clone(),
        user: owner,
        agent: Some(&agent.id),
        key: None,
        name: Some(&trust.name),
        scope: &scope,
        expires_at: Some(ends),
        grantee: None,
    };
    let secret = mint::credential(tx, &origin, &new).await?;
    if !federated_credential::give(tx, &trust.id, &id, now).await? {
        return Err(ApiError::from(Code::TooManyFederatedTokens).retry_after(trust.expires_in));
    }
    let caller = Caller::of_record(tx, id.as_str(), now).await?.ok_or_else(unknown)?;
    let can_act = caller.check_live().and_then(|()| caller.check_agent());
    can_act.map_err(|refusal| form::as_code(Code::InvalidGrant, PAGE, (app, &caller), refusal))?;
    let scopes = match service {
        None => scope.to_column().split(' ').map(str::to_owned).collect(),
        Some(service) => {
            let (subject, scopes) = (exchange::Subject::new(caller.clone()), asked);
            exchange::scopes(app, &subject, None, service, scopes)?
        }
    };
    let after = json!({
        "federated_credential": trust.id, "name": trust.name, "issuer": trust.issuer, "subject": assertion.subject,
        "token": id, "scope": scope, "expires_at": ends, "resource": service.map(|service| &service.identifier),
    });
    let event = Event { action: ACTION, object: agent.id.as_str(), before: Null, after };
    let origin = Origin { credential: Some(&id), ..origin };
    audit::insert(tx, &origin, &event).await?;
    quota::count_trail(app, tx, owner, quota::size(&event), 0).await?;
    Ok(Given { secret, caller, ends, scopes })
}

/// The scope that the workload asks for: all that is given, or less.
fn narrowed(trust: &FederatedCredential, asked: &str) -> Result<Patterns, ApiError> {
    let mut words: Vec<&str> = asked.split_ascii_whitespace().collect();
    words.sort_unstable();
    words.dedup();
    let is_known = |word: &&str| ScopeSet::expand(word).is_some() || CustomScopes::is_name(word);
    let patterns = Patterns::stored(&words.join(" "));
    if words.is_empty() || !words.iter().all(is_known) || !patterns.is_within(&trust.scope) {
        return Err(Code::InvalidScope
            .detail("The scope holds more than the federated credential gives.")
            .fix("Leave scope out, or ask for some of what the federated credential gives: GET /api/agents/<name>/federated-credentials/<its id> shows it.")
            .page(PAGE));
    }
    Ok(patterns)
}

#[cfg(test)]
mod tests;
