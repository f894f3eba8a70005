use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use common::{role::Role, secret::Kind};
use serde_json::{Value as Json, Value::Null, json};
use service::{
    settings::Settings,
    testing::{Actor, TestApp, at_once},
};
use store::oauth_grant;

use crate::{
    oauth::testing::{
        AUTHORIZE, CLIENTS, TOKEN, allowed, bearing, client, encoded, form_at, form_with, refresh, request, tokens,
        trade,
    },
    with_neighbours,
};

async fn stage() -> (TestApp, Actor, String) {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let made = client(&t, &ada, false).await;
    (t, ada, made["id"].as_str().unwrap().to_owned())
}

async fn works(t: &TestApp, app: &Actor) -> bool {
    t.as_(app, "GET", "/auth/apps", Null).await.status == 200
}

async fn tokens_for(t: &TestApp, person: &Actor, id: &str, asked: &str) -> Json {
    let code = allowed(t, person, asked).await;
    form_with(t, TOKEN, None, &trade(id, &code, &[])).await.is(200)
}

/// All scopes that are in the tests.
const SCOPES: &str = "agents.read tokens.read tokens.write";

async fn given(t: &TestApp, person: &Actor, id: &str) -> Json {
    let code = allowed(t, person, &request(id, &[("scope", SCOPES)])).await;
    form_with(t, TOKEN, None, &trade(id, &code, &[])).await.is(200)
}

/// R134: a code gives an access token of an hour, listed with the app's name where the person sees their tokens, and a refresh token.
#[tokio::test]
async fn a_code_gives_tokens() {
    let (t, ada, id) = stage().await;
    let code = allowed(&t, &ada, &request(&id, &[("scope", SCOPES)])).await;
    let answer = form_with(&t, TOKEN, None, &trade(&id, &code, &[])).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let got = answer.is(200);
    assert_eq!(
        got,
        json!({
            "access_token": got["access_token"], "token_type": "Bearer", "expires_in": 3600, "refresh_token": got["refresh_token"],
            "scope": SCOPES,
        })
    );
    let app = bearing(&ada, &got);
    let list = t.as_(&app, "GET", "/auth/tokens", Null).await.is(200);
    let one = &list["items"][0];
    assert_eq!(
        (&one["client"], &one["kind"], &one["expires_at"]),
        (&json!("Planner"), &json!("pat"), &json!("2026-02-01T03:04:05.000Z"))
    );
    let apps = t.as_(&ada, "GET", "/auth/apps", Null).await.is(200);
    assert_eq!(
        apps["items"],
        json!([{
            "id": apps["items"][0]["id"], "client_id": id, "client_name": "Planner", "resource": null,
            "scope": ["agents.read", "tokens.read", "tokens.write"], "credential_id": one["id"], "created_at": "2026-01-02T03:04:05.000Z",
            "used_at": "2026-01-02T03:04:05.000Z", "ends_at": "2026-02-01T03:04:05.000Z", "expires_at": "2026-04-02T03:04:05.000Z",
        }])
    );
    // It does no more than was given, and makes no token that outlives it.
    t.as_(&app, "GET", "/auth/admin/tokens", Null).await.refused(403, "scope_denied");
    t.as_(&app, "POST", "/auth/tokens", json!({ "name": "x" })).await.refused(403, "session_required");
    let path = format!("/auth/tokens/{}/rotate", one["id"].as_str().unwrap());
    t.as_(&app, "POST", &path, json!({})).await.refused(409, "app_token");
    t.as_(&ada, "POST", &path, json!({})).await.refused(409, "app_token");
    t.wait(3_600);
    t.as_(&app, "GET", "/auth/tokens", Null).await.refused(401, "token_expired");
    let audited = t.texts("SELECT action FROM audit ORDER BY seq").await;
    assert_eq!(audited, ["oauth.client.create", "oauth.allow", "oauth.token"]);
    for secret in [&got["access_token"], &got["refresh_token"]] {
        let all = t.texts("SELECT ifnull(after, '') || ifnull(before, '') FROM audit").await;
        assert!(!all.concat().contains(secret.as_str().unwrap()));
    }
}

/// R168: introspection names the app whose access token it is told of, and nobody for all others.
#[tokio::test]
async fn introspection_names_the_app_of_a_token() {
    let (t, ada, id) = stage().await;
    let got = given(&t, &ada, &id).await;
    let asking = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "tokens.introspect agents.read", None).await;
    let bearer = format!("Bearer {}", asking.token);
    let introspect = async |token: &str| {
        form_with(&t, "/auth/introspect", Some(&bearer), &encoded(&[("token", token)])).await.is(200)
    };
    let access = got["access_token"].as_str().unwrap();
    let told = introspect(access).await;
    assert_eq!((&told["client_id"], &told["scope"], &told["kind"]), (&json!(id), &json!("agents.read"), &json!("pat")));
    assert_eq!(introspect(&asking.token).await.get("client_id"), None);
    // Of one that has ended nothing is told.
    t.as_(&ada, "DELETE", &format!("/api/oauth/clients/{id}"), Null).await.is(204);
    assert_eq!(introspect(access).await, json!({ "active": false }));
}

