//! People, as filters of lists name them.

use common::{email, id::UserId};

use crate::{
    page::{any_has, like, pattern, user_named},
    permission::Binder,
};

/// A person, as a filter of a list names them: by id, by the whole address, or by a part of what is shown of them.
pub struct Named {
    /// What was typed.
    pub text: String,
    /// Whether the caller is shown names of people too, and not only addresses.
    pub knows_names: bool,
}

impl Named {
    /// Whether it can be one person alone. To check the domain by the tables of Unicode would make a component 10 % larger.
    pub(crate) fn is_one(&self) -> bool {
        let is_whole = |(local, domain): (&str, &str)| !local.is_empty() && domain.contains('.');
        self.text.rsplit_once('@').is_some_and(is_whole) || self.text.starts_with(UserId::PREFIX)
    }

    /// Whether the row `u` of table `users` is such a person.
    pub(crate) fn is(&self, binder: &mut Binder) -> String {
        let text = self.text.as_str();
        if self.is_one() {
            let (column, value) = user_named(text);
            return format!("u.{column} = {}", binder.bind(value));
        }
        // Compared in the form in which addresses are.
        let key = binder.bind(like(&email::key(text)));
        let name = match self.knows_names {
            true => format!(" OR {}", any_has(&binder.bind(pattern(text)), &["u.name"])),
            false => String::new(),
        };
        format!("(u.email_key LIKE {key} ESCAPE '\\'{name})")
    }

    /// Whether the row `u` is such a person, or was one until it was deleted: what they did goes on to name them.
    pub(crate) fn was(&self, binder: &mut Binder) -> String {
        let is = self.is(binder);
        let was = match self.is_one() {
            true => format!("lower(u.email) = {}", binder.bind(email::key(&self.text))),
            false => format!("u.email LIKE {} ESCAPE '\\'", binder.bind(like(&self.text))),
        };
        format!("({is} OR (u.deleted_at IS NOT NULL AND {was}))")
    }
}
