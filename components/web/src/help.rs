//! Refusals in words for people: the API's own steps are for programs.

/// Marks of a step that is a request.
const REQUESTS: [&str; 11] = [
    "GET ",
    "POST ",
    "PUT ",
    "PATCH ",
    "DELETE ",
    "/api/",
    "header",
    "Idempotency-Key",
    "?confirm",
    "doc_url",
    "in fields",
];

/// What to do instead, by slug.
const STEPS: &[(&str, &str)] = &[
    ("account_deactivated", "Ask an admin of your tenant to activate it."),
    ("address_not_verified", "Sign in to the account in another way, and link this sign-in under Security."),
    ("agent_not_found", "It may have been archived, or it was never shared with you."),
    ("already_joined", "They have a password: send them a link to set a new one."),
    ("app_token", "End it here; the app asks to be let in again."),
    ("already_bootstrapped", "Sign in, or ask an admin for an account."),
    ("already_decided", "Somebody decided it meanwhile. This page shows what was decided."),
    ("cross_site_request", "Nothing was changed. Open the page in this site, and send it from there."),
    ("credential_in_text", "Take the credential out, and revoke it: others may have read it."),
    ("csrf_failed", "Nothing was changed. Send it once more."),
    ("database_unavailable", "Wait some seconds, then open this page again."),
    ("email_taken", "Look for that person under People, or type another address."),
    ("federated_credential_taken", "Choose another name, or delete the one that has it."),
    ("has_parent", "Give away the whole tree from its root, or take it out from below the other agent first."),
    (
        "identity_invalid",
        "Begin again. If it happens again, tell the operator of this server when: its log says what was wrong.",
    ),
    ("idempotency_mismatch", "Nothing was changed now. If you mean it, send it once more, or open the page again."),
    ("idempotency_ended", "It was made before, and has ended since. Open the page again to make another one."),
    ("illegal_state", "It has changed meanwhile. This page shows the state as it is now."),
    ("invalid_authorization_request", "Start again in the app."),
    ("invalid_time", "Choose a day, or leave the field empty."),
    ("invalid_client_document", "Start again later, or tell the people who make the app."),
    ("key_ended", "Delete it and make a new one. The name can be used again."),
    ("key_taken", "Choose another name, or rotate the key that has it."),
    ("delivery_withheld", "Later events arrive once that person may read the agent again."),
    ("last_identity", "Link another one first, or set a password if your tenant lets people in by passwords."),
    ("last_admin", "Make another person an admin first."),
    ("lifetime_too_long", "Leave it empty to get all of the time that is left."),
    ("login_failed", "Check what you typed, and try again."),
    ("not_proved_again", "Sign in in another way, or begin again and sign in anew at the provider."),
    ("nothing_approved", "Nothing of it is approved any more. This page shows how it stands."),
    (
        "other_identity",
        "If the account is yours, sign in to it in another way, and link this sign-in under Security. If not, ask an admin.",
    ),
    ("own_factor_first", "Set one up under Security, and try again."),
    ("own_password", "Change your own under Security."),
    ("provider_not_found", "Sign in in another way."),
    ("provider_refused", "Begin again and agree to what the provider asks, or sign in in another way."),
    ("public_client", "Register another client that keeps a secret."),
    ("owner_not_found", "Type the e-mail of an active person of your tenant whose role is member or higher."),
    ("owns_agents", "Give the agents to somebody else, or archive them, and try again."),
    ("parent_halted", "Start or resume the agent above it first."),
    ("parent_not_found", "Type the name of an agent that you may see, or leave it empty."),
    ("parent_of_another_owner", "Choose an agent of the same owner, or leave it empty."),
    ("permission_denied", "Ask its owner or an admin of your tenant to do it, or to share it with you."),
    ("quota_reached", "Revoke or archive what nobody needs any more, or ask the operator for more room."),
    (
        "redirect_uri_mismatch",
        "Nothing was sent there. If you came from an app that you know, tell the people who make it; if not, leave this page.",
    ),
    ("resource_taken", "Change the service that has it, or type another identifier."),
    ("probe_taken", "Choose another name, or delete the probe that has it."),
    ("rotation_too_wide", "Make a new key that carries less, or ask the agent's owner to rotate this one."),
    ("same_email", "Type another address."),
    ("scope_denied", "Your role does not allow it. Ask an admin of your tenant."),
    (
        "scope_too_wide",
        "The agent above it, or your own role, does not allow them. Widen the agent above first, or leave them out.",
    ),
    ("second_factor_exists", "Remove it first, under Security."),
    ("second_factor_setup_required", "Set up a second factor under Security first."),
    ("self_deactivation", "Ask another admin of your tenant to do it."),
    ("self_deletion", "Ask another admin of your tenant to do it."),
    ("subject_not_found", "Type the e-mail of an active person, or the name of an agent that you may see."),
    ("token_ended", "Make a new token."),
    ("token_replaced", "Use the token that replaced it, or rotate that one."),
    ("too_many_identities", "Unlink one that you no longer use."),
    ("tree_cycle", "Choose an agent that is not below this one, or leave it empty."),
    ("tree_too_deep", "Choose an agent closer to the root."),
    (
        "unknown_client",
        "Nothing was sent to it. Start again in the app, or ask an admin of your tenant to register it.",
    ),
    ("unknown_preset", "Choose one of the presets of the list."),
    (
        "unknown_scope",
        "Scopes are words such as agents.read. With agents.* all below agents are meant, with * all that there are.",
    ),
    ("user_deactivated", "Activate the account first."),
    ("weak_password", "Choose some words that do not belong together."),
    ("webhook_off", "Turn it on first."),
    ("webhook_without_secret", "Give it a new secret first."),
    ("way_disabled", "Sign in in another way, or ask an admin of your tenant."),
    ("validation_error", "Correct what is marked, and send it again."),
    (
        "wrong_operator_secret",
        "Type the value of the variable operator_secret. The operator has set it; cargo xtask up makes one, which is in the file .accredit/secrets.toml.",
    ),
    (
        "wrong_password",
        "Type it again. If you forgot it, sign out and set a new one by a link, or ask an admin of your tenant.",
    ),
    (
        "wrong_code",
        "Type the next code that the app shows, or a recovery code. If it is refused too, set the clock of the device.",
    ),
];