/// R134: a code is bound to client, redirect URI, challenge and resource, holds for a minute, and is spent by its first sender.
#[tokio::test]
async fn a_code_is_nothing_for_anybody_else() {
    let (t, ada, id) = stage().await;
    let other = client(&t, &ada, false).await;
    let other = other["id"].as_str().unwrap();
    let verifier = "x".repeat(43);
    for changes in [
        vec![("client_id", other)],
        vec![("redirect_uri", "http://127.0.0.1/cb")],
        vec![("redirect_uri", "https://app.example.com/cb?")],
        vec![("code_verifier", verifier.as_str())],
        vec![("code_verifier", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")],
    ] {
        let code = allowed(&t, &ada, &request(&id, &[])).await;
        form_with(&t, TOKEN, None, &trade(&id, &code, &changes)).await.refused(400, "invalid_grant");
        // It was seen by somebody else, so that it is nothing any more for its own client.
        form_with(&t, TOKEN, None, &trade(&id, &code, &[])).await.refused(400, "invalid_grant");
    }
    let code = allowed(&t, &ada, &request(&id, &[])).await;
    for (changes, slug) in [
        (vec![("code_verifier", "")], "invalid_request"),
        (vec![("code", "")], "invalid_request"),
        (vec![("code", "x")], "invalid_grant"),
        (vec![("resource", "https://other.example.com")], "invalid_target"),
    ] {
        form_with(&t, TOKEN, None, &trade(&id, &code, &changes)).await.refused(400, slug);
    }
    let twice = format!("{}&resource=a&resource=b", trade(&id, &code, &[]));
    form_with(&t, TOKEN, None, &twice).await.refused(400, "invalid_target");
    let twice = format!("{}&code={code}", trade(&id, &code, &[]));
    form_with(&t, TOKEN, None, &twice).await.refused(400, "invalid_request");
    // R493: scheme and host may be in capital letters.
    form_with(&t, TOKEN, None, &trade(&id, &code, &[("resource", "HTTP://127.0.0.1:3000/mcp/")])).await.is(200);
    let code = allowed(&t, &ada, &request(&id, &[])).await;
    t.wait(60);
    form_with(&t, TOKEN, None, &trade(&id, &code, &[])).await.refused(400, "invalid_grant");
    let code = allowed(&t, &ada, &request(&id, &[])).await;
    let sql = format!("UPDATE users SET deactivated_at = 1 WHERE id = '{}'", ada.user);
    t.execute(&sql).await.unwrap();
    form_with(&t, TOKEN, None, &trade(&id, &code, &[])).await.refused(400, "invalid_grant");
}

/// R250: a client of OAuth 2.1 sends no redirect URI with its code, whose verifier says that it is its own.
#[tokio::test]
async fn a_code_is_traded_without_a_redirect_uri() {
    let (t, ada, id) = stage().await;
    let code = allowed(&t, &ada, &request(&id, &[("scope", SCOPES)])).await;
    let traded = form_with(&t, TOKEN, None, &trade(&id, &code, &[("redirect_uri", "")])).await.is(200);
    assert!(works(&t, &bearing(&ada, &traded)).await);
    for verifier in ["", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"] {
        let code = allowed(&t, &ada, &request(&id, &[])).await;
        let changes = [("redirect_uri", ""), ("code_verifier", verifier)];
        let refused = form_with(&t, TOKEN, None, &trade(&id, &code, &changes)).await;
        refused.refused(400, if verifier.is_empty() { "invalid_request" } else { "invalid_grant" });
    }
}

/// R251: a program that answers to a scheme of its own is let in, by the very address that was registered.
#[tokio::test]
async fn an_app_with_a_scheme_of_its_own_is_let_in() {
    let (t, ada, _) = stage().await;
    let app = "cursor://anysphere.cursor-mcp/oauth/callback";
    let body = json!({ "name": "Cursor", "redirect_uris": [app] });
    let id = t.as_(&ada, "POST", CLIENTS, body).await.is(201)["id"].as_str().unwrap().to_owned();
    let asked = |more: &[(&str, &str)]| {
        let mut changes = vec![("redirect_uri", app), ("scope", SCOPES)];
        changes.extend(more);
        request(&id, &changes)
    };
    let shown = async |text: &str| {
        let query = encoded(&[("request", text)]);
        t.as_(&ada, "GET", &format!("{AUTHORIZE}?{query}"), Null).await
    };
    let seen = shown(&asked(&[])).await.is(200);
    assert_eq!((&seen["returns_to"], &seen["is_local"]), (&json!("cursor:"), &json!(true)));
    let wrong = shown(&asked(&[("code_challenge", "")])).await.is(200);
    assert!(wrong["redirect_to"].as_str().unwrap().starts_with(&format!("{app}?error=invalid_request&")), "{wrong}");
    for other in ["cursor://anysphere.cursor-mcp/oauth/callback/", "cursor://other/oauth/callback", "vscode://x/y"] {
        shown(&request(&id, &[("redirect_uri", other)])).await.refused(400, "redirect_uri_mismatch");
    }
    let answer = t.as_(&ada, "POST", AUTHORIZE, json!({ "request": asked(&[]) })).await.is(200);
    assert!(answer["redirect_to"].as_str().unwrap().starts_with(&format!("{app}?code=")), "{answer}");
    let code = answer["code"].as_str().unwrap();
    let traded = form_with(&t, TOKEN, None, &trade(&id, code, &[("redirect_uri", app)])).await.is(200);
    assert!(works(&t, &bearing(&ada, &traded)).await);
}

/// R257: libraries of OpenID Connect always ask for `openid`; the answer says the scope that was given. A refusal of more says what was given.
#[tokio::test]
async fn scopes_of_openid_connect_change_nothing() {
    let (t, ada, id) = stage().await;
    let scope = format!("openid profile email {SCOPES} offline_access");
    let code = allowed(&t, &ada, &request(&id, &[("scope", &scope)])).await;
    let given = form_with(&t, TOKEN, None, &trade(&id, &code, &[])).await.is(200);
    assert_eq!(given["scope"], SCOPES);
    let send = async |token: &Json, scope: &str| {
        let token = token.as_str().unwrap();
        let pairs =
            [("grant_type", "refresh_token"), ("client_id", id.as_str()), ("refresh_token", token), ("scope", scope)];
        form_with(&t, TOKEN, None, &encoded(&pairs)).await
    };
    let refused = send(&given["refresh_token"], "openid users.read").await.refused(400, "invalid_scope");
    assert!(refused["fix"].as_str().unwrap().contains(SCOPES), "{refused}");
    assert!(refused["doc_url"].as_str().unwrap().ends_with("/concepts/oauth-clients#the-token-requests"), "{refused}");
    let next = send(&given["refresh_token"], "openid agents.read").await.is(200);
    assert_eq!(next["scope"], "agents.read");
}

/// R466: an app that lacks a right is led to its person's decision, never to the person's password.
#[tokio::test]
async fn an_app_that_lacks_a_right_asks_its_person() {
    let (t, ada, id) = stage().await;
    let code = allowed(&t, &ada, &request(&id, &[("scope", "tokens.read")])).await;
    let app = bearing(&ada, &form_with(&t, TOKEN, None, &trade(&id, &code, &[])).await.is(200));
    let fix = |refused: Json| refused["fix"].as_str().unwrap().to_owned();
    let lacks = fix(t.as_(&app, "DELETE", "/auth/tokens/tok_1", Null).await.refused(403, "scope_denied"));
    assert!(lacks.contains("/oauth/authorize") && lacks.contains("tokens.write"), "{lacks}");
    let own = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "tokens.read", None).await;
    let people =
        fix(t.as_(&app, "POST", "/auth/tokens", json!({ "name": "a" })).await.refused(403, "session_required"));
    assert!(people.starts_with("Ask the person"), "{people}");
    let refused = t.as_(&own, "DELETE", "/auth/tokens/tok_1", Null).await.refused(403, "scope_denied");
    assert!(fix(refused).contains("POST /auth/token"), "a token of the person's own");
}

/// R134: a code that is sent twice ends what it gave the first time, and the person is told.
#[tokio::test]
async fn a_code_that_is_sent_again_ends_what_it_gave() {
    let (t, ada, id) = stage().await;
    let code = allowed(&t, &ada, &request(&id, &[("scope", SCOPES)])).await;
    let got = form_with(&t, TOKEN, None, &trade(&id, &code, &[])).await.is(200);
    let next = refresh(&t, &id, &got["refresh_token"]).await.is(200);
    assert!(works(&t, &bearing(&ada, &next)).await);
    t.wait(3_000);
    form_with(&t, TOKEN, None, &trade(&id, &code, &[])).await.refused(400, "invalid_grant");
    t.as_(&bearing(&ada, &next), "GET", "/auth/apps", Null).await.refused(401, "token_revoked");
    refresh(&t, &id, &next["refresh_token"]).await.refused(400, "invalid_grant");
    assert_eq!(t.texts("SELECT title FROM notifications").await, ["Planner was signed out"]);
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'oauth.replay'").await, 1);
    form_with(&t, TOKEN, None, &trade(&id, &code, &[])).await.refused(400, "invalid_grant");
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'oauth.replay'").await, 1);
}

/// R134: a refresh replaces both tokens; one that was replaced ends the grant, whenever it comes.
#[tokio::test]
async fn a_refresh_token_works_once() {
    let (t, ada, id) = stage().await;
    let first = given(&t, &ada, &id).await;
    t.wait(4_000);
    let second = refresh(&t, &id, &first["refresh_token"]).await.is(200);
    assert_eq!((&second["expires_in"], &second["scope"]), (&json!(3600), &json!(SCOPES)));
    t.as_(&bearing(&ada, &first), "GET", "/auth/apps", Null).await.refused(401, "token_revoked");
    assert!(works(&t, &bearing(&ada, &second)).await);
    let third = refresh(&t, &id, &second["refresh_token"]).await.is(200);
    for (path, rows) in [("/auth/tokens", 1), ("/auth/admin/tokens?kind=pat", 1)] {
        let list = t.as_(&ada, "GET", path, Null).await.is(200);
        assert_eq!(list["items"].as_array().unwrap().len(), rows, "one row for one app: {list}");
    }
    // The first one of all, although two came after it.
    refresh(&t, &id, &first["refresh_token"]).await.refused(400, "invalid_grant");
    t.as_(&bearing(&ada, &third), "GET", "/auth/apps", Null).await.refused(401, "token_revoked");
    refresh(&t, &id, &third["refresh_token"]).await.refused(400, "invalid_grant");
    assert_eq!(t.texts("SELECT title FROM notifications").await, ["Planner was signed out"]);
}

/// R134: a refresh can ask for less, never for more, and for no other resource or client.
#[tokio::test]
async fn a_refresh_gives_no_more_than_the_person_did() {
    let (t, ada, id) = stage().await;
    let other = client(&t, &ada, false).await;
    let first = given(&t, &ada, &id).await;
    let token = first["refresh_token"].as_str().unwrap().to_owned();
    let send = async |client: &str, token: &str, more: &[(&str, &str)]| {
        let mut pairs = vec![("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", token)];
        pairs.extend(more);
        form_with(&t, TOKEN, None, &encoded(&pairs)).await
    };
    for none in ["users.read", "agents.read x", "agents.", "agents.read x..*", "x.crm.read"] {
        send(&id, &token, &[("scope", none)]).await.refused(400, "invalid_scope");
    }
    send(&id, &token, &[("resource", "https://other.example.com")]).await.refused(400, "invalid_target");
    send(other["id"].as_str().unwrap(), &token, &[]).await.refused(400, "invalid_grant");
    send(&id, "acr_ref_x", &[]).await.refused(400, "invalid_grant");
    send(&id, first["access_token"].as_str().unwrap(), &[]).await.refused(400, "invalid_grant");
    let less = send(&id, &token, &[("scope", "agents.read")]).await.is(200);
    assert_eq!(less["scope"], "agents.read");
    t.as_(&bearing(&ada, &less), "GET", "/auth/apps", Null).await.refused(403, "scope_denied");
    // The next one has all again.
    let all = refresh(&t, &id, &less["refresh_token"]).await.is(200);
    assert_eq!(all["scope"], SCOPES);
    assert!(works(&t, &bearing(&ada, &all)).await);

    // R704: the scope of the authorization request is taken, whatever the person left out of it: never more than was given.
    let mut token = all["refresh_token"].as_str().unwrap().to_owned();
    for (asked, got) in [
        ("tokens.* agents.read", SCOPES),
        ("agents.read users.read x.crm.* openid", "agents.read"),
        ("tokens.write tokens.write tokens.read", "tokens.read tokens.write"),
        ("*", SCOPES),
        ("openid", SCOPES),
    ] {
        let next = send(&id, &token, &[("scope", asked)]).await.is(200);
        assert_eq!(next["scope"], got, "{asked}");
        let carried = "SELECT scope FROM credentials WHERE kind = 'pat' AND revoked_at IS NULL";
        assert_eq!(t.texts(carried).await, [got], "{asked}");
        token = next["refresh_token"].as_str().unwrap().to_owned();
    }
}

/// R718: a refresh answers what of the scope works now, as `whoami` does, and no less after the role is what it was.
#[tokio::test]
async fn a_refresh_answers_what_the_role_allows() {
    let (t, ada, id) = stage().await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    let code = allowed(&t, &eve, &request(&id, &[("scope", "agents.create agents.read")])).await;
    let mut got = form_with(&t, TOKEN, None, &trade(&id, &code, &[])).await.is(200);
    for (role, scope) in [("viewer", "agents.read"), ("member", "agents.create agents.read")] {
        t.execute(&format!("UPDATE users SET role = '{role}' WHERE id = '{}'", eve.user)).await.unwrap();
        got = refresh(&t, &id, &got["refresh_token"]).await.is(200);
        assert_eq!(got["scope"], scope, "{role}");
    }
}

/// R135: a grant ends after 30 days without a token, after the days that the person gave, with the account for good, and within the role.
#[tokio::test]
async fn a_grant_ends_by_itself_and_with_the_person() {
    let (t, ada, id) = stage().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let idle = given(&t, &max, &id).await;
    let used = given(&t, &max, &id).await;
    t.wait(oauth_grant::IDLE - 1);
    let used = refresh(&t, &id, &used["refresh_token"]).await.is(200);
    t.wait(1);
    refresh(&t, &id, &idle["refresh_token"]).await.refused(400, "invalid_grant");
    t.wait(oauth_grant::IDLE - 2);
    let used = refresh(&t, &id, &used["refresh_token"]).await.is(200);
    t.wait(oauth_grant::IDLE - 10);
    let used = refresh(&t, &id, &used["refresh_token"]).await.is(200);
    assert_eq!(used["expires_in"], json!(12), "never beyond the days that were given");
    t.wait(12);
    refresh(&t, &id, &used["refresh_token"]).await.refused(400, "invalid_grant");

    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    let got = given(&t, &eve, &id).await;
    let set =
        async |column: &str| t.execute(&format!("UPDATE users SET {column} WHERE id = '{}'", eve.user)).await.unwrap();
    set("role = 'viewer'").await;
    assert!(works(&t, &bearing(&eve, &got)).await);
    set("deactivated_at = 5").await;
    assert!(!works(&t, &bearing(&eve, &got)).await);
    refresh(&t, &id, &got["refresh_token"]).await.refused(400, "invalid_grant");
    set("deactivated_at = NULL").await;
    assert!(!works(&t, &bearing(&eve, &got)).await);
    refresh(&t, &id, &got["refresh_token"]).await.refused(400, "invalid_grant");
    // Nobody is told of access tokens that end, since apps renew them.
    assert_eq!(t.number("SELECT count(*) FROM notifications").await, 0);
}

/// R135: whatever is ended of a grant, all of it ends.
#[tokio::test]
async fn a_grant_and_its_access_token_end_together() {
    let (t, ada, id) = stage().await;
    for way in ["app", "token", "itself", "leak", "revoke", "revoke-access"] {
        let got = given(&t, &ada, &id).await;
        let app = bearing(&ada, &got);
        let one = t.as_(&ada, "GET", "/auth/apps", Null).await.is(200)["items"][0].clone();
        let text = |json: &Json| json.as_str().unwrap().to_owned();
        let (refresh_token, access) = (text(&got["refresh_token"]), text(&got["access_token"]));
        match way {
            "app" => drop(t.as_(&ada, "DELETE", &format!("/auth/apps/{}", text(&one["id"])), Null).await.is(204)),
            "token" => drop(
                t.as_(&ada, "DELETE", &format!("/auth/tokens/{}", text(&one["credential_id"])), Null).await.is(204),
            ),
            "itself" => drop(t.as_(&app, "DELETE", "/auth/tokens/me", Null).await.is(204)),
            "leak" => drop(t.nobody("POST", "/auth/leaks", json!({ "token": refresh_token })).await.is(204)),
            _ => {
                let token = if way == "revoke" { &refresh_token } else { &access };
                let form = encoded(&[("client_id", &id), ("token", token), ("token_type_hint", "nonsense")]);
                let answer = form_with(&t, "/oauth/revoke", None, &form).await;
                assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ""));
            }
        }
        t.as_(&app, "GET", "/auth/apps", Null).await.refused(401, "token_revoked");
        refresh(&t, &id, &got["refresh_token"]).await.refused(400, "invalid_grant");
        assert_eq!(t.as_(&ada, "GET", "/auth/apps", Null).await.is(200)["items"], json!([]), "{way}");
        t.as_(&ada, "DELETE", &format!("/auth/apps/{}", text(&one["id"])), Null).await.is(204);
    }
    let other = t.user(&ada.tenant, "max@example.com", Role::Admin).await;
    given(&t, &ada, &id).await;
    let one = t.as_(&ada, "GET", "/auth/apps", Null).await.is(200)["items"][0].clone();
    let app = format!("/auth/apps/{}", one["id"].as_str().unwrap());
    t.as_(&other, "DELETE", &app, Null).await.refused(404, "app_not_found");
    // R701: an admin that ends its access token ends an app's, and its person reads that.
    t.execute("DELETE FROM notifications").await.unwrap();
    let token = format!("/auth/admin/tokens/{}", one["credential_id"].as_str().unwrap());
    t.as_(&other, "DELETE", &token, Null).await.is(204);
    let told = t.texts("SELECT title || ': ' || body FROM notifications").await;
    assert_eq!(
        told,
        [
            "The app Planner was signed out: max@example.com ended what you gave the app Planner: it can do nothing in your name any more."
        ]
    );
}

