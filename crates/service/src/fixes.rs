//! How a caller fixes a refusal: the requests that would give it what is missing, and the callers that can send them.

use common::{
    error::{ApiError, Code},
    role::Role,
    route::ACCESS_ASK,
    scope::{Scope, Scopes},
    secret::Kind,
};
use serde_json::json;
use store::credential::{AgentRow, CredentialRow};

use crate::app::App;

/// The refusal of a credential that ended, with the step to the next one. Of one that was replaced the next one is there: a client that
/// lost the answer goes on with that one, and makes no third.
pub(crate) fn ended(row: &CredentialRow, code: Code) -> ApiError {
    let Some(agent) = &row.agent else {
        if let Some(is_let_in) = row.app {
            return ended_app(row, code, is_let_in);
        }
        let Some(next) = &row.replaced_by else { return code.into() };
        let step = format!("rotate it with a session: POST /auth/tokens/{next}/rotate");
        return replaced(code, next, &step);
    };
    if let Some(federated) = &row.federated
        && !agent.is_archived
    {
        return ApiError::from(code)
            .fix(format!(
                "Send a new token of your platform with POST /oauth/token, client_id={federated}. If that is refused, ask {} whether the agent still trusts you: GET /api/agents/{}/federated-credentials.",
                row.email, agent.name
            ))
            .page("/docs/agents/concepts/workload-identity#getting-a-credential");
    }
    // The name of an archived agent may belong to another one by now: it is registered again.
    let name = &agent.name;
    let step = match row.kind {
        _ if agent.is_archived => format!("POST /api/agents {{\"name\": \"{name}\"}}"),
        Kind::ApiKey => format!("POST /api/agents/{name}/keys {{\"name\": \"<a new name>\"}}"),
        _ => format!("POST /api/agents/{name}/token/issue"),
    };
    match &row.replaced_by {
        Some(next) if !agent.is_archived => replaced(code, next, &format!("ask {} for another: {step}", row.email)),
        _ => code.with("step", step),
    }
}

/// The same of an app's access token. The next one comes by a refresh, as long as its person lets the app in.
fn ended_app(row: &CredentialRow, code: Code, is_let_in: bool) -> ApiError {
    let fix = match is_let_in {
        true => {
            "Send POST /oauth/token with grant_type=refresh_token and the app's refresh_token: the response has the next access token. If \
             that is refused, send the person to /oauth/authorize again."
        }
        false => "What the person gave this app has ended. Send the person to /oauth/authorize again.",
    };
    let refusal = match &row.replaced_by {
        Some(record) => {
            code.detail("A refresh replaced this access token, so it has ended.").extra("replaced_by", record.as_str())
        }
        None => code.into(),
    };
    refusal.fix(fix).page("/docs/agents/concepts/oauth-clients#when-it-ends")
}

fn replaced(code: Code, next: &str, step: &str) -> ApiError {
    code.detail(format!("This credential was replaced by {next} and has ended."))
        .fix(format!("Use the credential that replaced it, {next}. If that one is lost, {step}."))
        .extra("replaced_by", next)
}

/// The refusal of what takes a session. An app has none, and no use for its person's password.
pub(crate) fn session_only(row: &CredentialRow) -> ApiError {
    let refusal = ApiError::from(Code::SessionRequired);
    match row.app {
        Some(_) => refusal.fix("Ask the person to do this on the pages of this server, where they sign in themselves."),
        None => refusal,
    }
}

/// The refusal of a caller that lacks a scope. An agent reads how to ask for it, a person how to get it. `allows`: the roles whose
/// ceiling has the scope.
pub(crate) fn missing_scope(
    row: &CredentialRow,
    scope: &str,
    can_notify: bool,
    allows: &dyn Fn(Role) -> bool,
) -> ApiError {
    let refusal = Code::ScopeDenied.detail(format!("This credential lacks the scope {scope}, which this route needs."));
    steps_to(refusal, row, &[scope], can_notify, allows)
}

/// The refusal with the steps to these scopes, of which there is at least one.
pub(crate) fn steps_to(
    refusal: ApiError,
    row: &CredentialRow,
    missing: &[&str],
    can_notify: bool,
    allows: &dyn Fn(Role) -> bool,
) -> ApiError {
    let scope = &missing.join(", ");
    let (role, user) = (row.subject.role, row.subject.user.as_str());
    let raise = (!allows(role)).then(|| {
        let least = Role::ALL.into_iter().find(|role| allows(*role)).unwrap_or(Role::Admin).as_str();
        format!("PATCH /api/users/{user} {{\"role\": \"{least}\"}}")
    });
    let Some(agent) = &row.agent else {
        if let (None, Some(_)) = (&raise, row.app) {
            let fix = format!(
                "Send the person to /oauth/authorize again, with {scope} in scope beside what the app has. They decide there."
            );
            return refusal.fix(fix).page("/docs/agents/concepts/oauth-clients#asking");
        }
        let steps = match raise {
            None => format!(
                "Sign in with POST /auth/token {{\"email\": \"…\", \"password\": \"…\", \"tenant\": \"{}\"}}: a session carries everything \
                 that your role allows",
                row.tenant
            ),
            Some(raise) => format!(
                "Ask an admin of your tenant to do it for you. If you need it often, ask them to raise your role: {raise}"
            ),
        };
        return refusal.with("person_steps", steps);
    };
    if raise.is_some() {
        let tell = tell_owner(&row.email, can_notify, "This route", scope);
        return refusal
            .fix(format!("The role of your owner does not allow {scope}, so nobody can approve it for you. {tell}"));
    }
    let refusal = refusal.with("steps", agent_steps(row, agent, missing));
    match can_ask(row, missing) {
        true => refusal.extra(
            ASK,
            json!({
                "method": ACCESS_ASK.method,
                "path": ACCESS_ASK.path,
                "body": { "scope": missing, "reason": format!("A service that I call needs {scope}.") },
            }),
        ),
        false => refusal,
    }
}

