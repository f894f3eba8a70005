//! `mcp config`: what a client of the Model Context Protocol is given to reach this server.

use clap::ArgMatches;
use serde_json::{Value as Json, json};

use crate::{context::Context, fail::Failure, show};

/// Clients, and where each looks for what is printed.
const CLIENTS: &[(&str, &str)] = &[
    ("claude", "Run it in a shell, for Claude Code."),
    ("codex", "Put it into ~/.codex/config.toml."),
    ("cursor", "Put it into ~/.cursor/mcp.json, or into .cursor/mcp.json of a project."),
    ("gemini", "Put it into ~/.gemini/settings.json, or into .gemini/settings.json of a project."),
    ("vscode", "Put it into .vscode/mcp.json of a project."),
    ("json", "Put it where your client looks for servers, and write the variable as your client writes variables."),
];
/// The variable that holds the credential, so that no file does.
const VARIABLE: &str = "ACCREDIT_TOKEN";

/// Prints the block on standard output, so that it can be piped, and what to do with it beside. Without `--with-token` no credential is in it.
pub(super) fn config(context: &Context, typed: &ArgMatches) -> Result<u8, Failure> {
    let server = context.settings.server()?;
    let client = typed.get_one::<String>("client").map_or("claude", String::as_str);
    let place = CLIENTS.iter().find(|(known, _)| *known == client).map_or("", |(_, place)| place);
    let token = match (typed.get_flag("with-token"), &context.settings.token) {
        (false, _) => None,
        (true, Some(token)) => Some(token.reveal()),
        (true, None) => return Err(Failure::no_credential(server.as_str())),
    };
    if token.is_some() {
        context.settings.hand_out()?;
    }
    let block = block(client, &server.join("/mcp"), token);
    if context.is_json {
        show::json(&json!({ "client": client, "place": place, "config": block }));
        return Ok(0);
    }
    show::out(&block);
    show::say(place);
    match (token, client) {
        (Some(_), _) => show::warn("the token is in it: let nobody else read it."),
        (None, "claude") => show::say(&format!(
            "The shell puts the value of {VARIABLE} into the command, and Claude Code keeps it in its settings: whoever reads those has the token."
        )),
        (None, "vscode") => show::say("VS Code asks for the token when it starts the server."),
        (None, _) => show::say(&format!("The client takes the token from the variable {VARIABLE}.")),
    }
    Ok(0)
}

/// What a client is given, with the token itself or a name for it.
fn block(client: &str, url: &str, token: Option<&str>) -> String {
    let bearer = |named: &str| format!("Bearer {}", token.unwrap_or(named));
    let headers = |named: &str| json!({ "Authorization": bearer(named) });
    let servers = |server: Json| format!("{:#}", json!({ "mcpServers": { "accredit": server } }));
    let variable = format!("${{{VARIABLE}}}");
    match client {
        "codex" => {
            let credential = match token {
                Some(token) => format!("http_headers = {{ Authorization = \"Bearer {token}\" }}"),
                None => format!("bearer_token_env_var = \"{VARIABLE}\""),
            };
            format!("[mcp_servers.accredit]\nurl = \"{url}\"\n{credential}")
        }
        "cursor" => servers(json!({ "url": url, "headers": headers(&format!("${{env:{VARIABLE}}}")) })),
        "gemini" => servers(json!({ "httpUrl": url, "headers": headers(&variable) })),
        "vscode" => {
            let headers = headers("${input:accredit}");
            let mut whole = json!({ "servers": { "accredit": { "type": "http", "url": url, "headers": headers } } });
            if let (None, Some(members)) = (token, whole.as_object_mut()) {
                let input = json!({ "type": "promptString", "id": "accredit", "description": "Token of Accredit", "password": true });
                members.insert("inputs".to_owned(), json!([input]));
            }
            format!("{whole:#}")
        }
        // Some take an address without a type for a program.
        "json" => servers(json!({ "type": "http", "url": url, "headers": headers(&variable) })),
        _ => {
            let header = bearer(&format!("${VARIABLE}"));
            format!("claude mcp add --transport http accredit '{url}' --header \"Authorization: {header}\"")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R221: each client gets the address, and the token only when it is asked for.
    #[test]
    fn a_block_has_the_token_only_when_asked() {
        let url = "https://accredit.example/mcp";
        for (client, _) in CLIENTS {
            let (without, with) = (block(client, url, None), block(client, url, Some("acr_agt_x")));
            assert!(without.contains(url) && with.contains(url), "{client}: {without}");
            assert!(!without.contains("acr_agt_x") && with.contains("Bearer acr_agt_x"), "{client}: {with}");
            match *client {
                "claude" => assert!(without.contains("\"Authorization: Bearer $ACCREDIT_TOKEN\""), "{without}"),
                "codex" => assert!([&without, &with].iter().all(|text| text.parse::<toml::Table>().is_ok()), "{with}"),
                // R659
                "gemini" => {
                    assert!(without.contains("\"httpUrl\"") && without.contains("${ACCREDIT_TOKEN}"), "{without}")
                }
                "json" => assert!(without.contains("\"type\": \"http\""), "{without}"),
                _ => {
                    for text in [&without, &with] {
                        assert!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "{client}: {text}");
                    }
                }
            }
        }
    }
}
