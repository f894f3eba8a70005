//! The users of a tenant: list, read, create, change.

use axum::{http::StatusCode, response::Response};
use common::{
    audit,
    caller::Caller,
    error::{ApiError, Code},
    form,
    form::{Ask, Params},
    http::{App, Segment, json, text},
    id::UserId,
    idempotency::Answer,
    page::Wanted,
    route,
    scope::Role,
    store::user::{self, Changed, User},
    write::Begun,
};
use serde_json::{
    Value::{self as Json, Null},
    json,
};

form! {
    pub(crate) struct List {
        q: Option<String>,
        role: Option<String>,
        active: Option<String>,
        limit: Option<i64>,
        cursor: Option<String>,
    }
}

/// `GET /api/users`: the tenant's users.
pub(crate) async fn list(app: App, caller: Caller, Params(ask): Params<List>) -> Result<Response, ApiError> {
    let filters = [ask.q.as_deref(), ask.role.as_deref(), ask.active.as_deref()].map(Option::unwrap_or_default);
    let q = ask.q.as_deref().filter(|q| !q.trim().is_empty()).map(|q| text("q", q, 100)).transpose()?;
    let wanted = Wanted::read(&caller, ask.limit, ask.cursor.as_deref(), &filters)?;
    let role = match ask.role.as_deref() {
        None => None,
        Some(word) => Some(Role::from_word(word).ok_or(Code::UnknownRole)?),
    };
    let active = match ask.active.as_deref() {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => return Err(Code::InvalidFilter.with("field", "active").with("valid", "true, false")),
    };
    let filter = user::Filter { q: q.as_deref(), role, active };
    let rows = user::list(app.db(), caller.tenant_id(), &filter, &wanted).await?;
    json(StatusCode::OK, &wanted.page(rows, |row| (row.created_at, row.id.to_string())))
}

/// `GET /api/users/{id}`: one user of the tenant.
pub(crate) async fn get(app: App, caller: Caller, Segment(id): Segment) -> Result<Response, ApiError> {
    json(StatusCode::OK, &user::get(app.db(), caller.tenant_id(), &id).await?)
}

form! {
    pub(crate) struct Create {
        email: String,
        name: String,
        role: Option<String>,
    }
}

/// `POST /api/users`: creates a user without a password, which is set by `POST /api/users/{id}/set-password`.
pub(crate) async fn create(app: App, caller: Caller, ask: Ask<Create>) -> Result<Response, ApiError> {
    let email = user::parse_email(&ask.body.email).ok_or(Code::InvalidEmail)?;
    let name = text("name", &ask.body.name, 64)?;
    let role = match ask.body.role.as_deref() {
        None => Role::Member,
        Some(word) => Role::from_word(word).ok_or(Code::UnknownRole)?,
    };
    let write = match app.write(route::USERS_CREATE, &caller, ask.kept).await? {
        Begun::First(write) => write,
        Begun::Again(answer) => return Ok(answer),
    };
    let id = UserId::generate(app.now(), app.chance());
    let new = user::New {
        id: &id,
        tenant_id: caller.tenant_id(),
        email: &email,
        name: &name,
        role,
        password_hash: None,
        created_at: app.now(),
    };
    if !user::insert(&write.tx, &new).await? {
        return Err(Code::EmailTaken.into());
    }
    let stored = user::get(&write.tx, caller.tenant_id(), id.as_str()).await?;
    let answer = Answer::json(StatusCode::CREATED, &stored)?;
    write.finish(id.as_str(), Null, json!({ "email": email, "name": name, "role": role }), answer).await
}

form! {
    pub(crate) struct Patch {
        name: Option<String>,
        role: Option<String>,
        email: Option<String>,
    }
}

/// `PATCH /api/users/{id}`: changes what is sent. A role counts from the next request on, for all that this person and his agents
/// carry.
pub(crate) async fn patch(
    app: App,
    caller: Caller,
    Segment(id): Segment,
    ask: Ask<Patch>,
) -> Result<Response, ApiError> {
    let body = ask.body;
    if body.name.is_none() && body.role.is_none() && body.email.is_none() {
        return Err(ApiError::field("", "send at least one of: name, role, email"));
    }
    let name = body.name.map(|name| text("name", &name, 64)).transpose()?;
    let role = body.role.map(|word| Role::from_word(&word).ok_or(Code::UnknownRole)).transpose()?;
    let email = body.email.map(|email| user::parse_email(&email).ok_or(Code::InvalidEmail)).transpose()?;
    user::get(app.db(), caller.tenant_id(), &id).await?; // early 404; decided again below
    let write = match app.write(route::USERS_PATCH, &caller, ask.kept).await? {
        Begun::First(write) => write,
        Begun::Again(answer) => return Ok(answer),
    };
    let before = user::get(&write.tx, write.caller.tenant_id(), &id).await?;
    let mut after = before.clone();
    after.name = name.unwrap_or(after.name);
    after.role = role.unwrap_or(after.role);
    after.email = email.unwrap_or(after.email);
    let (was, is) = audit::changed(audited(&before), audited(&after));
    let answer = Answer::json(StatusCode::OK, &after)?;
    if was == is {
        return write.nothing(answer);
    }
    match user::update(&write.tx, write.caller.tenant_id(), &after).await? {
        Changed::Done => write.finish(after.id.as_str(), was, is, answer).await,
        Changed::EmailTaken => Err(Code::EmailTaken.into()),
        Changed::LastAdmin => Err(Code::LastAdmin.into()),
    }
}

