//! Which scopes a request needs, by its method, its path and, for servers that speak MCP, the tool that it calls.
//!
//! ```text
//! rules  = rule *( ( ";" / newline ) rule )     a line that begins with "#" says nothing
//! rule   = method path [ "tool" name ] "=" scopes
//! method = "*" / word *( "," word )             GET stands for HEAD too
//! path   = "/" segments                         "*" is one segment; "**" at the end is all that comes, or nothing
//! name   = "*" / the name of a tool
//! scopes = "-" / name *( blank name )           "-": a good credential is enough
//! ```
//!
//! The first rule that fits decides. A text of which one rule is wrong is wrong as a whole.

use common::{
    scope::{CustomScopes, Scope},
    text::of_mcp_header,
};
use serde_json::Value as Json;

/// The most rules.
const MOST: usize = 200;
/// The most bytes of a body that names a tool.
pub const MOST_BODY: usize = 1024 * 1024;

/// What a request needs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

#[derive(Debug, PartialEq, Eq)]
struct Rule {
    /// Empty: any.
    methods: Vec<String>,
    segments: Vec<Segment>,
    tool: Option<Tool>,
    scopes: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    /// In lower case.
    Word(String),
    One,
    Rest,
}

#[derive(Debug, PartialEq, Eq)]
enum Tool {
    Any,
    Named(String),
}

/// Which rule of a text is wrong, counted from 1, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct WrongRule {
    /// The number of the rule.
    pub number: usize,
    /// In a few words.
    pub why: &'static str,
}

/// A path that can be read in two ways.
#[derive(Debug, PartialEq, Eq)]
pub struct Ambiguous;

/// A message of the Model Context Protocol, as far as rules look at it.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// It calls this tool.
    Call(String),
    /// It does something else.
    Other,
}

/// Whether a text can be the name of a scope.
pub fn is_scope(name: &str) -> bool {
    Scope::from_text(name).is_some() || CustomScopes::is_name(name)
}

