//! `/admin/outbox`: mails of the tenant, and what its webhooks are sent: what waits, what failed and why, to send it again. No text of a mail is
//! here, and no code: the API gives none.

use askama::Template;
use common::{
    error::{ApiError, Code},
    route,
};
use futures_util::future::{join, join_all, join3};
use serde_json::Value as Json;
use service::{app::App, extract::Path, response::Response};

use crate::{
    api::{Api, Change, Members, Refusal, Trouble},
    form::Form,
    list::List,
    page::{Shell, answer, answer_form, see_done, write_with},
    webhooks::{outcome, told},
    words::{self, Html},
};

const PATH: &str = "/admin/outbox";
/// Webhooks of which deliveries are shown, and of each so many.
const WEBHOOKS: usize = 5;
const DELIVERIES: usize = 5;
/// Deliveries among which those are that were tried: the newest ones wait behind them.
const LOOKED_AT: &str = "50";

/// What a mail is about.
const KINDS: [(&str, &str); 22] = [
    ("access_request", "An agent asks for access"),
    ("app_let_in", "An app was let in"),
    ("email_changed", "The address was changed"),
    ("expiring", "A credential ends soon"),
    ("factor_added", "A second factor was set up"),
    ("factor_removed", "The second factor was removed"),
    ("identity_linked", "A sign-in was linked"),
    ("identity_unlinked", "A sign-in was unlinked"),
    ("invite", "An invitation"),
    ("leak", "A credential was leaked"),
    ("link", "A link to sign in"),
    ("new_address", "A new address to confirm"),
    ("new_sign_in", "A new sign-in"),
    ("password_changed", "The password was changed"),
    ("recovery_code_used", "A recovery code was used"),
    ("recovery_codes_replaced", "New recovery codes were made"),
    ("reset", "A link to set a password"),
    ("role_lowered", "The role was lowered"),
    ("role_raised", "The role was raised"),
    ("silent", "An agent has gone silent"),
    ("token_made", "A token was made"),
    ("test", "A test"),
];

type Failing = (Json, Vec<Json>, usize);

#[derive(Template)]
#[template(path = "outbox.html")]
struct OutboxPage {
    shell: Shell,
    list: List,
    mails: Vec<Json>,
    /// The states of which there are more than are shown; only without a filter.
    more: Vec<(&'static str, &'static str)>,
    has_mail: bool,
    /// Webhooks that fail, each with the deliveries that were tried, and how many wait behind them.
    failing: Vec<Failing>,
    /// How many more of them there are.
    others: usize,
}

impl OutboxPage {
    fn about(&self, mail: &Json) -> String {
        KINDS
            .iter()
            .find(|(kind, _)| *kind == mail.text("kind"))
            .map_or(mail.text("kind"), |(_, about)| about)
            .to_owned()
    }

    fn state(&self, one: &Json) -> Html {
        words::state(match one.text("state") {
            "due" => "waits",
            "dead" => "failed",
            other => other,
        })
    }

    fn told(&self, delivery: &Json) -> String {
        told(delivery.text("kind")).to_owned()
    }

    fn outcome(&self, delivery: &Json) -> String {
        outcome(delivery)
    }
}

/// `GET /admin/outbox`.
pub(crate) async fn list(app: App) -> Result<Response, ApiError> {
    answer(&app, show(&app, None)).await
}

async fn show(app: &App, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let mut list = List::of(app, PATH, &["state", "q"]);
    let pairs = list.pairs("25");
    let mails = async {
        if !list.asked.text("state").is_empty() {
            return (api.get(route::MAIL_OUTBOX, &[], &pairs).await, Vec::new());
        }
        unsettled(&api, list.asked.text("q")).await
    };
    let (shell, (mails, more), (failing, others)) =
        join3(Shell::load(app, &api, "Outbox", "outbox"), mails, failing(&api)).await;
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let (shell, mails, refused) = shell?.admins_only()?.with(refusal).with_list(mails)?;
    list.found(&mails);
    let mails = mails.list("items").to_vec();
    let page = OutboxPage { shell, list, mails, more, has_mail: app.settings().has_mail(), failing, others };
    write_with(&page, refused.unwrap_or(status))
}

/// The mails that failed and those that wait, and of which of both there are more.
async fn unsettled(api: &Api<'_>, q: &str) -> (Result<Json, Trouble>, Vec<(&'static str, &'static str)>) {
    let of = |state| api.get(route::MAIL_OUTBOX, &[], &[("state", state), ("q", q), ("limit", "25")]);
    let (dead, due) = match join(of("dead"), of("due")).await {
        (Ok(dead), Ok(due)) => (dead, due),
        (Err(trouble), _) | (_, Err(trouble)) => return (Err(trouble), Vec::new()),
    };
    let mut more = Vec::new();
    let all: Vec<&Json> = dead.list("items").iter().chain(due.list("items")).collect();
    for (list, state, text) in [(&dead, "dead", "All that failed"), (&due, "due", "All that wait")] {
        if !list.text("next_cursor").is_empty() {
            more.push((state, text));
        }
    }
    (Ok(serde_json::json!({ "items": all })), more)
}

