use common::{role::Role, secret::Kind};
use service::testing::{Actor, TestApp};

use super::*;
use crate::with_neighbours;

const RESOURCES: &str = "/api/resources";

async fn ada(t: &TestApp) -> Actor {
    let ada = t.ada().await;
    let tenant = &ada.tenant;
    let sql = format!(
        "INSERT INTO custom_scopes VALUES ('{tenant}', 'x.crm.read', 'r', 0, 'u'), ('{tenant}', 'x.crm.write', 'w', 0, 'u')"
    );
    t.execute(&sql).await.unwrap();
    ada
}

fn at(resource: &Json) -> String {
    format!("{RESOURCES}/{}", resource["id"].as_str().unwrap())
}

/// R127: an admin registers a service; everybody in the tenant finds it, and those that may change it see who may introspect.
#[tokio::test]
async fn a_service_is_registered_changed_and_deleted() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let scout = t.agent(&ada, "scout", "agents.read").await;
    let body = json!({
        "identifier": "https://crm.example.com", "scopes": ["x.crm.write", "x.crm.read", "x.crm.read"],
        "introspectors": ["scout", "ada@example.com", scout.agent],
    });
    let made = t.as_(&ada, "POST", RESOURCES, body.clone()).await.is(201);
    let id = made["id"].as_str().unwrap();
    assert_eq!(
        made,
        json!({
            "id": id, "identifier": "https://crm.example.com", "name": "crm.example.com",
            "scopes": ["x.crm.read", "x.crm.write"], "signing_alg": "EdDSA", "introspectors": [scout.agent, ada.user],
            "created_at": "2026-01-02T03:04:05.000Z", "updated_at": "2026-01-02T03:04:05.000Z",
        })
    );
    t.as_(&ada, "POST", RESOURCES, body).await.refused(409, "resource_taken");
    let mut seen = made.clone();
    seen.as_object_mut().unwrap().remove("introspectors");
    assert_eq!(t.as_(&scout, "GET", RESOURCES, Null).await.is(200)["items"], json!([seen]));
    assert_eq!(t.as_(&scout, "GET", &at(&made), Null).await.is(200), seen);

    t.wait(1);
    let patch = json!({ "name": "CRM", "signing_alg": "ES256", "scopes": ["x.crm.read"], "introspectors": [] });
    let patched = t.as_(&ada, "PATCH", &at(&made), patch.clone()).await.is(200);
    // R310: the same once more changes nothing, and is not in the trail.
    t.wait(1);
    assert_eq!(t.as_(&ada, "PATCH", &at(&made), patch).await.is(200), patched);
    assert_eq!(
        (
            &patched["name"],
            &patched["scopes"],
            &patched["introspectors"],
            &patched["signing_alg"],
            &patched["updated_at"]
        ),
        (&json!("CRM"), &json!(["x.crm.read"]), &json!([]), &json!("ES256"), &json!("2026-01-02T03:04:06.000Z"))
    );
    t.as_(&ada, "PATCH", &at(&made), json!({})).await.refused(422, "validation_error");
    t.as_(&ada, "PATCH", &at(&made), json!({ "identifier": "https://a.example" }))
        .await
        .refused(422, "validation_error");
    t.as_(&ada, "DELETE", &at(&made), Null).await.is(204);
    t.as_(&ada, "GET", &at(&made), Null).await.refused(404, "resource_not_found");
    let trail = "SELECT count(*) FROM audit WHERE action IN ('resource.create', 'resource.update', 'resource.delete')";
    assert_eq!(t.number(trail).await, 3);
}

