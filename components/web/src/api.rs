//! The API as a visitor of a page sees it: requests to the other components ([`service::inside`]), with what the visitor sent to prove
//! itself: cookie, `Origin`, CSRF token.

use std::{future::Future, pin::Pin};

use common::{
    route::{self, Object, Route},
    text::isolated,
};
use futures_util::future::join;
use http::{HeaderMap, StatusCode, header, request::Builder};
use serde_json::{Value as Json, json};
use service::{
    app::App,
    credential,
    idempotency::CLOSURE,
    inside::{self, header_value},
    response::Response,
};

use crate::{form::Form, help};

/// Why a page cannot be as it was meant.
pub(crate) enum Trouble {
    /// The visitor has to sign in.
    SignIn,
    /// The API refuses, in its own words.
    Refused(Refusal),
    /// The API asks the visitor first to prove who they are; the form is sent again with the proof.
    Prove(Box<Asked>),
    /// A component does not answer, or not as it should. The text is for the log.
    Outage(String),
}

/// A refusal of the API.
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) slug: String,
    pub(crate) detail: String,
    pub(crate) fix: String,
    /// The form's fields, each with what is wrong about it.
    pub(crate) fields: Vec<(String, String)>,
    /// What a form goes on with.
    pub(crate) next: Box<Next>,
}

/// What a refusal says of how a form goes on.
#[derive(Default)]
pub(crate) struct Next {
    /// How the visitor can prove who they are, where that is asked for.
    pub(crate) way: String,
    /// The ticket of a sign-in that waits for its second factor.
    pub(crate) ticket: String,
    /// Where the visitor wanted to go, where the API knows it and the page does not.
    pub(crate) path: String,
}

/// A form that waits for a proof of who its visitor is.
pub(crate) struct Asked {
    pub(crate) refusal: Refusal,
    pub(crate) form: Form,
}

impl Refusal {
    /// A refusal of this component's own.
    pub(crate) fn own(status: u16, detail: &str, fix: &str) -> Self {
        Self {
            status,
            slug: String::new(),
            detail: detail.to_owned(),
            fix: fix.to_owned(),
            fields: Vec::new(),
            next: Box::default(),
        }
    }

    /// A refusal of a field that only the page reads.
    pub(crate) fn of_field(field: &str, detail: &str, fix: &str) -> Trouble {
        let mut refusal = Self::own(400, detail, fix);
        refusal.fields = vec![(field.to_owned(), fix.to_owned())];
        Trouble::Refused(refusal)
    }

    fn read(status: u16, headers: &HeaderMap, body: &Json) -> Self {
        let slug = body.text("error");
        let fix = help::step(slug, status, body.text("fix"));
        let after = headers.get(header::RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
        let fix = after.filter(|_| fix == help::WAIT).map_or(fix, help::wait);
        let mut fields: Vec<(String, String)> = Vec::new();
        for one in body.list("fields") {
            // One of several that are wrong is said as it is where it is the only one.
            let problem = match one.text("error") {
                "" => help::problem(one.text("problem")),
                own => help::step(own, 400, one.text("fix")),
            };
            fields.extend(help::fields(slug, one.text("field")).into_iter().map(|name| (name, problem.clone())));
        }
        let unknown = body.words("unknown_scopes");
        let said = help::said(slug, body.text("detail"));
        let (said, fix) = match unknown.as_slice() {
            [] => (said.to_owned(), fix),
            words => (
                format!("There is no scope {}.", isolated(&words.join(", "))),
                "Take another one, or leave it out.".to_owned(),
            ),
        };
        if fields.is_empty() {
            // A value of a query is named in the step alone.
            let field = Some(body.text("field")).filter(|field| !field.is_empty());
            let field = field.or_else(|| help::field(slug, body.text("fix"))).unwrap_or_default();
            fields = help::fields(slug, field).into_iter().map(|name| (name, fix.clone())).collect();
        }
        let next = Box::new(Next {
            way: body.text("way").to_owned(),
            ticket: body.text("ticket").to_owned(),
            path: body.text("next").to_owned(),
        });
        Self { status, slug: slug.to_owned(), detail: said, fix, fields, next }
    }

    /// Whether the address names a place of a list that is not this one: of other filters, of another visitor, or cut.
    pub(crate) fn is_of_another_list(&self) -> bool {
        self.slug == "invalid_cursor"
    }

    /// Whether the visitor can mend it in the form: also where a field names what is not there, or what nobody may name.
    pub(crate) fn is_for_the_form(&self) -> bool {
        self.slug == "csrf_failed" || !self.fields.is_empty() || !matches!(self.status, 403 | 404)
    }
}

/// Reads members of JSON as a page shows them: what is missing is empty.
pub(crate) trait Members {
    fn text(&self, name: &str) -> &str;
    fn number(&self, name: &str) -> i64;
    fn is(&self, name: &str) -> bool;
    fn at(&self, name: &str) -> &Json;
    fn list(&self, name: &str) -> &[Json];
    /// The texts of a list.
    fn words(&self, name: &str) -> Vec<&str>;
}

impl Members for Json {
    fn text(&self, name: &str) -> &str {
        self.get(name).and_then(Self::as_str).unwrap_or_default()
    }

