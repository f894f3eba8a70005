//! Guesses of a secret: a password, the operator's secret.
//!
//! A guess that is still being checked is not a wrong one: with the wrong ones it only takes up the places of those that may be wrong.
//! So the right secret, sent many times at once, waits for a place and is let in each time; and guesses that come at once try no more
//! secrets than guesses that come one by one.

use std::time::Duration;

use common::{
    email,
    error::{ApiError, Code},
    id::TenantId,
};
use service::{app::App, clock};
use store::{attempt::Guesses, db::Tx, user};

/// How often a guess that waits for a place looks for one, and how many times it looks: 5 s in all.
const LOOK: Duration = Duration::from_millis(25);
const LOOKS: usize = 200;

/// Wrong tries of one account from one network in a window.
pub(crate) const TRIES: i64 = 5;
/// The window, seconds.
pub(crate) const WINDOW: i64 = 600;
/// Those of strangers that are checked in an hour, after very many in a day.
pub(crate) const TRIES_BEYOND: (i64, i64) = (10, 3_600);

/// Guesses of an account's password from the request's network.
pub(crate) fn guesses(app: &App, email: &str) -> Guesses {
    // Whatever tenant is named: left out, it means one that has a name too, and guesses must not be counted twice.
    Guesses::new(&["sign-in", &email::key(email), &app.network()], TRIES, WINDOW)
}

/// Guesses of strangers, where there were very many from everywhere in a day.
pub(crate) fn guesses_of_strangers(email: &str) -> Guesses {
    let (most, seconds) = TRIES_BEYOND;
    Guesses::new(&["sign-in of strangers", &email::key(email)], most, seconds)
}

/// Forgets what was guessed wrong from the request's network before the password became another one: its person has just got a new one, often
/// because of just these. They are counted for the address in all tenants: where another one has it too, nobody gets more guesses there by a
/// new password here.
pub(crate) async fn forget(app: &App, tx: &Tx<'_>, (tenant, email): (&TenantId, &str)) -> Result<(), ApiError> {
    if user::has_namesake(tx, tenant, email).await? {
        return Ok(());
    }
    guesses(app, email).forget(tx).await?;
    Ok(guesses_of_strangers(email).forget(tx).await?)
}

/// Checks a guess, if there were not too many wrong ones; `wrong` is the refusal of a wrong one.
pub(crate) async fn check<T>(
    app: &App,
    guesses: &Guesses,
    wrong: Code,
    check: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    begin(app, guesses).await?;
    let outcome = check.await;
    // One that was right, or whose outcome is unknown, does not count as wrong.
    let was_wrong = outcome.as_ref().err().is_some_and(|refusal| refusal.code() == wrong);
    guesses.end(app.db(), was_wrong, app.now()).await?;
    outcome
}

/// Waits for a place among the guesses that are being checked. Refuses when there were too many wrong ones.
async fn begin(app: &App, guesses: &Guesses) -> Result<(), ApiError> {
    for _ in 0..LOOKS {
        let now = app.clock().now();
        let guessed = guesses.count(app.db(), now).await?;
        if guesses.are_too_many(guessed.wrong) {
            return Err(ApiError::from(Code::TooManyAttempts).retry_after(now.seconds_until(guessed.ends_at)));
        }
        if !guesses.are_too_many(guessed.wrong + guessed.checking) && guesses.begin(app.db(), now).await? {
            return Ok(());
        }
        clock::sleep(LOOK).await;
    }
    Err(ApiError::from(Code::TooManyAttempts).retry_after(1))
}
