//! The sending of events to webhooks, by Standard Webhooks (<https://www.standardwebhooks.com>): `webhook-id`, `webhook-timestamp`,
//! `webhook-signature`.
//!
//! 1. What happened waits in `events`, from the transaction of its change on. [`send_due`] gives it to the webhooks that ask for it.
//! 2. It takes each webhook for which something is due, and sends to all of them at the same time, so that a slow receiver holds up no
//!    other. A webhook gets its events in order, as long as no try fails.
//! 3. Each try reads again where to send, with which secrets, and whether the webhook's person may still see the event.
//! 4. After a failure the webhook pauses, longer each time, and the delivery is tried again later, until it is dead after a day. A webhook
//!    whose receiver answers 410, or that nothing has reached for three days, is turned off, and its person is told.

use std::time::Duration;

use common::{
    event::EventKind,
    id::{DeliveryId, WebhookId},
    secret::{Secret, WebhookSecret},
    signature,
    time::Timestamp,
    url::check_outbound,
};
use futures_util::future::join_all;
use http::{Request, header};
use serde_json::{Value as Json, json};
use service::{
    app::{App, log},
    clock::sleep,
    enrolment::without_code,
    event::{self, Event},
    outbound,
};
use store::{
    db::{DbError, Purpose},
    delivery::{self, Content, Due, Outcome},
    event::{Turn, fan_out, give_back, take_turn},
    lease,
    webhook::{self, Why},
};

/// The purpose for which the vault seals a webhook's secret.
pub(crate) const PURPOSE: &str = "webhook out";

/// Bytes that are read of an answer at most: more than are kept.
const MOST_READ: usize = 4 * 1024;
/// Webhooks that one call of [`send_due`] takes at most.
const MOST_WEBHOOKS: usize = 32;
/// Deliveries that one call sends to a webhook at most, and how long it goes on beginning to send, seconds.
const MOST_AT_ONCE: usize = 200;
const LONGEST: i64 = 8;
/// Deliveries that one call sends without a break: to a webhook, and to all of its webhooks together.
const BURST: usize = 50;
const BURST_OF_ALL: usize = 100;
/// How long it waits before each further one to a webhook, ms: [`SHARE`] times as long as the one before took, for each of its webhooks, within
/// bounds. So a flood of events takes the machine neither from those that make them nor from the receiver, and the less so the busier they
/// are, however many webhooks there are.
const BREAK: i64 = 20;
const LONGEST_BREAK: i64 = 250;
const SHARE: i64 = 4;
/// Deliveries of a webhook that have arrived and are not written at most, and for how long, ms: a sender that dies sends these again.
const MOST_UNWRITTEN: usize = 32;
const LONGEST_UNWRITTEN: i64 = 250;
/// How long a webhook is its sender's, seconds: [`LONGEST`], one more try, and a little.
const LEASE: i64 = 45;
/// How long one turn gives out what has happened, seconds.
const GIVING_OUT: i64 = 1;
/// The longest pause of a webhook that fails, seconds.
const LONGEST_PAUSE: i64 = 300;
/// The longest pause that a receiver can ask for, seconds.
const LONGEST_ASKED: i64 = 3_600;
/// How long a webhook may fail before it is turned off, seconds: three days.
const PATIENCE: i64 = 3 * 86_400;
/// Bytes of an answer that are kept.
const MOST_KEPT: usize = 2 * 1024;

/// Sends what is due after the response, which a slow receiver does not delay.
pub(crate) async fn send_soon(app: &App) {
    let sender = app.clone();
    app.after_response(async move { send_due(&sender).await }).await;
}

/// Sends one delivery after the response, at once, also while its webhook pauses after failures: somebody waits to see whether it arrives.
/// When it does, the pause is over, and everything else follows.
pub(crate) async fn send_now(app: &App, webhook: &WebhookId, delivery: &str) {
    let (sender, webhook, delivery) = (app.clone(), webhook.clone(), delivery.to_owned());
    app.after_response(async move {
        let now = sender.clock().now();
        if let Some(due) = delivery::take_one(sender.db(), &webhook, &delivery, now).await?
            && let Tried::Arrived(outcome) = attempt(&sender, &webhook, &due).await?
        {
            delivery::sent(sender.db(), &[(due.id, outcome)], sender.clock().now()).await?;
            webhook::end_pause(sender.db(), &webhook).await?;
        }
        send_due(&sender).await
    })
    .await;
}

