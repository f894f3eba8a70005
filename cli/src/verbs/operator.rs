//! What the operator does, and what anybody may ask.

use common::route;

use super::{Kind, Verb};

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
        Verb::new("operator revoke", route::OPERATOR_REVOKE)
            .takes("issued_before", Kind::When, "The moment, such as 2026-11-22T02:38:46Z")
            .needs("secret", Kind::Secret, "The operator secret")
            .asks("End every credential of every tenant that was made before {issued_before}?"),
        Verb::new("ready", route::READYZ),
        Verb::new("auth ways", route::WAYS),
    ]
}