/// R703: an app that can get another token is live where credentials are listed, until what was given ends, and an admin ends it there.
#[tokio::test]
async fn an_app_is_live_while_it_can_get_a_token() {
    let (t, ada, id) = stage().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    let got = given(&t, &max, &id).await;
    let ada = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "*", None).await;
    let listed = async |status: &str| {
        let path = format!("/auth/admin/tokens?user={}&kind=pat&status={status}", max.user);
        let page = t.as_(&ada, "GET", &path, Null).await.is(200);
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| json!([item["status"], item["expires_at"]]))
            .collect::<Vec<_>>()
    };
    t.wait(2 * 3_600);
    t.as_(&bearing(&max, &got), "GET", "/auth/apps", Null).await.refused(401, "token_expired");
    let ends = json!("2026-02-01T03:04:05.000Z");
    assert_eq!(listed("active").await, [json!(["active", ends])]);
    t.wait(24 * 86_400);
    assert_eq!(listed("expiring").await, [json!(["expiring", ends])]);
    t.wait(6 * 86_400);
    assert_eq!(listed("expired").await, [json!(["expired", "2026-01-02T04:04:05.000Z"])]);
    // One that was ended is revoked, whatever time it had.
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
    given(&t, &eve, &id).await;
    let path = format!("/auth/admin/tokens?user={}&status=active&kind=pat", eve.user);
    let live = t.as_(&ada, "GET", &path, Null).await.is(200)["items"][0]["id"].as_str().unwrap().to_owned();
    t.as_(&ada, "DELETE", &format!("/auth/admin/tokens/{live}"), Null).await.is(204);
    assert_eq!(t.as_(&ada, "GET", &path, Null).await.is(200)["items"], json!([]));
}

