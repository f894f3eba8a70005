//! The texts of mails, each as plain text and as HTML. None is ever stored: a kind that carries a one-time code mints the code here, when
//! the mail is sent.

use askama::Template;
use common::{
    entrance::{Entrance, Entrances},
    error::ApiError,
    text::isolated,
    time::Timestamp,
};
use serde_json::{Map, Value as Json};
use service::{
    app::{App, log},
    link::{self, Link, Page, Sent},
    settings::PublicUrl,
};
use store::{
    db::Purpose,
    outbox::{DueMail, Kind, MOST_WAITING},
    tenant, user,
};

/// A mail as it is sent.
#[derive(Template)]
#[template(path = "letter.html")]
pub(crate) struct Letter {
    pub(crate) subject: String,
    /// What happened, or was asked for.
    paragraphs: Vec<String>,
    /// Several things, each with the page that shows it.
    items: Vec<Item>,
    /// The one thing to do.
    button: Option<Button>,
    /// When it ends, and what to do if it was not the reader.
    notes: Vec<String>,
    /// The instance that it comes from.
    instance: String,
    /// Where the instance is; without `public_url` nobody outside knows.
    home: Option<String>,
}

/// One thing of several.
struct Item {
    text: String,
    /// Where it is shown; empty: nobody knows.
    url: String,
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
        let item = |item: &Item| match item.url.as_str() {
            "" => format!("* {}", item.text),
            url => format!("* {}\n  {url}", item.text),
        };
        let parts = self
            .paragraphs
            .iter()
            .cloned()
            .chain(self.items.iter().map(item))
            .chain(button)
            .chain(self.notes.iter().cloned());
        let end = self.home.iter().fold(self.instance.clone(), |end, home| format!("{end}\n{home}"));
        parts.fold(String::new(), |text, part| format!("{text}{part}\n\n")) + &format!("-- \n{end}\n")
    }
}

/// Why a mail did not go out.
pub(crate) struct Failure {
    /// A few words, without the provider's prose, which might repeat the mail.
    pub(crate) cause: String,
    /// Whether another try would be refused as well.
    pub(crate) is_final: bool,
}

impl Failure {
    /// Another try would fail as well.
    pub(crate) fn for_good(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), is_final: true }
    }

    /// Another try may go well.
    pub(crate) fn for_now(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), is_final: false }
    }
}

/// A letter in the making.
struct Draft<'a> {
    app: &'a App,
    due: &'a DueMail,
    /// What the letter is made of, as it can stand in sentences, and the address that it goes to.
    said: Map<String, Json>,
    to: String,
}

/// Writes the letter of a mail whose turn it is, or one letter of several to the same person.
pub(crate) async fn write(app: &App, taken: &[DueMail]) -> Result<Letter, Failure> {
    let Some(due) = taken.first() else { return Err(Failure::for_good("there is nothing to say")) };
    let draft = Draft::of(app, due);
    if taken.len() > 1 {
        return Ok(draft.digest(taken));
    }
    match due.kind {
        Kind::AccessRequest => Ok(draft.access_request()),
        Kind::AppLetIn => Ok(draft.app_let_in()),
        Kind::EmailChanged => Ok(draft.email_changed()),
        Kind::Expiring => Ok(draft.expiring()),
        Kind::Silent => Ok(draft.silent()),
        Kind::FactorAdded => Ok(draft.factor_added()),
        Kind::FactorRemoved => Ok(draft.factor_removed()),
        Kind::IdentityLinked => Ok(draft.identity_linked()),
        Kind::IdentityUnlinked => Ok(draft.identity_unlinked()),
        Kind::Invite => draft.invite().await,
        Kind::Leak => Ok(draft.leak()),
        Kind::Link => draft.link().await,
        Kind::NewAddress => draft.new_address().await,
        Kind::NewSignIn => Ok(draft.new_sign_in()),
        Kind::PasswordChanged => Ok(draft.password_changed()),
        Kind::RecoveryCodeUsed => Ok(draft.recovery_code_used()),
        Kind::RecoveryCodesReplaced => Ok(draft.recovery_codes_replaced()),
        Kind::Reset => draft.reset().await,
        Kind::RoleLowered => Ok(draft.role_lowered()),
        Kind::TokenMade => Ok(draft.token_made()),
        Kind::RoleRaised => Ok(draft.role_raised()),
        Kind::Test => Ok(draft.test()),
    }
}

