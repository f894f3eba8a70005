use common::{
    event::{Admins, EventKind, Mail, Person},
    id::UserId,
    role::Role,
    route::{Group, ROUTES},
};
use serde_json::json;
use store::{db::Purpose, outbox::Kind, testing::Actor};

use super::{Event, deliver};
use crate::{paths::matched, router::Router, settings::Settings, testing::TestApp};

/// Who does it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Doer {
    AnotherAdmin,
    Person,
    AgentAbove,
    Nobody,
}

/// People and agents: Ada and Eve are admins, Max owns boss and scout below it, and Mia has nothing to do with them.
struct Stage {
    t: TestApp,
    ada: Actor,
    eve: Actor,
    max: Actor,
    mia: Actor,
    boss: Actor,
    scout: Actor,
}

async fn stage() -> Stage {
    let mail = [
        ("mail_provider", "webhook"),
        ("mail_from", "no-reply@accredit.example"),
        ("mail_token", "t"),
        ("mail_host", "mail.example"),
        ("public_url", "https://accredit.example"),
    ];
    let value = |name: &str| mail.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let t = TestApp::with(Router::default(), Settings::read(value).unwrap());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    let eve = t.user(&tenant, "eve@example.com", Role::Admin).await;
    let max = t.user(&tenant, "max@example.com", Role::Member).await;
    let mia = t.user(&tenant, "mia@example.com", Role::Member).await;
    let boss = t.agent(&max, "boss", "*").await;
    let scout = t.agent_below(&max, Some(&boss), "scout", "*").await;
    Stage { t, ada, eve, max, mia, boss, scout }
}

impl Stage {
    /// Whether there are rows of a person's or an agent's, of which none is left.
    async fn has(&self, table: &str, column: &str, id: &str) -> bool {
        let rows = self.t.number(&format!("SELECT count(*) FROM {table} WHERE {column} = '{id}'")).await;
        self.t.execute(&format!("DELETE FROM {table} WHERE {column} = '{id}'")).await.unwrap();
        assert!(rows <= 1, "{table} {id}: {rows}");
        rows == 1
    }

    async fn is_told(&self, user: &UserId) -> bool {
        self.has("notifications", "user_id", user.as_str()).await
    }

    async fn is_mailed(&self, user: &UserId) -> bool {
        self.has("outbox", "user_id", user.as_str()).await
    }

    async fn has_event(&self, agent: &Actor) -> bool {
        self.has("inbox", "agent_id", agent.agent.as_ref().unwrap().as_str()).await
    }
}

/// R606: a notification leads to a page that there is, wherever there is something left to look at.
#[test]
fn every_kind_leads_to_a_page_that_there_is() {
    for kind in EventKind::ALL {
        for (agent, user, is_own) in
            [(Some("agt_1"), None, true), (None, Some("usr_1"), true), (None, Some("usr_1"), false)]
        {
            let page = kind.page(agent, user, is_own);
            assert_eq!(page.is_none(), matches!(kind, EventKind::AgentPurged | EventKind::UserDeleted), "{kind:?}");
            let Some(page) = page else { continue };
            let mut pages = ROUTES.iter().filter(|row| row.group == Group::Web && row.method == "GET");
            assert!(pages.any(|row| matched(row.path, &page).is_some()), "{kind:?}: {page}");
        }
    }
}

/// R194: every kind reaches exactly whom its row names, by the ways that it names, and nobody else.
#[tokio::test]
async fn every_kind_reaches_whom_its_row_names_and_nobody_else() {
    let s = stage().await;
    let tenant = s.ada.tenant.clone();
    let (scout, boss) = (s.scout.agent.clone().unwrap(), s.boss.agent.clone().unwrap());
    for is_active in [true, false] {
        let set = if is_active { "NULL" } else { "1" };
        s.t.execute(&format!("UPDATE users SET deactivated_at = {set} WHERE id = '{}'", s.max.user)).await.unwrap();
        for kind in EventKind::ALL {
            for doer in [Doer::AnotherAdmin, Doer::Person, Doer::AgentAbove, Doer::Nobody] {
                let to = kind.to();
                let is_of_agent = to.agent || to.above;
                let app = s.t.app();
                let user = match doer {
                    Doer::AnotherAdmin => Some(&s.eve.user),
                    Doer::Person | Doer::AgentAbove => Some(&s.max.user),
                    Doer::Nobody => None,
                };
                let mut origin = app.origin(&tenant, user);
                origin.agent = (doer == Doer::AgentAbove).then_some(&boss);
                let event =
                    if is_of_agent { Event::of_agent(*kind, &scout) } else { Event::of_user(*kind, &s.max.user) };
                let event = event.data(json!({ "step": "pause" })).mailing(Kind::Leak, json!({ "whose": "x" }));
                let tx = s.t.db().begin(Purpose::Durable).await.unwrap();
                deliver(&app, &tx, &origin, user, &event).await.unwrap();
                tx.commit().await.unwrap();

                let what = format!("{} by {doer:?}, active: {is_active}", kind.as_str());
                let person = match to.person {
                    Person::No => false,
                    Person::OfOthers => !matches!(doer, Doer::Person | Doer::AgentAbove),
                    Person::OfAgentsToo => doer != Doer::Person,
                };
                let admins = to.admins == Admins::Always || (to.admins == Admins::ForOwner && !is_active);
                let another = admins && doer != Doer::AnotherAdmin;
                let mails = |is_told: bool, is_another: bool| match to.mail {
                    Mail::No => false,
                    Mail::Same => is_told,
                    Mail::AdminsToo => is_another,
                };
                assert_eq!(s.is_told(&s.max.user).await, person, "{what}: person");
                assert_eq!(s.is_told(&s.ada.user).await, admins, "{what}: admin");
                assert_eq!(s.is_told(&s.eve.user).await, another, "{what}: another admin");
                assert!(!s.is_told(&s.mia.user).await, "{what}: a stranger");
                assert_eq!(s.is_mailed(&s.max.user).await, person && to.mail != Mail::No && is_active, "{what}: mail");
                assert_eq!(s.is_mailed(&s.ada.user).await, mails(admins, true), "{what}: mail to an admin");
                assert_eq!(
                    s.is_mailed(&s.eve.user).await,
                    mails(another, doer != Doer::AnotherAdmin),
                    "{what}: mail to another admin"
                );
                assert!(!s.is_mailed(&s.mia.user).await, "{what}: mail to a stranger");
                let above = to.above && (doer != Doer::AgentAbove || *kind == EventKind::AgentDeploy);
                assert_eq!(s.has_event(&s.scout).await, to.agent, "{what}: agent");
                assert_eq!(s.has_event(&s.boss).await, above, "{what}: agent above");
            }
        }
    }
}

/// R194: what people do not want by mail does not come by mail; the notification comes all the same.
#[tokio::test]
async fn a_choice_about_mail_holds() {
    let s = stage().await;
    s.t.execute(&format!("UPDATE users SET mails_off = ' leak ' WHERE id = '{}'", s.max.user)).await.unwrap();
    let (app, scout) = (s.t.app(), s.scout.agent.clone().unwrap());
    let event = Event::of_agent(EventKind::CredentialLeaked, &scout).mailing(Kind::Leak, json!({}));
    let tx = s.t.db().begin(Purpose::Durable).await.unwrap();
    deliver(&app, &tx, &app.origin(&s.ada.tenant, None), None, &event).await.unwrap();
    tx.commit().await.unwrap();
    assert!(s.is_told(&s.max.user).await && !s.is_mailed(&s.max.user).await);
    assert!(s.is_told(&s.ada.user).await && s.is_mailed(&s.ada.user).await);
}
