//! The verbs that are one route each: words, route, what is sent, and how the answer is shown. The command line, its help, the requests
//! and the names of commands in fixes all come from this table; a test holds it against the route table.
//!
//! Names in a path and query parameters come from the route's own row. A verb says which names may be typed in short, and which fields
//! the body has.

use common::route::{self, Route};

use crate::span::Unit;

/// A verb.
pub(crate) struct Verb {
    /// The words that call it, such as `agents token issue`.
    pub(crate) words: &'static str,
    pub(crate) route: &'static Route,
    /// The route that takes several names at once.
    pub(crate) bulk: Option<&'static Route>,
    /// Fields of the body, and parameters of the query that are typed without a flag.
    pub(crate) inputs: Vec<Input>,
    /// How the name in the path may be typed.
    pub(crate) look_up: Option<LookUp>,
    pub(crate) show: Show,
    /// The question before it: what cannot be undone is asked.
    pub(crate) asks: Option<&'static str>,
    /// Whether the path names the caller's own agent if nothing is typed.
    pub(crate) is_about_me: bool,
}

/// Something that is typed.
pub(crate) struct Input {
    pub(crate) name: &'static str,
    pub(crate) at: At,
    pub(crate) kind: Kind,
    pub(crate) is_required: bool,
    /// Typed in its place, without a flag.
    pub(crate) is_positional: bool,
    /// What is typed for null, where null says something: that a bound is lifted, or a text removed.
    pub(crate) null: Option<&'static str>,
    /// Its flag, where the name of the field would say something else here.
    flag: Option<&'static str>,
    pub(crate) help: &'static str,
}

impl Input {
    fn new(name: &'static str, at: At, kind: Kind, help: &'static str) -> Self {
        Self { name, at, kind, is_required: false, is_positional: false, null: None, flag: None, help }
    }

