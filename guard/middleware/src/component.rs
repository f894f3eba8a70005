//! The component.

use std::sync::OnceLock;

use guard_core::{Guard, Wrong};
use guard_spin::{Behind, broken, configured, not_configured, pass};
use spin_sdk::{
    http::{IntoResponse, next},
    wasip3::{
        exports::http::handler::Guest,
        http::types::{ErrorCode, Request, Response},
    },
};

/// How the names of the settings begin.
const PREFIX: &str = "guard_";

struct Component;

spin_sdk::wasip3::http::service::export!(Component);

/// What the instance knows, once its first request has read the settings.
static GUARD: OnceLock<Result<Guard, Wrong>> = OnceLock::new();

impl Guest for Component {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        if GUARD.get().is_none() {
            let read = configured(PREFIX).await;
            GUARD.get_or_init(|| read);
        }
        let (scheme, authority) = (request.get_scheme(), request.get_authority());
        // What is behind it is asked what the client has asked.
        let call = async |onward: Request| {
            let is_set =
                onward.set_scheme(scheme.as_ref()).is_ok() && onward.set_authority(authority.as_deref()).is_ok();
            if is_set { next(onward).await?.into_response() } else { Err(broken("a request that cannot be passed on")) }
        };
        match GUARD.get() {
            Some(Ok(guard)) => pass(request, guard, Behind::Call, call).await,
            Some(Err(wrong)) => not_configured(wrong),
            None => Err(broken("no settings")),
        }
    }
}
