//! The end of accounts: deactivate and activate, delete.

use axum::{http::StatusCode, response::Response};
use common::{
    agents::new_owner,
    caller::Caller,
    db::Purpose,
    error::{ApiError, Code},
    form,
    form::{Ask, Nothing, Params},
    http::{App, Segment},
    id::NotificationId,
    idempotency::Answer,
    route,
    store::{
        notification,
        tree::{self, Leaves},
        user,
    },
    write::Begun,
};
use serde_json::{Value::Null, json};

use crate::users::audited;

/// `POST /api/users/{id}/deactivate`: ends the sessions, and refuses all else that is this person's at the door.
pub(crate) async fn deactivate(
    app: App,
    caller: Caller,
    Segment(id): Segment,
    ask: Ask<Nothing>,
) -> Result<Response, ApiError> {
    set_active(app, caller, &id, ask, false).await
}

/// `POST /api/users/{id}/activate`: PATs and the agents' credentials are let in again; sessions stay ended.
pub(crate) async fn activate(
    app: App,
    caller: Caller,
    Segment(id): Segment,
    ask: Ask<Nothing>,
) -> Result<Response, ApiError> {
    set_active(app, caller, &id, ask, true).await
}

async fn set_active(
    app: App,
    caller: Caller,
    id: &str,
    ask: Ask<Nothing>,
    is_active: bool,
) -> Result<Response, ApiError> {
    user::get(app.db(), caller.tenant_id(), id).await?; // early 404; decided again below
    let (purpose, route) = match is_active {
        true => (Purpose::Durable, route::USERS_ACTIVATE),
        false => (Purpose::Relief, route::USERS_DEACTIVATE),
    };
    let write = match app.begin(purpose, route, &caller, ask.kept).await? {
        Begun::First(write) => write,
        Begun::Again(answer) => return Ok(answer),
    };
    let (before, me) = (user::get(&write.tx, write.caller.tenant_id(), id).await?, write.caller.user_id());
    if !is_active && before.id == *me {
        return Err(Code::SelfDeactivation.into());
    }
    if before.active == is_active {
        return write.nothing(Answer::json(StatusCode::OK, &before)?);
    }
    if is_active {
        user::activate(&write.tx, &before.id).await?;
    } else if !user::deactivate(&write.tx, &before.id, me, app.now()).await? {
        return Err(Code::LastAdmin.into());
    }
    let after = user::get(&write.tx, write.caller.tenant_id(), id).await?;
    let answer = Answer::json(StatusCode::OK, &after)?;
    write.finish(after.id.as_str(), json!({ "active": before.active }), json!({ "active": is_active }), answer).await
}

form! {
    pub(crate) struct Delete {
        agents: Option<String>,
    }
}

/// What is to become of the agents.
enum Agents<'a> {
    Transfer(&'a str),
    Archive,
}

impl<'a> Agents<'a> {
    fn read(text: &'a str) -> Result<Self, ApiError> {
        match (text, text.strip_prefix("transfer:")) {
            ("archive", _) => Ok(Self::Archive),
            (_, Some(to)) if !to.trim().is_empty() => Ok(Self::Transfer(to)),
            _ => Err(ApiError::field("agents", "must be archive, or transfer:<address or id of a user>")),
        }
    }
}

