//! One request: from what the host hands over to a response that is complete.

use std::sync::Arc;

use common::error::ApiError;
use http::{HeaderName, HeaderValue, Method, header};

use crate::{
    app::{App, Env, Head, log},
    body::{Body, RequestBody},
    caller::Caller,
    nowhere::{self, Lead},
    reader,
    response::{self, Response},
    router::{Outcome, Router},
    session::is_secure,
    settings::PublicUrl,
};

/// Held as a constant: a name that is made at run time is looked up among all known names.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A browser that has come by https once comes by nothing else for a year (RFC 6797).
const HTTPS_ALONE: &str = "max-age=31536000";

/// Answers one request. Every response has the request's id, and every refusal the envelope.
pub async fn serve(env: &Arc<Env>, router: &Router, head: Head, body: RequestBody) -> Response {
    let app = App::new(env, head);
    let is_head = app.head().method == Method::HEAD;
    let Outcome { result, caller } = router.answer(&app, body).await;
    if let (Ok(_), Some(wake)) = (&result, app.urgent()) {
        let after = app.clone();
        app.after_response(async move {
            wake(after).await;
            Ok(())
        })
        .await;
    }
    let mut response = result.unwrap_or_else(|refusal| refuse(&app, &refusal, (caller.as_ref(), router.lead())));
    if let Ok(id) = HeaderValue::from_str(app.request_id().as_str()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    if is_head {
        // Also of a refusal: HTTP/2 would send it, which clients take for a fault of the protocol.
        *response.body_mut() = Body::empty();
    }
    if is_secure(&app) {
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HTTPS_ALONE));
    }
    response
}

fn refuse(app: &App, refusal: &ApiError, (caller, lead): (Option<&Caller>, Option<Lead>)) -> Response {
    if let Some(cause) = refusal.inner() {
        log(app.request_id(), &format!("{} {}", app.path(), refusal.code().row().slug), cause);
    }
    if let Some(page) = nowhere::page(app, refusal, lead) {
        return page;
    }
    let accept = app.headers().first("accept");
    let wants_problem = accept.is_some_and(|accept| accept.contains("application/problem+json"));
    let reader = caller.map(|caller| reader::of(caller, app));
    // A proxy passes it on from the site of the service behind it, which has no page of ours.
    let whole = app.settings().public_url.as_ref().filter(|_| refusal.is_for_proxy()).map(PublicUrl::to_string);
    let link = whole.as_deref().unwrap_or(app.settings().link());
    response::refusal(refusal, app.request_id(), link, reader, wants_problem)
}

#[cfg(test)]
mod tests {
    use common::route::Group;

    use crate::{router::Routes, settings::Settings, testing::TestApp};

    /// R331: with an https `public_url`, and only then, every answer tells browsers to come by https alone, refusals too.
    #[tokio::test]
    async fn every_answer_of_an_https_site_says_so() {
        for (url, said) in
            [("https://accredit.example/acme", "max-age=31536000"), ("http://accredit.example", ""), ("", "")]
        {
            let settings = Settings::read(|name| (name == "public_url").then(|| url.to_owned())).unwrap();
            let t = TestApp::with(Routes::new(Group::Agents).build(), settings);
            let answer = t.nobody("GET", "/api/agents", serde_json::Value::Null).await;
            let header = answer.headers.get("strict-transport-security").map_or("", |value| value.to_str().unwrap());
            assert_eq!((answer.status.as_u16(), header), (404, said), "{url}");
        }
    }
}
