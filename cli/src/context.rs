//! What every verb has: the settings, what was typed beside the verb, and the server.

use clap::ArgMatches;
use common::secret::Secret;

use crate::{
    config::{Asked, Settings},
    fail::{Exit, Failure},
    http::{Client, PATIENCE},
    show,
};

/// What every verb has.
pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) is_json: bool,
    is_sure: bool,
    pub(crate) patience: u64,
}

impl Context {
    pub(crate) fn of(matches: &ArgMatches) -> Result<Self, Failure> {
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        let asked = Asked { url: text("url"), profile: text("profile") };
        let patience = matches.get_one::<u64>("timeout").copied().unwrap_or(PATIENCE);
        let settings = Settings::load(&asked)?;
        Ok(Self { settings, is_json: matches.get_flag("json"), is_sure: matches.get_flag("yes"), patience })
    }

    /// The server, asked with the credential, if there is one.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let token = self.settings.token.as_ref().and_then(|token| Secret::parse(token.reveal()));
        Ok(Client::new(self.settings.server()?, token, self.patience)?.bound(self.settings.key_of_token()))
    }

    /// Asks before something that cannot be undone.
    pub(crate) fn make_sure(&self, question: &str) -> Result<(), Failure> {
        if self.is_sure {
            return Ok(());
        }
        match show::ask(question) {
            Some(true) => Ok(()),
            Some(false) => Err(Failure::new(Exit::Refused, "Nothing was done.")),
            None => Err(Failure::usage(format!("{question} Nobody is here to answer.")).fix("Add --yes.")),
        }
    }
}
