//! The providers through which people sign in: the variables `oidc1` to `oidc3`, each with its secret.
//!
//! ```text
//! oidc1 = "preset=google client_id=1234.apps.googleusercontent.com domains=example.com"
//! oidc2 = "preset=generic name=acme issuer=https://sso.acme.example client_id=accredit domains=sales:acme.example label=Acme SSO"
//! ```
//!
//! `name=value`, with blanks between; `label` comes last, and everything behind it is the label.

use common::{
    email,
    text::is_unseen,
    url::{Url, is_label},
};

/// A kind of provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Google, for people of a Google Workspace and of Gmail.
    Google,
    /// Microsoft Entra ID, of one directory or of all.
    Microsoft,
    /// GitHub: OAuth 2 and its API, since it has no OpenID Connect for people.
    Github,
    /// Any provider of OpenID Connect.
    Generic,
}

impl Preset {
    const ALL: [Self; 4] = [Self::Google, Self::Microsoft, Self::Github, Self::Generic];

    /// The word in the variable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Google => "google",
            Self::Microsoft => "microsoft",
            Self::Github => "github",
            Self::Generic => "generic",
        }
    }

    /// What the button says, if the operator says nothing.
    const fn usual_label(self) -> &'static str {
        match self {
            Self::Google => "Google",
            Self::Microsoft => "Microsoft",
            Self::Github => "GitHub",
            Self::Generic => "single sign-on",
        }
    }
}

/// What stands for the directory in the issuer of a provider that speaks for many (Microsoft's word).
pub const ANY_DIRECTORY: &str = "{tenantid}";

/// A provider.
pub struct IdentityProvider {
    /// Its name, in paths: lower-case letters, digits and hyphens.
    pub name: String,
    /// Its kind.
    pub preset: Preset,
    /// Its name for people.
    pub label: String,
    /// What it calls itself, exactly. Of Microsoft for several directories with [`ANY_DIRECTORY`].
    pub issuer: String,
    /// Where its description is: the issuer, but for Microsoft.
    pub base: String,
    /// What it calls this server.
    pub client_id: String,
    /// By which it knows this server.
    pub client_secret: ClientSecret,
    /// The domains whose people it lets in by their addresses.
    pub domains: Vec<Domain>,
}

/// A domain of addresses, with the tenant that its people belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// The tenant's slug; `None`: the tenant of the bootstrap.
    pub tenant: Option<String>,
    /// The domain, as addresses are compared ([`email::domain_key`]).
    pub name: String,
}

/// The secret by which a provider knows this server. It cannot be copied or printed.
pub struct ClientSecret(String);

impl ClientSecret {
    /// The secret itself, for the request to the provider and for deriving keys.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// The variables, each with that of its secret.
const VARIABLES: [(&str, &str); 3] = [("oidc1", "oidc1_secret"), ("oidc2", "oidc2_secret"), ("oidc3", "oidc3_secret")];

/// Reads the providers. `Err` names the variable whose value cannot be used.
pub(super) fn read_all(get: impl Fn(&'static str) -> Option<String>) -> Result<Vec<IdentityProvider>, &'static str> {
    let mut all: Vec<IdentityProvider> = Vec::new();
    for (variable, secret_variable) in VARIABLES {
        let Some(text) = get(variable) else { continue };
        // It goes into a header and a form.
        let secret = get(secret_variable).filter(|secret| secret.bytes().all(|b| b.is_ascii_graphic()));
        let secret = ClientSecret(secret.ok_or(secret_variable)?);
        let provider = IdentityProvider::parse(&text, secret).ok_or(variable)?;
        // Two of one name would be one path.
        if all.iter().any(|known| known.name == provider.name) {
            return Err(variable);
        }
        all.push(provider);
    }
    Ok(all)
}

impl IdentityProvider {
    fn parse(text: &str, client_secret: ClientSecret) -> Option<Self> {
        let mut given = Given::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=')?;
            if name == "label" {
                given.set(name, after.trim())?;
                break;
            }
            let (value, after) = after.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((after, ""));
            given.set(name, value)?;
            rest = after.trim_start();
        }
        given.check(client_secret)
    }
}

/// The fields of a variable.
#[derive(Default)]
struct Given<'a> {
    preset: Option<&'a str>,
    name: Option<&'a str>,
    issuer: Option<&'a str>,
    tenant: Option<&'a str>,
    client_id: Option<&'a str>,
    domains: Option<&'a str>,
    label: Option<&'a str>,
}

impl<'a> Given<'a> {
    /// `None`: an unknown field, one that is there already, or an empty one.
    fn set(&mut self, name: &str, value: &'a str) -> Option<()> {
        let field = match name {
            "preset" => &mut self.preset,
            "name" => &mut self.name,
            "issuer" => &mut self.issuer,
            "tenant" => &mut self.tenant,
            "client_id" => &mut self.client_id,
            "domains" => &mut self.domains,
            "label" => &mut self.label,
            _ => return None,
        };
        (field.replace(value).is_none() && !value.is_empty()).then_some(())
    }