    fn number(&self, name: &str) -> i64 {
        self.get(name).and_then(Self::as_i64).unwrap_or_default()
    }

    fn is(&self, name: &str) -> bool {
        self.get(name).and_then(Self::as_bool).unwrap_or_default()
    }

    fn at(&self, name: &str) -> &Json {
        self.get(name).unwrap_or(&Self::Null)
    }

    fn list(&self, name: &str) -> &[Json] {
        self.get(name).and_then(Self::as_array).map_or(&[], Vec::as_slice)
    }

    fn words(&self, name: &str) -> Vec<&str> {
        self.list(name).iter().filter_map(Self::as_str).collect()
    }
}

/// A request on its way. Boxed: a page waits for several, and their states would otherwise be laid out anew in each page.
pub(crate) type Asking<'a> = Pin<Box<dyn Future<Output = Result<Json, Trouble>> + 'a>>;

/// The API as a visitor sees it.
pub(crate) struct Api<'a> {
    app: &'a App,
    cookie: Option<String>,
}

/// What a change is sent with.
pub(crate) struct Change<'a> {
    /// The page's form: it has the CSRF token and the key that makes sending it twice the same as once.
    pub(crate) form: &'a Form,
    pub(crate) body: Json,
}

impl<'a> Api<'a> {
    /// For a visitor with a session, as it seems: the API looks whether it is one.
    pub(crate) fn of(app: &'a App) -> Result<Self, Trouble> {
        let session = credential::cookie(app).zip(credential::cookie_name(app)).ok_or(Trouble::SignIn)?;
        let (value, name) = session;
        Ok(Self { app, cookie: Some(format!("{name}={value}")) })
    }

    /// For a visitor who has just got this one.
    pub(crate) fn signed_in(app: &'a App, session: &str) -> Self {
        Self { app, cookie: credential::cookie_name(app).map(|name| format!("{name}={session}")) }
    }

    /// For a visitor without one.
    pub(crate) fn without_session(app: &'a App) -> Self {
        Self { app, cookie: None }
    }

    /// Ends the session that the browser has, for which no form of ours asks.
    pub(crate) async fn end_session(app: &App) -> Result<(), Trouble> {
        let Some(session) = credential::cookie(app) else { return Ok(()) };
        let api = Api::without_session(app);
        let request = api.change_request(route::LOGOUT, &[], &[], &Form::default());
        let request = request.header(header::AUTHORIZATION, header_value(&format!("Bearer {session}")));
        api.ask(request, Json::Null).await.map(drop)
    }