/// R135: a client revokes what it was given, and nothing else.
#[tokio::test]
async fn a_client_revokes_its_own_tokens_only() {
    let (t, ada, id) = stage().await;
    let other = client(&t, &ada, false).await;
    let other = other["id"].as_str().unwrap();
    let got = given(&t, &ada, &id).await;
    let token = got["refresh_token"].as_str().unwrap();
    let send = async |pairs: &[(&str, &str)]| form_with(&t, "/oauth/revoke", None, &encoded(pairs)).await;
    send(&[("client_id", other), ("token", token)]).await.refused(400, "unauthorized_client");
    send(&[("token", token)]).await.refused(401, "invalid_client");
    send(&[("client_id", &id)]).await.refused(400, "invalid_request");
    send(&[("client_id", &id), ("token", &ada.token)]).await.refused(400, "unsupported_token_type");
    send(&[("client_id", &id), ("token", "nothing")]).await.is(200);
    assert!(works(&t, &bearing(&ada, &got)).await);
    send(&[("client_id", &id), ("token", token)]).await.is(200);
    send(&[("client_id", &id), ("token", token)]).await.is(200);
    assert!(!works(&t, &bearing(&ada, &got)).await);
    assert_eq!(t.number("SELECT count(*) FROM audit WHERE action = 'oauth.revoke'").await, 1);
}

