//! A host that serves Accredit, with its people and agents.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::Connection;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::{Client, Host, Start, host, secret, until};

/// The address of the first admin.
pub const EMAIL: &str = "ada@example.com";

/// A secret of the operator that is long enough for every key.
pub const KEY: &str = "a-key-of-the-operator-that-is-long-enough";

/// An address of this machine of which nothing else takes a port, whatever runs between two hosts.
pub const REPLACEABLE: &str = "127.0.0.77:0";

/// A password that every rule accepts.
pub const PASSWORD: &str = "zebra-lantern-quiet-orbit";

/// A host that serves Accredit on a state directory, which other hosts may share.
pub struct Server {
    host: Host,
    state: Arc<TempDir>,
    variables: Vec<(String, String)>,
    flags: Vec<(String, String)>,
    ticks: bool,
    operator_secret: String,
    manifest: PathBuf,
}

/// An agent and its token.
pub struct Agent {
    /// The name.
    pub name: String,
    /// The id.
    pub id: String,
    /// The server, asked with the agent's token.
    pub client: Client,
}

/// How a server is started.
pub struct Settings {
    variables: Vec<(String, String)>,
    flags: Vec<(String, String)>,
    ticks: bool,
    before: String,
    state: Option<Arc<TempDir>>,
    manifest: PathBuf,
}

impl Settings {
    /// One more variable, which beats one of the same name.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// One more flag of the host.
    #[must_use]
    pub fn flag(mut self, flag: &str, value: &str) -> Self {
        self.flags.push((flag.to_owned(), value.to_owned()));
        self
    }

    /// With the host's tick once a second, which tests otherwise do without.
    #[must_use]
    pub fn ticking(mut self) -> Self {
        self.ticks = true;
        self
    }

    /// In a shell that has run these commands; hosts that are started later on the same files do without.
    #[must_use]
    pub fn after(mut self, commands: &str) -> Self {
        commands.clone_into(&mut self.before);
        self
    }

    /// Listens at this address, and names another one in links. Another host can take its place at an address of [`REPLACEABLE`].
    #[must_use]
    pub fn at(self, address: &str) -> Self {
        self.flag("--listen", address).variable("public_url", "https://accredit.example.com")
    }

    /// On a state directory that is there already.
    #[must_use]
    pub fn on(mut self, state: &Arc<TempDir>) -> Self {
        self.state = Some(Arc::clone(state));
        self
    }

    /// With another manifest than Accredit's own.
    #[must_use]
    pub fn manifest(mut self, path: PathBuf) -> Self {
        self.manifest = path;
        self
    }

    /// Starts it.
    pub fn start(self) -> Server {
        let state = self.state.unwrap_or_else(|| Arc::new(state_directory()));
        let find = self.variables.iter().find(|(name, _)| name == "operator_secret");
        let operator_secret = find.map(|(_, value)| value.clone()).unwrap_or_default();
        let host = run(&self.manifest, state.path(), &self.variables, &self.flags, self.ticks, &self.before);
        let Self { variables, flags, ticks, manifest, .. } = self;
        Server { host, state, variables, flags, ticks, operator_secret, manifest }
    }
}

/// An empty directory for a server's state.
pub fn state_directory() -> TempDir {
    tempfile::Builder::new().prefix("accredit-state-").tempdir().expect("a temporary directory")
}

fn run(
    manifest: &Path,
    state: &Path,
    variables: &[(String, String)],
    flags: &[(String, String)],
    ticks: bool,
    before: &str,
) -> Host {
    let mut start = Start::new(manifest).flag("--state-dir", state);
    if !before.is_empty() {
        start = start.after(before);
    }
    if !ticks {
        start = start.switch("--no-tick");
    }
    for (name, value) in variables {
        start = start.variable(name, value);
    }
    for (flag, value) in flags {
        start = start.flag(flag, value);
    }
    start.run()
}

impl Server {
    /// The usual settings: an operator secret of its own, and more hashes a second than tests ask for.
    pub fn settings() -> Settings {
        let manifest = host::manifest();
        let none = Vec::new();
        Settings { variables: none, flags: Vec::new(), ticks: false, before: String::new(), state: None, manifest }
            .variable("operator_secret", &secret::unique())
            .variable("hashes_per_second", "1000000")
    }

    /// A server without users.
    pub fn empty() -> Self {
        Self::settings().start()
    }

    /// A server with its first admin, signed in.
    pub fn with_admin() -> (Self, Client) {
        let server = Self::empty();
        let admin = server.bootstrap();
        (server, admin)
    }

    /// One more host on the same files.
    pub fn second(&self) -> Self {
        let host = run(&self.manifest, self.state.path(), &self.variables, &self.flags, self.ticks, "");
        Self {
            host,
            state: Arc::clone(&self.state),
            variables: self.variables.clone(),
            flags: self.flags.clone(),
            ticks: self.ticks,
            operator_secret: self.operator_secret.clone(),
            manifest: self.manifest.clone(),
        }
    }

    /// Kills the host in the middle of whatever it is doing, and starts it again on the same files.
    pub fn kill_and_restart(&mut self) {
        self.host.kill();
        self.host = run(&self.manifest, self.state.path(), &self.variables, &self.flags, self.ticks, "");
    }

    /// The host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The host, to end it.
    pub fn host_mut(&mut self) -> &mut Host {
        &mut self.host
    }

