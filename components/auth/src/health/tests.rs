use serde_json::{Value::Null, json};
use service::testing::TestApp;

use crate::router;

#[tokio::test]
async fn ready_says_whether_the_server_is_bootstrapped() {
    let t = TestApp::new(router());
    assert_eq!(t.nobody("GET", "/readyz", Null).await.is(200), json!({ "status": "ready", "bootstrapped": false }));
    t.tenant("main").await;
    assert_eq!(t.nobody("GET", "/readyz", Null).await.is(200), json!({ "status": "ready", "bootstrapped": true }));
}

/// R16: healthy is not ready.
#[tokio::test]
async fn without_its_database_the_server_is_healthy_and_not_ready() {
    let t = TestApp::new(router());
    t.tenant("main").await;
    t.execute("DROP TABLE bootstrap").await.unwrap();
    t.nobody("GET", "/healthz", Null).await.is(200);
    t.nobody("GET", "/readyz", Null).await.refused(503, "database_unavailable");
}

/// R67: a database that says this code is too old for it is refused with its own slug.
#[tokio::test]
async fn a_database_that_is_too_new_is_refused() {
    let t = TestApp::new(router());
    t.tenant("main").await;
    t.execute("PRAGMA user_version = 99").await.unwrap();
    let later = TestApp::over(router(), &t);
    later.nobody("GET", "/readyz", Null).await.is(200);
    t.execute("UPDATE schema_info SET oldest_code = 99").await.unwrap();
    let later = TestApp::over(router(), &t);
    later.nobody("GET", "/readyz", Null).await.refused(503, "database_too_new");
}