/// R134: for a service of the tenant the access token is a signed one, of five minutes, with what of the person's decision they can use and
/// the service takes; and it ends at introspection with the grant.
#[tokio::test]
async fn a_grant_for_a_service_gives_signed_tokens() {
    let keys = common::signing::keys("a-secret-of-the-operator-that-is-long-enough").unwrap();
    let t = TestApp::with(with_neighbours(), Settings { signing_keys: keys, ..Settings::default() });
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    for scope in ["x.crm.read", "x.crm.write", "x.mail.send"] {
        t.execute(&format!("INSERT INTO custom_scopes VALUES ('{}', '{scope}', 'd', 0, 'u')", ada.tenant))
            .await
            .unwrap();
    }
    let crm = t.agent(&ada, "crm", "x.* tokens.introspect").await;
    let service = "https://crm.example.com";
    let body = json!({ "identifier": service, "scopes": ["x.crm.read", "x.crm.write"], "introspectors": ["crm"] });
    t.as_(&ada, "POST", "/api/resources", body).await.is(201);
    let made = client(&t, &ada, false).await;
    let id = made["id"].as_str().unwrap();

    let asked = request(id, &[("scope", "x.crm.* x.mail.send agents.read"), ("resource", service)]);
    let path = format!("/api/oauth/authorize?{}", encoded(&[("request", &asked)]));
    let shown = t.as_(&max, "GET", &path, Null).await.is(200);
    assert_eq!(
        (&shown["resource"], &shown["scope"], &shown["left_out"]),
        (&json!(service), &json!(["x.crm.read", "x.crm.write"]), &json!(["agents.read", "x.mail.send"]))
    );
    let other = request(id, &[("resource", "https://crm.example.com/mcp")]);
    let other =
        t.as_(&max, "GET", &format!("/api/oauth/authorize?{}", encoded(&[("request", &other)])), Null).await.is(200);
    assert_eq!(other["error"], "invalid_target");

    let code = allowed(&t, &max, &asked).await;
    let wrong = trade(id, &code, &[("resource", "http://127.0.0.1:3000")]);
    form_with(&t, TOKEN, None, &wrong).await.refused(400, "invalid_target");
    let got = form_with(&t, TOKEN, None, &trade(id, &code, &[("resource", service)])).await.is(200);
    assert_eq!((&got["expires_in"], &got["scope"]), (&json!(300), &json!("x.crm.read x.crm.write")));
    let claims = |token: &Json| -> Json {
        let part = token.as_str().unwrap().split('.').nth(1).unwrap().to_owned();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    let told = claims(&got["access_token"]);
    assert_eq!(
        (&told["aud"], &told["sub"], &told["client_id"], &told["scope"]),
        (&json!(service), &json!(max.user), &json!(id), &json!("x.crm.read x.crm.write"))
    );
    let introspect = async |token: &Json| {
        let request = http::Request::post("/auth/introspect")
            .header("host", "127.0.0.1:3000")
            .header("authorization", format!("Bearer {}", crm.token))
            .header("content-type", "application/x-www-form-urlencoded");
        let form = encoded(&[("token", token.as_str().unwrap())]);
        t.send(request.body(service::body::RequestBody::from(form)).unwrap()).await.is(200)
    };
    assert_eq!(introspect(&got["access_token"]).await["active"], json!(true));
    // R704: a refresh may repeat what was asked.
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", id),
        ("refresh_token", got["refresh_token"].as_str().unwrap()),
        ("scope", "x.crm.* x.mail.send agents.read"),
    ];
    let got = form_with(&t, TOKEN, None, &encoded(&form)).await.is(200);
    assert_eq!(got["scope"], "x.crm.read x.crm.write");
    // It is nothing at this server.
    t.as_(&bearing(&max, &got), "GET", "/auth/apps", Null).await.refused(401, "invalid_token");
    // A viewer can use what ends in `.read`.
    t.execute(&format!("UPDATE users SET role = 'viewer' WHERE id = '{}'", max.user)).await.unwrap();
    let next = refresh(&t, id, &got["refresh_token"]).await.is(200);
    assert_eq!((&next["scope"], &claims(&next["access_token"])["scope"]), (&json!("x.crm.read"), &json!("x.crm.read")));
    let apps = t.as_(&max, "GET", "/auth/apps", Null).await.is(200);
    assert_eq!(apps["items"][0]["resource"], service);
    t.as_(&max, "DELETE", &format!("/auth/apps/{}", apps["items"][0]["id"].as_str().unwrap()), Null).await.is(204);
    for token in [&got["access_token"], &next["access_token"]] {
        assert_eq!(introspect(token).await, json!({ "active": false }));
    }
    refresh(&t, id, &next["refresh_token"]).await.refused(400, "invalid_grant");

    // R744: programs that read URLs put a slash after a host.
    let slash = [("resource", "https://crm.example.com/")];
    let asked = request(id, &[("scope", "x.crm.read"), slash[0]]);
    let code = allowed(&t, &max, &asked).await;
    let got = form_with(&t, TOKEN, None, &trade(id, &code, &slash)).await.is(200);
    let sent = [("grant_type", "refresh_token"), ("client_id", id), slash[0]];
    let sent = [&sent[..], &[("refresh_token", got["refresh_token"].as_str().unwrap())]].concat();
    let next = form_with(&t, TOKEN, None, &encoded(&sent)).await.is(200);
    for token in [&got["access_token"], &next["access_token"]] {
        assert_eq!(claims(token)["aud"], service);
    }

    // Nor is a token signed that carries none of what was given.
    let asked_write = request(id, &[("scope", "x.crm.write"), ("resource", service)]);
    let set = async |role: &str| {
        t.execute(&format!("UPDATE users SET role = '{role}' WHERE id = '{}'", max.user)).await.unwrap();
    };
    set("member").await;
    let got = tokens_for(&t, &max, id, &asked_write).await;
    set("viewer").await;
    refresh(&t, id, &got["refresh_token"]).await.refused(400, "invalid_scope");
    set("member").await;
    refresh(&t, id, &got["refresh_token"]).await.is(200);
    set("viewer").await;

    // The signed token is an access token of the app's too: revoking it ends the grant.
    let got = tokens_for(&t, &max, id, &asked).await;
    let signed = got["access_token"].as_str().unwrap();
    let form = encoded(&[("client_id", id), ("token", signed)]);
    assert_eq!(form_with(&t, "/oauth/revoke", None, &form).await.status.as_u16(), 200);
    refresh(&t, id, &got["refresh_token"]).await.refused(400, "invalid_grant");
    assert_eq!(introspect(&got["access_token"]).await, json!({ "active": false }));

    // R311: what is refused when the token would be signed spends no code either, and leaves no grant behind.
    set("member").await;
    let code = allowed(&t, &max, &asked_write).await;
    let grants = "SELECT count(*) FROM oauth_grants";
    let before = t.number(grants).await;
    form_at(&t, "accredit.example", TOKEN, None, &trade(id, &code, &[])).await.refused(503, "public_url_missing");
    set("viewer").await;
    form_with(&t, TOKEN, None, &trade(id, &code, &[])).await.refused(400, "invalid_scope");
    assert_eq!(t.number(grants).await, before);
    set("member").await;
    let got = form_with(&t, TOKEN, None, &trade(id, &code, &[])).await.is(200);
    assert_eq!(introspect(&got["access_token"]).await["active"], json!(true));

    // Without a key nothing is signed, and neither a code nor a refresh token is lost.
    let (code, kept) = (allowed(&t, &ada, &asked).await, tokens_for(&t, &ada, id, &asked).await);
    let keyless = TestApp::over(with_neighbours(), &t);
    form_with(&keyless, TOKEN, None, &trade(id, &code, &[])).await.refused(503, "signing_disabled");
    refresh(&keyless, id, &kept["refresh_token"]).await.refused(503, "signing_disabled");
    form_with(&t, TOKEN, None, &trade(id, &code, &[])).await.is(200);
    refresh(&t, id, &kept["refresh_token"]).await.is(200);
}

