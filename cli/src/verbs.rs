//! The verbs that are one route each: words, route, what is sent, and how the answer is shown. The command line, its help, the requests
//! and the names of commands in fixes all come from this table; a test holds it against the route table.
//!
//! Names in a path and query parameters come from the route's own row. A verb says which names may be typed in short, and which fields
//! the body has.

mod access;
mod admin;
mod agents;
mod caller;
mod messages;
mod operator;

use common::route::Route;

use crate::span::Unit;

/// A verb.
pub(crate) struct Verb {
    /// The words that call it, such as `agents token issue`.
    pub(crate) words: &'static str,
    pub(crate) route: &'static Route,
    /// The route that takes several names at once.
    pub(crate) bulk: Option<&'static Route>,
    /// Fields of the body, and parameters of the query that are typed without a flag.
    pub(crate) inputs: Vec<Input>,
    /// How the name in the path may be typed.
    pub(crate) look_up: Option<LookUp>,
    pub(crate) show: Show,
    /// The question before it: what cannot be undone is asked.
    pub(crate) asks: Option<&'static str>,
    /// The field without which the question is not asked. `None`: it is always asked.
    pub(crate) asks_with: Option<&'static str>,
    /// Whether the path names the caller's own agent if nothing is typed.
    pub(crate) is_about_me: bool,
}

/// Something that is typed.
pub(crate) struct Input {
    pub(crate) name: &'static str,
    pub(crate) at: At,
    pub(crate) kind: Kind,
    pub(crate) is_required: bool,
    /// Typed in its place, without a flag.
    pub(crate) is_positional: bool,
    /// What is typed for null, where null says something: that a bound is lifted, or a text removed.
    pub(crate) null: Option<&'static str>,
    /// Its flag, where the name of the field would say something else here.
    flag: Option<&'static str>,
    /// The route whose words say what it is.
    pub(crate) route: &'static Route,
    /// What the help says behind these words, as far as it is not said by the kind: how it is typed.
    pub(crate) typed: &'static str,
}

impl Input {
    fn new(route: &'static Route, name: &'static str, at: At, kind: Kind) -> Self {
        Self { name, at, kind, is_required: false, is_positional: false, null: None, flag: None, route, typed: "" }
    }

