use common::{role::Role, secret::Kind};
use serde_json::{
    Value::{self as Json, Null},
    json,
};
use service::testing::{Actor, Answer, TestApp};

use crate::with_neighbours;

/// R185: all wrong values of a body are told at once; a single one as it always was.
#[tokio::test]
async fn all_wrong_values_are_told_at_once() {
    let t = TestApp::new(with_neighbours());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let body = json!({ "email": "nobody", "name": "", "role": "king" });
    let told = t.as_(&ada, "POST", "/api/users", body).await.refused(422, "validation_error");
    let fields: Vec<(&str, &str)> = told["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["field"].as_str().unwrap(), one["error"].as_str().unwrap()))
        .collect();
    assert_eq!(fields, [("name", "invalid_text"), ("email", "invalid_email"), ("role", "unknown_role")]);
    let body = json!({ "email": "nobody", "name": "N" });
    t.as_(&ada, "POST", "/api/users", body).await.refused(400, "invalid_email");
}

#[tokio::test]
async fn a_created_user_is_listed_and_audited() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    t.wait(1);
    let body = json!({ "email": " Eve@Example.com", "name": "Eve", "invite": false });
    let mut made = t.as_(&ada, "POST", "/api/users", body).await.is(201);
    assert_eq!(made.as_object_mut().unwrap().remove("warnings"), Some(json!([])));
    assert_eq!(
        made,
        json!({
            "id": made["id"], "email": "Eve@Example.com", "name": "Eve", "role": "member", "active": true,
            "created_at": "2026-01-02T03:04:06.000Z", "deactivated_at": null, "deactivated_by": null, "last_login_at": null,
            "second_factor": false,
        })
    );
    let list = t.as_(&ada, "GET", "/api/users?q=eve", Null).await.is(200);
    assert_eq!(list, json!({ "items": [made], "next_cursor": null }));
    assert_eq!(t.as_(&ada, "GET", &format!("/api/users/{}", made["id"].as_str().unwrap()), Null).await.is(200), made);
    let row = t.texts("SELECT action || ' ' || object_id || ' ' || after FROM audit").await;
    let after = json!({ "email": "Eve@Example.com", "name": "Eve", "role": "member" });
    assert_eq!(row, [format!("user.create {} {after}", made["id"].as_str().unwrap())]);
}

/// R670: a name is found by what its letters and signs are written as elsewhere.
#[tokio::test]
async fn a_name_is_found_however_it_is_typed() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    for (email, name) in [("eva@example.com", "Eva Straße Weiß"), ("bo@example.com", "Bo O'Brien\u{1e9e}")] {
        let body = json!({ "email": email, "name": name, "invite": false });
        t.as_(&ada, "POST", "/api/users", body).await.is(201);
    }
    for (q, found) in [
        ("STRASSE", "eva@example.com"),
        ("strasse", "eva@example.com"),
        ("weiss", "eva@example.com"),
        ("stra%C3%9Fe", "eva@example.com"),
        ("O%E2%80%99Brien", "bo@example.com"),
        ("o'brien%C3%9F", "bo@example.com"),
        ("brienss", "bo@example.com"),
    ] {
        let list = t.as_(&ada, "GET", &format!("/api/users?q={q}"), Null).await.is(200);
        assert_eq!((&list["items"][0]["email"], list["items"].as_array().unwrap().len()), (&json!(found), 1), "{q}");
    }
}

