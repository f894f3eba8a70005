//! Every change of a known caller goes through here: one transaction that asks again who is calling, replays a kept answer
//! or lets the handler act, and ends with the audit row and the kept answer, all of it or nothing.

use axum::response::{IntoResponse, Response};

use crate::{
    audit::{self, Event},
    caller::Caller,
    db::{Purpose, Tx},
    error::ApiError,
    http::App,
    idempotency::{Answer, Request},
    route::Route,
};

/// How a write begins.
pub enum Begun<'a> {
    /// Nobody asked this before: go on.
    First(Write<'a>),
    /// It was done before; this is its first answer.
    Again(Response),
}

/// A change that has begun. Dropped without [`Write::finish`], nothing has happened.
pub struct Write<'a> {
    /// The transaction.
    pub tx: Tx<'a>,
    /// The caller as the database knows him now, under the write lock.
    pub caller: Caller,
    app: &'a App,
    route: &'static Route,
    kept: Option<Request>,
}

impl App {
    /// Begins a change that gives something.
    pub async fn write(
        &self,
        route: &'static Route,
        caller: &Caller,
        kept: Option<Request>,
    ) -> Result<Begun<'_>, ApiError> {
        self.begin(Purpose::Durable, route, caller, kept).await
    }

    /// Begins a change that takes a right away: it goes through even when the database is full.
    pub async fn relieve(&self, route: &'static Route, caller: &Caller) -> Result<Write<'_>, ApiError> {
        match self.begin(Purpose::Relief, route, caller, None).await? {
            Begun::First(write) => Ok(write),
            Begun::Again(_) => Err(ApiError::from(crate::error::Code::Internal).cause("a replay without a key")),
        }
    }

    /// Begins a change for a purpose: for what takes a right away and keeps its answer too.
    pub async fn begin(
        &self,
        purpose: Purpose,
        route: &'static Route,
        caller: &Caller,
        kept: Option<Request>,
    ) -> Result<Begun<'_>, ApiError> {
        let tx = self.db().begin(purpose).await?;
        // Between the door and the lock the credential may have been revoked, or its owner demoted.
        let caller = caller.again(&tx, self.now()).await?;
        caller.admit(self, route)?;
        if let Some(request) = &kept
            && let Some(answer) = request.replayed(self, &tx, &caller).await?
        {
            return Ok(Begun::Again(answer));
        }
        Ok(Begun::First(Write { tx, caller, app: self, route, kept }))
    }
}

impl Write<'_> {
    /// The request's view of the instance.
    pub(crate) fn app(&self) -> &App {
        self.app
    }

    /// What its audit rows say was done.
    pub fn action(&self) -> &'static str {
        self.route.audit.unwrap_or(self.route.path)
    }

    /// Ends a change that turned out to be none: nothing is written.
    pub fn nothing(self, answer: Answer) -> Result<Response, ApiError> {
        Ok(answer.into_response())
    }

    /// Ends the change: audit row, kept answer, commit. Only then there is an answer.
    pub async fn finish(
        self,
        object: &str,
        before: serde_json::Value,
        after: serde_json::Value,
        answer: Answer,
    ) -> Result<Response, ApiError> {
        let event = Event { action: self.action(), object, before, after };
        self.finish_all(&[event], answer).await
    }

    /// The same for a change of several objects, each with an audit row of its own.
    pub async fn finish_all(self, events: &[Event<'_>], answer: Answer) -> Result<Response, ApiError> {
        for event in events {
            audit::by_caller(self.app, &self.tx, &self.caller, event).await?;
        }
        if let Some(request) = &self.kept {
            request.keep(self.app, &self.tx, &self.caller, &answer).await?;
        }
        self.tx.commit().await?;
        Ok(answer.into_response())
    }
}