impl<'a> Draft<'a> {
    fn of(app: &'a App, due: &'a DueMail) -> Self {
        let members = due.data.as_object().into_iter().flatten();
        let said = members.map(|(name, value)| {
            let text = value.as_str().filter(|_| !["base", "next"].contains(&name.as_str()));
            (name.clone(), text.map_or_else(|| value.clone(), |text| isolated(text).into()))
        });
        Self { app, due, said: said.collect(), to: isolated(&due.recipient).into_owned() }
    }

    fn member(&self, name: &str) -> &str {
        self.said.get(name).and_then(Json::as_str).unwrap_or_default()
    }

    /// `from the address 192.0.2.1`; nothing where the host gave none, and where somebody else than the reader did it: where an admin is
    /// is nobody else's business.
    fn sender(&self) -> String {
        match (self.member("by"), self.member("address")) {
            ("", address) if !address.is_empty() => format!(" from the address {address}"),
            _ => String::new(),
        }
    }

    /// The admin that did it for the reader.
    fn author(&self) -> &str {
        match self.member("by") {
            "" => "An admin",
            by => by,
        }
    }

    fn is(&self, name: &str) -> bool {
        self.due.data.get(name).and_then(Json::as_bool).unwrap_or_default()
    }

    fn home(&self) -> Option<String> {
        self.app.settings().public_url.as_ref().map(PublicUrl::to_string)
    }

    /// How the instance calls itself: `Accredit at accredit.example.com`, with the tenant as its people call it.
    fn instance(&self) -> String {
        let tenant = isolated(self.due.tenant_name.as_ref().unwrap_or(&self.due.tenant));
        match self.home().as_deref().and_then(|home| home.split_once("://")) {
            Some((_, place)) => format!("Accredit at {place}, tenant {tenant}"),
            None => format!("Accredit, tenant {tenant}"),
        }
    }

    fn letter(&self, subject: &str, paragraph: String) -> Letter {
        Letter {
            subject: subject.to_owned(),
            paragraphs: vec![paragraph],
            items: Vec::new(),
            button: None,
            notes: Vec::new(),
            instance: self.instance(),
            home: if self.due.is_usual { self.home() } else { Some(self.page("/")).filter(|home| !home.is_empty()) },
        }
    }

