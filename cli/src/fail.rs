//! Why a command did not do its work: a sentence, a step, a page, and the exit status.

use std::{
    fmt::Display,
    ops::{Deref, DerefMut},
};

use common::error::Code;
use serde_json::Value as Json;

/// What a command ends with; scripts tell outcomes apart by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The server refuses, or a check failed.
    Refused = 1,
    /// There is no credential, or one that is not live.
    Credential = 2,
    /// The server cannot be reached, or what answers is no Accredit.
    Unreachable = 3,
    /// The command was not typed as it has to be (`EX_USAGE` of sysexits.h).
    Usage = 64,
}

/// A failure. Boxed, so that a `Result` stays small.
#[derive(Debug)]
pub(crate) struct Failure(Box<Cause>);

/// What a failure says.
#[derive(Debug)]
pub(crate) struct Cause {
    pub(crate) exit: Exit,
    pub(crate) sentence: String,
    pub(crate) fix: Option<String>,
    /// A command that asks for exactly what was refused, whole: it is pasted.
    pub(crate) ask: Option<String>,
    /// Lines below the sentence: fields with problems, candidates.
    pub(crate) lines: Vec<String>,
    pub(crate) page: Option<String>,
    pub(crate) request: Option<String>,
    /// The API's own answer, if it is one: what `--json` shows.
    pub(crate) answer: Option<Json>,
}

impl Deref for Failure {
    type Target = Cause;

    fn deref(&self) -> &Cause {
        &self.0
    }
}

impl DerefMut for Failure {
    fn deref_mut(&mut self) -> &mut Cause {
        &mut self.0
    }
}

impl Failure {
    pub(crate) fn new(exit: Exit, sentence: impl Display) -> Self {
        Self(Box::new(Cause {
            exit,
            sentence: sentence.to_string(),
            fix: None,
            ask: None,
            lines: Vec::new(),
            page: None,
            request: None,
            answer: None,
        }))
    }

    pub(crate) fn usage(sentence: impl Display) -> Self {
        Self::new(Exit::Usage, sentence)
    }

    pub(crate) fn unreachable(sentence: impl Display) -> Self {
        Self::new(Exit::Unreachable, sentence)
    }

    pub(crate) fn credential(sentence: impl Display) -> Self {
        Self::new(Exit::Credential, sentence).fix("Sign in: accredit auth login")
    }

    /// Nothing to show the server, where it asks for something.
    pub(crate) fn no_credential(url: impl Display) -> Self {
        Self::credential(format!("There is no credential for {url}."))
    }

    pub(crate) fn fix(mut self, fix: impl Display) -> Self {
        self.fix = Some(fix.to_string());
        self
    }

    /// Whether the credential is bound to a key that the request did not prove: then the server names the algorithms.
    pub(crate) fn needs_key(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.get("algs").is_some())
    }

    /// Whether the same request can succeed after a while, so that a command that waits goes on.
    pub(crate) fn passes(&self) -> bool {
        let is_too_often =
            || Code::ALL.iter().map(|code| code.row()).any(|row| row.status == 429 && row.slug == self.slug());
        self.exit == Exit::Unreachable || is_too_often()
    }

    /// The API's slug.
    pub(crate) fn slug(&self) -> &str {
        self.answer.as_ref().and_then(|answer| answer.get("error")).and_then(Json::as_str).unwrap_or_default()
    }
}

/// A file or the terminal that cannot be used.
pub(crate) fn of_file(what: impl Display) -> impl FnOnce(std::io::Error) -> Failure {
    move |error| Failure::new(Exit::Refused, format!("{what}: {error}"))
}
