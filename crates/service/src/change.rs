//! The one way to change something. A handler says what it wants; [`Change`] knows its route, its caller and its idempotency key. It
//! refuses early, without a lock; begins the transaction, looks the caller and the object up again under the lock, replays a kept
//! answer or lets the handler act, writes the audit rows and the kept answer, and commits. On a refusal nothing has happened.
//!
//! ```text
//! /// `POST /api/agents/{name}/keys`
//! pub(crate) async fn create(change: Change<Body<NewKey>>, Path(name): Path) -> Result<Response, ApiError> {
//!     change.on_agent(&name, async |write, agent, Body(new)| {
//!         let (key, secret) = insert_key(write, &agent, new).await?;
//!         Ok(Answer::created(&shown(&key, &secret))?.with_secret().audited(&agent.id, Null, audited(&key)))
//!     })
//!     .await
//! }
//! ```

use std::pin::Pin;

use common::{
    error::{ApiError, Code},
    event::EventKind,
    id::{AgentId, AuditId, UserId},
    role::Role,
    route::{Rights, Route},
    time::Timestamp,
};
use serde_json::{Value as Json, json};
use store::{
    access_request::AccessRequest,
    agent::{Agent, archived::Archived},
    audit,
    closure::{self, Closure},
    credential::list::Token,
    db::{Purpose, Rows, Tx},
    epoch, grant,
    key::AgentKey,
    notification,
    oauth_client::Client,
    oauth_grant::{self, Common, Grant},
    origin::Origin,
    outbox::{Kind, Mail},
    resource::Resource,
    user::User,
    webhook::Webhook,
};

pub use crate::idempotency::Answer;
use crate::{
    app::App,
    call::{Call, FromCall, Takes},
    caller::Caller,
    event::{self, Event},
    extract::{Body, Empty},
    grantee, guard,
    idempotency::{IdempotencyKey, Replayed, settled},
    mail, object, once, quota, reader,
    response::Response,
};

/// A change that a caller asks for; `T` is what the handler needs of the request beside it, an argument of its own.
pub struct Change<T> {
    /// The request's view of the instance.
    pub app: App,
    /// The caller, as it was let in.
    pub caller: Caller,
    /// The rest of the request.
    pub input: T,
    route: &'static Route,
    kept: Option<IdempotencyKey>,
}

impl<T: FromCall> FromCall for Change<T> {
    const READS_BODY: bool = true;
    const CHANGES: bool = true;

    fn takes(takes: &mut Takes) {
        T::takes(takes);
    }

    fn from_call(call: &mut Call) -> Result<Self, ApiError> {
        let caller = Caller::from_call(call)?;
        if !T::READS_BODY {
            // A change that takes no body ignores none: what the client asked for there would not happen.
            Body::<Empty>::from_call(call)?;
        }
        // First the body, then the key: a client fixes both in one pass over its request.
        let bytes = call.body_bytes();
        let input = T::from_call(call)?;
        call.body = Some(Ok(bytes));
        let kept = Option::<IdempotencyKey>::from_call(call)?;
        Ok(Self { app: call.app.clone(), caller, input, route: call.route, kept })
    }
}

/// An object that is found by a name and from then on known by its id.
pub trait Identified {
    /// The id.
    fn id(&self) -> &str;
}

macro_rules! identified {
    ($($name:ident: $($field:ident).+;)*) => {
        $(impl Identified for $name {
            fn id(&self) -> &str {
                self.$($field).+.as_str()
            }
        })*
    };
}

identified! {
    AccessRequest: id;
    Agent: id;
    AgentKey: key.id;
    Archived: id;
    Client: id;
    Grant: id;
    Mail: id;
    Resource: id;
    Token: id;
    User: id;
    Webhook: id;
}

impl<T> Change<T> {
    /// The first answer, if the request was sent before: for handlers that do something slow before the change.
    pub async fn replay(&self) -> Result<Option<Response>, ApiError> {
        match &self.kept {
            Some(kept) => kept.answer_again(&self.app, &self.caller).await,
            None => Ok(None),
        }
    }