/// Gives out what has happened, and sends what is due, a bounded part of it.
pub(crate) async fn send_due(app: &App) -> Result<(), DbError> {
    let until = app.clock().now().plus_seconds(LONGEST);
    // Look again after the end: while this call had a webhook, no other one could send what came for it.
    while send_some(app, until).await? && app.clock().now() < until {}
    Ok(())
}

/// Gives what has happened to the webhooks that ask for it, unless another caller does. Under a flood nearly all callers leave at once.
async fn give_out(app: &App) -> Result<(), DbError> {
    let mut begun = app.clock().now();
    let mut turn = take_turn(app.db(), begun).await?;
    if let Turn::Anothers(rest) = turn {
        sleep(rest).await;
        begun = app.clock().now();
        turn = take_turn(app.db(), begun).await?;
    }
    // A further turn of another's began after this call, and so gives out all that was committed before it.
    let Turn::Own(ends) = turn else { return Ok(()) };
    let mut given = 0;
    let done = give_all(app, begun.plus_seconds(GIVING_OUT), &mut given).await;
    give_back(app.db(), ends, given, app.clock().now()).await?;
    done
}

/// Gives out all that waits, until then; counts it.
async fn give_all(app: &App, until: Timestamp, given: &mut i64) -> Result<(), DbError> {
    while app.clock().now() < until {
        match fan_out(app.db(), app.chance(), app.clock().now()).await? {
            0 => break,
            number => *given += number,
        }
    }
    Ok(())
}

/// `false`: nothing is due.
async fn send_some(app: &App, until: Timestamp) -> Result<bool, DbError> {
    // In a full database nothing more is given out, and what was is sent.
    let giving = give_out(app).await;
    let now = app.clock().now();
    let ends = now.plus_seconds(LEASE);
    let (mut taken, mut taking) = (Vec::new(), giving);
    while taken.len() < MOST_WEBHOOKS {
        match webhook::take(app.db(), now, ends).await {
            Ok(Some(id)) => taken.push(id),
            Ok(None) => break,
            // Those that were taken nobody else sends to.
            Err(error) => {
                taking = Err(error);
                break;
            }
        }
    }
    let share = Share::of(taken.len());
    let rounds = taken.iter().map(|id| round(app, id, share, (until, ends)));
    join_all(rounds).await.into_iter().fold(taking, Result::and)?;
    Ok(!taken.is_empty())
}

/// What has arrived at a webhook and is not written yet.
#[derive(Default)]
struct Arrived {
    rows: Vec<(DeliveryId, Outcome)>,
    since: Option<Timestamp>,
}

impl Arrived {
    fn push(&mut self, id: DeliveryId, outcome: Outcome, now: Timestamp) {
        self.rows.push((id, outcome));
        self.since.get_or_insert(now);
    }

    /// Whether it should be written: it is much, or some time has passed.
    fn is_enough(&self, now: Timestamp) -> bool {
        self.rows.len() >= MOST_UNWRITTEN
            || self.since.is_some_and(|since| now.millis() - since.millis() >= LONGEST_UNWRITTEN)
    }

    async fn write(&mut self, app: &App) -> Result<(), DbError> {
        delivery::sent(app.db(), &self.rows, app.clock().now()).await?;
        *self = Self::default();
        Ok(())
    }
}

/// Sends what is due for one webhook, until something fails. Also when that was a statement of ours, what has arrived is written and the
/// webhook is given back.
async fn round(app: &App, id: &WebhookId, share: Share, (until, ends): (Timestamp, Timestamp)) -> Result<(), DbError> {
    let mut arrived = Arrived::default();
    let sending = send_in_order(app, id, share, until, &mut arrived).await;
    let writing = arrived.write(app).await;
    let next = sending.as_ref().map_or(Timestamp::from_millis(0), |next| *next);
    let giving_back = webhook::give_back(app.db(), id, ends, next).await;
    sending.map(drop).and(writing).and(giving_back)
}

/// Sends what is due for one webhook, until a try fails; gives from when on more may be sent.
async fn send_in_order(
    app: &App,
    id: &WebhookId,
    share: Share,
    until: Timestamp,
    arrived: &mut Arrived,
) -> Result<Timestamp, DbError> {
    let (mut has_arrived, mut last, mut took) = (false, None, 0);
    for number in 0..MOST_AT_ONCE {
        if number >= share.burst() {
            sleep(share.pace(took)).await;
        }
        let now = app.clock().now();
        if now > until {
            break;
        }
        // Read for each, so that what its person may not see any more is not sent.
        let Some(due) = delivery::next(app.db(), id, last.as_ref(), now).await? else { break };
        match attempt(app, id, &due).await? {
            Tried::Withheld => {}
            Tried::Arrived(outcome) => {
                let now = app.clock().now();
                arrived.push(due.id.clone(), outcome, now);
                if arrived.is_enough(now) {
                    arrived.write(app).await?;
                }
                if !std::mem::replace(&mut has_arrived, true) {
                    webhook::forget_failures(app.db(), id).await?;
                }
            }
            Tried::Failed(pause) => return Ok(app.clock().now().plus_seconds(pause)),
        }
        took = app.clock().now().millis() - now.millis();
        last = Some(due);
    }
    Ok(Timestamp::from_millis(0))
}