    /// A letter whose link opens something once.
    async fn with_code(
        &self,
        (subject, paragraph): (&str, String),
        (page, label): (Page, &'static str),
        notes: [&str; 2],
    ) -> Result<Letter, Failure> {
        let Link { url, expires_at } = self.mint(page, &self.base()?).await?;
        let [then, otherwise] = notes;
        let button = Button { label, url };
        let until = format!("The link works once, until {}.{then}", moment(expires_at));
        let notes = vec![until, otherwise.to_owned()];
        Ok(Letter { button: Some(button), notes, ..self.letter(subject, paragraph) })
    }

    /// What comes before the path of a link that the mail cannot do without.
    fn base(&self) -> Result<String, Failure> {
        let own = Some(self.member("base")).filter(|base| !base.is_empty()).map(str::to_owned);
        self.home().or(own).ok_or_else(|| Failure::for_good("without public_url a link leads nowhere"))
    }

    /// Makes the link of a letter, for an account that is active and has this address now.
    async fn mint(&self, page: Page, base: &str) -> Result<Link, Failure> {
        let (app, due) = (self.app, self.due);
        let minted = async {
            let tx = app.db().begin(Purpose::Entry).await?;
            let person = user::find(&tx, &due.tenant_id, due.user_id.as_str()).await?.filter(|person| person.active);
            let Some(person) = person else { return Ok(Err(Failure::for_good("the account is not active"))) };
            if page == Page::NewAddress {
                let link =
                    link::mint_for_address(app, &tx, (&due.tenant_id, &due.user_id), (base, &due.recipient)).await?;
                tx.commit().await?;
                return Ok::<_, ApiError>(
                    link.ok_or_else(|| Failure::for_good("the person does not want this address any more")),
                );
            }
            if person.email != due.recipient {
                return Ok(Err(Failure::for_now("the account has another address")));
            }
            if page == Page::Invite && user::password_hash(&tx, &due.user_id).await?.is_some() {
                return Ok(Err(Failure::for_good("the account has a password already")));
            }
            let whose = (&due.tenant_id, &due.user_id);
            let link = link::mint(app, &tx, whose, (page, Sent::ByMail), (base, self.member("next"))).await?;
            tx.commit().await?;
            Ok::<_, ApiError>(Ok(link))
        };
        minted.await.unwrap_or_else(|refusal| {
            log(app.request_id(), &format!("mail {}", due.id), refusal.inner().unwrap_or_default());
            Err(Failure::for_now("the database did not store a code"))
        })
    }

    async fn link(&self) -> Result<Letter, Failure> {
        let (from, to) = (self.sender(), &self.to);
        let asked = match self.member("by") {
            "" => format!("Somebody asked{from} to be signed in to {} as {to}.", self.instance()),
            by => format!("{by} sends you a link to sign in to {} as {to}.", self.instance()),
        };
        let notes = ["", "If this was not you, ignore this mail. Without the link nobody is signed in."];
        let button = (Page::SignIn, "Sign in");
        self.with_code(("Your link to sign in to Accredit", asked), button, notes).await
    }

    async fn reset(&self) -> Result<Letter, Failure> {
        let (from, to) = (self.sender(), &self.to);
        let asked = match self.member("by") {
            "" => format!("Somebody asked{from} to set a new password for {to} at {}.", self.instance()),
            by => format!("{by} sends you a link to set a new password for {to} at {}.", self.instance()),
        };
        let notes = [
            " A new password ends all of your sessions.",
            "If this was not you, ignore this mail. Your password stays as it is.",
        ];
        let button = (Page::Reset, "Set a new password");
        self.with_code(("Set a new password for Accredit", asked), button, notes).await
    }

    async fn invite(&self) -> Result<Letter, Failure> {
        let by = self.author();
        let (to, name) = (&self.due.recipient, self.member("name"));
        let role = match self.member("role") {
            "" => String::new(),
            role => format!(", with the role {role}"),
        };
        let at = self.instance();
        let invited = format!("Hello {name}, {by} invites you to {at}. You sign in there as {to}{role}.");
        let subject = "You are invited to Accredit";
        let ways = self.ways().await?;
        let mut letter = if ways.allow(Entrance::Password) {
            let notes = [
                " You choose a password there, and sign in with it.",
                "If you do not know what this is about, ignore this mail. Without the link nobody can use the account.",
            ];
            self.with_code((subject, invited), (Page::Invite, "Accept the invitation"), notes).await?
        } else {
            // A password would be useless there: the page has the ways that the tenant allows.
            let button = Button { label: "Sign in", url: format!("{}/login{}", self.base()?, self.naming()) };
            let by = match (ways.allow(Entrance::Link), ways.allow(Entrance::Oidc)) {
                (true, true) => "by a link that is mailed to you, or through a provider that the page names",
                (true, false) => "by a link that is mailed to you",
                _ => "through a provider that the page names",
            };
            let notes = vec![
                format!("Sign in there as {to}, {by}. You need no password of Accredit."),
                "If you do not know what this is about, ignore this mail.".to_owned(),
            ];
            Letter { button: Some(button), notes, ..self.letter(subject, invited) }
        };
        letter
            .paragraphs
            .push("Accredit keeps the identities and the tokens of AI agents, and says what each may do.".to_owned());
        Ok(letter)
    }

    async fn new_address(&self) -> Result<Letter, Failure> {
        let (was, from, to) = (self.member("was"), self.sender(), &self.to);
        let asked = format!("{was} asked{from} to use {to} as the address of their account at {}.", self.instance());
        let then = format!(" It asks you to be signed in as {was}.");
        let notes = [&then, "If this was not you, ignore this mail. Without the link nothing changes."];
        let button = (Page::NewAddress, "Confirm the address");
        self.with_code(("Confirm your new address for Accredit", asked), button, notes).await
    }

    /// The ways by which the person's tenant lets people in.
    async fn ways(&self) -> Result<Entrances, Failure> {
        let (app, due) = (self.app, self.due);
        let rules = tenant::rules(app.db(), &due.tenant_id, &due.user_id).await.map_err(ApiError::from);
        let rules = rules.map_err(|error| {
            log(app.request_id(), &format!("mail {}", due.id), error.inner().unwrap_or_default());
            Failure::for_now("the database did not answer")
        })?;
        Ok(rules.ways)
    }

    fn password_changed(&self) -> Letter {
        let (from, to, at) = (self.sender(), &self.to, self.instance());
        if self.is("set") {
            let set = format!(
                "A password was set{from} for {to} at {at}. It opens the account. Your other sessions are ended."
            );
            return self.alarm("A password was set for your account", set);
        }
        let changed = match self.member("by") {
            "" => format!("The password of {to} at {at} was changed{from}. Your other sessions are ended."),
            by => format!("{by} set a new password for {to} at {at}{from}. Your sessions are ended."),
        };
        self.alarm("Your password was changed", changed)
    }

    fn factor_added(&self) -> Letter {
        let (from, to, at) = (self.sender(), &self.to, self.instance());
        let added = format!(
            "A second factor was set up{from} for {to} at {at}. From now on each sign-in asks for its code. Other sessions that knew only one factor have ended."
        );
        self.alarm("A second factor was set up", added)
    }

    fn identity_linked(&self) -> Letter {
        let (from, to, at, provider) = (self.sender(), &self.to, self.instance(), self.member("provider"));
        let identity = match self.member("email") {
            "" => String::new(),
            email => format!(" as {email}"),
        };
        let linked = format!(
            "A sign-in through {provider}{identity} was linked{from} to the account of {to} at {at}. It opens the account."
        );
        let mut letter = self.alarm("A sign-in was linked to your account", linked);
        letter.notes.push("On the page Security you can unlink it.".to_owned());
        letter
    }

    fn identity_unlinked(&self) -> Letter {
        let (from, to, at, provider) = (self.sender(), &self.to, self.instance(), self.member("provider"));
        let unlinked = match self.member("by") {
            "" => format!(
                "The sign-in through {provider} was unlinked{from} from the account of {to} at {at}. Your other sessions are ended."
            ),
            by => format!(
                "{by} unlinked the sign-in through {provider} from the account of {to} at {at}. Your sessions go on."
            ),
        };
        self.alarm("A sign-in was unlinked from your account", unlinked)
    }

    fn factor_removed(&self) -> Letter {
        let (from, to, at) = (self.sender(), &self.to, self.instance());
        let removed = match self.member("by") {
            "" => format!("The second factor of {to} at {at} was removed{from}."),
            by => format!("{by} removed the second factor of {to} at {at}{from}."),
        };
        self.alarm("Your second factor was removed", removed)
    }

    fn recovery_code_used(&self) -> Letter {
        let (from, to, at) = (self.sender(), &self.due.recipient, self.instance());
        let left = match self.number("left") {
            0 => "None is left".to_owned(),
            1 => "One is left".to_owned(),
            left => format!("{left} are left"),
        };
        let used = format!("A recovery code of {to} at {at} was used{from}. {left}.");
        let mut letter = self.alarm("A recovery code was used", used);
        letter.notes.push("On the page Security you can make new ones, which end the old ones.".to_owned());
        letter
    }

    fn recovery_codes_replaced(&self) -> Letter {
        let (from, to, at) = (self.sender(), &self.to, self.instance());
        let made = format!("New recovery codes were made{from} for {to} at {at}. The ones before work no more.");
        self.alarm("New recovery codes were made", made)
    }

    /// The scopes that something allows, in few words.
    fn scopes(&self) -> String {
        let scope = self.due.data.get("scope").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str);
        match scope.collect::<Vec<_>>().as_slice() {
            ["*"] => "everything that the account may do".to_owned(),
            many if many.len() > 8 => format!("{} scopes", many.len()),
            few => few.join(", "),
        }
    }

