//! Signing in, and a session of ten minutes for what only sessions may do.

use std::{io::IsTerminal as _, thread, time::Duration};

use clap::ArgMatches;
use common::{
    route::{self, Callers, Route},
    secret::{Kind, Secret},
    text::is_unseen,
};
use serde_json::{Value as Json, json};

use crate::{
    config::{Former, Url, read_token},
    context::Context,
    fail::{Exit, Failure},
    http::{Call, Client},
    key::Key,
    show,
    span::now,
};

/// What this program calls itself to the server.
const CLIENT: &str = "accredit";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Seconds between two polls, if the server does not say.
const INTERVAL: u64 = 5;
/// Seconds that a code can be approved, if the server does not say.
const LIFE: u64 = 600;
/// Codes of a second factor that are asked for in a terminal.
const TRIES: u8 = 3;
/// The longest name of a machine, characters.
const MOST_NAME: usize = 64;

/// `auth login`.
pub(crate) fn login(context: &Context, typed: &ArgMatches) -> Result<u8, Failure> {
    let url = context.settings.server()?.clone();
    context.settings.prepare()?;
    let client = Client::new(&url, None, context.patience)?;
    let is_made = !typed.contains_id("token");
    let token = if !is_made {
        read_token(&show::secret("Token")?, "Standard input")?
    } else if typed.get_flag("password") {
        by_password(&client, typed)?
    } else {
        let scope: Vec<&str> = typed.get_many::<String>("scope").into_iter().flatten().map(String::as_str).collect();
        by_device(&client, "token", &scope.join(" "))?
    };
    let copy = read_token(token.reveal(), "The answer")?;
    verify_and_save(context, client, token, None, is_made).inspect_err(|_| {
        if is_made {
            end(context, &Former { url: url.as_str().to_owned(), token: copy, key: None }, "this sign-in");
        }
    })
}

/// Ends a credential that a sign-in has made and that nobody has any more: it would live on at its server.
fn end(context: &Context, former: &Former, which: &str) {
    let here = context.settings.url.as_ref().map(Url::as_str);
    let place = if here == Some(&former.url) { String::new() } else { format!(" at {}", show::line(&former.url)) };
    match ended(context, former) {
        Ok(()) => show::say(&format!("Ended the credential of {which}{place}.")),
        // It has ended already.
        Err(failure) if failure.exit == Exit::Credential => {}
        Err(_) => show::say(&format!(
            "The credential of {which}, {}…, could not be ended{place}, and goes on: end it on the page of your sessions and tokens.",
            former.token.shown()
        )),
    }
}

fn ended(context: &Context, former: &Former) -> Result<(), Failure> {
    let token = read_token(former.token.reveal(), "The profile")?;
    let client = Client::new(&Url::parse(&former.url)?, Some(token), context.patience)?.bound(former.key.as_ref());
    client.call(route::OWN_END, Call::default()).map(drop)
}

/// Saves a credential, and ends the one in whose place it is.
fn save(context: &Context, url: &Url, token: &Secret, key: Option<&Key>, is_made: bool) -> Result<(), Failure> {
    if let Some(former) = context.settings.save(url, token, key, is_made)? {
        end(context, &former, "the sign-in before");
    }
    Ok(())
}

/// `auth import-token`.
pub(crate) fn import(context: &Context, typed: &ArgMatches) -> Result<u8, Failure> {
    let url = context.settings.server()?.clone();
    context.settings.file()?;
    let typed_token = typed.get_one::<String>("token").map_or("-", String::as_str);
    let token = if typed_token == "-" {
        read_token(&show::secret("Token")?, "Standard input")?
    } else {
        show::warn("a token on a command line is seen by others on this machine and kept by the shell: use --token -");
        read_token(typed_token, "--token")?
    };
    if typed.get_flag("skip-verify") {
        save(context, &url, &token, None, false)?;
        show::out(&format!("Saved {}… for {}, without asking it.", token.shown(), url.as_str()));
        return Ok(0);
    }
    verify_and_save(context, Client::new(&url, None, context.patience)?, token, None, false)
}

/// `auth enroll`: a runtime trades a one-time code for the token of its agent. What it was given is saved before anything else is asked:
/// the code is spent.
pub(crate) fn enroll(context: &Context, typed: &ArgMatches) -> Result<u8, Failure> {
    let url = context.settings.server()?.clone();
    context.settings.prepare()?;
    let key = typed.get_flag("bind").then(Key::make).transpose()?;
    let client = Client::new(&url, None, context.patience)?.bound(key.as_ref());
    let code = match typed.get_one::<String>("code").map(String::as_str) {
        None | Some("-") => show::secret("Enrolment code")?,
        Some(code) => code.to_owned(),
    };
    let body = json!({ "code": code.trim() });
    let answer = client.call(route::ENROL, Call { body: Some(body), ..Call::default() })?.json;
    let token = token_of(&answer, "token")?;
    save(context, &url, &token, key.as_ref(), false)
        .map_err(|failure| unsaved(context, &url, &token, key.as_ref(), failure))?;
    verify_and_save(context, client, token, key.as_ref(), false)
}

