//! The tab of the token, the keys, and the workloads that it trusts; and the page of one key.

use askama::Template;
use common::{route, text::isolated};
use futures_util::future::{join3, join4};
use serde_json::{Map, Value as Json};
use service::response::Response;

use super::{Head, Heading, Tab, json_of, label_lines, labels, readable};
use crate::{
    agents::Secret,
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
    let Tab { api, name, typed, status, .. } = *tab;
    let names = [name, typed.text("key")];
    let most = [("limit", "200")];
    let key = api.get(route::KEYS_GET, &names, &[]);
    let (head, key, grants) = join3(head, key, api.get(route::KEY_GRANTS_LIST, &names, &most)).await;
    let ((shell, head), key, grants) = (head?, key?, readable(grants)?);
    let (status_word, scope) = (words::state(key.text("status")), words::tags(key.list("scope"), usize::MAX));
    let page = KeyPage { shell, head, typed: typed.clone(), key, status: status_word, scope, grants };
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

/// The page of a secret that a form made.
pub(super) fn secret(name: &str, act: &str, made: &Json, has_grace: bool) -> Secret {
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
    Secret {
        heading,
        what,
        secret: made.text(if is_token { "token" } else { "key" }).to_owned(),
        use_it: "Give it to the agent as the variable ACCREDIT_TOKEN, or as the header Authorization: Bearer."
            .to_owned(),
        ends: made.text("expires_at").to_owned(),
        may: made.list("scope").to_vec(),
        warnings: made.words("warnings").into_iter().map(str::to_owned).collect(),
        back: format!("/agents/{name}/credentials"),
    }
}
