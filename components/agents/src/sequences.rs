//! R8, R41, R46 over random sequences: whatever is registered, issued, enrolled, rotated, changed, moved, archived, restored, imported and
//! approved, and by whom, no credential is wider or lives longer than the one that all of it began with, and the tree stays a tree.

use std::collections::BTreeMap;

use common::{
    role::Role,
    scope::{CustomScopes, Scopes},
    secret::{Kind, Secret},
    time::Timestamp,
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value as Json, json};
use service::{
    caller::Caller,
    testing::{Actor, TestApp},
};

use crate::with_neighbours;

/// The scopes of the first credential.
const BEGINNING: &str = "agents.create agents.delete agents.keys.write agents.list agents.read agents.share agents.token.issue agents.update";
/// The scopes that later steps ask for: some within these, some beyond them, and some that only people can use.
const ASKED: [&[&str]; 9] = [
    &["agents.read"],
    &["agents.keys.write", "agents.read", "agents.token.issue"],
    &["agents.read", "agents.create", "agents.update", "agents.token.issue", "agents.keys.write"],
    &[
        "agents.create",
        "agents.delete",
        "agents.keys.write",
        "agents.list",
        "agents.read",
        "agents.share",
        "agents.token.issue",
        "agents.update",
    ],
    &["agents.read"],
    &["agents.*"],
    &["*"],
    &["agents.read", "ui.notify"],
    &["agents.create", "users.read"],
];

/// The steps that rotate a key.
const ROTATES: std::ops::RangeInclusive<u8> = 12..=15;

/// A step: the kind, the holder that takes it, the agent, another agent, and the scope that it asks for; each number is taken modulo the
/// count of what it chooses from.
type Step = (u8, usize, usize, usize, usize);

struct World {
    t: TestApp,
    /// The credentials that were handed out, the first one first.
    holders: Vec<Actor>,
    /// The session that approves requests for access.
    owner: Actor,
    /// Enrolment codes that were not traded yet, each with its maker.
    codes: Vec<(usize, String)>,
    enrolled: usize,
    made: usize,
}

impl World {
    async fn new() -> (Self, Timestamp) {
        let t = TestApp::new(with_neighbours());
        let tenant = t.tenant("main").await;
        let max = t.user(&tenant, "max@example.com", Role::Member).await;
        let end = t.now().plus_seconds(10 * 86_400);
        let first = t.credential(Kind::Pat, &max.tenant, &max.user, None, BEGINNING, Some(end)).await;
        (Self { t, holders: vec![first], owner: max, codes: Vec::new(), enrolled: 0, made: 0 }, end)
    }

    async fn names(&self) -> Vec<String> {
        self.t.texts("SELECT name FROM agents WHERE archived_at IS NULL ORDER BY id").await
    }

    /// Keeps the credential of an answer.
    fn keep(&mut self, by: usize, token: &Json) {
        if let (Some(token), Some(by)) = (token.as_str(), self.holders.get(by)) {
            let actor = Actor {
                tenant: by.tenant.clone(),
                user: by.user.clone(),
                agent: None,
                credential: by.credential.clone(),
                token: token.to_owned(),
            };
            self.holders.push(actor);
        }
    }

    /// The scopes that a credential can hand on, without approvals for its agent; and its end.
    async fn power(&self, token: &str) -> (Scopes, Option<Timestamp>) {
        let secret = Secret::parse(token).unwrap();
        let caller = Caller::find_by_secret(self.t.db(), secret, self.t.now()).await.unwrap().unwrap();
        (caller.mintable(), caller.expires_at())
    }

