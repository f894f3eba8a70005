//! `/admin/tokens`: every credential of the tenant, by owner, to revoke.

use std::cmp::Reverse;

use askama::Template;
use common::{error::ApiError, route};
use futures_util::future::join3;
use serde_json::Value as Json;
use service::{app::App, extract::Path, response::Response, session::device};

use crate::{
    api::{Api, Change, Members, Refusal, Trouble},
    form::Form,
    list::List,
    page::{Shell, answer, answer_form, see_done, write_with},
    words::{self, Html},
};

const FILTERS: [&str; 7] = ["user", "q", "kind", "status", "minted_with", "minted_by", "unused_since"];

/// Kinds of credentials, with the words for them.
const KINDS: [(&str, &str); 4] =
    [("session", "Session"), ("pat", "Personal"), ("agent_token", "Agent's token"), ("api_key", "Agent's key")];
/// People in the list by owner: those that have the most.
const MOST_OWNERS: usize = 12;
/// Rows of a page. More would be more bytes than a page may have.
const MOST: &str = "20";
const STATUS: [&str; 5] = ["active", "expiring", "expired", "revoked", "deactivated"];

#[derive(Template)]
#[template(path = "all_tokens.html")]
struct AllTokensPage {
    shell: Shell,
    list: List,
    tokens: Vec<Json>,
    /// Those that store the most, with their numbers.
    owners: Vec<Json>,
    /// How many people beside them have any.
    more: usize,
    /// Credentials and agents of the whole tenant.
    tenant: Json,
    /// The person whose credentials are shown.
    owner: String,
    kinds: [(&'static str, &'static str); 4],
    statuses: [&'static str; 5],
    back: String,
}

impl AllTokensPage {
    fn state(&self, token: &Json) -> Html {
        // A session always ends soon: that is nothing to look at.
        match (token.text("kind"), token.text("status")) {
            ("session", "expiring") => words::state("active"),
            (_, status) => words::state(status),
        }
    }

    fn kind(&self, token: &Json) -> &'static str {
        // What a person let in is none of their own tokens.
        if !token.text("client").is_empty() {
            return "App";
        }
        KINDS.iter().find(|(kind, _)| *kind == token.text("kind")).map_or("", |(_, word)| word)
    }

    /// What it is called: its own name, or its agent's; of a session what it is used with.
    fn name(&self, token: &Json) -> String {
        let names = [token.text("name"), token.text("agent_name")];
        names.into_iter().find(|name| !name.is_empty()).map_or_else(|| device(token.text("user_agent")), str::to_owned)
    }

    fn is_live(&self, token: &Json) -> bool {
        matches!(token.text("status"), "active" | "expiring")
    }

    fn head(&self, text: &str, by: &str) -> Html {
        self.list.head(self.shell.link(), text, by)
    }
}

/// `GET /admin/tokens`.
pub(crate) async fn list(app: App) -> Result<Response, ApiError> {
    answer(&app, show(&app, None)).await
}

async fn show(app: &App, refusal: Option<Refusal>) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let mut list = List::of(app, "/admin/tokens", &FILTERS).sorted("created_at");
    let since = words::first_moment(list.asked.text("unused_since"));
    let mut pairs = list.pairs(MOST);
    pairs.retain(|(name, _)| *name != "unused_since");
    if !since.is_empty() {
        pairs.push(("unused_since", &since));
    }
    let (shell, tokens, usage) = join3(
        Shell::load(app, &api, "Credentials", "all-tokens"),
        api.get(route::TOKENS_LIST, &[], &pairs),
        api.get(route::USAGE, &[], &[]),
    )
    .await;
    let status = refusal.as_ref().map_or(200, |refusal| refusal.status);
    let (shell, tokens, refused) = shell?.admins_only()?.with(refusal).with_list(tokens)?;
    let usage = usage?;
    list.found(&tokens);
    let (owners, asked) = (usage.list("users").to_vec(), list.asked.text("user"));
    let owner = owners.iter().find(|one| one.text("user_id") == asked).map(|one| one.text("email").to_owned());
    let of_list = || tokens.list("items").first().map(|token| token.text("user_email").to_owned());
    let owner = owner.or_else(|| asked.starts_with("usr_").then(of_list)?).unwrap_or_else(|| asked.to_owned());
    let has_any = |one: &Json| one.number("agents") > 0 || one.number("credentials") > 0;
    let mut holders: Vec<Json> = owners.into_iter().filter(has_any).collect();
    // The one that was asked for is among them.
    holders
        .sort_by_key(|one| (one.text("user_id") != asked, Reverse((one.number("credentials"), one.number("agents")))));
    let page = AllTokensPage {
        shell,
        owner,
        tokens: tokens.list("items").to_vec(),
        more: holders.len().saturating_sub(MOST_OWNERS),
        owners: holders.into_iter().take(MOST_OWNERS).collect(),
        tenant: usage.at("tenant").clone(),
        kinds: KINDS,
        statuses: STATUS,
        back: list.here(),
        list,
    };
    write_with(&page, refused.unwrap_or(status))
}