/// The form's field that a refusal is about, where the API does not name one.
const FIELDS: &[(&str, &[&str])] = &[
    ("agent_not_found", &["agent", "agents"]),
    ("approval_too_wide", &["scope"]),
    ("compute_too_large", &["compute"]),
    ("device_request_not_found", &["user_code"]),
    ("email_taken", &["email"]),
    ("federated_credential_taken", &["name"]),
    ("host_not_allowed", &["url"]),
    ("invalid_agent_url", &["url"]),
    ("invalid_email", &["email"]),
    ("invalid_grace", &["grace"]),
    ("invalid_identifier", &["identifier"]),
    ("invalid_labels", &["labels"]),
    ("invalid_lifetime", &["days"]),
    ("invalid_name", &["name"]),
    ("invalid_outbound_url", &["url"]),
    ("invalid_secret_name", &["key"]),
    ("invalid_secret_value", &["value"]),
    ("invalid_tenant", &["tenant"]),
    ("invalid_webhook_secret", &["value"]),
    ("key_taken", &["name"]),
    ("lifetime_too_long", &["days"]),
    ("login_failed", &["password"]),
    ("name_taken", &["name"]),
    ("owner_not_found", &["owner"]),
    ("parent_not_found", &["parent"]),
    ("parent_of_another_owner", &["parent"]),
    ("preset_not_found", &["preset"]),
    ("probe_taken", &["name"]),
    ("resource_taken", &["identifier"]),
    ("same_email", &["email"]),
    ("scope_too_wide", &["scope"]),
    ("subject_not_found", &["subject", "owner", "introspectors"]),
    ("tree_cycle", &["parent"]),
    ("tree_too_deep", &["parent"]),
    ("unknown_event_kind", &["kinds"]),
    ("unknown_preset", &["preset"]),
    ("unknown_relation", &["relation"]),
    ("unknown_role", &["role"]),
    ("unknown_scope", &["scope"]),
    ("user_not_found", &["owner", "user"]),
    ("weak_password", &["password", "new"]),
    ("wrong_code", &["code"]),
    ("wrong_password", &["current"]),
];

