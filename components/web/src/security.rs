//! `/security`: how the visitor signs in. Their second factor, sessions, address and password.

use askama::Template;
use common::{error::ApiError, route};
use futures_util::future::{join, join5};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value as Json, json};
use service::{app::App, extract::Path, response::Response, session::device};

use crate::{
    api::{Api, Change, Members, Refusal, Trouble},
    cookie::{note_shown, was_shown},
    form::{Form, local, query},
    home_tenant::at,
    identities::Identities,
    links::unnamed,
    list::List,
    page::{Shell, answer, answer_form, see, write, write_with},
    qr,
    shown::{self, Settings},
    words::{self, Html},
};

/// The sessions' form that ends all others names this instead of an id.
const OTHERS: &str = "others";

/// The kinds of mail that people choose, by their names at the API.
const MAILS: [(&str, &str, &str); 5] = [
    ("access_requests", "Access requests", "an agent asks for more than it may do"),
    ("leaks", "Leaks", "a credential was reported as leaked"),
    ("expiring", "Credentials that end", "a token or a key ends within a week"),
    ("silent_agents", "Silent agents", "an agent of yours has sent no heartbeat for longer than its settings allow"),
    ("new_sign_ins", "New sign-ins", "you sign in with a device or from a network that you have not used lately"),
];

#[derive(Template)]
#[template(path = "security.html")]
struct SecurityPage {
    shell: Shell,
    factor: Json,
    sessions: Vec<Json>,
    /// The pages of sessions.
    list: List,
    identities: Identities,
    /// Which mails the visitor gets; null where that cannot be had.
    mails: Json,
    /// Their address, and the one that waits to be confirmed; null where that cannot be had.
    address: Json,
    /// What was typed: a name, or an address.
    typed: Form,
    /// Whether this server mails the link that confirms one.
    has_mail: bool,
    /// The page that waits for the second factor; empty: none does.
    next: String,
}

impl SecurityPage {
    /// Which mails are chosen now.
    fn shown(&self) -> Html {
        let chosen = MAILS.iter().filter(|(name, ..)| self.mails.is(name)).map(|(name, ..)| ("mail", *name));
        shown::field(&Form::default(), &Form::of(&chosen.collect::<Vec<_>>()))
    }

    /// What a browser calls itself is long: the word that tells it from others.
    fn device(&self, session: &Json) -> String {
        device(session.text("user_agent"))
    }

    /// Whether the visitor can do nothing else before they have set a second factor up.
    fn must_set_up(&self) -> bool {
        self.factor.is("demanded") && !self.factor.is("enabled")
    }
}

/// The page that waits for the visitor's second factor, as the address names it, or a form of the setup; empty: none does.
fn waiting(app: &App, typed: &Form) -> String {
    let asked = Form::query(app);
    Some(typed.or("back", asked.text("next"))).filter(|next| !next.is_empty()).map_or("", local).to_owned()
}

/// `GET /profile`.
pub(crate) async fn profile(app: App) -> Result<Response, ApiError> {
    Ok(see(&app, "/security"))
}

/// `GET /security`.
pub(crate) async fn get(app: App) -> Result<Response, ApiError> {
    answer(&app, show(&app, None, &Form::default())).await
}

async fn show(app: &App, refusal: Option<Refusal>, typed: &Form) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let mut list = List::of(app, "/security", &[]).within("#sessions");
    let page_of_sessions = list.pairs("15");
    let own = join(api.get(route::NOTIFICATIONS_PREFERENCES, &[], &[]), api.get(route::EMAIL, &[], &[]));
    let (shell, factor, sessions, identities, (mails, address)) = join5(
        Shell::load(app, &api, "Security", "security"),
        api.get(route::FACTOR, &[], &[]),
        api.get(route::SESSIONS_LIST, &[], &page_of_sessions),
        Identities::load(app, &api),
        own,
    )
    .await;
    let code = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let sessions = match sessions {
        // Somebody who must set a second factor up first sees nothing else.
        Err(Trouble::Refused(refusal)) if refusal.slug == "second_factor_setup_required" => Json::Null,
        sessions => sessions?,
    };
    list.found(&sessions);
    let sessions = own_first(&api, list.is_first(), sessions.list("items").to_vec()).await;
    let page = SecurityPage {
        shell: shell?.with(refusal),
        factor: factor?,
        sessions,
        list,
        identities,
        mails: mails.unwrap_or_default(),
        address: address.unwrap_or_default(),
        typed: typed.clone(),
        has_mail: app.settings().has_mail(),
        next: waiting(app, typed),
    };
    write_with(&page, code)
}