/// `POST /admin/tokens/{id}/revoke`.
pub(crate) async fn revoke(app: App, Path(id): Path, typed: Form) -> Result<Response, ApiError> {
    answer_form(&app, &typed, async {
        match Api::of(&app)?.change(route::TOKENS_REVOKE, &[&id], Change { form: &typed, body: Json::Null }).await {
            Ok(_) => Ok(see_done(&app, &typed, "/admin/tokens", "revoked")),
            Err(Trouble::Refused(refusal)) if refusal.is_for_the_form() => show(&app, Some(refusal)).await,
            Err(trouble) => Err(trouble),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::MOST;
    use crate::{assets, testing::Visitor};

    fn token(number: usize) -> Json {
        json!({
            "id": format!("tok_01K7{number:022}"), "kind": "agent_token", "prefix": "acr_agt_1234", "status": "active",
            "agent_name": format!("support-desk-{number}"), "user_email": "noor.haddad@example.com",
            "last_used_at": "2026-01-02T03:00:00.000Z", "expires_at": "2026-02-02T03:00:00.000Z",
        })
    }

    fn owner(number: usize) -> Json {
        let email = format!("colleague-{number}@example.com");
        json!({ "user_id": format!("usr_01K7{number:022}"), "email": email, "agents": 3, "credentials": 9 })
    }

    /// R703: an app's token is called one, and can be revoked as long as the app can get another.
    #[tokio::test]
    async fn an_app_is_called_one() {
        let visitor = Visitor::new(|_, path| {
            let body = match path {
                "/api/overview" => json!({ "caller": { "role": "admin", "scope": ["*"] } }),
                "/auth/admin/tokens" => {
                    let mut app = token(1);
                    (app["kind"], app["client"]) = ("pat".into(), "Planner".into());
                    json!({ "items": [app] })
                }
                _ => json!({}),
            };
            (200, body)
        });
        let html = visitor.open("/admin/tokens").await.text;
        assert!(html.contains(">App</td>") && html.contains("Yes, revoke it"), "{html}");
    }

    /// R355: those that have the most, and none that has nothing.
    #[tokio::test]
    async fn the_list_by_owner_is_short() {
        let visitor = Visitor::new(|_, path| {
            let body = match path {
                "/api/overview" => json!({ "caller": { "role": "admin", "scope": ["*"] } }),
                "/api/usage" => {
                    let of = |number: usize| {
                        let mut one = owner(number);
                        one["agents"] = 0.into();
                        one["credentials"] = number.into();
                        one
                    };
                    json!({ "users": (0..37).map(of).collect::<Vec<_>>() })
                }
                _ => json!({}),
            };
            (200, body)
        });
        let html = visitor.open("/admin/tokens").await.text;
        assert_eq!(html.matches("/admin/tokens?user=").count(), super::MOST_OWNERS, "{html}");
        assert!(html.contains("colleague-36") && !html.contains("colleague-0@") && html.contains("24 more"), "{html}");
        let html = visitor.open("/admin/tokens?user=usr_01K70000000000000000000003").await.text;
        assert!(html.contains("colleague-3@") && html.contains("aria-current=\"true\""), "{html}");
    }

    /// R110: a page that is full is small with its files, and each of its buttons revokes one credential.
    #[tokio::test]
    async fn a_full_page_is_small() {
        let rows: usize = MOST.parse().unwrap();
        let visitor = Visitor::new(move |_, path| {
            let body = match path {
                "/api/overview" => {
                    json!({ "caller": { "role": "admin", "scope": ["*"], "csrf_token": "c".repeat(43) } })
                }
                "/auth/admin/tokens" => {
                    json!({ "items": (0..rows).map(token).collect::<Vec<_>>(), "next_cursor": "n".repeat(60) })
                }
                "/api/usage" => json!({ "users": (0..5).map(owner).collect::<Vec<_>>() }),
                _ => json!({}),
            };
            (200, body)
        });
        let page = visitor.open("/admin/tokens?kind=agent_token&sort=expires_at").await;
        let html = page.text;
        assert_eq!((page.status.as_u16(), html.matches(" formaction=").count()), (200, rows), "{html}");
        assert!(html.contains("formaction=\"/admin/tokens/tok_01K70000000000000000000003/revoke\">Yes, revoke it"));
        assert_eq!(html.matches("name=\"csrf\"").count(), 2, "of the table and of the sign-out: {html}");
        assert!(html.len() + assets::BYTES <= 60 * 1024, "{} and {}", html.len(), assets::BYTES);
    }
}
