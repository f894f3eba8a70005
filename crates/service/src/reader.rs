//! What the fixes of a refusal know of the caller that reads them: its name and its owner, and which requests it cannot send itself.

use common::{
    error::{Code, Reader},
    fix::Bar,
    route::{self, Access, Route},
};

use crate::{app::App, caller::Caller, fixes, guard};

/// For the fixes of a refusal of this caller's request.
pub fn of<'a>(caller: &'a Caller, app: &App) -> Reader<'a> {
    Reader {
        tenant: caller.tenant(),
        agent_and_owner: caller.agent_and_owner(),
        bar: Box::new(|route, path| bar(caller, route, path)),
        tell: tell(caller, app),
    }
}

/// What keeps a caller from sending a request of a row to a path, as far as it is known before. A fix does not advise it then.
fn bar(caller: &Caller, route: &Route, path: &str) -> Option<Bar> {
    if route.access == Access::Public {
        return None;
    }
    if !route.while_halted && caller.check_agent().is_err() {
        return Some(Bar::Halted);
    }
    if let Err(refusal) = guard::check_kind(caller, route) {
        return Some(match refusal.code() {
            Code::SessionRequired => Bar::Session,
            Code::AgentRequired => Bar::Agent,
            _ => Bar::Person,
        });
    }
    match route.access {
        Access::Scope(scope) if !caller.scope().contains(scope) && !guard::names_own(path, caller, route) => {
            Some(Bar::Scope { scope, by_role: caller.role().ceiling().contains(scope) })
        }
        _ => None,
    }
}

/// How an agent tells its owner of a request that is not its own to send, behind a sentence that asks the owner. Empty for a caller that is no
/// agent, or cannot notify now.
fn tell(caller: &Caller, app: &App) -> String {
    if caller.agent_id().is_none() || bar(caller, route::NOTIFY, route::NOTIFY.path).is_some() {
        return String::new();
    }
    let call = fixes::plain(app, "This");
    format!(
        ", with POST /api/ui/notify {{\"title\": \"I cannot do this myself\", \"body\": \"{call} takes a person.\"}}"
    )
}