/// The sessions of a page, the visitor's own one first: on the first page also where many are newer.
async fn own_first(api: &Api<'_>, is_first: bool, mut sessions: Vec<Json>) -> Vec<Json> {
    let is_own = |session: &Json| session.is("current");
    if is_first && !sessions.is_empty() && !sessions.iter().any(is_own) {
        // Without it the page is what it was.
        let more = api.get(route::SESSIONS_LIST, &[], &[("limit", "200")]).await.unwrap_or_default();
        sessions.extend(more.list("items").iter().find(|session| is_own(session)).cloned());
    }
    sessions.sort_by_key(|session| !is_own(session));
    sessions
}

/// The page once more, with a note.
async fn again(app: &App, trouble: Trouble, typed: &Form) -> Result<Response, Trouble> {
    match trouble {
        Trouble::Refused(refusal) if refusal.is_for_the_form() => show(app, Some(refusal), typed).await,
        trouble => Err(trouble),
    }
}

/// `POST /security/{act}`.
pub(crate) async fn act(app: App, Path(act): Path, typed: Form) -> Result<Response, ApiError> {
    let act = act.as_str();
    answer_form(&app, &typed, async {
        let api = Api::of(&app)?;
        if matches!(act, "confirm" | "codes") && was_shown(&app, typed.text("once")) {
            return Ok(see(&app, "/security?done=shown"));
        }
        let (row, body) = match act {
            "begin" => (route::FACTOR_BEGIN, Json::Null),
            "confirm" => (route::FACTOR_CONFIRM, json!({ "code": typed.text("code") })),
            "codes" => (route::FACTOR_CODES, Json::Null),
            "remove" => (route::FACTOR_REMOVE, Json::Null),
            "name" => (route::NAME_CHANGE, json!({ "name": typed.text("name") })),
            "ask-address" => (route::EMAIL_ASK, json!({ "email": typed.text("email") })),
            "withdraw-address" => (route::EMAIL_WITHDRAW, Json::Null),
            "confirm-address" => (route::EMAIL_CONFIRM, json!({ "code": typed.text("code") })),
            _ => {
                let refusal =
                    Refusal::own(404, "This path does not exist.", "Go back, and choose a button of the page.");
                return Err(Trouble::Refused(refusal));
            }
        };
        let changed = match api.change(row, &[], Change { form: &typed, body }).await {
            Ok(changed) => changed,
            // A visitor who has scanned it badly scans it once more: the form has kept it.
            Err(Trouble::Refused(refusal)) if act == "confirm" && refusal.slug == "wrong_code" => {
                let begun = json!({ "secret": typed.text("seed").replace(' ', ""), "uri": typed.text("uri") });
                // Recovery codes come with the second factor.
                let fix = "Type the next code that the app shows. If it is refused too, set the clock of the device.";
                let mut refusal = refusal;
                fix.clone_into(&mut refusal.fix);
                refusal.fields = vec![("code".to_owned(), fix.to_owned())];
                return show_secret(&app, &api, begun, (&typed, Some(refusal))).await;
            }
            Err(Trouble::Refused(mut refusal)) if act == "confirm-address" => {
                // There is no field for another one.
                if refusal.slug == "email_taken" {
                    refusal.fix =
                        "Ask for a mail to another address under Security, or ask an admin of your tenant.".to_owned();
                    refusal.fields.clear();
                }
                return show_address(&app, &typed, Some(refusal)).await;
            }
            Err(trouble) => return again(&app, trouble, &typed).await,
        };
        let done = match act {
            "begin" => return show_secret(&app, &api, changed, (&typed, None)).await,
            "confirm" | "codes" => return show_codes(&app, &api, &changed, (&typed, act == "confirm")).await,
            "remove" => "factor-removed",
            "name" => "own-name",
            "ask-address" => "address-asked",
            "withdraw-address" => "address-withdrawn",
            _ => "own-address",
        };
        Ok(see(&app, &format!("/security?done={done}")))
    })
    .await
}

