//! Events: one function delivers each to all whom it concerns, in the transaction of the change that it reports.
//!
//! The list of kinds ([`EventKind`]) says which inboxes an event goes to; a handler adds what its people are told. Webhooks get what they ask
//! for from the tick.

use common::{
    event::{EventKind, Room},
    id::{AgentId, NotificationId, UserId},
};
use serde_json::{Value as Json, json};
use store::{
    db::{DbError, Tx},
    event, inbox, notification,
    origin::Origin,
};

/// An event.
pub struct Event<'a> {
    kind: EventKind,
    agent: Option<&'a AgentId>,
    user: Option<&'a UserId>,
    data: Json,
    hooks: Option<Json>,
    above: Option<Json>,
    told: Vec<Told<'a>>,
}

/// What a person is told of it.
struct Told<'a> {
    user: &'a UserId,
    title: String,
    body: String,
    /// Also a person that did it themselves, or by an agent of theirs.
    always: bool,
}

impl<'a> Event<'a> {
    fn new(kind: EventKind, agent: Option<&'a AgentId>, user: Option<&'a UserId>) -> Self {
        Self { kind, agent, user, data: json!({}), hooks: None, above: None, told: Vec::new() }
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

    /// The same with a notification to a person, unless they did it themselves or an agent of theirs did.
    #[must_use]
    pub fn telling(mut self, user: &'a UserId, title: impl Into<String>, body: impl Into<String>) -> Self {
        self.told.push(Told { user, title: title.into(), body: body.into(), always: false });
        self
    }

    /// The same with a notification to a person, also one that did it themselves.
    #[must_use]
    pub fn notifying(mut self, user: &'a UserId, title: impl Into<String>, body: impl Into<String>) -> Self {
        self.told.push(Told { user, title: title.into(), body: body.into(), always: true });
        self
    }

    /// Its data for webhooks.
    fn outside(&self) -> &Json {
        self.hooks.as_ref().unwrap_or(&self.data)
    }
}

/// Delivers an event: to the inboxes that its kind names, to the people that it tells, and to webhooks. `cause`: the person whom it
/// counts for; `None`: nobody. An agent is not told what it did itself. Gives the number in the agent's own inbox; `None`: it is in none.
pub async fn deliver(
    tx: &Tx<'_>,
    origin: &Origin<'_>,
    cause: Option<&UserId>,
    event: &Event<'_>,
) -> Result<Option<i64>, DbError> {
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
    for told in &event.told {
        if told.always || origin.user != Some(told.user) {
            let id = NotificationId::generate(now, origin.chance);
            let text = (told.title.as_str(), told.body.as_str());
            notification::insert_own(tx, &id, origin.tenant, (told.user, cause), text, now).await?;
        }
    }
    let new = event::New { kind: event.kind, agent: event.agent, user: event.user, data: event.outside() };
    event::insert(tx, (origin.tenant, origin.chance, now), &new).await?;
    Ok(seq)
}