    /// Its flag, without the hyphens.
    pub(crate) fn long(&self) -> String {
        self.flag.map_or_else(|| long(self.name), str::to_owned)
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum At {
    Query,
    Body,
}

/// How a text becomes JSON.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Text,
    Number,
    /// How long something lasts: `30d`, a number of the unit in which the route counts it, or the time until a moment.
    Lasts(Unit),
    /// A moment.
    When,
    /// A flag without a value: false.
    No,
    /// A list of words: typed several times, or with commas or blanks between.
    Words,
    /// A list of texts, which may have blanks: typed several times, or with commas between.
    Texts,
    /// An object of texts: `name=value`, several times.
    Pairs,
    /// JSON.
    Data,
    /// Never typed: read from standard input, or asked for without an echo.
    Secret,
    /// The same, of all lines.
    SecretText,
    /// A file with a JSON object, whose members are the body.
    File,
    /// A file with a JSON object, which is the field: what it holds is not typed.
    Object,
}

/// The list in which a short name is looked up.
#[derive(Clone, Copy)]
pub(crate) struct LookUp {
    pub(crate) route: &'static Route,
    pub(crate) prefix: &'static str,
}

/// How an answer is shown to people.
#[derive(Clone, Copy)]
pub(crate) enum Show {
    /// Each member in a line.
    Facts,
    /// A table of `items`, or of the member that is named: headings and members.
    Table(&'static str, &'static [(&'static str, &'static str)]),
    /// A secret in this member, with what it is for.
    Secret(&'static str),
    /// A sentence, in which `{name}` stands for what was typed.
    Done(&'static str),
    /// Lines of a log.
    Log,
    /// As it comes.
    Plain,
}

impl Verb {
    fn new(words: &'static str, route: &'static Route) -> Self {
        Self {
            words,
            route,
            bulk: None,
            inputs: Vec::new(),
            look_up: None,
            show: Show::Facts,
            asks: None,
            is_about_me: false,
        }
    }

    fn show(self, show: Show) -> Self {
        Self { show, ..self }
    }

    fn table(self, columns: &'static [(&'static str, &'static str)]) -> Self {
        self.show(Show::Table("items", columns))
    }

    fn done(self, sentence: &'static str) -> Self {
        self.show(Show::Done(sentence))
    }

    fn asks(self, question: &'static str) -> Self {
        Self { asks: Some(question), ..self }
    }

    fn bulk(self, route: &'static Route) -> Self {
        Self { bulk: Some(route), ..self }
    }

    fn look_up(self, route: &'static Route, prefix: &'static str) -> Self {
        Self { look_up: Some(LookUp { route, prefix }), ..self }
    }

    fn about_me(self) -> Self {
        Self { is_about_me: true, ..self }
    }

    /// A field of the body that has a flag.
    fn field(self, name: &'static str, kind: Kind, help: &'static str) -> Self {
        self.input(Input::new(name, At::Body, kind, help))
    }

    /// A field of the body that must be sent.
    fn needs(self, name: &'static str, kind: Kind, help: &'static str) -> Self {
        self.input(Input { is_required: true, ..Input::new(name, At::Body, kind, help) })
    }

    /// A field of the body that is typed in its place.
    fn takes(self, name: &'static str, kind: Kind, help: &'static str) -> Self {
        self.input(Input { is_required: true, is_positional: true, ..Input::new(name, At::Body, kind, help) })
    }

    /// A parameter of the query that is typed in its place.
    fn takes_query(self, name: &'static str, help: &'static str) -> Self {
        let input = Input::new(name, At::Query, Kind::Text, help);
        self.input(Input { is_required: true, is_positional: true, ..input })
    }

    /// Gives the last field another flag: `--url` is the server's.
    fn flagged(mut self, flag: &'static str) -> Self {
        if let Some(input) = self.inputs.last_mut() {
            input.flag = Some(flag);
        }
        self
    }

    /// Says what is typed for null in the last field.
    fn or(mut self, null: &'static str) -> Self {
        if let Some(input) = self.inputs.last_mut() {
            input.null = Some(null);
        }
        self
    }

    fn input(mut self, input: Input) -> Self {
        self.inputs.push(input);
        self
    }

    /// What an agent is, when it is made and when it is changed.
    fn of_agent(self) -> Self {
        self.field("display_name", Kind::Text, "Name for people")
            .or("none")
            .field("description", Kind::Text, "What it does")
            .or("none")
            .field("runtime", Kind::Text, "What runs it")
            .or("none")
            .field("model", Kind::Text, "The model that it uses")
            .or("none")
            .field("url", Kind::Text, "Where it is reached: a public https URL")
            .flagged("agent-url")
            .or("none")
            .field("compute", Kind::Data, "What it runs on, as JSON")
            .field("access", Kind::Text, "How people reach it, for people")
            .or("none")
            .field("labels", Kind::Pairs, "Labels, each as name=value, in place of all that it has")
            .or("none")
            .field("scope", Kind::Words, "Its ceiling: scopes, separated by commas")
            .field("preset", Kind::Text, "Its ceiling by a preset, such as worker")
            .field("tier", Kind::Number, "Its tier, 1 to 5")
            .field("max_concurrent_tasks", Kind::Number, "Tasks that it may do at the same time")
            .field("budget_cents", Kind::Number, "Its budget, in cents")
            .or("none")
            .field("silent_after_minutes", Kind::Lasts(Unit::Minutes), "Tell me when it sends no heartbeat for so long")
            .or("none")
    }

    /// What a credential carries and how long it lives.
    fn of_credential(self) -> Self {
        self.field("scope", Kind::Words, "Scopes, separated by commas")
            .field("preset", Kind::Text, "The scopes of a preset instead")
            .field("expires_in_days", Kind::Lasts(Unit::Days), "How long it lives")
            .or("never")
    }

    /// The names in the path, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        names(self.route)
    }
}

/// The flag of a field or parameter, without its hyphens.
pub(crate) fn long(name: &str) -> String {
    match name {
        "expires_in_days" => "ttl".to_owned(),
        name => name.replace('_', "-"),
    }
}

/// The names in a route's path, in order.
pub(crate) fn names(route: &'static Route) -> impl Iterator<Item = &'static str> {
    route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

const AGENTS: &[(&str, &str)] =
    &[("NAME", "name"), ("STATE", "state"), ("OWNER", "owner.email"), ("SEEN", "last_seen_at")];
const TOKENS: &[(&str, &str)] =
    &[("NAME", "name"), ("PREFIX", "prefix"), ("STATUS", "status"), ("USED", "last_used_at"), ("ENDS", "expires_at")];
const KEYS: &[(&str, &str)] =
    &[("NAME", "name"), ("TYPE", "type"), ("STATUS", "status"), ("USED", "last_used_at"), ("ID", "id")];
const GRANTS: &[(&str, &str)] = &[("SUBJECT", "subject.name"), ("RELATION", "relation"), ("SINCE", "created_at")];
const FACTORS: &[(&str, &str)] = &[("FACTOR", "factor"), ("HOLDS", "holds"), ("WHY", "why")];
const REQUESTS: &[(&str, &str)] = &[
    ("AGENT", "agent.name"),
    ("STATE", "state"),
    ("SCOPE", "scope"),
    ("FOR", "for.words"),
    ("REASON", "reason"),
    ("ID", "id"),
];

/// Every verb that is one route.
pub(crate) fn all() -> Vec<Verb> {
    let pats = |verb: Verb| verb.look_up(route::PATS_LIST, "tok_");
    let users = |verb: Verb| verb.look_up(route::USERS_LIST, "usr_");
    let keys = |verb: Verb| verb.look_up(route::KEYS_LIST, "key_");
    let resources = |verb: Verb| verb.look_up(route::RESOURCES_LIST, "res_");
    let requests = |verb: Verb| verb.look_up(route::ACCESS_LIST, "acc_");
    let notifications = |verb: Verb| verb.look_up(route::NOTIFICATIONS_LIST, "ntf_");
    let archived = |verb: Verb| verb.look_up(route::ARCHIVED_LIST, "agt_");
    let grace = "How long the one before still works";
    vec![
        // The caller.
        Verb::new("whoami", route::WHOAMI),
        Verb::new("auth whoami", route::WHOAMI),
        Verb::new("can", route::CAN)
            .takes_query("action", "A scope, such as agents.token.issue")
            .show(Show::Table("factors", FACTORS)),
        Verb::new("auth sessions list", route::SESSIONS_LIST).table(&[
            ("PROGRAM", "user_agent"),
            ("ADDRESS", "last_used_address"),
            ("USED", "last_used_at"),
            ("THIS", "current"),
            ("ID", "id"),
        ]),
        Verb::new("auth sessions end", route::SESSION_END)
            .look_up(route::SESSIONS_LIST, "tok_")
            .asks("End the session {id}?")
            .done("Ended."),
        Verb::new("auth sessions end-others", route::SESSIONS_END_OTHERS)
            .asks("End all of your other sessions?")
            .done("Ended."),
        Verb::new("auth password", route::PASSWORD_CHANGE)
            .field("current", Kind::Secret, "Your present password")
            .needs("new", Kind::Secret, "Your new password")
            .done("Changed. Your other sessions are ended."),
        Verb::new("auth name", route::NAME_CHANGE).takes("name", Kind::Text, "Your new name").done("Changed."),
        Verb::new("auth email get", route::EMAIL),
        Verb::new("auth email change", route::EMAIL_ASK).takes("email", Kind::Text, "Your new address"),
        Verb::new("auth email withdraw", route::EMAIL_WITHDRAW)
            .asks("Withdraw the address that waits to be confirmed?")
            .done("Withdrawn. Your address stays as it is."),
        Verb::new("auth email confirm", route::EMAIL_CONFIRM)
            .needs("code", Kind::Secret, "The code of the link: what stands behind code= in it")
            .done("Changed. Your other sessions are ended."),
        Verb::new("auth factor get", route::FACTOR),
        Verb::new("auth factor set-up", route::FACTOR_BEGIN),
        Verb::new("auth factor confirm", route::FACTOR_CONFIRM).takes(
            "code",
            Kind::Text,
            "The code that the app shows",
        ),
        Verb::new("auth factor remove", route::FACTOR_REMOVE).asks("Remove your second factor?").done("Removed."),
        Verb::new("auth factor recovery-codes", route::FACTOR_CODES).asks("Replace your recovery codes?"),
        Verb::new("auth device get", route::DEVICE_GET),
        Verb::new("auth device approve", route::DEVICE_APPROVE)
            .field("scope", Kind::Words, "What its token may do: scopes, separated by commas")
            .field("expires_in_days", Kind::Lasts(Unit::Days), "How long its token lives, at most 90d")
            .asks("Does the device in front of you show {id}, and did you start it?")
            .done("Approved."),
        Verb::new("auth device deny", route::DEVICE_DENY).done("Denied."),
        Verb::new("auth apps list", route::APPS_LIST).table(&[
            ("APP", "client_name"),
            ("USED", "used_at"),
            ("ENDS", "ends_at"),
            ("ID", "id"),
        ]),
        Verb::new("auth apps end", route::APPS_END).asks("End what you gave the app {id}?").done("Ended."),
        // Tokens.
        Verb::new("token create", route::PATS_CREATE)
            .takes("name", Kind::Text, "Its name: the machine or job that gets it")
            .field("scope", Kind::Words, "What it may do: scopes, separated by commas; left out, all that you may")
            .field("expires_in_days", Kind::Lasts(Unit::Days), "How long it lives; left out, 90 days")
            .or("never")
            .show(Show::Secret("token")),
        Verb::new("token list", route::PATS_LIST).table(TOKENS),
        pats(Verb::new("token get", route::PATS_GET)),
        pats(Verb::new("token rotate", route::PATS_ROTATE))
            .field("grace_seconds", Kind::Lasts(Unit::Seconds), grace)
            .asks("Replace the token {id}?")
            .show(Show::Secret("token")),
        pats(Verb::new("token revoke", route::PATS_REVOKE)).asks("Revoke the token {id}?").done("Revoked."),
        Verb::new("token report-leak", route::LEAKS)
            .needs("token", Kind::Secret, "The credential that was found")
            .asks("Revoke this credential, no matter whose it is?")
            .done("Reported. If it was a live credential of this server, it is revoked."),
        Verb::new("token introspect", route::INTROSPECT).needs("token", Kind::Secret, "The credential to ask about"),
        // Agents.
        Verb::new("agents list", route::AGENTS_LIST).table(AGENTS),
        Verb::new("agents create", route::AGENTS_CREATE)
            .takes("name", Kind::Text, "Its name")
            .field("parent", Kind::Text, "The agent above it")
            .or("none")
            .of_agent()
            .field("expires_in_days", Kind::Lasts(Unit::Days), "How long its token lives")
            .or("never")
            .field("issue_token", Kind::No, "Make no token")
            .flagged("no-token")
            .field(
                "secrets",
                Kind::Object,
                "A file of JSON with its secrets, {\"NAME\": \"value\"}; - is standard input",
            )
            .show(Show::Secret("auth_token")),
        Verb::new("agents get", route::AGENTS_GET).about_me(),
        Verb::new("agents update", route::AGENTS_PATCH)
            .of_agent()
            .field("spent_cents", Kind::Number, "What it has spent, in cents")
            .field("parent", Kind::Text, "Move it below this agent")
            .or("none")
            .field("owner", Kind::Text, "Give it and all below it to this user: address or id"),
        Verb::new("agents replace", route::AGENTS_PUT).of_agent(),
        Verb::new("agents delete", route::AGENTS_DELETE)
            .asks("Archive {name}, and revoke its credentials?")
            .done("Archived {name}."),
        Verb::new("agents archived", route::ARCHIVED_LIST).table(&[
            ("NAME", "name"),
            ("ARCHIVED", "archived_at"),
            ("OWNER", "owner.email"),
            ("ID", "id"),
        ]),
        archived(Verb::new("agents restore", route::ARCHIVED_RESTORE)),
        archived(Verb::new("agents purge", route::ARCHIVED_PURGE)).asks("Purge {id} for ever?").done("Purged {id}."),
        Verb::new("agents export", route::AGENTS_EXPORT).show(Show::Plain),
        Verb::new("agents import", route::AGENTS_IMPORT).takes(
            "file",
            Kind::File,
            "What export wrote; - is standard input",
        ),
        Verb::new("agents start", route::AGENT_START).bulk(route::BULK_START).done("Started {name}."),
        Verb::new("agents stop", route::AGENT_STOP).bulk(route::BULK_STOP).done("Stopped {name}, and all below."),
        Verb::new("agents pause", route::AGENT_PAUSE).bulk(route::BULK_PAUSE).done("Paused {name}, and all below."),
        Verb::new("agents resume", route::AGENT_RESUME).bulk(route::BULK_RESUME).done("Resumed {name}."),
        Verb::new("agents restart", route::AGENT_RESTART).bulk(route::BULK_RESTART).done("Restarted {name}."),
        Verb::new("agents stop-all", route::STOP_ALL)
            .asks("Stop every agent of the tenant?")
            .done("Stopped every agent of the tenant."),
        Verb::new("agents deploy", route::DEPLOY)
            .takes("name", Kind::Text, "The agent")
            .field(
                "create",
                Kind::Data,
                "How to register it if there is none: a JSON object such as {\"parent\": \"boss\"}",
            )
            .field("expires_in_days", Kind::Lasts(Unit::Days), "How long its token lives")
            .or("never")
            .show(Show::Facts),
        Verb::new("agents deploy-status", route::DEPLOY_STATUS).about_me(),
        Verb::new("agents deploy-failed", route::DEPLOY_FAILED)
            .about_me()
            .needs("reason", Kind::Text, "Why its runtime cannot run it")
            .done("Reported."),
        Verb::new("agents heartbeat", route::HEARTBEAT).field(
            "spent_cents",
            Kind::Number,
            "All that you have spent, in cents",
        ),
        Verb::new("agents logs", route::LOGS_READ).about_me().show(Show::Log),
        Verb::new("agents log", route::LOGS_APPEND)
            .about_me()
            .takes("text", Kind::Text, "The line")
            .field("level", Kind::Text, "debug, info, warn or error")
            .done("Logged."),
        Verb::new("agents message", route::MESSAGE).takes("text", Kind::Text, "What to say").field(
            "data",
            Kind::Data,
            "A JSON object beside it",
        ),
        Verb::new("agents explain", route::EXPLAIN).about_me().show(Show::Table("factors", FACTORS)),
        Verb::new("agents token issue", route::TOKEN_ISSUE)
            .of_credential()
            .field("grace_seconds", Kind::Lasts(Unit::Seconds), grace)
            .field("dpop_jkt", Kind::Text, "the thumbprint of a key without whose proofs the token is worth nothing")
            .asks("Replace the token of {name}?")
            .show(Show::Secret("token")),
        Verb::new("agents enrol", route::ENROLMENT_CREATE)
            .bulk(route::ENROLMENT_BULK)
            .of_credential()
            .show(Show::Secret("code")),
        Verb::new("agents enrol-end", route::ENROLMENT_REVOKE)
            .asks("End the unused enrolment codes of {name}?")
            .done("Ended."),
        Verb::new("agents token revoke", route::TOKEN_REVOKE).asks("Revoke the token of {name}?").done("Revoked."),
        Verb::new("agents federated-credentials list", route::FEDERATED_CREDENTIALS_LIST).table(&[
            ("ID", "id"),
            ("NAME", "name"),
            ("ISSUER", "issuer"),
            ("SUBJECT", "subject"),
            ("LIVE", "live_credentials"),
            ("LAST USED", "last_used_at"),
        ]),
        Verb::new("agents federated-credentials get", route::FEDERATED_CREDENTIALS_GET),
        Verb::new("agents federated-credentials create", route::FEDERATED_CREDENTIALS_CREATE)
            .takes("name", Kind::Text, "The name")
            .needs("issuer", Kind::Text, "The issuer of the workload's tokens, as in iss")
            .needs("subject", Kind::Text, "Their subject, as in sub; * stays within : and /")
            .field("audience", Kind::Text, "Their audience; left out: the server's address")
            .field("claims", Kind::Pairs, "Further claims, each as name=value")
            .field("scope", Kind::Words, "What a credential carries: scopes, separated by commas")
            .field("preset", Kind::Text, "The same by a preset")
            .field("jwks_uri", Kind::Text, "Where the issuer's keys are, if discovery does not say it")
            .field("jwks", Kind::Object, "File with the issuer's keys, if the server cannot reach them")
            .field("single_use", Kind::No, "Take a token of the platform more than once, as Kubernetes needs it")
            .flagged("reusable")
            .field("expires_in", Kind::Lasts(Unit::Seconds), "How long a credential lives, at most 1h"),
        Verb::new("agents federated-credentials delete", route::FEDERATED_CREDENTIALS_DELETE)
            .asks("Delete the federated credential {id}, and end all that it has given?")
            .done("Deleted."),
        Verb::new("agents keys list", route::KEYS_LIST).table(KEYS),
        keys(Verb::new("agents keys get", route::KEYS_GET)),
        Verb::new("agents keys create", route::KEYS_CREATE)
            .takes("name", Kind::Text, "The key's name")
            .field("type", Kind::Text, "external, internal, github, slack or standard")
            .of_credential()
            .field("value", Kind::SecretText, "The webhook's secret that you bring")
            .show(Show::Secret("key")),
        keys(Verb::new("agents keys rotate", route::KEYS_ROTATE))
            .field("grace_seconds", Kind::Lasts(Unit::Seconds), grace)
            .field("value", Kind::SecretText, "The webhook's secret that you bring")
            .asks("Replace the secret of the key {id}?")
            .show(Show::Secret("key")),
        keys(Verb::new("agents keys delete", route::KEYS_DELETE)).asks("Delete the key {id}?").done("Deleted."),
        keys(Verb::new("agents keys grants list", route::KEY_GRANTS_LIST)).table(GRANTS),
        keys(Verb::new("agents keys grants give", route::KEY_GRANTS_GIVE))
            .takes("subject", Kind::Text, "A user's address or id, or an agent")
            .takes("relation", Kind::Text, "viewer or editor"),
        keys(Verb::new("agents keys grants take", route::KEY_GRANTS_TAKE))
            .takes_query("subject", "A user's address or id, or an agent")
            .asks("Take the grants of {subject}?")
            .done("Taken."),
        Verb::new("agents secrets list", route::SECRETS_LIST).table(&[("NAME", "name"), ("SET", "updated_at")]),
        Verb::new("agents secrets get", route::SECRETS_GET),
        Verb::new("agents secrets set", route::SECRETS_PUT)
            .needs("value", Kind::SecretText, "The value")
            .done("Set {key}."),
        Verb::new("agents secrets set-several", route::SECRETS_SET).takes(
            "file",
            Kind::File,
            "A file of JSON: {\"secrets\": {\"NAME\": \"value\"}}",
        ),
        Verb::new("agents secrets delete", route::SECRETS_DELETE).asks("Delete the secret {key}?").done("Deleted."),
        Verb::new("agents probes list", route::PROBES_LIST).table(&[
            ("NAME", "name"),
            ("STATUS", "status"),
            ("CHECKED", "checked_at"),
            ("ID", "id"),
        ]),
        Verb::new("agents probes create", route::PROBES_CREATE)
            .takes("name", Kind::Text, "The probe's name")
            .needs("url", Kind::Text, "The URL that it calls")
            .flagged("probe-url")
            .needs("secret", Kind::Text, "The name of the secret that it sends")
            .field("method", Kind::Text, "GET, HEAD or POST")
            .field("header", Kind::Text, "The header that the secret goes into")
            .field("scheme", Kind::Text, "What stands before the secret, such as Bearer")
            .or("none")
            .field("expect_status", Kind::Number, "The status of a service that lets it in")
            .field("every_hours", Kind::Lasts(Unit::Hours), "Run it by itself at this interval, 1h to 7d")
            .or("never"),
        Verb::new("agents probes run", route::PROBES_RUN),
        Verb::new("agents probes delete", route::PROBES_DELETE).asks("Delete the probe {id}?").done("Deleted."),
        Verb::new("secrets values", route::SECRETS_VALUES).show(Show::Plain),
        Verb::new("agents grants list", route::GRANTS_LIST).table(GRANTS),
        Verb::new("agents grants give", route::GRANTS_GIVE)
            .takes("subject", Kind::Text, "A user's address or id, or an agent")
            .takes("relation", Kind::Text, "viewer or editor"),
        Verb::new("agents grants take", route::GRANTS_TAKE)
            .takes_query("subject", "A user's address or id, or an agent")
            .asks("Take the grants of {subject}?")
            .done("Taken."),
        // Presets, scopes, requests for access.
        Verb::new("presets list", route::PRESETS_LIST).table(&[
            ("NAME", "name"),
            ("VERSION", "version"),
            ("SCOPE", "scope"),
        ]),
        Verb::new("presets put", route::PRESET_PUT)
            .needs("scope", Kind::Words, "Its scopes, separated by commas")
            .field("secrets", Kind::Words, "Names of secrets that such an agent needs, separated by commas")
            .field("probes", Kind::Texts, "Names of probes that such an agent needs, separated by commas")
            .field(
                "defaults",
                Kind::Data,
                "A JSON object with what a new agent gets: runtime, model, tier and the like",
            ),
        Verb::new("presets get", route::PRESET_GET),
        Verb::new("presets delete", route::PRESET_DELETE).asks("Delete the preset {name}?").done("Deleted."),
        Verb::new("presets drift", route::PRESET_DRIFT).table(&[("AGENT", "agent"), ("LACKS", "missing_scopes")]),
        Verb::new("scopes list", route::SCOPES)
            .show(Show::Table("scopes", &[("SCOPE", "name"), ("ALLOWS", "description")])),
        Verb::new("scopes custom", route::SCOPES_CUSTOM).table(&[("SCOPE", "name"), ("ALLOWS", "description")]),
        Verb::new("scopes define", route::SCOPES_DEFINE)
            .takes("name", Kind::Text, "Its name, such as x.crm.read")
            .takes("description", Kind::Text, "What it allows"),
        Verb::new("scopes remove", route::SCOPES_REMOVE)
            .takes_query("name", "Its name")
            .asks("Delete the scope {name}?")
            .done("Deleted {name}."),
        Verb::new("resources list", route::RESOURCES_LIST).table(&[
            ("IDENTIFIER", "identifier"),
            ("NAME", "name"),
            ("SCOPES", "scopes"),
            ("ID", "id"),
        ]),
        resources(Verb::new("resources get", route::RESOURCES_GET)),
        Verb::new("resources create", route::RESOURCES_CREATE)
            .takes("identifier", Kind::Text, "Its address, such as https://crm.example.com")
            .field("name", Kind::Text, "A name for people")
            .field("scopes", Kind::Words, "The custom scopes that tokens for it can carry, separated by commas")
            .field("introspectors", Kind::Words, "Users and agents whose credentials are the service's own")
            .field("signing_alg", Kind::Text, "EdDSA or ES256"),
        resources(Verb::new("resources update", route::RESOURCES_PATCH))
            .field("name", Kind::Text, "A name for people")
            .field("scopes", Kind::Words, "The custom scopes that tokens for it can carry, separated by commas")
            .field("introspectors", Kind::Words, "Users and agents whose credentials are the service's own")
            .field("signing_alg", Kind::Text, "EdDSA or ES256"),
        resources(Verb::new("resources delete", route::RESOURCES_DELETE))
            .asks("Delete the service {id}, and end its tokens?")
            .done("Deleted."),
        Verb::new("guides list", route::GUIDES_LIST).table(&[
            ("SOURCE", "source"),
            ("NAME", "name"),
            ("TITLE", "title"),
            ("SINCE", "updated_at"),
        ]),
        Verb::new("guides get", route::GUIDES_GET),
        Verb::new("guides prompt", route::GUIDES_PROMPT),
        Verb::new("guides put", route::GUIDES_PUT).takes(
            "file",
            Kind::File,
            "A file of JSON: {\"pages\": [{\"name\", \"title\", \"text\"}]}; - is standard input",
        ),
        Verb::new("guides delete", route::GUIDES_DELETE)
            .asks("Delete the guides of {source}?")
            .done("Deleted the guides of {source}."),
        Verb::new("access request", route::ACCESS_ASK)
            .takes("scope", Kind::Words, "The scopes, separated by commas")
            .needs("reason", Kind::Text, "What for")
            .field("hours", Kind::Lasts(Unit::Hours), "For how long, at most 30d")
            .field("for", Kind::Data, "The one request that it is for: {method, path, body_sha256}"),
        Verb::new("access list", route::ACCESS_LIST).table(REQUESTS),
        requests(Verb::new("access get", route::ACCESS_GET)),
        Verb::new("closures get", route::CLOSURE_GET),
        Verb::new("closures receipt", route::CLOSURE_RECEIPT).show(Show::Plain),
        requests(Verb::new("access withdraw", route::ACCESS_WITHDRAW))
            .asks("Withdraw the request {id}?")
            .done("Withdrawn."),
        requests(Verb::new("access approve", route::ACCESS_APPROVE))
            .field("scope", Kind::Words, "A part of what was asked for")
            .field("lasts", Kind::Text, "once, hours or always")
            .field("hours", Kind::Lasts(Unit::Hours), "For how long, at most 30d")
            .asks("Approve the request {id}?"),
        requests(Verb::new("access deny", route::ACCESS_DENY)).field("reason", Kind::Text, "A word to the agent"),
        requests(Verb::new("access revoke", route::ACCESS_REVOKE)).asks("Revoke the approval {id}?").done("Revoked."),
        // Messages.
        Verb::new("notify", route::NOTIFY)
            .takes("title", Kind::Text, "The title")
            .takes("body", Kind::Text, "The text")
            .field("priority", Kind::Text, "low, normal or high")
            .field("app_origin", Kind::Text, "The application that it is about")
            .or("none")
            .field("action_url", Kind::Text, "Where to act: an https URL, or a path of this site")
            .or("none")
            .field("user", Kind::Text, "Another user who may read you")
            .or("none"),
        Verb::new("notifications list", route::NOTIFICATIONS_LIST).table(&[
            ("TITLE", "title"),
            ("FROM", "source"),
            ("AT", "created_at"),
            ("READ", "read_at"),
            ("ID", "id"),
        ]),
        Verb::new("notifications count", route::NOTIFICATIONS_COUNT),
        Verb::new("notifications mails", route::NOTIFICATIONS_PREFERENCES),
        Verb::new("notifications choose-mails", route::NOTIFICATIONS_PREFER)
            .field("access_requests", Kind::Data, "true or false: an agent asks for access")
            .field("leaks", Kind::Data, "true or false: a credential was leaked")
            .field("expiring", Kind::Data, "true or false: a credential ends soon")
            .field("silent_agents", Kind::Data, "true or false: an agent has gone silent")
            .field("new_sign_ins", Kind::Data, "true or false: a sign-in with a new device or from a new network"),
        notifications(Verb::new("notifications read", route::NOTIFICATION_READ)).done("Read."),
        Verb::new("notifications read-all", route::NOTIFICATIONS_READ_ALL).done("Read."),
        notifications(Verb::new("notifications delete", route::NOTIFICATION_DELETE))
            .asks("Delete {id}?")
            .done("Deleted."),
        Verb::new("inbox read", route::INBOX).table(&[("AT", "at"), ("TYPE", "type"), ("DATA", "data"), ("ID", "id")]),
        Verb::new("inbox ack", route::INBOX_ACK).takes(
            "upto",
            Kind::Text,
            "The id of the last event that you have done",
        ),
        // Admins.
        Verb::new("admin users list", route::USERS_LIST).table(&[
            ("EMAIL", "email"),
            ("ROLE", "role"),
            ("ACTIVE", "active"),
            ("SIGNED IN", "last_login_at"),
        ]),
        users(Verb::new("admin users get", route::USERS_GET)),
        Verb::new("admin users create", route::USERS_CREATE)
            .takes("email", Kind::Text, "The address")
            .needs("name", Kind::Text, "The name")
            .field("role", Kind::Text, "viewer, member, curator or admin")
            .field("invite", Kind::No, "Send no invitation")
            .flagged("no-invite"),
        users(Verb::new("admin users update", route::USERS_PATCH))
            .field("name", Kind::Text, "The name")
            .field("role", Kind::Text, "viewer, member, curator or admin")
            .field("email", Kind::Text, "The address"),
        users(Verb::new("admin users delete", route::USERS_DELETE)).asks("Delete the user {id}?").done("Deleted."),
        users(Verb::new("admin users activate", route::USERS_ACTIVATE)),
        users(Verb::new("admin users deactivate", route::USERS_DEACTIVATE))
            .asks("Deactivate the user {id}, with all credentials?"),
        users(Verb::new("admin users set-password", route::PASSWORD_SET))
            .needs("password", Kind::Secret, "The new password")
            .done("Set."),
        users(Verb::new("admin users invite", route::USER_INVITE))
            .field("mail", Kind::Data, "true: mail the link to the user, instead of showing it")
            .show(Show::Secret("url")),
        users(Verb::new("admin users reset-password", route::USER_RESET_LINK))
            .field("mail", Kind::Data, "true: mail the link to the user, instead of showing it")
            .show(Show::Secret("url")),
        users(Verb::new("admin users remove-factor", route::USERS_FACTOR))
            .asks("Remove the second factor of the user {id}?")
            .done("Removed."),
        users(Verb::new("admin users unlink", route::USERS_IDENTITIES))
            .asks("Unlink the sign-ins of the user {id} at providers?")
            .done("Unlinked."),
        Verb::new("admin tenant get", route::TENANT),
        Verb::new("admin tenant update", route::TENANT_PATCH)
            .field("name", Kind::Text, "The tenant's name")
            .or("none")
            .field("ways", Kind::Words, "Ways to sign in, separated by commas")
            .field("second_factor", Kind::Text, "Of whom a second factor is demanded")
            .field("pat_days", Kind::Lasts(Unit::Days), "How long a personal access token lives, if nobody says")
            .or("never"),
        Verb::new("admin clients list", route::CLIENTS_LIST).table(&[
            ("NAME", "name"),
            ("SECRET", "confidential"),
            ("ID", "id"),
        ]),
        Verb::new("admin clients get", route::CLIENTS_GET),
        Verb::new("admin clients create", route::CLIENTS_CREATE)
            .needs("name", Kind::Text, "The name that people see")
            .needs("redirect_uris", Kind::Words, "Where browsers are sent back to, separated by commas")
            .field("confidential", Kind::Data, "true: it proves itself with a secret")
            .field("jwks", Kind::Object, "File with its public keys, in place of a secret")
            .field("jwks_uri", Kind::Text, "Where its public keys are, in place of a secret"),
        Verb::new("admin clients update", route::CLIENTS_PATCH)
            .field("name", Kind::Text, "The name that people see")
            .field("redirect_uris", Kind::Words, "Where browsers are sent back to, separated by commas")
            .field("jwks", Kind::Object, "File with its public keys, of a client that has some")
            .field("jwks_uri", Kind::Text, "Where its public keys are, of a client that has some"),
        Verb::new("admin clients delete", route::CLIENTS_DELETE)
            .asks("Delete the client {id}, and end all that people gave it?")
            .done("Deleted."),
        Verb::new("admin clients rotate", route::CLIENTS_ROTATE).show(Show::Secret("client_secret")),
        Verb::new("admin webhooks list", route::WEBHOOKS_LIST).table(&[
            ("URL", "url"),
            ("STATE", "state"),
            ("ID", "id"),
        ]),
        Verb::new("admin webhooks get", route::WEBHOOKS_GET),
        Verb::new("admin webhooks create", route::WEBHOOKS_CREATE)
            .needs("url", Kind::Text, "Where events are sent: an https URL of an allowed host")
            .flagged("webhook-url")
            .field("name", Kind::Text, "Its name")
            .field("kinds", Kind::Words, "Kinds of events, separated by commas; left out: all")
            .or("all")
            .field("agents", Kind::Words, "Agents that the events are about, separated by commas; left out: all")
            .or("all")
            .show(Show::Secret("secret")),
        Verb::new("admin webhooks update", route::WEBHOOKS_PATCH)
            .field("url", Kind::Text, "Where events are sent")
            .flagged("webhook-url")
            .field("name", Kind::Text, "Its name")
            .field("kinds", Kind::Words, "Kinds of events, separated by commas")
            .or("all")
            .field("agents", Kind::Words, "Agents that the events are about, separated by commas")
            .or("all")
            .field("state", Kind::Text, "active or disabled"),
        Verb::new("admin webhooks delete", route::WEBHOOKS_DELETE).asks("Delete the webhook {id}?").done("Deleted."),
        Verb::new("admin webhooks rotate", route::WEBHOOKS_ROTATE)
            .field("overlap_hours", Kind::Lasts(Unit::Hours), "How long the secret before signs too")
            .show(Show::Secret("secret")),
        Verb::new("admin webhooks test", route::WEBHOOKS_TEST),
        Verb::new("admin webhooks deliveries", route::DELIVERIES_LIST).table(&[
            ("AT", "created_at"),
            ("KIND", "kind"),
            ("STATE", "state"),
            ("TRIES", "tries"),
            ("STATUS", "status"),
            ("ERROR", "error"),
            ("ID", "id"),
        ]),
        Verb::new("admin webhooks delivery", route::DELIVERY_GET),
        Verb::new("admin webhooks retry", route::DELIVERY_RETRY),
        Verb::new("admin usage", route::USAGE).show(Show::Table(
            "users",
            &[("USER", "email"), ("AGENTS", "agents"), ("CREDENTIALS", "credentials"), ("BYTES", "bytes")],
        )),
        Verb::new("admin tokens list", route::TOKENS_LIST).table(&[
            ("OWNER", "user_email"),
            ("AGENT", "agent_name"),
            ("KIND", "kind"),
            ("STATUS", "status"),
            ("PREFIX", "prefix"),
        ]),
        Verb::new("admin tokens revoke", route::TOKENS_REVOKE)
            .look_up(route::TOKENS_LIST, "tok_")
            .asks("Revoke the credential {id}?")
            .done("Revoked."),
        Verb::new("admin audit list", route::AUDIT_LIST).table(&[
            ("AT", "at"),
            ("WHO", "actor.agent_name|actor.email"),
            ("ACTION", "action"),
            ("ON", "object_name"),
            ("OUTCOME", "outcome"),
        ]),
        Verb::new("admin audit export", route::AUDIT_EXPORT).show(Show::Plain),
        Verb::new("admin audit verify", route::AUDIT_VERIFY),
        Verb::new("admin mail test", route::MAIL_TEST),
        Verb::new("admin mail outbox", route::MAIL_OUTBOX).table(&[
            ("TO", "recipient"),
            ("KIND", "kind"),
            ("STATE", "state"),
            ("TRIES", "tries"),
            ("ID", "id"),
        ]),
        Verb::new("admin mail retry", route::MAIL_RETRY).look_up(route::MAIL_OUTBOX, "out_"),
        // The operator.
        Verb::new("bootstrap", route::BOOTSTRAP)
            .needs("email", Kind::Text, "The first admin's address")
            .needs("name", Kind::Text, "The first admin's name")
            .field("tenant", Kind::Text, "The tenant's short name")
            .needs("secret", Kind::Secret, "The operator secret")
            .needs("password", Kind::Secret, "The first admin's password"),
        Verb::new("operator tenant", route::TENANT_CREATE)
            .takes("tenant", Kind::Text, "The tenant's short name")
            .needs("email", Kind::Text, "Its admin's address")
            .needs("name", Kind::Text, "Its admin's name")
            .needs("secret", Kind::Secret, "The operator secret")
            .needs("password", Kind::Secret, "Its admin's password"),
        Verb::new("operator revoke", route::OPERATOR_REVOKE)
            .takes("issued_before", Kind::When, "The moment, such as 2026-11-22T02:38:46Z")
            .needs("secret", Kind::Secret, "The operator secret")
            .asks("End every credential of every tenant that was made before {issued_before}?"),
        Verb::new("ready", route::READYZ),
        Verb::new("auth ways", route::WAYS),
    ]
}

/// The routes that no verb of the table calls, and what calls them, or why nothing does.
#[cfg(test)]
pub(crate) const ELSEWHERE: &[(&Route, &str)] = &[
    (route::DOCTOR, "doctor"),
    (route::API_INDEX, "for programs; `--help` lists the verbs"),
    (route::HEALTHZ, "for load balancers; `ready` says more"),
    (route::SIGN_IN, "auth login --password"),
    (route::CODE_LOOK, "for the pages that mailed links open"),
    (route::DEVICE_CODE, "auth login, and whatever needs a session"),
    (route::DEVICE_TOKEN, "auth login, and whatever needs a session"),
    (route::OAUTH_TOKEN, "for clients of OAuth; `auth login` gets a token"),
    (route::OAUTH_METADATA, "for clients of OAuth"),
    (route::OAUTH_METADATA_ALIAS, "for clients of OAuth"),
    (route::OAUTH_JWKS, "for services that verify signed tokens"),
    (route::OAUTH_REVOKE, "for clients of OAuth; auth apps end does it for a person"),
    (route::AUTHORIZATION, "for the page that decides, where an app sends its person"),
    (route::AUTHORIZE, "for the page that decides, where an app sends its person"),
    (route::AUTHORIZE_DENY, "for the page that decides, where an app sends its person"),
    (route::CLIENT_DOCUMENT, "for the page that decides, where an app sends its person"),
    (route::LOGOUT, "auth logout ends a credential of any kind by the next route"),
    (route::OWN_END, "auth logout"),
    (route::FACTOR_VERIFY, "auth login --password"),
    (route::REAUTHENTICATE, "for a session that is kept; a terminal gets a fresh one of ten minutes"),
    (route::LINK_ASK, "for a browser; a terminal signs in by a code"),
    (route::LINK_SIGN_IN, "for a browser; a terminal signs in by a code"),
    (route::FORGOT, "for a browser, where the mailed link leads"),
    (route::RESET, "for a browser, where the mailed link leads"),
    (route::INVITE_ACCEPT, "for a browser, where the mailed link leads"),
    (route::OPERATOR_RECOVER, "for the operator of the server, with a secret that no user has"),
    (route::OIDC_LIST, "for a browser; a terminal signs in by a code"),
    (route::OIDC_START, "for a browser; a terminal signs in by a code"),
    (route::OIDC_LINK, "for a browser, which the provider sends back"),
    (route::OIDC_FINISH, "for a browser, which the provider sends back"),
    (route::IDENTITIES_LIST, "for the page where they are linked"),
    (route::IDENTITY_UNLINK, "for the page where they are linked"),
    (route::OVERVIEW, "for the first page; the lists say more"),
    (route::HOOK, "for other services, which sign what they send"),
    (route::ENROL, "auth enroll"),
    (route::NOTIFICATIONS_STREAM, "for pages; notifications list reads the same"),
    (route::INBOX_STREAM, "for runtimes; inbox read --wait waits too"),
    (route::TICK, "for the host and timers"),
    (route::KEY_SETS, "for another component of the server"),
    (route::PROOFS, "for other components of the server"),
    (route::VERIFY, "for proxies; whoami says who a credential is"),
    (route::VERIFY_BELOW, "for proxies that put a path before that of the request"),
    (route::EPOCHS, "for guards, which ask again and again"),
    (route::CLI_INSTALL, "what puts this command on a machine"),
    (route::CLI_MANIFEST, "self update"),
    (route::CLI_LATEST, "self update reads the manifest, which says it too"),
    (route::CLI_DOWNLOAD, "self update"),
    (route::CLI_WHEEL, "for pip and uv"),
    (route::CLI_SIMPLE, "for pip and uv"),
    (route::CLI_SIMPLE_ROOT, "for pip and uv"),
    (route::CLI_SIMPLE_BARE, "for pip and uv"),
    (route::CLI_SIMPLE_BARE_WHEELS, "for pip and uv"),
    (route::MCP, "for clients of models"),
    (route::MCP_RESOURCE, "for clients of models"),
    (route::MCP_RESOURCE_OF, "for clients of models"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use common::route::{Group, Query, ROUTES};

    use super::*;

    /// R66, R106: every route for people or agents has a verb, or a reason.
    #[test]
    fn every_route_has_a_verb_or_a_reason() {
        let verbs = all();
        let has_verb = |route: &Route| verbs.iter().any(|verb| verb.route == route || verb.bulk == Some(route));
        let is_once = |route: &Route| {
            let reasons = ELSEWHERE.iter().filter(|(known, _)| *known == route).count();
            usize::from(has_verb(route)) + reasons == 1
        };
        let routes = ROUTES.iter().filter(|route| !matches!(route.group, Group::Web | Group::Docs) && !is_once(route));
        let wrong: Vec<String> = routes.map(|route| format!("{} {}", route.method, route.path)).collect();
        assert!(wrong.is_empty(), "neither a verb nor a reason, or both: {wrong:#?}");
    }

    /// R149: every field of a route's body can be typed, and nothing that it has not; the reference is written from the routes' forms.
    #[test]
    fn every_field_can_be_typed() {
        let fields: serde_json::Value = serde_json::from_str(include_str!("../../docs/reference/fields.json")).unwrap();
        // `agents log` sends one line; the list of several is for programs.
        let left_out = [("agents log", "lines")];
        let mut wrong = Vec::new();
        for verb in all() {
            let Some(body) = fields[format!("{} {}", verb.route.method, verb.route.path)]["body"].as_array() else {
                continue;
            };
            let is_file = verb.inputs.iter().any(|input| input.kind == Kind::File);
            let known: BTreeSet<&str> = body.iter().filter_map(|field| field[0].as_str()).collect();
            let typed: BTreeSet<&str> =
                verb.inputs.iter().filter(|input| input.at == At::Body).map(|input| input.name).collect();
            let differ = known.symmetric_difference(&typed).filter(|name| !left_out.contains(&(verb.words, name)));
            wrong.extend(differ.filter(|_| !is_file).map(|name| format!("{}: {name}", verb.words)));
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// R370: the page of the command lists every verb: `agents keys list\|get` stands for two.
    #[test]
    fn the_page_lists_every_verb() {
        let page = include_str!("../../docs/agents/cli.md").replace("\\|", "|");
        let mut listed = BTreeSet::new();
        for words in page.split('`').skip(1).step_by(2) {
            let words = words.trim_start_matches("accredit ").split([' ']).filter(|word| *word == word.to_lowercase());
            let words = words.take_while(|word| !word.starts_with(['[', '-'])).collect::<Vec<_>>().join(" ");
            let (before, last) = words.rsplit_once(' ').map_or((String::new(), &*words), |(b, l)| (format!("{b} "), l));
            listed.extend(last.split('|').map(|last| format!("{before}{last}")));
        }
        let missing: Vec<&str> = all().iter().map(|verb| verb.words).filter(|words| !listed.contains(*words)).collect();
        assert_eq!(missing, Vec::<&str>::new());
    }

    /// R149: where null says something, it can be typed; the reference says which fields take it.
    #[test]
    fn what_can_be_null_can_be_typed() {
        let document: serde_json::Value =
            serde_json::from_str(include_str!("../../docs/reference/openapi.json")).unwrap();
        // The word could be a tenant's name, and null is what is left out.
        let left_out = [("bootstrap", "tenant")];
        let (mut wrong, mut nullable) = (Vec::new(), 0);
        for verb in all() {
            let method = verb.route.method.to_ascii_lowercase();
            let body = &document["paths"][verb.route.path][method]["requestBody"]["content"]["application/json"];
            let inputs = verb.inputs.iter().filter(|input| input.at == At::Body);
            for input in
                inputs.filter(|input| matches!(input.kind, Kind::Text | Kind::Number | Kind::Words | Kind::Lasts(_)))
            {
                let schema = &body["schema"]["properties"][input.name];
                let is_nullable = schema["type"].as_array().is_some_and(|types| types.contains(&"null".into()));
                nullable += usize::from(is_nullable);
                if is_nullable != input.null.is_some() && !left_out.contains(&(verb.words, input.name)) {
                    wrong.push(format!("{}: {}", verb.words, input.name));
                }
            }
        }
        assert!(wrong.is_empty() && nullable > 20, "{nullable} {wrong:#?}");
    }

    #[test]
    fn the_verbs_are_well_formed() {
        let mut words = BTreeSet::new();
        for verb in all() {
            assert!(words.insert(verb.words), "{} stands twice", verb.words);
            let mut typed: BTreeSet<&str> = verb.names().collect();
            for input in &verb.inputs {
                let is_new = typed.insert(input.name);
                // `agents keys create AGENT NAME` has two names.
                assert!(is_new || input.name == "name", "{}: {}", verb.words, input.name);
                if let (At::Query, Query::Only(known)) = (input.at, verb.route.query) {
                    assert!(known.contains(&input.name), "{}: {}", verb.words, input.name);
                }
            }
            let questions = [verb.asks, if let Show::Done(done) = verb.show { Some(done) } else { None }];
            for text in questions.into_iter().flatten() {
                let mut named = text.split('{').skip(1).filter_map(|rest| rest.split('}').next());
                assert!(named.all(|name| typed.contains(name)), "{}: {text}", verb.words);
            }
            if verb.route.method == "DELETE" {
                assert!(verb.asks.is_some(), "{} asks nothing", verb.words);
            }
        }
    }
}