/// R700: what people let apps do at a service ends with it, is told to each of them once, and does not come back with a service of the same
/// identifier.
#[tokio::test]
async fn a_deleted_service_ends_what_apps_may_do_there() {
    let keys = common::signing::keys("a-secret-of-the-operator-that-is-long-enough").unwrap();
    let t = TestApp::with(with_neighbours(), Settings { signing_keys: keys, ..Settings::default() });
    let ada = t.ada().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    t.execute(&format!("INSERT INTO custom_scopes VALUES ('{}', 'x.erp.read', 'd', 0, 'u')", ada.tenant))
        .await
        .unwrap();
    let register = async |host: &str| {
        let body = json!({ "identifier": format!("https://{host}.example"), "scopes": ["x.erp.read"] });
        t.as_(&ada, "POST", "/api/resources", body).await.is(201)["id"].as_str().unwrap().to_owned()
    };
    let (erp, _) = (register("erp").await, register("crm").await);
    let made = client(&t, &ada, false).await;
    let id = made["id"].as_str().unwrap();
    let asked = request(id, &[("scope", "x.erp.read"), ("resource", "https://erp.example")]);
    let first = tokens_for(&t, &max, id, &asked).await;
    let second = tokens_for(&t, &max, id, &asked).await;
    let own = tokens_for(&t, &ada, id, &asked).await;
    let other = request(id, &[("scope", "x.erp.read"), ("resource", "https://crm.example")]);
    let other = tokens_for(&t, &max, id, &other).await;
    let code = allowed(&t, &max, &asked).await;
    t.as_(&ada, "DELETE", &format!("/api/resources/{erp}"), Null).await.is(204);
    register("erp").await;
    for got in [&first, &second, &own] {
        refresh(&t, id, &got["refresh_token"]).await.refused(400, "invalid_grant");
    }
    form_with(&t, TOKEN, None, &trade(id, &code, &[])).await.refused(400, "invalid_grant");
    refresh(&t, id, &other["refresh_token"]).await.is(200);
    let apps = t.as_(&max, "GET", "/auth/apps", Null).await.is(200);
    assert_eq!(apps["items"].as_array().unwrap().len(), 1);
    assert_eq!(apps["items"][0]["resource"], "https://crm.example");
    assert_eq!(t.as_(&ada, "GET", "/auth/apps", Null).await.is(200)["items"], json!([]));
    let told = t.texts("SELECT user_id || ' ' || title || ': ' || body FROM notifications").await;
    assert_eq!(
        told,
        [format!(
            "{} The service erp.example was removed: ada@example.com removed the service erp.example: the apps that you let in for it can do nothing there in your name any more.",
            max.user
        )]
    );
}

