//! A token that replaces itself: the profile that it was saved in goes on with its successor.

use common::{
    route,
    secret::{Kind, Secret},
};
use serde_json::Value as Json;

use crate::{
    context::Context,
    fail::Failure,
    http::{Answer, Call, Client},
    show,
    verbs::Verb,
};

/// Saves the token that has replaced the profile's own, which ends within a minute. One of the environment is for its user to set.
pub(crate) fn keep(
    context: &Context,
    client: &Client,
    verb: &Verb,
    names: &[String],
    answer: &Answer,
) -> Result<(), Failure> {
    let Some(token) = text(&answer.json, "token").and_then(Secret::parse) else { return Ok(()) };
    if !replaces_its_own(client, verb, names, &answer.json)? {
        return Ok(());
    }
    if context.settings.is_from_environment {
        show::warn("ACCREDIT_TOKEN holds the token that this one replaces, and which ends soon: set it to this one.");
        return Ok(());
    }
    let settings = &context.settings;
    // The one before ends by itself.
    settings.save(&client.url, &token, settings.key_of_token(), settings.is_made)?;
    show::say(&format!("Saved in {}, profile {}.", context.settings.file()?.display(), context.settings.profile));
    Ok(())
}

/// Whether the token that was sent is the one that was replaced.
fn replaces_its_own(client: &Client, verb: &Verb, names: &[String], answer: &Json) -> Result<bool, Failure> {
    let (Some(own), Some(name)) = (client.token(), names.first()) else { return Ok(false) };
    if verb.route == route::PATS_ROTATE {
        return Ok(text(answer, "minted_with") == Some(name));
    }
    if verb.route != route::TOKEN_ISSUE || own.kind() != Kind::AgentToken {
        return Ok(false);
    }
    if name == "me" {
        return Ok(true);
    }
    let who = client.call(route::WHOAMI, Call::default())?.json;
    Ok(["agent_name", "agent_id"].iter().any(|member| text(&who, member) == Some(name)))
}

fn text<'j>(json: &'j Json, name: &str) -> Option<&'j str> {
    json.get(name).and_then(Json::as_str)
}