    /// The row of the route.
    pub fn route(&self) -> &'static Route {
        self.route
    }

    /// Refuses a caller that has not proved lately who they are: for a change whose body decides that it needs that. A row of which every
    /// change does says so itself.
    pub fn require_fresh(&self) -> Result<(), ApiError> {
        self.caller.check_fresh(self.app.now())
    }

    /// Spends an approval for this one request now: for handlers that do something before the change that cannot be taken back.
    pub async fn spend_first(&mut self) -> Result<(), ApiError> {
        self.caller = once::spend_alone(&self.app, &self.caller).await?;
        Ok(())
    }

    /// Changes something that has no object yet, or none beside the caller.
    pub async fn run(
        self,
        act: impl AsyncFnOnce(&Write<'_>, T) -> Result<Done, ApiError>,
    ) -> Result<Response, ApiError> {
        let Self { app, caller, input, route, kept } = self;
        let write = match begin(&app, caller, route, kept).await? {
            Begun::Write(write) => write,
            Begun::Replayed(answer) => return Ok(answer),
        };
        let outcome = act(&write, input).await;
        write.finish(outcome).await
    }

    /// Binds the request's idempotency key to further objects that it names, by their ids: a name may belong to another object when the
    /// request is sent again.
    pub fn bind<'i>(&mut self, ids: impl IntoIterator<Item = &'i str>) {
        if let Some(mut kept) = self.kept.take() {
            for id in ids {
                kept = kept.about(id);
            }
            self.kept = Some(kept);
        }
    }

    /// Changes the object that `find` finds by `name`. It is looked up before the transaction, so that a refusal costs no writer, and
    /// again inside, by its id: the name may belong to another object by then.
    pub async fn on<O: Identified>(
        mut self,
        name: &str,
        find: impl AsyncFn(&dyn Rows, &Caller, &str) -> Result<O, ApiError>,
        act: impl AsyncFnOnce(&Write<'_>, O, T) -> Result<Done, ApiError>,
    ) -> Result<Response, ApiError> {
        let early = find(self.app.db(), &self.caller, name).await?;
        self.kept = self.kept.map(|kept| kept.about(early.id()));
        self.run(async |write, input| {
            let found = find(&write.tx, &write.caller, early.id()).await?;
            act(write, found, input).await
        })
        .await
    }

    /// Changes the agent with this name or id, if the caller may do with it what the route does.
    pub async fn on_agent(
        self,
        name: &str,
        act: impl AsyncFnOnce(&Write<'_>, Agent, T) -> Result<Done, ApiError>,
    ) -> Result<Response, ApiError> {
        self.on_agent_with(|_| false, name, act).await
    }

    /// The same for a route whose action depends on the fields of the body.
    pub async fn on_agent_with(
        self,
        has_field: impl Fn(&str) -> bool,
        name: &str,
        act: impl AsyncFnOnce(&Write<'_>, Agent, T) -> Result<Done, ApiError>,
    ) -> Result<Response, ApiError> {
        let (route, now) = (self.route, self.app.now());
        let find = async |reads: &dyn Rows, caller: &Caller, name: &str| {
            object::agent_with(reads, caller, route, &has_field, name, now).await
        };
        self.on(name, find, act).await
    }

    /// Changes the key with this id of the agent with this name or id, if the caller may do with it what the route does.
    pub async fn on_key(
        self,
        (name, id): (&str, &str),
        act: impl AsyncFnOnce(&Write<'_>, AgentKey, T) -> Result<Done, ApiError>,
    ) -> Result<Response, ApiError> {
        let (route, now) = (self.route, self.app.now());
        let find = async |reads: &dyn Rows, caller: &Caller, id: &str| {
            object::key(reads, caller, route, (name, id), now).await
        };
        self.on(id, find, act).await
    }
}

/// How a change begins.
enum Begun<'a> {
    /// Under the write lock.
    Write(Box<Write<'a>>),
    /// With the first answer, since the request was sent before.
    Replayed(Response),
}

/// Takes the lock and decides again: between the guard and the lock the credential may have been revoked, or its owner's role lowered.
/// A function of its own, and boxed, since every handler has a copy of [`Change::run`].
fn begin<'a>(
    app: &'a App,
    caller: Caller,
    route: &'static Route,
    kept: Option<IdempotencyKey>,
) -> Boxed<'a, Begun<'a>> {
    Box::pin(async move {
        let tx = app.db().begin(Purpose::Durable).await?;
        let caller = caller.reload(&tx, app.now()).await?;
        guard::admit(app, &caller, route)?;
        let first = match &kept {
            Some(kept) => kept.replay(app, &tx, &caller).await?,
            None => None,
        };
        match first {
            // What takes a right away is done again: meanwhile somebody may have given it back. Not what was approved once.
            Some(answer) if route.rights != Rights::Takes || caller.once().is_some() => {
                // The lock is free before a closure is looked at.
                drop(tx);
                answer.into_response(app).await.map(Begun::Replayed)
            }
            first => {
                once::spend(&tx, app, &caller).await?;
                let cause = quota::person_behind(&tx, &caller).await?;
                let since = if route.closes { epoch::last(&tx, caller.tenant_id()).await? } else { 0 };
                Ok(Begun::Write(Box::new(Write { tx, caller, cause, app, route, kept, first, since })))
            }
        }
    })
}

/// Changes something in the name of the caller that made a one-time code, whose credential has the record `maker`. `tx` has spent the
/// code. Everything is decided anew, as if that caller did now what the row `made_by` does. The sender of the code learns nothing of why
/// it is refused: every such refusal is `refusal`, and the code stays unspent.
pub async fn in_the_name_of(
    app: &App,
    tx: Tx<'_>,
    (maker, made_by, route): (&str, &'static Route, &'static Route),
    refusal: Code,
    act: impl AsyncFnOnce(&Write<'_>) -> Result<Done, ApiError>,
) -> Result<Response, ApiError> {
    let outcome = async {
        let caller = Caller::of_record(&tx, maker, app.now()).await?.ok_or(refusal)?;
        guard::admit(app, &caller, made_by)?;
        let cause = quota::person_behind(&tx, &caller).await?;
        let since = if route.closes { epoch::last(&tx, caller.tenant_id()).await? } else { 0 };
        let write = Write { tx, caller, cause, app, route, kept: None, first: None, since };
        let outcome = act(&write).await;
        write.finish(outcome).await
    };
    outcome.await.map_err(|error: ApiError| if error.code().row().status < 500 { refusal.into() } else { error })
}

/// A step of every change.
type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, ApiError>> + 'a>>;

/// A change under the write lock.
pub struct Write<'a> {
    /// The transaction.
    pub tx: Tx<'a>,
    /// The caller as the database knows it now.
    pub caller: Caller,
    /// The person behind the caller: what the change causes counts for their quotas.
    pub cause: UserId,
    app: &'a App,
    route: &'static Route,
    kept: Option<IdempotencyKey>,
    /// The first answer, where it is no reason not to act.
    first: Option<Replayed>,
    /// The tenant's last epoch before the change, where that is closed.
    since: i64,
}

impl Write<'_> {
    /// The request's view of the instance.
    pub fn app(&self) -> &App {
        self.app
    }

    /// The time of the request.
    pub fn now(&self) -> Timestamp {
        self.app.now()
    }

    /// Where the change comes from.
    pub fn origin(&self) -> Origin<'_> {
        self.caller.origin(self.app)
    }

    /// The row of the route.
    pub fn route(&self) -> &'static Route {
        self.route
    }

    /// The same as [`Change::require_fresh`], where only the rows decide that the change needs it.
    pub fn require_fresh(&self) -> Result<(), ApiError> {
        self.caller.check_fresh(self.now())
    }

    /// The action in its audit rows.
    pub fn action(&self) -> &'static str {
        self.route.audit.unwrap_or(self.route.path)
    }

    /// Writes an audit row about a further object.
    pub async fn record(&self, action: &'static str, object: &str, before: Json, after: Json) -> Result<(), ApiError> {
        Ok(audit::insert(&self.tx, &self.origin(), &audit::Event { action, object, before, after }).await?)
    }

    /// Tells a person that a right of theirs, or of an agent of theirs, has ended, unless they did it themselves or an agent of theirs did.
    pub async fn tell(&self, user: &UserId, title: &str, body: &str) -> Result<(), ApiError> {
        if user == self.caller.user_id() {
            return Ok(());
        }
        self.notify(user, title, body).await
    }

    /// Sends a person a notification of the server's own.
    pub async fn notify(&self, user: &UserId, title: &str, body: &str) -> Result<(), ApiError> {
        let when = (self.caller.tenant_id(), self.app.chance(), self.now());
        Ok(notification::insert_own(&self.tx, when, (user, Some(&self.cause)), (title, body)).await?)
    }

    /// Ends what people gave to apps that has this in common, and tells each of them, unless they do it themselves; gives how many grants there
    /// were.
    pub async fn end_apps(&self, what: Common<'_>, title: &str, body: &str) -> Result<usize, ApiError> {
        let tenant = self.caller.tenant_id();
        notification::insert_for_people_of_apps(&self.tx, &self.origin(), &self.cause, what, (title, body)).await?;
        Ok(oauth_grant::end_all(&self.tx, tenant, what, self.now()).await?)
    }

    /// Mails a person of the tenant, also one that did it themselves, and has the mail sent after the answer. `data` is an object without
    /// secrets; it is sent with `by`, the address of the caller where somebody else did it, and the request's `address`.
    pub async fn mail(&self, user: &UserId, kind: Kind, data: Json) -> Result<(), ApiError> {
        self.mail_to(None, user, kind, data).await
    }

    /// The same, to an address that the person has no more.
    pub async fn mail_to(
        &self,
        address: Option<&str>,
        user: &UserId,
        kind: Kind,
        mut data: Json,
    ) -> Result<(), ApiError> {
        let by = (user != self.caller.user_id()).then(|| self.author());
        if let Some(members) = data.as_object_mut() {
            members.insert("by".to_owned(), by.into());
        }
        mail::queue_to(self.app, &self.tx, (self.caller.tenant_id(), user, address), kind, data).await.map(drop)
    }

    /// Delivers an event to all whom it concerns. Gives its number in the agent's own inbox; `None`: it is not there, since that holds as
    /// many events of this person's making as it may.
    pub async fn emit(&self, event: Event<'_>) -> Result<Option<i64>, ApiError> {
        Ok(event::deliver(self.app, &self.tx, &self.origin(), Some(&self.cause), &event).await?)
    }

    /// Tells the people whom an event concerns, where the inboxes and webhooks have it already.
    pub async fn emit_to_people(&self, event: Event<'_>) -> Result<(), ApiError> {
        Ok(event::tell_people(self.app, &self.tx, &self.origin(), Some(&self.cause), &event).await?)
    }

    /// Delivers that credentials of an agent have ended: to the agent, and to its owner.
    pub async fn emit_ended(
        &self,
        kind: EventKind,
        agent: (&AgentId, &str),
        what: &str,
        ended: &[String],
    ) -> Result<(), ApiError> {
        let (id, name) = agent;
        let by = self.author();
        let title = format!("A credential of {name} was revoked");
        let body = format!("{by} {what} of the agent {name}. If the agent needs another one, issue it.");
        let event = Event::of_agent(kind, id).saying(title, body);
        self.emit(event.data(serde_json::json!({ "credentials": ended, "grantee": null }))).await.map(drop)
    }

    /// A refusal as one of several results.
    pub fn refused(&self, refusal: &ApiError) -> Json {
        let link = self.app.settings().link();
        let envelope = refusal.envelope(self.app.request_id().as_str(), link, Some(reader::of(&self.caller, self.app)));
        json!({ "ok": false, "error": envelope.error, "detail": envelope.detail, "fix": envelope.fix })
    }

    /// The caller, for those that are told what it did: of an agent its owner alone, since they need not be allowed to read the agent.
    pub fn author(&self) -> String {
        let email = self.caller.email();
        if self.caller.agent_id().is_some() { format!("An agent of {email}") } else { email.to_owned() }
    }
}

