use std::collections::BTreeSet;

use common::route::{self, Group, Query, ROUTES};

use super::*;

/// The routes that no verb of the table calls, and what calls them, or why nothing does.
const ELSEWHERE: &[(&Route, &str)] = &[
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
    (route::OAUTH_REGISTER, "for clients of OAuth; admin clients create registers one for all"),
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
    let fields: serde_json::Value = serde_json::from_str(include_str!("../../../docs/reference/fields.json")).unwrap();
    // `agents log` sends one line; the list of several is for programs.
    let left_out = [("agents log", "lines")];
    let mut wrong = Vec::new();
    for verb in all() {
        let Some(body) = fields[format!("{} {}", verb.route.method, verb.route.path)]["body"].as_array() else {
            continue;
        };
        let is_file = verb.inputs.iter().any(|input| input.kind == Kind::File);
        let known: BTreeSet<&str> = body.iter().filter_map(|field| field[0].as_str()).collect();
        let inputs = verb.inputs.iter().filter(|input| input.at == At::Body);
        let mut typed: BTreeSet<&str> = inputs.clone().map(|input| input.name).collect();
        // One option for both.
        typed.extend(inputs.filter(|input| input.kind == Kind::Life).map(|_| "expires_in"));
        let differ = known.symmetric_difference(&typed).filter(|name| !left_out.contains(&(verb.words, name)));
        wrong.extend(differ.filter(|_| !is_file).map(|name| format!("{}: {name}", verb.words)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// R370: the page of the command lists every verb: `agents keys list\|get` stands for two.
#[test]
fn the_page_lists_every_verb() {
    let page = include_str!("../../../docs/agents/cli.md").replace("\\|", "|");
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
        serde_json::from_str(include_str!("../../../docs/reference/openapi.json")).unwrap();
    // The word could be a tenant's name, and null is what is left out.
    let left_out = [("bootstrap", "tenant")];
    let (mut wrong, mut nullable) = (Vec::new(), 0);
    for verb in all() {
        let method = verb.route.method.to_ascii_lowercase();
        let body = &document["paths"][verb.route.path][method]["requestBody"]["content"]["application/json"];
        let inputs = verb.inputs.iter().filter(|input| input.at == At::Body);
        for input in inputs
            .filter(|input| matches!(input.kind, Kind::Text | Kind::Number | Kind::Words | Kind::Lasts(_) | Kind::Life))
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