    fn check(self, client_secret: ClientSecret) -> Option<IdentityProvider> {
        let preset = Preset::ALL.into_iter().find(|preset| Some(preset.as_str()) == self.preset)?;
        let (issuer, base) = self.issuer(preset)?;
        let name = self.name.unwrap_or(preset.as_str());
        let client_id = self.client_id.filter(|id| id.len() <= 256 && id.bytes().all(|b| b.is_ascii_graphic()))?;
        let label = self.label.unwrap_or(preset.usual_label());
        // A field behind the label would be a part of it: no label has the sign.
        let label_is_good = label.chars().count() <= 40 && !label.contains(|c: char| c == '=' || is_unseen(c));
        let domains: Vec<Domain> = match self.domains {
            None => Vec::new(),
            Some(list) => list.split(',').map(Domain::parse).collect::<Option<_>>()?,
        };
        // A domain of two tenants would be neither's.
        let is_unique =
            |(at, domain): (usize, &Domain)| domains.iter().skip(at + 1).all(|other| other.name != domain.name);
        let is_good = is_slug(name) && label_is_good && domains.iter().enumerate().all(is_unique);
        is_good.then(|| IdentityProvider {
            name: name.to_owned(),
            preset,
            label: label.to_owned(),
            issuer,
            base,
            client_id: client_id.to_owned(),
            client_secret,
            domains,
        })
    }

