//! How often something may be asked for: what has no caller that could be counted by what it stores.

use common::{error::ApiError, secret::Digest};
use store::attempt;

use crate::app::App;

/// Counts one more of what `parts` name, of which `most` may come in a window of `seconds`. Beyond that it is `refusal`, with the time to
/// wait.
pub async fn count(
    app: &App,
    parts: &[&str],
    (most, seconds): (i64, i64),
    refusal: impl Into<ApiError>,
) -> Result<(), ApiError> {
    let tries = attempt::count(app.db(), &Digest::of_parts(parts), most, app.now(), seconds).await?;
    if tries.count > most {
        return Err(refusal.into().retry_after(app.now().seconds_until(tries.ends_at)));
    }
    Ok(())
}