    async fn step(&mut self, (what, holder, target, other, asked): Step) -> Result<u16, TestCaseError> {
        let names = self.names().await;
        let pick = |at: usize| names.get(at % names.len().max(1)).cloned().unwrap_or_else(|| "nobody".to_owned());
        let is_short = other % 3 == 1; // of a shorter life, now and then
        let (target, other, scope) = (pick(target), pick(other), ASKED[asked % ASKED.len()]);
        let holder = match ROTATES.contains(&what) {
            true => holder % self.holders.len(),
            // Every second step is the first one's, whose scopes reach furthest.
            false => Some(holder % (2 * self.holders.len())).filter(|holder| *holder < self.holders.len()).unwrap_or(0),
        };
        self.made += 1;
        let name = format!("made-{}", self.made);
        let at = format!("/api/agents/{target}");
        let (method, path, mut body) = match what {
            0 => ("POST", "/api/agents".to_owned(), json!({ "name": name, "scope": scope })),
            1 => ("POST", "/api/agents".to_owned(), json!({ "name": name, "scope": scope, "parent": other })),
            2 => ("POST", format!("{at}/token/issue"), json!({ "scope": scope })),
            3 => ("POST", format!("{at}/token/issue"), json!({})),
            4 => ("PATCH", at, json!({ "scope": scope })),
            5 => ("PATCH", at, json!({ "parent": other })),
            6 => ("PUT", at, json!({ "scope": scope })),
            7 => ("DELETE", format!("{at}?confirm=true"), Json::Null),
            8 => {
                let gone = self.t.texts("SELECT id FROM agents WHERE archived_at IS NOT NULL ORDER BY id").await;
                let id = gone.get(asked % gone.len().max(1)).cloned().unwrap_or_default();
                ("POST", format!("/api/agents/archived/{id}/restore"), Json::Null)
            }
            9 => {
                let agents = json!([{ "name": name, "scope": scope, "issue_token": true }, { "name": "x", "parent": name, "scope": scope }]);
                ("POST", "/api/agents/import".to_owned(), json!({ "agents": agents }))
            }
            10 => ("POST", format!("{at}/keys"), json!({ "name": name, "scope": scope })),
            11 => ("POST", format!("{at}/keys"), json!({ "name": name })),
            _ if ROTATES.contains(&what) => {
                let keys = "SELECT a.name || '/keys/' || k.id FROM api_keys k JOIN agents a ON a.id = k.agent_id ORDER BY k.id";
                let keys = self.t.texts(keys).await;
                let key = keys.get(asked % keys.len().max(1)).cloned().unwrap_or_else(|| "nobody/keys/none".to_owned());
                ("POST", format!("/api/agents/{key}/rotate"), json!({ "grace_seconds": 60 }))
            }
            18 => ("POST", format!("{at}/enrolment"), json!({ "scope": scope })),
            19..=21 => return self.enrol(asked).await,
            17 => {
                let body =
                    json!({ "scope": ["agents.logs", "ui.notify", "agents.create", "agents.update"], "reason": "r" });
                let asked = self.t.as_(&self.holders[holder], "POST", "/api/access-requests", body).await;
                let request: Json = serde_json::from_str(&asked.text).unwrap_or_default();
                let path = format!("/api/access-requests/{}/approve", request["id"].as_str().unwrap_or("none"));
                return Ok(self.t.as_(&self.owner, "POST", &path, Json::Null).await.status.as_u16());
            }
            _ => ("PATCH", at, json!({ "parent": null })),
        };
        if is_short && matches!(what, 0 | 2 | 10) {
            body["expires_in_days"] = json!(1 + asked % 9);
        }
        let (own, own_end) = self.power(&self.holders[holder].token).await;
        let answer = self.t.as_(&self.holders[holder], method, &path, body).await;
        let issued: Json = serde_json::from_str(&answer.text).unwrap_or_default();
        for token in [&issued["auth_token"], &issued["token"], &issued["key"], &issued["agents"][0]["auth_token"]] {
            if let Some(token) = token.as_str() {
                let (gained, gained_end) = self.power(token).await;
                prop_assert!(gained.without(&own).is_empty(), "{method} {path} gave more than the minter had");
                prop_assert!(
                    gained_end.is_some() && gained_end <= own_end,
                    "{method} {path}: {gained_end:?}, {own_end:?}"
                );
            }
            self.keep(holder, token);
        }
        if let (18, Some(code)) = (what, issued["code"].as_str()) {
            self.codes.push((holder, code.to_owned()));
        }
        // A restored agent is stopped; it is started here, so that later steps can use it.
        self.t.execute("UPDATE agents SET state = 'running'").await.unwrap();
        Ok(answer.status.as_u16())
    }

    /// Trades one of the codes, perhaps long after it was made: it brings no more than its maker may give now.
    async fn enrol(&mut self, at: usize) -> Result<u16, TestCaseError> {
        if self.codes.is_empty() {
            return Ok(404);
        }
        let (maker, code) = self.codes.swap_remove(at % self.codes.len());
        let answer = self.t.nobody("POST", "/api/agents/enroll", json!({ "code": code })).await;
        let issued: Json = serde_json::from_str(&answer.text).unwrap_or_default();
        if let Some(token) = issued["token"].as_str() {
            let (own, own_end) = self.power(&self.holders[maker].token).await;
            let (gained, gained_end) = self.power(token).await;
            prop_assert!(gained.without(&own).is_empty(), "a code gave more than its maker has");
            prop_assert!(gained_end.is_some() && gained_end <= own_end, "{gained_end:?}, {own_end:?}");
            self.enrolled += 1;
        }
        self.keep(maker, &issued["token"]);
        Ok(answer.status.as_u16())
    }

