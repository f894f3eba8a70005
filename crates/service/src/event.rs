//! Events: one function delivers each to all whom it concerns, in the transaction of the change that it reports.
//!
//! The list of kinds ([`EventKind`]) says which inboxes an event goes to; a handler adds what its people are told. Webhooks get what they ask
//! for from the tick.

use std::{future::Future, pin::Pin};

use common::{
    event::{Admins, EventKind, Mail, Person, Room},
    id::{AgentId, NotificationId, UserId},
};
use serde_json::{Value as Json, json};
use store::{
    addressee,
    db::{DbError, Tx},
    event, inbox, notification,
    origin::Origin,
    outbox::Kind,
};

use crate::{app::App, mail};

mod words;

/// Boxed, so that a component has the code once, and not in each handler that delivers an event.
type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, DbError>> + 'a>>;

/// An event.
pub struct Event<'a> {
    kind: EventKind,
    agent: Option<&'a AgentId>,
    user: Option<&'a UserId>,
    data: Json,
    hooks: Option<Json>,
    above: Option<Json>,
    /// What its people are told; left out: what its kind says.
    said: Option<(String, String)>,
    /// The page of this site that a notification leads to, in place of [`EventKind::page`].
    page: Option<String>,
    /// The same for those that it does not itself concern.
    page_of_admins: Option<String>,
    /// A mail to the same people.
    mail: Option<(Kind, Json)>,
    /// Whether its kind's people are left out.
    is_no_news: bool,
    told: Vec<Told<'a>>,
}

/// What one more person is told of it.
struct Told<'a> {
    user: &'a UserId,
    title: String,
    body: String,
    /// The page of this site that the notification leads to.
    page: Option<String>,
}

impl<'a> Event<'a> {
    fn new(kind: EventKind, agent: Option<&'a AgentId>, user: Option<&'a UserId>) -> Self {
        Self {
            kind,
            agent,
            user,
            data: json!({}),
            hooks: None,
            above: None,
            said: None,
            page: None,
            page_of_admins: None,
            mail: None,
            is_no_news: false,
            told: Vec::new(),
        }
    }

    /// An event about an agent.
    pub fn of_agent(kind: EventKind, agent: &'a AgentId) -> Self {
        Self::new(kind, Some(agent), None)
    }

    /// An event about a user.
    pub fn of_user(kind: EventKind, user: &'a UserId) -> Self {
        Self::new(kind, None, Some(user))
    }

    /// The same with its data: a JSON object, small, never a secret.
    #[must_use]
    pub fn data(self, data: Json) -> Self {
        Self { data, ..self }
    }

    /// The same with other data for webhooks: less than the agent gets, since it leaves the server.
    #[must_use]
    pub fn for_webhooks(self, data: Json) -> Self {
        Self { hooks: Some(data), ..self }
    }

    /// The same with other data for the agent above, which may know more of those below it than they do.
    #[must_use]
    pub fn for_above(self, data: Json) -> Self {
        Self { above: Some(data), ..self }
    }

    /// The same with a text for the people that its kind names, in place of the kind's own.
    #[must_use]
    pub fn saying(self, title: impl Into<String>, body: impl Into<String>) -> Self {
        Self { said: Some((title.into(), body.into())), ..self }
    }

    /// The same with the page of this site where its people can act.
    #[must_use]
    pub fn leading_to(self, page: impl Into<String>) -> Self {
        Self { page: Some(page.into()), ..self }
    }

    /// The same with a page for admins that it does not itself concern.
    #[must_use]
    pub fn leading_admins_to(self, page: impl Into<String>) -> Self {
        Self { page_of_admins: Some(page.into()), ..self }
    }

    /// The same with a mail to the people that its kind names, where the kind is mailed. Its data is an object without secrets.
    #[must_use]
    pub fn mailing(self, kind: Kind, data: Json) -> Self {
        Self { mail: Some((kind, data)), ..self }
    }

    /// The same where it is no news to the people that its kind names.
    #[must_use]
    pub fn no_news(self) -> Self {
        Self { is_no_news: true, ..self }
    }

    /// The same with a notification to one more person, or with another text for one that its kind names. `page`: the page of this site that
    /// it leads to.
    #[must_use]
    pub fn telling(
        mut self,
        user: &'a UserId,
        title: impl Into<String>,
        body: impl Into<String>,
        page: Option<String>,
    ) -> Self {
        self.told.push(Told { user, title: title.into(), body: body.into(), page });
        self
    }

    /// Its data for webhooks.
    fn outside(&self) -> &Json {
        self.hooks.as_ref().unwrap_or(&self.data)
    }
}

