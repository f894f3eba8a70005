//! Times, states, scopes and events in words.

use std::borrow::Borrow;

use askama::filters::Safe;
use common::{
    error::Code,
    json,
    text::{self, isolated},
    time::Timestamp,
};
use serde_json::Value as Json;

use crate::api::Members;

/// A piece of HTML whose texts are escaped already.
pub(crate) type Html = Safe<String>;

/// HTML that was written with all of its texts escaped.
pub(crate) fn written(html: String) -> Html {
    Safe(html)
}

/// Escapes a text for HTML, in text and in quoted attributes, and isolates it.
pub(crate) fn escape(text: &str) -> String {
    let text = isolated(text);
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A body of JSON, a member a line. What would not be seen, or would direct what stands beside it, is written as an escape.
pub(crate) fn body(sent: &str) -> String {
    let lines = serde_json::from_str::<Json>(sent).and_then(|body| serde_json::to_string_pretty(&body));
    json::escaped(&lines.unwrap_or_else(|_| sent.to_owned()))
}

/// The address that a session was last used from; one that was never used has none.
pub(crate) fn used_from(session: &Json) -> &str {
    Some(session.text("last_used_address")).filter(|address| !address.is_empty()).unwrap_or("unknown")
}

/// The fields that every form has: the CSRF token, and the key that makes sending it twice the same as once.
pub(crate) fn hidden(csrf: &str, once: &str) -> Html {
    let both = hidden_field("csrf", csrf).0 + &hidden_field("once", once).0;
    Safe(both)
}

/// A hidden field.
pub(crate) fn hidden_field(name: &str, value: &str) -> Html {
    Safe(format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escape(value)))
}

/// The attributes of a field that is wrong; nothing for others.
pub(crate) fn flaw(wrong: &[(String, String)], field: &str) -> Html {
    match wrong.iter().any(|(name, _)| name == field) {
        true => Safe(format!(" aria-invalid=\"true\" aria-describedby=\"wrong-{}\"", escape(field))),
        false => Safe(String::new()),
    }
}

/// What is wrong about a field, to stand behind it.
pub(crate) fn told(wrong: &[(String, String)], field: &str) -> Html {
    match wrong.iter().find(|(name, _)| name == field) {
        Some((_, problem)) => {
            let mut letters = problem.chars();
            let problem: String =
                letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default();
            Safe(format!("<span class=\"wrong\" id=\"wrong-{}\">{}</span>", escape(field), escape(&problem)))
        }
        None => Safe(String::new()),
    }
}

/// A time as a distance from now, with the exact one beside it. `otherwise` stands for no time.
pub(crate) fn when(now: Timestamp, at: &str, otherwise: &str) -> Html {
    let Some(at) = Timestamp::parse(at) else { return Safe(escape(otherwise)) };
    let exact = at.to_string();
    // `2026-11-26T17:16:57.688Z`
    let title = exact.get(..19).map(|text| format!("{} UTC", text.replace('T', " "))).unwrap_or_default();
    Safe(format!("<time datetime=\"{exact}\" title=\"{title}\">{}</time>", distance(now, at)))
}

/// When something is due: what has been due for a while is due now, and not so long ago. The script of the pages goes on so.
pub(crate) fn due(now: Timestamp, at: &str) -> Html {
    let seen = Timestamp::parse(at).map_or(now, |at| at.min(now));
    let Safe(html) = when(seen, at, "never");
    Safe(html.replacen("<time ", "<time data-due ", 1))
}

fn distance(now: Timestamp, at: Timestamp) -> String {
    let seconds = (at.millis() - now.millis()) / 1000;
    let s = seconds.unsigned_abs();
    // What was, was so long ago at least; what will be is rounded, so that 90 days are 90 a moment later.
    let in_units = |unit: u64| if seconds < 0 { s / unit } else { (s + unit / 2) / unit };
    let words = match s {
        0..5 => return "now".to_owned(),
        5..60 => format!("{s} s"),
        60..3600 => format!("{} min", in_units(60)),
        3600..172_800 => format!("{} h", in_units(3600)),
        172_800..8_640_000 => format!("{} days", in_units(86_400)),
        8_640_000..63_072_000 => format!("{} months", in_units(2_592_000)),
        _ => format!("{} years", in_units(31_536_000)),
    };
    if seconds < 0 { format!("{words} ago") } else { format!("in {words}") }
}