    /// The state directory.
    pub fn state(&self) -> &Arc<TempDir> {
        &self.state
    }

    /// The operator secret.
    pub fn operator_secret(&self) -> &str {
        &self.operator_secret
    }

    /// Asks without a credential.
    pub fn nobody(&self) -> Client {
        Client::of_accredit(self.host.base_url())
    }

    /// Asks with a credential.
    pub fn with(&self, bearer: &str) -> Client {
        self.nobody().with(bearer)
    }

    /// Makes the first tenant and its admin, and signs them in.
    pub fn bootstrap(&self) -> Client {
        let body = json!({ "secret": self.operator_secret, "email": EMAIL, "name": "Ada", "password": PASSWORD });
        self.nobody().post("/auth/bootstrap", &body).is(201);
        self.sign_in(EMAIL, None)
    }

    /// Signs somebody in.
    pub fn sign_in(&self, email: &str, tenant: Option<&str>) -> Client {
        let mut body = json!({ "email": email, "password": PASSWORD });
        if let Some(tenant) = tenant {
            body["tenant"] = json!(tenant);
        }
        let session = self.nobody().post("/auth/token", &body).is(200);
        self.with(text(&session["access_token"]))
    }

    /// Makes a further tenant and its admin, and signs them in.
    pub fn tenant(&self, slug: &str) -> Client {
        let email = format!("admin@{slug}.example");
        let body = json!({ "secret": self.operator_secret, "tenant": slug, "email": email, "name": "Admin", "password": PASSWORD });
        self.nobody().post("/operator/tenants", &body).is(201);
        self.sign_in(&email, Some(slug))
    }

    /// Makes a user with a role in the tenant of `admin` (the first one), and signs them in.
    pub fn user(&self, admin: &Client, email: &str, role: &str) -> Client {
        let body = json!({ "email": email, "name": "User", "role": role, "invite": false });
        let user = admin.post("/api/users", &body).is(201);
        let path = format!("/api/users/{}/set-password", text(&user["id"]));
        let answer = admin.post(&path, &json!({ "password": PASSWORD }));
        assert!(matches!(answer.status(), 200 | 204), "{}", answer.text());
        self.sign_in(email, None)
    }

    /// Registers an agent with these scopes.
    pub fn agent(&self, owner: &Client, name: &str, scope: &[&str]) -> Agent {
        let made = owner.post("/api/agents", &json!({ "name": name, "scope": scope })).is(201);
        Agent {
            name: text(&made["name"]).to_owned(),
            id: text(&made["id"]).to_owned(),
            client: self.with(text(&made["auth_token"])),
        }
    }

    /// Every route but the pages, as the index shows it.
    #[track_caller]
    pub fn routes(&self) -> Vec<Json> {
        let index = self.nobody().get("/api").is(200);
        let groups = index["groups"].as_array().expect("groups").iter();
        groups.flat_map(|group| group["routes"].as_array().expect("routes").clone()).collect()
    }

    /// A tick now, whenever the last one was. One that the server calls by itself after an answer may take the lease in between, and is then
    /// still at work when this one is answered: the second one finds what is left of it.
    #[track_caller]
    pub fn tick(&self) {
        for _ in 0..2 {
            self.execute("UPDATE leases SET until = 0 WHERE name = 'tick'");
            assert_eq!(self.nobody().post("/internal/tick", &json!({})).status(), 204);
        }
    }

    /// Puts a PAT of the person behind `session` into the database, beside the routes.
    pub fn plant_pat(&self, session: &Client, scope: &str) -> Client {
        let pat = secret::credential("acr_pat_");
        let planted = self.database().execute(
            "INSERT INTO credentials (digest, id, kind, prefix, tenant_id, user_id, scope, created_at)
             SELECT ?1, 'tok_' || lower(hex(randomblob(13))), 'pat', ?2, tenant_id, user_id, ?3, created_at
             FROM credentials WHERE digest = ?4",
            rusqlite::params![secret::digest(&pat), pat.get(..16), scope, secret::digest(session.bearer())],
        );
        assert_eq!(planted, Ok(1));
        self.with(&pat)
    }

    /// The database's file.
    pub fn database_file(&self) -> PathBuf {
        self.state.path().join("sqlite_db.db")
    }

    /// The database, beside the server.
    pub fn database(&self) -> Connection {
        let connection = Connection::open(self.database_file()).expect("the database");
        connection.busy_timeout(crate::PATIENCE).expect("a time-out");
        connection
    }

    /// One number from the database.
    #[track_caller]
    pub fn number(&self, sql: &str) -> i64 {
        self.database().query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The first column of all rows, as texts.
    #[track_caller]
    pub fn texts(&self, sql: &str) -> Vec<String> {
        let database = self.database();
        let mut statement = database.prepare(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let rows = statement.query_map([], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"));
        rows.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Changes the database beside the server.
    #[track_caller]
    pub fn execute(&self, sql: &str) {
        self.database().execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Waits until a query gives this number: for what is written after an answer.
    #[track_caller]
    pub fn until_number(&self, sql: &str, wanted: i64) {
        until(sql, || (self.number(sql) == wanted).then_some(()));
    }
}

/// A field that must be a text.
#[track_caller]
pub fn text(value: &Json) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text, not {value}"))
}
