//! The component.

use std::sync::OnceLock;

use guard_core::{Guard, Wrong};
use guard_spin::{Behind, broken, configured, not_configured, pass, variable};
use spin_sdk::wasip3::{
    exports::http::handler::Guest,
    http::{
        client,
        types::{ErrorCode, Request, Response, Scheme},
    },
};

use crate::app::App;

struct Component;

spin_sdk::wasip3::http::service::export!(Component);

/// What the instance knows, once a request has read the settings.
static GUARD: OnceLock<(Guard, App)> = OnceLock::new();

impl Guest for Component {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let (guard, app) = match GUARD.get() {
            Some(known) => known,
            None => match read().await {
                Ok(read) => GUARD.get_or_init(|| read),
                Err(wrong) => return not_configured("", &wrong),
            },
        };
        pass(request, guard, Behind::Request, async |onward| send(onward, app).await).await
    }
}

async fn read() -> Result<(Guard, App), Wrong> {
    let app = App::read(&variable("", "app").await?.unwrap_or_default())?;
    Ok((configured("").await?, app))
}

/// Sends a request on to the application.
async fn send(onward: Request, app: &App) -> Result<Response, ErrorCode> {
    let scheme = if app.is_secure { Scheme::Https } else { Scheme::Http };
    let is_set = onward.set_scheme(Some(&scheme)).is_ok() && onward.set_authority(Some(&app.authority)).is_ok();
    if is_set { client::send(onward).await } else { Err(broken("a request that cannot be passed on")) }
}