/// A state: a word and a shape beside its colour.
pub(crate) fn state(word: &str) -> Html {
    let (class, text) = match word {
        "running" => ("good", "Running"),
        "deploying" => ("wait", "Deploying"),
        "failed" => ("bad", "Failed"),
        "paused" => ("wait", "Paused"),
        "stopped" => ("bad", "Stopped"),
        "open" => ("wait", "Waiting"),
        "approved" => ("good", "Approved"),
        "denied" => ("bad", "Denied"),
        "ended" => ("off", "Ended"),
        "spent" => ("off", "Used"),
        "active" => ("good", "Active"),
        "not joined" => ("wait", "Not signed in yet"),
        "expiring" => ("wait", "Ends soon"),
        "expired" => ("off", "Expired"),
        "revoked" => ("off", "Revoked"),
        "disabled" => ("off", "Off"),
        "due" => ("wait", "Waits"),
        "sent" => ("good", "Sent"),
        "dead" => ("bad", "Failed"),
        "waits" => ("wait", "Waits"),
        "deactivated" => ("bad", "Deactivated"),
        "owner deactivated" => ("bad", "Owner deactivated"),
        "over budget" => ("bad", "Over budget"),
        "refused" => ("bad", "Refused"),
        "done" => ("good", "Done"),
        "lets it in" => ("good", "Lets it in"),
        "not run" => ("off", "Not run"),
        "unauthorized" => ("bad", "Unknown credential"),
        "forbidden" => ("bad", "Not allowed there"),
        "unexpected" => ("wait", "Unexpected answer"),
        "unreachable" => ("wait", "No answer"),
        "no secret" => ("bad", "No secret"),
        "not_allowed" => ("bad", "Host not allowed"),
        other => ("off", other),
    };
    Safe(format!("<span class=\"state {class}\">{}</span>", escape(text)))
}

/// A text, or what stands for none.
pub(crate) fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

/// The first scopes of a list, those that change something first, and how many more there are.
pub(crate) fn tags(scopes: &[Json], most: usize) -> Html {
    let mut names: Vec<&str> = scopes.iter().filter_map(Json::as_str).collect();
    names.sort_by_key(|name| [".read", ".list", ".logs"].iter().any(|end| name.ends_with(end)));
    let mut html: String =
        names.into_iter().take(most).map(|name| format!("<span class=\"tag\">{}</span>", tag(name))).collect();
    match scopes.len().saturating_sub(most) {
        0 if scopes.is_empty() => html.push_str("<span class=\"faint\">nothing</span>"),
        0 => {}
        more => html.push_str(&format!("<span class=\"tag more\">+{more}</span>")),
    }
    Safe(format!("<span class=\"tags\">{html}</span>"))
}

fn tag(name: &str) -> String {
    if name == "*" { "everything".to_owned() } else { escape(name) }
}

