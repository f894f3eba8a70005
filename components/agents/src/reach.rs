//! R90, R91: what a credential reaches that an editor minted, and how long it lives.

use std::{cell::Cell, collections::BTreeSet};

use common::{
    permission::Action,
    role::Role,
    secret::{Kind, Secret},
    vault::Vault,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{
    Value::{self as Json, Null},
    json,
};
use service::{
    caller::Caller,
    settings::Settings,
    testing::{Actor, TestApp},
};
use store::{
    db::Reads,
    permission::{Binder, PermissionSql},
    subject::Subject,
};

use crate::with_neighbours;

const GRANTS: &str = "/api/agents/front/grants";
const ISSUE: &str = "/api/agents/front/token/issue";

/// Ada owns the agent front, with below it and other, which is shared with front. Max is an editor of front. Root is an admin.
struct Stage {
    t: TestApp,
    ada: Actor,
    max: Actor,
    root: Actor,
    /// Front, by the token that its owner was given.
    front: Actor,
}

async fn stage() -> Stage {
    let vault = Vault::parse("a-key-of-the-operator-that-is-long-enough").unwrap();
    let t = TestApp::with(with_neighbours(), Settings { vault, ..Settings::default() });
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
    let max = t.user(&tenant, "max@example.com", Role::Member).await;
    let root = t.user(&tenant, "root@example.com", Role::Admin).await;
    let front = t.agent(&ada, "front", "agents.*").await;
    t.agent_below(&ada, Some(&front), "below", "agents.*").await;
    t.agent(&ada, "other", "agents.*").await;
    let share = json!({ "subject": "front", "relation": "editor" });
    t.as_(&ada, "POST", "/api/agents/other/grants", share).await.is(201);
    t.as_(&ada, "POST", GRANTS, json!({ "subject": "max@example.com", "relation": "editor" })).await.is(201);
    Stage { t, ada, max, root, front }
}

const SCOPE: &str =
    "agents.create agents.keys.read agents.keys.write agents.list agents.read agents.token.issue agents.update";

fn scope() -> Json {
    json!({ "scope": SCOPE.split(' ').collect::<Vec<_>>(), "grace_seconds": 0 })
}

/// The agent front with the secret of an answer.
fn with(front: &Actor, secret: &Json) -> Actor {
    let token = secret.as_str().expect("a secret").to_owned();
    Actor {
        token,
        credential: front.credential.clone(),
        tenant: front.tenant.clone(),
        user: front.user.clone(),
        agent: front.agent.clone(),
    }
}

impl Stage {
    /// A token of front, issued by this caller.
    async fn issue(&self, by: &Actor) -> Actor {
        let issued = self.t.as_(by, "POST", ISSUE, scope()).await.is(200);
        with(&self.front, &issued["token"])
    }

    async fn key(&self, by: &Actor, name: &str) -> Actor {
        let body = json!({ "name": name, "scope": ["agents.read", "agents.keys.read"] });
        let made = self.t.as_(by, "POST", "/api/agents/front/keys", body).await.is(201);
        with(&self.front, &made["key"])
    }

    /// Whether the credential is let in.
    async fn lives(&self, actor: &Actor) -> bool {
        let answer = self.t.as_(actor, "GET", "/api/agents/front", Null).await;
        match answer.status.as_u16() {
            200 => true,
            401 => false,
            other => panic!("{other}: {}", answer.text),
        }
    }

    /// Takes Max's grant away.
    async fn take(&self) {
        self.t.as_(&self.ada, "DELETE", GRANTS, json!({ "subject": "max@example.com" })).await.is(204);
    }
}

/// R90: it reaches the agent alone, as its editor did; the owner's reaches those below and those that are shared with it.
#[tokio::test]
async fn an_editors_token_reaches_its_agent_alone() {
    let stage = stage().await;
    let Stage { t, ada, max, root, .. } = &stage;
    // A key that Max may not read: its grants are its own.
    stage.key(ada, "owners").await;
    assert_eq!(t.as_(max, "GET", "/api/agents/front/keys", Null).await.is(200)["items"], json!([]));

    let narrow = stage.issue(max).await;
    for name in ["below", "other"] {
        let path = format!("/api/agents/{name}");
        t.as_(&narrow, "GET", &path, Null).await.refused(404, "agent_not_found");
        t.as_(&narrow, "PATCH", &path, json!({ "model": "m" })).await.refused(404, "agent_not_found");
        t.as_(&narrow, "POST", &format!("{path}/token/issue"), json!({ "scope": ["agents.read"] }))
            .await
            .refused(404, "agent_not_found");
        t.as_(&narrow, "POST", &format!("{path}/keys"), json!({ "name": "k", "scope": ["agents.read"] }))
            .await
            .refused(404, "agent_not_found");
        let refused = t.as_(&narrow, "POST", "/api/agents", json!({ "name": "n", "parent": name })).await;
        refused.refused(404, "parent_not_found");
    }
    let listed = t.as_(&narrow, "GET", "/api/agents", Null).await.is(200);
    assert_eq!(listed["items"].as_array().unwrap().iter().map(|at| &at["name"]).collect::<Vec<_>>(), ["front"]);
    assert_eq!(t.as_(&narrow, "GET", "/api/agents/front/keys", Null).await.is(200)["items"], json!([]));
    t.as_(&narrow, "PATCH", "/api/agents/front", json!({ "model": "m" })).await.is(200);
    let refused = t.as_(&narrow, "POST", "/api/agents", json!({ "name": "n" })).await.refused(403, "permission_denied");
    assert!(refused["detail"].as_str().unwrap().contains("issued by an editor"), "{refused}");
    assert_eq!(t.number("SELECT count(*) FROM agents").await, 3);

    // It is told why, and so is everybody who may ask.
    let why = t.as_(&narrow, "GET", "/api/agents/front/explain?action=share", Null).await.is(200);
    assert_eq!(why["allowed"], false);
    let itself = why["factors"].as_array().unwrap().iter().find(|at| at["factor"] == "itself").unwrap();
    assert!(itself["why"].as_str().unwrap().contains("issued by an editor"), "{itself}");

    // What it mints is no wider, whichever way.
    let again = t.as_(&narrow, "POST", ISSUE, Null).await.is(200);
    let again = with(&stage.front, &again["token"]);
    let key = stage.key(&again, "made").await;
    for narrow in [&again, &key] {
        t.as_(narrow, "GET", "/api/agents/below", Null).await.refused(404, "agent_not_found");
        t.as_(narrow, "GET", "/api/agents/other", Null).await.refused(404, "agent_not_found");
    }

    // The owner's and an admin's tokens reach all of it.
    for by in [ada, root] {
        let wide = stage.issue(by).await;
        t.as_(&wide, "GET", "/api/agents/below", Null).await.is(200);
        t.as_(&wide, "GET", "/api/agents/other", Null).await.is(200);
        let again = t.as_(&wide, "POST", ISSUE, Null).await.is(200);
        t.as_(&with(&stage.front, &again["token"]), "GET", "/api/agents/below", Null).await.is(200);
    }
}

/// R91: with the grant ends what was minted under it, and what was minted with that, in the same transaction.
#[tokio::test]
async fn what_an_editor_minted_ends_with_the_grant() {
    let stage = stage().await;
    let Stage { t, ada, max, front, .. } = &stage;
    let owners_key = stage.key(ada, "owners").await;
    let issued = t.as_(max, "POST", ISSUE, scope()).await.is(200);
    let first = with(front, &issued["token"]);
    let again = t.as_(&first, "POST", ISSUE, json!({ "grace_seconds": 600 })).await.is(200);
    let (second, second_id) = (with(front, &again["token"]), again["id"].clone());
    let key = stage.key(&second, "made").await;
    let max_key = stage.key(max, "maxs").await;
    t.as_(max, "POST", "/api/agents/front/keys", json!({ "name": "hook", "type": "github" })).await.is(201);

    // The owner sees who made it, with what, and on whose grant it rests.
    let shown = t.as_(ada, "GET", "/api/agents/front", Null).await.is(200)["token"].clone();
    let front_id = front.agent.as_ref().unwrap();
    assert_eq!(
        json!([shown["id"], shown["minted_by"], shown["minted_with"], shown["grantee"]]),
        json!([second_id, front_id, issued["id"], max.user])
    );
    let keys = t.as_(ada, "GET", "/api/agents/front/keys", Null).await.is(200);
    let mut grantees: Vec<(&str, &Json)> =
        keys["items"].as_array().unwrap().iter().map(|at| (at["name"].as_str().unwrap(), &at["grantee"])).collect();
    grantees.sort_by_key(|(name, _)| *name);
    let id = json!(max.user);
    assert_eq!(grantees, [("hook", &id), ("made", &id), ("maxs", &id), ("owners", &Null)]);
    // Max stands to the keys of this credential as to their own.
    let listed = t.as_(max, "GET", "/api/agents/front/keys", Null).await.is(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 3);
    assert_eq!(t.as_(&second, "GET", "/api/agents/front/keys", Null).await.is(200), listed);

    for one in [&first, &second, &key, &max_key, &owners_key] {
        assert!(stage.lives(one).await);
    }
    t.as_(ada, "DELETE", GRANTS, json!({ "subject": "max@example.com", "relation": "viewer" })).await.is(204);
    assert!(stage.lives(&second).await, "another relation was taken");
    stage.take().await;
    for one in [&first, &second, &key, &max_key] {
        assert!(!stage.lives(one).await);
    }
    assert!(stage.lives(&owners_key).await);
    assert_eq!(t.number("SELECT count(*) FROM api_keys WHERE sealed IS NOT NULL").await, 0);
    assert_eq!(t.number("SELECT count(*) FROM lost_rights").await, 0);
    // It is written down, and the agent is told.
    assert_eq!(
        t.number("SELECT json_array_length(before, '$.credentials') FROM audit WHERE action = 'credential.end'").await,
        5
    );
    assert_eq!(
        t.number("SELECT json_array_length(data, '$.credentials') FROM inbox WHERE kind = 'credentials_ended'").await,
        5
    );
    // A grant that is given again revives none of it.
    t.as_(ada, "POST", GRANTS, json!({ "subject": "max@example.com", "relation": "editor" })).await.is(201);
    assert!(!stage.lives(&second).await);
}

/// R91: each way to lose the right, and the ways that lose nothing.
#[tokio::test]
async fn every_way_to_lose_the_right_ends_it() {
    let ways: [(&str, &str, Json); 3] = [
        ("PATCH", "/api/users/{max}", json!({ "role": "viewer" })),
        ("POST", "/api/users/{max}/deactivate", Null),
        ("DELETE", "/api/users/{max}", Null),
    ];
    for (method, path, body) in ways {
        let stage = stage().await;
        let token = stage.issue(&stage.max).await;
        let path = path.replace("{max}", stage.max.user.as_str());
        let done = stage.t.as_(&stage.root, method, &path, body).await;
        assert!(done.status.is_success(), "{method} {path}: {}", done.text);
        assert!(!stage.lives(&token).await, "{method} {path}");
        let told = "SELECT count(*) FROM notifications n JOIN users u ON u.id = n.user_id WHERE u.email = 'ada@example.com' AND n.title = 'Credentials of front ended'";
        assert_eq!(stage.t.number(told).await, 1, "{method} {path}");
    }
    let stage = stage().await;
    let token = stage.issue(&stage.max).await;
    let path = format!("/api/users/{}", stage.max.user);
    stage.t.as_(&stage.root, "PATCH", &path, json!({ "name": "Maximilian" })).await.is(200);
    stage.t.as_(&stage.root, "PATCH", &path, json!({ "role": "curator" })).await.is(200);
    assert!(stage.lives(&token).await);
}

/// R91: an agent's grant counts for what its owner may do, so each of the two grants carries what the agent mints.
#[tokio::test]
async fn what_an_agent_minted_by_grant_ends_with_either_grant() {
    for taken in ["max@example.com", "helper"] {
        let stage = stage().await;
        let Stage { t, ada, max, .. } = &stage;
        let helper = t.agent(max, "helper", "agents.*").await;
        let id = helper.agent.as_ref().unwrap();
        let share = json!({ "subject": "ada@example.com", "relation": "viewer" });
        t.as_(max, "POST", "/api/agents/helper/grants", share).await.is(201);
        t.as_(ada, "POST", GRANTS, json!({ "subject": "helper", "relation": "editor" })).await.is(201);
        let token = stage.issue(&helper).await;
        let grantee = t.as_(ada, "GET", "/api/agents/front", Null).await.is(200)["token"]["grantee"].clone();
        assert_eq!(grantee, json!(id));
        assert!(stage.lives(&token).await);
        t.as_(ada, "DELETE", GRANTS, json!({ "subject": taken })).await.is(204);
        assert!(!stage.lives(&token).await, "{taken}");
    }
    // And with the agent itself.
    let stage = stage().await;
    let Stage { t, ada, max, .. } = &stage;
    let helper = t.agent(max, "helper", "agents.*").await;
    t.as_(max, "POST", "/api/agents/helper/grants", json!({ "subject": "ada@example.com", "relation": "viewer" }))
        .await
        .is(201);
    t.as_(ada, "POST", GRANTS, json!({ "subject": "helper", "relation": "editor" })).await.is(201);
    let token = stage.issue(&helper).await;
    t.as_(max, "DELETE", "/api/agents/helper", Null).await.is(204);
    assert!(!stage.lives(&token).await);
}

/// R90: it does no more than the editor could now: not what people approved for the agent, not what the editor's role lacks since, not
/// what the ceiling of an agent that is the editor lacks.
#[tokio::test]
async fn an_editors_token_does_no_more_than_the_editor() {
    let stage = stage().await;
    let Stage { t, ada, max, root, front } = &stage;
    let scopes = async |token: &Actor| {
        let secret = Secret::parse(&token.token).unwrap();
        let caller = Caller::find_by_secret(t.db(), secret, t.now()).await.unwrap().unwrap();
        json!(caller.scope().names())
    };
    // An approval counts for the owner's token, and for no editor's.
    let ask = json!({ "scope": ["agents.logs"], "reason": "r" });
    let carried = json!({ "scope": ["agents.read"] });
    let owners = with(front, &t.as_(ada, "POST", ISSUE, carried.clone()).await.is(200)["token"]);
    let asked = t.as_(&owners, "POST", "/api/access-requests", ask.clone()).await.is(201);
    let approve = format!("/api/access-requests/{}/approve", asked["id"].as_str().unwrap());
    t.as_(ada, "POST", &approve, Null).await.is(200);
    assert_eq!(scopes(&owners).await, json!(["agents.read", "agents.logs"]));
    let editors = with(front, &t.as_(max, "POST", ISSUE, carried).await.is(200)["token"]);
    assert_eq!(scopes(&editors).await, json!(["agents.read"]));
    let refused = t.as_(&editors, "POST", "/api/access-requests", ask).await.refused(400, "scope_not_grantable");
    assert!(refused["fix"].as_str().unwrap().contains("POST /api/agents/front/token/issue"), "{refused}");

    // The role that the editor has now.
    let role = async |role: &str| {
        let body = json!({ "role": role });
        t.as_(root, "PATCH", &format!("/api/users/{}", max.user), body).await.is(200);
    };
    t.execute("UPDATE users SET role = 'admin' WHERE email = 'ada@example.com'").await.unwrap();
    t.as_(root, "PATCH", "/api/agents/front", json!({ "scope": ["*"] })).await.is(200);
    role("curator").await;
    let body = json!({ "scope": ["agents.read", "guides.write"] });
    let curators = with(front, &t.as_(max, "POST", ISSUE, body).await.is(200)["token"]);
    assert_eq!(scopes(&curators).await, json!(["agents.read", "guides.write"]));
    role("member").await;
    assert_eq!(scopes(&curators).await, json!(["agents.read"]));

    // The ceiling of an agent that is the editor.
    let helper = t.agent(max, "helper", "agents.*").await;
    let share = json!({ "subject": "ada@example.com", "relation": "viewer" });
    t.as_(max, "POST", "/api/agents/helper/grants", share).await.is(201);
    t.as_(ada, "POST", GRANTS, json!({ "subject": "helper", "relation": "editor" })).await.is(201);
    let key = stage.key(&helper, "helpers").await;
    let ceiling = async |scope: Json| {
        t.as_(max, "PATCH", "/api/agents/helper", json!({ "scope": scope })).await.is(200);
    };
    ceiling(json!(["agents.read", "agents.update"])).await;
    assert_eq!(scopes(&key).await, json!(["agents.read"]));
    ceiling(json!(["agents.read"])).await;
    assert!(!stage.lives(&key).await, "it may no longer change the agent");
}

/// A credential that was handed out, and the person with whom its line began.
struct Holder {
    actor: Actor,
    root: usize,
}

/// People that own agents and share them, at random; whatever they and their agents mint, no credential reaches an agent or a key that
/// the person with whom its line began does not reach now.
struct Walk {
    t: TestApp,
    /// Their sessions.
    people: Vec<Actor>,
    admin: Actor,
    holders: Vec<Holder>,
    made: usize,
}

/// A step: what is done, by which holder, with which agent, and two choices more; each is taken modulo the count.
type Step = (u8, usize, usize, usize, bool);

impl Walk {
    async fn new() -> Self {
        let t = TestApp::new(with_neighbours());
        let tenant = t.tenant("main").await;
        let admin = t.user(&tenant, "root@example.com", Role::Admin).await;
        let mut people = Vec::new();
        let mut holders = Vec::new();
        for (root, email) in ["ada@example.com", "max@example.com", "eve@example.com"].into_iter().enumerate() {
            let session = t.user(&tenant, email, Role::Member).await;
            let token = t.credential(Kind::Pat, &session.tenant, &session.user, None, SCOPE, None).await;
            holders.push(Holder { actor: token, root });
            people.push(session);
        }
        Self { t, people, admin, holders, made: 0 }
    }

    /// The agents, each with its owner's place among the people.
    async fn agents(&self) -> Vec<(String, usize)> {
        let rows = self.t.texts("SELECT a.name || ' ' || a.owner_id FROM agents a ORDER BY a.id").await;
        let owner = |id: &str| self.people.iter().position(|person| person.user.as_str() == id).unwrap();
        rows.iter().map(|row| row.split_once(' ').unwrap()).map(|(name, id)| (name.to_owned(), owner(id))).collect()
    }

    async fn step(&mut self, (what, holder, target, other, choice): Step) -> Result<u16, TestCaseError> {
        let agents = self.agents().await;
        let (name, owner) = agents.get(target % agents.len().max(1)).cloned().unwrap_or(("nobody".to_owned(), 0));
        let (at, holder) = (format!("/api/agents/{name}"), holder % self.holders.len());
        let relation = if choice { "editor" } else { "viewer" };
        self.made += 1;
        let new = format!("made-{}", self.made);
        let scope: Vec<&str> = SCOPE.split(' ').collect();
        let subject = match other % (self.people.len() + agents.len()) {
            person if person < self.people.len() => self.people[person].user.to_string(),
            agent => agents[agent - self.people.len()].0.clone(),
        };
        let person = &self.people[other % self.people.len()];
        let (by, root, (method, path, body)) = match what {
            0 | 1 => {
                let parent = if choice { json!(name) } else { Null };
                let body = json!({ "name": new, "scope": scope, "parent": parent });
                (&self.holders[holder].actor, self.holders[holder].root, ("POST", "/api/agents".to_owned(), body))
            }
            2..=4 | 19..=23 => {
                let body = json!({ "scope": scope, "grace_seconds": 60 });
                let by = &self.holders[holder];
                (&by.actor, by.root, ("POST", format!("{at}/token/issue"), body))
            }
            5 => {
                let by = &self.holders[holder];
                (&by.actor, by.root, ("POST", "/api/agents/me/token/issue".to_owned(), Null))
            }
            6 | 7 => {
                let by = &self.holders[holder];
                (&by.actor, by.root, ("POST", format!("{at}/keys"), json!({ "name": new, "scope": scope })))
            }
            8 | 9 => {
                let keys = "SELECT a.name || '/keys/' || k.id FROM api_keys k JOIN agents a ON a.id = k.agent_id ORDER BY k.id";
                let keys = self.t.texts(keys).await;
                let key = keys.get(other % keys.len().max(1)).cloned().unwrap_or_else(|| "nobody/keys/none".to_owned());
                let by = &self.holders[holder];
                (&by.actor, by.root, ("POST", format!("/api/agents/{key}/rotate"), json!({ "grace_seconds": 60 })))
            }
            10..=14 | 24..=28 => {
                let body = json!({ "subject": subject, "relation": relation });
                (&self.people[owner], owner, ("POST", format!("{at}/grants"), body))
            }
            15 | 18 | 29..=32 => {
                let grants =
                    "SELECT a.name || ' ' || g.subject_id FROM grants g JOIN agents a ON a.id = g.object_id ORDER BY 1";
                let grants = self.t.texts(grants).await;
                let grant = grants.get(other % grants.len().max(1)).map_or("nobody none", String::as_str);
                let (name, subject) = grant.split_once(' ').unwrap();
                let owner = agents.iter().find(|(known, _)| known == name).map_or(0, |(_, owner)| *owner);
                let path = format!("/api/agents/{name}/grants");
                (&self.people[owner], owner, ("DELETE", path, json!({ "subject": subject })))
            }
            16 => {
                let role = if choice { "member" } else { "viewer" };
                (&self.admin, 0, ("PATCH", format!("/api/users/{}", person.user), json!({ "role": role })))
            }
            _ => {
                let verb = if choice { "activate" } else { "deactivate" };
                (&self.admin, 0, ("POST", format!("/api/users/{}/{verb}", person.user), Null))
            }
        };
        let answer = self.t.as_(by, method, &path, body).await;
        let status = answer.status.as_u16();
        if what == 16 || what == 17 {
            // Deactivating ends sessions; these are the test's own way to act as the owner.
            for person in 0..self.people.len() {
                let (tenant, user) = (self.people[person].tenant.clone(), self.people[person].user.clone());
                self.people[person] = self.t.credential(Kind::Session, &tenant, &user, None, "*", None).await;
            }
        }
        let made: Json = serde_json::from_str(&answer.text).unwrap_or_default();
        for secret in [&made["auth_token"], &made["token"], &made["key"]] {
            if let Some(token) = secret.as_str() {
                let mut actor = self.admin.clone();
                token.clone_into(&mut actor.token);
                self.holders.push(Holder { actor, root });
            }
        }
        Ok(status)
    }

    /// The agents and keys with which a subject may do this.
    async fn reaches(&self, subject: &Subject, action: Action) -> BTreeSet<String> {
        let mut binder = Binder::default();
        let bound = PermissionSql::new(subject, &mut binder);
        let sql = format!(
            "SELECT a.name FROM agents a WHERE {} UNION ALL
             SELECT k.id FROM api_keys k JOIN agents a ON a.id = k.agent_id WHERE {}",
            bound.on_agent(action),
            bound.on_key(action)
        );
        self.t.db().list::<String>(&sql, binder.into_args()).await.unwrap().into_iter().collect()
    }

    async fn caller(&self, token: &str) -> Caller {
        let secret = Secret::parse(token).unwrap();
        Caller::find_by_secret(self.t.db(), secret, self.t.now()).await.unwrap().unwrap()
    }

    /// Gives how many live credentials rest on a grant.
    async fn nothing_reaches_further(&self) -> Result<usize, TestCaseError> {
        let mut confined = 0;
        for holder in self.holders.iter().skip(self.people.len()) {
            let caller = self.caller(&holder.actor.token).await;
            if !caller.is_accepted() {
                continue;
            }
            confined += usize::from(caller.grantee().is_some());
            let root = self.caller(&self.people[holder.root].token).await;
            for action in [Action::Read, Action::Update, Action::Delete, Action::Share] {
                let (own, of_root) =
                    (self.reaches(caller.subject(), action).await, self.reaches(root.subject(), action).await);
                prop_assert!(
                    own.is_subset(&of_root),
                    "{action:?}: {:?} reaches {own:?}, {} {of_root:?}",
                    caller.subject(),
                    root.email()
                );
            }
        }
        Ok(confined)
    }
}

/// R8, R90, R91: whatever is minted, shared, taken away, by whom and in which order.
#[test]
fn no_sequence_reaches_further_than_the_person_it_began_with() {
    const CASES: u32 = 40;
    let mut config = Config::with_cases(CASES);
    config.failure_persistence = None;
    let steps = proptest::collection::vec(
        (0..33_u8, any::<usize>(), any::<usize>(), any::<usize>(), prop::bool::weighted(0.75)),
        40..80,
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (succeeded, confined, ended) = (Cell::new(0_usize), Cell::new(0_usize), Cell::new(0_i64));
    TestRunner::new(config)
        .run(&steps, |steps| {
            runtime.block_on(async {
                let mut walk = Walk::new().await;
                for root in 0..3 {
                    walk.step((0, root, 0, 0, false)).await?;
                }
                // Max mints under a grant of Ada's, which is taken away, and once more: each walk has both to begin with.
                let adas = walk.agents().await.iter().position(|(_, owner)| *owner == 0).unwrap();
                for step in [(10, 0, adas, 1, true), (2, 1, adas, 0, true)] {
                    prop_assert!(walk.step(step).await? < 300, "{step:?}");
                }
                prop_assert_eq!(walk.nothing_reaches_further().await?, 1);
                for step in [(15, 0, 0, 0, true), (10, 0, adas, 1, true), (2, 1, adas, 0, true)] {
                    prop_assert!(walk.step(step).await? < 300, "{step:?}");
                    confined.set(confined.get() + walk.nothing_reaches_further().await?);
                }
                for step in steps {
                    let status = walk.step(step).await?;
                    prop_assert!(status < 500, "{step:?}");
                    succeeded.set(succeeded.get() + usize::from(status < 300));
                    confined.set(confined.get() + walk.nothing_reaches_further().await?);
                }
                let sql = "SELECT count(*) FROM audit WHERE action = 'credential.end'";
                ended.set(ended.get() + walk.t.number(sql).await);
                Ok(())
            })
        })
        .unwrap();
    let counts = (succeeded.get(), confined.get(), ended.get());
    assert!(
        counts.0 > 300 && counts.1 >= CASES as usize && counts.2 >= i64::from(CASES),
        "the steps do something: {counts:?}"
    );
}
