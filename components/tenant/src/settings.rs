//! The tenant itself: its name, the ways to sign in, the demand of a second factor, and what is usual for new tokens.

use common::{
    entrance::{Demand, Entrance, Entrances},
    error::{ApiError, Code, Flaws},
    text::{persons_name, within},
    time::MAX_DAYS,
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value as Json;
use service::{
    app::App,
    caller::{Caller, WayToProve},
    change::{Answer, Change, Write},
    extract::Body,
    form,
    form::Nullable,
    response::{Response, json},
};
use store::{
    addressee, audit,
    tenant::{self, Tenant},
};

/// The most characters of a name.
const NAME: usize = 64;

/// `GET /api/tenant`: the settings, for all its people.
pub(crate) async fn get(app: App, caller: Caller) -> Result<Response, ApiError> {
    json(StatusCode::OK, &tenant::get(app.db(), caller.tenant_id()).await?)
}

form! {
    pub(crate) struct Patch {
        name: Option<Nullable<String>>,
        ways: Option<Vec<String>>,
        second_factor: Option<String>,
        pat_days: Option<Nullable<i64>>,
    }
}

/// `PATCH /api/tenant`: changes what is sent.
pub(crate) async fn patch(change: Change<Body<Patch>>) -> Result<Response, ApiError> {
    let Body(Patch { name, ways, second_factor, pat_days }) = &change.input;
    if name.is_none() && ways.is_none() && second_factor.is_none() && pat_days.is_none() {
        return Err(ApiError::field("", "send at least one of: name, ways, second_factor, pat_days"));
    }
    let mut flaws = Flaws::default();
    let read_name =
        |Nullable(name): &Nullable<String>| name.as_deref().map(|name| persons_name("name", name, NAME)).transpose();
    let read_days =
        |Nullable(days): &Nullable<i64>| days.map(|days| within("pat_days", days, 1..=MAX_DAYS)).transpose();
    let name = flaws.check("name", name.as_ref().map(read_name).transpose());
    let ways = flaws.check("ways", ways.as_deref().map(read_ways).transpose());
    let demand = flaws.check("second_factor", second_factor.as_deref().map(read_demand).transpose());
    let pat_days = flaws.check("pat_days", pat_days.as_ref().map(read_days).transpose());
    let (Some(name), Some(ways), Some(demand), Some(pat_days)) = (name, ways, demand, pat_days) else {
        return Err(flaws.refusal());
    };
    change
        .run(async |write, _| {
            let id = write.caller.tenant_id();
            let found = tenant::get(&write.tx, id).await?;
            let was = found.clone();
            let changed = Tenant {
                name: name.unwrap_or(was.name),
                ways: ways.unwrap_or(was.ways),
                second_factor: demand.unwrap_or(was.second_factor),
                pat_days: pat_days.unwrap_or(was.pat_days),
                ..was
            };
            let answer = Answer::ok(&changed)?;
            if changed == found {
                return Ok(answer.unchanged());
            }
            // An admin that demands it has one, so that no demand locks everybody out.
            let is_new_demand = changed.second_factor != found.second_factor && changed.second_factor != Demand::Nobody;
            if is_new_demand && write.caller.way_to_prove() != WayToProve::Code {
                return Err(Code::OwnFactorFirst.into());
            }
            let has_mail = write.app().settings().has_mail();
            if !tenant::update(&write.tx, id, &changed, has_mail).await? {
                return Err(Code::LastWayIn.into());
            }
            let (before, after) = audit::changed(audited(&found), audited(&changed));
            tell_admins(write, &before, &after).await?;
            Ok(answer.audited(id, before, after))
        })
        .await
}

/// Tells the other admins of what decides who gets in.
async fn tell_admins(write: &Write<'_>, before: &Json, after: &Json) -> Result<(), ApiError> {
    let said = |value: &Json| match value {
        Json::Array(words) => words.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(", "),
        value => value.as_str().unwrap_or_default().to_owned(),
    };
    let told = [("ways", "the ways to sign in"), ("second_factor", "of whom a second factor is demanded")];
    let changed = told.iter().filter_map(|(member, words)| {
        let (was, now) = (before.get(member)?, after.get(member)?);
        Some(format!("{words} from {} to {}", said(was), said(now)))
    });
    let changed: Vec<String> = changed.collect();
    if changed.is_empty() {
        return Ok(());
    }
    let body = format!("{} changed {}.", write.author(), changed.join(", and "));
    for admin in addressee::admins(&write.tx, write.caller.tenant_id()).await? {
        write.tell(&admin, "Who gets in was changed", &body).await?;
    }
    Ok(())
}

fn read_ways(words: &[String]) -> Result<Entrances, ApiError> {
    let ways: Option<Vec<Entrance>> = words.iter().map(|word| Entrance::from_word(word)).collect();
    let ways = ways.map(Entrances::new).filter(|ways| !ways.is_empty());
    ways.ok_or_else(|| ApiError::field("ways", "must be a list of at least one of: password, link, oidc"))
}

fn read_demand(word: &str) -> Result<Demand, ApiError> {
    Demand::from_word(word).ok_or_else(|| ApiError::field("second_factor", "must be one of: nobody, admins, all"))
}

/// The content of an audit row about a tenant.
fn audited(tenant: &Tenant) -> Json {
    serde_json::json!({
        "name": tenant.name, "ways": tenant.ways, "second_factor": tenant.second_factor, "pat_days": tenant.pat_days,
    })
}

/// What a page for signing in has to know before anybody has signed in.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Ways {
    /// Its name, if it is known which one is meant.
    tenant: Option<String>,
    name: Option<String>,
    ways: Entrances,
}

/// `GET /auth/ways`: the ways of the tenant of the bootstrap, which nobody has to name. Of no other tenant: it would tell a stranger that
/// there is one.
pub(crate) async fn ways(app: App) -> Result<Response, ApiError> {
    let usual = tenant::find_usual(app.db()).await?;
    let ways = match usual {
        Some(tenant) => Ways { tenant: Some(tenant.slug), name: tenant.name, ways: tenant.ways },
        None => Ways { tenant: None, name: None, ways: Entrances::new(Entrance::ALL) },
    };
    json(StatusCode::OK, &ways)
}

#[cfg(test)]
mod tests;
