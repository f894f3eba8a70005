//! Personal access tokens: what a person's command line and CI carry.
//!
//! A PAT is made by a session only. It is rotated by its person's session, or by itself: the new one has its name, scope and
//! end, and the old one lives through a grace. A second rotation ends the first grace.

use axum::{http::StatusCode, response::Response};
use common::{
    caller::Caller,
    db::{Rows, Tx},
    error::{ApiError, Code},
    form,
    form::{Ask, OrNull, Params},
    http::{App, Segment, json, text},
    id::{CredentialId, UserId},
    idempotency::Answer,
    mint,
    page::Wanted,
    route,
    secret::{Kind, Secret},
    store::{
        credential,
        token::{self, Filter, STATUSES, Sort, Token},
    },
    time::{Lifetime, Timestamp},
    write::Begun,
};
use serde::Serialize;
use serde_json::{Value::Null, json};

/// How long a PAT lives when nothing is asked.
const USUAL: Lifetime = Lifetime::Days(90);

form! {
    pub(crate) struct Create {
        name: String,
        scope: Option<Vec<String>>,
        expires_in_days: Option<OrNull<i64>>,
    }
}

/// A PAT that was just made: the record, and the one time that its secret is shown.
#[derive(Serialize)]
struct Made<'a> {
    #[serde(flatten)]
    record: &'a Token,
    token: &'a str,
    warnings: &'a [String],
}

/// What a new PAT is to be.
struct New<'a> {
    name: &'a str,
    scope: &'a str,
    expires_at: Option<Timestamp>,
}

async fn mint(app: &App, tx: &Tx<'_>, caller: &Caller, new: &New<'_>) -> Result<(CredentialId, Secret), ApiError> {
    let secret = Secret::generate(Kind::Pat, app.chance());
    let id = CredentialId::generate(app.now(), app.chance());
    let row = credential::New {
        id: &id,
        secret: &secret,
        tenant_id: caller.tenant_id(),
        user_id: caller.user_id(),
        agent_id: None,
        name: Some(new.name),
        scope: new.scope,
        created_at: app.now(),
        expires_at: new.expires_at,
        user_agent: None,
        key_id: None,
    };
    credential::insert(tx, &row).await?;
    Ok((id, secret))
}

/// `POST /auth/tokens`: makes a PAT. Only a session may, so that no PAT can make another.
pub(crate) async fn create(app: App, caller: Caller, ask: Ask<Create>) -> Result<Response, ApiError> {
    let body = ask.body;
    let name = text("name", &body.name, 64)?;
    let scope = caller.read_scope(&body.scope.unwrap_or_else(|| vec!["*".to_owned()]))?;
    let lifetime = mint::lifetime(body.expires_in_days)?.unwrap_or(USUAL);

    let write = match app.write(route::PATS_CREATE, &caller, ask.kept).await? {
        Begun::First(write) => write,
        Begun::Again(answer) => return Ok(answer),
    };
    let mut warnings = Vec::new();
    mint::warn_of_no_effect(&write.caller, &scope, write.caller.role(), false, &mut warnings);
    let new = New { name: &name, scope: &scope.to_column(), expires_at: lifetime.ending(app.now()) };
    let (id, secret) = mint(&app, &write.tx, &write.caller, &new).await?;
    let record = stored(&write.tx, &write.caller, id.as_str(), app.now()).await?;
    let after = json!({ "name": name, "scope": scope, "expires_at": new.expires_at });
    let made = Made { record: &record, token: secret.reveal(), warnings: &warnings };
    let answer = Answer::secret(StatusCode::CREATED, &made)?;
    write.finish(id.as_str(), Null, after, answer).await
}

/// One of the caller's own PATs.
async fn stored(reads: &dyn Rows, caller: &Caller, id: &str, now: Timestamp) -> Result<Token, ApiError> {
    let own = Some(caller.user_id());
    token::find(reads, caller.tenant_id(), own, id, now).await?.ok_or_else(|| Code::TokenNotFound.into())
}

