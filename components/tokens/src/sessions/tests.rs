use common::{role::Role, secret::Kind};
use serde_json::Value::Null;
use service::testing::{Actor, TestApp};

use crate::with_neighbours;

/// A route that answers any live credential.
const ANY_ROUTE: &str = "/api/scopes/custom";

async fn second_session(t: &TestApp, actor: &Actor) -> Actor {
    let ends = Some(t.now().plus_seconds(86_400));
    t.credential(Kind::Session, &actor.tenant, &actor.user, None, "*", ends).await
}

/// R21: log-out ends the row, not only the cookie.
#[tokio::test]
async fn a_session_is_refused_after_its_log_out() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let answer = t.as_(&ada, "POST", "/auth/logout", Null).await;
    answer.is(204);
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
    t.as_(&ada, "GET", ANY_ROUTE, Null).await.refused(401, "token_revoked");
    assert_eq!(
        t.texts("SELECT action || ' ' || object_id FROM audit").await,
        [format!("session.end {}", ada.credential)]
    );
}

/// R29: a change by cookie needs this site's origin and the CSRF token; nothing has happened without them.
#[tokio::test]
async fn a_change_by_cookie_needs_origin_and_token() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let cookie = format!("accredit={}", ada.token);
    let own = "http://127.0.0.1:3000";
    let attempts: [&[(&str, &str)]; 5] = [
        &[],
        &[("origin", own)],
        &[("origin", "https://evil.example"), ("x-csrf-token", "x")],
        &[("origin", "null"), ("x-csrf-token", "x")],
        &[("origin", own), ("x-csrf-token", "x")],
    ];
    for more in attempts {
        let headers: Vec<(&str, &str)> =
            std::iter::once(("cookie", cookie.as_str())).chain(more.iter().copied()).collect();
        t.call("POST", "/auth/logout", &headers, Null).await.refused(403, "csrf_failed");
    }
    t.as_(&ada, "GET", ANY_ROUTE, Null).await.is(200);
}

#[tokio::test]
async fn a_person_sees_and_ends_only_their_own_sessions() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let eve = t.user(&ada.tenant, "eve@example.com", Role::Admin).await;
    t.wait(1);
    let other = second_session(&t, &ada).await;
    let list = t.as_(&ada, "GET", "/auth/sessions", Null).await.is(200);
    let seen: Vec<(&str, bool)> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| (s["id"].as_str().unwrap(), s["current"].as_bool().unwrap()))
        .collect();
    assert_eq!(seen, [(other.credential.as_str(), false), (ada.credential.as_str(), true)]);

    let foreign = t.as_(&ada, "DELETE", &format!("/auth/sessions/{}", eve.credential), Null).await;
    let absent = t.as_(&ada, "DELETE", "/auth/sessions/tok_none", Null).await;
    for answer in [foreign, absent] {
        answer.refused(404, "session_not_found");
    }
    t.as_(&eve, "GET", ANY_ROUTE, Null).await.is(200);

    t.as_(&ada, "DELETE", &format!("/auth/sessions/{}", other.credential), Null).await.is(204);
    t.as_(&other, "GET", ANY_ROUTE, Null).await.refused(401, "token_revoked");
}

#[tokio::test]
async fn all_other_sessions_end_and_this_one_stays() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let (one, two) = (second_session(&t, &ada).await, second_session(&t, &ada).await);
    t.as_(&ada, "DELETE", "/auth/sessions", Null).await.is(204);
    t.as_(&ada, "GET", ANY_ROUTE, Null).await.is(200);
    for ended in [one, two] {
        t.as_(&ended, "GET", ANY_ROUTE, Null).await.refused(401, "token_revoked");
    }
    // R310: with nothing left to end, nothing is written.
    t.as_(&ada, "DELETE", "/auth/sessions", Null).await.is(204);
    assert_eq!(t.texts("SELECT action FROM audit").await, ["session.end_others"]);
}

/// R12: a PAT is not a session.
#[tokio::test]
async fn only_a_session_manages_sessions() {
    let t = TestApp::new(with_neighbours());
    let ada = t.ada().await;
    let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "*", None).await;
    let scout = t.agent(&ada, "scout", "*").await;
    for actor in [&pat, &scout] {
        for (method, path) in [("POST", "/auth/logout"), ("GET", "/auth/sessions"), ("DELETE", "/auth/sessions")] {
            t.as_(actor, method, path, Null).await.refused(403, "session_required");
        }
    }
}

/// R74: taking a right away goes through when the database has reached its bound.
#[tokio::test]
async fn a_session_can_be_ended_when_the_database_is_full() {
    let settings = service::settings::Settings { database_max_mib: Some(1), ..Default::default() };
    let t = TestApp::with(with_neighbours(), settings);
    let ada = t.ada().await;
    // Filled through a connection without the bound, as another program might; what is left of the last pages is used up.
    let file = rusqlite::Connection::open(t.path()).unwrap();
    file.execute_batch("CREATE TABLE filler (x BLOB); INSERT INTO filler VALUES (zeroblob(2000000));").unwrap();
    let mut refused = false;
    for number in 0..200 {
        let body = serde_json::json!({ "email": format!("u{number}@example.com"), "name": "U" });
        let answer = t.as_(&ada, "POST", "/api/users", body).await;
        if answer.status != 201 {
            answer.refused(503, "storage_full");
            refused = true;
            break;
        }
    }
    assert!(refused, "the bound holds");
    t.as_(&ada, "POST", "/auth/logout", Null).await.is(204);
    t.as_(&ada, "GET", ANY_ROUTE, Null).await.refused(401, "token_revoked");
}
