//! One request: from what the host hands over to a response that is complete.

use std::sync::Arc;

use common::error::ApiError;
use http::{HeaderName, HeaderValue};

use crate::{
    app::{App, Env, Head, log},
    body::Body,
    caller::Caller,
    response::{self, Response},
    router::{Outcome, Router},
};

/// Makes the crate a component that answers with a router.
#[macro_export]
macro_rules! component {
    ($router:path) => {
        #[cfg(target_family = "wasm")]
        mod component {
            use spin_sdk::wasip3::{exports::http::handler::Guest, http::types};

            struct Component;

            spin_sdk::wasip3::http::service::export!(Component);

            impl Guest for Component {
                async fn handle(request: types::Request) -> Result<types::Response, types::ErrorCode> {
                    $crate::entry::answer(request, $router).await
                }
            }
        }
    };
}

/// Answers one request. Every response has the request's id, and every refusal the envelope.
pub async fn serve(env: &Arc<Env>, router: &Router, head: Head, body: Body) -> Response {
    let app = App::new(env, head);
    let Outcome { result, caller } = router.answer(&app, body).await;
    let mut response = result.unwrap_or_else(|refusal| refuse(&app, &refusal, caller.as_ref()));
    if let Ok(id) = HeaderValue::from_str(app.request_id().as_str()) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
    }
    response
}

fn refuse(app: &App, refusal: &ApiError, caller: Option<&Caller>) -> Response {
    if let Some(cause) = refusal.inner() {
        log(app.request_id(), &format!("{} {}", app.path(), refusal.code().row().slug), cause);
    }
    let accept = app.headers().first("accept");
    let wants_problem = accept.is_some_and(|accept| accept.contains("application/problem+json"));
    let (link, reader) = (app.settings().link(), caller.map(Caller::reader));
    response::refusal(refusal, app.request_id(), link, reader, wants_problem)
}