form! {
    pub(crate) struct List {
        sort: Option<String>,
        status: Option<String>,
        limit: Option<i64>,
        cursor: Option<String>,
    }
}

/// Reads `sort` and `status`, which two lists have.
pub(crate) fn order<'a>(sort: Option<&str>, status: Option<&'a str>) -> Result<(Sort, Option<&'a str>), ApiError> {
    let invalid = |field: &'static str, valid: String| Code::InvalidFilter.with("field", field).with("valid", valid);
    let sort = match sort {
        None => Sort::default(),
        Some(word) => Sort::from_word(word).ok_or_else(|| invalid("sort", Sort::WORDS.to_owned()))?,
    };
    if status.is_some_and(|word| !STATUSES.contains(&word)) {
        return Err(invalid("status", STATUSES.join(", ")));
    }
    Ok((sort, status))
}

/// `GET /auth/tokens`: one's own PATs.
pub(crate) async fn list(app: App, caller: Caller, Params(ask): Params<List>) -> Result<Response, ApiError> {
    let (sort, status) = order(ask.sort.as_deref(), ask.status.as_deref())?;
    let filters = ["pats", ask.sort.as_deref().unwrap_or_default(), status.unwrap_or_default()];
    let wanted = Wanted::read(&caller, ask.limit, ask.cursor.as_deref(), &filters)?;
    let filter = Filter { own: Some(caller.user_id()), kind: Some(Kind::Pat), status, sort, ..Filter::default() };
    let rows = token::list(app.db(), caller.tenant_id(), &filter, &wanted, app.now()).await?;
    json(StatusCode::OK, &wanted.page(rows, |row| (Timestamp::from_millis(row.place), row.id.to_string())))
}

/// `GET /auth/tokens/{id}`: one of one's own PATs. A PAT may always read itself.
pub(crate) async fn get(app: App, caller: Caller, Segment(id): Segment) -> Result<Response, ApiError> {
    json(StatusCode::OK, &stored(app.db(), &caller, &id, app.now()).await?)
}

form! {
    pub(crate) struct Rotate {
        grace_seconds: Option<i64>,
    }
}

/// `POST /auth/tokens/{id}/rotate`: a new secret with the name, scope and end of the old one.
pub(crate) async fn rotate(
    app: App,
    caller: Caller,
    Segment(id): Segment,
    ask: Ask<Rotate>,
) -> Result<Response, ApiError> {
    let is_own = caller.credential_id().as_str() == id;
    let grace = mint::grace(ask.body.grace_seconds, if is_own { mint::OWN_GRACE } else { 0 })?;
    stored(app.db(), &caller, &id, app.now()).await?; // early 404; decided again below
    if !is_own && caller.credential_kind() != Kind::Session {
        return Err(Code::SessionRequired.detail("A PAT may rotate itself; any other one takes a session."));
    }
    let write = match app.write(route::PATS_ROTATE, &caller, ask.kept).await? {
        Begun::First(write) => write,
        Begun::Again(answer) => return Ok(answer),
    };
    let old = stored(&write.tx, &write.caller, &id, app.now()).await?;
    if old.replaced_by.is_some() && old.revoked_at.is_none() {
        return Err(Code::TokenReplaced.into());
    }
    // Its own scope and end: rotating is not minting. A session must not thereby make live what has ended.
    let name = old.name.as_deref().unwrap_or("PAT");
    let new = New { name, scope: &old.scope.to_column(), expires_at: old.expires_at };
    let (new_id, secret) = mint(&app, &write.tx, &write.caller, &new).await?;
    let grace_ends = (grace > 0).then(|| app.now().plus_seconds(grace));
    if !token::replace(&write.tx, &old.id, &new_id, grace_ends, app.now()).await? {
        return Err(Code::TokenEnded.into());
    }
    let record = stored(&write.tx, &write.caller, new_id.as_str(), app.now()).await?;
    let made = Made { record: &record, token: secret.reveal(), warnings: &[] };
    let answer = Answer::secret(StatusCode::CREATED, &made)?;
    let after = json!({ "replaced_by": new_id, "grace_ends": grace_ends });
    write.finish(old.id.as_str(), Null, after, answer).await
}

