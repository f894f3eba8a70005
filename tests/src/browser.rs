//! A browser without a script: it keeps cookies, and sends forms as they stand in a page.

use std::{cell::RefCell, collections::BTreeMap};

use crate::{Answer, Client, Server};

const HTML: &str = "text/html,application/xhtml+xml,*/*;q=0.8";

/// The browser.
pub struct Browser {
    client: Client,
    cookies: RefCell<BTreeMap<String, String>>,
}

impl Browser {
    /// Of somebody who is signed out.
    pub fn new(server: &Server) -> Self {
        Self { client: server.nobody(), cookies: RefCell::default() }
    }

    /// Of somebody who is signed in.
    pub fn of(server: &Server, session: &Client) -> Self {
        let browser = Self::new(server);
        browser.cookies.borrow_mut().insert("accredit".to_owned(), session.bearer().to_owned());
        browser
    }

    /// The server, which is the origin of its own forms.
    pub fn base_url(&self) -> &str {
        self.client.base_url()
    }

    /// The cookie of this name, if there is one.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.borrow().get(name).cloned()
    }

    /// Whether it holds a cookie whose name begins with this.
    pub fn has_cookie(&self, prefix: &str) -> bool {
        self.cookies.borrow().keys().any(|name| name.starts_with(prefix))
    }

    /// Whether it holds a session that is live.
    pub fn is_signed_in(&self) -> bool {
        let Some(session) = self.cookie("accredit") else { return false };
        let cookie = format!("accredit={session}");
        self.client.call("GET", "/api/auth/whoami", &[("cookie", &cookie)], None).status() == 200
    }

    /// Sends a request with its cookies, and keeps those of the answer.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, more: &[(&str, &str)], body: Option<&[u8]>) -> Answer {
        let cookies: Vec<String> =
            self.cookies.borrow().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut headers = vec![("accept", HTML)];
        if !cookies.is_empty() {
            headers.push(("cookie", &cookies));
        }
        headers.extend(more);
        let answer = self.client.call(method, path, &headers, body);
        for (_, cookie) in answer.headers().iter().filter(|(name, _)| name == "set-cookie") {
            assert!(cookie.contains("HttpOnly; SameSite=Lax") && cookie.contains("Path=/;"), "{cookie}");
            let (name, rest) = cookie.split_once('=').expect("a cookie");
            let value = rest.split(';').next().unwrap_or_default().to_owned();
            match cookie.contains("Max-Age=0") {
                true => self.cookies.borrow_mut().remove(name),
                false => self.cookies.borrow_mut().insert(name.to_owned(), value),
            };
        }
        answer
    }

    /// Opens an address; where it leads is not followed.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], None)
    }

    /// A page, as every page must be.
    #[track_caller]
    pub fn page(&self, path: &str) -> String {
        let answer = self.get(path);
        assert_eq!(answer.status(), 200, "{path}: {}", answer.text());
        is_page(&answer);
        answer.text()
    }

    /// Sends a form with an origin.
    #[track_caller]
    pub fn post_from(&self, origin: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let body: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        let headers = [("content-type", "application/x-www-form-urlencoded"), ("origin", origin)];
        self.send("POST", path, &headers, Some(body.join("&").as_bytes()))
    }

    /// Sends the form that a page has for this path, or that has a button for it, with these fields filled in: the hidden ones are sent as
    /// they stand there.
    #[track_caller]
    pub fn submit(&self, page: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let html = self.page(page);
        self.submit_in(&html, path, fields)
    }

    /// The same with a page that is there already.
    #[track_caller]
    pub fn submit_in(&self, html: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        let ways = [format!("method=\"post\" action=\"{path}\""), format!(" formaction=\"{path}\"")];
        let form = html.split("<form").find(|form| ways.iter().any(|way| form.contains(way)));
        let form = form.unwrap_or_else(|| panic!("no form for {path} in {html}"));
        let form = form.split("</form>").next().unwrap_or_default();
        let hidden: Vec<(&str, String)> = all_hidden(form).collect();
        let mut sent: Vec<(&str, &str)> = hidden.iter().map(|(name, value)| (*name, value.as_str())).collect();
        sent.extend(fields);
        self.post_from(self.base_url(), path, &sent)
    }

    /// Signs in by the form, also where somebody is signed in.
    #[track_caller]
    pub fn sign_in(&self, email: &str, password: &str, next: &str) -> Answer {
        self.submit(
            &format!("/login?next={}&email=", encoded(next)),
            "/auth/login",
            &[("email", email), ("password", password)],
        )
    }
}

