//! The tab of the token, the keys, and the workloads that it trusts; and the page of one key.

use askama::Template;
use common::{route, text::isolated};
use futures_util::future::{join3, join4};
use serde_json::{Map, Value as Json};
use service::{app::App, credential::own_base, response::Response};

use super::{Head, Heading, Tab, json_of, label_lines, labels, readable};
use crate::{
    agents::{GIVE_IT, Secret},
    api::{Members, Trouble},
    form::{Form, number},
    list::List,
    page::{Shell, write_with},
    scopes::{Choice, chosen},
    words::{self, Html},
};

#[derive(Template)]
#[template(path = "agent_credentials.html")]
struct CredentialsPage {
    shell: Shell,
    head: Head,
    typed: Form,
    /// `None`: the visitor may not read them.
    keys: Option<Vec<Json>>,
    list: List,
    kinds: [(&'static str, &'static str); 5],
    /// Whom the agent trusts, with a credential of its own for each workload; `None`: the visitor may not read them.
    trusted: Option<Vec<Json>>,
    /// Whether the visitor is one of those that can say whom it trusts.
    may_trust: bool,
    /// The tenant's own scopes.
    custom: Json,
}

impl CredentialsPage {
    /// Two forms of this page have the same fields: what was sent stands in the one that was sent.
    fn sent<'a>(&'a self, form: &str, field: &str) -> &'a str {
        if self.typed.is("form", form) { self.typed.text(field) } else { "" }
    }

    fn flaw(&self, form: &str, field: &str) -> Html {
        self.shell.flaw(if self.typed.is("form", form) { field } else { "" })
    }

    fn told(&self, form: &str, field: &str) -> Html {
        self.shell.told(if self.typed.is("form", form) { field } else { "" })
    }

    fn choice(&self, form: &str) -> Choice {
        let nothing = Form::default();
        let typed = if self.typed.is("form", form) { &self.typed } else { &nothing };
        Choice::of_agent(&self.head.agent, &self.custom, typed)
    }

    fn tags(&self, of: &Json) -> Html {
        words::tags(of.list("scope"), 3)
    }

    /// Claims that the assertions of a workload must have.
    fn claims(&self, trusted: &Json) -> Vec<(String, String)> {
        trusted.at("claims").as_object().map(labels).unwrap_or_default()
    }

    fn status(&self, key: &Json) -> Html {
        words::state(key.text("status"))
    }
}

#[derive(Template)]
#[template(path = "agent_key.html")]
struct KeyPage {
    shell: Shell,
    head: Head,
    typed: Form,
    key: Json,
    /// Where the service sends what it signs with the key; `None`: it is a bearer's.
    address: Option<String>,
    status: Html,
    scope: Html,
    /// `None`: the visitor may not read them.
    grants: Option<Vec<Json>>,
}

/// The tab.
pub(super) async fn show(tab: &Tab<'_>, head: Heading<'_>) -> Result<Response, Trouble> {
    let Tab { app, api, name, typed, status } = *tab;
    let mut list = List::of(app, &format!("/agents/{name}/credentials"), &[]).within("#keys");
    let asked = list.pairs("25");
    let trusted = api.get(route::FEDERATED_CREDENTIALS_LIST, &[name], &[("limit", "200")]);
    let custom = api.get(route::SCOPES_CUSTOM, &[], &[]);
    let (head, keys, trusted, custom) = join4(head, api.get(route::KEYS_LIST, &[name], &asked), trusted, custom).await;
    let kinds = [
        ("external", "A bearer key, for another program of this agent"),
        ("internal", "A bearer key, for use inside"),
        ("github", "The secret of a GitHub webhook"),
        ("slack", "The signing secret of a Slack app"),
        ("standard", "The secret of another service, by Standard Webhooks"),
    ];
    list.found_in(&keys);
    let ((shell, head), keys, trusted) = (head?, readable(keys)?, readable(trusted)?);
    let is_owner = head.agent.at("owner").text("email") == shell.who.text("email");
    let may_trust = shell.may("agents.keys.write") && (is_owner || shell.is_admin());
    let (typed, custom) = (typed.clone(), custom.unwrap_or_default());
    write_with(&CredentialsPage { shell, head, typed, keys, list, kinds, trusted, may_trust, custom }, status)
}

/// The page of the key that the query names.
pub(super) async fn show_key(tab: &Tab<'_>, head: Heading<'_>) -> Result<Response, Trouble> {
    let Tab { app, api, name, typed, status } = *tab;
    let names = [name, typed.text("key")];
    let most = [("limit", "200")];
    let key = api.get(route::KEYS_GET, &names, &[]);
    let (head, key, grants) = join3(head, key, api.get(route::KEY_GRANTS_LIST, &names, &most)).await;
    let ((shell, head), key, grants) = (head?, key?, readable(grants)?);
    let (status_word, scope) = (words::state(key.text("status")), words::tags(key.list("scope"), usize::MAX));
    let address = address(app, &key);
    let page = KeyPage { shell, head, typed: typed.clone(), key, address, status: status_word, scope, grants };
    write_with(&page, status)
}

