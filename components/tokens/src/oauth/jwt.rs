//! Signed tokens (JWT, RFC 9068) for the services of a tenant. A service verifies one without asking this server; for that it lives five
//! minutes at most, and never longer than what it rests on.
//!
//! Each is a row until its end, by the digest of its text (`store::signed_token`): introspection and further exchanges find it there.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use common::{
    error::{ApiError, Code},
    id::SignedTokenId,
    json::to_text,
    secret::Digest,
    time::Timestamp,
};
use serde_json::{Value as Json, Value::Null, json};
use service::{app::App, caller::Caller, credential::own_base, quota};
use store::{
    audit::{self, Event},
    db::{Purpose, Rows, Tx},
    resource::{self, Resource},
    signed_token::{self, Footing},
};

use super::keys::Signer;

/// How long a token lives at most, seconds.
pub(crate) const LIFE: i64 = 300;
/// The type of an access token (RFC 9068, section 2.1).
const TYPE: &str = "at+jwt";
/// The action in the audit row of the first token of a caller for a resource.
const ACTION: &str = "token.exchange";

/// What a token is to say.
pub(crate) struct Grant<'a> {
    /// The service that it is for.
    pub(crate) resource: &'a Resource,
    /// What was read with it of what the token rests on, if it was.
    pub(crate) footing: Option<Footing>,
    /// Names of custom scopes: what the subject can use now, and the resource takes.
    pub(crate) scopes: &'a [String],
    /// The client that gets it.
    pub(crate) client_id: &'a str,
    /// The services that act, the last one outside (RFC 8693, section 4.1).
    pub(crate) act: Option<&'a Json>,
    /// The records of the credentials that it rests on, the subject's first.
    pub(crate) rests_on: &'a [String],
    /// The end of what it is exchanged for.
    pub(crate) ends: Option<Timestamp>,
    /// The thumbprint of the key that it is bound to.
    pub(crate) key: Option<&'a str>,
}

/// A token that was made.
pub(crate) struct Issued {
    /// The token.
    pub(crate) token: String,
    /// Seconds until its end.
    pub(crate) expires_in: i64,
}