/// The member of a refusal that holds the ask.
pub(crate) const ASK: &str = "ask";

/// Whether an approval could help: it counts for the agent's token alone, and not for one that an editor issued. `agents.share` is never
/// approved, since a grant outlasts the approval.
fn can_ask(row: &CredentialRow, missing: &[&str]) -> bool {
    row.kind == Kind::AgentToken && row.subject.grantee.is_none() && !missing.contains(&Scope::AgentsShare.as_str())
}

/// The request as a text of JSON can name it; `or` for a path that cannot stand there.
pub(crate) fn plain(app: &App, or: &str) -> String {
    let path = app.head().uri.path();
    let is_plain = path.len() <= 1000 && path.chars().all(|c| c.is_ascii_alphanumeric() || "/_.~%-".contains(c));
    if is_plain { format!("{} {path}", app.head().method) } else { or.to_owned() }
}

/// How an agent tells its owner that it lacks something that it cannot ask for.
pub(crate) fn tell_owner(owner: &str, can_notify: bool, call: &str, scope: &str) -> String {
    match can_notify {
        true => format!(
            "Tell your owner {owner}: POST /api/ui/notify {{\"title\": \"I cannot do this myself\", \"body\": \"{call} needs {scope}, and more \
             than I can ask for.\"}}."
        ),
        false => format!("Tell your owner {owner}, and go on with something else."),
    }
}

/// How an agent asks for a scope. An approval counts for its token, never for a key.
fn agent_steps(row: &CredentialRow, agent: &AgentRow, scope: &[&str]) -> String {
    let owner = &row.email;
    if let Some(federated) = &row.federated {
        return format!(
            "{owner} can make a federated credential that gives more with POST /api/agents/{0}/federated-credentials: \
             GET /api/agents/{0}/federated-credentials/{federated} shows the one that you use. What people approve at /api/access-requests \
             applies to the agent's token, never to what a workload gets",
            agent.name
        );
    }
    if row.kind == Kind::ApiKey {
        let step = widened(row, agent, scope, &|scopes| {
            format!("POST /api/agents/{}/keys {{\"name\": \"<a new name>\", \"scope\": {scopes}}}", agent.name)
        });
        return format!(
            "{owner} can send {step} and give you the key of the response. What people approve at /api/access-requests applies to the agent's \
             token, never to a key"
        );
    }
    if row.subject.grantee.is_some() {
        let step = reissued(row, agent, scope);
        return format!(
            "{owner} can send {step} and give you the token of the response. What people approve at /api/access-requests does not apply \
             to a credential that an editor issued"
        );
    }
    // It is never approved for a limited time, since a grant outlasts the approval.
    if scope.contains(&Scope::AgentsShare.as_str()) {
        return format!("{owner} can send {}", sharing(row));
    }
    let asked = match scope {
        [one] => json!(one),
        several => json!(several),
    };
    let covered = |patterns: &str| Scopes::stored(patterns, &row.custom_scopes);
    // After the ceiling was widened, the token is still the one from before.
    let is_within_ceiling = covered(&scope.join(" ")).without(&covered(&agent.scope)).is_empty();
    let or_anew = if is_within_ceiling {
        let step = reissued(row, agent, scope);
        format!(
            ". Your ceiling allows it, and only your token lacks it: {owner} can send {step} and give you the token of the response"
        )
    } else {
        String::new()
    };
    format!(
        "POST /api/access-requests {{\"scope\": {asked}, \"reason\": \"…\"}}. When {owner} or an admin has approved it, your \
         token can use it{or_anew}"
    )
}

/// The request that an agent's owner must send for a token that can share, beside everything that this one carries within the
/// ceiling. Empty for a person.
pub(crate) fn sharing(row: &CredentialRow) -> String {
    let Some(agent) = &row.agent else { return String::new() };
    reissued(row, agent, &[Scope::AgentsShare.as_str()])
}

/// The step that issues another token with `scope`.
fn reissued(row: &CredentialRow, agent: &AgentRow, scope: &[&str]) -> String {
    widened(row, agent, scope, &|scopes| format!("POST /api/agents/{}/token/issue {{\"scope\": {scopes}}}", agent.name))
}

/// The step that makes a credential with `scope` and everything that this one carries within the ceiling; before it the step that puts
/// the scope into the agent's ceiling, if it is not there.
fn widened(row: &CredentialRow, agent: &AgentRow, scope: &[&str], make: &dyn Fn(String) -> String) -> String {
    let covered = |patterns: &str| Scopes::stored(patterns, &row.custom_scopes);
    let as_json = |names: Vec<&str>| json!(names).to_string();
    let (ceiling, needed) = (covered(&agent.scope), covered(&scope.join(" ")));
    let allowed = ceiling.clone().or(needed.clone());
    let is_kept = |pattern: &&str| {
        let set = covered(pattern);
        !scope.contains(pattern) && !set.is_empty() && set.without(&allowed).is_empty()
    };
    let mut carried: Vec<&str> = row.scope.split_ascii_whitespace().filter(is_kept).collect();
    carried.extend(scope);
    let make = make(as_json(carried));
    if needed.without(&ceiling).is_empty() {
        return make;
    }
    let mut wider: Vec<&str> = agent.scope.split_ascii_whitespace().collect();
    wider.extend(scope);
    format!("PATCH /api/agents/{} {{\"scope\": {}}}, then {make}", agent.name, as_json(wider))
}
