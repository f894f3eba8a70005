//! `POST /internal/proofs`: whether the key in a proof (DPoP, RFC 9449) has signed it. The other components ask: they compare what a proof
//! says, and have no curves. It needs no secret and stores nothing.

use common::{error::ApiError, proof::Proof};
use service::{
    extract::Body,
    form, proof,
    response::{Response, no_content},
};

form! {
    pub(crate) struct Sent {
        proof: String,
    }
}

/// The handler.
pub(crate) async fn verify(Body(sent): Body<Sent>) -> Result<Response, ApiError> {
    let read = Proof::parse(&sent.proof).map_err(proof::refused).map_err(ApiError::as_bad_request)?;
    match jose::has_signed(&read) {
        true => Ok(no_content()),
        false => Err(proof::refused("its signature is not one of its key").as_bad_request()),
    }
}

#[cfg(test)]
mod tests;
