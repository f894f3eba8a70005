//! What the operator does, and what anybody may ask.

use common::route;

use super::{Kind, Show, Verb};

/// All of them.
pub(super) fn all() -> Vec<Verb> {
    vec![
        Verb::new("bootstrap", route::BOOTSTRAP)
            .needs("email", Kind::Text, "The first admin's address")
            .needs("name", Kind::Text, "The first admin's name")
            .field("tenant", Kind::Text, "The tenant's short name")
            .needs("secret", Kind::Secret, "The operator secret")
            .needs("password", Kind::Secret, "The first admin's password"),
        Verb::new("operator tenant", route::TENANT_CREATE)
            .takes("tenant", Kind::Text, "The tenant's short name")
            .needs("email", Kind::Text, "Its admin's address")
            .needs("name", Kind::Text, "Its admin's name")
            .needs("secret", Kind::Secret, "The operator secret")
            .needs("password", Kind::Secret, "Its admin's password"),
        Verb::new("operator recover", route::OPERATOR_RECOVER)
            .takes("tenant", Kind::Text, "The tenant's short name")
            .takes("email", Kind::Text, "The address of the one who gets in: a user of the tenant, or a new one")
            .field("name", Kind::Text, "The name of a new one")
            .needs("secret", Kind::Secret, "The operator secret")
            .field("password", Kind::Secret, "A password; left out, the link by which that person sets one is shown")
            .show(Show::Secret("url")),
        Verb::new("operator revoke", route::OPERATOR_REVOKE)
            .takes("issued_before", Kind::When, "The moment, such as 2026-11-22T02:38:46Z")
            .needs("secret", Kind::Secret, "The operator secret")
            .asks("End every credential of every tenant that was made before {issued_before}?"),
        Verb::new("ready", route::READYZ),
        Verb::new("auth ways", route::WAYS),
    ]
}