/// R17, R20: an address in any case has one user; no role is unknown; a refused user is not stored.
#[tokio::test]
async fn an_invalid_user_is_refused() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    for (body, status, slug) in [
        (json!({ "email": "ADA@example.com", "name": "Ada" }), 409, "email_taken"),
        (json!({ "email": "nobody", "name": "N" }), 400, "invalid_email"),
        (json!({ "email": "n@example.com", "name": " " }), 400, "invalid_text"),
        (json!({ "email": "n@example.com", "name": "N", "role": "root" }), 400, "unknown_role"),
        (json!({ "email": "n@example.com" }), 422, "validation_error"),
        (json!({ "email": "n@example.com", "name": 1 }), 422, "validation_error"),
        (json!({ "email": "n@example.com", "name": "N", "invite": 1 }), 422, "validation_error"),
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
async fn a_repeated_create_gets_the_kept_answer() {
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

/// R51: permission is decided before the replay.
#[tokio::test]
async fn a_demoted_admin_gets_no_kept_answer() {
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
        seen.extend(page["items"].as_array().unwrap().iter().map(|user| user["email"].as_str().unwrap().to_owned()));
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

async fn patch(t: &TestApp, actor: &Actor, user: &Actor, body: Json) -> Answer {
    t.as_(actor, "PATCH", &format!("/api/users/{}", user.user), body).await
}

/// R533: where mail proves an address, an admin changes the own one as everybody does: by a mail to it.
#[tokio::test]
async fn an_admin_changes_the_own_address_by_a_mail_to_it() {
    let t = TestApp::with(with_neighbours(), service::testing::mailing("https://accredit.example"));
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let refused = patch(&t, &ada, &ada, json!({ "email": "thief@example.com" })).await.refused(422, "validation_error");
    assert_eq!(refused["fields"][0]["field"], "email", "{refused}");
    assert_eq!(t.number("SELECT count(*) FROM users WHERE email_key = 'ada@example.com'").await, 1);
    // As it is written, the name, and what others have.
    patch(&t, &ada, &ada, json!({ "email": "Ada@Example.com", "name": "Ada A." })).await.is(200);
    patch(&t, &ada, &max, json!({ "email": "max2@example.com" })).await.is(200);
}

/// R707: an admin who changes somebody's address ends what a stranger may have opened by the old one, and no token.
#[tokio::test]
async fn a_change_of_address_ends_the_persons_sessions() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let pat = t.credential(Kind::Pat, &max.tenant, &max.user, None, "*", None).await;
    patch(&t, &ada, &max, json!({ "name": "Max M." })).await.is(200);
    t.as_(&max, "GET", "/api/auth/whoami", Null).await.is(200);
    let moved = patch(&t, &ada, &max, json!({ "email": "m@example.com" })).await;
    moved.is(200);
    assert!(moved.header("x-accredit-closure").starts_with("cls_"));
    t.as_(&max, "GET", "/api/auth/whoami", Null).await.refused(401, "token_revoked");
    t.as_(&pat, "GET", "/api/auth/whoami", Null).await.is(200);
    let trail = "SELECT after ->> 'ended_sessions' FROM audit WHERE before ->> 'email' = 'max@example.com'";
    assert_eq!(t.number(trail).await, 1);
    // One's own, where no mail proves an address: all but the one that asks.
    patch(&t, &ada, &ada, json!({ "email": "a@example.com" })).await.is(200);
    t.as_(&ada, "GET", "/api/auth/whoami", Null).await.is(200);
}

/// Sent fields are changed, the others stay, and the audit row holds the changed ones. A role counts from the next request on.
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
    assert_eq!(t.texts("SELECT email_key FROM users WHERE role = 'admin' ORDER BY 1").await[1], "max.m@example.com");
}

/// R17, R20: and nothing of it is stored.
#[tokio::test]
async fn an_invalid_change_is_refused() {
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
    // The user's own address in another case is not taken.
    patch(&t, &ada, &max, json!({ "email": "MAX@example.com" })).await.is(200);
}

/// R18: a tenant keeps an active admin; of two admins who demote each other at once, one is left.
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

/// R18, R240: of the admins, one must be able to sign in by the ways that the tenant allows.
#[tokio::test]
async fn an_admin_whom_no_way_lets_in_is_none() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Admin).await;
    let demote = json!({ "role": "member" });
    let set = async |ways: &str, max_has: &str| {
        t.execute("UPDATE users SET role = 'admin', password_hash = NULL").await.unwrap();
        t.execute("DELETE FROM identities").await.unwrap();
        t.execute(&format!("UPDATE tenants SET ways = '{ways}'")).await.unwrap();
        let sql = match max_has {
            "password" => format!("UPDATE users SET password_hash = 'x' WHERE id = '{}'", max.user),
            "identity" => format!(
                "INSERT INTO identities (id, user_id, issuer, subject, provider, created_at, last_used_at)
                 VALUES ('idn_1', '{}', 'https://i', 's', 'acme', 1, 1)",
                max.user
            ),
            _ => return,
        };
        t.execute(&sql).await.unwrap();
    };
    for (ways, max_has, is_kept) in [
        ("password link oidc", "", true),
        ("password", "", true),
        ("oidc", "", false),
        ("oidc", "password", false),
        ("oidc", "identity", true),
        // No mail is set up here.
        ("link", "password", false),
        ("link oidc", "identity", true),
    ] {
        set(ways, max_has).await;
        let answer = patch(&t, &max, &ada, demote.clone()).await;
        match is_kept {
            true => drop(answer.is(200)),
            false => drop(answer.refused(409, "last_admin")),
        }
    }
}