/// What becomes of an agent's token that cannot be saved. It is shown this once, unless it works with its key alone, which goes on no screen.
fn unsaved(context: &Context, url: &Url, token: &Secret, key: Option<&Key>, mut failure: Failure) -> Failure {
    if key.is_some() {
        if let Ok(copy) = read_token(token.reveal(), "The answer") {
            end(context, &Former { url: url.as_str().to_owned(), token: copy, key: key.cloned() }, "the agent");
        }
        failure.fix = Some("The code is spent. Get another one once the file can be written.".to_owned());
        return failure;
    }
    show::out(token.reveal());
    failure.lines.push("The code is spent. The agent's token stands on standard output, this once.".to_owned());
    failure.fix = Some("Set ACCREDIT_TOKEN to it, or save it: accredit auth import-token --token -".to_owned());
    failure
}

/// Asks the server who the token is, and saves it only then: a refusal leaves what was saved before.
fn verify_and_save(
    context: &Context,
    client: Client,
    token: Secret,
    key: Option<&Key>,
    is_made: bool,
) -> Result<u8, Failure> {
    let copy = read_token(token.reveal(), "The answer")?;
    let mut client = client.with(copy).bound(key);
    let mut key = key;
    let mut who = client.call(route::WHOAMI, Call::default());
    // A bound token that replaces itself keeps its key, which is the profile's.
    if let (Err(refusal), None, Some(own)) = (&who, key, &context.settings.key)
        && refusal.needs_key()
    {
        client = client.bound(Some(own));
        key = Some(own);
        who = client.call(route::WHOAMI, Call::default());
    }
    let who = who?;
    save(context, &client.url, &token, key, is_made)?;
    if context.is_json {
        who.print();
        return Ok(0);
    }
    let text = |name: &str| who.json.get(name).and_then(Json::as_str).map(show::line);
    let name = text("agent_name").map(|agent| format!("the agent {agent} of ")).unwrap_or_default();
    show::out(&format!("Signed in as {name}{} at {}.", text("email").unwrap_or_default(), client.url.as_str()));
    show::say(&format!("Saved in {}, profile {}.", context.settings.file()?.display(), context.settings.profile));
    if context.settings.is_from_environment {
        show::warn("ACCREDIT_TOKEN is set, and is used in its place.");
    }
    Ok(0)
}

fn by_password(client: &Client, typed: &ArgMatches) -> Result<Secret, Failure> {
    let email = typed.get_one::<String>("email").ok_or_else(|| {
        Failure::usage("--password needs --email.")
            .fix("Add --email you@example.com, or approve a code in a browser: accredit auth login")
    })?;
    let mut body = json!({ "email": email, "password": show::secret("Password")? });
    if let (Some(tenant), Some(members)) = (typed.get_one::<String>("tenant"), body.as_object_mut()) {
        members.insert("tenant".to_owned(), tenant.clone().into());
    }
    match client.call(route::SIGN_IN, Call { body: Some(body), ..Call::default() }) {
        Ok(answer) => token_of(&answer.json, "access_token"),
        Err(refusal) if refusal.slug() == "second_factor_required" => by_second_factor(client, refusal),
        Err(refusal) => Err(refusal),
    }
}

/// Asks for the code that the password alone does not replace. It is on no command line: the ticket lives for some minutes, and survives a
/// code that was mistyped.
fn by_second_factor(client: &Client, required: Failure) -> Result<Secret, Failure> {
    let ticket = required.answer.as_ref().and_then(|answer| answer.get("ticket")).cloned().unwrap_or_default();
    let is_asked = std::io::stdin().is_terminal();
    for left in (0..TRIES).rev() {
        let code = show::secret("Code of your authenticator app, or a recovery code").map_err(|mut failure| {
            failure.fix =
                Some("Give it as the next line, or approve a code in a browser: accredit auth login".to_owned());
            failure
        })?;
        let body = json!({ "ticket": ticket, "code": code.trim() });
        match client.call(route::FACTOR_VERIFY, Call { body: Some(body), ..Call::default() }) {
            Ok(answer) => return token_of(&answer.json, "access_token"),
            Err(refusal) if refusal.slug() == "wrong_code" && is_asked && left > 0 => show::say(&refusal.sentence),
            Err(refusal) => return Err(refusal),
        }
    }
    Err(required)
}