    /// Its flag, without the hyphens.
    pub(crate) fn long(&self) -> String {
        self.flag.map_or_else(|| long(self.name), str::to_owned)
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum At {
    Query,
    Body,
}

/// How a text becomes JSON.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Text,
    Number,
    /// How long something lasts: `30d`, a number of the unit in which the route counts it, or the time until a moment.
    Lasts(Unit),
    /// How long a credential lives: the same, in days, or in seconds as the field `expires_in` where it is no whole number of days.
    Life,
    /// A moment.
    When,
    /// A flag without a value: false.
    No,
    /// A list of words: typed several times, or with commas or blanks between.
    Words,
    /// A list of texts, which may have blanks: typed several times, or with commas between.
    Texts,
    /// An object of texts: `name=value`, several times.
    Pairs,
    /// JSON.
    Data,
    /// `true` or `false`.
    Truth,
    /// Never typed: read from standard input, or asked for without an echo.
    Secret,
    /// The same, of all lines.
    SecretText,
    /// A file with a JSON object, whose members are the body.
    File,
    /// A file with a JSON object, which is the field: what it holds is not typed.
    Object,
}

/// The list in which a short name is looked up.
#[derive(Clone, Copy)]
pub(crate) struct LookUp {
    pub(crate) route: &'static Route,
    pub(crate) prefix: &'static str,
}

/// How an answer is shown to people.
#[derive(Clone, Copy)]
pub(crate) enum Show {
    /// Each member in a line.
    Facts,
    /// A table of `items`, or of the member that is named: headings and members.
    Table(&'static str, &'static [(&'static str, &'static str)]),
    /// A secret in this member, with what it is for.
    Secret(&'static str),
    /// A sentence, in which `{name}` stands for what was typed.
    Done(&'static str),
    /// Lines of a log.
    Log,
    /// As it comes.
    Plain,
}

impl Verb {
    fn new(words: &'static str, route: &'static Route) -> Self {
        Self {
            words,
            route,
            bulk: None,
            inputs: Vec::new(),
            look_up: None,
            show: Show::Facts,
            asks: None,
            asks_with: None,
            is_about_me: false,
        }
    }

    fn show(self, show: Show) -> Self {
        Self { show, ..self }
    }

    fn table(self, columns: &'static [(&'static str, &'static str)]) -> Self {
        self.show(Show::Table("items", columns))
    }

    fn done(self, sentence: &'static str) -> Self {
        self.show(Show::Done(sentence))
    }

    fn asks(self, question: &'static str) -> Self {
        Self { asks: Some(question), ..self }
    }

    /// The question before a change of this field alone.
    fn asks_with(self, field: &'static str, question: &'static str) -> Self {
        Self { asks: Some(question), asks_with: Some(field), ..self }
    }

    fn bulk(self, route: &'static Route) -> Self {
        Self { bulk: Some(route), ..self }
    }

    fn look_up(self, route: &'static Route, prefix: &'static str) -> Self {
        Self { look_up: Some(LookUp { route, prefix }), ..self }
    }

    fn about_me(self) -> Self {
        Self { is_about_me: true, ..self }
    }

    /// A field of the body that has a flag.
    fn field(self, name: &'static str, kind: Kind) -> Self {
        let input = Input::new(self.route, name, At::Body, kind);
        self.input(input)
    }

    /// A field of the body that must be sent.
    fn needs(self, name: &'static str, kind: Kind) -> Self {
        let input = Input::new(self.route, name, At::Body, kind);
        self.input(Input { is_required: true, ..input })
    }

    /// A field of the body that is typed in its place.
    fn takes(self, name: &'static str, kind: Kind) -> Self {
        let input = Input::new(self.route, name, At::Body, kind);
        self.input(Input { is_required: true, is_positional: true, ..input })
    }

    /// A file that is the body, which is typed in its place.
    fn file(self, help: &'static str) -> Self {
        self.takes("file", Kind::File).typed(help)
    }

    /// A parameter of the query that is typed in its place.
    fn takes_query(self, name: &'static str) -> Self {
        let input = Input::new(self.route, name, At::Query, Kind::Text);
        self.input(Input { is_required: true, is_positional: true, ..input })
    }

    /// Says how the last field is typed, behind what it is.
    fn typed(mut self, typed: &'static str) -> Self {
        if let Some(input) = self.inputs.last_mut() {
            input.typed = typed;
        }
        self
    }

    /// Gives the last field another flag: `--url` is the server's.
    fn flagged(mut self, flag: &'static str) -> Self {
        if let Some(input) = self.inputs.last_mut() {
            input.flag = Some(flag);
        }
        self
    }

    /// Says what is typed for null in the last field.
    fn or(mut self, null: &'static str) -> Self {
        if let Some(input) = self.inputs.last_mut() {
            input.null = Some(null);
        }
        self
    }

    fn input(mut self, input: Input) -> Self {
        self.inputs.push(input);
        self
    }

    /// What an agent is, when it is made and when it is changed.
    fn of_agent(self) -> Self {
        self.field("display_name", Kind::Text)
            .or("none")
            .field("description", Kind::Text)
            .or("none")
            .field("runtime", Kind::Text)
            .or("none")
            .field("model", Kind::Text)
            .or("none")
            .field("url", Kind::Text)
            .flagged("agent-url")
            .or("none")
            .field("compute", Kind::Data)
            .field("access", Kind::Text)
            .or("none")
            .field("labels", Kind::Pairs)
            .or("none")
            .field("scope", Kind::Words)
            .field("preset", Kind::Text)
            .field("tier", Kind::Number)
            .field("max_concurrent_tasks", Kind::Number)
            .field("budget_cents", Kind::Number)
            .or("none")
            .field("silent_after_minutes", Kind::Lasts(Unit::Minutes))
            .or("none")
    }

    /// What a credential carries and how long it lives.
    fn of_credential(self) -> Self {
        self.field("scope", Kind::Words).field("preset", Kind::Text).lives()
    }

    /// How long a credential lives.
    fn lives(self) -> Self {
        self.field("expires_in_days", Kind::Life).or("never")
    }

    /// The names in the path, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        names(self.route)
    }
}

/// The flag of a field or parameter, without its hyphens.
pub(crate) fn long(name: &str) -> String {
    match name {
        "expires_in_days" => "ttl".to_owned(),
        name => name.replace('_', "-"),
    }
}

/// The names in a route's path, in order.
pub(crate) fn names(route: &'static Route) -> impl Iterator<Item = &'static str> {
    route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// The columns of a decision.
const FACTORS: &[(&str, &str)] = &[("FACTOR", "factor"), ("HOLDS", "holds"), ("WHY", "why")];

/// Every verb that is one route.
pub(crate) fn all() -> Vec<Verb> {
    [caller::all(), agents::all(), access::all(), messages::all(), admin::all(), operator::all()]
        .into_iter()
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests;