/// `DELETE /auth/tokens/{id}`: revokes one of one's own PATs; 204 again for one that was revoked before.
pub(crate) async fn revoke(app: App, caller: Caller, Segment(id): Segment) -> Result<Response, ApiError> {
    let found = stored(app.db(), &caller, &id, app.now()).await?;
    end(&app, route::PATS_REVOKE, &caller, &found, Some(caller.user_id())).await
}

/// Revokes a credential that was found. Revoked before: nothing happens, and the first moment stays.
pub(crate) async fn end(
    app: &App,
    route: &'static route::Route,
    caller: &Caller,
    found: &Token,
    own: Option<&UserId>,
) -> Result<Response, ApiError> {
    let write = app.relieve(route, caller).await?;
    let id = found.id.as_str();
    let now = token::find(&write.tx, caller.tenant_id(), own, id, app.now()).await?.ok_or(Code::TokenNotFound)?;
    if !credential::revoke(&write.tx, &now.id, app.now()).await? {
        return write.nothing(Answer::empty()); // it was revoked before: nothing changes, so there is nothing to audit
    }
    let owner =
        json!({ "kind": now.kind, "name": now.name, "user_id": now.owner.user_id, "agent_id": now.owner.agent_id });
    write.finish(id, owner, Null, Answer::empty()).await
}

#[cfg(test)]
mod tests {
    use common::{
        scope::Role,
        testing::{Actor, TestApp},
    };
    use serde_json::Value as Json;

    use super::*;
    use crate::with_neighbours;

    const PATS: &str = "/auth/tokens";

    async fn ada(t: &TestApp) -> Actor {
        let tenant = t.tenant("main").await;
        t.user(&tenant, "ada@example.com", Role::Member).await
    }

    /// The same person with the token of an answer.
    fn with(actor: &Actor, made: &Json) -> Actor {
        let token = made["token"].as_str().unwrap().to_owned();
        Actor {
            tenant: actor.tenant.clone(),
            user: actor.user.clone(),
            agent: None,
            credential: actor.credential.clone(),
            token,
        }
    }

    fn path(made: &Json) -> String {
        format!("{PATS}/{}", made["id"].as_str().unwrap())
    }

    /// R3, R5, R9: shown once, stored as answered, and what was left out is what the contract says.
    #[tokio::test]
    async fn a_pat_is_made_and_shown_once() {
        let t = TestApp::new(with_neighbours());
        let ada = ada(&t).await;
        let made = t.as_(&ada, "POST", PATS, json!({ "name": " laptop " })).await.is(201);
        let secret = Secret::parse(made["token"].as_str().unwrap()).unwrap();
        assert_eq!(secret.kind(), Kind::Pat);
        assert_eq!(
            made,
            json!({
                "id": made["id"], "kind": "pat", "name": "laptop", "prefix": secret.shown(), "scope": ["*"], "status": "active",
                "created_at": "2026-01-02T03:04:05.000Z", "expires_at": "2026-04-02T03:04:05.000Z", "revoked_at": null,
                "replaced_by": null, "last_used_at": null, "last_used_ip": null, "token": secret.reveal(), "warnings": [],
            })
        );
        let mut expected = made.clone();
        expected.as_object_mut().unwrap().retain(|key, _| key != "token" && key != "warnings");
        assert_eq!(t.as_(&ada, "GET", &path(&made), Json::Null).await.is(200), expected);
        assert_eq!(t.as_(&ada, "GET", PATS, Json::Null).await.is(200)["items"], json!([expected]));
        let audited = t.texts("SELECT action || ' ' || after FROM audit").await;
        assert!(audited[0].starts_with("token.create {") && !audited[0].contains(secret.reveal()), "{audited:?}");
    }

