//! What the operator does, and what anybody may ask.

use common::route;

use super::{Kind, Show, Verb};

/// All of them.
pub(super) fn all() -> Vec<Verb> {
    vec![
        Verb::new("bootstrap", route::BOOTSTRAP)
            .needs("email", Kind::Text)
            .needs("name", Kind::Text)
            .field("tenant", Kind::Text)
            .needs("secret", Kind::Secret)
            .needs("password", Kind::Secret),
        Verb::new("operator tenant", route::TENANT_CREATE)
            .takes("tenant", Kind::Text)
            .needs("email", Kind::Text)
            .needs("name", Kind::Text)
            .needs("secret", Kind::Secret)
            .needs("password", Kind::Secret),
        Verb::new("operator recover", route::OPERATOR_RECOVER)
            .takes("tenant", Kind::Text)
            .takes("email", Kind::Text)
            .field("name", Kind::Text)
            .needs("secret", Kind::Secret)
            .field("password", Kind::Secret)
            .show(Show::Secret("url")),
        Verb::new("operator revoke", route::OPERATOR_REVOKE)
            .takes("issued_before", Kind::When)
            .needs("secret", Kind::Secret)
            .asks("End every credential of every tenant that was made before {issued_before}?"),
        Verb::new("ready", route::READYZ),
        Verb::new("auth ways", route::WAYS),
    ]
}