impl<'a> Write<'a> {
    /// Ends a change with what the handler made of it: writes its audit rows and the kept answer, and commits.
    fn finish(mut self, outcome: Result<Done, ApiError>) -> Boxed<'a, Response> {
        Box::pin(async move {
            // Nothing was left to take away: the first request has done it, and its answer is this one's too.
            let is_done = match &outcome {
                Ok(done) => done.changes.is_none(),
                Err(refusal) => refusal.code().row().status == 409,
            };
            let first = self.first.take();
            if first.is_some() {
                self.kept = None;
            }
            if let Some(first) = first.filter(|_| is_done) {
                // The lock is free before the closure is looked at: that may close it.
                let Self { tx, app, .. } = self;
                drop(tx);
                return first.into_response(app).await;
            }
            let done = outcome?;
            let Done { answer, changes, only_narrows } = done;
            let Some(changes) = changes else { return Ok(answer.into_response()) };
            let purpose = purpose(self.route, only_narrows);
            let gives = purpose == Purpose::Durable;
            let (app, cause) = (self.app, &self.cause);
            // First what goes with it, so that the row of the change can say all that it has ended.
            let mut closing = None;
            let row = AuditId::generate(self.now(), app.chance());
            if self.route.closes {
                grantee::end(app, &self.tx, &self.origin(), cause).await?;
                closing = self.close(changes.first(), &row).await?;
            }
            let bytes = self.audit(changes, row, closing.as_ref()).await?;
            // A person who lacks the second factor that is demanded can do nothing about what their agents have used up but set one up.
            let sets_up = self.route.before_factor && self.caller.check_factor().is_err();
            if gives {
                quota::count_trail(app, &self.tx, cause, bytes, if sets_up { quota::SETTING_UP } else { 0 }).await?;
            }
            if !self.route.closes {
                grantee::end(app, &self.tx, &self.origin(), cause).await?;
            }
            self.keep(&answer, closing.as_ref(), gives).await?;
            mail::hurry_if_left(app, &self.tx);
            self.tx.commit_as(purpose).await?;
            let Some(stored) = closing else { return Ok(answer.into_response()) };
            Ok(answer.closing(self.route, &settled(app, stored).await)?.into_response())
        })
    }

    /// Writes the audit rows, the first under this id and with what the change has closed; gives their bytes.
    async fn audit(
        &self,
        changes: Vec<Audited>,
        mut row: AuditId,
        mut closing: Option<&closure::Stored>,
    ) -> Result<i64, ApiError> {
        let mut bytes = 0;
        for Audited { object, before, mut after } in changes {
            if let Some(stored) = closing.take() {
                stored.add_to(&mut after);
            }
            let event = audit::Event { action: self.action(), object: &object, before, after };
            bytes += quota::size(&event);
            audit::insert_as(&self.tx, &self.origin(), &row, &event).await?;
            row = AuditId::generate(self.now(), self.app.chance());
        }
        Ok(bytes)
    }

    /// Keeps the answer, where a key was sent.
    async fn keep(&self, answer: &Answer, closing: Option<&closure::Stored>, gives: bool) -> Result<(), ApiError> {
        let Some(kept) = &self.kept else { return Ok(()) };
        let (app, caller, cause) = (self.app, &self.caller, &self.cause);
        // What is kept says what was known before the commit: that some guard may not have heard of it.
        let closed = closing.map(|stored| answer.closing(self.route, &stored.provisional())).transpose()?;
        let first = closed.as_ref().unwrap_or(answer);
        let person = (cause, app.settings().quotas.bytes);
        let is_kept = match quota::check_bytes(app, &self.tx, caller.tenant_id(), person).await {
            Ok(()) if kept.keep(app, &self.tx, (caller, cause), first).await? => Ok(()),
            Ok(()) => Err(Code::TooManyKeys.into()),
            Err(refusal) => Err(refusal),
        };
        // What takes a right away needs no kept answer.
        is_kept.or_else(|refusal| match gives || refusal.code().row().status >= 500 {
            true => Err(refusal),
            false => Ok(()),
        })
    }

    /// Writes down what the change has ended.
    async fn close(&self, change: Option<&Audited>, row: &AuditId) -> Result<Option<closure::Stored>, ApiError> {
        let (object, user) = (change.map_or("", |change| &change.object), self.caller.user_id().as_str());
        let new = closure::New { action: self.action(), object, since: self.since, user, audit: row };
        Ok(closure::open(&self.tx, &self.origin(), &new).await?)
    }
}

