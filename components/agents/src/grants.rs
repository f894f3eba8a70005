//! Grants: which users and agents may read or edit an agent, or one of its keys, beside the owner and the tenant's admins.

use common::{
    error::{ApiError, Code},
    event::EventKind,
    id::{AgentId, KeyId, UserId},
    permission::Relation,
    route::Route,
    scope::Scope,
    time::Timestamp,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{
    Value::{self as Json, Null},
    json,
};
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change, Done, Identified, Write},
    event::Event,
    extract::{Body, Path, Query, QueryOrBody},
    form,
    form::PageQuery,
    object,
    response::{Response, json},
};
use store::{
    db::Rows,
    grant::{self, Grant, Inserted},
    subject::Subject,
};

/// The agent or the key that grants are about.
struct Shared {
    agent_id: AgentId,
    agent: String,
    key: Option<KeyId>,
}

impl Identified for Shared {
    fn id(&self) -> &str {
        self.key.as_ref().map_or(self.agent_id.as_str(), KeyId::as_str)
    }
}

impl Shared {
    /// The agent of this name, if the caller may share it.
    async fn agent(
        reads: &dyn Rows,
        caller: &Caller,
        route: &Route,
        name: &str,
        now: Timestamp,
    ) -> Result<Self, ApiError> {
        let found = object::agent(reads, caller, route, name, now).await?;
        Ok(Self { agent_id: found.id, agent: found.name, key: None })
    }

    /// The key with this id of the agent of this name, if the caller may share it.
    async fn key(
        reads: &dyn Rows,
        caller: &Caller,
        route: &Route,
        path: (&str, &str),
        now: Timestamp,
    ) -> Result<Self, ApiError> {
        let found = object::key(reads, caller, route, path, now).await?;
        Ok(Self { agent_id: found.agent_id, agent: found.agent, key: Some(found.key.id) })
    }

    /// Where its grants are.
    fn path(&self) -> String {
        match &self.key {
            None => format!("/api/agents/{}/grants", self.agent),
            Some(key) => format!("/api/agents/{}/keys/{key}/grants", self.agent),
        }
    }

    /// The content of an audit row about a grant. The row is about the agent.
    fn audited(&self, mut grant: Json) -> Json {
        if let (Some(key), Json::Object(members)) = (&self.key, &mut grant) {
            members.insert("key".to_owned(), key.as_str().into());
        }
        grant
    }
}