impl Rules {
    /// Reads rules.
    pub fn parse(text: &str) -> Result<Self, WrongRule> {
        let mut rules: Vec<Rule> = Vec::new();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let parts = lines.flat_map(|line| line.split(';')).map(str::trim).filter(|part| !part.is_empty());
        for (index, part) in parts.enumerate() {
            let wrong = |why| WrongRule { number: index + 1, why };
            let rule = Rule::parse(part).map_err(wrong)?;
            if rules.iter().any(|before| before.is_same(&rule)) {
                return Err(wrong("stands twice"));
            }
            if index >= MOST {
                return Err(wrong("is one too many"));
            }
            rules.push(rule);
        }
        Ok(Self(rules))
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every scope that a rule names.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|rule| rule.scopes.iter().map(String::as_str))
    }

    /// Whether what the request needs depends on its body.
    pub fn name_tools_of(&self, method: &str, path: &str) -> bool {
        let Some(path) = plain(path) else { return false };
        self.0.iter().any(|rule| rule.tool.is_some() && rule.fits(method, &path))
    }

    /// The scopes that a request needs. `Ok(None)`: no rule fits.
    pub fn needed(&self, method: &str, path: &str, message: &Message) -> Result<Option<&[String]>, Ambiguous> {
        if self.is_empty() {
            return Ok(None);
        }
        if names_another_method(path) {
            return Err(Ambiguous);
        }
        let path = plain(path).ok_or(Ambiguous)?;
        let fits = |rule: &&Rule| rule.fits(method, &path) && rule.fits_tool(message);
        Ok(self.0.iter().find(fits).map(|rule| rule.scopes.as_slice()))
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (what, scopes) = text.split_once('=').ok_or("has no \"=\"")?;
        let words: Vec<&str> = what.split_ascii_whitespace().collect();
        let (methods, path, tool) = match words[..] {
            [methods, path] => (methods, path, None),
            [methods, path, "tool", name] => (methods, path, Some(name)),
            _ => return Err("is not of the form: method path [tool name] = scopes"),
        };
        let methods: Vec<String> = match methods {
            "*" => Vec::new(),
            methods => methods.split(',').map(str::to_owned).collect(),
        };
        if methods.iter().any(|word| word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_uppercase())) {
            return Err("has a method that is not \"*\" and not of capitals");
        }
        let tool = match tool {
            None => None,
            Some("*") => Some(Tool::Any),
            Some(name) if name.bytes().all(|byte| byte.is_ascii_graphic()) => Some(Tool::Named(name.to_owned())),
            Some(_) => return Err("has a tool's name that is not of visible ASCII characters"),
        };
        if tool.is_some() && methods.iter().any(|method| method != "POST") {
            return Err("names a tool, which a POST calls, and another method");
        }
        let scopes: Vec<String> = match scopes.trim() {
            "" => return Err("names no scope; \"-\" says that none is needed"),
            "-" => Vec::new(),
            scopes => scopes.split_ascii_whitespace().map(str::to_owned).collect(),
        };
        if !scopes.iter().all(|name| is_scope(name)) {
            return Err("has a scope that cannot be one");
        }
        Ok(Self { methods, segments: segments(path)?, tool, scopes })
    }

    fn is_same(&self, other: &Self) -> bool {
        (&self.methods, &self.segments, &self.tool) == (&other.methods, &other.segments, &other.tool)
    }

    fn fits(&self, method: &str, path: &[String]) -> bool {
        let is_method =
            |word: &String| word.eq_ignore_ascii_case(method) || (word == "GET" && method.eq_ignore_ascii_case("HEAD"));
        if !self.methods.is_empty() && !self.methods.iter().any(is_method) {
            return false;
        }
        let mut path = path.iter();
        for segment in &self.segments {
            match segment {
                Segment::Rest => return true,
                Segment::One if path.next().is_some() => {}
                Segment::Word(word) if path.next() == Some(word) => {}
                _ => return false,
            }
        }
        path.next().is_none()
    }

    fn fits_tool(&self, message: &Message) -> bool {
        match (&self.tool, message) {
            (None, _) | (Some(Tool::Any), Message::Call(_)) => true,
            (Some(Tool::Named(name)), Message::Call(called)) => name == called,
            (Some(_), Message::Other) => false,
        }
    }
}

fn segments(path: &str) -> Result<Vec<Segment>, &'static str> {
    let rest = path.strip_prefix('/').ok_or("has a path that does not begin with \"/\"")?;
    let parts: Vec<&str> = rest.strip_suffix('/').unwrap_or(rest).split('/').filter(|_| !rest.is_empty()).collect();
    let last = parts.len().saturating_sub(1);
    let read = |(index, part): (usize, &&str)| match *part {
        "**" if index == last => Ok(Segment::Rest),
        "*" => Ok(Segment::One),
        part if part.contains('*') => {
            Err("has a path with a \"*\" that is not a whole segment, or \"**\" before its end")
        }
        part => match decoded(part) {
            Some(word) => Ok(Segment::Word(word)),
            None => Err("has a path that can be read in two ways"),
        },
    };
    parts.iter().enumerate().map(read).collect()
}

/// The segments of a request's path, as every framework reads them: decoded once, in lower case, without a slash at the end. `None`: two
/// frameworks could read it as two paths, so that what was compared here would not be what is served there.
fn plain(path: &str) -> Option<Vec<String>> {
    let path = path.split(['?', '#']).next()?.strip_prefix('/')?;
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Some(Vec::new());
    }
    path.split('/').map(decoded).collect()
}