/// R642: nobody unlinks the sign-ins of the last admin who can get in.
#[tokio::test]
async fn the_last_admin_who_can_sign_in_keeps_the_identities() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Admin).await;
    let link = async |user: &Actor, number: i64| {
        let sql = "INSERT INTO identities (id, user_id, issuer, subject, provider, created_at, last_used_at)
                   VALUES ('idn_#', 'WHO', 'https://i', '#', 'acme', 1, 1)";
        t.execute(&sql.replace('#', &number.to_string()).replace("WHO", user.user.as_str())).await.unwrap();
    };
    t.execute("UPDATE users SET password_hash = 'x'").await.unwrap();
    t.execute("UPDATE tenants SET ways = 'oidc'").await.unwrap();
    link(&ada, 1).await;
    let path = format!("/api/users/{}/identities", ada.user);
    t.as_(&max, "DELETE", &path, Null).await.refused(409, "last_admin");
    assert_eq!(t.number("SELECT count(*) FROM identities").await, 1);
    link(&max, 2).await;
    t.as_(&max, "DELETE", &path, Null).await.is(204);
    assert_eq!(t.texts("SELECT id FROM identities").await, ["idn_2"]);
}

/// R7: no PAT, no agent and no user below an admin changes a user.
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
        for (actor, slug) in [(&pat, "session_required"), (&scout, "session_required"), (&curator, "scope_denied")] {
            t.as_(actor, method, &path, body.clone()).await.refused(403, slug);
        }
    }
    assert_eq!(t.texts("SELECT role FROM users WHERE email = 'ada@example.com'").await, ["admin"]);
}

/// R188, R280: people are sorted by name, by address or by their last sign-in, page by page.
#[tokio::test]
async fn a_list_of_users_is_sorted() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    for email in ["Zoe@example.com", "bob@example.com", "eve@example.com"] {
        t.wait(1);
        t.user(&ada.tenant, email, Role::Member).await;
    }
    t.execute("UPDATE users SET last_login_at = length(email) WHERE email LIKE 'bob%' OR email LIKE 'ada%'")
        .await
        .unwrap();
    t.execute("UPDATE users SET last_login_at = 99 WHERE email LIKE 'eve%'").await.unwrap();
    // Whatever the case; two of one name come by their ids.
    t.execute("UPDATE users SET name = iif(email LIKE 'bob%', 'Anna B', iif(email LIKE 'Zoe%', 'anna c', 'Carl'))")
        .await
        .unwrap();
    for (sort, emails) in [
        ("email", ["ada", "bob", "eve", "Zoe"]),
        ("created_at", ["eve", "bob", "Zoe", "ada"]),
        ("last_login_at", ["eve", "", "", "Zoe"]),
        ("name", ["bob", "Zoe", "", ""]),
    ] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = t.as_(&ada, "GET", &format!("/api/users?sort={sort}&limit=1{cursor}"), Null).await.is(200);
            seen.push(page["items"][0]["email"].as_str().unwrap().split('@').next().unwrap().to_owned());
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen.len(), 4, "{sort}: {seen:?}");
        // Two have signed in at the same moment: their ids say in which order they come.
        let known = |(seen, wanted): (&String, &&str)| wanted.is_empty() || seen == wanted;
        assert!(seen.iter().zip(&emails).all(known), "{sort}: {seen:?}");
    }
    let refused = t.as_(&ada, "GET", "/api/users?sort=role", Null).await.refused(400, "invalid_filter");
    assert_eq!(refused["fix"], "Send sort as one of: created_at, name, email, last_login_at.");
}