    /// R10: bounds, and "never" is never.
    #[tokio::test]
    async fn a_lifetime_is_1_to_3650_days_or_never() {
        let t = TestApp::new(with_neighbours());
        let ada = ada(&t).await;
        let ask = |days: Json| json!({ "name": "x", "expires_in_days": days });
        for bad in [json!(0), json!(-1), json!(3651)] {
            t.as_(&ada, "POST", PATS, ask(bad)).await.refused(400, "invalid_lifetime");
        }
        for bad in [json!(1.5), json!(1e30), json!("9")] {
            t.as_(&ada, "POST", PATS, ask(bad)).await.refused(422, "validation_error");
        }
        assert_eq!(t.as_(&ada, "POST", PATS, ask(Json::Null)).await.is(201)["expires_at"], Json::Null);
        assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'pat' AND expires_at IS NULL").await, 1);
        assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'pat'").await, 1);
    }

    /// R7, R9: only a session makes one; what the role lacks is said; what is unknown is refused with what is known.
    #[tokio::test]
    async fn scopes_are_checked_and_a_pat_makes_no_pat() {
        let t = TestApp::new(with_neighbours());
        let ada = ada(&t).await;
        let made =
            t.as_(&ada, "POST", PATS, json!({ "name": "x", "scope": ["users.read", "agents.read"] })).await.is(201);
        assert!(made["warnings"][0].as_str().unwrap().ends_with("lacks them: users.read."), "{made}");
        let refused = t
            .as_(&ada, "POST", PATS, json!({ "name": "x", "scope": ["x.crm.read"] }))
            .await
            .refused(400, "unknown_scope");
        assert_eq!(refused["unknown_scopes"], json!(["x.crm.read"]));
        t.as_(&with(&ada, &made), "POST", PATS, json!({ "name": "y" })).await.refused(403, "session_required");
        let agent = t.agent(&ada, "scout", "*").await;
        t.as_(&agent, "POST", PATS, json!({ "name": "y" })).await.refused(403, "session_required");
        assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'pat'").await, 1);
    }

    /// R11: both work within the grace, the old one ends the second it is over, and a second rotation ends the first grace.
    #[tokio::test]
    async fn a_pat_rotates_itself_with_a_grace() {
        let t = TestApp::new(with_neighbours());
        let ada = ada(&t).await;
        let ask = json!({ "name": "ci", "scope": ["agents.read"], "expires_in_days": 3 });
        let first = t.as_(&ada, "POST", PATS, ask).await.is(201);
        let one = with(&ada, &first);
        t.as_(&one, "POST", &format!("{}/rotate", path(&first)), json!({ "grace_seconds": 59 }))
            .await
            .refused(400, "invalid_grace");
        let second = t.as_(&one, "POST", &format!("{}/rotate", path(&first)), Json::Null).await.is(201);
        for member in ["name", "scope", "expires_at"] {
            assert_eq!(second[member], first[member], "{member}");
        }
        let two = with(&ada, &second);
        t.wait(59);
        for (pat, made) in [(&one, &first), (&two, &second)] {
            t.as_(pat, "GET", &path(made), Json::Null).await.is(200);
        }
        // Replaced is replaced: the old one cannot fork the line.
        t.as_(&one, "POST", &format!("{}/rotate", path(&first)), Json::Null).await.refused(409, "token_replaced");
        let third =
            t.as_(&two, "POST", &format!("{}/rotate", path(&second)), json!({ "grace_seconds": 86_400 })).await.is(201);
        t.as_(&one, "GET", &path(&first), Json::Null).await.refused(401, "token_revoked");
        t.wait(86_399);
        t.as_(&two, "GET", &path(&second), Json::Null).await.is(200);
        t.wait(1);
        t.as_(&two, "GET", &path(&second), Json::Null).await.refused(401, "token_expired");
        let three = with(&ada, &third);
        t.wait(100_000);
        // The grace never outlives the end that was there.
        let fourth = t
            .as_(&three, "POST", &format!("{}/rotate", path(&third)), json!({ "grace_seconds": 86_400 }))
            .await
            .is(201);
        t.wait(72_740);
        for (made, pat) in [(&third, &three), (&fourth, &with(&ada, &fourth))] {
            t.as_(pat, "GET", &path(made), Json::Null).await.is(200);
        }
        t.wait(1);
        for (made, pat) in [(&third, &three), (&fourth, &with(&ada, &fourth))] {
            t.as_(pat, "GET", &path(made), Json::Null).await.refused(401, "token_expired");
        }
    }