/// Whether the query has `_method`, by which Symfony, Laravel and Rack take another method than the request's; PHP reads `.method` as the
/// same name, and no further than to a NUL.
fn names_another_method(path: &str) -> bool {
    let query = path.split_once('?').map_or("", |(_, query)| query);
    let names = query.split(['&', ';']).map(|pair| pair.split(['=', '[', '#']).next().unwrap_or_default());
    let before_nul = names.map(|name| name.split("%00").next().unwrap_or_default());
    before_nul.filter_map(|name| decoded(&name.replace('+', " "))).any(|name| {
        let name = name.trim_start();
        name.strip_prefix(['_', '.']).is_some_and(|rest| rest.trim_end() == "method")
    })
}

fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let number = digit(rest.next())? * 16 + digit(rest.next())?;
                u8::try_from(number).ok()?
            }
            byte => byte,
        });
    }
    let text = String::from_utf8(bytes).ok()?;
    let is_plain = !matches!(text.as_str(), "" | "." | "..")
        && !text.contains(['/', '\\', ';', '%', '?', '#'])
        && !text.chars().any(char::is_control);
    // Some frameworks take `A` for `a`: a rule is for both.
    is_plain.then(|| text.to_lowercase())
}

/// What a message and its `params` are called by, as far as rules look at it.
const OF_MESSAGE: [&str; 4] = ["jsonrpc", "id", "method", "params"];
const OF_PARAMS: [&str; 2] = ["name", "arguments"];

/// Reads a body: one message of JSON-RPC. `named` is every `Mcp-Name` of the client. `Err` says in a few words why it cannot be compared with
/// the rules.
pub fn message(body: &[u8], named: &[&[u8]]) -> Result<Message, &'static str> {
    let text = std::str::from_utf8(body).map_err(|_| "The body is not UTF-8.")?;
    if text.trim().is_empty() {
        return Ok(Message::Other);
    }
    let json = common::json::parse(text).ok_or("The body is not JSON, or a member stands twice.")?;
    if !json.is_object() {
        return Err("The body is not one message: send one in each request.");
    }
    let params = json.get("params");
    if has_almost(Some(&json), &OF_MESSAGE) || has_almost(params, &OF_PARAMS) {
        return Err("A member of the message is written in another case.");
    }
    if json.get("method").and_then(Json::as_str) != Some("tools/call") {
        return Ok(Message::Other);
    }
    let name = params.and_then(|params| params.get("name")).and_then(Json::as_str);
    let name = name.ok_or("The call names no tool.")?;
    match *named {
        [] => {}
        [header] if is_name(header, name) => {}
        [_] => return Err("The header Mcp-Name names another tool than the body."),
        _ => return Err("The header Mcp-Name stands twice."),
    }
    Ok(Message::Call(name.to_owned()))
}

/// Whether a member has one of these names but for its case. Some services, such as those in Go, take it for that one: their readers fold
/// ASCII, and the two letters beyond it whose small or capital form is of ASCII.
fn has_almost(json: Option<&Json>, names: &[&str]) -> bool {
    let folded = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    let is_almost = |member: &String| {
        !names.contains(&member.as_str()) && names.iter().any(|name| member.chars().map(folded).eq(name.chars()))
    };
    json.and_then(Json::as_object).is_some_and(|members| members.keys().any(is_almost))
}