/// R136: of twenty requests at once over two hosts one gets tokens for a code; the others end them.
#[tokio::test]
async fn twenty_requests_at_once_get_one_answer_for_a_code() {
    let (t, ada, id) = stage().await;
    let second = TestApp::over(with_neighbours(), &t);
    for _ in 0..4 {
        let code = allowed(&t, &ada, &request(&id, &[])).await;
        let form = trade(&id, &code, &[]);
        let answers = at_once(20, async |number| {
            let at = if number % 2 == 0 { &t } else { &second };
            form_with(at, TOKEN, None, &form).await.status.as_u16()
        });
        assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
    }
    assert_eq!(t.number("SELECT count(*) FROM oauth_grants").await, 4);
    assert_eq!(t.number("SELECT count(*) FROM oauth_grants WHERE ended_at IS NULL").await, 0);
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'pat' AND revoked_at IS NULL").await, 0);
}

/// R136: of twenty refreshes at once over two hosts one gets tokens; the others end the grant.
#[tokio::test]
async fn twenty_refreshes_at_once_get_one_answer() {
    let (t, ada, id) = stage().await;
    let second = TestApp::over(with_neighbours(), &t);
    for round in 1..5 {
        let got = tokens(&t, &ada, &id).await;
        let answers = at_once(20, async |number| {
            let at = if number % 2 == 0 { &t } else { &second };
            refresh(at, &id, &got["refresh_token"]).await.status.as_u16()
        });
        assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
        assert_eq!(t.number("SELECT count(*) FROM oauth_grants WHERE ended_at IS NOT NULL").await, round);
    }
    assert_eq!(t.number("SELECT count(*) FROM credentials WHERE kind = 'pat' AND revoked_at IS NULL").await, 0);
}

/// R135: an app that asks for tokens again and again is told to wait.
#[tokio::test]
async fn refreshes_are_counted() {
    let t = TestApp::with(with_neighbours(), Settings::default());
    let ada = t.ada().await;
    let made = client(&t, &ada, false).await;
    let id = made["id"].as_str().unwrap();
    let mut got = tokens(&t, &ada, id).await;
    for _ in 0..60 {
        got = refresh(&t, id, &got["refresh_token"]).await.is(200);
    }
    let refused = refresh(&t, id, &got["refresh_token"]).await;
    refused.refused(429, "too_many_attempts");
    t.wait(600);
    refresh(&t, id, &got["refresh_token"]).await.is(200);
}

/// R216: RFC 6749, section 3.2: no parameter stands twice, also where this grant does not read it; nothing is spent by such a request.
#[tokio::test]
async fn a_parameter_that_stands_twice_is_refused() {
    let (t, ada, id) = stage().await;
    let code = allowed(&t, &ada, &request(&id, &[("scope", SCOPES)])).await;
    let good = trade(&id, &code, &[]);
    for twice in [
        "scope=a&scope=b",
        "refresh_token=a&refresh_token=b",
        "code=a",
        "grant_type=authorization_code",
        "client_id=a",
        "code_verifier=a",
    ] {
        let refused = form_with(&t, TOKEN, None, &format!("{good}&{twice}")).await.refused(400, "invalid_request");
        assert!(refused["error_description"].as_str().unwrap().contains("more than once"), "{twice}: {refused}");
    }
    form_with(&t, TOKEN, None, &format!("{good}&unknown=a&unknown=b")).await.is(200);
}

/// R220: a code and a refresh token that are sent twice end what they gave with a closure, once. Who sent it is told nothing of it; the
/// person is, and everybody is refused who has a token of the family.
#[tokio::test]
async fn what_is_sent_twice_has_a_closure() {
    let (t, ada, id) = stage().await;
    let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
    for (number, what) in ["code", "refresh token"].into_iter().enumerate() {
        let code = allowed(&t, &ada, &request(&id, &[("scope", SCOPES)])).await;
        let first = form_with(&t, TOKEN, None, &trade(&id, &code, &[])).await.is(200);
        let last = refresh(&t, &id, &first["refresh_token"]).await.is(200);
        assert!(works(&t, &bearing(&ada, &last)).await);
        t.wait(3_000);
        for _ in 0..2 {
            let answer = match what {
                "code" => form_with(&t, TOKEN, None, &trade(&id, &code, &[])).await,
                _ => refresh(&t, &id, &first["refresh_token"]).await,
            };
            assert_eq!(answer.header("x-accredit-closure"), "", "{what}");
            answer.refused(400, "invalid_grant");
        }
        t.as_(&bearing(&ada, &last), "GET", "/auth/apps", Null).await.refused(401, "token_revoked");
        refresh(&t, &id, &last["refresh_token"]).await.refused(400, "invalid_grant");
        let live = "SELECT count(*) FROM oauth_grants WHERE ended_at IS NULL";
        assert_eq!((t.number(live).await, t.number("SELECT count(*) FROM closures").await), (0, number as i64 + 1));
        let rows = format!(
            "SELECT c.id || ' ' || (c.ended ->> '$.tokens') || ' ' || (c.ids ->> '$.tokens') FROM closures c
             JOIN audit a ON a.id = c.audit_id AND a.after ->> '$.closure.id' = c.id
             JOIN oauth_grants g ON g.id = c.object_id
             WHERE c.action = 'oauth.replay' AND a.after ->> '$.sent_twice' = '{what}' AND c.user_id = '{}'",
            ada.user
        );
        let rows = t.texts(&rows).await;
        let (closure, ended) = rows[0].split_once(' ').unwrap();
        let token = t.texts("SELECT credential_id FROM oauth_grants ORDER BY created_at DESC LIMIT 1").await;
        assert_eq!((rows.len(), ended), (1, format!("1 {}", json!(token)).as_str()), "{what}");
        let path = format!("/api/closures/{closure}");
        let told = t.as_(&ada, "GET", &path, Null).await.is(200);
        assert_eq!((&told["status"], &told["ended"]["tokens"]), (&json!("closed"), &json!(1)), "{what}: {told}");
        t.as_(&max, "GET", &path, Null).await.refused(404, "closure_not_found");
    }
}

