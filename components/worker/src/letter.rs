//! The texts of mails, each as plain text and as HTML. None is ever stored: a kind that carries a one-time code mints the code here, when
//! the mail is sent.

use askama::Template;
use common::{error::ApiError, time::Timestamp};
use serde_json::Value as Json;
use service::{
    app::{App, log},
    link::{self, Link, Page},
};
use store::{
    db::Purpose,
    outbox::{DueMail, Kind},
    user,
};

use crate::mail::Failure;

/// A mail as it is sent.
#[derive(Template)]
#[template(path = "letter.html")]
pub(crate) struct Letter {
    pub(crate) subject: String,
    /// What happened, or was asked for.
    paragraphs: Vec<String>,
    /// The one thing to do.
    button: Option<Button>,
    /// When it ends, and what to do if it was not the reader.
    notes: Vec<String>,
    /// The instance that it comes from.
    instance: String,
    /// Where the instance is; without `public_url` nobody outside knows.
    home: Option<String>,
}

/// A link that stands out.
struct Button {
    label: &'static str,
    url: String,
}

impl Letter {
    /// As HTML: every text escaped, nothing of another place.
    pub(crate) fn html(&self) -> Result<String, askama::Error> {
        self.render()
    }

    /// As plain text.
    pub(crate) fn text(&self) -> String {
        let button = self.button.as_ref().map(|button| format!("{}:\n{}", button.label, button.url));
        let parts = self.paragraphs.iter().cloned().chain(button).chain(self.notes.iter().cloned());
        let end = self.home.iter().fold(self.instance.clone(), |end, home| format!("{end}\n{home}"));
        parts.fold(String::new(), |text, part| format!("{text}{part}\n\n")) + &format!("-- \n{end}\n")
    }
}

/// A letter in the making.
struct Draft<'a> {
    app: &'a App,
    due: &'a DueMail,
}

/// Writes the letter of a mail whose turn it is.
pub(crate) async fn write(app: &App, due: &DueMail) -> Result<Letter, Failure> {
    let draft = Draft { app, due };
    match due.kind {
        Kind::FactorRemoved => Ok(draft.factor_removed()),
        Kind::Invite => draft.invite().await,
        Kind::Leak => Ok(draft.leak()),
        Kind::Link => draft.link().await,
        Kind::PasswordChanged => Ok(draft.password_changed()),
        Kind::Reset => draft.reset().await,
        Kind::RoleLowered => Ok(draft.role_lowered()),
        Kind::Test => Ok(draft.test()),
    }
}