    /// What the provider calls itself, and where its description is.
    fn issuer(&self, preset: Preset) -> Option<(String, String)> {
        if self.issuer.is_some() != (preset == Preset::Generic)
            || (self.tenant.is_some() && preset != Preset::Microsoft)
        {
            return None;
        }
        let same = |issuer: &str| Some((issuer.to_owned(), issuer.to_owned()));
        match preset {
            Preset::Google => same("https://accounts.google.com"),
            Preset::Github => same("https://github.com"),
            Preset::Generic => {
                let issuer = self.issuer?;
                // OpenID Connect Discovery 1.0, section 3: https, without query and fragment.
                let url = Url::parse(issuer)?;
                (url.is_secure && url.fragment.is_none() && !url.path.contains('?')).then(|| same(issuer))?
            }
            Preset::Microsoft => {
                let directory = self.tenant.unwrap_or("organizations");
                let of = |directory: &str| format!("https://login.microsoftonline.com/{directory}/v2.0");
                let issuer = match directory {
                    "organizations" | "common" => of(ANY_DIRECTORY),
                    id if is_uuid(id) => of(id),
                    _ => return None,
                };
                Some((issuer, of(directory)))
            }
        }
    }
}

impl Domain {
    /// Reads `domain` or `slug:domain`.
    fn parse(text: &str) -> Option<Self> {
        let (tenant, name) = text.split_once(':').map_or((None, text), |(tenant, name)| (Some(tenant), name));
        let name = email::domain_key(name).filter(|_| tenant.is_none_or(is_slug))?;
        Some(Self { tenant: tenant.map(str::to_owned), name })
    }
}

fn is_slug(text: &str) -> bool {
    is_label(text) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Whether a text is a UUID in lower case, as Microsoft writes the ids of directories.
pub fn is_uuid(text: &str) -> bool {
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12])
        && text.bytes().all(|b| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[(&str, &str)]) -> Result<Vec<IdentityProvider>, &'static str> {
        read_all(|asked| values.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned()))
    }

    fn one(text: &str) -> Option<IdentityProvider> {
        read(&[("oidc1", text), ("oidc1_secret", "s3cret")]).ok().and_then(|mut all| all.pop())
    }

    #[test]
    fn a_preset_needs_little() {
        let google = one("preset=google client_id=1.apps domains=Example.com,sales:example.org").unwrap();
        assert_eq!((google.name.as_str(), google.label.as_str()), ("google", "Google"));
        assert_eq!((google.issuer.as_str(), google.client_id.as_str()), ("https://accounts.google.com", "1.apps"));
        let domain =
            |tenant: Option<&str>, name: &str| Domain { tenant: tenant.map(str::to_owned), name: name.to_owned() };
        assert_eq!(google.domains, [domain(None, "example.com"), domain(Some("sales"), "example.org")]);
        let text =
            "preset=generic name=acme issuer=https://sso.acme.example/realm client_id=a label=Acme single sign-on ";
        let acme = one(text).unwrap();
        assert_eq!((acme.name.as_str(), acme.label.as_str()), ("acme", "Acme single sign-on"));
        assert_eq!((acme.base.as_str(), acme.domains.len()), ("https://sso.acme.example/realm", 0));
    }

    /// R224: a domain of any script lets in the addresses in it, however either is written.
    #[test]
    fn a_domain_of_any_script_is_that_of_its_addresses() {
        let of = |email: &str| email::key(email).rsplit_once('@').unwrap().1.to_owned();
        for domain in ["xn--bcher-kva.example", "XN--BCHER-KVA.example", "bücher.example", "Bücher.Example"] {
            let google = one(&format!("preset=google client_id=a domains=acme.example,sales:{domain}")).unwrap();
            assert_eq!(google.domains[1].name, of("b@xn--bcher-kva.example"), "{domain}");
            assert_eq!(google.domains[1].name, of("b@bücher.example"), "{domain}");
        }
    }

    #[test]
    fn microsoft_is_of_one_directory_or_of_all() {
        let id = "11111111-2222-3333-4444-5555555555ff";
        let own = one(&format!("preset=microsoft tenant={id} client_id=a")).unwrap();
        assert_eq!(own.issuer, format!("https://login.microsoftonline.com/{id}/v2.0"));
        assert_eq!(own.base, own.issuer);
        let all = one("preset=microsoft client_id=a").unwrap();
        assert_eq!(all.issuer, "https://login.microsoftonline.com/{tenantid}/v2.0");
        assert_eq!(all.base, "https://login.microsoftonline.com/organizations/v2.0");
        assert!(one("preset=microsoft tenant=contoso.com client_id=a").is_none());
    }

    /// R73: better no provider than one that is other than the operator meant.
    #[test]
    fn what_cannot_be_meant_is_refused() {
        for bad in [
            "google",
            "preset=google",
            "preset=yahoo client_id=a",
            "preset=google client_id=",
            "preset=google client_id=a client_id=b",
            "preset=google client_id=a issuer=https://other.example",
            "preset=google client_id=a tenant=organizations",
            "preset=google client_id=a colour=red",
            "preset=google client_id=a domains=example",
            "preset=google client_id=a domains=*.example.com",
            "preset=google client_id=a domains=a.example,a.example",
            "preset=google client_id=a domains=one:a.example,two:A.example",
            "preset=google client_id=a domains=One:a.example",
            "preset=google client_id=a domains=,",
            "preset=google client_id=a domains=b@a.example",
            "preset=google client_id=a domains=bücher.example,xn--bcher-kva.example",
            "preset=google client_id=a name=Google",
            "preset=google client_id=a name=a/b",
            "preset=google client_id=a label=",
            "preset=google client_id=a label=Google domains=example.com",
            "preset=generic client_id=a",
            "preset=generic client_id=a issuer=http://sso.example",
            "preset=generic client_id=a issuer=https://sso.example/?a",
            "preset=generic client_id=a issuer=https://sso.example/#a",
            "preset=generic client_id=a issuer=https://u@sso.example",
        ] {
            assert!(one(bad).is_none(), "{bad}");
        }
        let google = "preset=google client_id=a";
        assert_eq!(read(&[("oidc1", google)]).err(), Some("oidc1_secret"));
        assert_eq!(read(&[("oidc1", google), ("oidc1_secret", "a b")]).err(), Some("oidc1_secret"));
        let twice = [("oidc1", google), ("oidc1_secret", "s"), ("oidc3", google), ("oidc3_secret", "s")];
        assert_eq!(read(&twice).err(), Some("oidc3"));
        assert_eq!(read(&[]).unwrap().len(), 0);
    }
}
