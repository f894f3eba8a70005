use axum::{http::StatusCode, response::Response};
use common::{
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
    store::user,
    write::Begun,
};
use serde_json::{Value::Null, json};

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
    match user::find(app.db(), caller.tenant_id(), &id).await? {
        Some(found) => json(StatusCode::OK, &found),
        None => Err(Code::UserNotFound.into()),
    }
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
    let stored = user::find(&write.tx, caller.tenant_id(), id.as_str()).await?;
    let stored =
        stored.ok_or_else(|| ApiError::from(Code::Internal).cause("a user that was just stored is not there"))?;
    let answer = Answer::json(StatusCode::CREATED, &stored)?;
    write.finish(id.as_str(), Null, json!({ "email": email, "name": name, "role": role }), answer).await
}

#[cfg(test)]
mod tests {
    use common::{scope::Role, secret::Kind, testing::TestApp};
    use serde_json::{Value::Null, json};

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
}