/// A user as an audit row says him.
pub(crate) fn audited(user: &User) -> Json {
    json!({ "email": user.email, "name": user.name, "role": user.role, "active": user.active })
}

#[cfg(test)]
mod tests {
    use common::{
        scope::Role,
        secret::Kind,
        testing::{Actor, TestApp},
    };
    use serde_json::{
        Value::{self as Json, Null},
        json,
    };

    use crate::with_neighbours;

    #[tokio::test]
    async fn a_created_user_is_listed_and_audited() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        t.wait(1);
        let made =
            t.as_(&ada, "POST", "/api/users", json!({ "email": " Eve@Example.com", "name": "Eve" })).await.is(201);
        assert_eq!(
            made,
            json!({
                "id": made["id"], "email": "Eve@Example.com", "name": "Eve", "role": "member", "active": true,
                "created_at": "2026-01-02T03:04:06.000Z", "deactivated_at": null, "deactivated_by": null, "last_login_at": null,
            })
        );
        let list = t.as_(&ada, "GET", "/api/users?q=eve", Null).await.is(200);
        assert_eq!(list, json!({ "items": [made], "next_cursor": null }));
        assert_eq!(
            t.as_(&ada, "GET", &format!("/api/users/{}", made["id"].as_str().unwrap()), Null).await.is(200),
            made
        );
        let row = t.texts("SELECT action || ' ' || object_id || ' ' || after FROM audit").await;
        let after = json!({ "email": "Eve@Example.com", "name": "Eve", "role": "member" });
        assert_eq!(row, [format!("user.create {} {after}", made["id"].as_str().unwrap())]);
    }

    /// R17, R20: one user for an address whatever its case; no unknown role; nothing stored of what was refused.
    #[tokio::test]
    async fn a_user_that_cannot_be_is_refused() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        for (body, status, slug) in [
            (json!({ "email": "ADA@example.com", "name": "Ada" }), 409, "email_taken"),
            (json!({ "email": "nobody", "name": "N" }), 400, "invalid_email"),
            (json!({ "email": "n@example.com", "name": " " }), 400, "invalid_text"),
            (json!({ "email": "n@example.com", "name": "N", "role": "root" }), 400, "unknown_role"),
            (json!({ "email": "n@example.com" }), 422, "validation_error"),
            (json!({ "email": "n@example.com", "name": 1 }), 422, "validation_error"),
            (json!({ "email": "n@example.com", "name": "N", "invite": true }), 422, "validation_error"),
        ] {
            t.as_(&ada, "POST", "/api/users", body).await.refused(status, slug);
        }
        assert_eq!(t.number("SELECT count(*) FROM users").await, 1);
        assert_eq!(t.number("SELECT count(*) FROM audit").await, 0);
    }

    /// R33: a user of another tenant and one that never was are the same 404.
    #[tokio::test]
    async fn a_foreign_user_is_an_absent_one() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let other = t.tenant("other").await;
        let eve = t.user(&other, "eve@example.com", Role::Admin).await;
        t.as_(&ada, "GET", "/api/auth/whoami", Null).await.is(200);
        let mut seen = vec![];
        for id in [eve.user.as_str(), "usr_none"] {
            let before = t.db().statements();
            let mut body = t.as_(&ada, "GET", &format!("/api/users/{id}"), Null).await.refused(404, "user_not_found");
            body["request_id"] = Null;
            seen.push((body, t.db().statements() - before));
        }
        assert_eq!(seen[0], seen[1]);
    }

    /// R7, R12: no PAT and no agent creates a user.
    #[tokio::test]
    async fn only_a_session_of_an_admin_creates_users() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "*", None).await;
        let scout = t.agent(&ada, "scout", "*").await;
        let curator = t.user(&ada.tenant, "curator@example.com", Role::Curator).await;
        let body = json!({ "email": "n@example.com", "name": "N" });
        for (actor, slug) in [(&pat, "session_required"), (&scout, "session_required"), (&curator, "scope_denied")] {
            let answer = t.as_(actor, "POST", "/api/users", body.clone()).await;
            answer.refused(403, slug);
        }
        t.as_(&scout, "GET", "/api/users", Null).await.refused(403, "person_required");
        let refused = t.as_(&curator, "POST", "/api/users", body).await;
        assert_eq!(
            refused.header("www-authenticate"),
            "Bearer realm=\"accredit\", error=\"insufficient_scope\", scope=\"users.write\""
        );
        assert_eq!(refused.refused(403, "scope_denied")["missing_scopes"], json!(["users.write"]));
        assert_eq!(t.number("SELECT count(*) FROM users").await, 2);
    }

    /// R50, R51: the same key and body give the first answer again; another body is refused.
    #[tokio::test]
    async fn a_repeated_create_is_answered_from_what_was_kept() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let bearer = format!("Bearer {}", ada.token);
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", "one")];
        let body = json!({ "email": "n@example.com", "name": "N" });
        let first = t.call("POST", "/api/users", &headers, body.clone()).await;
        let again = t.call("POST", "/api/users", &headers, body).await;
        assert_eq!((first.is(201), again.header("idempotency-replayed")), (again.is(201), "true"));
        let other = t.call("POST", "/api/users", &headers, json!({ "email": "m@example.com", "name": "M" })).await;
        other.refused(422, "idempotency_mismatch");
        assert_eq!(t.number("SELECT count(*) FROM users").await, 2);
    }

    /// R51: who may is decided before the replay.
    #[tokio::test]
    async fn who_was_demoted_gets_nothing_back() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let bearer = format!("Bearer {}", ada.token);
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", "one")];
        let body = json!({ "email": "n@example.com", "name": "N" });
        t.call("POST", "/api/users", &headers, body.clone()).await.is(201);
        t.execute("UPDATE users SET role = 'member'").await.unwrap();
        t.call("POST", "/api/users", &headers, body).await.refused(403, "scope_denied");
    }

    #[tokio::test]
    async fn a_list_is_paged_and_its_cursor_is_bound_to_caller_and_filters() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        for number in 0..5 {
            t.wait(1);
            t.user(&ada.tenant, &format!("u{number}@example.com"), Role::Viewer).await;
        }
        let mut seen = vec![];
        let mut path = "/api/users?limit=2&role=viewer".to_owned();
        loop {
            let page = t.as_(&ada, "GET", &path, Null).await.is(200);
            seen.extend(
                page["items"].as_array().unwrap().iter().map(|user| user["email"].as_str().unwrap().to_owned()),
            );
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            t.as_(&ada, "GET", &format!("/api/users?role=admin&cursor={cursor}"), Null)
                .await
                .refused(400, "invalid_cursor");
            path = format!("/api/users?limit=2&role=viewer&cursor={cursor}");
        }
        assert_eq!(seen, [4, 3, 2, 1, 0].map(|number| format!("u{number}@example.com")));
        for (query, status, slug) in [
            ("limit=0", 400, "invalid_limit"),
            ("limit=201", 400, "invalid_limit"),
            ("limit=x", 422, "validation_error"),
            ("cursor=x", 400, "invalid_cursor"),
            ("role=root", 400, "unknown_role"),
            ("active=maybe", 400, "invalid_filter"),
            ("color=red", 422, "validation_error"),
        ] {
            t.as_(&ada, "GET", &format!("/api/users?{query}"), Null).await.refused(status, slug);
        }
    }

    async fn patch(t: &TestApp, who: &Actor, whom: &Actor, body: Json) -> common::testing::Answer {
        t.as_(who, "PATCH", &format!("/api/users/{}", whom.user), body).await
    }

    /// What is sent is changed, the rest stays, and the audit row holds what was changed. A role counts from the next request on.
    #[tokio::test]
    async fn a_change_of_a_user_counts_at_once() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
        t.as_(&max, "GET", "/api/users", Null).await.refused(403, "scope_denied");
        let changed = patch(&t, &ada, &max, json!({ "role": "admin" })).await.is(200);
        assert_eq!((&changed["role"], &changed["email"]), (&json!("admin"), &json!("max@example.com")));
        t.as_(&max, "GET", "/api/users", Null).await.is(200);
        let changed = patch(&t, &max, &max, json!({ "name": " Max M. ", "email": "Max.M@example.com" })).await.is(200);
        assert_eq!((&changed["name"], &changed["email"]), (&json!("Max M."), &json!("Max.M@example.com")));
        assert_eq!(t.as_(&max, "GET", "/api/auth/whoami", Null).await.is(200)["email"], "Max.M@example.com");
        // Nothing changes: nothing is written.
        patch(&t, &ada, &max, json!({ "role": "admin", "name": "Max M." })).await.is(200);
        let rows = t.texts("SELECT before || ' ' || after FROM audit WHERE action = 'user.update' ORDER BY seq").await;
        assert_eq!(
            rows,
            [
                r#"{"role":"member"} {"role":"admin"}"#,
                &format!(
                    r#"{{"email":"max@example.com","name":"max@example.com"}} {}"#,
                    r#"{"email":"Max.M@example.com","name":"Max M."}"#
                ),
            ]
        );
        assert_eq!(
            t.texts("SELECT email_key FROM users WHERE role = 'admin' ORDER BY 1").await[1],
            "max.m@example.com"
        );
    }

    /// R17, R20: what cannot be is refused, and nothing of it is stored.
    #[tokio::test]
    async fn a_change_that_cannot_be_is_refused() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
        let before = t.texts("SELECT id || email || email_key || name || role FROM users ORDER BY id").await;
        for (body, status, slug) in [
            (json!({ "email": "ADA@example.com" }), 409, "email_taken"),
            (json!({ "email": "ADA@example.com", "role": "viewer" }), 409, "email_taken"),
            (json!({ "email": "nobody" }), 400, "invalid_email"),
            (json!({ "name": " " }), 400, "invalid_text"),
            (json!({ "name": "N", "role": "root" }), 400, "unknown_role"),
            (json!({ "role": null }), 422, "validation_error"),
            (json!({ "name": "N", "active": false }), 422, "validation_error"),
            (json!({}), 422, "validation_error"),
        ] {
            patch(&t, &ada, &max, body).await.refused(status, slug);
        }
        let after = t.texts("SELECT id || email || email_key || name || role FROM users ORDER BY id").await;
        assert_eq!(before, after);
        assert_eq!(t.number("SELECT count(*) FROM audit").await, 0);
        // One's own address in another case is nobody else's.
        patch(&t, &ada, &max, json!({ "email": "MAX@example.com" })).await.is(200);
    }

    /// R18: a tenant keeps an active admin; of two who demote each other at once, one is left.
    #[tokio::test]
    async fn the_last_admin_is_not_demoted() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let max = t.user(&ada.tenant, "max@example.com", Role::Admin).await;
        let other = t.tenant("other").await;
        t.user(&other, "eve@example.com", Role::Admin).await;
        let body = json!({ "role": "member" });
        let second = TestApp::over(with_neighbours(), &t);
        let (one, two) = tokio::join!(patch(&t, &ada, &max, body.clone()), patch(&second, &max, &ada, body.clone()));
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 403]);
        let admins = "SELECT count(*) FROM users WHERE role = 'admin' AND tenant_id <> (SELECT id FROM tenants WHERE slug = 'other')";
        assert_eq!(t.number(admins).await, 1);
        let left = if one.status == 200 { &ada } else { &max };
        patch(&t, left, left, body.clone()).await.refused(409, "last_admin");
        // An inactive one does not count, and can be demoted.
        let idle = t.user(&ada.tenant, "idle@example.com", Role::Admin).await;
        t.execute("UPDATE users SET deactivated_at = 1 WHERE email = 'idle@example.com'").await.unwrap();
        patch(&t, left, left, body.clone()).await.refused(409, "last_admin");
        patch(&t, left, &idle, body).await.is(200);
        patch(&t, left, left, json!({ "role": "admin", "name": "Last" })).await.is(200);
        assert_eq!(t.number(admins).await, 1);
    }

    /// R7: no PAT, no agent and nobody below an admin changes a user; a foreign one is an absent one.
    #[tokio::test]
    async fn only_a_session_of_an_admin_changes_users() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "*", None).await;
        let scout = t.agent(&ada, "scout", "*").await;
        let curator = t.user(&ada.tenant, "curator@example.com", Role::Curator).await;
        let path = format!("/api/users/{}", ada.user);
        for (method, path, body) in [
            ("PATCH", path.clone(), json!({ "role": "viewer" })),
            ("DELETE", path.clone(), Null),
            ("POST", format!("{path}/deactivate"), Null),
            ("POST", format!("{path}/activate"), Null),
        ] {
            for (actor, slug) in [(&pat, "session_required"), (&scout, "session_required"), (&curator, "scope_denied")]
            {
                t.as_(actor, method, &path, body.clone()).await.refused(403, slug);
            }
        }
        assert_eq!(t.texts("SELECT role FROM users WHERE email = 'ada@example.com'").await, ["admin"]);
    }
}
