//! `/admin/users`: the people of the tenant.

use askama::Template;
use common::{
    error::{ApiError, Code},
    role::Role,
    route,
    text::isolated,
};
use futures_util::future::{join, join5};
use serde_json::{Value as Json, json};
use service::{app::App, extract::Path, response::Response, session::device};

use crate::{
    agents::Secret,
    api::{Api, Change, Members, Refusal, Trouble},
    cookie::{note_shown, was_shown},
    form::Form,
    identities::Identities,
    list::List,
    page::{Shell, answer, answer_form, see, write_with},
    shown::{self, Settings},
    words::{self, Html},
};

const ROLES: [(&str, &str); 4] = [
    (Role::Viewer.as_str(), "Viewer: sees what was shared"),
    (Role::Member.as_str(), "Member: owns agents"),
    (Role::Curator.as_str(), "Curator: a member who also keeps the guides"),
    (Role::Admin.as_str(), "Admin: everything in the tenant"),
];

#[derive(Template)]
#[template(path = "users.html")]
struct UsersPage {
    shell: Shell,
    list: List,
    typed: Form,
    users: Vec<Json>,
    roles: [(&'static str, &'static str); 4],
    has_mail: bool,
}

fn account(user: &Json) -> Html {
    words::state(match (user.is("active"), user.text("last_login_at")) {
        (false, _) => "deactivated",
        (true, "") => "not joined",
        (true, _) => "active",
    })
}

impl UsersPage {
    fn head(&self, text: &str, by: &str) -> Html {
        self.list.head(self.shell.link(), text, by)
    }

    fn account(&self, user: &Json) -> Html {
        account(user)
    }
}

/// `GET /admin/users`.
pub(crate) async fn list(app: App) -> Result<Response, ApiError> {
    answer(&app, show(&app, &Form::default(), None)).await
}

async fn show(app: &App, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let mut list = List::of(app, "/admin/users", &["q", "role", "state"]).sorted("created_at");
    let pairs = list.pairs("25");
    let (shell, page) = join(Shell::load(app, &api, "People", "users"), api.get(route::USERS_LIST, &[], &pairs)).await;
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let (shell, page, refused) = shell?.admins_only()?.with(refusal).with_list(page)?;
    list.found(&page);
    let users = page.list("items").to_vec();
    let has_mail = app.settings().has_mail();
    let page = UsersPage { shell, list, users, roles: ROLES, typed: typed.clone(), has_mail };
    write_with(&page, refused.unwrap_or(status))
}