#[derive(Template)]
#[template(path = "address.html")]
struct AddressPage {
    shell: Shell,
    code: String,
    /// The address that waits to be confirmed; empty: none of this visitor's does.
    email: String,
    /// The code opens nothing any more.
    is_closed: bool,
}

/// `GET /security/address`. Opening it spends nothing, since scanners of mail open links too: only its form does.
pub(crate) async fn address(app: App) -> Result<Response, ApiError> {
    answer(&app, async {
        let asked = Form::query(&app);
        match show_address(&app, &asked, None).await {
            // The code stays out of the address to which a sign-in leads, and so out of what that keeps and mails.
            Err(Trouble::SignIn) => {
                Ok(see(&app, &at("/login", &asked, &[("done", "address-waits"), ("next", "/security")])))
            }
            shown => shown,
        }
    })
    .await
}

async fn show_address(app: &App, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let (shell, own) =
        join(Shell::load(app, &api, "Your new address", "security"), api.get(route::EMAIL, &[], &[])).await;
    let own = own?;
    let (code, email) = (typed.text("code").to_owned(), own.at("pending").text("email").to_owned());
    let is_closed = code.is_empty() || email.is_empty() || refusal.as_ref().is_some_and(|no| no.slug == "invalid_code");
    let refusal = match refusal {
        Some(refusal) if !is_closed => Some(refusal),
        _ if is_closed => {
            let fix = format!(
                "It has ended, was used or withdrawn, a newer one took its place, or it is for somebody else than {}.",
                own.text("email")
            );
            Some(Refusal::own(if code.is_empty() { 400 } else { 410 }, "This link does not work any more.", &fix))
        }
        _ => None,
    };
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let page = AddressPage { shell: shell?.with(refusal), code, email, is_closed };
    Ok(unnamed(write_with(&page, status)?))
}

#[derive(Template)]
#[template(path = "factor.html")]
struct FactorPage {
    shell: Shell,
    /// The secret in groups of four; empty where the form before did not have it.
    secret: String,
    uri: String,
    code: Option<Html>,
    /// The page that waits for it; empty: none does.
    next: String,
}

impl FactorPage {
    /// The page that leaves the setup, which goes on to know what waits for it.
    fn leave(&self) -> String {
        if self.next.is_empty() {
            "/security".to_owned()
        } else {
            format!("/security?{}", query(&[("next", &self.next)]))
        }
    }
}

async fn show_secret(
    app: &App,
    api: &Api<'_>,
    begun: Json,
    (typed, refusal): (&Form, Option<Refusal>),
) -> Result<Response, Trouble> {
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let shell = Shell::load(app, api, "Second factor", "security").await?.with(refusal);
    let letters: Vec<char> = begun.text("secret").chars().collect();
    let secret = letters.chunks(4).map(|four| four.iter().collect::<String>()).collect::<Vec<_>>().join(" ");
    // A form brings it back: no other kind of link comes of it.
    let uri = Some(begun.text("uri")).filter(|uri| uri.starts_with("otpauth://totp/")).unwrap_or_default().to_owned();
    let code = Some(&uri).filter(|uri| !uri.is_empty()).and_then(|uri| qr::svg(uri, "The secret as a QR code"));
    write_with(&FactorPage { shell, secret, uri, code, next: waiting(app, typed) }, status)
}

#[derive(Template)]
#[template(path = "recovery.html")]
struct RecoveryPage {
    shell: Shell,
    codes: Vec<String>,
    /// The second factor was confirmed by the same form.
    is_first: bool,
    /// The page that waited for it; empty: none did.
    next: String,
}

impl RecoveryPage {
    /// The day on which they were made.
    fn day(&self) -> String {
        self.shell.now.to_string().chars().take(10).collect()
    }

    /// The codes as a file, in the page itself: no address of the server has them, and no script is needed.
    fn file(&self) -> String {
        let (email, tenant, day) = (self.shell.who.text("email"), self.shell.tenant_name(), self.day());
        let codes: String = self.codes.iter().map(|code| format!("{code}\r\n")).collect();
        let text = format!(
            "Recovery codes of Accredit\r\n{email} at {tenant}\r\nMade on {day}\r\n\r\nEach of them lets you in once, without the app.\r\n\r\n{codes}"
        );
        format!("data:text/plain;charset=utf-8,{}", utf8_percent_encode(&text, NON_ALPHANUMERIC))
    }
}