/// Makes a token that carries authority of `subject`, for a client whose request `by` is. Under the write lock it is decided again whether
/// all that it rests on is accepted. `tx`: the transaction that makes what it rests on, or spends what is sent for it, so that neither
/// happens if the token is refused; `None`: one of its own.
pub(crate) async fn issue(
    app: &App,
    tx: Option<&Tx<'_>>,
    (subject, by): (&Caller, &Caller),
    grant: Grant<'_>,
) -> Result<Issued, ApiError> {
    let reads: &dyn Rows = match tx {
        Some(tx) => tx,
        None => app.db(),
    };
    let secret = app.settings().signing_keys.first().ok_or(Code::SigningDisabled)?;
    let issuer = own_base(app).ok_or(Code::PublicUrlMissing)?;
    let now = app.now();
    let begins = now.millis().div_euclid(1000);
    let ends = [subject.expires_at(), grant.ends].into_iter().flatten().map(|end| end.millis().div_euclid(1000));
    let ends = ends.fold(begins + LIFE, i64::min);
    if ends <= begins {
        return Err(subject.ended(Code::TokenExpired));
    }
    let id = SignedTokenId::generate(now, app.chance());
    let sub = subject.agent_id().map_or(subject.user_id().as_str(), |agent| agent.as_str());
    let scope = grant.scopes.join(" ");
    let footing = match grant.footing {
        Some(footing) => footing,
        None => {
            let resource = (subject.tenant_id(), &*grant.resource.identifier);
            let by = (subject.credential_id(), grant.client_id);
            signed_token::footing(reads, resource, grant.rests_on, by, now).await?.ok_or(Code::InvalidTarget)?.1
        }
    };
    let mut claims = json!({
        "iss": issuer, "sub": sub, "aud": grant.resource.identifier, "client_id": grant.client_id, "scope": scope,
        "iat": begins, "exp": ends, "jti": id, "tenant": subject.tenant(),
        "owner": subject.user_id(), "epoch": footing.epoch, "rests_on": footing.ids,
    });
    if let Some(members) = claims.as_object_mut() {
        members.extend(grant.act.map(|act| ("act".to_owned(), act.clone())));
        // RFC 9449, section 6.1.
        members.extend(grant.key.map(|key| ("cnf".to_owned(), json!({ "jkt": key }))));
    }
    let token = sign(&*Signer::of(secret, grant.resource.signing_alg)?, TYPE, &claims);

    let act = grant.act.map(to_text);
    let new = signed_token::New {
        id: &id,
        digest: Digest::of(token.as_bytes()),
        resource: &grant.resource.id,
        rests_on: grant.rests_on,
        client_id: grant.client_id,
        act: act.as_deref(),
        scope: &scope,
        bound_to: grant.key,
        created_at: now,
        expires_at: Timestamp::from_millis(ends * 1000),
    };
    let after = json!({
        "resource": grant.resource.identifier, "sub": sub, "client_id": grant.client_id, "scope": scope, "jti": id,
    });
    let is_stored = match tx {
        Some(tx) => insert_audited(app, tx, by, &new, after).await?,
        None if footing.is_out => signed_token::insert_hot(app.db(), &new).await?,
        None => {
            let tx = app.db().begin(Purpose::Durable).await?;
            let is_stored = insert_audited(app, &tx, by, &new, after).await?;
            if is_stored {
                tx.commit().await?;
            }
            is_stored
        }
    };
    if !is_stored {
        return Err(why(reads, app.now(), (subject, by), grant.resource).await?);
    }
    Ok(Issued { token, expires_in: ends - begins })
}

/// The compact form (RFC 7515, section 7.1) with a type.
pub(crate) fn sign(signer: &Signer, r#type: &str, claims: &Json) -> String {
    let public = &signer.public;
    let header = json!({ "typ": r#type, "alg": public.alg, "kid": public.kid });
    let encoded = |json: &Json| URL_SAFE_NO_PAD.encode(to_text(json));
    let signed = format!("{}.{}", encoded(&header), encoded(claims));
    let signature = URL_SAFE_NO_PAD.encode(signer.key.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// Stores a token together with its row in the trail. Of the tokens that one client gets for one resource, one after the other, the first
/// one has such a row.
async fn insert_audited(
    app: &App,
    tx: &Tx<'_>,
    by: &Caller,
    new: &signed_token::New<'_>,
    after: Json,
) -> Result<bool, ApiError> {
    if !signed_token::insert(tx, new).await? {
        return Ok(false);
    }
    let event = Event { action: ACTION, object: new.resource.as_str(), before: Null, after };
    audit::insert(tx, &by.origin(app), &event).await?;
    let person = quota::person_behind(tx, by).await?;
    quota::count_trail(app, tx, &person, quota::size(&event), 0).await?;
    Ok(true)
}

/// Why a token was not stored that a moment ago could have been.
async fn why(
    reads: &dyn Rows,
    now: Timestamp,
    (subject, by): (&Caller, &Caller),
    resource: &Resource,
) -> Result<ApiError, ApiError> {
    for caller in [subject, by] {
        let again = Caller::of_record(reads, caller.credential_id().as_str(), now).await?;
        let again = again.ok_or(Code::InvalidToken)?;
        if let Err(refusal) = again.check_live().and_then(|()| again.check_agent()) {
            return Ok(refusal);
        }
    }
    let found = resource::find(reads, subject.tenant_id(), resource.id.as_str()).await?;
    Ok(match found {
        None => Code::InvalidTarget.into(),
        Some(_) => ApiError::from(Code::TooManySignedTokens).retry_after(LIFE),
    })
}