/// Changes the grants of the agent or the key that the path names, if the caller may share it.
async fn change_grants<T>(
    change: Change<T>,
    name: &str,
    key: Option<Path>,
    act: impl AsyncFnOnce(&Write<'_>, Shared, T) -> Result<Done, ApiError>,
) -> Result<Response, ApiError> {
    let (route, now) = (change.route(), change.app.now());
    match key {
        None => {
            change.on(name, async |reads, caller, name| Shared::agent(reads, caller, route, name, now).await, act).await
        }
        Some(Path(id)) => {
            change
                .on(&id, async |reads, caller, id| Shared::key(reads, caller, route, (name, id), now).await, act)
                .await
        }
    }
}

/// `GET /api/agents/{name}/grants`, `GET /api/agents/{name}/keys/{id}/grants`: the users and agents that may read
/// or edit it, beside its owner and the tenant's admins.
pub(crate) async fn list(
    app: App,
    caller: Caller,
    route: &'static Route,
    Path(name): Path,
    key: Option<Path>,
    Query(query): Query<PageQuery>,
) -> Result<Response, ApiError> {
    let wanted = caller.page(&app, &query)?;
    let shared = match &key {
        None => Shared::agent(app.db(), &caller, route, &name, app.now()).await?,
        Some(Path(key)) => Shared::key(app.db(), &caller, route, (&name, key), app.now()).await?,
    };
    let rows = grant::list(app.db(), shared.id(), &wanted).await?;
    json(StatusCode::OK, &wanted.page(rows, |row| (row.created_at, row.subject.id.clone() + row.relation.as_str())))
}

form! {
    pub(crate) struct Give {
        subject: String,
        relation: String,
    }
}

/// A grant that was given.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "GivenGrant")]
pub(crate) struct Given {
    #[serde(flatten)]
    grant: Grant,
    /// What is without effect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

impl Given {
    fn new(grant: Grant, shared: &Shared, to: &Subject) -> Self {
        let needs = if shared.key.is_some() { Scope::AgentsKeysWrite } else { Scope::AgentsUpdate };
        let is_in_vain = grant.relation == Relation::Editor && !to.role.ceiling().contains(needs);
        let whose = if to.agent.is_some() { "its owner's" } else { "their" };
        let warning = || format!("{} can read and not change, because {whose} role is viewer.", grant.subject.name);
        let warnings = if is_in_vain { vec![warning()] } else { Vec::new() };
        Self { grant, warnings }
    }
}

fn relation(word: &str) -> Result<Relation, ApiError> {
    Relation::of_grant(word).ok_or_else(|| Code::UnknownRelation.into())
}

/// `POST /api/agents/{name}/grants`, `POST /api/agents/{name}/keys/{id}/grants`: gives a grant. A grant that exists already is answered
/// as it is.
pub(crate) async fn give(
    mut change: Change<Body<Give>>,
    Path(name): Path,
    key: Option<Path>,
) -> Result<Response, ApiError> {
    let Body(Give { subject, relation: word }) = &change.input;
    let relation = relation(word)?;
    // The request is about the one that has this name now, and its key is bound to that one.
    let to = grant::find_subject(change.app.db(), change.caller.subject(), subject).await?;
    let to = to.map_or_else(|| subject.clone(), |to| to.named.id.to_string());
    change.bind([to.as_str()]);
    change_grants(change, &name, key, async |write, shared, _| {
        let asking = write.caller.subject();
        // A subject that nobody can act as counts as absent: it would have the grant on the day that its account is activated.
        let to = grant::find_subject(&write.tx, asking, &to).await?.filter(|to| to.is_active);
        let to = to.ok_or(Code::SubjectNotFound)?;
        let new = grant::New {
            tenant: write.caller.tenant_id(),
            object: shared.id(),
            subject: &to.named.id,
            relation,
            by: asking.id(),
            now: write.now(),
        };
        let inserted = grant::insert(&write.tx, &new).await?;
        if inserted == Inserted::TooMany {
            return Err(Code::TooManyGrants.with("path", shared.path()));
        }
        let stored = grant::find(&write.tx, shared.id(), &to.named.id, relation).await?;
        let stored =
            stored.ok_or_else(|| ApiError::from(Code::Internal).cause("a grant that was just given is not there"))?;
        if inserted == Inserted::Exists {
            return Ok(Answer::ok(&Given::new(stored, &shared, &to.subject))?.unchanged());
        }
        let after = shared.audited(json!({ "subject": to.named.id, "relation": relation }));
        Ok(Answer::created(&Given::new(stored, &shared, &to.subject))?.audited(shared.agent_id, Null, after))
    })
    .await
}

form! {
    pub(crate) struct Take {
        subject: String,
        relation: Option<String>,
    }
}

/// `DELETE /api/agents/{name}/grants?subject=&relation=`, `DELETE /api/agents/{name}/keys/{id}/grants?…`: takes one grant away, or all of
/// the subject's. 204 too when there was none.
pub(crate) async fn take(
    change: Change<QueryOrBody<Take>>,
    Path(name): Path,
    key: Option<Path>,
) -> Result<Response, ApiError> {
    let relation = change.input.0.relation.as_deref().map(relation).transpose()?;
    change_grants(change, &name, key, async |write, shared, QueryOrBody(query)| {
        // Whether the caller may read the subject now does not matter.
        let taken = grant::delete(&write.tx, shared.id(), &query.subject, relation).await?;
        if taken.is_empty() {
            return Ok(Answer::no_content().unchanged());
        }
        tell(write, &shared, &taken).await?;
        // Of a subject the id alone: a reader of the object need not be allowed to read the subject.
        let audited = |grant: &grant::Grant| json!({ "subject": grant.subject.id, "relation": grant.relation });
        let grants: Vec<Json> = taken.iter().map(audited).collect();
        let before = shared.audited(json!({ "grants": grants }));
        Ok(Answer::no_content().audited(shared.agent_id, before, Null))
    })
    .await
}

/// Tells the subjects that they have less than before: a person by a notification, an agent by an event.
async fn tell(write: &Write<'_>, shared: &Shared, taken: &[grant::Grant]) -> Result<(), ApiError> {
    for grant in taken {
        let (subject, relation) = (grant.subject.id.clone(), grant.relation.as_str());
        let data =
            json!({ "agent": shared.agent, "agent_id": shared.agent_id, "key": shared.key, "relation": relation });
        if let Ok(agent) = AgentId::try_from(subject.clone()) {
            write.emit(Event::of_agent(EventKind::GrantTaken, &agent).data(data)).await?;
        } else if let Ok(user) = UserId::try_from(subject) {
            let (of, key) = match &shared.key {
                Some(key) => ("a key of ", format!("the key {key} of ")),
                None => ("", String::new()),
            };
            let body =
                format!("{} took away your grant {relation} of {key}the agent {}.", write.author(), shared.agent);
            let title = format!("You are no longer {relation} of {of}{}", shared.agent);
            write.emit(Event::of_user(EventKind::GrantTaken, &user).data(data).saying(title, body)).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use common::role::Role;
    use service::testing::{Actor, TestApp};

    use super::*;
    use crate::with_neighbours;

    const GRANTS: &str = "/api/agents/scout/grants";

    struct Stage {
        t: TestApp,
        ada: Actor,
        max: Actor,
        helper: Actor,
    }

    /// Ada owns the agent scout, Max the agent helper; neither is an admin.
    async fn stage() -> Stage {
        let t = TestApp::new(with_neighbours());
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Member).await;
        let max = t.user(&tenant, "max@example.com", Role::Member).await;
        t.agent(&ada, "scout", "agents.*").await;
        let helper = t.agent(&max, "helper", "agents.*").await;
        Stage { t, ada, max, helper }
    }

    #[tokio::test]
    async fn a_grant_gives_access_until_it_is_taken_away() {
        let Stage { t, ada, max, .. } = stage().await;
        t.as_(&max, "GET", "/api/agents/scout", Null).await.refused(404, "agent_not_found");
        let body = json!({ "subject": "MAX@example.com", "relation": "viewer" });
        let given = t.as_(&ada, "POST", GRANTS, body.clone()).await.is(201);
        assert_eq!(
            given,
            json!({
                "subject": { "kind": "user", "id": max.user, "name": "max@example.com" }, "relation": "viewer",
                "created_at": "2026-01-02T03:04:05.000Z", "created_by": ada.user,
            })
        );
        assert_eq!(t.as_(&ada, "POST", GRANTS, body).await.is(200), given, "it exists already");
        assert_eq!(t.as_(&ada, "GET", GRANTS, Null).await.is(200), json!({ "items": [given], "next_cursor": null }));
        t.as_(&max, "GET", "/api/agents/scout", Null).await.is(200);
        // R34: a caller that may read and not more is told what is missing.
        let refused =
            t.as_(&max, "PATCH", "/api/agents/scout", json!({ "model": "m" })).await.refused(403, "permission_denied");
        assert_eq!(refused["required_relations"], json!(["editor", "owner", "tenant.admin"]));
        t.as_(&max, "GET", GRANTS, Null).await.refused(403, "permission_denied");
        t.as_(&ada, "POST", GRANTS, json!({ "subject": max.user, "relation": "editor" })).await.is(201);
        t.as_(&max, "PATCH", "/api/agents/scout", json!({ "model": "m" })).await.is(200);
        // What is to be taken away stands in the query or in the body, never half in each.
        let both = format!("{GRANTS}?subject=max@example.com");
        t.as_(&ada, "DELETE", &both, json!({ "relation": "viewer" })).await.refused(422, "validation_error");
        t.as_(&ada, "DELETE", &format!("{GRANTS}?subject=max@example.com&relation=editor"), Null).await.is(204);
        t.as_(&max, "PATCH", "/api/agents/scout", json!({ "model": "n" })).await.refused(403, "permission_denied");
        t.as_(&ada, "DELETE", GRANTS, json!({ "subject": "max@example.com" })).await.is(204);
        t.as_(&ada, "DELETE", GRANTS, json!({ "subject": "max@example.com" })).await.is(204);
        t.as_(&max, "GET", "/api/agents/scout", Null).await.refused(404, "agent_not_found");
        assert_eq!(t.number("SELECT count(*) FROM audit WHERE action IN ('agent.share', 'agent.unshare')").await, 4);
    }

    /// R728: a person whose role lets them read alone gets no more by a grant, and the answer says so.
    #[tokio::test]
    async fn an_editor_whose_role_is_viewer_is_warned_of() {
        let Stage { t, ada, helper, .. } = stage().await;
        t.user(&ada.tenant, "vic@example.com", Role::Viewer).await;
        let give = async |subject: &str, relation: &str, status: u16| {
            let body = json!({ "subject": subject, "relation": relation });
            t.as_(&ada, "POST", GRANTS, body).await.is(status)["warnings"].clone()
        };
        let warned = json!(["vic@example.com can read and not change, because their role is viewer."]);
        assert_eq!(give("vic@example.com", "viewer", 201).await, Null);
        assert_eq!(give("vic@example.com", "editor", 201).await, warned);
        assert_eq!(give("vic@example.com", "editor", 200).await, warned);
        t.grant(helper.agent.as_ref().unwrap(), &ada.tenant, ada.user.as_str(), "viewer", &ada.user).await;
        assert_eq!(give("helper", "editor", 201).await, Null);
    }

    /// R86: giving and taking a grant again and again fills neither a person's notifications nor an agent's inbox: what one person causes
    /// there is bounded, the last one says that there was more, and what others cause is still told.
    #[tokio::test]
    async fn nobody_floods_others_with_what_the_server_tells() {
        let Stage { t, ada, max, helper } = stage().await;
        let eve = t.user(&ada.tenant, "eve@example.com", Role::Admin).await;
        let take = async |by: &Actor, subject: &str| {
            t.as_(by, "POST", GRANTS, json!({ "subject": subject, "relation": "viewer" })).await.is(201);
            t.as_(by, "DELETE", GRANTS, json!({ "subject": subject })).await.is(204);
        };
        for _ in 0..60 {
            take(&ada, "max@example.com").await;
        }
        let told = "SELECT title FROM notifications";
        let titles = t.texts("SELECT count(*) || ' ' || title FROM notifications GROUP BY title ORDER BY title").await;
        let more = "1 More was changed than these notifications say";
        assert_eq!(titles, [more, "50 You are no longer viewer of scout"]);
        take(&eve, "max@example.com").await;
        assert_eq!(t.texts(told).await.len(), 52);
        t.execute("UPDATE notifications SET read_at = 1").await.unwrap();
        take(&ada, "max@example.com").await;
        assert_eq!(t.texts(told).await.len(), 53);
        // The same of an agent's events.
        let helper = helper.agent.as_ref().unwrap();
        t.grant(helper, &ada.tenant, ada.user.as_str(), "viewer", &max.user).await;
        t.execute(&format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
             INSERT INTO inbox (agent_id, seq, kind, data, created_at, caused_by) SELECT '{helper}', -i, 'x', '{{}}', 0, '{}' FROM n",
            ada.user
        ))
        .await
        .unwrap();
        for by in [&ada, &ada, &eve] {
            take(by, helper.as_str()).await;
        }
        let by = format!("SELECT count(*) FROM inbox WHERE agent_id = '{helper}' AND seq > 0 AND caused_by = ");
        assert_eq!(t.number(&format!("{by} '{}'", ada.user)).await, 1);
        assert_eq!(t.number(&format!("{by} '{}'", eve.user)).await, 1);
        assert_eq!(t.number(&format!("SELECT bytes FROM usage WHERE subject_id = '{}'", max.user)).await, 0);
    }

    /// R8: an agent owns itself, so a caller that may not share or archive it cannot give it a token that can.
    #[tokio::test]
    async fn an_editor_issues_no_token_that_shares_or_archives() {
        let Stage { t, ada, max, .. } = stage().await;
        t.as_(&ada, "POST", GRANTS, json!({ "subject": "max@example.com", "relation": "editor" })).await.is(201);
        let issue = "/api/agents/scout/token/issue";
        let refused = t.as_(&max, "POST", issue, Null).await.refused(400, "scope_too_wide");
        assert_eq!(refused["excess_scopes"], json!(["agents.delete", "agents.share"]));
        t.as_(&max, "POST", issue, json!({ "scope": ["agents.read", "agents.update"] })).await.is(200);
        t.as_(&ada, "POST", issue, Null).await.is(200);
    }

    /// R83: an account that is deactivated, and an agent of such a person, get no grant: the same answer as a subject that is not there,
    /// by the same statements. A grant that they have can be taken away.
    #[tokio::test]
    async fn a_deactivated_subject_is_an_absent_one() {
        let Stage { t, ada, max, helper } = stage().await;
        t.as_(&ada, "POST", GRANTS, json!({ "subject": "max@example.com", "relation": "viewer" })).await.is(201);
        t.as_(&max, "POST", "/api/agents/helper/grants", json!({ "subject": "ada@example.com", "relation": "viewer" }))
            .await
            .is(201);
        t.execute("UPDATE users SET deactivated_at = 1 WHERE email_key = 'max@example.com'").await.unwrap();
        let key = t.as_(&ada, "POST", "/api/agents/scout/keys", json!({ "name": "ci" })).await.is(201);
        let keys = format!("/api/agents/scout/keys/{}/grants", key["id"].as_str().unwrap());
        let helper = helper.agent.as_ref().unwrap().to_string();
        for path in [GRANTS, &keys] {
            let absent = json!({ "subject": "nobody", "relation": "viewer" });
            t.as_(&ada, "POST", path, absent).await.refused(404, "subject_not_found"); // whose count gets a row of its own
            let mut answers = Vec::new();
            for subject in ["nobody@example.com", "max@example.com", max.user.as_str(), "helper", &helper] {
                for relation in ["viewer", "editor"] {
                    let before = t.db().statements();
                    let body = json!({ "subject": subject, "relation": relation });
                    let mut refused = t.as_(&ada, "POST", path, body).await.refused(404, "subject_not_found");
                    refused.as_object_mut().unwrap().shift_remove("request_id");
                    answers.push((refused, t.db().statements() - before));
                }
            }
            assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
        }
        let grants = format!("SELECT count(*) FROM grants WHERE subject_id IN ('{}', '{helper}')", max.user);
        assert_eq!(t.number(&grants).await, 1);
        t.as_(&ada, "DELETE", &format!("{GRANTS}?subject=max@example.com"), Null).await.is(204);
        assert_eq!(t.number(&grants).await, 0);
    }

    /// An owner can take every grant of the list away, although they may no longer read the subject.
    #[tokio::test]
    async fn a_grant_to_an_unreadable_subject_can_be_taken_away() {
        let Stage { t, ada, max, helper, .. } = stage().await;
        let helpers = "/api/agents/helper/grants";
        t.as_(&max, "POST", helpers, json!({ "subject": "ada@example.com", "relation": "viewer" })).await.is(201);
        t.as_(&ada, "POST", GRANTS, json!({ "subject": "helper", "relation": "editor" })).await.is(201);
        t.as_(&max, "DELETE", &format!("{helpers}?subject=ada@example.com"), Null).await.is(204);
        let id = helper.agent.as_ref().unwrap();
        t.as_(&ada, "DELETE", &format!("{GRANTS}?subject={id}"), Null).await.is(204);
        assert_eq!(t.as_(&ada, "GET", GRANTS, Null).await.is(200)["items"], json!([]));
        let row = t.texts("SELECT before FROM audit WHERE action = 'agent.unshare' ORDER BY seq DESC LIMIT 1").await;
        assert!(row[0].contains("\"relation\":\"editor\""), "{row:?}");
        t.as_(&ada, "DELETE", &format!("{GRANTS}?subject=nobody@example.com"), Null).await.is(204);
    }

    /// An agent with a grant reads only what its owner may read too.
    #[tokio::test]
    async fn a_grant_to_an_agent_needs_its_owner_too() {
        let Stage { t, ada, max, helper, .. } = stage().await;
        // Ada may not read Max's agent, so for them it does not exist.
        let body = json!({ "subject": "helper", "relation": "viewer" });
        t.as_(&ada, "POST", GRANTS, body.clone()).await.refused(404, "subject_not_found");
        t.as_(&ada, "POST", GRANTS, json!({ "subject": "nobody@example.com", "relation": "viewer" }))
            .await
            .refused(404, "subject_not_found");
        t.as_(&max, "POST", "/api/agents/helper/grants", json!({ "subject": "ada@example.com", "relation": "viewer" }))
            .await
            .is(201);
        t.as_(&ada, "POST", GRANTS, body).await.is(201);
        t.as_(&helper, "GET", "/api/agents/scout", Null).await.refused(404, "agent_not_found");
        t.as_(&ada, "POST", GRANTS, json!({ "subject": "max@example.com", "relation": "viewer" })).await.is(201);
        t.as_(&helper, "GET", "/api/agents/scout", Null).await.is(200);
        t.as_(&ada, "POST", GRANTS, json!({ "subject": "helper", "relation": "owner" }))
            .await
            .refused(400, "unknown_relation");
    }
}
