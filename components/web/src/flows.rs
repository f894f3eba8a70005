//! What this browser has begun at providers, each in a cookie of its own ([`crate::cookie::FLOWS`]): the sealed text that only the component
//! `oidc` can read. The cookie's name says by a few letters which `state` it belongs to.

use common::secret::Digest;
use service::{app::App, response::Response};

use crate::cookie::FLOWS;

/// Characters by which one is told from another.
const LETTERS: usize = 12;

/// The letters of the flow with this `state`.
fn letters(state: &str) -> String {
    let digest = Digest::of_parts(&["cookie of a flow", state]).to_string();
    digest.chars().filter(char::is_ascii_alphanumeric).take(LETTERS).collect()
}

/// What was begun with this `state`, sealed; empty: nothing that this browser still knows of.
pub(crate) fn read(app: &App, state: &str) -> String {
    FLOWS.read(app, &letters(state)).unwrap_or_default()
}

/// Leaves with the browser what was begun, for so many seconds.
pub(crate) fn keep(app: &App, response: Response, (state, flow): (&str, &str), life: i64) -> Response {
    FLOWS.keep(app, response, (&letters(state), flow), life)
}

/// Has the browser forget what was begun with this `state`, and nothing else: it was used, whatever came of it.
pub(crate) fn end(app: &App, response: Response, state: &str) -> Response {
    FLOWS.forget(app, response, &letters(state))
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, collections::BTreeMap};

    use http::header::SET_COOKIE;
    use serde_json::{Value::Null, json};
    use service::{outbound::stub, testing::TestApp};

    use crate::router;

    /// An API at which everything can be begun, with a state that the test counts up, and finished with the flow of that state alone.
    fn api(size: usize) {
        let count = Cell::new(0);
        stub::serve(Box::new(move |request| {
            let sent: serde_json::Value = serde_json::from_str(request.body()).unwrap_or_default();
            let answer = match request.uri().path() {
                "/auth/oidc/acme/start" => {
                    count.set(count.get() + 1);
                    let number = count.get();
                    let url = format!("https://sso.example/authorize?x=1&state=s{number}&y=2");
                    let flow = format!("f{number}-{}", "a".repeat(size));
                    (200, json!({ "url": url, "flow": flow, "expires_in": 600 }))
                }
                "/auth/oidc/acme/finish" => {
                    let (state, flow) = (sent["state"].as_str().unwrap(), sent["flow"].as_str().unwrap());
                    let is_own = !flow.is_empty() && flow.split('-').next() == Some(&state.replace('s', "f"));
                    match sent["error"].as_str() {
                        None if is_own => {
                            (200, json!({ "linked": { "provider": "acme" }, "next": format!("/{state}") }))
                        }
                        Some(_) if is_own => {
                            (403, json!({ "error": "provider_refused", "detail": "No.", "fix": "Go." }))
                        }
                        _ => (400, json!({ "error": "sign_in_expired", "detail": "No.", "fix": "Go." })),
                    }
                }
                _ => (200, json!({})),
            };
            Ok((answer.0, answer.1.to_string()))
        }));
    }

    /// A browser's cookies.
    #[derive(Default)]
    struct Jar(BTreeMap<String, String>);

    impl Jar {
        async fn open(&mut self, t: &TestApp, path: &str) -> (u16, String) {
            let pairs: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let pairs = pairs.join("; ");
            let answer = t.call("GET", path, &[("cookie", pairs.as_str())], Null).await;
            for line in answer.headers.get_all(SET_COOKIE) {
                let line = line.to_str().unwrap();
                let (pair, rest) = line.split_once(';').unwrap();
                let (name, value) = pair.split_once('=').unwrap();
                assert!(rest.contains("Path=/;") && rest.ends_with("HttpOnly; SameSite=Lax"), "{line}");
                match rest.contains("Max-Age=0;") {
                    true => drop(self.0.remove(name)),
                    false => drop(self.0.insert(name.to_owned(), value.to_owned())),
                }
            }
            let to = answer.headers.get("location").map(|to| to.to_str().unwrap().to_owned());
            (answer.status.as_u16(), to.unwrap_or_default())
        }

        fn flows(&self) -> Vec<&str> {
            let flows = self.0.iter().filter(|(name, _)| name.starts_with("accredit-oidc-"));
            let mut flows: Vec<&str> = flows.map(|(_, value)| value.split(['.', '-']).nth(1).unwrap()).collect();
            flows.sort_unstable();
            flows
        }
    }

    const BEGIN: &str = "/auth/oidc/acme/login";

    fn back(state: &str) -> String {
        format!("/auth/oidc/acme/callback?code=c&state={state}")
    }

    #[tokio::test]
    async fn each_tab_finishes_what_it_has_begun() {
        let (t, mut jar) = (TestApp::new(router()), Jar::default());
        api(300);
        for _ in 0..3 {
            assert_eq!(jar.open(&t, BEGIN).await.0, 303);
        }
        assert_eq!(jar.flows(), ["f1", "f2", "f3"]);
        // What another site sends takes nothing away.
        assert_eq!(jar.open(&t, &back("s9")).await.0, 400);
        assert_eq!(jar.open(&t, "/auth/oidc/acme/callback").await.0, 400);
        assert_eq!(jar.flows(), ["f1", "f2", "f3"]);
        // The first one fails, and the others end well, in whatever order.
        assert_eq!(jar.open(&t, "/auth/oidc/acme/callback?error=access_denied&state=s1").await.0, 403);
        assert_eq!(jar.flows(), ["f2", "f3"]);
        assert_eq!(jar.open(&t, &back("s3")).await, (303, "/s3?done=linked".to_owned()));
        assert_eq!(jar.open(&t, &back("s2")).await, (303, "/s2?done=linked".to_owned()));
        assert!(jar.flows().is_empty());
        assert_eq!(jar.open(&t, &back("s2")).await.0, 400);
    }

    /// Servers refuse headers that are longer than some 8 KB.
    #[tokio::test]
    async fn what_is_kept_has_a_bound_and_the_oldest_are_forgotten_first() {
        for (size, kept) in [
            (300, ["f4", "f5", "f6", "f7", "f8"].as_slice()),
            (1_900, &["f6", "f7", "f8"]),
            (2_400, &["f7", "f8"]),
            (3_450, &["f8"]),
        ] {
            let (t, mut jar) = (TestApp::new(router()), Jar::default());
            api(size);
            for _ in 0..8 {
                jar.open(&t, BEGIN).await;
                t.wait(1);
            }
            assert_eq!(jar.flows(), kept, "{size}");
            let all: usize = jar.0.iter().map(|(name, value)| name.len() + value.len()).sum();
            assert!(all <= crate::cookie::ROOM, "{all}");
        }
        // Beside a form that waits, there is less room.
        let (t, mut jar) = (TestApp::new(router()), Jar::default());
        api(1_900);
        jar.0.insert("accredit-kept-one".to_owned(), format!("1.{}", "x".repeat(3_900)));
        for _ in 0..3 {
            jar.open(&t, BEGIN).await;
            t.wait(1);
        }
        assert_eq!(jar.flows(), ["f3"]);
        // Texts that are none of ours go first.
        let (t, mut jar) = (TestApp::new(router()), Jar::default());
        api(300);
        for number in 0..9 {
            jar.0.insert(format!("accredit-oidc-{number}"), "x-y-".repeat(10));
        }
        jar.open(&t, BEGIN).await;
        jar.open(&t, BEGIN).await;
        assert!(jar.0.len() <= 6 && jar.flows().contains(&"f1") && jar.flows().contains(&"f2"));
    }
}