/// R127: neither agents nor people without the scope register; another tenant's service is absent, and its identifier is taken.
#[tokio::test]
async fn a_service_belongs_to_one_tenant() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let body = json!({ "identifier": "https://crm.example.com" });
    let made = t.as_(&ada, "POST", RESOURCES, body.clone()).await.is(201);
    let max = t.user(&ada.tenant, "max@example.com", Role::Curator).await;
    let scout = t.agent(&ada, "scout", "*").await;
    let other = t.tenant("other").await;
    let eve = t.user(&other, "eve@example.com", Role::Admin).await;
    t.as_(&max, "POST", RESOURCES, body.clone()).await.refused(403, "scope_denied");
    t.as_(&scout, "POST", RESOURCES, body.clone()).await.refused(403, "person_required");
    t.as_(&eve, "POST", RESOURCES, body).await.refused(409, "resource_taken");
    assert_eq!(t.as_(&eve, "GET", RESOURCES, Null).await.is(200)["items"], json!([]));
    for (method, body) in [("GET", Null), ("PATCH", json!({ "name": "x" })), ("DELETE", Null)] {
        t.as_(&eve, method, &at(&made), body).await.refused(404, "resource_not_found");
    }
    assert_eq!(t.number("SELECT count(*) FROM resources").await, 1);
    let key = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "scopes.write", None).await;
    t.as_(&key, "PATCH", &at(&made), json!({ "name": "x" })).await.is(200);
}

/// R746: a change with a condition is not carried out; whoever may not make it is told that first.
#[tokio::test]
async fn a_condition_that_cannot_be_compared_is_refused() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let bearer = format!("Bearer {}", ada.token);
    let send = async |method: &str, header: (&str, &str)| {
        let headers = [("authorization", &*bearer), header];
        t.call(method, RESOURCES, &headers, json!({ "identifier": "https://crm.example.com" })).await
    };
    for (name, value) in [
        ("if-match", "\"a\""),
        ("if-match", ""),
        ("if-none-match", "*"),
        ("if-unmodified-since", "Sat, 03 Jan 2026 00:00:00 GMT"),
    ] {
        let refused = send("POST", (name, value)).await.refused(412, "precondition_failed");
        assert!(refused["fix"].as_str().unwrap().to_ascii_lowercase().contains(name), "{refused}");
        t.call("POST", RESOURCES, &[(name, value)], json!({})).await.refused(401, "missing_credential");
    }
    assert_eq!(t.number("SELECT count(*) FROM resources").await, 0);
    let read = [("authorization", &*bearer), ("if-match", "\"a\"")];
    t.call("GET", RESOURCES, &read, Null).await.is(200);
    send("POST", ("if-match", "*")).await.is(201);
}

/// R127: an identifier is an absolute URI that leads nowhere else than it says, and not this server.
#[tokio::test]
async fn bad_values_are_refused() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    for bad in [
        "",
        "crm",
        "crm.example.com",
        "//crm.example.com",
        "http://crm.example.com",
        "ftp://crm.example.com",
        "https://crm.example.com#a",
        "https://crm.example.com/#",
        "https://user@crm.example.com",
        "https://a b",
        "HTTPS://crm.example.com",
        "urn:crm",
        "https://",
        "http://localhost.example.com",
        "http://[::2]",
        " https://crm.example.com",
        "http://127.0.0.1:3000",
        "http://127.0.0.1:3000/crm",
        "http://127.0.0.1:3000?x",
        "http://127.0.0.1:3000/?x",
        &format!("https://crm.example.com/{}", "a".repeat(500)),
    ] {
        let body = json!({ "identifier": bad });
        t.as_(&ada, "POST", RESOURCES, body).await.refused(400, "invalid_identifier");
    }
    for good in [
        "https://crm.example.com",
        "https://API.example.com/mcp",
        "http://localhost:8080",
        "http://127.0.0.1:30001",
        "http://[::1]:9000/a?b=c",
        "http://crm.localhost",
    ] {
        t.as_(&ada, "POST", RESOURCES, json!({ "identifier": good })).await.is(201);
    }
    // R744: another spelling is the same service, also of another tenant.
    let other = t.tenant("other").await;
    let eve = t.user(&other, "eve@example.com", Role::Admin).await;
    for taken in ["https://crm.example.com/", "https://CRM.example.com", "https://crm.example.com:443/"] {
        for admin in [&ada, &eve] {
            t.as_(admin, "POST", RESOURCES, json!({ "identifier": taken })).await.refused(409, "resource_taken");
        }
    }
    let small = json!({ "identifier": "https://api.example.com:443/mcp" });
    t.as_(&ada, "POST", RESOURCES, small).await.refused(409, "resource_taken");
    let own = "https://a.example";
    for (field, value) in [
        ("scopes", json!(["agents.read"])),
        ("scopes", json!(["x.unknown"])),
        ("scopes", json!(["x.*"])),
        ("scopes", json!(["*"])),
        ("scopes", json!("x.crm.read")),
        ("signing_alg", json!("HS256")),
        ("signing_alg", json!("none")),
        ("introspectors", json!(vec!["ada@example.com"; 21])),
        ("other", json!(1)),
    ] {
        let body = json!({ "identifier": own, field: value });
        let refused = t.as_(&ada, "POST", RESOURCES, body).await.refused(422, "validation_error");
        assert_eq!(refused["fields"][0]["field"], field);
    }
    let body = json!({ "identifier": own, "introspectors": ["nobody"] });
    t.as_(&ada, "POST", RESOURCES, body).await.refused(404, "subject_not_found");
    let body = json!({ "identifier": own, "name": "a\u{202e}b" });
    t.as_(&ada, "POST", RESOURCES, body).await.refused(400, "invalid_text");
    let sql = format!("SELECT count(*) FROM resources WHERE identifier = '{own}'");
    assert_eq!(t.number(&sql).await, 0);
}