async fn show_codes(
    app: &App,
    api: &Api<'_>,
    shown: &Json,
    (typed, is_first): (&Form, bool),
) -> Result<Response, Trouble> {
    let shell = Shell::load(app, api, "Recovery codes", "security").await?;
    let codes = shown.words("recovery_codes").into_iter().map(str::to_owned).collect();
    let page = write(&RecoveryPage { shell, codes, is_first, next: waiting(app, typed) })?;
    Ok(note_shown(app, typed.text("once"), page))
}

/// `POST /sessions/{id}/end`: one of them, or all others.
pub(crate) async fn end_session(app: App, Path(id): Path, typed: Form) -> Result<Response, ApiError> {
    answer_form(&app, &typed, async {
        let api = Api::of(&app)?;
        let change = Change { form: &typed, body: Json::Null };
        let ended = match id.as_str() {
            OTHERS => api.change(route::SESSIONS_END_OTHERS, &[], change).await,
            id => api.change(route::SESSION_END, &[id], change).await,
        };
        match ended {
            Ok(_) => Ok(see(&app, "/security?done=ended")),
            Err(trouble) => again(&app, trouble, &typed).await,
        }
    })
    .await
}

/// `POST /profile/mails`: a box that is not ticked turns its kind off.
pub(crate) async fn choose_mails(app: App, typed: Form) -> Result<Response, ApiError> {
    answer_form(&app, &typed, async {
        let body = |typed: &Form| {
            let chosen = typed.all("mail");
            Ok(MAILS.iter().map(|(name, ..)| ((*name).to_owned(), Json::from(chosen.contains(name)))).collect())
        };
        let now = Form::default();
        let settings = Settings { route: route::NOTIFICATIONS_PREFER, names: &[], now: &now, guarded: &[] };
        match settings.send(&Api::of(&app)?, &typed, body).await {
            Ok(_) => Ok(see(&app, "/security?done=changed")),
            Err(trouble) => again(&app, trouble, &typed).await,
        }
    })
    .await
}