/// R231: an access token that a refresh replaced is known as one that was rotated: its bearer reads what to do, its person is told of a leak,
/// and its client gives the grant back by it.
#[tokio::test]
async fn an_access_token_that_was_replaced_is_known() {
    let (t, ada, id) = stage().await;
    let other = client(&t, &ada, false).await;
    let asking = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "tokens.introspect agents.read", None).await;
    let first = given(&t, &ada, &id).await;
    let record = t.texts("SELECT credential_id FROM oauth_grants").await.remove(0);
    let epochs = async || t.number("SELECT count(*) FROM epochs WHERE change = 'ended'").await;
    let before = epochs().await;
    let second = refresh(&t, &id, &first["refresh_token"]).await.is(200);
    assert_eq!(epochs().await, before + 1, "guards ask again");
    let last = refresh(&t, &id, &second["refresh_token"]).await.is(200);
    assert_eq!(
        t.texts("SELECT credential_id FROM oauth_grants").await,
        std::slice::from_ref(&record),
        "the record stays"
    );

    let whoami = async |token: &Json| t.as_(&bearing(&ada, token), "GET", "/api/auth/whoami", Null).await;
    for old in [&first, &second] {
        let refused = whoami(old).await.refused(401, "token_revoked");
        assert_eq!(
            (&refused["replaced_by"], &refused["detail"]),
            (&json!(record), &json!("A refresh replaced this access token, so it has ended."))
        );
        let fix = refused["fix"].as_str().unwrap();
        assert!(
            fix.contains("POST /oauth/token with grant_type=refresh_token") && !fix.contains("/auth/token "),
            "{fix}"
        );
        let form = encoded(&[("token", old["access_token"].as_str().unwrap())]);
        let told = form_with(&t, "/auth/introspect", Some(&format!("Bearer {}", asking.token)), &form).await.is(200);
        assert_eq!(told, json!({ "active": false }));
    }
    // A report ends nothing that lives, and tells its person, once.
    for _ in 0..2 {
        let report = json!({ "token": first["access_token"] });
        assert_eq!(t.nobody("POST", "/auth/leaks", report).await.status.as_u16(), 204);
        let told = t.texts("SELECT title FROM notifications").await;
        assert_eq!(told, ["A credential that no longer works was leaked"]);
    }
    whoami(&last).await.is(200);

    let revoke = async |client: &str| {
        let form = encoded(&[("client_id", client), ("token", first["access_token"].as_str().unwrap())]);
        form_with(&t, "/oauth/revoke", None, &form).await
    };
    revoke(other["id"].as_str().unwrap()).await.refused(400, "unauthorized_client");
    whoami(&last).await.is(200);
    assert_eq!(revoke(&id).await.status.as_u16(), 200);
    for token in [&first, &last] {
        let refused = whoami(token).await.refused(401, "token_revoked");
        let fix = refused["fix"].as_str().unwrap();
        assert!(fix.contains("/oauth/authorize") && !fix.contains("refresh"), "{fix}");
    }
    assert_eq!(t.number("SELECT count(*) FROM oauth_grants WHERE ended_at IS NULL").await, 0);
    assert_eq!(t.number("SELECT count(*) FROM closures").await, 1, "of the revocation; the report ended nothing");
}

/// R231: an access token that expired says how the next one is got; doctor says so before.
#[tokio::test]
async fn an_expired_access_token_leads_to_a_refresh() {
    let (t, ada, id) = stage().await;
    let got = given(&t, &ada, &id).await;
    let app = bearing(&ada, &got);
    let told = t.as_(&app, "GET", "/api/auth/doctor", Null).await.is(200);
    assert!(told.to_string().contains("grant_type=refresh_token"), "{told}");
    t.wait(3_600);
    let refused = t.as_(&app, "GET", "/api/auth/whoami", Null).await.refused(401, "token_expired");
    assert!(refused["fix"].as_str().unwrap().contains("grant_type=refresh_token"), "{refused}");
    assert_eq!(refused["doc_url"].as_str().unwrap().rsplit_once('/').unwrap().1, "oauth-clients#when-it-ends");
    let one = t.as_(&ada, "GET", "/auth/apps", Null).await.is(200)["items"][0]["id"].as_str().unwrap().to_owned();
    t.as_(&ada, "DELETE", &format!("/auth/apps/{one}"), Null).await.is(204);
    let refused = t.as_(&app, "GET", "/api/auth/whoami", Null).await.refused(401, "token_revoked");
    assert!(refused["fix"].as_str().unwrap().contains("/oauth/authorize"), "{refused}");
    // A token of the person's own leads to neither.
    let own = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "*", Some(t.now().plus_seconds(5))).await;
    t.wait(5);
    let refused = t.as_(&own, "GET", "/api/auth/whoami", Null).await.refused(401, "token_expired");
    assert!(!refused["fix"].as_str().unwrap().contains("/oauth/"), "{refused}");
}