/// A federated credential, as it was typed.
pub(super) fn trust(typed: &Form) -> Result<Map<String, Json>, Trouble> {
    let mut body = typed.filled(&["name", "issuer", "subject", "audience", "jwks_uri"]);
    let claims = label_lines(typed, "claims")?;
    if claims.as_object().is_some_and(|claims| !claims.is_empty()) {
        body.insert("claims".to_owned(), claims);
    }
    if let Some(scope) = chosen(typed)? {
        body.insert("scope".to_owned(), scope);
    }
    let keys = json_of(typed, "jwks")?;
    if !keys.is_null() {
        body.insert("jwks".to_owned(), keys);
    }
    if !typed.text("expires_in").is_empty() {
        body.insert("expires_in".to_owned(), number(typed.text("expires_in")));
    }
    body.insert("single_use".to_owned(), typed.is("single_use", "yes").into());
    Ok(body)
}

/// The address to which the service sends that signs with this key; `None`: it is a bearer's.
fn address(app: &App, key: &Json) -> Option<String> {
    let is_hook = matches!(key.text("type"), "github" | "slack" | "standard");
    // Where the server does not know its own address, its reader does.
    let base = || own_base(app).unwrap_or_else(|| app.settings().link().to_owned());
    is_hook.then(|| format!("{}/api/hooks/{}", base(), key.text("id")))
}

/// What to do with the secret of a hook.
fn use_of_hook(service: &str) -> &'static str {
    match service {
        "github" => "Type it at GitHub as the secret of the webhook.",
        "slack" => "It has to be the signing secret that Slack shows for the app.",
        _ => "Type it into the settings of the service, as the secret of the webhook.",
    }
}

/// The page of a secret that a form made.
pub(super) fn secret(app: &App, name: &str, act: &str, made: &Json, has_grace: bool) -> Secret {
    let is_token = act == "issue";
    let (heading, what) = match act {
        "issue" => {
            let before = match made.at("closure") {
                Json::Null => "It had none before.",
                _ if has_grace => "The one before it works on for the time that you chose.",
                _ => "The one before it no longer works.",
            };
            (format!("{name} has a new token"), before.to_owned())
        }
        "rotate-key" => (
            format!("The key {} is rotated", isolated(made.text("name"))),
            "Its secret before no longer works.".to_owned(),
        ),
        _ => (format!("{name} has the key {}", isolated(made.text("name"))), "This is its secret.".to_owned()),
    };
    let (use_it, also, ends) = match address(app, made) {
        None => (GIVE_IT, None, Some(made.text("expires_at").to_owned())),
        Some(address) => {
            (use_of_hook(made.text("type")), Some(("The webhook there has this address:".to_owned(), address)), None)
        }
    };
    Secret {
        heading,
        what,
        secret: made.text(if is_token { "token" } else { "key" }).to_owned(),
        use_it: use_it.to_owned(),
        also,
        ends,
        may: made.list("scope").to_vec(),
        warnings: made.words("warnings").into_iter().map(str::to_owned).collect(),
        back: format!("/agents/{name}/credentials"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::Visitor;

    /// R720: the secret of a hook is for the service that signs with it, whose webhook has an address here; a bearer's is for the agent.
    #[tokio::test]
    async fn the_secret_of_a_hook_is_given_to_the_service() {
        for (kind, said) in [
            ("github", Some("Type it at GitHub")),
            ("slack", Some("the signing secret that Slack shows")),
            ("standard", Some("into the settings of the service")),
            ("external", None),
        ] {
            let visitor = Visitor::new(move |method, path| {
                let key = json!({ "id": "key_1", "name": "issues", "type": kind, "key": "one", "expires_at": null });
                let body = match path {
                    "/api/overview" => json!({ "caller": { "role": "admin", "scope": ["*"], "csrf_token": "c" } }),
                    "/api/agents/scout" => json!({ "id": "agt_1", "name": "scout", "state": "running" }),
                    "/api/agents/scout/keys/key_1/grants" => json!({ "items": [] }),
                    "/api/agents/scout/keys" | "/api/agents/scout/keys/key_1" => key,
                    "/api/agents/scout/keys/key_1/rotate" => key,
                    _ => json!({}),
                };
                (if method == "POST" { 201 } else { 200 }, body)
            });
            let address = "http://127.0.0.1:3000/api/hooks/key_1";
            let fields = [("form", "new-key"), ("key", "key_1"), ("may", "all"), ("name", "issues"), ("type", kind)];
            for act in ["new-key", "rotate-key"] {
                let made = visitor.send(&format!("/agents/scout/{act}"), &fields).await.text;
                assert_eq!(made.contains("Authorization: Bearer"), said.is_none(), "{kind}: {made}");
                assert_eq!(made.contains("never ends by itself"), said.is_none(), "{kind}: {made}");
                assert_eq!(made.contains(address), said.is_some(), "{kind}: {made}");
                assert!(made.contains(said.unwrap_or("ACCREDIT_TOKEN")), "{kind}: {made}");
            }
            let page = visitor.open("/agents/scout/key?key=key_1").await.text;
            assert_eq!(page.contains(&format!("<dt>Address</dt><dd class=\"mono id\">{address}")), said.is_some());
            assert_eq!(page.contains("<dt>Begins with</dt>"), said.is_none(), "{kind}: {page}");
        }
    }
}