    fn token_made(&self) -> Letter {
        let (from, to, at, name) = (self.sender(), &self.due.recipient, self.instance(), self.member("name"));
        let until = match self.member("expires_at") {
            "" => "It never ends.".to_owned(),
            ends => format!("It ends at {}.", moment_of(ends)),
        };
        let (subject, how) = match self.is("replaces") {
            true => ("A personal access token was replaced", "replaced by a new one"),
            false => ("A personal access token was made", "made"),
        };
        let scope = self.scopes();
        let made = format!(
            "A personal access token with the name \"{name}\" was {how}{from} for {to} at {at}. It allows {scope}. {until}"
        );
        let mut letter = self.leading_to(subject, made, "See your tokens", "/tokens");
        letter.notes.push(
            "If you know of this, there is nothing to do. If not, revoke it there, set a new password at once, and tell an admin of your tenant."
                .to_owned(),
        );
        letter
    }

    fn app_let_in(&self) -> Letter {
        let (from, to, at, name) = (self.sender(), &self.due.recipient, self.instance(), self.member("name"));
        let whose = match self.member("host") {
            "" if self.is("is_registered") => "An admin of your tenant registered it.".to_owned(),
            "" => "Nobody of your tenant has looked at it.".to_owned(),
            host => format!("It belongs to {host}, and nobody of your tenant has looked at it."),
        };
        let place = match self.member("resource") {
            "" => String::new(),
            service => format!(" at {service}"),
        };
        let (scope, until) = (self.scopes(), moment_of(self.member("expires_at")));
        let let_in = format!(
            "The app \"{name}\" was let in{from} for {to} at {at}. {whose} It may use {scope}{place}, until {until} at the latest."
        );
        let mut letter = self.leading_to("An app was let in to your account", let_in, "See your apps", "/tokens");
        letter.notes.push(
            "If you know of this, there is nothing to do. If not, end it there, set a new password at once, and tell an admin of your tenant."
                .to_owned(),
        );
        letter
    }