/// What is wrong, for a person: the API speaks of fields and of values.
pub(crate) fn said<'a>(slug: &str, detail: &'a str) -> &'a str {
    match slug {
        "csrf_failed" => "This form was out of date.",
        "account_deactivated" => "Your account is deactivated.",
        "validation_error" => "Not everything is right yet.",
        "invalid_filter" if detail == "A filter has an unknown value." => "This list has no such filter.",
        "invalid_text" => "This text cannot be taken as it is.",
        "invalid_time" => "This is no day.",
        _ if detail.contains("Idempotency-Key") => "This form was sent before.",
        _ => detail,
    }
}

/// The step for a person. `fix` is the API's, which does if it is no request.
pub(crate) fn step(slug: &str, status: u16, fix: &str) -> String {
    if let Some((_, step)) = STEPS.iter().find(|(known, _)| *known == slug) {
        return (*step).to_owned();
    }
    if !REQUESTS.iter().any(|mark| fix.contains(mark)) {
        return plainly(fix);
    }
    match status {
        403 => "Ask an admin of your tenant.",
        404 => "It may have been deleted, or it was never shared with you.",
        408 | 429 | 503 => WAIT,
        409 if slug.starts_with("too_many_") => "Delete what nobody needs any more, and try again.",
        409 => "It does not fit how things stand now. Open the page again to see it.",
        _ => "Change what you typed, and send it again.",
    }
    .to_owned()
}

/// What to do where the answer says for how long, or does not.
pub(crate) const WAIT: &str = "Wait a moment, then try again.";

/// The same with the time that the answer says, seconds.
pub(crate) fn wait(seconds: i64) -> String {
    match (seconds, (seconds + 59) / 60) {
        (..=1, _) => WAIT.to_owned(),
        (2..60, _) => format!("Wait {seconds} seconds, then try again."),
        (_, minutes @ ..60) => format!("Wait {minutes} minutes, then try again.").replace(" 1 minutes", " a minute"),
        (_, minutes) => format!("Wait {} hours, then try again.", (minutes + 59) / 60).replace(" 1 hours", " an hour"),
    }
}

/// The field of `Send state as one of …`.
pub(crate) fn field<'a>(slug: &str, fix: &'a str) -> Option<&'a str> {
    let is_named = matches!(slug, "invalid_filter" | "invalid_time" | "invalid_number");
    let (field, rest) = fix.strip_prefix("Send ").filter(|_| is_named)?.split_once(' ')?;
    rest.starts_with("as ").then_some(field)
}