/// What each of so many webhooks gets of what one call sends.
#[derive(Clone, Copy)]
struct Share {
    webhooks: usize,
}

impl Share {
    fn of(webhooks: usize) -> Self {
        Self { webhooks: webhooks.max(1) }
    }

    /// Deliveries without a break.
    fn burst(self) -> usize {
        (BURST_OF_ALL / self.webhooks).min(BURST)
    }

    /// How long to wait after a delivery that took so many ms.
    fn pace(self, took: i64) -> Duration {
        let all = i64::try_from(self.webhooks).unwrap_or(i64::MAX);
        Duration::from_millis(took.saturating_mul(SHARE).saturating_mul(all).clamp(BREAK, LONGEST_BREAK).unsigned_abs())
    }
}

/// What came of one try.
enum Tried {
    /// The receiver has it, which is still to be written.
    Arrived(Outcome),
    /// Nothing was sent: the webhook's person may not see it any more.
    Withheld,
    /// It did not arrive; so many seconds nothing more is sent.
    Failed(i64),
}

/// Sends one delivery, and writes what came of it unless it arrived.
async fn attempt(app: &App, id: &WebhookId, due: &Due) -> Result<Tried, DbError> {
    if !due.may_see {
        let why = "the person of this webhook may not read the agent any more";
        delivery::withhold(app.db(), due, why, app.clock().now()).await?;
        return Ok(Tried::Withheld);
    }
    let outcome = send(app, id, due).await;
    let now = app.clock().now();
    if outcome.error.is_none() {
        return Ok(Tried::Arrived(outcome));
    }
    let what = format!("webhook {id} delivery {} try {}", due.id, due.tries);
    log(app.request_id(), &what, outcome.error.as_deref().unwrap_or_default());
    let is_gone = outcome.status == Some(410);
    delivery::failed(app.db(), due, &outcome, is_gone, now).await?;
    // A webhook that was deleted or got another address meanwhile has nothing to count.
    let Some((failures, since)) = webhook::count_failure(app.db(), (id, &due.url), now).await? else {
        return Ok(Tried::Failed(0));
    };
    if is_gone {
        turn_off(app, id, Why::Gone, "its receiver answered 410, which means that it is gone for good").await?;
    } else if since.plus_seconds(PATIENCE) <= now && lease::may_forget(app.db(), now).await? {
        turn_off(app, id, Why::Failing, "nothing that was sent to it has arrived for three days").await?;
    }
    Ok(Tried::Failed(pause(failures).max(outcome.retry_after.unwrap_or(0))))
}

/// Seconds that a webhook pauses after so many failures in a row.
fn pause(failures: i64) -> i64 {
    let doublings = u32::try_from(failures - 1).unwrap_or(0).min(20);
    (1_i64 << doublings).min(LONGEST_PAUSE)
}

/// Turns a webhook off, and tells its person.
async fn turn_off(app: &App, id: &WebhookId, why: Why, words: &str) -> Result<(), DbError> {
    let now = app.clock().now();
    // Only a change within the bound turns it on again.
    let tx = app.db().begin(Purpose::Revoking).await?;
    let Some(off) = webhook::disable(&tx, id, why, now).await? else { return Ok(()) };
    let title = format!("The webhook {} was turned off", off.name);
    let body = format!(
        "No events are sent to {} any more, since {words}. Its page has the deliveries that failed, and turns it on again.",
        off.url
    );
    let event = Event::of_user(EventKind::WebhookDisabled, &off.user)
        .data(json!({ "webhook": id, "why": why.as_str() }))
        .saying(title, body);
    event::deliver(app, &tx, &app.origin(&off.tenant, None), None, &event).await?;
    tx.commit().await
}

