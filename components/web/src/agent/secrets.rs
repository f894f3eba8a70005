//! The tab of the secrets and of the probes that try them.

use askama::Template;
use common::route;
use futures_util::future::join;
use serde_json::Value as Json;
use service::response::Response;

use super::{Head, Heading, Tab, readable};
use crate::{
    api::{Members, Trouble},
    form::Form,
    page::{Shell, write_with},
    words::{self, Html},
};

#[derive(Template)]
#[template(path = "agent_secrets.html")]
struct SecretsPage {
    shell: Shell,
    head: Head,
    typed: Form,
    /// `None`: the visitor may not read them.
    secrets: Option<Vec<Json>>,
    probes: Option<Vec<Json>>,
}

/// The patterns that let an agent read the values of its secrets.
const READS: [&str; 4] = ["*", "agents.*", "agents.secrets.*", "agents.secrets.read"];

impl SecretsPage {
    /// Why the agent cannot read the values that stand there; empty: it can, or there are none.
    fn unread(&self) -> &'static str {
        let reads = |of: &Json| of.words("scope").iter().any(|pattern| READS.contains(pattern));
        let agent = &self.head.agent;
        match () {
            () if self.secrets.as_ref().is_none_or(Vec::is_empty) => "",
            () if !reads(agent) => {
                "its scope lacks agents.secrets.read. Add it under Settings, then replace its token under Credentials."
            }
            () if agent.is("has_token") && !reads(agent.at("token")) => {
                "its token lacks agents.secrets.read. Replace it under Credentials."
            }
            () => "",
        }
    }

    fn result(&self, probe: &Json) -> Html {
        words::state(match probe.text("status") {
            "" => "not run",
            "ok" => "lets it in",
            "missing_secret" => "no secret",
            other => other,
        })
    }
}

/// The tab.
pub(super) async fn show(tab: &Tab<'_>, head: Heading<'_>) -> Result<Response, Trouble> {
    let Tab { api, name, typed, status, .. } = *tab;
    let asked = join(api.get(route::SECRETS_LIST, &[name], &[]), api.get(route::PROBES_LIST, &[name], &[]));
    let (head, (secrets, probes)) = join(head, asked).await;
    let ((shell, head), secrets, probes) = (head?, readable(secrets)?, readable(probes)?);
    write_with(&SecretsPage { shell, head, typed: typed.clone(), secrets, probes }, status)
}