impl Draft<'_> {
    fn member(&self, name: &str) -> &str {
        self.due.data.get(name).and_then(Json::as_str).unwrap_or_default()
    }

    /// `from the address 192.0.2.1`; nothing where the host gave none.
    fn sender(&self) -> String {
        match self.member("address") {
            "" => String::new(),
            address => format!(" from the address {address}"),
        }
    }

    fn home(&self) -> Option<String> {
        self.app.settings().public_url.as_ref().map(|url| format!("{}{}", url.origin, url.path))
    }

    /// How the instance calls itself: `Accredit at accredit.example.com`, with the tenant.
    fn instance(&self) -> String {
        let tenant = &self.due.tenant;
        match self.home().as_deref().and_then(|home| home.split_once("://")) {
            Some((_, place)) => format!("Accredit at {place}, tenant {tenant}"),
            None => format!("Accredit, tenant {tenant}"),
        }
    }

    fn letter(&self, subject: &str, paragraph: String) -> Letter {
        Letter {
            subject: subject.to_owned(),
            paragraphs: vec![paragraph],
            button: None,
            notes: Vec::new(),
            instance: self.instance(),
            home: self.home(),
        }
    }

    /// A letter whose link opens something once.
    async fn with_code(
        &self,
        (subject, paragraph): (&str, String),
        (page, label): (Page, &'static str),
        notes: [&str; 2],
    ) -> Result<Letter, Failure> {
        let own = Some(self.member("base")).filter(|base| !base.is_empty()).map(str::to_owned);
        let base = self.home().or(own).ok_or_else(|| Failure::for_good("without public_url a link leads nowhere"))?;
        let Link { url, expires_at } = self.mint(page, &base).await?;
        let [then, otherwise] = notes;
        let button = Button { label, url };
        let until = format!("The link works once, until {}.{then}", moment(expires_at));
        let notes = vec![until, otherwise.to_owned()];
        Ok(Letter { button: Some(button), notes, ..self.letter(subject, paragraph) })
    }

    /// Makes the link of a letter, for an account that is active and has this address now.
    async fn mint(&self, page: Page, base: &str) -> Result<Link, Failure> {
        let (app, due) = (self.app, self.due);
        let minted = async {
            let tx = app.db().begin(Purpose::Entry).await?;
            let person = user::find(&tx, &due.tenant_id, due.user_id.as_str()).await?.filter(|person| person.active);
            let Some(person) = person else { return Ok(Err(Failure::for_good("the account is not active"))) };
            if person.email != due.recipient {
                return Ok(Err(Failure::for_now("the account has another address")));
            }
            if page == Page::Invite && user::password_hash(&tx, &due.user_id).await?.is_some() {
                return Ok(Err(Failure::for_good("the account has a password already")));
            }
            let whose = (&due.tenant_id, &due.user_id);
            let link = link::mint(app, &tx, whose, page, (base, self.member("next"))).await?;
            tx.commit().await?;
            Ok::<_, ApiError>(Ok(link))
        };
        minted.await.unwrap_or_else(|refusal| {
            log(app.request_id(), &format!("mail {}", due.id), refusal.inner().unwrap_or_default());
            Err(Failure::for_now("the database did not store a code"))
        })
    }

    async fn link(&self) -> Result<Letter, Failure> {
        let (from, to) = (self.sender(), &self.due.recipient);
        let asked = format!("Somebody asked{from} to be signed in to {} as {to}.", self.instance());
        let notes = ["", "If this was not you, ignore this mail. Without the link nobody is signed in."];
        let button = (Page::SignIn, "Sign in");
        self.with_code(("Your link to sign in to Accredit", asked), button, notes).await
    }

    async fn reset(&self) -> Result<Letter, Failure> {
        let (from, to) = (self.sender(), &self.due.recipient);
        let asked = format!("Somebody asked{from} to set a new password for {to} at {}.", self.instance());
        let notes = [
            " A new password ends all of your sessions.",
            "If this was not you, ignore this mail. Your password stays as it is.",
        ];
        let button = (Page::Reset, "Set a new password");
        self.with_code(("Set a new password for Accredit", asked), button, notes).await
    }

    async fn invite(&self) -> Result<Letter, Failure> {
        let by = match self.member("by") {
            "" => "An admin",
            by => by,
        };
        let (from, to, name) = (self.sender(), &self.due.recipient, self.member("name"));
        let invited = format!("Hello {name}, {by} invited you{from} to {} as {to}.", self.instance());
        let notes = [
            " You choose a password there, and sign in with it.",
            "If you do not know what this is about, ignore this mail. Without the link nobody can use the account.",
        ];
        let button = (Page::Invite, "Accept the invitation");
        let mut letter = self.with_code(("You are invited to Accredit", invited), button, notes).await?;
        letter
            .paragraphs
            .push("Accredit keeps the identities and the tokens of AI agents, and says what each may do.".to_owned());
        Ok(letter)
    }

    fn password_changed(&self) -> Letter {
        let (from, to, at) = (self.sender(), &self.due.recipient, self.instance());
        let changed = match self.member("by") {
            "" => format!("The password of {to} at {at} was changed{from}. Your other sessions are ended."),
            by => format!("{by} set a new password for {to} at {at}{from}. Your sessions are ended."),
        };
        self.alarm("Your password was changed", changed)
    }

    fn factor_removed(&self) -> Letter {
        let (from, to, at) = (self.sender(), &self.due.recipient, self.instance());
        let removed = match self.member("by") {
            "" => format!("The second factor of {to} at {at} was removed{from}."),
            by => format!("{by} removed the second factor of {to} at {at}{from}."),
        };
        self.alarm("Your second factor was removed", removed)
    }

    /// A letter about something that a thief would do.
    fn alarm(&self, subject: &str, paragraph: String) -> Letter {
        let button = self.home().map(|home| Button { label: "Set a new password", url: format!("{home}/forgot") });
        let notes = vec![
            "If you know of this, there is nothing to do. If not, set a new password at once, and tell an admin of your tenant."
                .to_owned(),
        ];
        Letter { button, notes, ..self.letter(subject, paragraph) }
    }

    fn role_lowered(&self) -> Letter {
        let (was, now, from) = (self.member("was"), self.member("now"), self.sender());
        let (to, at) = (&self.due.recipient, self.instance());
        let lowered = match self.member("by") {
            "" => format!("The role of {to} at {at} was changed from {was} to {now}{from}."),
            by => format!("{by} changed the role of {to} at {at} from {was} to {now}{from}."),
        };
        let mut letter = self.letter(&format!("Your role is now {now}"), lowered);
        letter.notes = vec![
            format!("Your credentials and your agents can use what {now} allows, and no more."),
            "If you did not expect this, ask an admin of your tenant.".to_owned(),
        ];
        letter
    }

    /// A mail that was queued by an earlier release has no text.
    fn leak(&self) -> Letter {
        let text = match self.member("text") {
            "" => format!(
                "The credential {}… of {} was reported as leaked. Check what it was used for.",
                self.member("prefix"),
                self.member("whose")
            ),
            text => text.to_owned(),
        };
        self.letter("A credential was leaked", text)
    }

    fn test(&self) -> Letter {
        let asked = "You requested this mail to test whether mail works. It does.".to_owned();
        self.letter("Mail from Accredit works", asked)
    }
}

/// `2026-11-26 19:45 UTC`.
fn moment(at: Timestamp) -> String {
    at.to_string().get(..16).map(|text| format!("{} UTC", text.replace('T', " "))).unwrap_or_default()
}

#[cfg(test)]
mod tests;