    fn new_sign_in(&self) -> Letter {
        let (from, to, at) = (self.sender(), &self.due.recipient, self.instance());
        let (device, new, moment) = (self.member("device"), self.member("new"), moment_of(self.member("at")));
        let entered = format!(
            "{to} signed in to {at}{from} at {moment}, with {device}. It is the first one lately from this {new}."
        );
        let mut letter = self.leading_to("A new sign-in to your account", entered, "See your sessions", "/security");
        letter.notes = vec![
            "If it was you, there is nothing to do. If not, end that session there, set a new password at once, and tell an admin of your tenant."
                .to_owned(),
            "Choose on the page Security whether you get such mails.".to_owned(),
        ];
        letter
    }

    /// A letter about something that a thief would do.
    fn alarm(&self, subject: &str, paragraph: String) -> Letter {
        let url = self.page("/forgot");
        let button = (!url.is_empty()).then_some(Button { label: "Set a new password", url });
        let notes = vec![
            "If you know of this, there is nothing to do. If not, set a new password at once, end the tokens and apps that are not yours, which outlive the password, and tell an admin of your tenant."
                .to_owned(),
        ];
        Letter { button, notes, ..self.letter(subject, paragraph) }
    }

    /// The old address hears of it too: it is the one that a thief leaves behind.
    fn email_changed(&self) -> Letter {
        let (was, now, from, at) = (self.member("was"), self.member("now"), self.sender(), self.instance());
        let changed = match self.member("by") {
            "" => format!(
                "You changed the address of your account at {at} from {was} to {now}{from}. Your other sessions are ended."
            ),
            by => format!(
                "{by} changed the address of your account at {at} from {was} to {now}{from}. Your sessions are ended."
            ),
        };
        let mut letter = self.letter("The address of your account was changed", changed);
        letter.notes = vec![
            format!(
                "From now on you sign in as {now}, and all mails go there. Password, second factor and agents stay as they are."
            ),
            "If you did not expect this, tell an admin of your tenant at once.".to_owned(),
        ];
        letter
    }

