//! Accredit with a state of its own that is deleted afterwards: `bench` and `soak` put it under load.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::http::{Client, text};
use crate::server::{self, Server, TemporaryState};
use crate::workspace::Workspace;

const OPERATOR_SECRET: &str = "only-for-this-run";
const EMAIL: &str = "load@example.org";
const PASSWORD: &str = "zebra-lantern-quiet-orbit";

pub(crate) struct App {
    // Before the state, so that the host is gone before its files are.
    pub(crate) server: Server,
    pub(crate) state: TemporaryState,
    pub(crate) client: Client,
    /// A session of the first administrator.
    pub(crate) session: String,
}

impl App {
    /// Serves on a free port, with a first administrator who has signed in.
    pub(crate) fn start(workspace: &Workspace, host: &Path, name: &str) -> Result<Self> {
        Self::start_with(workspace, host, name, &[])
    }

    /// The same with more arguments for the host.
    pub(crate) fn start_with(workspace: &Workspace, host: &Path, name: &str, more: &[&str]) -> Result<Self> {
        let state = TemporaryState::new(name)?;
        let server = serve(workspace, host, &state, more)?;
        let client = Client::new(&server.base_url);
        let account = json!({"secret": OPERATOR_SECRET, "email": EMAIL, "name": "Load", "password": PASSWORD});
        client.must("POST", "/auth/bootstrap", None, Some(&account))?;
        let session = sign_in(&client, &json!({"email": EMAIL, "password": PASSWORD}))?;
        Ok(Self { server, state, client, session })
    }

    /// A request of the administrator that must succeed.
    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.client.must("POST", path, Some(&self.session), Some(body))
    }

    /// Creates an agent; returns its token.
    pub(crate) fn create_agent(&self, name: &str) -> Result<String> {
        text(&self.post("/api/agents", &json!({"name": name}))?, "auth_token")
    }

    /// Signs the administrator in once more.
    pub(crate) fn sign_in(&self) -> Result<String> {
        sign_in(&self.client, &json!({"email": EMAIL, "password": PASSWORD}))
    }

    /// Creates a personal access token with one scope, in a tenant of its own in which nothing else happens.
    pub(crate) fn quiet_token(&self, scope: &str) -> Result<String> {
        let account = json!({"secret": OPERATOR_SECRET, "email": EMAIL, "name": "Quiet", "password": PASSWORD, "tenant": "quiet"});
        self.client.must("POST", "/operator/tenants", None, Some(&account))?;
        let session = sign_in(&self.client, &json!({"email": EMAIL, "password": PASSWORD, "tenant": "quiet"}))?;
        let token = json!({"name": "guard", "scope": [scope]});
        text(&self.client.must("POST", "/auth/tokens", Some(&session), Some(&token))?, "token")
    }

    /// Creates a service that takes signed tokens; returns the token of its agent, which may ask about them.
    pub(crate) fn service(&self) -> Result<String> {
        self.post("/api/scopes/custom", &json!({"name": "x.load.read", "description": "Read."}))?;
        let agent = self.post("/api/agents", &json!({"name": "service", "scope": ["tokens.introspect"]}))?;
        self.post(
            "/api/resources",
            &json!({"identifier": "https://load.example.org", "scopes": ["x.load.read"], "introspectors": ["service"]}),
        )?;
        text(&agent, "auth_token")
    }

    /// Creates an agent that may call the service; returns its token, and the form by which it gets a signed one.
    pub(crate) fn caller(&self, number: usize) -> Result<(String, String)> {
        let agent = self.post("/api/agents", &json!({"name": format!("caller-{number}"), "scope": ["x.load.read"]}))?;
        let token = text(&agent, "auth_token")?;
        // Neither a token nor a type of token has what a form would write otherwise, but colons and slashes.
        let urn = "urn%3Aietf%3Aparams%3Aoauth%3A";
        let form = format!(
            "grant_type={urn}grant-type%3Atoken-exchange&subject_token_type={urn}token-type%3Aaccess_token&subject_token={token}\
             &resource=https%3A%2F%2Fload.example.org"
        );
        Ok((token, form))
    }

    /// Creates a member who owns nothing; returns their session.
    pub(crate) fn create_reader(&self) -> Result<String> {
        let user = self.post("/api/users", &json!({"email": "reader@example.org", "name": "Reader"}))?;
        self.post(&format!("/api/users/{}/set-password", text(&user, "id")?), &json!({"password": PASSWORD}))?;
        sign_in(&self.client, &json!({"email": "reader@example.org", "password": PASSWORD}))
    }

    /// The path of the reader's hundredth page of agents.
    pub(crate) fn far_page(&self, reader: &str) -> Result<String> {
        let mut path = "/api/agents?limit=50".to_owned();
        for _ in 0..100 {
            let page = self.client.must("GET", &path, Some(reader), None)?;
            path = format!("/api/agents?limit=50&cursor={}", text(&page, "next_cursor")?);
        }
        Ok(path)
    }

    /// Stops the host, does something with its files, and starts it again.
    pub(crate) fn while_stopped(
        self,
        workspace: &Workspace,
        host: &Path,
        act: impl FnOnce(&TemporaryState) -> Result<()>,
    ) -> Result<Self> {
        let Self { server, state, session, .. } = self;
        drop(server);
        act(&state)?;
        let server = serve(workspace, host, &state, &[])?;
        let client = Client::new(&server.base_url);
        Ok(Self { server, state, client, session })
    }
}

/// Signs in; returns the session.
fn sign_in(client: &Client, account: &Value) -> Result<String> {
    text(&client.must("POST", "/auth/token", None, Some(account))?, "access_token")
}

fn serve(workspace: &Workspace, host: &Path, state: &TemporaryState, more: &[&str]) -> Result<Server> {
    let mut command = server::host(host, &workspace.manifest(), "127.0.0.1:0", state.path());
    command
        .arg("--quiet")
        .args(more)
        .env("SPIN_VARIABLE_OPERATOR_SECRET", OPERATOR_SECRET)
        .env("SPIN_VARIABLE_AUDIT_KEY", "only-for-this-run-too")
        .env("SPIN_VARIABLE_SIGNING_KEY", "only-for-this-run-and-of-32-characters")
        // The load is one person's, and more than a person may store.
        .env("SPIN_VARIABLE_QUOTAS", "agents=1000000 credentials=10000000 mib=100000 notifications=100000000");
    Server::start(&mut command)
}

/// Becomes true at Ctrl-C or SIGTERM, so that hosts are stopped and their files removed before we go.
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    pub(crate) fn on_signal() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
        }
        Ok(Self(flag))
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.is_asked() { bail!("stopped by a signal") } else { Ok(()) }
    }
}