/// `DELETE /api/users/{id}`: the address is free, every credential ends; the audit trail goes on to say who it was.
pub(crate) async fn delete(
    app: App,
    caller: Caller,
    Segment(id): Segment,
    Params(ask): Params<Delete>,
) -> Result<Response, ApiError> {
    let agents = ask.agents.as_deref().map(Agents::read).transpose()?;
    user::get(app.db(), caller.tenant_id(), &id).await?; // early 404; decided again below
    let write = app.relieve(route::USERS_DELETE, &caller).await?;
    let found = user::get(&write.tx, write.caller.tenant_id(), &id).await?;
    let me = write.caller.user_id();
    if found.id == *me {
        return Err(Code::SelfDeletion.into());
    }
    // Before the agents go: nobody gives them to the one who leaves. The caller is another active admin, so that the last one cannot
    // be met here; the statement decides all the same.
    if found.active && !user::deactivate(&write.tx, &found.id, me, app.now()).await? {
        return Err(Code::LastAdmin.into());
    }
    let (live, archived) = tree::owned(&write.tx, &found.id).await?;
    let (to, leaves) = match agents {
        Some(Agents::Transfer(to)) => (new_owner(&write, to).await?, Leaves::Given),
        Some(Agents::Archive) => (me.clone(), Leaves::Archived),
        // Archived ones need an owner too, or nobody could restore them.
        None if live == 0 => (me.clone(), Leaves::Archived),
        None => {
            let refusal = Code::OwnsAgents.with("count", live.to_string()).with("user", found.id.as_str());
            return Err(refusal.extra("agents", live));
        }
    };
    tree::leave(&write, &found.id, &to, leaves, app.now()).await?;
    user::delete(&write.tx, &found.id, app.now()).await?;
    let count = live + archived;
    if leaves == Leaves::Given && count > 0 {
        let title = format!("The agents of {} are yours now", found.email);
        let body = format!(
            "{} gave you agents: {live}, and {archived} archived ones. Their credentials have ended: issue new tokens.",
            write.caller.email()
        );
        let id = NotificationId::generate(app.now(), app.chance());
        notification::tell(&write.tx, &id, write.caller.tenant_id(), &to, (&title, &body), app.now()).await?;
    }
    let after = match leaves {
        _ if count == 0 => Null,
        Leaves::Given => json!({ "agents": count, "given_to": to }),
        Leaves::Archived => json!({ "agents": count, "archived_for": to }),
    };
    write.finish(found.id.as_str(), audited(&found), after, Answer::empty()).await
}

#[cfg(test)]
mod tests {
    use common::{
        scope::Role,
        secret::Kind,
        testing::{Actor, Answer, TestApp},
    };

    use super::*;
    use crate::with_neighbours;

    const WHOAMI: &str = "/api/auth/whoami";

    async fn step(t: &TestApp, who: &Actor, whom: &Actor, step: &str) -> Answer {
        t.as_(who, "POST", &format!("/api/users/{}/{step}", whom.user), Null).await
    }

    async fn remove(t: &TestApp, who: &Actor, whom: &Actor, query: &str) -> Answer {
        t.as_(who, "DELETE", &format!("/api/users/{}{query}", whom.user), Null).await
    }

    /// R19, R8: whoever is deactivated is refused on the next request with all that is his; sessions stay ended.
    #[tokio::test]
    async fn a_deactivated_account_is_refused_until_it_is_activated() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
        let pat = t.credential(Kind::Pat, &max.tenant, &max.user, None, "*", None).await;
        let scout = t.agent(&max, "scout", "*").await;
        t.execute(&format!(
            "INSERT INTO outbox (id, tenant_id, user_id, kind, recipient, data, state, due_at, created_at)
             VALUES ('out_1', '{0}', '{1}', 'test', 'max@example.com', '{{}}', 'due', 0, 0),
                    ('out_2', '{0}', '{2}', 'test', 'ada@example.com', '{{}}', 'due', 0, 0),
                    ('out_3', '{0}', '{1}', 'test', 'max@example.com', '{{}}', 'dead', 0, 0)",
            ada.tenant, max.user, ada.user
        ))
        .await
        .unwrap();
        for actor in [&max, &pat, &scout] {
            t.as_(actor, "GET", WHOAMI, Null).await.is(200);
        }
        let told = step(&t, &ada, &max, "deactivate").await.is(200);
        assert_eq!((&told["active"], &told["deactivated_by"]), (&json!(false), &json!(ada.user)));
        assert!(told["deactivated_at"].is_string());
        t.as_(&max, "GET", WHOAMI, Null).await.refused(401, "token_revoked");
        for actor in [&pat, &scout] {
            t.as_(actor, "GET", WHOAMI, Null).await.refused(401, "account_deactivated");
        }
        assert_eq!(t.texts("SELECT id FROM outbox").await, ["out_2"]); // no mail goes to who is out
        assert_eq!(step(&t, &ada, &max, "deactivate").await.is(200), told); // again: as it was
        let list = t.as_(&ada, "GET", "/api/users?active=false", Null).await.is(200);
        assert_eq!(list["items"], json!([told]));

