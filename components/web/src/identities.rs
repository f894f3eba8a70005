//! The providers that a page offers, and the identities that a visitor has linked.

use common::route;
use futures_util::future::join;
use serde_json::Value as Json;
use service::app::App;

use crate::api::{Api, Members, Trouble};

/// The providers that a page offers.
pub(crate) async fn offered(app: &App) -> Vec<Json> {
    // A page that cannot offer them still has its other ways.
    let listed = Api::without_session(app).get(route::OIDC_LIST, &[], &[]).await;
    listed.map(|listed| listed.list("items").to_vec()).unwrap_or_default()
}

/// The section in which a visitor links and unlinks identities.
pub(crate) struct Identities {
    /// What is linked.
    pub(crate) linked: Vec<Json>,
    /// What can be.
    pub(crate) offered: Vec<Json>,
}

impl Identities {
    /// Asks for both. What cannot be had is left out.
    pub(crate) async fn load(app: &App, api: &Api<'_>) -> Self {
        Self::read(app, api.get(route::IDENTITIES_LIST, &[], &[])).await
    }

    /// What another person has linked, with the providers' names.
    pub(crate) async fn of_user(app: &App, api: &Api<'_>, id: &str) -> Self {
        Self::read(app, api.get(route::USERS_IDENTITIES_LIST, &[id], &[])).await
    }

    async fn read(app: &App, linked: impl Future<Output = Result<Json, Trouble>>) -> Self {
        let (linked, offered) = join(linked, offered(app)).await;
        Self { linked: linked.map(|linked| linked.list("items").to_vec()).unwrap_or_default(), offered }
    }

    /// Whether there is anything to show.
    pub(crate) fn is_any(&self) -> bool {
        !self.linked.is_empty() || !self.offered.is_empty()
    }

    /// A provider's name for people.
    pub(crate) fn label<'a>(&'a self, name: &'a str) -> &'a str {
        self.offered
            .iter()
            .find(|provider| provider.text("name") == name)
            .map_or(name, |provider| provider.text("label"))
    }
}
