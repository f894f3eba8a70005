use common::error::ApiError;
use http::StatusCode;
use service::{
    caller::Caller,
    response::{Response, json},
    whoami::Whoami,
};

/// `GET /api/auth/whoami`: the credential's person, its agent if it is one's, and what it may do now. The guard has read all of it.
pub(crate) async fn whoami(caller: Caller) -> Result<Response, ApiError> {
    json(StatusCode::OK, &Whoami::of(&caller, &caller.scopes()))
}

#[cfg(test)]
mod tests;