/// What happened, as the rest of a sentence after the actor's name. What is not here is shown by its own word.
const EVENTS: &[(&str, &str)] = &[
    ("access.approve", "approved a request of"),
    ("access.deny", "denied a request of"),
    ("access.request", "asked for access:"),
    ("access.withdraw", "withdrew a request:"),
    ("access.revoke", "took an approval back from"),
    ("access.spend", "used what was approved once:"),
    ("agent.archive", "archived"),
    ("agent.create", "registered"),
    ("agent.deploy", "asked for the deployment of"),
    ("agent.deploy.fail", "reported a failed deployment of"),
    ("agent.federated_credential.create", "let workloads of an issuer act as"),
    ("agent.federated_credential.delete", "stopped trusting workloads for"),
    ("agent.federated_credential.use", "proved by its platform to be"),
    ("agent.import", "imported"),
    ("agent.key.create", "made a key for"),
    ("agent.key.delete", "deleted a key of"),
    ("agent.key.rotate", "rotated a key of"),
    ("agent.key.share", "shared a key of"),
    ("agent.key.unshare", "stopped sharing a key of"),
    ("agent.message", "sent a message to"),
    ("agent.hook", "sent a signed hook to"),
    ("agent.pause", "paused"),
    ("agent.probe.create", "made a probe for"),
    ("agent.probe.delete", "deleted a probe of"),
    ("agent.probe.run", "ran a probe of"),
    ("agent.purge", "purged"),
    ("agent.restart", "restarted"),
    ("agent.restore", "restored"),
    ("agent.enroll", "enrolled"),
    ("agent.enrolment.create", "made an enrolment code for"),
    ("agent.enrolment.revoke", "ended the enrolment code of"),
    ("agent.resume", "resumed"),
    ("agent.secret.delete", "deleted a secret of"),
    ("agent.secret.read", "read the secrets of"),
    ("agent.secret.set", "set secrets of"),
    ("agent.share", "shared"),
    ("agent.start", "started"),
    ("agent.stop", "stopped"),
    ("agent.start_all", "undid the stop of every agent"),
    ("agent.stop_all", "stopped every agent"),
    ("agent.token.issue", "issued a token for"),
    ("agent.token.revoke", "revoked the token of"),
    ("agent.unshare", "stopped sharing"),
    ("agent.update", "changed"),
    ("identity.link", "linked an identity:"),
    ("identity.unlink", "unlinked an identity:"),
    ("user.choose_mail", "chose the mails of"),
    ("audit.export", "exported the audit trail"),
    ("credential.end", "ended credentials of an editor for"),
    ("factor.begin", "began to set up a second factor for"),
    ("factor.confirm", "set up a second factor for"),
    ("factor.recovery_codes", "replaced the recovery codes of"),
    ("factor.remove", "removed the second factor of"),
    ("device.approve", "signed a device in:"),
    ("device.deny", "denied a device:"),
    ("oauth.allow", "let an app in:"),
    ("oauth.client.create", "registered the OAuth client"),
    ("oauth.client.delete", "deleted the OAuth client"),
    ("oauth.client.rotate", "replaced the secret of the OAuth client"),
    ("oauth.client.update", "changed the OAuth client"),
    ("oauth.deny", "did not let an app in:"),
    ("oauth.refresh", "renewed the token of an app:"),
    ("oauth.replay", "sent a code or token of an app twice, which ended it:"),
    ("oauth.revoke", "ended what an app was given:"),
    ("oauth.token", "got the first token of an app:"),
    ("mail.retry", "had a mail sent again:"),
    ("mail.test", "sent a test mail:"),
    ("preset.delete", "deleted the preset"),
    ("guide.delete", "deleted the guides of"),
    ("guide.put", "replaced the guides of"),
    ("preset.put", "changed the preset"),
    ("resource.create", "registered the service"),
    ("resource.delete", "deleted the service"),
    ("resource.update", "changed the service"),
    ("scope.define", "defined the scope"),
    ("scope.remove", "deleted the scope"),
    ("operator.recover", "made an admin of"),
    ("session.end", "ended a session:"),
    ("session.end_others", "ended all other sessions of"),
    ("session.link", "asked for a link to sign in as"),
    ("session.prove", "proved again who they are"),
    ("session.start", "signed in"),
    ("tenant.bootstrap", "set up this server"),
    ("tenant.create", "created the tenant"),
    ("tenant.update", "changed the settings of the tenant"),
    ("token.create", "made a personal access token:"),
    ("token.exchange", "got a signed token for the service"),
    ("token.first_use_new_ip", "used a token from a new address:"),
    ("token.leaked", "reported a leaked credential:"),
    ("token.revoke", "revoked a credential:"),
    ("token.rotate", "rotated a personal access token:"),
    ("user.accept_invite", "accepted an invitation:"),
    ("user.activate", "activated"),
    ("user.ask_email", "asked for another address of"),
    ("user.change_email", "changed the address of"),
    ("user.change_name", "changed the name of"),
    ("user.change_password", "changed the password of"),
    ("user.create", "added"),
    ("user.deactivate", "deactivated"),
    ("user.delete", "deleted"),
    ("user.end_session", "ended a session of"),
    ("user.end_sessions", "ended all sessions of"),
    ("user.forgot_password", "asked for a link to set the password of"),
    ("user.invite", "made an invitation for"),
    ("user.remove_factor", "removed the second factor of"),
    ("user.unlink", "unlinked the sign-ins of"),
    ("user.reset_link", "made a link to set the password of"),
    ("user.reset_password", "set a new password by a link:"),
    ("user.set_password", "set the password of"),
    ("user.update", "changed"),
    ("user.withdraw_email", "withdrew another address of"),
    ("webhook.create", "made the webhook"),
    ("webhook.delete", "deleted the webhook"),
    ("webhook.retry", "sent an event again to the webhook"),
    ("webhook.rotate", "changed the secret of the webhook"),
    ("webhook.test", "tested the webhook"),
    ("webhook.update", "changed the webhook"),
];

/// A row of the audit trail, to be shown.
pub(crate) struct Event {
    pub(crate) at: Html,
    pub(crate) actor: String,
    pub(crate) verb: String,
    /// What it is about, and the page of it, if there is one.
    pub(crate) object: String,
    pub(crate) path: String,
    /// What of the object it is about; empty: all of it.
    pub(crate) part: String,
    /// How often it happened in a row.
    pub(crate) times: usize,
    pub(crate) is_refused: bool,
    pub(crate) action: String,
    pub(crate) address: String,
    pub(crate) request: String,
    /// What a closer look shows.
    pub(crate) details: String,
    /// The id of the closure of what it ended; empty: it ended nothing.
    pub(crate) closure: String,
}

/// Why somebody was refused, as the rest of a sentence. What is not here is told by the API's own sentence.
const REFUSALS: &[(&str, &str)] = &[
    ("account_deactivated", "the account is deactivated"),
    ("agent_paused", "the agent is paused"),
    ("agent_required", "only agents may do it"),
    ("agent_stopped", "the agent is stopped"),
    ("login_failed", "the address or the password was wrong"),
    ("over_budget", "the agent has spent its budget"),
    ("permission_denied", "it is not theirs to do"),
    ("person_required", "only people may do it"),
    ("reauthentication_required", "they had not proved lately who they are"),
    ("scope_denied", "a scope is lacking"),
    ("session_required", "it needs a sign-in"),
    ("token_expired", "the credential has expired"),
    ("token_revoked", "the credential was revoked"),
    ("wrong_code", "the code was wrong"),
    ("wrong_password", "the password was wrong"),
];