/// Webhooks that fail, or were turned off since they failed, with what waits for them and what was given up; and how many more there are. What
/// the visitor may not read is not here.
async fn failing(api: &Api<'_>) -> (Vec<Failing>, usize) {
    let all = api.get(route::WEBHOOKS_LIST, &[], &[("limit", "200")]).await.unwrap_or_default();
    let fails = |one: &&Json| !one.text("failing_since").is_empty() || !one.text("why").is_empty();
    let failing: Vec<&Json> = all.list("items").iter().filter(fails).collect();
    let shown = failing.iter().take(WEBHOOKS).map(async |webhook| {
        let id = [webhook.text("id")];
        let of = |state| api.get(route::DELIVERIES_LIST, &id, &[("state", state), ("limit", LOOKED_AT)]);
        let (dead, due) = join(of("dead"), of("due")).await;
        let rows = [dead, due].into_iter().flatten().flat_map(|list| list.list("items").to_vec());
        let (mut tried, behind): (Vec<Json>, Vec<Json>) = rows.partition(|one| one.number("tries") > 0);
        tried.truncate(DELIVERIES);
        ((*webhook).clone(), tried, behind.len())
    });
    (join_all(shown).await, failing.len().saturating_sub(WEBHOOKS))
}

/// `POST /admin/outbox/{id}/{act}`: sends a mail again that was given up.
pub(crate) async fn act(app: App, Path(id): Path, Path(act): Path, typed: Form) -> Result<Response, ApiError> {
    if act != "retry" {
        return Err(Code::NotFound.into());
    }
    answer_form(&app, &typed, async {
        match Api::of(&app)?.change(route::MAIL_RETRY, &[&id], Change { form: &typed, body: Json::Null }).await {
            Ok(_) => Ok(see_done(&app, &typed, PATH, "mailed-again")),
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => show(&app, Some(refusal)).await,
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use common::time::Timestamp;
    use serde_json::json;

    use super::KINDS;
    use crate::{testing::Visitor, words};

    /// An admin of a tenant with mails in each state, and with a webhook that fails and one that does not.
    fn visitor() -> Visitor {
        let at = "2026-01-02T03:00:00.000Z";
        Visitor::new(move |_, path| {
            let mail = |id, state, due: Option<&str>| json!({ "id": id, "kind": "invite", "recipient": "max@example.com", "state": state, "tries": 8, "last_error": "status 550", "created_at": at, "due_at": due });
            let body = match path {
                "/api/overview" => json!({ "caller": { "role": "admin", "scope": ["*"], "csrf_token": "c" } }),
                "/api/mail/outbox" => {
                    json!({ "items": [mail("out_1", "dead", None), mail("out_2", "due", Some("2026-01-02T03:20:00.000Z"))] })
                }
                "/api/webhooks" => json!({ "items": [
                    { "id": "whk_1", "name": "desk", "url": "https://a.example", "state": "active", "failing_since": at },
                    { "id": "whk_2", "name": "fine", "url": "https://b.example", "state": "active" },
                ] }),
                "/api/webhooks/whk_1/deliveries" => {
                    json!({ "items": [{ "id": "del_1", "kind": "agent.stopped", "state": "due", "tries": 3, "status": 500, "due_at": at, "created_at": at },
                        { "id": "del_2", "kind": "agent.stopped", "state": "due", "tries": 0, "due_at": at, "created_at": at }] })
                }
                "/api/mail/outbox/out_1/retry" => json!({ "id": "out_1", "state": "due" }),
                _ => json!({}),
            };
            (200, body)
        })
    }

    /// R278: what waits and what failed is told with why, and each can be sent again that the API sends again.
    #[tokio::test]
    async fn the_outbox_says_what_waits_and_what_failed() {
        let visitor = visitor();
        let page = visitor.open("/admin/outbox").await;
        let html = &page.text;
        for part in [
            "An invitation",
            "max@example.com",
            "status 550",
            "next try <time",
            ">desk</a>",
            "fails since <time",
            "500",
            "2 more wait behind",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains(">fine<") && !html.contains("/api/mail"), "{html}");
        assert_eq!(html.matches("/admin/webhooks/whk_1/retry").count(), 2, "of both states of the webhook: {html}");
        let sent = visitor.send("/admin/outbox/out_1/retry", &[("csrf", "c")]).await;
        assert_eq!(sent.header("location"), "/admin/outbox?done=mailed-again");
        assert_eq!(visitor.send("/admin/outbox/out_1/read", &[("csrf", "c")]).await.status.as_u16(), 404);
    }

    /// R338: what has been due for a while is due now.
    #[test]
    fn what_is_overdue_is_due_now() {
        let now = Timestamp::parse("2026-01-02T03:10:00.000Z").unwrap();
        for (at, words) in [("2026-01-02T03:00:00.000Z", ">now<"), ("2026-01-02T03:20:00.000Z", ">in 10 min<")] {
            let html = words::due(now, at).0;
            assert!(html.contains(words) && html.contains(" data-due ") && html.contains(at), "{html}");
        }
    }

    /// R278: each kind of mail that the manual lists is told in words.
    #[test]
    fn every_kind_of_mail_has_words() {
        let manual = include_str!("../../../docs/agents/concepts/mail.md");
        let (_, table) = manual.split_once("| kind | to | when |\n|---|---|---|\n").unwrap();
        let rows = table.lines().map_while(|line| line.strip_prefix("| `")?.split_once('`'));
        assert_eq!(rows.map(|(kind, _)| kind).collect::<Vec<_>>(), KINDS.map(|(kind, _)| kind));
    }

    /// R278: only admins see it.
    #[tokio::test]
    async fn the_outbox_is_for_admins() {
        let visitor = Visitor::new(|_, path| match path {
            "/api/overview" => (200, json!({ "caller": { "role": "member", "scope": ["*"], "csrf_token": "c" } })),
            "/api/mail/outbox" => (403, json!({ "error": "scope_denied", "detail": "No." })),
            _ => (200, json!({})),
        });
        assert_eq!(visitor.open("/admin/outbox").await.status.as_u16(), 403);
    }
}
