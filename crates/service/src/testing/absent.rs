//! Every route of the table that names an object, with one that is not there, one that the caller may not read and one of
//! another tenant: equal answers by equal work. A new route is tried as soon as it stands in the table.

use serde_json::{Value as Json, json};

use super::{Actor, TestApp};
use crate::router::Router;
use common::{
    id::NotificationId,
    role::Role,
    route::{Access, Callers, GUIDES_PUT, Group, OIDC_LINK, PRESET_PUT, ROUTES, Route},
    secret::Kind,
};
use store::notification;

/// A caller, and objects that it must not be able to distinguish: the segments of the path that name each.
struct Case {
    caller: Actor,
    objects: Vec<Vec<String>>,
}

/// A world with objects of every kind that the caller may not read.
struct World {
    admin: Actor,
    member: Actor,
    /// An agent of the member.
    agent: Actor,
    agents: Vec<String>,
    pats: Vec<String>,
    sessions: Vec<String>,
    identities: Vec<String>,
    users: Vec<String>,
    notifications: Vec<String>,
    foreign_credentials: Vec<String>,
    mails: Vec<String>,
    archived: Vec<String>,
    requests: Vec<String>,
    presets: Vec<String>,
    resources: Vec<String>,
    webhooks: Vec<String>,
    /// The member's own.
    webhook: String,
    /// Agent and key.
    keys: Vec<Vec<String>>,
    clients: Vec<String>,
    apps: Vec<String>,
}

/// A body with which the route would succeed if the object existed.
fn body(route: &Route) -> Json {
    match (route.method, route.path) {
        ("POST", "/api/agents/{name}/keys") => json!({ "name": "ci" }),
        ("POST", "/api/agents/{name}/federated-credentials") => {
            let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
            json!({ "name": "ci", "issuer": "a", "subject": "b", "jwks": { "keys": [key] } })
        }
        ("POST", "/api/agents/{name}/grants" | "/api/agents/{name}/keys/{id}/grants") => {
            json!({ "subject": "max@example.com", "relation": "viewer" })
        }
        ("DELETE", "/api/agents/{name}/grants" | "/api/agents/{name}/keys/{id}/grants") => {
            json!({ "subject": "max@example.com" })
        }
        ("POST", "/api/agents/{name}/logs") => json!({ "text": "hello" }),
        ("POST", "/api/agents/{name}/deploy-status") => json!({ "reason": "x" }),
        ("PUT", "/api/agents/{name}") => json!({ "preset": "worker" }),
        ("POST", "/api/agents/{name}/messages") => json!({ "text": "hello" }),
        ("PUT", "/api/agents/{name}/secrets") => json!({ "secrets": { "A": "x" } }),
        ("PUT", "/api/agents/{name}/secrets/{key}") => json!({ "value": "x" }),
        ("POST", "/api/agents/{name}/probes") => {
            json!({ "name": "a", "url": "https://api.example.com/", "secret": "A" })
        }
        ("POST", "/api/users/{id}/set-password") => json!({ "password": "a quiet orbit of nine" }),
        ("PATCH", "/api/resources/{id}") => json!({ "name": "New" }),
        ("PATCH", "/api/users/{id}") => json!({ "name": "New" }),
        _ => Json::Null,
    }
}