    /// Reads.
    pub(crate) fn get(&self, route: &Route, names: &[&str], asked: &[(&str, &str)]) -> Asking<'_> {
        let request = self.request(route, names, asked);
        Box::pin(self.ask(request, Json::Null))
    }

    /// Agents and users of the tenant, for the names of ids; those that the visitor may not list are left out.
    pub(crate) async fn known(&self) -> Vec<Json> {
        let most = [("limit", "200")];
        let (agents, users) =
            join(self.get(route::AGENTS_LIST, &[], &most), self.get(route::USERS_LIST, &[], &most)).await;
        [agents, users].into_iter().flatten().flat_map(|list| list.list("items").to_vec()).collect()
    }

    /// Changes something.
    pub(crate) fn change(&self, route: &Route, names: &[&str], change: Change<'_>) -> Asking<'_> {
        self.change_with(route, names, &[], change)
    }

    /// Changes something, with a query.
    pub(crate) fn change_with(
        &self,
        route: &Route,
        names: &[&str],
        asked: &[(&str, &str)],
        change: Change<'_>,
    ) -> Asking<'_> {
        let mut request = self.change_request(route, names, asked, change.form);
        let once = change.form.text("once");
        // What makes something is made once. A state is set again, whatever an old page was answered before.
        let is_state = matches!(route.object, Some(Object::AgentState(_)));
        if route.is_idempotent && !is_state && !once.is_empty() {
            request = request.header("idempotency-key", header_value(once));
        }
        let (form, body) = (change.form.clone(), change.body);
        Box::pin(async move {
            self.prove(&form).await?;
            match self.ask(request, body).await {
                Err(Trouble::Refused(refusal)) if refusal.slug == "reauthentication_required" => {
                    Err(Trouble::Prove(Box::new(Asked { refusal, form })))
                }
                answered => answered.inspect(|answer| form.note_closure(answer.at("closure").text("id"))),
            }
        })
    }

    /// Proves first who the visitor is, where the form has a proof: it was refused before for want of one. A proof that is refused is
    /// asked for again.
    pub(crate) async fn prove(&self, form: &Form) -> Result<(), Trouble> {
        let Some((way, proof)) = form.proof() else { return Ok(()) };
        let request = self.change_request(route::REAUTHENTICATE, &[], &[], form);
        match self.ask(request, json!({ way: proof })).await {
            Ok(_) => Ok(()),
            Err(Trouble::Refused(mut refusal)) => {
                if refusal.next.way.is_empty() {
                    way.clone_into(&mut refusal.next.way);
                }
                Err(Trouble::Prove(Box::new(Asked { refusal, form: form.clone() })))
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// A request that changes something, with what its form and its browser say of where it comes from.
    fn change_request(&self, route: &Route, names: &[&str], asked: &[(&str, &str)], form: &Form) -> Builder {
        let mut request = self.request(route, names, asked);
        request = request.header("x-csrf-token", header_value(&form.csrf(self.app)));
        if let Some(origin) = self.app.headers().first("origin") {
            request = request.header(header::ORIGIN, origin);
        }
        request
    }

    /// Reads what is too long to be held: passes it on piece by piece, as a file of this name. A refusal is read, as always.
    pub(crate) async fn download(
        &self,
        route: &Route,
        names: &[&str],
        asked: &[(&str, &str)],
        (media_type, name): (&'static str, &str),
    ) -> Result<Response, Trouble> {
        let request = self.request(route, names, asked).body(String::new());
        let request = request.map_err(|error| Trouble::Outage(error.to_string()))?;
        let inside::Reply { status, headers, body } = inside::send(request).await.map_err(Trouble::Outage)?;
        if status != StatusCode::OK {
            let bytes = body.collect().await.map_err(|_| Trouble::Outage("an answer broke off".to_owned()))?;
            return self
                .read(status, &headers, &bytes, route.path)
                .and_then(|_| Err(Trouble::Outage(status.to_string())));
        }
        let mut response = service::response::bytes(StatusCode::OK, media_type, body);
        let headers = [
            (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
            (header::CACHE_CONTROL, "no-store".to_owned()),
        ];
        for (name, value) in headers {
            response.headers_mut().insert(name, header_value(&value));
        }
        Ok(response)
    }

    fn request(&self, route: &Route, names: &[&str], asked: &[(&str, &str)]) -> Builder {
        let mut request = inside::request(self.app, route, names, asked);
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, header_value(cookie));
        }
        request
    }

    async fn ask(&self, request: Builder, body: Json) -> Result<Json, Trouble> {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let request = request
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_LENGTH, text.len())
            .body(text)
            .map_err(|error| Trouble::Outage(error.to_string()))?;
        let path = request.uri().path().to_owned();
        let reply = inside::send(request).await.map_err(Trouble::Outage)?;
        let body = reply.body.collect().await.map_err(|_| Trouble::Outage("an answer broke off".to_owned()))?;
        let mut answer = self.read(reply.status, &reply.headers, &body, &path)?;
        // Where the answer is what was changed, or nothing, only the header names what the change has ended.
        if let Some(id) = reply.headers.get(CLOSURE).and_then(|id| id.to_str().ok()) {
            if answer.is_null() {
                answer = json!({});
            }
            if let Some(members) = answer.as_object_mut() {
                members.entry("closure").or_insert_with(|| json!({ "id": id }));
            }
        }
        Ok(answer)
    }

    fn read(&self, status: StatusCode, headers: &HeaderMap, body: &[u8], path: &str) -> Result<Json, Trouble> {
        let json: Json = serde_json::from_slice(body).unwrap_or(Json::Null);
        match status.as_u16() {
            // A list that cannot be read is not an empty one.
            200..=299 if json.is_null() && matches!(body.first(), Some(b'{' | b'[')) => {
                Err(Trouble::Outage(path.to_owned()))
            }
            200..=299 => Ok(json),
            401 if self.cookie.is_some() => Err(Trouble::SignIn),
            // Also 503 in the API's own words: what is missing on this server.
            status @ (400..=499 | 503) if json.is_object() => {
                Err(Trouble::Refused(Refusal::read(status, headers, &json)))
            }
            status => Err(Trouble::Outage(format!("{path} answered {status} {}", json.text("error")))),
        }
    }
}