fn refused_for(slug: &str) -> String {
    if let Some((_, why)) = REFUSALS.iter().find(|(known, _)| *known == slug) {
        return (*why).to_owned();
    }
    let told = Code::ALL.iter().map(|code| code.row()).find(|row| row.slug == slug);
    told.map_or(slug, |row| row.detail.trim_end_matches('.')).to_owned()
}

/// What the last of so many refusals was about.
fn asked(about: &Json, times: i64) -> String {
    let route = match about.text("route") {
        "" => return String::new(),
        route if times > 1 => format!("the last {route}"),
        route => route.to_owned(),
    };
    match about.words("missing_scopes").join(", ") {
        lacking if lacking.is_empty() => route,
        lacking => format!("{route}, which needs {lacking}"),
    }
}

/// What people do to their own account, with a code that is theirs: the actor is the object.
const OWN: [&str; 2] = ["user.accept_invite", "user.reset_password"];

/// Makes a row of the audit trail readable.
pub(crate) fn event(row: &Json, now: Timestamp) -> Event {
    let (actor, action, object) = (row.at("actor"), row.text("action"), row.text("object"));
    let is_refused = row.text("outcome") == "refused";
    let verb = match EVENTS.iter().find(|(known, _)| *known == action) {
        _ if is_refused && row.number("count") > 1 => format!("was refused {} times:", row.number("count")),
        _ if is_refused => "was refused:".to_owned(),
        // Each of them has a row of its own.
        Some(_) if action == "agent.stop_all" && object.starts_with("agt_") => "stopped".to_owned(),
        // Deleting a person archives their agents or gives them away.
        Some(_) if action == "user.delete" && object.starts_with("agt_") => match row.at("after").is("archived") {
            true => "archived".to_owned(),
            false => "gave away".to_owned(),
        },
        Some(_) if action == "agent.start_all" && object.starts_with("agt_") => "undid the stop of".to_owned(),
        Some((_, verb)) => (*verb).to_owned(),
        None => action.to_owned(),
    };
    // A changed object says its own name, also when it is gone.
    let own = ["after", "before"].into_iter().map(|side| row.at(side));
    let own = own.flat_map(|side| [side.text("name"), side.text("email")]).find(|name| !name.is_empty());
    let is_agent = object.starts_with("agt_") && !["access.request", "access.spend"].contains(&action);
    // What the row names beside its agent is no name of the agent.
    let is_about =
        ["agent.key", "agent.probe", "agent.federated_credential"].iter().any(|part| action.starts_with(part));
    let (own, part) = if is_about { (None, own) } else { (own, None) };
    let known = Some(row.text("object_name")).filter(|name| !name.is_empty());
    // An app or a device is let in, and a session ended, by the person that the row is about.
    let is_by = ["oauth.", "device.", "session."].iter().any(|part| action.starts_with(part));
    let name = match if is_by && own.is_some() { own } else { known.or(own) } {
        _ if is_refused => refused_for(action),
        // The agent is the actor.
        _ if action == "access.request" => row.at("after").words("scope").join(", "),
        _ if action == "access.spend" => {
            let sent = row.at("after").at("for");
            match sent.text("words") {
                "" => format!("{} {}", sent.text("method"), sent.text("path")),
                words => words.to_owned(),
            }
        }
        // The one that signs in is the actor, and a tenant is the one of this page.
        _ if action == "session.start" || object.starts_with("ten_") => String::new(),
        _ if OWN.contains(&action) => String::new(),
        None if action.starts_with("session.") => String::new(),
        Some(name) => name.to_owned(),
        None => shortened(object),
    };
    // The object that the row names is the one who acts.
    let is_own =
        !is_refused && !object.is_empty() && object == actor.text("user_id") && name == known.unwrap_or_default();
    let name = if is_own && !name.is_empty() { "their own account".to_owned() } else { name };
    let verb = if name.is_empty() { verb.trim_end_matches(':').to_owned() } else { verb };
    let part = part.map(str::to_owned).or_else(|| changed(action, row.at("before"), row.at("after")));
    let part = match is_refused {
        true => asked(row.at("after"), row.number("count")),
        false => part.unwrap_or_default(),
    };
    let actor = [actor.text("agent_name"), actor.text("email")].into_iter().find(|name| !name.is_empty());
    let before_and_after = [("before", row.at("before")), ("after", row.at("after"))];
    let details = before_and_after.into_iter().filter(|(_, side)| !side.is_null());
    let details: Vec<String> = details.map(|(name, side)| format!("{name}: {side:#}")).collect();
    Event {
        at: when(now, row.text("at"), ""),
        actor: actor.unwrap_or_else(|| unnamed(action, row.at("actor").text("user_id"))).to_owned(),
        verb,
        path: match () {
            () if is_refused => String::new(),
            // By its id: an agent that had the name before is another one.
            () if is_agent => format!("/agents/{object}"),
            () => String::new(),
        },
        object: name,
        part,
        times: 1,
        is_refused,
        action: action.to_owned(),
        address: row.text("address").to_owned(),
        request: row.text("request_id").to_owned(),
        details: details.join("\n"),
        closure: row.at("after").at("closure").text("id").to_owned(),
    }
}