#[expect(clippy::expect_used, reason = "tests only: a broken harness should end the test")]
async fn world(t: &TestApp) -> World {
    let (main, other) = (t.tenant("main").await, t.tenant("other").await);
    let admin = t.user(&main, "ada@example.com", Role::Admin).await;
    let member = t.user(&main, "max@example.com", Role::Member).await;
    let mia = t.user(&main, "mia@example.com", Role::Member).await;
    let eve = t.user(&other, "eve@example.com", Role::Admin).await;
    let (mut agents, mut pats, mut sessions, mut notifications, mut requests) =
        (vec![], vec![], vec![], vec![], vec![]);
    let mut identities = vec![];
    for (owner, name) in [(&mia, "hidden"), (&eve, "foreign")] {
        let agent = t.agent(owner, name, "*").await.agent.expect("an agent");
        agents.push(name.to_owned());
        t.execute(&format!(
            "INSERT INTO access_requests (id, tenant_id, agent_id, scope, reason, hours, created_at)
             VALUES ('acc_{name}', '{}', '{agent}', 'agents.list', 'r', 24, 0)",
            owner.tenant
        ))
        .await
        .expect("a request");
        requests.push(format!("acc_{name}"));
        t.execute(&format!(
            "INSERT INTO closures (id, tenant_id, user_id, action, object_id, at, since, epoch, ended)
             VALUES ('cls_{name}', '{}', '{}', 'agent.stop', '{agent}', 0, 0, 1,
                     '{{\"agents\":1,\"people\":0,\"tokens\":0,\"keys\":0,\"sessions\":0,\"approvals\":0,\"streams\":0}}')",
            owner.tenant, owner.user
        ))
        .await
        .expect("a closure");
        t.execute(&format!(
            "INSERT INTO identities (id, user_id, issuer, subject, provider, created_at)
             VALUES ('idn_{name}', '{}', 'https://sso.example', '{name}', 'acme', 0)",
            owner.user
        ))
        .await
        .expect("an identity");
        identities.push(format!("idn_{name}"));
        let pat = t.credential(Kind::Pat, &owner.tenant, &owner.user, None, "*", None).await;
        pats.push(pat.credential.to_string());
        sessions.push(owner.credential.to_string());
        let id = NotificationId::generate(t.now(), &t.env.chance);
        let tx = t.db().begin(store::db::Purpose::Durable).await.expect("a transaction");
        let (whose, text) = ((&owner.user, None), ("a", "b"));
        let told = notification::insert_own_as("high", &tx, &id, &owner.tenant, whose, text, t.now()).await;
        told.expect("a notification");
        tx.commit().await.expect("commit");
        notifications.push(id.to_string());
    }
    t.execute(&format!(
        "INSERT INTO presets (tenant_id, name, version, scope, created_at, created_by)
         VALUES ('{other}', 'foreign', 1, 'agents.read', 0, '{}')",
        eve.user
    ))
    .await
    .expect("a preset");
    let presets = vec!["foreign".to_owned()];
    t.execute(&format!("INSERT INTO guides VALUES (1, '{other}', 'app:foreign', 0, 'foreign', 't', 'b', 0, 'u', 'u')"))
        .await
        .expect("a guide");
    let mut archived = vec![];
    for owner in [&mia, &eve] {
        let gone = t.agent(owner, "gone", "*").await.agent.expect("an agent");
        t.execute(&format!("UPDATE agents SET archived_at = 1 WHERE id = '{gone}'")).await.expect("archived");
        archived.push(gone.to_string());
    }
    let users = vec![eve.user.to_string()];
    let foreign_credentials = vec![eve.credential.to_string()];
    let id = "out_foreign".to_owned();
    let (tenant, user) = (&eve.tenant, &eve.user);
    t.execute(&format!(
        "INSERT INTO outbox (id, tenant_id, user_id, kind, recipient, data, created_at, due_at, state)
         VALUES ('{id}', '{tenant}', '{user}', 'test', 'eve@example.com', '{{}}', 0, 0, 'dead')"
    ))
    .await
    .expect("a mail");
    let mails = vec![id];
    t.execute(&format!(
        "INSERT INTO resources (id, tenant_id, identifier, name, scopes, introspectors, signing_alg, created_at, created_by, updated_at)
         VALUES ('res_foreign', '{other}', 'https://a.example', 'a', '', '[]', 'EdDSA', 0, 'u', 0)"
    ))
    .await
    .expect("a resource");
    let resources = vec!["res_foreign".to_owned()];
    let mut webhooks = vec![];
    for (owner, id) in [(&mia, "whk_hidden"), (&eve, "whk_foreign"), (&member, "whk_own")] {
        t.execute(&format!(
            "INSERT INTO webhooks (id, tenant_id, user_id, name, url, takes_notifications, sealed, sealed_at, created_at, updated_at)
             VALUES ('{id}', '{0}', '{1}', 'w', 'https://a.example', 1, x'00', 0, 0, 0)",
            owner.tenant, owner.user
        ))
        .await
        .expect("a webhook");
        t.execute(&format!(
            "INSERT INTO deliveries (id, webhook_id, event_id, kind, at, data, state, due_at, created_at)
             VALUES ('dlv_of_{id}', '{id}', 'msg_1', 'message', 0, '{{\"a\":1}}', 'dead', 0, 0)"
        ))
        .await
        .expect("a delivery");
        webhooks.push(id.to_owned());
    }
    let webhook = webhooks.pop().unwrap_or_default();
    // An agent that the member may edit, whose key is not shared with them.
    let open = t.agent(&mia, "open", "*").await.agent.expect("an agent");
    t.grant(&open, &main, member.user.as_str(), "editor", &mia.user).await;
    let mut keys = vec![];
    for (agent, id) in [("open", "key_open"), ("hidden", "key_hidden"), ("foreign", "key_foreign")] {
        t.execute(&format!(
            "INSERT INTO api_keys (id, tenant_id, agent_id, name, type, created_at, created_by)
             SELECT '{id}', tenant_id, id, 'ci', 'external', 0, owner_id FROM agents WHERE name = '{agent}'"
        ))
        .await
        .expect("a key");
        keys.push(vec!["open".to_owned(), id.to_owned()]);
    }
    t.execute(&format!(
        "INSERT INTO oauth_clients (id, tenant_id, name, redirect_uris, secret, created_at, updated_at, created_by)
         VALUES ('cli_foreign', '{other}', 'c', '[]', NULL, 0, 0, '{}')",
        eve.user
    ))
    .await
    .expect("a client");
    let clients = vec!["cli_foreign".to_owned()];
    let mut apps = vec![];
    for (owner, id, digits) in [(&mia, "apg_hidden", "1"), (&eve, "apg_foreign", "2")] {
        let digest = digits.repeat(64);
        t.execute(&format!(
            "INSERT INTO oauth_grants VALUES ('{id}', '{}', '{}', 'c', 'n', NULL, '*', NULL, x'{digest}', x'{digest}', 0, 0, 9e15, 9e15, NULL, NULL)",
            owner.tenant, owner.user
        ))
        .await
        .expect("an app");
        apps.push(id.to_owned());
    }
    let agent = t.agent(&member, "own", "*").await;
    World {
        admin,
        member,
        agent,
        agents,
        pats,
        sessions,
        identities,
        users,
        notifications,
        foreign_credentials,
        mails,
        archived,
        requests,
        presets,
        resources,
        webhooks,
        webhook,
        keys,
        clients,
        apps,
    }
}