/// `POST /admin/users`: adds a person, and sets a first password if one was typed.
pub(crate) async fn create(app: App, typed: Form) -> Result<Response, ApiError> {
    answer_form(&app, &typed, async {
        let api = Api::of(&app)?;
        let has_password = !typed.raw("password").is_empty();
        let mut body = typed.body(&["email", "name"], &["role"]);
        body.insert("invite".to_owned(), (!has_password).into());
        let body = body.into();
        let made = match api.change(route::USERS_CREATE, &[], Change { form: &typed, body }).await {
            Ok(made) => made,
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => {
                return show(&app, &typed, Some(refusal)).await;
            }
            Err(trouble) => return Err(trouble),
        };
        let id = made.text("id");
        if !has_password {
            // Nothing could be mailed: the admin hands the link over.
            let by_hand = !made.list("warnings").is_empty();
            return if by_hand {
                show_link(&app, &api, &made, &typed).await
            } else {
                Ok(see(&app, "/admin/users?done=invited"))
            };
        }
        match set_password(&api, id, &typed).await {
            Ok(_) => Ok(see(&app, "/admin/users?done=changed")),
            // The person is there; the password is tried again on their page.
            Err(Trouble::Refused(refusal)) => show_one(&app, id, &Form::default(), Some(refusal)).await,
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

/// Makes the link by which a person sets their password, and shows it, once: an invitation, until they have a password.
async fn show_link(app: &App, api: &Api<'_>, user: &Json, typed: &Form) -> Result<Response, Trouble> {
    let (id, name) = (user.text("id"), isolated(user.text("name")));
    if was_shown(app, typed.text("once")) {
        return Ok(see(app, &format!("/admin/users/{id}?done=shown")));
    }
    let ask = |route| api.change(route, &[id], Change { form: typed, body: Json::Null });
    let (heading, what, made) = match ask(route::USER_INVITE).await {
        Err(Trouble::Refused(refusal)) if refusal.slug == "already_joined" => (
            format!("A link to set a new password for {name}"),
            "It ends all of their sessions when they use it.",
            ask(route::USER_RESET_LINK).await?,
        ),
        made => (format!("An invitation for {name}"), "With it they choose their password.", made?),
    };
    let shown = Secret {
        heading,
        what: what.to_owned(),
        secret: made.text("url").to_owned(),
        use_it: "Hand it over by a way that nobody else can read. It works once.".to_owned(),
        also: None,
        ends: Some(made.text("expires_at").to_owned()),
        may: Vec::new(),
        warnings: Vec::new(),
        back: format!("/admin/users/{id}"),
    };
    shown.show(app, api, "users").await.map(|page| note_shown(app, typed.text("once"), page))
}

/// Mails a person who has not joined yet the invitation once more, and others the link that they could ask for themselves. What was mailed, as
/// the page says it.
async fn mail_link(api: &Api<'_>, id: &str, typed: &Form) -> Result<&'static str, Trouble> {
    match api.change(route::USER_INVITE, &[id], Change { form: typed, body: json!({ "mail": true }) }).await {
        Ok(_) => return Ok("invited-again"),
        Err(Trouble::Refused(refusal)) if refusal.slug == "already_joined" => {}
        Err(trouble) => return Err(trouble),
    }
    let change = Change { form: typed, body: json!({ "mail": true }) };
    api.change(route::USER_RESET_LINK, &[id], change).await.map(|_| "mailed")
}

async fn set_password(api: &Api<'_>, id: &str, typed: &Form) -> Result<Json, Trouble> {
    let body = json!({ "password": typed.raw("password") });
    api.change(route::PASSWORD_SET, &[id], Change { form: typed, body }).await
}

#[derive(Template)]
#[template(path = "user.html")]
struct UserPage {
    shell: Shell,
    typed: Form,
    user: Json,
    account: Html,
    roles: [(&'static str, &'static str); 4],
    agents: Vec<Json>,
    sessions: Vec<Json>,
    /// The address of the admin who deactivated the account; empty: nobody did, or they are gone.
    deactivated_by: String,
    /// There are older sessions than these.
    has_more: bool,
    /// What they have linked at providers.
    identities: Identities,
    /// It is the visitor's own account.
    is_own: bool,
    has_mail: bool,
    shown: Html,
}

/// Sessions of a person that are shown.
const SESSIONS: &str = "10";

/// Fields that give rights.
const GUARDED: &[(&str, &str)] = &[("role", "role"), ("email", "email")];

/// The fields of the forms of a person, as the person is.
fn fields(user: &Json) -> Form {
    Form::of(&["name", "role", "email"].map(|name| (name, user.text(name))))
}

impl UserPage {
    fn device(&self, session: &Json) -> String {
        device(session.text("user_agent"))
    }

    /// Where all credentials of the person are, with a further filter.
    fn credentials(&self, more: &str) -> String {
        let id = self.user.text("id");
        format!("{}/admin/tokens?user={id}{more}", self.shell.link())
    }
}

/// `GET /admin/users/{id}`.
pub(crate) async fn one(app: App, Path(id): Path) -> Result<Response, ApiError> {
    answer(&app, show_one(&app, &id, &Form::default(), None)).await
}

async fn show_one(app: &App, id: &str, typed: &Form, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let (shell, user, agents, sessions, linked) = join5(
        Shell::load(app, &api, "A person", "users"),
        api.get(route::USERS_GET, &[id], &[]),
        api.get(route::AGENTS_LIST, &[], &[("owner", id), ("limit", "100")]),
        api.get(route::USERS_SESSIONS_LIST, &[id], &[("limit", SESSIONS)]),
        Identities::of_user(app, &api, id),
    )
    .await;
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let (shell, user) = (shell?.admins_only()?.with(refusal), user?);
    let shell = shell.called(user.text("name"));
    let agents = agents?.list("items").to_vec();
    let sessions = sessions?;
    let has_more = !sessions.text("next_cursor").is_empty();
    let sessions = sessions.list("items").to_vec();
    let is_own = shell.who.text("user_id") == user.text("id");
    let account = account(&user);
    let has_mail = app.settings().has_mail();
    let shown = shown::field(typed, &fields(&user));
    let deactivated_by = match user.text("deactivated_by") {
        "" => String::new(),
        by => api.get(route::USERS_GET, &[by], &[]).await.unwrap_or_default().text("email").to_owned(),
    };
    write_with(
        &UserPage {
            shell,
            typed: typed.clone(),
            user,
            account,
            roles: ROLES,
            agents,
            sessions,
            deactivated_by,
            has_more,
            identities: linked,
            is_own,
            has_mail,
            shown,
        },
        status,
    )
}

/// `POST /admin/users/{id}/{act}`.
pub(crate) async fn act(app: App, Path(id): Path, Path(act): Path, typed: Form) -> Result<Response, ApiError> {
    if matches!(act.as_str(), "link" | "mail") {
        return answer_form(&app, &typed, help_in(&app, &id, &act, &typed)).await;
    }
    if act == "delete" {
        return answer_form(&app, &typed, delete(&app, &id, &typed)).await;
    }
    if matches!(act.as_str(), "change" | "address") {
        return answer_form(&app, &typed, change(&app, &id, &act, &typed)).await;
    }
    let (route, body, done) = match act.as_str() {
        "password" => (route::PASSWORD_SET, json!({ "password": typed.raw("password") }), "changed"),
        "activate" => (route::USERS_ACTIVATE, Json::Null, "activated"),
        "factor" => (route::USERS_FACTOR, Json::Null, "factor-taken"),
        "unlink" => (route::USERS_IDENTITIES, Json::Null, "unlinked-all"),
        "deactivate" => (route::USERS_DEACTIVATE, Json::Null, "deactivated"),
        "end-session" => (route::USERS_END_SESSION, Json::Null, "ended"),
        "end-sessions" => (route::USERS_END_SESSIONS, Json::Null, "ended-all"),
        _ => return Err(Code::NotFound.into()),
    };
    answer_form(&app, &typed, async {
        match Api::of(&app)?.change(route, &[&id, typed.text("session")], Change { form: &typed, body }).await {
            Ok(_) => Ok(see(&app, &format!("/admin/users/{id}?done={done}"))),
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => {
                show_one(&app, &id, &typed, Some(refusal)).await
            }
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

/// Name and role, or the address.
async fn change(app: &App, id: &str, act: &str, typed: &Form) -> Result<Response, Trouble> {
    let (is_address, done) = (act == "address", if act == "address" { "address-changed" } else { "changed" });
    let api = Api::of(app)?;
    let now = fields(&api.get(route::USERS_GET, &[id], &[]).await?);
    let body =
        |typed: &Form| Ok(if is_address { typed.body(&["email"], &[]) } else { typed.body(&["name"], &["role"]) });
    let settings = Settings { route: route::USERS_PATCH, names: &[id], now: &now, guarded: GUARDED };
    match settings.send(&api, typed, body).await {
        // An admin no more would be refused there.
        Ok(Some(user)) if typed.is("own", "yes") && user.text("role") != "admin" => Ok(see(app, "/?done=own-role")),
        Ok(_) => Ok(see(app, &format!("/admin/users/{id}?done={done}"))),
        Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => {
            show_one(app, id, &settings.again(typed, &refusal), Some(refusal)).await
        }
        Err(trouble) => Err(trouble),
    }
}

/// The end of a person, with what the form says of their agents.
async fn delete(app: &App, id: &str, typed: &Form) -> Result<Response, Trouble> {
    let to = format!("transfer:{}", typed.text("to"));
    let agents = match typed.text("agents") {
        "" => Vec::new(),
        "transfer" => vec![("agents", to.as_str())],
        other => vec![("agents", other)],
    };
    let change = Change { form: typed, body: Json::Null };
    let outcome = if typed.is("agents", "archive") && !typed.text("to").is_empty() {
        let fix = "Choose “Give them away”, or leave the field empty to archive them.";
        Err(Refusal::of_field("to", "A new owner was named, but “Archive them” is ticked. Nobody was deleted.", fix))
    } else {
        Api::of(app)?.change_with(route::USERS_DELETE, &[id], &agents, change).await
    };
    match outcome {
        Ok(_) => Ok(see(app, "/admin/users?done=person-deleted")),
        Err(Trouble::Refused(mut refusal)) if refusal.is_for_the_form() || refusal.slug == "owner_not_found" => {
            // The API has one field for the choice and for the person.
            if matches!(refusal.slug.as_str(), "owner_not_found" | "validation_error") {
                let problem = "must be the address of an active person who may own agents".to_owned();
                refusal.fields = vec![("to".to_owned(), problem)];
            }
            show_one(app, id, typed, Some(refusal)).await
        }
        Err(trouble) => Err(trouble),
    }
}

/// Ways in for a person who has none: a link to hand over, or one by mail.
async fn help_in(app: &App, id: &str, act: &str, typed: &Form) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let done = if act == "mail" {
        mail_link(&api, id, typed).await.map(|done| see(app, &format!("/admin/users/{id}?done={done}")))
    } else {
        let user = api.get(route::USERS_GET, &[id], &[]).await?;
        show_link(app, &api, &user, typed).await
    };
    match done {
        Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => show_one(app, id, typed, Some(refusal)).await,
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Visitor;

    /// R730: before a person is deactivated it is said how many agents stop with them.
    #[tokio::test]
    async fn a_deactivation_says_how_many_agents_it_is_about() {
        for (agents, said) in [(0, None), (1, Some("Meanwhile 1 agent of")), (24, Some("Meanwhile 24 agents of"))] {
            let visitor = Visitor::new(move |_, path| match path {
                "/api/overview" => (200, json!({ "caller": { "role": "admin", "email": "ada@example.com" } })),
                "/api/users/usr_1" => (200, json!({ "id": "usr_1", "name": "Max", "active": true })),
                "/api/agents" => (200, json!({ "items": vec![json!({ "name": "one" }); agents] })),
                _ => (200, json!({ "items": [] })),
            });
            let html = visitor.open("/admin/users/usr_1").await.text;
            assert_eq!(html.contains("Meanwhile "), said.is_some(), "{html}");
            assert!(html.contains(said.unwrap_or("Deactivate…")), "{html}");
        }
    }

    /// R670: a person's page says who deactivated them; an admin that makes themselves none is told so; a refused form says so first.
    #[tokio::test]
    async fn what_was_done_to_a_person_is_said() {
        let visitor = Visitor::new(|method, path| match (method, path) {
            (_, "/api/overview") => (200, json!({ "caller": { "role": "admin", "email": "ada@example.com" } })),
            ("PATCH", "/api/users/usr_1") => (200, json!({ "role": "member" })),
            (_, "/api/users/usr_1") => {
                let at = "2026-01-02T03:04:05.000Z";
                (200, json!({ "id": "usr_1", "deactivated_at": at, "deactivated_by": "usr_2", "role": "admin" }))
            }
            (_, "/api/users/usr_2") => (200, json!({ "email": "noor@example.com" })),
            (_, "/api/users/usr_1/sessions") => (200, json!({ "items": [{ "id": "tok_1" }] })),
            ("POST", _) => (400, json!({ "error": "weak_password", "detail": "Weak.", "fix": "Another." })),
            _ => (200, json!({ "items": [] })),
        });
        let html = visitor.open("/admin/users/usr_1").await.text;
        assert!(html.contains("</time> by noor") && html.contains("mono\">unknown<"), "{html}");
        // R677: also what they made for others' agents, which goes on.
        let made = visitor.open("/admin/tokens?minted_by=usr_1&status=active").await.text;
        assert!(
            html.contains("/admin/tokens?minted_by=usr_1&amp;status=active\"") && made.contains("name=\"minted_by\""),
            "{made}"
        );
        let own = visitor.send("/admin/users/usr_1/change", &[("own", "yes"), ("role", "member")]).await;
        assert_eq!(own.header("location"), "/?done=own-role", "{}", own.text);
        let refused = visitor.send("/admin/users/usr_1/password", &[("password", "one")]).await;
        assert!(refused.text.contains("<title>Error: "), "{}", refused.text);
    }
}
