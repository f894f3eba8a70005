//! Where requests go that are let in.

use common::url::Url;
use guard_core::Wrong;

/// The protected service.
#[derive(Debug, PartialEq, Eq)]
pub struct App {
    /// Whether it is reached over TLS.
    pub is_secure: bool,
    /// The host, with the port if it is not the usual one.
    pub authority: String,
}

impl App {
    /// Reads the setting `app`: the id of a component of the same application, or the address of a server, without a path.
    pub fn read(text: &str) -> Result<Self, Wrong> {
        let text = text.trim();
        if common::url::is_label(text) {
            return Ok(Self { is_secure: false, authority: format!("{text}.spin.internal") });
        }
        let url = Url::parse(text).filter(|url| matches!(url.path, "" | "/") && url.fragment.is_none());
        let is_local = |host: &str| matches!(host, "127.0.0.1" | "localhost" | "[::1]");
        // A secret does not travel in clear.
        let url = url.filter(|url| url.is_secure || is_local(url.host));
        let url = url
            .ok_or_else(|| Wrong::new("app", "is neither the id of a component nor an https address without a path"))?;
        Ok(Self { is_secure: url.is_secure, authority: url.authority() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R180: a request goes to one place, which the operator names.
    #[test]
    fn the_service_is_a_component_or_a_server() {
        let app = |text: &str| App::read(text).map(|app| (app.is_secure, app.authority));
        assert_eq!(app(" crm "), Ok((false, "crm.spin.internal".to_owned())));
        assert_eq!(app("https://api.example.com"), Ok((true, "api.example.com".to_owned())));
        assert_eq!(app("https://api.example.com:8443/"), Ok((true, "api.example.com:8443".to_owned())));
        assert_eq!(app("http://127.0.0.1:8080"), Ok((false, "127.0.0.1:8080".to_owned())));
        for bad in [
            "",
            "crm.spin.internal",
            "a/b",
            "http://api.example.com",
            "https://a/b",
            "https://a?b",
            "https://a#b",
            "https://u@a",
        ] {
            assert_eq!(app(bad).map_err(|wrong| wrong.name), Err("app"), "{bad}");
        }
    }
}
