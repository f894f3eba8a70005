//! The component.

use std::sync::OnceLock;

use guard_core::Guard;
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

/// What the instance knows, once a request has read the settings.
static GUARD: OnceLock<Guard> = OnceLock::new();

impl Guest for Component {
    async fn handle(request: Request) -> Result<Response, ErrorCode> {
        let guard = match GUARD.get() {
            Some(known) => known,
            None => match configured(PREFIX).await {
                Ok(read) => GUARD.get_or_init(|| read),
                Err(wrong) => return not_configured(PREFIX, &wrong),
            },
        };
        let (scheme, authority) = (request.get_scheme(), request.get_authority());
        // What is behind it is asked what the client has asked.
        let call = async |onward: Request| {
            let is_set =
                onward.set_scheme(scheme.as_ref()).is_ok() && onward.set_authority(authority.as_deref()).is_ok();
            if is_set { next(onward).await?.into_response() } else { Err(broken("a request that cannot be passed on")) }
        };
        pass(request, guard, Behind::Call, call).await
    }
}