/// R127: a tenant has so many services at most, and a repeated request makes one.
#[tokio::test]
async fn services_are_bounded() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let tenant = &ada.tenant;
    let once = [("authorization", &*format!("Bearer {}", ada.token)), ("idempotency-key", "one")];
    let body = json!({ "identifier": "https://crm.example.com" });
    let first = t.call("POST", RESOURCES, &once, body.clone()).await.is(201);
    assert_eq!(t.call("POST", RESOURCES, &once, body).await.is(201), first);
    for number in 1..MOST {
        let sql = format!(
            "INSERT INTO resources VALUES ('res_{number}', '{tenant}', 'https://{number}.example', 'n', '', '[]', 'EdDSA', 0, 'u', 0)"
        );
        t.execute(&sql).await.unwrap();
    }
    let body = json!({ "identifier": "https://more.example.com" });
    let refused = t.as_(&ada, "POST", RESOURCES, body).await.refused(409, "quota_reached");
    assert_eq!(refused["quota"], "resources");
    t.as_(&ada, "DELETE", &at(&first), Null).await.is(204);
    let body = json!({ "identifier": "https://crm.example.com" });
    t.as_(&ada, "POST", RESOURCES, body).await.is(201);
}

/// R127: what was narrowed may name what is gone meanwhile: taking the rest away goes on.
#[tokio::test]
async fn a_service_can_be_narrowed_after_its_scope_is_gone() {
    let t = TestApp::new(with_neighbours());
    let ada = ada(&t).await;
    let scout = t.agent(&ada, "scout", "agents.read").await;
    let body = json!({
        "identifier": "https://crm.example.com", "scopes": ["x.crm.read", "x.crm.write"], "introspectors": ["scout", "ada@example.com"],
    });
    let made = t.as_(&ada, "POST", RESOURCES, body).await.is(201);
    t.execute("DELETE FROM custom_scopes WHERE name = 'x.crm.read'").await.unwrap();
    t.execute("UPDATE agents SET archived_at = 1").await.unwrap();
    let patch = json!({ "scopes": ["x.crm.read"], "introspectors": [scout.agent] });
    let patched = t.as_(&ada, "PATCH", &at(&made), patch).await.is(200);
    assert_eq!((&patched["scopes"], &patched["introspectors"]), (&json!(["x.crm.read"]), &json!([scout.agent])));
    let patch = json!({ "scopes": ["x.crm.read", "x.crm.write"] });
    let refused = t.as_(&ada, "PATCH", &at(&made), patch).await.refused(422, "validation_error");
    // R621: what is gone stands in the way of nothing new.
    let more = json!({ "introspectors": [scout.agent, "ada@example.com"] });
    let patched = t.as_(&ada, "PATCH", &at(&made), more).await.is(200);
    assert_eq!(patched["introspectors"].as_array().unwrap().len(), 2, "{patched}");
    // R618: it is named.
    assert!(refused["fields"][0]["problem"].as_str().unwrap().contains("there is no x.crm.read,"), "{refused}");
}