impl World {
    /// The callers and the objects that they ask for; a path that names two objects has a case for each. Empty: this file
    /// does not know how the path's object is made.
    fn cases(self, route: &Route) -> Vec<Case> {
        let single = |object: String| vec![object];
        if route.path.starts_with("/api/agents/{name}/keys/{id}") {
            let of = |agent: &str| vec![agent.to_owned(), "key_hidden".to_owned()];
            let agents = ["nothing", "hidden", "foreign"].map(of).to_vec();
            let keys = std::iter::once(vec!["open".to_owned(), "key_nothing".to_owned()]).chain(self.keys).collect();
            return vec![
                Case { caller: self.member.clone(), objects: agents },
                Case { caller: self.member, objects: keys },
            ];
        }
        // A caller that may read an agent may know the names of its secrets, probes and federated credentials: only the agent can be
        // hidden.
        for (path, inner) in [
            ("/api/agents/{name}/secrets/{", "A"),
            ("/api/agents/{name}/probes/{", "prb_nothing"),
            ("/api/agents/{name}/federated-credentials/{", "fed_nothing"),
        ] {
            if route.path.starts_with(path) {
                let of = |agent: &str| vec![agent.to_owned(), inner.to_owned()];
                let objects = ["nothing", "hidden", "foreign"].map(of).to_vec();
                return vec![Case { caller: self.member, objects }];
            }
        }
        if route.path.starts_with("/api/webhooks/{id}/deliveries/{delivery}") {
            let of = |webhook: &str| vec![webhook.to_owned(), format!("dlv_of_{webhook}")];
            let webhooks = std::iter::once("whk_nothing").chain(self.webhooks.iter().map(String::as_str)).map(of);
            let other = |delivery: &str| vec![self.webhook.clone(), delivery.to_owned()];
            return vec![
                Case { caller: self.member.clone(), objects: webhooks.collect() },
                Case {
                    caller: self.member.clone(),
                    objects: ["dlv_nothing", "dlv_of_whk_hidden", "dlv_of_whk_foreign"].map(other).to_vec(),
                },
            ];
        }
        if route.path.starts_with("/api/guides/{source}") {
            let of = |source: &str| vec![format!("app:{source}"), source.to_owned()];
            return vec![Case { caller: self.admin, objects: ["nothing", "foreign"].map(of).to_vec() }];
        }
        let (caller, absent, objects) = if route.path.starts_with("/api/agents/archived/{id}") {
            (self.member, "agt_nothing", self.archived)
        } else if route.path.starts_with("/api/agents/{name}") {
            (self.member, "nothing", self.agents)
        } else if route.path.starts_with("/api/access-requests/{id}") {
            let caller = if route.callers == Callers::Agents { self.agent } else { self.member };
            (caller, "acc_nothing", self.requests)
        } else if route.path.starts_with("/api/presets/{name}") {
            (self.admin, "nothing", self.presets)
        } else if route.path.starts_with("/api/resources/{id}") {
            (self.admin, "res_nothing", self.resources)
        } else if route.path.starts_with("/auth/tokens/{id}") {
            (self.member, "tok_nothing", self.pats)
        } else if route.path.starts_with("/auth/admin/tokens/{id}") {
            (self.admin, "tok_nothing", self.foreign_credentials)
        } else if route.path.starts_with("/auth/sessions/{id}") {
            (self.member, "tok_nothing", self.sessions)
        } else if route.path.starts_with("/auth/identities/{id}") {
            (self.member, "idn_nothing", self.identities)
        } else if route.path.starts_with("/api/users/{id}") {
            (self.admin, "usr_nothing", self.users)
        } else if route.path.starts_with("/api/notifications/{id}") {
            (self.member, "ntf_nothing", self.notifications)
        } else if route.path.starts_with("/api/mail/outbox/{id}") {
            (self.admin, "out_nothing", self.mails)
        } else if route.path.starts_with("/api/closures/{id}") {
            let closures = self.agents.iter().map(|name| format!("cls_{name}")).collect();
            (self.member, "cls_nothing", closures)
        } else if route.path.starts_with("/api/webhooks/{id}") {
            (self.member, "whk_nothing", self.webhooks)
        } else if route.path.starts_with("/api/oauth/clients/{id}") {
            (self.admin, "cli_nothing", self.clients)
        } else if route.path.starts_with("/auth/apps/{id}") {
            (self.member, "apg_nothing", self.apps)
        } else {
            return vec![];
        };
        vec![Case { caller, objects: std::iter::once(absent.to_owned()).chain(objects).map(single).collect() }]
    }
}