/// Whether an `Mcp-Name` is this name.
fn is_name(header: &[u8], name: &str) -> bool {
    std::str::from_utf8(header).ok().and_then(of_mcp_header).is_some_and(|header| header == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# customers\nGET /customers/* = x.crm.read; PUT,PATCH /customers/* = x.crm.write x.crm.read\n\
        POST /mcp tool delete_customer = x.crm.admin; POST /mcp tool * = x.crm.write\n* /health = -\nGET /files/** = x.files\n\n";

    fn needed(method: &str, path: &str, message: &Message) -> Result<Option<String>, Ambiguous> {
        let rules = Rules::parse(TEXT).unwrap();
        rules.needed(method, path, message).map(|scopes| scopes.map(|scopes| scopes.join(" ")))
    }

    /// R179: the first rule that fits decides, for every way in which the path can be written.
    #[test]
    fn a_request_needs_what_the_first_fitting_rule_says() {
        let of = |method: &str, path: &str| needed(method, path, &Message::Other).unwrap();
        for path in ["/customers/7", "/customers/7/", "/Customers/7?x=/health", "/%63ustomers/7", "/customers/a%20b"] {
            assert_eq!(of("GET", path).as_deref(), Some("x.crm.read"), "{path}");
            assert_eq!(of("HEAD", path).as_deref(), Some("x.crm.read"), "{path}");
            assert_eq!(of("patch", path).as_deref(), Some("x.crm.write x.crm.read"), "{path}");
            assert_eq!(of("DELETE", path), None);
        }
        for path in ["/customers", "/customers/7/orders", "/", "/x/customers/7"] {
            assert_eq!(of("GET", path), None, "{path}");
        }
        assert_eq!((of("GET", "/health").as_deref(), of("BREW", "/health").as_deref()), (Some(""), Some("")));
        for path in ["/files", "/files/", "/files/a", "/files/a/b.txt"] {
            assert_eq!(of("GET", path).as_deref(), Some("x.files"), "{path}");
        }
    }

    /// R179: what two frameworks could read as two paths is served as none.
    #[test]
    fn a_path_that_can_be_read_in_two_ways_is_refused() {
        for path in [
            "",
            "customers",
            "//customers/7",
            "/customers//7",
            "/files/../customers/7",
            "/files/%2e%2e/customers",
            "/./customers",
            "/customers%2f7",
            "/customers%5c7",
            "/customers\\7",
            "/customers;x/7",
            "/customers/%2561",
            "/customers/%",
            "/customers/%zz",
            "/customers/%ff",
            "/customers/a%00",
            "/customers/a%0a",
            "/customers/a%3fb",
        ] {
            assert_eq!(needed("GET", path, &Message::Other), Err(Ambiguous), "{path}");
        }
        assert_eq!(
            Rules::default().needed("GET", "//x", &Message::Other),
            Ok(None),
            "without rules nothing is compared"
        );
    }

    /// R522
    #[test]
    fn a_query_that_names_another_method_is_refused() {
        for query in [
            "_method=DELETE",
            "a=1&_METHOD=put",
            "%5fmethod=DELETE",
            ".method=DELETE",
            "_method[]=x",
            "_method",
            "_method%00=PUT",
            "a&_Method%00%ff=PUT",
        ] {
            let path = format!("/customers/7?{query}");
            assert_eq!(needed("PUT", &path, &Message::Other), Err(Ambiguous), "{query}");
        }
        for query in ["method=DELETE", "x=_method", "my_method=a", "", "%ff=1"] {
            assert!(needed("PUT", &format!("/customers/7?{query}"), &Message::Other).is_ok(), "{query}");
        }
    }

    /// R179
    #[test]
    fn a_tool_needs_what_its_rule_says() {
        let of = |name: &str| needed("POST", "/mcp", &Message::Call(name.to_owned())).unwrap();
        assert_eq!(of("delete_customer").as_deref(), Some("x.crm.admin"));
        assert_eq!(of("Delete_Customer").as_deref(), Some("x.crm.write"));
        assert_eq!(needed("POST", "/mcp", &Message::Other), Ok(None));
        let rules = Rules::parse(TEXT).unwrap();
        assert!(rules.name_tools_of("POST", "/mcp/") && !rules.name_tools_of("GET", "/mcp"));
        assert!(!rules.name_tools_of("POST", "/customers/7"));
    }

    /// R179: the body decides, and only one that can be read in one way.
    #[test]
    fn a_message_says_which_tool_it_calls() {
        let call = br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#;
        assert_eq!(message(call, &[]), Ok(Message::Call("a".to_owned())));
        assert_eq!(message(call, &[b"a"]), Ok(Message::Call("a".to_owned())));
        assert!(message(call, &[b"b"]).is_err());
        for other in [&b""[..], b" \n", br#"{"method":"tools/list"}"#, br#"{"result":{}}"#, br#"{"method":7}"#] {
            assert_eq!(message(other, &[]), Ok(Message::Other));
        }
        for bad in [
            &b"{"[..],
            b"\x1f\x8b",
            b"[]",
            br#"[{"method":"tools/call","params":{"name":"a"}}]"#,
            br#"{"method":"tools/list","method":"tools/call"}"#,
            br#"{"method":"tools/call","params":{"name":"a","name":"b"}}"#,
            br#"{"method":"tools/call","params":{}}"#,
            br#"{"method":"tools/call","params":{"name":7}}"#,
            br#"{"method":"tools/call"}"#,
            // R740: services whose readers take a member in every case.
            br#"{"Method":"tools/call","params":{"name":"a"}}"#,
            br#"{"method":"tools/list","Method":"tools/call","params":{"name":"a"}}"#,
            br#"{"method":"tools/call","params":{"name":"a","Name":"b"}}"#,
            br#"{"method":"tools/call","params":{"name":"a"},"Params":{"name":"b"}}"#,
            br#"{"method":"tools/call","params":{"name":"a"},"param\u017f":{"name":"b"}}"#,
            br#"{"method":"tools/call","params":{"name":"a","ARGUMENT\u017F":{}}}"#,
        ] {
            assert!(message(bad, &[]).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    /// R740: what is within the arguments is the tool's.
    #[test]
    fn a_tools_arguments_have_names_of_their_own() {
        let call =
            br#"{"method":"tools/call","params":{"name":"a","arguments":{"Name":"b","ID":1},"_meta":{"Method":1}}}"#;
        assert_eq!(message(call, &[]), Ok(Message::Call("a".to_owned())));
    }

    /// R741: the header names the tool in each of its two forms, and stands once.
    #[test]
    fn a_header_names_the_tool_of_the_body() {
        let call = "{\"method\":\"tools/call\",\"params\":{\"name\":\"lö\"}}".as_bytes();
        let of = |named: &[&[u8]]| message(call, named);
        for good in [&b"=?base64?bMO2?="[..], "lö".as_bytes()] {
            assert_eq!(of(&[good]), Ok(Message::Call("lö".to_owned())));
            assert!(of(&[good, good]).is_err());
        }
        for bad in [&b"=?base64?bMO?="[..], b"=?base64?YQ==?=", b"l\xf6", b""] {
            assert!(of(&[bad]).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    /// R179: one wrong rule, and none of them counts.
    #[test]
    fn rules_are_refused_as_a_whole() {
        for (number, text) in [
            (1, "GET /a"),
            (1, "GET a = x.a"),
            (1, "get /a = x.a"),
            (1, "GET, /a = x.a"),
            (1, "/a = x.a"),
            (1, "GET /a ="),
            (1, "GET /a = nothing"),
            (1, "GET /a = x.*"),
            (1, "GET /a = - x.a"),
            (1, "GET /a* = x.a"),
            (1, "GET /**/a = x.a"),
            (1, "GET /a//b = x.a"),
            (1, "GET /../a = x.a"),
            (1, "GET /%2561 = x.a"),
            (1, "GET /a tool = x.a"),
            (1, "GET /a tool b = x.a"),
            (1, "POST /a tul b = x.a"),
            (1, "POST /a tool b c = x.a"),
            (2, "GET /a = x.a; GET /A/ = x.b"),
            (3, "GET /a = x.a\n# b\n* /b = -; = x.a"),
        ] {
            assert_eq!(Rules::parse(text).map_err(|wrong| wrong.number), Err(number), "{text}");
        }
        let many: String = (0..=MOST).map(|number| format!("GET /{number} = x.a\n")).collect();
        assert_eq!(Rules::parse(&many).map_err(|wrong| wrong.number), Err(MOST + 1));
        assert_eq!(Rules::parse("  \n# nothing\n;;"), Ok(Rules::default()));
    }
}