/// The one place that decides whether a change goes through when the database is full.
fn purpose(route: &Route, only_narrows: bool) -> Purpose {
    match route.rights {
        Rights::Takes => Purpose::Revoking,
        Rights::Enters => Purpose::Entry,
        Rights::Decided if only_narrows => Purpose::Narrowing,
        Rights::Decided | Rights::Gives => Purpose::Durable,
    }
}

/// Ends a change that no known caller makes, such as one by a secret of the operator: writes down what it has ended, and its audit row,
/// which names that. `since` is the tenant's last epoch before the change; `user` the person behind it.
pub async fn audit_closing(
    tx: &Tx<'_>,
    origin: &Origin<'_>,
    (since, user): (i64, &str),
    mut event: audit::Event<'_>,
) -> Result<Option<closure::Stored>, ApiError> {
    let row = AuditId::generate(origin.now, origin.chance);
    let new = closure::New { action: event.action, object: event.object, since, user, audit: &row };
    let closing = closure::open(tx, origin, &new).await?;
    if let Some(stored) = &closing {
        stored.add_to(&mut event.after);
    }
    audit::insert_as(tx, origin, &row, &event).await?;
    Ok(closing)
}

/// The contents of an audit row about a change.
pub struct Audited {
    /// The id of the changed object.
    pub object: String,
    /// How it was before, without secrets; null: it did not exist.
    pub before: Json,
    /// How it is now, without secrets; null: it no longer exists.
    pub after: Json,
}