/// The path with its segments in the places of their names.
fn filled(path: &str, segments: &[String]) -> String {
    segments.iter().fold(path.to_owned(), |path, segment| match (path.find('{'), path.find('}')) {
        (Some(start), Some(end)) => {
            format!("{}{segment}{}", path.get(..start).unwrap_or_default(), path.get(end + 1..).unwrap_or_default())
        }
        _ => path,
    })
}

/// R33, over all rows of a group whose path names an object: whole answers (but for the request's id) and the number of
/// statements are equal, the status is 404, and nothing was written.
///
/// # Panics
/// When they are not, or when a row names an object of a kind that is not known here.
#[expect(clippy::expect_used, reason = "tests only")]
pub async fn foreign_objects_are_absent(group: Group, router: fn() -> Router) {
    let named = ROUTES.iter().filter(|row| {
        // A preset's name is made by the PUT that names it, and every tenant has its own; so is the name of a source of guides. A provider
        // is everybody's, and so is a device: it is named by a secret code.
        let is_everybodys = row.path.starts_with("/auth/device/") || [PRESET_PUT, GUIDES_PUT, OIDC_LINK].contains(row);
        let names_no_object = row.path.contains("{*") || is_everybodys;
        let is_of_an_object = row.path.contains('{') && !names_no_object;
        row.group == group && row.access != Access::Public && is_of_an_object
    });
    for route in named {
        let what = format!("{} {}", route.method, route.path);
        let t = TestApp::new(router());
        let world = world(&t).await;
        let cases = world.cases(route);
        assert!(!cases.is_empty(), "{what}: say in testing/absent.rs how its object is made");
        // The first use of a credential is recorded; that is not what is compared here.
        t.execute("UPDATE credentials SET last_used_at = 9e15, last_used_address = '192.0.2.1'").await.expect("a use");
        for case in cases {
            let mut answers = Vec::new();
            // The first object twice: opening a connection takes statements of its own, once.
            for object in case.objects.iter().take(1).chain(&case.objects) {
                let before = t.db().statements();
                let path = filled(route.path, object);
                let mut answer = t.as_(&case.caller, route.method, &path, body(route)).await;
                let statements = t.db().statements() - before;
                let mut told = answer.is(404);
                told.as_object_mut().map(|told| told.remove("request_id"));
                answer.headers.remove("x-request-id");
                answers.push((told, answer.headers, statements));
            }
            answers.remove(0);
            let is_equal = answers.windows(2).all(|pair| pair.first() == pair.last());
            assert!(is_equal, "{what}: {answers:#?}");
        }
        let done = "SELECT count(*) FROM audit WHERE outcome = 'done'";
        assert_eq!(t.number(done).await, 0, "{what} changed something");
    }
}