/// R337: those that never came in, those that did, and those that may not.
#[tokio::test]
async fn a_list_of_users_is_filtered_by_how_accounts_stand() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    for email in ["bob@example.com", "eve@example.com", "zoe@example.com"] {
        t.user(&ada.tenant, email, Role::Member).await;
    }
    t.execute("UPDATE users SET last_login_at = 1 WHERE email NOT LIKE 'bob%'").await.unwrap();
    t.execute("UPDATE users SET deactivated_at = 1 WHERE email LIKE 'zoe%'").await.unwrap();
    for (state, emails) in [
        ("invited", &["bob@example.com"][..]),
        ("active", &["ada@example.com", "eve@example.com"]),
        ("deactivated", &["zoe@example.com"]),
    ] {
        let page = t.as_(&ada, "GET", &format!("/api/users?state={state}&sort=email"), Null).await.is(200);
        let seen: Vec<&str> =
            page["items"].as_array().unwrap().iter().map(|one| one["email"].as_str().unwrap()).collect();
        assert_eq!(seen, emails, "{state}");
    }
    let refused = t.as_(&ada, "GET", "/api/users?state=idle", Null).await.refused(400, "invalid_filter");
    assert_eq!(refused["fix"], "Send state as one of: active, invited, deactivated.");
}

/// R387: an admin sees where a person is signed in and what was proved there, and ends one session; the person is told, of one's own nobody.
#[tokio::test]
async fn an_admin_sees_the_sessions_of_a_person_and_ends_one() {
    let t = TestApp::new(with_neighbours());
    let (tenant, other) = (t.tenant("main").await, t.tenant("other").await);
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let max = t.user(&tenant, "max@example.com", Role::Member).await;
    let zoe = t.user(&other, "zoe@example.com", Role::Admin).await;
    let second = t.credential(Kind::Session, &tenant, &max.user, None, "*", None).await;
    let id = |one: &Actor| one.credential.to_string();
    t.execute(&format!(
        "UPDATE credentials SET two_factors = 1, proved_at = 0, last_used_at = created_at, last_used_address = '192.0.2.7', user_agent = 'curl/8'
         WHERE id = '{}'",
        id(&second)
    ))
    .await
    .unwrap();
    let path = format!("/api/users/{}/sessions", max.user);
    let one = |session: &str| format!("{path}/{session}");
    let seconds = one(&id(&second));
    for (method, path) in [("GET", &path), ("DELETE", &seconds)] {
        t.as_(&max, method, path, Null).await.refused(403, "scope_denied");
        t.as_(&zoe, method, path, Null).await.refused(404, "user_not_found");
    }
    let listed = t.as_(&ada, "GET", &path, Null).await.is(200);
    let items = listed["items"].as_array().unwrap();
    let row = items.iter().find(|row| row["id"] == id(&second).as_str()).unwrap();
    let facts = ["user_agent", "last_used_address", "last_used_at", "two_factors", "proved_at", "current"]
        .map(|name| &row[name]);
    let used = json!("2026-01-02T03:04:05.000Z");
    assert_eq!(facts, [&json!("curl/8"), &json!("192.0.2.7"), &used, &json!(true), &Null, &json!(false)], "{row}");
    let first = items.iter().find(|row| row["id"] == id(&max).as_str()).unwrap();
    assert_eq!((&first["two_factors"], &first["proved_at"]), (&json!(false), &first["created_at"]), "{first}");
    assert_eq!(items.len(), 2);
    assert_eq!(
        t.as_(&ada, "GET", &format!("{path}?limit=1"), Null).await.is(200)["items"].as_array().unwrap().len(),
        1
    );

    // Neither somebody else's session nor a token is a session of theirs.
    let pat = t.credential(Kind::Pat, &tenant, &max.user, None, "*", None).await;
    for absent in ["tok_nothing", &id(&ada), &id(&zoe), &id(&pat)] {
        let told = t.as_(&ada, "DELETE", &one(absent), Null).await.refused(404, "session_not_found");
        // R679: it is about somebody else's.
        let fix = told["fix"].as_str().unwrap();
        assert!(told["detail"].as_str().unwrap().starts_with("This user") && fix.contains("/api/users/usr_"), "{told}");
    }
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE revoked_at IS NOT NULL").await, 0);
    t.as_(&ada, "DELETE", &seconds, Null).await.is(204);
    t.as_(&second, "GET", "/api/auth/whoami", Null).await.refused(401, "token_revoked");
    for lives in [&max, &pat, &zoe, &ada] {
        t.as_(lives, "GET", "/api/auth/whoami", Null).await.is(200);
    }
    t.as_(&ada, "DELETE", &seconds, Null).await.refused(404, "session_not_found");
    let told = "SELECT user_id || ' ' || title FROM notifications";
    assert_eq!(t.texts(told).await, [format!("{} Your session was ended", max.user)]);
    let rows = "SELECT action || ' ' || object_id || ' ' || json_extract(after, '$.session') FROM audit";
    assert_eq!(t.texts(rows).await, [format!("user.end_session {} {}", max.user, id(&second))]);

    let own = t.credential(Kind::Session, &tenant, &ada.user, None, "*", None).await;
    t.as_(&ada, "DELETE", &format!("/api/users/{}/sessions/{}", ada.user, id(&own)), Null).await.is(204);
    t.as_(&own, "GET", "/api/auth/whoami", Null).await.refused(401, "token_revoked");
    assert_eq!(t.texts(told).await.len(), 1, "nobody is told of their own deed");
}