/// A change that a handler has made, with its answer and its audit rows. It is the only way to end a change, and only
/// [`Answer::audited`] and [`Answer::unchanged`] make one.
pub struct Done {
    answer: Answer,
    /// `None`: nothing was changed.
    changes: Option<Vec<Audited>>,
    only_narrows: bool,
}

impl Done {
    /// The same, with whether the change makes rights less and does nothing else. It counts on the rows whose body decides.
    #[must_use]
    pub fn narrowing(self, only_narrows: bool) -> Self {
        Self { only_narrows, ..self }
    }
}

impl Answer {
    /// Ends a change of one object.
    pub fn audited(self, object: impl std::fmt::Display, before: Json, after: Json) -> Done {
        self.audited_all(vec![Audited { object: object.to_string(), before, after }])
    }

    /// Ends a change of several objects, each with an audit row of its own.
    pub fn audited_all(self, changes: Vec<Audited>) -> Done {
        Done { answer: self, changes: Some(changes), only_narrows: false }
    }

    /// Ends a change that changes nothing: nothing is written, and the answer is not kept.
    pub fn unchanged(self) -> Done {
        Done { answer: self, changes: None, only_narrows: false }
    }
}

/// An answer with the closure of its change.
#[derive(schemars::JsonSchema)]
#[schemars(rename = "{T}AndClosure")]
#[expect(dead_code, reason = "only its schema is used")]
pub struct Closing<T> {
    #[schemars(flatten)]
    answer: T,
    /// What has ended, and since when nobody accepts it; not there: nothing has ended that had not ended before.
    #[serde(skip_serializing_if = "Option::is_none")]
    closure: Option<Closure>,
}

/// The active user of the tenant that an agent can be given to: one whose role is at least member.
pub async fn new_owner(write: &Write<'_>, to: &str) -> Result<UserId, ApiError> {
    let found = grant::find_subject(&write.tx, write.caller.subject(), to).await?;
    let is_owner = |found: &grant::NamedSubject| {
        found.subject.agent.is_none() && found.is_active && found.subject.role >= Role::Member
    };
    Ok(found.filter(is_owner).ok_or(Code::OwnerNotFound)?.subject.user)
}