/// `POST /profile/password`.
pub(crate) async fn change_password(app: App, typed: Form) -> Result<Response, ApiError> {
    answer_form(&app, &typed, async {
        let mut body = json!({ "new": typed.raw("new") });
        if let (Some(members), false) = (body.as_object_mut(), typed.raw("current").is_empty()) {
            members.insert("current".to_owned(), typed.raw("current").into());
        }
        let changed = Api::of(&app)?.change(route::PASSWORD_CHANGE, &[], Change { form: &typed, body }).await;
        match changed {
            Ok(_) => Ok(see(&app, "/security?done=password")),
            Err(trouble) => again(&app, trouble, &typed).await,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;
    use crate::testing::Visitor;

    fn visitor(sessions: usize) -> Visitor {
        let own = json!({ "id": "tok_own", "user_agent": "curl", "current": true });
        let others = (1..sessions).map(|number| json!({ "id": format!("tok_{number}"), "user_agent": "curl" }));
        let all: Vec<Json> = others.chain([own]).collect();
        let asked = Cell::new(false);
        Visitor::new(move |_, path| match path {
            "/api/overview" => {
                (200, json!({ "caller": { "role": "member", "scope": ["*"], "email": "ada@example.com" } }))
            }
            // The newest alone are on its first page.
            "/auth/sessions" if !asked.replace(true) => (200, json!({ "items": &all[..all.len().min(15)] })),
            "/auth/sessions" => (200, json!({ "items": all })),
            "/auth/email" => (200, json!({ "email": "ada@example.com", "pending": { "email": "new@example.com" } })),
            "/auth/email/confirm" => (409, json!({ "error": "email_taken", "fix": "GET /api/users lists them." })),
            _ => (200, json!({})),
        })
    }

    /// R648: the visitor's own session stands first.
    #[tokio::test]
    async fn the_own_session_stands_first() {
        let html = visitor(20).open("/security").await.text;
        let (before, _) = html.split_once(">this one<").expect("their own session");
        assert_eq!(before.matches("data-label=\"Signed in\"").count(), 0, "{html}");
    }

    /// R712: where nobody signs in through a provider, no form links one, and the page says why.
    #[tokio::test]
    async fn no_form_links_where_nobody_signs_in_so() {
        for (ways, is_there) in [(json!(["password"]), false), (json!(["password", "oidc"]), true)] {
            let visitor = Visitor::new(move |_, path| match path {
                "/auth/sessions" => (200, json!({ "items": [{ "id": "tok_own", "current": true }] })),
                "/auth/oidc" => (200, json!({ "items": [{ "name": "acme", "label": "Acme" }] })),
                "/api/tenant" => (200, json!({ "slug": "main", "name": "Main", "ways": ways })),
                _ => (200, json!({})),
            });
            let html = visitor.open("/security").await.text;
            assert_eq!(html.contains("/profile/identities/acme/link"), is_there, "{html}");
            assert_eq!(html.contains("Nobody signs in to Main through a provider"), !is_there, "{html}");
        }
    }

    /// R649: where there is no field for another address, nobody is told to type one.
    #[tokio::test]
    async fn a_taken_address_names_what_there_is_to_do() {
        let code = "A".repeat(43);
        let sent = visitor(1).send("/security/confirm-address", &[("code", &code)]).await;
        assert_eq!(sent.status.as_u16(), 409);
        assert!(
            sent.text.contains("Ask for a mail to another address") && !sent.text.contains("under People"),
            "{}",
            sent.text
        );
    }

    /// R661: a form whose answer has shown a secret, and that a reload sends again, makes no other one in its place.
    #[tokio::test]
    async fn a_reload_ends_no_secret_that_was_shown() {
        for (path, made) in [
            ("/security/codes", "/auth/factor/recovery-codes"),
            ("/security/confirm", "/auth/factor/confirm"),
            ("/admin/users/usr_1/link", "/api/users/usr_1/reset-password"),
            ("/admin/users", "/api/users/usr_1/reset-password"),
        ] {
            let times = Rc::new(Cell::new(0));
            let seen = Rc::clone(&times);
            let visitor = Visitor::new(move |_, path| {
                seen.set(seen.get() + u32::from(path == made));
                match path {
                    "/api/overview" => (200, json!({ "caller": { "role": "admin", "scope": ["*"] } })),
                    "/api/users" | "/api/users/usr_1" => (200, json!({ "id": "usr_1", "warnings": ["no mail"] })),
                    "/api/users/usr_1/invite" => (409, json!({ "error": "already_joined" })),
                    _ => (200, json!({ "recovery_codes": ["one-secret"], "url": "one-secret" })),
                }
            });
            let fields = [("once", "req_one"), ("code", "123456")];
            let first = visitor.send(path, &fields).await;
            assert!(first.text.contains("one-secret"), "{path}: {}", first.text);
            let cookie = first.header("set-cookie");
            let again = visitor.send_with(cookie, path, &fields).await;
            assert_eq!((again.status.as_u16(), times.get()), (303, 1), "{path}");
            assert!(again.header("location").ends_with("?done=shown"), "{path}: {}", again.header("location"));
            // A form that a new page has makes a new one.
            visitor.send_with(cookie, path, &[("once", "req_two"), ("code", "123456")]).await;
            assert_eq!(times.get(), 2, "{path}");
        }
    }

    /// R667: the page that asks for a proof says whose, also to what keeps the passwords of several accounts.
    #[tokio::test]
    async fn a_proof_names_the_account() {
        let visitor = Visitor::new(|_, path| match path {
            "/api/auth/whoami" => (200, json!({ "email": "ada@example.com", "tenant": "northwind" })),
            "/auth/factor/recovery-codes" => (403, json!({ "error": "reauthentication_required", "way": "password" })),
            _ => (200, json!({})),
        });
        let html = visitor.send("/security/codes", &[("once", "req_one")]).await.text;
        assert!(html.contains("for <b>ada@example.com</b> at northwind"), "{html}");
        assert!(html.contains("value=\"ada@example.com\" autocomplete=\"username\" hidden>"), "{html}");
    }
}
