//! Quotas of which four fifths are used: the person is told, or the admins if it is the tenant as a whole; once, and again when that comes about
//! again.

use service::app::App;
use store::{
    db::{DbError, Purpose},
    lease,
    usage::{self, News, Quotas},
};

const MIB: i64 = 1024 * 1024;

/// Tells of those that there are now, at most once a minute.
pub(crate) async fn tell(app: &App) -> Result<(), DbError> {
    let quotas = &app.settings().quotas;
    // Read first: mostly there are none, and then nothing waits for the lock.
    if !lease::take_minute(app.db(), "quotas", app.now()).await? || usage::news(app.db(), quotas).await?.is_empty() {
        return Ok(());
    }
    let tx = app.db().begin(Purpose::Entry).await?;
    for news in usage::news(&tx, quotas).await? {
        let (title, body) = words(&news, quotas);
        usage::tell(&tx, &news, app.chance(), (title, &body), app.now()).await?;
    }
    tx.commit().await
}

fn words(news: &News, quotas: &Quotas) -> (&'static str, String) {
    let (most, title, whose, next) = match news.user {
        Some(_) => (
            *quotas,
            "You have used most of a quota",
            "You have",
            "Archive agents that nobody needs, and delete guides and secrets that nobody needs. Or ask the operator to raise the variable quotas.",
        ),
        None => (
            quotas.of_tenant(),
            "Your tenant has used most of a quota",
            "All people of your tenant together have",
            "The command accredit admin usage says who stores the most. Or ask the operator to raise the variable quotas.",
        ),
    };
    let body = format!(
        "{whose} {} of {} agents, and store {} of {} MiB. When a quota is used up, what would store more is refused. {next}",
        news.usage.agents,
        most.agents,
        news.usage.bytes / MIB,
        most.bytes / MIB,
    );
    (title, body)
}

#[cfg(test)]
mod tests;