/// Sends one delivery. An outcome without an error has arrived.
async fn send(app: &App, id: &WebhookId, due: &Due) -> Outcome {
    let request = match request(app, id, due) {
        Ok(request) => request,
        Err(why) => return Outcome::error(why),
    };
    match outbound::send(request, MOST_READ).await {
        Ok(answer) => {
            let status = answer.status;
            let error = match status {
                200..300 => None,
                // It answers a condition, and a delivery has none.
                304 => Some("the receiver answered 304, which says nothing of a delivery".to_owned()),
                300..400 => Some(format!("the receiver answered {status}: redirects are not followed")),
                _ => Some(format!("the receiver answered {status}")),
            };
            let kept = answer.body.get(..MOST_KEPT).unwrap_or(&answer.body);
            // A receiver that echoes what it knows puts no credential of ours into the database.
            let kept = Secret::cut_off(String::from_utf8_lossy(kept).into_owned());
            // Only a receiver that says that it is too much, or that it is away for a while, asks for patience.
            let asked = answer.retry_after.filter(|_| matches!(status, 429 | 503));
            Outcome {
                status: Some(status),
                answer: Some(kept),
                error,
                retry_after: asked.map(|s| s.min(LONGEST_ASKED)),
            }
        }
        Err(cause) => Outcome::error(no_answer(&cause)),
    }
}

/// Why no answer came, in one short line.
pub(crate) fn no_answer(cause: &str) -> String {
    let cause: String = cause.replace(|c: char| c.is_control(), " ").chars().take(120).collect();
    format!("no answer: {cause}")
}

/// Makes the request, or says why there can be none.
fn request(app: &App, id: &WebhookId, due: &Due) -> Result<Request<String>, String> {
    check_outbound("url", &due.url, &app.settings().outbound_hosts)
        .map_err(|refusal| format!("not sent: {}", refusal.code().row().slug))?;
    let secrets = secrets(app, id, due)?;
    let at = app.clock().now();
    let body = body(due).to_string();
    let signatures: Vec<String> = secrets
        .iter()
        .filter_map(|secret| signature::standard(secret, (due.event.as_str(), at), body.as_bytes()))
        .collect();
    Request::post(due.url.as_str())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "*/*")
        .header(header::USER_AGENT, "Accredit")
        .header("webhook-id", due.event.as_str())
        .header("webhook-timestamp", signature::seconds(at))
        .header("webhook-signature", signatures.join(" "))
        .body(body)
        .map_err(|_| "the URL does not make a valid request".to_owned())
}

/// The body: the same in each try, but for a code for the agent's token, which is for those alone that may change the agent now.
fn body(due: &Due) -> Json {
    let data = due.data.clone();
    let data = if due.may_change { data } else { without_code(&due.kind, data) };
    let agent = due.agent.as_ref().map(|(id, name)| json!({ "id": id, "name": name }));
    json!({ "id": due.event, "kind": due.kind, "at": due.at, "tenant": due.tenant, "agent": agent, "data": data })
}

/// The same for people, without a code.
pub(crate) fn shown(content: &Content) -> Json {
    let Content { delivery, tenant, agent, data, .. } = content;
    let agent = delivery.agent_id.as_ref().map(|id| json!({ "id": id, "name": agent }));
    let data = without_code(&delivery.kind, data.clone());
    json!({ "id": delivery.event_id, "kind": delivery.kind, "at": delivery.at, "tenant": tenant, "agent": agent, "data": data })
}

/// The secrets that sign: the present one, and the one before through the overlap.
fn secrets(app: &App, id: &WebhookId, due: &Due) -> Result<Vec<WebhookSecret>, String> {
    let sealed = due.sealed.as_ref().ok_or("the webhook is off, or has no secret")?;
    let place = [due.tenant.as_str(), id.as_str()];
    let open = |sealed: &Vec<u8>| app.settings().vault.open(PURPOSE, &place, sealed).map(WebhookSecret::of);
    let present = open(sealed).map_err(|_| "the variable secrets_key does not open the secret")?;
    let former = due.former.as_ref().and_then(|sealed| open(sealed).ok());
    Ok(std::iter::once(present).chain(former).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_five_minutes() {
        let pauses: Vec<i64> = (1..=10).map(pause).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
    }

    /// R296: all webhooks that are sent to at the same time share a burst, and a quarter of the time.
    #[test]
    fn a_flood_is_paced_by_what_all_webhooks_take() {
        let of = |webhooks, took| (Share::of(webhooks).burst(), Share::of(webhooks).pace(took).as_millis());
        assert_eq!([of(0, 0), of(1, 0), of(1, 3), of(1, 10)], [(50, 20), (50, 20), (50, 20), (50, 40)]);
        assert_eq!(
            [of(2, 10), of(10, 3), of(10, 5), of(10, 900), of(32, 1)],
            [(50, 80), (10, 120), (10, 200), (10, 250), (3, 128)]
        );
        assert_eq!(of(1, i64::MAX), (50, 250));
    }
}