    #[tokio::test]
    async fn a_session_rotates_at_once_and_another_pat_does_not() {
        let t = TestApp::new(with_neighbours());
        let ada = ada(&t).await;
        let first = t.as_(&ada, "POST", PATS, json!({ "name": "a" })).await.is(201);
        let other = t.as_(&ada, "POST", PATS, json!({ "name": "b" })).await.is(201);
        let rotate = format!("{}/rotate", path(&first));
        t.as_(&with(&ada, &other), "POST", &rotate, Json::Null).await.refused(403, "session_required");
        let second = t.as_(&ada, "POST", &rotate, Json::Null).await.is(201);
        t.as_(&with(&ada, &first), "GET", &path(&first), Json::Null).await.refused(401, "token_revoked");
        t.as_(&with(&ada, &second), "GET", &path(&second), Json::Null).await.is(200);
        t.as_(&ada, "POST", &rotate, Json::Null).await.refused(409, "token_ended");
        // What has ended is not brought back.
        t.as_(&ada, "DELETE", &path(&other), Json::Null).await.is(204);
        t.as_(&ada, "POST", &format!("{}/rotate", path(&other)), Json::Null).await.refused(409, "token_ended");
    }

    /// Contract, section 2: a PAT always reads and revokes itself, and no other one without the scope.
    #[tokio::test]
    async fn a_pat_without_scopes_reads_and_revokes_itself_alone() {
        let t = TestApp::new(with_neighbours());
        let ada = ada(&t).await;
        let made = t.as_(&ada, "POST", PATS, json!({ "name": "a", "scope": ["agents.read"] })).await.is(201);
        let other = t.as_(&ada, "POST", PATS, json!({ "name": "b" })).await.is(201);
        let pat = with(&ada, &made);
        t.as_(&pat, "GET", &path(&made), Json::Null).await.is(200);
        t.as_(&pat, "GET", PATS, Json::Null).await.refused(403, "scope_denied");
        t.as_(&pat, "GET", &path(&other), Json::Null).await.refused(403, "scope_denied");
        t.as_(&pat, "DELETE", &path(&other), Json::Null).await.refused(403, "scope_denied");
        t.as_(&pat, "DELETE", &path(&made), Json::Null).await.is(204);
        t.as_(&pat, "GET", &path(&made), Json::Null).await.refused(401, "token_revoked");
        let revoked = t.as_(&ada, "GET", &path(&made), Json::Null).await.is(200)["revoked_at"].clone();
        t.wait(5);
        t.as_(&ada, "DELETE", &path(&made), Json::Null).await.is(204);
        assert_eq!(t.as_(&ada, "GET", &path(&made), Json::Null).await.is(200)["revoked_at"], revoked);
        assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'token.revoke'").await, 1);
    }

    /// R33: somebody else's token, and one that is no PAT, are as absent as one that never was.
    #[tokio::test]
    async fn a_foreign_token_is_an_absent_one() {
        let t = TestApp::new(with_neighbours());
        let ada = ada(&t).await;
        let eve = t.user(&ada.tenant, "eve@example.com", Role::Admin).await;
        let made = t.as_(&ada, "POST", PATS, json!({ "name": "a" })).await.is(201);
        for (method, tail) in [("GET", ""), ("DELETE", ""), ("POST", "/rotate")] {
            let mut answers = Vec::new();
            for id in [made["id"].as_str().unwrap(), eve.credential.as_str(), "tok_nothing", "%2F"] {
                let before = t.db().statements();
                let answer = t.as_(&eve, method, &format!("{PATS}/{id}{tail}"), Json::Null).await;
                let mut body = answer.refused(404, "token_not_found");
                body["request_id"] = Json::Null;
                answers.push((body, t.db().statements() - before));
            }
            assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
        }
        assert_eq!(t.number("SELECT count(*) FROM credentials WHERE revoked_at IS NOT NULL").await, 0);
    }