fn token_of(answer: &Json, member: &str) -> Result<Secret, Failure> {
    let text = answer.get(member).and_then(Json::as_str).unwrap_or_default();
    Secret::parse(text).ok_or_else(|| Failure::unreachable("The server's answer holds no credential."))
}

/// RFC 8628: shows a code, and waits until somebody has decided.
fn by_device(client: &Client, want: &str, scope: &str) -> Result<Secret, Failure> {
    let form = vec![
        ("client_id", CLIENT.to_owned()),
        ("name", machine()),
        ("scope", scope.to_owned()),
        ("want", want.to_owned()),
    ];
    let codes = client.call(route::DEVICE_CODE, Call { form: Some(form), ..Call::default() })?.json;
    let text = |name: &str| codes.get(name).and_then(Json::as_str).map(show::line).unwrap_or_default();
    if want == "session" {
        show::say("This takes a session: approve one of ten minutes. It is stored nowhere.");
    }
    show::say(&format!("Open   {}", text("verification_uri_complete")));
    show::say(&format!("and compare the code   {}", text("user_code")));
    let life = codes.get("expires_in").and_then(Json::as_u64).unwrap_or(LIFE);
    let spinner = show::spinner(&format!("Waiting for you to approve it, until {} UTC", in_seconds(life)));
    let form = || {
        vec![("grant_type", GRANT.to_owned()), ("device_code", text("device_code")), ("client_id", CLIENT.to_owned())]
    };
    let mut interval = codes.get("interval").and_then(Json::as_u64).unwrap_or(INTERVAL);
    let mut waited = 0;
    let answer = loop {
        match client.call(route::DEVICE_TOKEN, Call { form: Some(form()), ..Call::default() }) {
            Ok(answer) => break answer.json,
            Err(refusal) if matches!(refusal.slug(), "authorization_pending" | "slow_down") => {
                let asked = refusal.answer.as_ref().and_then(|answer| answer.get("interval")).and_then(Json::as_u64);
                interval = asked.unwrap_or(interval);
            }
            // A line that breaks for a moment breaks no sign-in (RFC 8628, section 3.5).
            Err(failure) if failure.passes() && waited < life => {}
            Err(mut failure) => {
                spinner.finish_and_clear();
                if matches!(failure.slug(), "access_denied" | "expired_token" | "invalid_grant") {
                    failure.exit = Exit::Credential;
                    failure.fix = Some("Start again, and approve the code within ten minutes.".to_owned());
                }
                return Err(failure);
            }
        }
        let pause = interval.clamp(1, 60);
        thread::sleep(Duration::from_secs(pause));
        waited += pause;
    };
    spinner.finish_and_clear();
    token_of(&answer, "access_token")
}

/// A session for a route that takes nothing else, where the caller is a person with another credential. `None`: what is sent is as good
/// as it gets.
pub(crate) fn session_for(context: &Context, client: &Client, route: &Route) -> Result<Option<Secret>, Failure> {
    let is_pat = client.token().is_some_and(|token| token.kind() == Kind::Pat);
    if route.callers != Callers::Sessions || !is_pat {
        return Ok(None);
    }
    let nobody = Client::new(&client.url, None, context.patience)?;
    by_device(&nobody, "session", "").map(Some)
}

/// The time of day after so many seconds, in UTC.
fn in_seconds(seconds: u64) -> String {
    let now = u64::try_from(now().millis() / 1000).unwrap_or_default();
    time_of_day(now.saturating_add(seconds))
}

fn time_of_day(at: u64) -> String {
    let minute = at / 60 % (24 * 60);
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

/// What this machine calls itself.
fn machine() -> String {
    let from_system =
        ["/proc/sys/kernel/hostname", "/etc/hostname"].iter().find_map(|file| std::fs::read_to_string(file).ok());
    let from_environment = || ["HOSTNAME", "COMPUTERNAME"].iter().find_map(|name| std::env::var(name).ok());
    let from_program = || {
        let output = std::process::Command::new("hostname").output().ok()?;
        String::from_utf8(output.stdout).ok()
    };
    let name = from_system.or_else(from_environment).or_else(from_program).unwrap_or_default();
    let name: String = name.trim().chars().filter(|c| !is_unseen(*c)).take(MOST_NAME).collect();
    if name.is_empty() { "terminal".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_has_two_numbers() {
        for (at, shown) in [(0, "00:00"), (59, "00:00"), (86_399, "23:59"), (86_400, "00:00"), (1_795_799_227, "17:07")]
        {
            assert_eq!(time_of_day(at), shown);
        }
    }
}