/// Who did what no person and no agent of the tenant did by a credential of their own.
fn unnamed(action: &str, user: &str) -> &'static str {
    match action {
        _ if !user.is_empty() => "somebody",
        "token.leaked" => "somebody without a credential",
        "agent.hook" => "another service",
        _ if action.starts_with("oauth.") => "an app",
        _ => "the operator",
    }
}

/// What a change has changed, in few words: with whom an agent was shared, which secrets were set, which settings are others.
fn changed(action: &str, before: &Json, after: &Json) -> Option<String> {
    let grant = |grant: &Json| format!("{} {}", grant.text("relation"), shortened(grant.text("subject")));
    let told = match action {
        "agent.share" | "agent.key.share" => grant(after),
        "agent.unshare" | "agent.key.unshare" => before.list("grants").iter().map(grant).collect::<Vec<_>>().join(", "),
        "agent.secret.set" => after.words("set").join(", "),
        "agent.secret.delete" => before.at("secret").text("name").to_owned(),
        "agent.secret.read" => after.words("names").join(", "),
        _ if action.ends_with(".update") => {
            let short = |value: Option<&Json>| match value {
                Some(Json::String(text)) if (1..=24).contains(&text.chars().count()) => Some(text.clone()),
                Some(Json::Number(number)) => Some(number.to_string()),
                Some(Json::Bool(is)) => Some(if *is { "yes" } else { "no" }.to_owned()),
                _ => None,
            };
            let members: Vec<&String> =
                after.as_object()?.keys().filter(|name| *name != "closure" && !name.ends_with("_at")).collect();
            let name = |member: &str| member.replace('_', " ");
            match members.as_slice() {
                [] => return None,
                [only] => match (short(before.get(only.as_str())), short(after.get(only.as_str()))) {
                    (Some(before), Some(after)) => format!("{} {before} → {after}", name(only)),
                    (None, Some(after)) => format!("{} {after}", name(only)),
                    _ => name(only),
                },
                [one, two] => format!("{}, {}", name(one), name(two)),
                [one, two, rest @ ..] => format!("{}, {} and {} more", name(one), name(two), rest.len()),
            }
        }
        _ => return None,
    };
    Some(told.trim().to_owned()).filter(|told| !told.is_empty())
}

/// Rows that say the same one after the other, as one.
pub(crate) fn folded(events: Vec<Event>) -> Vec<Event> {
    let mut folded: Vec<Event> = Vec::new();
    for event in events {
        let said =
            |event: &Event| [&event.actor, &event.verb, &event.object, &event.path, &event.part].map(String::clone);
        match folded.last_mut() {
            Some(last) if said(last) == said(&event) => last.times += 1,
            _ => folded.push(event),
        }
    }
    folded
}

/// An id in few letters: they are long, and their ends differ.
fn shortened(id: &str) -> String {
    match (id.split_once('_'), id.len().checked_sub(6).and_then(|at| id.get(at..))) {
        (Some((kind, rest)), Some(end)) if rest.len() > 12 => format!("{kind}_…{end}"),
        _ => id.to_owned(),
    }
}