    fn role_lowered(&self) -> Letter {
        let (was, now, from) = (self.member("was"), self.member("now"), self.sender());
        let (to, at) = (&self.to, self.instance());
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

    fn role_raised(&self) -> Letter {
        let (was, now, at) = (self.member("was"), self.member("now"), self.instance());
        let by = self.author();
        let (subject, raised) = match (self.member("who"), was) {
            ("", _) => {
                let to = &self.due.recipient;
                (
                    format!("Your role is now {now}"),
                    format!("{by} changed the role of {to} at {at} from {was} to {now}."),
                )
            }
            (who, "") => (
                format!("{who} is now an {now}"),
                format!("{by} made an account for {who} at {at}, with the role {now}."),
            ),
            (who, was) => (
                format!("{who} is now an {now}"),
                format!("{by} changed the role of {who} at {at} from {was} to {now}."),
            ),
        };
        let mut letter = self.letter(&subject, raised);
        letter.notes = vec!["If you did not expect this, ask an admin of your tenant.".to_owned()];
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
        let (label, page) = match self.member("agent") {
            "" => ("See your credentials", "/tokens".to_owned()),
            agent => ("See the agent's credentials", format!("/agents/{agent}/credentials")),
        };
        self.leading_to("A credential was leaked", text, label, &page)
    }

    /// A page of this server; empty where nobody knows its address. It names the tenant, unless that is the usual one: its reader may have
    /// to sign in first.
    fn page(&self, path: &str) -> String {
        self.home().map(|home| format!("{home}{path}{}", self.naming())).unwrap_or_default()
    }

    /// The query that names the tenant, unless that is the usual one.
    fn naming(&self) -> String {
        if self.due.is_usual { String::new() } else { format!("?tenant={}", self.due.tenant) }
    }

    /// A letter that leads to one page.
    fn leading_to(&self, subject: &str, paragraph: String, label: &'static str, path: &str) -> Letter {
        let button = Some(self.page(path)).filter(|url| !url.is_empty()).map(|url| Button { label, url });
        Letter { button, ..self.letter(subject, paragraph) }
    }

    /// How to get fewer of them.
    fn choice(&self) -> String {
        "You get at most one such mail an hour. Choose on the page Security which mails you get.".to_owned()
    }

    /// What an agent asks for. Its reason stands on the page alone: no words of an agent's are in a mail.
    fn wish(&self) -> String {
        let (scope, hours) = (self.member("scope"), self.number("hours"));
        let scope = match scope.split(' ').count() {
            many if many > 8 => format!("{many} scopes"),
            _ => scope.replace(' ', ", "),
        };
        let hours = if hours == 1 { "an hour".to_owned() } else { format!("{hours} hours") };
        format!("{scope}, for {hours}")
    }

    fn number(&self, name: &str) -> i64 {
        self.due.data.get(name).and_then(Json::as_i64).unwrap_or_default()
    }

    fn access_request(&self) -> Letter {
        let agent = self.member("agent");
        let asked = match self.member("action") {
            "" => format!("The agent {agent} asks for more than it may do: {}.", self.wish()),
            action => format!("The agent {agent} asks to do one thing: {action}. It needs {}.", self.wish()),
        };
        let subject = format!("{agent} asks for access");
        let path = format!("/access/{}", self.member("request"));
        let mut letter = self.leading_to(&subject, asked, "Look at it and decide", &path);
        letter.notes = vec![
            "Nothing is allowed until somebody decides. The link only shows the request: you sign in, read the agent's reason, and allow it once, for a time or for good, or deny it.".to_owned(),
            self.choice(),
        ];
        letter
    }

    fn silence(&self) -> String {
        let (since, minutes) = (moment_of(self.member("last_seen_at")), self.number("minutes"));
        let minutes = if minutes == 1 { "one minute".to_owned() } else { format!("{minutes} minutes") };
        format!("The agent {} was last heard of at {since}. Its limit is {minutes}.", self.member("agent"))
    }

    fn silent(&self) -> Letter {
        let agent = self.member("agent");
        let path = format!("/agents/{agent}");
        let mut letter =
            self.leading_to(&format!("{agent} has gone silent"), self.silence(), "Look at the agent", &path);
        letter.notes = vec![
            "You are told once. When the agent has sent a heartbeat, you are told of its next silence.".to_owned(),
            self.choice(),
        ];
        letter
    }

    /// The credential that ends, as the beginning of a sentence.
    fn ending(&self) -> String {
        match (self.member("agent"), self.member("kind")) {
            ("", _) => format!("Your personal access token {}", self.member("name")),
            (agent, "api_key") => format!("A key of the agent {agent}"),
            (agent, _) => format!("The token of the agent {agent}"),
        }
    }

    /// The page that can replace it.
    fn ending_path(&self) -> String {
        match self.member("agent") {
            "" => "/tokens".to_owned(),
            agent => format!("/agents/{agent}/credentials"),
        }
    }

    fn expiring(&self) -> Letter {
        let (what, at) = (self.ending(), moment_of(self.member("expires_at")));
        let text = format!("{what} ends at {at}. From then on it is refused.");
        let subject = if self.member("agent").is_empty() {
            "Your token ends soon".to_owned()
        } else {
            format!("{what} ends soon")
        };
        let mut letter = self.leading_to(&subject, text, "Make another one", &self.ending_path());
        letter.notes = vec![self.choice()];
        letter
    }

    /// Several things in one letter, each with its page.
    fn digest(&self, taken: &[DueMail]) -> Letter {
        let item = |due| {
            let one = Draft::of(self.app, due);
            let (text, path) = match due.kind {
                Kind::AccessRequest => (
                    match one.member("action") {
                        "" => format!("The agent {} asks for {}.", one.member("agent"), one.wish()),
                        action => format!("The agent {} asks to do one thing: {action}.", one.member("agent")),
                    },
                    format!("/access/{}", one.member("request")),
                ),
                Kind::Silent => (one.silence(), format!("/agents/{}", one.member("agent"))),
                _ => (format!("{} ends at {}.", one.ending(), moment_of(one.member("expires_at"))), one.ending_path()),
            };
            Item { text, url: one.page(&path) }
        };
        let number = taken.len();
        let said = format!("{number} things have come since your last mail.");
        let mut letter = self.letter(&format!("{number} messages from Accredit"), said);
        letter.items = taken.iter().map(item).collect();
        if i64::try_from(number).is_ok_and(|number| number >= MOST_WAITING) {
            letter.notes.push("There may be more than these: look at the pages Access and Notifications.".to_owned());
        }
        letter.notes.push(self.choice());
        letter
    }

    fn test(&self) -> Letter {
        let asked = "You requested this mail to test whether mail works. It does.".to_owned();
        self.letter("Mail from Accredit works", asked)
    }
}

/// `2026-11-26 19:45 UTC`.
fn moment(at: Timestamp) -> String {
    moment_of(&at.to_string())
}

/// The same of a moment as it is written in JSON.
fn moment_of(text: &str) -> String {
    text.get(..16).map(|text| format!("{} UTC", text.replace('T', " "))).unwrap_or_default()
}

#[cfg(test)]
mod tests;