    /// Every live credential, held against the first one's scopes and end.
    async fn no_credential_has_more(&self, end: Timestamp) -> Result<usize, TestCaseError> {
        let allowed = Scopes::stored(BEGINNING, &CustomScopes::default());
        let mut live = 0;
        for holder in &self.holders {
            let secret = Secret::parse(&holder.token).unwrap();
            let caller = Caller::find_by_secret(self.t.db(), secret, self.t.now()).await.unwrap().unwrap();
            if caller.is_accepted() {
                live += 1;
                let more = caller.mintable().without(&allowed); // approvals are not part of a credential
                prop_assert!(more.is_empty(), "{:?} beyond what it began with", more.all_names());
                prop_assert!(caller.expires_at().is_some_and(|at| at <= end), "{:?}", caller.expires_at());
            }
        }
        Ok(live)
    }

    /// One owner and a narrower ceiling all the way down, no cycle, at most 8 deep.
    async fn is_a_tree(&self) -> Result<(), TestCaseError> {
        let rows = self
            .t
            .texts("SELECT json_array(a.id, p.id, a.scope, a.owner_id) FROM agents a LEFT JOIN agents p ON p.id = a.parent_id AND p.archived_at IS NULL WHERE a.archived_at IS NULL")
            .await;
        let rows: Vec<[Option<String>; 4]> = rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
        let by_id: BTreeMap<&str, &[Option<String>; 4]> =
            rows.iter().map(|row| (row[0].as_deref().unwrap(), row)).collect();
        for row in &rows {
            let mut at = row;
            for depth in 1.. {
                prop_assert!(depth <= 8, "too deep, or a cycle");
                let Some(above) = at[1].as_deref().and_then(|id| by_id.get(id)) else { break };
                let scope =
                    |row: &[Option<String>; 4]| Scopes::stored(row[2].as_deref().unwrap(), &CustomScopes::default());
                prop_assert!(
                    scope(at).without(&scope(above)).for_agents().is_empty(),
                    "{:?} below {:?}",
                    at[2],
                    above[2]
                );
                prop_assert_eq!(&at[3], &above[3]);
                at = above;
            }
        }
        Ok(())
    }
}

#[test]
fn no_sequence_gives_more_than_it_began_with() {
    let mut config = Config::with_cases(48);
    config.failure_persistence = None;
    let steps =
        proptest::collection::vec((0..22_u8, any::<usize>(), any::<usize>(), any::<usize>(), any::<usize>()), 6..30);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let [succeeded, rotated, enrolled] = std::array::from_fn(|_| std::cell::Cell::new(0_usize));
    TestRunner::new(config)
        .run(&steps, |steps| {
            runtime.block_on(async {
                let (mut world, end) = World::new().await;
                // A few agents, keys and a code to begin with: some that carry much, one that carries little and soon ends.
                for (what, other, asked) in [(0, 0, 3), (0, 0, 3), (1, 0, 1), (11, 0, 0), (10, 1, 1), (18, 0, 3)] {
                    world.step((what, 0, 0, other, asked)).await?;
                }
                for step in steps {
                    let status = world.step(step).await?;
                    prop_assert!(status < 500, "{step:?}");
                    succeeded.set(succeeded.get() + usize::from(status < 300));
                    rotated.set(rotated.get() + usize::from(ROTATES.contains(&step.0) && status < 300));
                    world.no_credential_has_more(end).await?;
                    world.is_a_tree().await?;
                }
                // What is left is traded last, after all that has become of its makers.
                while !world.codes.is_empty() {
                    world.enrol(0).await?;
                    world.no_credential_has_more(end).await?;
                }
                enrolled.set(enrolled.get() + world.enrolled);
                Ok(())
            })
        })
        .unwrap();
    let (succeeded, rotated, enrolled) = (succeeded.get(), rotated.get(), enrolled.get());
    assert!(
        succeeded > 200 && rotated > 20 && enrolled > 5,
        "the steps do something: {succeeded}, {rotated} of them rotations of keys, and {enrolled} codes traded"
    );
}
