use common::error::ApiError;
use http::{HeaderValue, StatusCode, header};
use service::{
    app::App,
    caller::Caller,
    response::{Response, json},
    whoami::Whoami,
};

/// Where an agent reads on (RFC 8288, RFC 8631).
fn caller_links(link: &str) -> String {
    format!("<{link}/llms.txt>; rel=\"service-doc\", <{link}/openapi.json>; rel=\"service-desc\"")
}

/// `GET /api/auth/whoami`: the credential's person, its agent if it is one's, and what it may do now. The guard has read all of it.
pub(crate) async fn whoami(app: App, caller: Caller) -> Result<Response, ApiError> {
    let mut response = json(StatusCode::OK, &Whoami::of(&caller, &caller.scopes()))?;
    let link = caller_links(app.settings().link());
    if let Ok(link) = HeaderValue::from_str(&link) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

#[cfg(test)]
mod tests;