        let told = step(&t, &ada, &max, "activate").await.is(200);
        assert_eq!((&told["active"], &told["deactivated_at"], &told["deactivated_by"]), (&json!(true), &Null, &Null));
        step(&t, &ada, &max, "activate").await.is(200);
        t.as_(&max, "GET", WHOAMI, Null).await.refused(401, "token_revoked");
        for actor in [&pat, &scout] {
            t.as_(actor, "GET", WHOAMI, Null).await.is(200);
        }
        let rows = t.texts("SELECT action || ' ' || before || ' ' || after FROM audit ORDER BY seq").await;
        assert_eq!(
            rows,
            [
                r#"user.deactivate {"active":true} {"active":false}"#,
                r#"user.activate {"active":false} {"active":true}"#
            ]
        );
    }

    /// R18: nobody deactivates or deletes himself; of two admins who do it to each other at once, one is left.
    #[tokio::test]
    async fn an_admin_is_always_left() {
        for by in ["deactivate", "delete"] {
            let t = TestApp::new(with_neighbours());
            let ada = t.ada().await;
            step(&t, &ada, &ada, "deactivate").await.refused(409, "self_deactivation");
            remove(&t, &ada, &ada, "").await.refused(409, "self_deletion");
            remove(&t, &ada, &ada, "?agents=archive").await.refused(409, "self_deletion");
            // An inactive admin can be deleted while an active one is left.
            let idle = t.user(&ada.tenant, "idle@example.com", Role::Admin).await;
            step(&t, &ada, &idle, "deactivate").await.is(200);
            remove(&t, &ada, &idle, "").await.is(204);
            let max = t.user(&ada.tenant, "max@example.com", Role::Admin).await;
            let second = TestApp::over(with_neighbours(), &t);
            let (one, two) = match by {
                "delete" => tokio::join!(remove(&t, &ada, &max, ""), remove(&second, &max, &ada, "")),
                _ => tokio::join!(step(&t, &ada, &max, by), step(&second, &max, &ada, by)),
            };
            assert_ne!(one.status.is_success(), two.status.is_success(), "{by}: {} {}", one.text, two.text);
            let active = "SELECT count(*) FROM users WHERE role = 'admin' AND deactivated_at IS NULL";
            assert_eq!(t.number(active).await, 1, "{by}");
        }
    }

    /// R18, R8, R33: who is deleted is nobody any more; the address is free, and whoever gets it inherits nothing.
    #[tokio::test]
    async fn who_is_deleted_leaves_nothing_that_works() {
        let t = TestApp::new(with_neighbours());
        let ada = t.ada().await;
        let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
        let pat = t.credential(Kind::Pat, &max.tenant, &max.user, None, "*", None).await;
        let shared = t.agent(&ada, "shared", "*").await;
        t.grant(shared.agent.as_ref().unwrap(), &ada.tenant, max.user.as_str(), "editor", &ada.user).await;
        remove(&t, &ada, &max, "?agents=").await.refused(422, "validation_error");
        remove(&t, &ada, &max, "?agents=transfer:").await.refused(422, "validation_error");
        remove(&t, &ada, &max, "?agents=burn").await.refused(422, "validation_error");
        remove(&t, &ada, &max, "").await.is(204);
        for actor in [&max, &pat] {
            t.as_(actor, "GET", WHOAMI, Null).await.refused(401, "token_revoked");
        }
        assert_eq!(t.number("SELECT count(*) FROM grants").await, 0);
        let path = format!("/api/users/{}", max.user);
        let gone = [
            ("GET", String::new()),
            ("DELETE", String::new()),
            ("POST", "/activate".to_owned()),
            ("POST", "/deactivate".to_owned()),
        ];
        for (method, end) in gone {
            t.as_(&ada, method, &format!("{path}{end}"), Null).await.refused(404, "user_not_found");
        }
        t.as_(&ada, "PATCH", &path, json!({ "name": "Max" })).await.refused(404, "user_not_found");
        assert_eq!(t.as_(&ada, "GET", "/api/users", Null).await.is(200)["items"].as_array().unwrap().len(), 1);
        let again = t.as_(&ada, "POST", "/api/users", json!({ "email": "max@example.com", "name": "M" })).await.is(201);
        assert_ne!(again["id"], json!(max.user));
        let rows = t
            .texts(
                "SELECT object_id || ' ' || before || ' ' || ifnull(after, '') FROM audit WHERE action = 'user.delete'",
            )
            .await;
        let before = r#"{"email":"max@example.com","name":"max@example.com","role":"member","active":true}"#;
        assert_eq!(rows, [format!("{} {before} ", max.user)]);
    }

    /// Agents have an owner: whole trees go to somebody else, without what was made for the former owner, or are archived.
    #[tokio::test]
    async fn the_agents_of_who_is_deleted_are_given_away_or_archived() {
        for is_given in [true, false] {
            let t = TestApp::new(with_neighbours());
            let ada = t.ada().await;
            let eve = t.user(&ada.tenant, "eve@example.com", Role::Member).await;
            let vic = t.user(&ada.tenant, "vic@example.com", Role::Viewer).await;
            let idle = t.user(&ada.tenant, "idle@example.com", Role::Member).await;
            step(&t, &ada, &idle, "deactivate").await.is(200);
            let foreign = t.user(&t.tenant("other").await, "out@example.com", Role::Member).await;
            let max = t.user(&ada.tenant, "max@example.com", Role::Member).await;
            t.agent(&max, "old", "*").await;
            t.execute("UPDATE agents SET archived_at = 1").await.unwrap();
            let boss = t.agent(&max, "boss", "*").await;
            let hand = t.agent_below(&max, Some(&boss), "hand", "*").await;
            let lone = t.agent(&max, "lone", "*").await;
            t.grant(boss.agent.as_ref().unwrap(), &ada.tenant, vic.user.as_str(), "editor", &max.user).await;

            let refused = remove(&t, &ada, &max, "").await.refused(409, "owns_agents");
            assert_eq!(refused["agents"], 3);
            assert!(refused["fix"].as_str().unwrap().contains(&format!("owner={}", max.user)));
            let nobody = [&max, &vic, &idle, &foreign].map(|actor| actor.user.as_str());
            for to in nobody.into_iter().chain(["nobody@example.com", "boss"]) {
                let refused = remove(&t, &ada, &max, &format!("?agents=transfer:{to}")).await;
                refused.refused(404, "owner_not_found");
            }
            for actor in [&max, &boss] {
                t.as_(actor, "GET", WHOAMI, Null).await.is(200); // refused: nothing has happened
            }

            let query = if is_given { "?agents=transfer:EVE@example.com" } else { "?agents=archive" };
            remove(&t, &ada, &max, query).await.is(204);
            for agent in [&boss, &hand, &lone] {
                t.as_(agent, "GET", WHOAMI, Null).await.refused(401, "token_revoked");
            }
            assert_eq!(t.number("SELECT count(*) FROM grants").await, 0);
            let owners = t.texts("SELECT owner_id || (archived_at IS NULL) FROM agents ORDER BY name").await;
            let expected = match is_given {
                // boss, hand, lone; old was archived before.
                true => [1, 1, 1, 0].map(|live| format!("{}{live}", eve.user)),
                false => [0; 4].map(|live| format!("{}{live}", ada.user)),
            };
            assert_eq!(owners, expected);
            let rows = "SELECT after FROM audit WHERE action = 'user.delete' AND object_id LIKE 'agt_%'";
            let after = match is_given {
                true => json!({ "owner_id": eve.user }),
                false => json!({ "owner_id": ada.user, "archived": true }),
            };
            assert_eq!(t.texts(rows).await, [0; 4].map(|_| after.to_string()));
            let rows = "SELECT after FROM audit WHERE action = 'user.delete' AND object_id LIKE 'usr_%'";
            assert!(t.texts(rows).await[0].contains("\"agents\":4"));
            let told = t.texts("SELECT user_id || title FROM notifications").await;
            let title = "The agents of max@example.com are yours now";
            assert_eq!(told, if is_given { vec![format!("{}{title}", eve.user)] } else { vec![] });
        }
    }
}