/// The fields of a page's form as they stand in it, as a browser sends them. The form is the one for this path that contains `mark`.
#[track_caller]
pub fn fields(html: &str, path: &str, mark: &str) -> Vec<(String, String)> {
    let way = format!("method=\"post\" action=\"{path}\"");
    let mut forms = html.split("<form").filter_map(|form| form.split("</form>").next());
    let form = forms.find(|form| form.contains(&way) && form.contains(mark));
    let form = form.unwrap_or_else(|| panic!("no form for {path} with {mark} in {html}"));
    let value = |tag: &str, name: &str| {
        let rest = tag.split_once(&format!(" {name}=\"")).map(|(_, rest)| rest)?;
        rest.split('"').next().map(unescaped)
    };
    let mut sent = Vec::new();
    for tag in form.split('<') {
        let (tag, rest) = tag.split_once('>').unwrap_or((tag, ""));
        let word = tag.split(' ').next().unwrap_or_default();
        let Some(name) = value(tag, "name") else {
            let chosen = word == "option" && tag.ends_with(" selected");
            if let (true, Some((_, last))) = (chosen, sent.last_mut()) {
                *last = value(tag, "value").unwrap_or_else(|| unescaped(rest));
            }
            continue;
        };
        let is_box = tag.contains("type=\"checkbox\"") || tag.contains("type=\"radio\"");
        match word {
            "input" if is_box && !tag.ends_with(" checked") => {}
            "input" => sent.push((name, value(tag, "value").unwrap_or_default())),
            // A browser ends the lines of a text with both characters.
            "textarea" => sent.push((name, unescaped(rest).replace('\n', "\r\n"))),
            "select" => sent.push((name, String::new())),
            _ => {}
        }
    }
    sent
}

fn all_hidden(html: &str) -> impl Iterator<Item = (&str, String)> {
    let fields = html.split("<input type=\"hidden\" name=\"").skip(1);
    let fields = fields.filter_map(|rest| rest.split_once("\" value=\""));
    fields.map(|(name, rest)| (name, unescaped(rest.split('"').next().unwrap_or_default())))
}

/// The value of a page's first hidden field of this name.
#[track_caller]
pub fn hidden(html: &str, name: &str) -> String {
    let found = all_hidden(html).find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no hidden field {name} in {html}")).1
}

/// As a browser reads the value of an attribute.
pub fn unescaped(text: &str) -> String {
    let marks = [
        ("&#34;", "\""),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&#60;", "<"),
        ("&lt;", "<"),
        ("&#62;", ">"),
        ("&gt;", ">"),
    ];
    let text = marks.iter().fold(text.to_owned(), |text, (mark, letter)| text.replace(mark, letter));
    text.replace("&#38;", "&").replace("&amp;", "&")
}

/// A text in a query or a form.
pub fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// Asserts what every page has: HTML, a strict policy, nothing kept, nothing inline.
#[track_caller]
pub fn is_page(answer: &Answer) {
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8", "{answer:?}");
    has_policy(answer);
    let html = answer.text();
    assert!(html.starts_with("<!doctype html>") && html.trim_end().ends_with("</html>"), "{html}");
    for inline in [" style=", "<style", " onclick=", "href=\"javascript:", "<script>"] {
        assert!(!html.contains(inline), "{inline} in {html}");
    }
    // Our one script, and no other.
    assert_eq!(html.matches("<script").count(), 1, "{html}");
}

/// Asserts the policy that every answer of a page's path has, and that nothing keeps it.
#[track_caller]
pub fn has_policy(answer: &Answer) {
    let policy = answer.header("content-security-policy");
    for part in
        ["default-src 'none'", "script-src 'self'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"]
    {
        assert!(policy.contains(part), "{policy:?}: {answer:?}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("cache-control"), "no-store");
}