/// `Send hours as a whole number …` → `A whole number …`, without what programs have to know of the characters of a text.
fn plainly(fix: &str) -> String {
    let fix = &match fix.split_once(" after trimming,") {
        Some((fix, _)) => format!("{fix}, all of them visible."),
        None => fix.to_owned(),
    };
    let rest = fix.strip_prefix("Send ").and_then(|rest| rest.split_once(' '));
    let Some(rest) = rest.and_then(|(_, rest)| rest.strip_prefix("as ")) else { return fix.clone() };
    let mut letters = rest.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// What is wrong about a field, for a person: a field that is empty is what the API calls `null`, and people send no requests.
pub(crate) fn problem(text: &str) -> String {
    let (plain, _) = text.split_once(", which GET ").unwrap_or((text, ""));
    plain.trim_end_matches(" or null").to_owned()
}

/// The names that a form has for the field that a refusal is about.
pub(crate) fn fields(slug: &str, field: &str) -> Vec<String> {
    let own = match field {
        "expires_in_days" => "days",
        "budget_cents" => "budget",
        "grace_seconds" => "grace",
        "ways" => "way",
        other => other,
    };
    let known = FIELDS.iter().find(|(known, _)| *known == slug).map_or(&[][..], |(_, fields)| fields);
    match own {
        "" => known.iter().map(|field| (*field).to_owned()).collect(),
        // `scope[0]` is one of the words of the field.
        own => vec![own.split(['[', '.']).next().unwrap_or(own).to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use common::error::Code;

    use super::*;

    #[test]
    fn a_step_is_said_without_requests() {
        assert_eq!(
            step("invalid_number", 400, "Send hours as a whole number from 1 to 720."),
            "A whole number from 1 to 720."
        );
        assert_eq!(
            step("too_many_mails", 429, "Wait for the number of seconds in the header Retry-After."),
            "Wait a moment, then try again."
        );
        assert_eq!(step("invalid_name", 400, "Choose another name."), "Choose another name.");
    }

    #[test]
    fn a_wait_is_said_in_the_unit_that_fits() {
        for (seconds, said) in [
            (0, "a moment"),
            (30, "30 seconds"),
            (60, "a minute"),
            (61, "2 minutes"),
            (600, "10 minutes"),
            (3_600, "an hour"),
            (3_601, "2 hours"),
        ] {
            assert_eq!(wait(seconds), format!("Wait {said}, then try again."));
        }
    }

    /// R109: nobody is sent to an admin for what they can do themselves: what the API answers with a request has a step of its own.
    #[test]
    fn what_people_can_mend_themselves_has_a_step_of_its_own() {
        for slug in
            ["wrong_password", "wrong_code", "already_bootstrapped", "second_factor_setup_required", "way_disabled"]
        {
            let row = Code::ALL.iter().map(|code| code.row()).find(|row| row.slug == slug).unwrap();
            assert_ne!(step(row.slug, row.status, row.fix), step("", row.status, "GET "), "{slug}");
        }
    }

    /// R332: what a page is refused since it does not fit has a step that its reader can take.
    #[test]
    fn each_conflict_of_a_page_has_a_step_of_its_own() {
        // Of programs and agents alone, or of what no page offers.
        const OTHERS: [&str; 9] = [
            "already_granted",
            "has_children",
            "idempotency_other_credential",
            "inbox_full",
            "not_deploying",
            "preset_built_in",
            "preset_in_use",
            "scope_taken",
            "too_many_agents",
        ];
        let otherwise = step("", 409, "GET ");
        for row in Code::ALL.iter().map(|code| code.row()).filter(|row| row.status == 409) {
            let has_one = step(row.slug, row.status, row.fix) != otherwise;
            assert!(has_one || OTHERS.contains(&row.slug), "{}", row.slug);
        }
        assert!(step("own_factor_first", 409, "GET ").contains("Security"));
    }

    /// R725: a page names no member of a request where more was asked for than can be given.
    #[test]
    fn a_ceiling_that_is_too_wide_has_a_step_for_people() {
        let step = step("scope_too_wide", 403, "Send the same request with \"scope\": [\"agents.read\"].");
        assert!(step.contains("Widen the agent above first"), "{step}");
    }

    #[test]
    fn a_problem_is_said_without_null() {
        assert_eq!(problem("must be a whole number or null"), "must be a whole number");
        assert_eq!(problem("must hold names, which GET /api/scopes/custom lists"), "must hold names");
        assert_eq!(problem("holds a credential of this server"), "holds a credential of this server");
    }

    /// R109, R404: nobody is told to send a request, whatever refuses them.
    #[test]
    fn no_step_is_a_request() {
        for code in Code::ALL {
            let row = code.row();
            let step = step(row.slug, row.status, row.fix);
            let is_request = ["GET ", "POST ", "PUT ", "PATCH ", "DELETE ", "header ", "/api/", "/login", "/security"];
            assert!(!is_request.iter().any(|mark| step.contains(mark)), "{}: {step}", row.slug);
        }
    }

    /// R529: a page that lay open, or came back by "back", says nothing of keys of requests.
    #[test]
    fn nobody_reads_of_keys_of_requests() {
        for row in Code::ALL.iter().map(|code| code.row()) {
            let text = said(row.slug, row.detail).to_owned() + &step(row.slug, row.status, row.fix);
            assert!(!text.contains("Idempotency"), "{}: {text}", row.slug);
        }
        assert_eq!(said("idempotency_mismatch", Code::IdempotencyMismatch.row().detail), "This form was sent before.");
    }

    #[test]
    fn a_refusal_is_about_a_field_of_the_form() {
        assert_eq!(fields("validation_error", "expires_in_days"), ["days"]);
        assert_eq!(fields("validation_error", "scope[1]"), ["scope"]);
        assert_eq!(fields("weak_password", ""), ["password", "new"]);
        assert_eq!(fields("agent_not_found", ""), ["agent", "agents"]);
        assert_eq!(fields("key_not_found", ""), Vec::<String>::new());
        assert_eq!(field("invalid_filter", "Send state as one of: running."), Some("state"));
    }
}