/// R334: all sessions of a person end, and nothing beside them; the person is told once, and of the admin's own the one that asks stays.
#[tokio::test]
async fn an_admin_ends_all_sessions_of_a_person() {
    let t = TestApp::new(with_neighbours());
    let (tenant, other) = (t.tenant("main").await, t.tenant("other").await);
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let max = t.user(&tenant, "max@example.com", Role::Member).await;
    let zoe = t.user(&other, "zoe@example.com", Role::Admin).await;
    let second = t.credential(Kind::Session, &tenant, &max.user, None, "*", None).await;
    let pat = t.credential(Kind::Pat, &tenant, &max.user, None, "*", None).await;
    let scout = t.agent(&max, "scout", "agents.read").await;
    let path = format!("/api/users/{}/sessions", max.user);
    t.as_(&max, "DELETE", &path, Null).await.refused(403, "scope_denied");
    t.as_(&scout, "DELETE", &path, Null).await.refused(403, "person_required");
    // R33: another tenant's is an absent one.
    t.as_(&zoe, "DELETE", &path, Null).await.refused(404, "user_not_found");
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE revoked_at IS NOT NULL").await, 0);

    t.as_(&ada, "DELETE", &path, Null).await.is(204);
    for ended in [&max, &second] {
        t.as_(ended, "GET", "/api/auth/whoami", Null).await.refused(401, "token_revoked");
    }
    for lives in [&pat, &scout, &zoe, &ada] {
        t.as_(lives, "GET", "/api/auth/whoami", Null).await.is(200);
    }
    let told = "SELECT user_id || ' ' || title FROM notifications";
    assert_eq!(t.texts(told).await, [format!("{} Your sessions were ended", max.user)]);
    let row = "SELECT action || ' ' || object_id || ' ' || json_extract(after, '$.ended') FROM audit";
    assert_eq!(t.texts(row).await, [format!("user.end_sessions {} 2", max.user)]);
    // Nothing is left to end: nothing is told or written.
    t.as_(&ada, "DELETE", &path, Null).await.is(204);
    assert_eq!((t.texts(told).await.len(), t.texts(row).await.len()), (1, 1));

    let own = t.credential(Kind::Session, &tenant, &ada.user, None, "*", None).await;
    t.as_(&ada, "DELETE", &format!("/api/users/{}/sessions", ada.user), Null).await.is(204);
    t.as_(&own, "GET", "/api/auth/whoami", Null).await.refused(401, "token_revoked");
    t.as_(&ada, "GET", "/api/auth/whoami", Null).await.is(200);
    assert_eq!(t.texts(told).await.len(), 1, "nobody is told of their own deed");
}
