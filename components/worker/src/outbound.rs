//! Requests to other servers. Only this component sends any: to the mail provider, and to URLs that `common::url::check_outbound` let pass.
//!
//! The host resolves names and refuses private addresses. This module bounds how long a request may take, ten seconds in all, and how
//! much of an answer is read. A redirect is an answer like any other and is not followed.

use http::Request;

/// The part of an answer that is looked at.
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The beginning of the body, at most 4 KiB; what did not come in time is left out.
    pub(crate) body: Vec<u8>,
}

#[cfg(target_family = "wasm")]
pub(crate) use wasm::send;

#[cfg(target_family = "wasm")]
mod wasm {
    use std::{pin::pin, time::Duration};

    use bytes::Bytes;
    use futures_util::future::{Either, select};
    use http_body_util::BodyExt;
    use spin_sdk::{
        http::FullBody,
        wasip3::{http::types::RequestOptions, http_compat::RequestOptionsExtension},
    };

    use super::{Answer, Request};

    /// Bytes of a body that are read at most.
    const MOST_READ: usize = 4 * 1024;
    /// Nanoseconds until the connection stands, and until the answer begins.
    const CONNECT: u64 = 3_000_000_000;
    const FIRST_BYTE: u64 = 5_000_000_000;
    /// Until no more of the body is waited for. Together they bound a request.
    const BODY: Duration = Duration::from_secs(2);
    /// Until a request is given up, on a host that does not support the bounds above.
    const ALL: Duration = Duration::from_secs(10);

    /// Sends a request. `Err` says in a few words why there was no answer.
    pub(crate) async fn send(request: Request<String>) -> Result<Answer, String> {
        within(ALL, exchange(request)).await.unwrap_or_else(|| Err("the time was over".to_owned()))
    }

    async fn exchange(request: Request<String>) -> Result<Answer, String> {
        let options = RequestOptions::new();
        // A host that does not support these bounds has its own.
        drop(options.set_connect_timeout(Some(CONNECT)));
        drop(options.set_first_byte_timeout(Some(FIRST_BYTE)));
        let mut request = request.map(|body| FullBody::new(Bytes::from(body)));
        request.extensions_mut().insert(RequestOptionsExtension(options));
        let response =
            spin_sdk::http::send(request).await.map_err(|error| format!("{error:?}").replace("ErrorCode::", ""))?;
        let status = response.status().as_u16();
        let (mut body, mut rest) = (Vec::new(), response.into_body());
        let reading = async {
            while body.len() < MOST_READ
                && let Some(Ok(piece)) = rest.frame().await
            {
                let bytes = piece.into_data().unwrap_or_default();
                body.extend(bytes.iter().take(MOST_READ - body.len()));
            }
        };
        // What has come by then is kept.
        within(BODY, reading).await;
        Ok(Answer { status, body })
    }

    /// The outcome, if it is there in time.
    async fn within<T>(time: Duration, work: impl Future<Output = T>) -> Option<T> {
        match select(pin!(work), pin!(spin_sdk::time::sleep(time))).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        }
    }
}

/// Natively nothing is called: tests set the answers and see the requests.
#[cfg(not(target_family = "wasm"))]
pub(crate) async fn send(request: Request<String>) -> Result<Answer, String> {
    #[cfg(test)]
    return stub::answer(request);
    #[cfg(not(test))]
    return Err(format!("{} is not called by a native build", request.uri()));
}

#[cfg(test)]
pub(crate) mod stub {
    use std::{cell::RefCell, collections::VecDeque};

    use super::{Answer, Request};

    // A test runs in a thread of its own.
    thread_local! {
        static ANSWERS: RefCell<VecDeque<Result<(u16, String), String>>> = RefCell::default();
        static SENT: RefCell<Vec<Request<String>>> = RefCell::default();
    }

    /// Sets the answers to the next requests; after the last one, each gets 200.
    pub(crate) fn will_answer(answers: &[Result<(u16, &str), &str>]) {
        let owned = |answer: &Result<(u16, &str), &str>| match answer {
            Ok((status, body)) => Ok((*status, (*body).to_owned())),
            Err(cause) => Err((*cause).to_owned()),
        };
        ANSWERS.with_borrow_mut(|queue| queue.extend(answers.iter().map(owned)));
    }

    /// The requests that were sent since the last call.
    pub(crate) fn sent() -> Vec<Request<String>> {
        SENT.take()
    }

    pub(super) fn answer(request: Request<String>) -> Result<Answer, String> {
        SENT.with_borrow_mut(|sent| sent.push(request));
        let answer = ANSWERS.with_borrow_mut(VecDeque::pop_front).unwrap_or(Ok((200, String::new())));
        answer.map(|(status, body)| Answer { status, body: body.into_bytes() })
    }
}