/// The name of a field as a heading: `redirect_uris` → `Redirect uris`.
pub(crate) fn title(name: &str) -> String {
    let mut letters = name.chars().map(|letter| if letter == '_' { ' ' } else { letter });
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// A person in few letters: without the domain, where it is the visitor's own.
pub(crate) fn person(email: &str, visitor: &str) -> String {
    let domain = |email: &str| email.rsplit_once('@').map(|(_, domain)| domain.to_owned());
    match email.rsplit_once('@') {
        Some((name, _)) if domain(email) == domain(visitor) => name.to_owned(),
        _ => email.to_owned(),
    }
}

/// Why there was no answer, in words in place of those of a network; anything else as it is.
pub(crate) fn unanswered(error: &str) -> String {
    let Some(cause) = error.strip_prefix("no answer: ") else { return error.to_owned() };
    let known = [
        ("Dns", "the name of the host is not known"),
        ("ConnectionRefused", "the connection was refused"),
        ("ConnectionReadTimeout", "it took too long"),
        ("ConnectionTimeout", "it took too long"),
        ("Tls", "the connection is not safe: its certificate is not trusted"),
        ("DestinationIpProhibited", "its address is a private one"),
    ];
    let told = known.iter().find(|(begin, _)| cause.starts_with(begin)).map(|(_, told)| *told);
    format!("no answer: {}", told.unwrap_or(cause))
}

/// The day of a filter, and how far its zone is from UTC: empty, or such as `+01:00`. `None`: it is no day.
fn day(text: &str) -> Option<(&str, &str)> {
    let (day, zone) = text.split_at_checked(10)?;
    let zone_is_one = matches!(zone.as_bytes(), [] | [b'+' | b'-' | b' ', _, _, b':', _, _]);
    (zone_is_one && Timestamp::parse(&first(day, zone)).is_some()).then_some((day, zone))
}

fn first(day: &str, zone: &str) -> String {
    format!("{day}T00:00:00{}", if zone.is_empty() { "Z" } else { zone })
}

/// A day as its first moment; anything else as it was typed, for the API to judge.
pub(crate) fn first_moment(text: &str) -> String {
    day(text).map_or_else(|| text.to_owned(), |(day, zone)| first(day, zone))
}

/// The first moment after a day; anything else as it was typed.
pub(crate) fn next_moment(text: &str) -> String {
    let first = day(text).and_then(|(day, zone)| Timestamp::parse(&first(day, zone)));
    first.map_or_else(|| text.to_owned(), |first| first.plus_seconds(86_400).to_string())
}

/// A filter by a day: one of UTC, or of the zone that the address of the page names. The script makes it one of the visitor's own zone.
/// `marks` are further attributes.
pub(crate) fn day_filter(name: &str, label: &str, asked: &str, marks: &Html) -> Html {
    let (day, zone) = day(asked).unwrap_or((asked, ""));
    let Safe(marks) = marks;
    Safe(format!(
        "<label class=\"inline\">{label} <span>(UTC{zone})</span><input type=\"date\" name=\"{name}\" value=\"{}\" data-zone=\"{zone}\"{marks}></label>",
        escape(day)
    ))
}

/// `1 agent`, `2 agents`.
pub(crate) fn count(number: impl Borrow<usize>, noun: &str) -> String {
    text::count(*number.borrow(), noun)
}

/// The same of a number that the API gives.
pub(crate) fn counted(number: impl Borrow<i64>, noun: &str) -> String {
    text::count(*number.borrow(), noun)
}

/// The sentence of a closure: since when nobody accepts what was ended, or until when a guard still can. Empty: there is no closure.
pub(crate) fn closed(what: &str, closure: &Json) -> String {
    // `2026-11-26T12:04:31.220Z`
    let time = |member: &str| closure.text(member).get(11..23).unwrap_or_default().to_owned();
    let (since, until) = (time("closed_at"), time("latest"));
    let has_ended =
        closure.at("ended").as_object().is_none_or(|ended| ended.values().any(|count| count.as_u64() != Some(0)));
    let guards = count(closure.list("waiting").len(), "guard");
    match (since.as_str(), until.as_str()) {
        ("", "") => String::new(),
        ("", until) if has_ended => {
            format!("{guards} not yet heard from: until {until} UTC at most, {what} may still be accepted there.")
        }
        ("", until) => format!("{guards} not yet heard from: until {until} UTC at most, it may be as before there."),
        (since, _) if has_ended => format!("Nothing of {what} can be accepted anywhere since {since} UTC."),
        (since, _) => format!("It is so everywhere since {since} UTC."),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// R148, R220: a sentence says what has ended, or where it may still be accepted; of what was narrowed, since when it is so.
    /// R695: of refusals that are counted together the row says which one its route is of.
    #[test]
    fn counted_refusals_say_which_one_is_told() {
        let about = json!({ "route": "PATCH /api/agents/{name}", "missing_scopes": ["agents.update"] });
        assert_eq!(asked(&about, 1), "PATCH /api/agents/{name}, which needs agents.update");
        assert_eq!(asked(&about, 2), "the last PATCH /api/agents/{name}, which needs agents.update");
        assert_eq!(asked(&json!({ "last_at": "x" }), 2), "");
    }

    #[test]
    fn a_closure_says_since_when_nothing_is_accepted() {
        let mut closure = json!({ "closed_at": "2026-11-26T12:04:31.220Z", "latest": null, "waiting": [], "ended": { "tokens": 1, "keys": 0 } });
        assert_eq!(closed("scout", &closure), "Nothing of scout can be accepted anywhere since 12:04:31.220 UTC.");
        closure["ended"]["tokens"] = json!(0);
        assert_eq!(closed("scout", &closure), "It is so everywhere since 12:04:31.220 UTC.");
        closure = json!({ "closed_at": null, "latest": "2026-11-26T12:04:41.220Z", "waiting": [{ "guard": "g" }], "ended": { "tokens": 1 } });
        let told = "1 guard not yet heard from: until 12:04:41.220 UTC at most, scout may still be accepted there.";
        assert_eq!(closed("scout", &closure), told);
        closure["ended"]["tokens"] = json!(0);
        let told = "1 guard not yet heard from: until 12:04:41.220 UTC at most, it may be as before there.";
        assert_eq!(closed("scout", &closure), told);
        assert_eq!(closed("scout", &Json::Null), "");
    }

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    /// R339: a day begins and ends where its zone says; without one it is a day of UTC, and its label says so.
    #[test]
    fn a_day_is_one_of_its_zone() {
        for (day, first, next) in [
            ("2026-01-31", "2026-01-31T00:00:00.000Z", "2026-02-01T00:00:00.000Z"),
            ("2026-01-31+01:00", "2026-01-30T23:00:00.000Z", "2026-01-31T23:00:00.000Z"),
            ("2026-01-31-03:30", "2026-01-31T03:30:00.000Z", "2026-02-01T03:30:00.000Z"),
        ] {
            assert_eq!(Timestamp::parse(&first_moment(day)).unwrap().to_string(), first, "{day}");
            assert_eq!(next_moment(day), next, "{day}");
        }
        for none in
            ["", "yesterday", "2026-01-32", "2026-01-31+1", "2026-01-31+25:00", "2026-01-31T00:00:00Z", "ééééé+01:00"]
        {
            assert_eq!((first_moment(none), next_moment(none)), (none.to_owned(), none.to_owned()));
        }
        let html = |asked| day_filter("since", "From", asked, &written(String::new())).0;
        assert!(html("").contains("From <span>(UTC)</span>"));
        assert!(
            html("2026-01-31-03:30")
                .contains("(UTC-03:30)</span><input type=\"date\" name=\"since\" value=\"2026-01-31\"")
        );
        assert!(html("\"><b>").contains("value=\"&quot;&gt;&lt;b&gt;\" data-zone=\"\""));
    }

    #[test]
    fn times_are_told_as_distances() {
        for (seconds, words) in [
            (0, "now"),
            (-12, "12 s ago"),
            (-240, "4 min ago"),
            (-36_000, "10 h ago"),
            (-259_200, "3 days ago"),
            (90 * 86_400, "in 90 days"),
            (90 * 86_400 - 5, "in 90 days"),
            (30 * 86_400 - 3_600, "in 30 days"),
            (24 * 3_600 - 5, "in 24 h"),
            (-30 * 86_400 + 5, "29 days ago"),
            (10_500_000, "in 4 months"),
            (90, "in 2 min"),
            (-100_000_000, "3 years ago"),
        ] {
            assert_eq!(distance(NOW, NOW.plus_seconds(seconds)), words);
        }
        let html = when(NOW, "2027-01-15T08:00:00Z", "never").to_string();
        assert_eq!(html, "<time datetime=\"2027-01-15T08:00:00.000Z\" title=\"2027-01-15 08:00:00 UTC\">now</time>");
        assert_eq!(when(NOW, "", "<never>").to_string(), "&lt;never&gt;");
    }

    /// R30: what builds HTML by hand escapes.
    #[test]
    fn what_is_built_by_hand_is_escaped() {
        let hostile = "\"'><script>alert(1)</script>";
        let scopes = [json!(hostile), json!("*"), json!("agents.read")];
        let wrong = [(hostile.to_owned(), hostile.to_owned())];
        let fields = [flaw(&wrong, hostile), told(&wrong, hostile)];
        let others = [state(hostile), tags(&scopes, 2), hidden(hostile, hostile), when(NOW, hostile, hostile)];
        for html in fields.into_iter().chain(others) {
            assert!(!html.to_string().contains("<script") && !html.to_string().contains(hostile), "{html}");
        }
    }

    #[test]
    fn an_event_is_a_sentence() {
        let row = json!({
            "at": "2027-01-15T08:00:00Z", "action": "agent.stop", "outcome": "done", "count": 1, "object": "agt_1", "object_name": "scout",
            "actor": { "email": "ada@example.com", "agent_name": null }, "before": null, "after": null,
        });
        let told = event(&row, NOW);
        assert_eq!(
            (told.actor.as_str(), told.verb.as_str(), told.object.as_str()),
            ("ada@example.com", "stopped", "scout")
        );
        assert_eq!((told.path.as_str(), told.closure.as_str()), ("/agents/agt_1", ""));
        let row = json!({ "action": "token.leaked", "after": { "revoked": true, "closure": { "id": "cls_1" } } });
        assert_eq!(event(&row, NOW).closure, "cls_1");
        // R580: who it was, where it was no person and no agent by a credential of their own.
        for (action, actor, who) in [
            ("token.leaked", json!({}), "somebody without a credential"),
            ("agent.hook", json!({}), "another service"),
            ("oauth.revoke", json!({}), "an app"),
            ("user.recover", json!({}), "the operator"),
            ("token.leaked", json!({ "user_id": "usr_1" }), "somebody"),
            ("token.leaked", json!({ "user_id": "usr_1", "email": "ada@example.com" }), "ada@example.com"),
        ] {
            assert_eq!(event(&json!({ "action": action, "actor": actor }), NOW).actor, who, "{action}");
        }
        let ada = json!({ "user_id": "usr_1", "email": "ada@example.com" });
        for (action, object, name, said) in [
            ("factor.confirm", "usr_1", "ada@example.com", "set up a second factor for their own account"),
            ("user.set_password", "usr_2", "max@example.com", "set the password of max@example.com"),
            ("agent.stop_all", "agt_1", "scout", "stopped scout"),
            ("agent.stop_all", "ten_1", "main", "stopped every agent "),
            ("user.delete", "agt_1", "scout", "gave away scout"),
            ("user.delete", "usr_2", "max@example.com", "deleted max@example.com"),
            ("agent.start_all", "agt_1", "scout", "undid the stop of scout"),
            ("agent.start_all", "ten_1", "main", "undid the stop of every agent "),
        ] {
            let told = event(&json!({ "action": action, "actor": ada, "object": object, "object_name": name }), NOW);
            assert_eq!(format!("{} {}", told.verb, told.object), said);
        }
        let row =
            json!({ "action": "scope_denied", "outcome": "refused", "count": 6, "actor": { "agent_name": "scout" } });
        let told = event(&row, NOW);
        assert_eq!((told.verb.as_str(), told.object.as_str()), ("was refused 6 times:", "a scope is lacking"));
        assert_eq!(refused_for("own_log_only"), "Only the agent itself may write to its log");
    }

    #[test]
    fn a_network_is_told_in_words() {
        let told = unanswered("no answer: DnsError(DnsErrorPayload { rcode: None })");
        assert_eq!(told, "no answer: the name of the host is not known");
        assert_eq!(unanswered("no answer: Odd"), "no answer: Odd");
        assert_eq!(unanswered("500 is no success"), "500 is no success");
    }

    /// R189: a name where one is known, also of what is gone; an id is the last resort.
    #[test]
    fn an_event_names_what_it_is_about() {
        for (row, object, part) in [
            (json!({ "action": "token.revoke", "object": "tok_1", "object_name": "laptop" }), "laptop", ""),
            (json!({ "action": "token.create", "object": "tok_1", "after": { "name": "laptop" } }), "laptop", ""),
            (
                json!({ "action": "agent.key.create", "object": "agt_1", "object_name": "scout", "after": { "name": "ci" } }),
                "scout",
                "ci",
            ),
            (
                json!({ "action": "oauth.allow", "object": "usr_1", "object_name": "ada@example.com", "after": { "name": "Planner" } }),
                "Planner",
                "",
            ),
            (json!({ "action": "session.prove", "object": "tok_1" }), "", ""),
            // R359: what has changed is in the sentence.
            (
                json!({ "action": "agent.share", "object": "agt_1", "object_name": "scout", "after": { "subject": "usr_1", "relation": "editor" } }),
                "scout",
                "editor usr_1",
            ),
            (
                json!({ "action": "agent.secret.set", "object": "agt_1", "object_name": "scout", "after": { "set": ["ONE", "TWO"] } }),
                "scout",
                "ONE, TWO",
            ),
            (
                json!({ "action": "agent.update", "object": "agt_1", "object_name": "scout", "before": { "tier": 1 }, "after": { "tier": 2 } }),
                "scout",
                "tier 1 → 2",
            ),
            (
                json!({ "action": "agent.update", "object": "agt_1", "object_name": "scout", "after": { "labels": {}, "model": "m", "max_concurrent_tasks": 2, "closure": {} } }),
                "scout",
                "labels, model and 1 more",
            ),
            (json!({ "action": "agent.purge", "object": "agt_1", "before": { "name": "old" } }), "old", ""),
            (json!({ "action": "agent.start", "object": "agt_01K7ABCDEFGHIJKLMNOPQRSTUV" }), "agt_…QRSTUV", ""),
        ] {
            let told = event(&row, NOW);
            assert_eq!((told.object.as_str(), told.part.as_str()), (object, part), "{row}");
        }
    }

    /// R359: forty equal rows are one that says so.
    #[test]
    fn equal_rows_are_folded() {
        let row = |tier: i64| {
            event(&json!({ "action": "agent.update", "object_name": "scout", "after": { "tier": tier } }), NOW)
        };
        let folded = folded(vec![row(1), row(1), row(1), row(2), row(1)]);
        assert_eq!(folded.iter().map(|event| event.times).collect::<Vec<_>>(), [3, 1, 1]);
    }

    /// Every change of the API has its words.
    #[test]
    fn every_audited_action_has_words() {
        let known = |action: &str| EVENTS.iter().any(|(name, _)| *name == action);
        let missing: Vec<_> =
            common::route::ROUTES.iter().filter_map(|route| route.audit).filter(|action| !known(action)).collect();
        assert_eq!(missing, ["operator.revoke"]);
        // R593: and no words are for an action that a filter takes for a mistake.
        let actions =
            || common::route::ROUTES.iter().filter_map(|route| route.audit).chain(common::route::OTHER_ACTIONS);
        let strange: Vec<_> = EVENTS.iter().filter(|(name, _)| actions().all(|action| action != *name)).collect();
        assert_eq!(strange, [] as [&(&str, &str); 0]);
    }
}