    #[tokio::test]
    async fn the_list_is_filtered_sorted_and_paged() {
        let t = TestApp::new(with_neighbours());
        let ada = ada(&t).await;
        for (name, days) in [("soon", json!(3)), ("never", Json::Null), ("later", json!(30)), ("gone", json!(1))] {
            t.as_(&ada, "POST", PATS, json!({ "name": name, "expires_in_days": days })).await.is(201);
            t.wait(10);
        }
        t.wait(86_400);
        // The session has ended meanwhile.
        let later = t.credential(Kind::Session, &ada.tenant, &ada.user, None, "*", None).await;
        let names = async |query: &str| -> Vec<String> {
            let page = t.as_(&later, "GET", &format!("{PATS}?{query}"), Json::Null).await.is(200);
            page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names("").await, ["gone", "later", "never", "soon"]);
        assert_eq!(names("sort=expires_at").await, ["gone", "soon", "later", "never"]);
        assert_eq!(names("status=active").await, ["later", "never", "soon"]);
        assert_eq!(names("status=expiring").await, ["soon"]);
        assert_eq!(names("status=expired").await, ["gone"]);
        assert!(names("status=revoked").await.is_empty());
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("{PATS}?sort=expires_at&limit=1{cursor}");
            let page = t.as_(&later, "GET", &path, Json::Null).await.is(200);
            seen.push(page["items"][0]["name"].as_str().unwrap().to_owned());
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, ["gone", "soon", "later", "never"]);
        t.as_(&later, "GET", &format!("{PATS}?sort=name"), Json::Null).await.refused(400, "invalid_filter");
        t.as_(&later, "GET", &format!("{PATS}?status=live"), Json::Null).await.refused(400, "invalid_filter");
    }

    /// R32: never on the first use, and once for each change of the address.
    #[tokio::test]
    async fn a_use_from_another_address_is_audited() {
        let t = TestApp::new(with_neighbours());
        let ada = ada(&t).await;
        let made = t.as_(&ada, "POST", PATS, json!({ "name": "a" })).await.is(201);
        let bearer = format!("Bearer {}", made["token"].as_str().unwrap());
        let moved = "SELECT before || ' ' || after FROM audit WHERE action = 'token.first_use_new_ip'";
        for (address, rows) in
            [("192.0.2.1:1", 0), ("192.0.2.1:9", 0), ("192.0.2.2:1", 1), ("192.0.2.2:1", 1), ("192.0.2.1:1", 2)]
        {
            let headers = [("authorization", bearer.as_str()), ("spin-client-addr", address)];
            t.call("GET", PATS, &headers, Json::Null).await.is(200);
            assert_eq!(t.texts(moved).await.len(), rows, "{address}");
        }
        assert_eq!(t.texts(moved).await[0], r#"{"address":"192.0.2.1"} {"address":"192.0.2.2"}"#);
        let shown = t.as_(&ada, "GET", &path(&made), Json::Null).await.is(200);
        assert_eq!(
            (&shown["last_used_ip"], &shown["last_used_at"]),
            (&json!("192.0.2.1"), &json!("2026-01-02T03:04:05.000Z"))
        );
    }

    /// R51: the same credential gets the secret again, another one of the same person does not.
    #[tokio::test]
    async fn a_create_is_replayed_to_the_same_session_only() {
        let t = TestApp::new(with_neighbours());
        let ada = ada(&t).await;
        let bearer = format!("Bearer {}", ada.token);
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
        let first = t.call("POST", PATS, &headers, json!({ "name": "a" })).await;
        let again = t.call("POST", PATS, &headers, json!({ "name": "a" })).await;
        assert_eq!((first.is(201), again.header("idempotency-replayed")), (again.is(201), "true"));
        let other = t.credential(Kind::Session, &ada.tenant, &ada.user, None, "*", None).await;
        let bearer = format!("Bearer {}", other.token);
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", "k")];
        t.call("POST", PATS, &headers, json!({ "name": "a" })).await.refused(409, "idempotency_other_credential");
        assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'pat'").await, 1);
    }
}