/// Delivers an event: to the inboxes and the people that its kind names, and to webhooks. `cause`: the person whom it counts for; `None`:
/// nobody. An agent is not told what it did itself. Gives the number in the agent's own inbox; `None`: it is in none.
pub fn deliver<'a>(
    app: &'a App,
    tx: &'a Tx<'_>,
    origin: &'a Origin<'_>,
    cause: Option<&'a UserId>,
    event: &'a Event<'_>,
) -> Boxed<'a, Option<i64>> {
    Box::pin(async move {
        let (to, now) = (event.kind.to(), origin.now);
        let content = (event.kind.in_inbox(), &event.data);
        let mut seq = None;
        if let Some(agent) = event.agent {
            if to.agent && (origin.agent != Some(agent) || event.kind == EventKind::Message) {
                seq = match (event.kind.room(), cause) {
                    (Room::Counted, Some(cause)) => inbox::push(tx, agent, cause, content, now).await?,
                    _ => inbox::push_newest(tx, agent, content, now).await?,
                };
            }
            if to.above {
                let content = (event.kind.in_inbox(), event.above.as_ref().unwrap_or(&event.data));
                // An agent that deploys one below it is the one that is to run it.
                let but = origin.agent.filter(|_| event.kind != EventKind::AgentDeploy);
                inbox::push_above(tx, agent, but, content, now).await?;
            }
        }
        tell_people(app, tx, origin, cause, event).await?;
        let new = event::New { kind: event.kind, agent: event.agent, user: event.user, data: event.outside() };
        event::insert(tx, (origin.tenant, origin.chance, now), &new).await?;
        Ok(seq)
    })
}

/// Tells the people that an event's kind names, and those that it names itself: by a notification, and by mail where it is mailed. Nobody
/// is told of what they did themselves.
pub fn tell_people<'a>(
    app: &'a App,
    tx: &'a Tx<'_>,
    origin: &'a Origin<'_>,
    cause: Option<&'a UserId>,
    event: &'a Event<'_>,
) -> Boxed<'a, ()> {
    Box::pin(async move {
        for Told { user, title, body, page } in event.told.iter().filter(|told| origin.user != Some(told.user)) {
            notify(tx, (event.kind, origin), (user, cause), (title, body), page.as_deref()).await?;
        }
        let to = event.kind.to();
        if event.is_no_news || (to.person == Person::No && to.admins == Admins::No) {
            return Ok(());
        }
        let Some(subject) = addressee::subject(tx, event.agent, event.user, origin.user).await? else { return Ok(()) };
        let is_own = origin.user == Some(&subject.person)
            && (origin.agent.is_none() || to.person == Person::OfOthers || event.user.is_some());
        let mut people = Vec::new();
        if to.person != Person::No && !is_own {
            people.push(subject.person.clone());
        }
        let needs_admins = to.admins == Admins::Always || (to.admins == Admins::ForOwner && !subject.is_active);
        let is_mailed = event.mail.is_some() && to.mail != Mail::No;
        let mut admins = Vec::new();
        if needs_admins || (is_mailed && to.mail == Mail::AdminsToo) {
            admins = addressee::admins(tx, origin.tenant).await?;
            admins.retain(|admin| *admin != subject.person && origin.user != Some(admin));
        }
        if needs_admins {
            people.append(&mut admins);
        }
        people.retain(|user| event.told.iter().all(|told| told.user != user));
        if people.is_empty() && admins.is_empty() {
            return Ok(());
        }
        let words;
        let (title, body) = match &event.said {
            Some(said) => said,
            None => {
                words = words::of(event.kind, &subject, origin, &event.data);
                &words
            }
        };
        for user in &people {
            let is_own = *user == subject.person;
            let (agent, about) = (event.agent.map(AgentId::as_str), event.user.map(UserId::as_str));
            let of_admins = event.page_of_admins.clone().filter(|_| !is_own);
            let page = of_admins.or_else(|| event.page.clone()).or_else(|| event.kind.page(agent, about, is_own));
            notify(tx, (event.kind, origin), (user, cause), (title, body), page.as_deref()).await?;
        }
        let Some((kind, data)) = event.mail.as_ref().filter(|_| is_mailed) else { return Ok(()) };
        let mut data = data.clone();
        if let Some(members) = data.as_object_mut().filter(|_| !origin.address.is_empty()) {
            members.insert("address".to_owned(), json!(origin.address));
        }
        // Where the admins are told already, none is left.
        for user in people.iter().chain(&admins) {
            mail::put(app, tx, (origin.tenant, user, None), *kind, &data).await?;
        }
        Ok(())
    })
}

async fn notify(
    tx: &Tx<'_>,
    (kind, origin): (EventKind, &Origin<'_>),
    whose: (&UserId, Option<&UserId>),
    (title, body): (&str, &str),
    page: Option<&str>,
) -> Result<(), DbError> {
    let id = NotificationId::generate(origin.now, origin.chance);
    let priority = if kind.is_pressing() { "high" } else { "normal" };
    notification::insert_own_as(priority, tx, &id, origin.tenant, whose, (title, body), origin.now).await?;
    match page {
        Some(page) => notification::link_own(tx, &id, title, page).await,
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
