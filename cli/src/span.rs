//! How long something lasts, and when something is, as people write it: `30m`, `12h`, `1d12h`, a date, a time of RFC 3339.

use std::time::{SystemTime, UNIX_EPOCH};

use common::time::{MAX_DAYS, Timestamp};

use crate::{fail::Failure, show};

/// In what a route counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Unit {
    Seconds,
    Minutes,
    Hours,
    Days,
}

impl Unit {
    const fn seconds(self) -> i64 {
        match self {
            Self::Seconds => 1,
            Self::Minutes => 60,
            Self::Hours => 3_600,
            Self::Days => 86_400,
        }
    }

    const fn letter(self) -> char {
        match self {
            Self::Seconds => 's',
            Self::Minutes => 'm',
            Self::Hours => 'h',
            Self::Days => 'd',
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Minutes => "minutes",
            Self::Hours => "hours",
            Self::Days => "days",
        }
    }

    /// What a help shows: what can be typed, and what for null.
    pub(crate) fn forms(self, null: Option<&str>) -> String {
        let example = match self {
            Self::Seconds => "90s or 10m",
            Self::Minutes => "30m or 2h",
            Self::Hours => "12h or 7d",
            Self::Days => "30d or 2w, a date",
        };
        let number = format!("a number of {}", self.name());
        match null {
            Some(null) => format!("{example}, {number}, or {null}"),
            None => format!("{example}, or {number}"),
        }
    }
}

/// Now, by the clock of this machine.
pub(crate) fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "people count from now, by the clock of this machine")]
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_millis());
    Timestamp::from_millis(i64::try_from(passed).unwrap_or(i64::MAX))
}

/// How long it lasts in the unit of the route: a number of that unit, a duration, or the time until a moment. A moment may be missed by a
/// part of a unit, to the earlier side; a duration that is not whole is not guessed.
pub(crate) fn lasts(option: &str, text: &str, unit: Unit, null: Option<&str>, now: Timestamp) -> Result<i64, Failure> {
    let shown = show::line(text);
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let whole = |seconds: i64| seconds / unit.seconds();
    if let Some(seconds) = seconds(text) {
        if seconds % unit.seconds() == 0 {
            return Ok(whole(seconds));
        }
        let (below, letter) = (whole(seconds), unit.letter());
        let above = below.saturating_add(1);
        let write = if below == 0 { format!("{above}{letter}") } else { format!("{below}{letter} or {above}{letter}") };
        return Err(Failure::usage(format!(
            "{option} counts whole {}, and {shown} is no whole number of them.",
            unit.name()
        ))
        .fix(format!("Write {write}.")));
    }
    let Some(end) = moment(text) else { return Err(unknown(option, text, unit, null)) };
    let left = end.millis().saturating_sub(now.millis()) / 1000;
    match whole(left) {
        _ if left <= 0 => Err(Failure::usage(format!("{shown} has passed.")).fix("Write a time that is to come.")),
        0 => Err(Failure::usage(format!("{option} counts whole {}, and {shown} comes sooner.", unit.name()))
            .fix(format!("Write 1{}, or a later time.", unit.letter()))),
        whole => Ok(whole),
    }
}

/// How long a credential lives, as a field and its number: whole days, or seconds where it is no whole number of them.
pub(crate) fn life(
    option: &str,
    text: &str,
    null: Option<&str>,
    now: Timestamp,
) -> Result<(&'static str, i64), Failure> {
    let day = Unit::Days.seconds();
    // Refused here, before anybody is asked to approve a session for it.
    let out_of_range = || {
        let (shown, or) = (show::line(text), null.map(|word| format!(", or {word}")).unwrap_or_default());
        Err(Failure::usage(format!("{shown} is out of range for {option}."))
            .fix(format!("Write at least 1m and at most {MAX_DAYS}d{or}.")))
    };
    let until = || moment(text).map(|end| end.millis().saturating_sub(now.millis()) / 1000).filter(|left| *left < day);
    match seconds(text).or_else(until).filter(|seconds| *seconds > 0 && seconds % day != 0) {
        Some(0..60) => {
            let shown = show::line(text);
            Err(Failure::usage(format!("{shown} is less than a minute.")).fix("Write 1m or more."))
        }
        Some(seconds) if seconds > MAX_DAYS * day => out_of_range(),
        Some(seconds) => Ok(("expires_in", seconds)),
        None => match lasts(option, text, Unit::Days, null, now)? {
            days @ 1..=MAX_DAYS => Ok(("expires_in_days", days)),
            _ => out_of_range(),
        },
    }
}

/// When it is: a date, a time, or a duration, which is so long ago.
pub(crate) fn when(option: &str, text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    moment(text).or_else(|| seconds(text).map(|ago| now.plus_seconds(-ago))).ok_or_else(|| {
        Failure::usage(format!("{} is no time for {option}.", show::line(text))).fix(
            "Write it as a date such as 2026-12-31, as a time such as 2026-12-31T18:00:00Z, or as how long ago it is: 30m, 12h, 7d or 2w.",
        )
    })
}

fn unknown(option: &str, text: &str, unit: Unit, null: Option<&str>) -> Failure {
    let null = null.map(|null| format!(", or as {null}")).unwrap_or_default();
    Failure::usage(format!("{} is no time for {option}.", show::line(text))).fix(format!(
        "Write it as 30m, 12h, 7d or 2w, as a number of {}, as a date such as 2026-12-31, as a time such as 2026-12-31T18:00:00Z{null}.",
        unit.name()
    ))
}

/// A day that begins (in UTC), or a time of RFC 3339.
fn moment(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text).or_else(|| Timestamp::parse(&format!("{text}T00:00:00Z")))
}

/// The seconds of one or several numbers, each with its unit: `90s`, `30m`, `1d12h`.
pub(crate) fn seconds(text: &str) -> Option<i64> {
    let (mut rest, mut sum, mut before) = (text, 0_i64, i64::MAX);
    while !rest.is_empty() {
        let (number, from) = rest.split_at_checked(rest.find(|c: char| !c.is_ascii_digit())?)?;
        let letter = from.chars().next()?;
        let unit = match letter {
            'w' => 7 * Unit::Days.seconds(),
            letter => [Unit::Days, Unit::Hours, Unit::Minutes, Unit::Seconds]
                .into_iter()
                .find(|unit| unit.letter() == letter)?
                .seconds(),
        };
        // The larger unit first, each once: 30m5m is a slip.
        if unit >= before {
            return None;
        }
        sum = sum.checked_add(number.parse::<i64>().ok()?.checked_mul(unit)?)?;
        (before, rest) = (unit, from.get(1..)?);
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fail::Exit;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    /// R287: a duration is written as elsewhere; what is not whole in the unit of the route, or has passed, is told with what to write.
    #[test]
    fn a_duration_is_a_number_with_units_or_the_time_until_a_moment() {
        let now = at("2026-11-27T20:00:00Z");
        for (text, unit, number) in [
            ("30", Unit::Days, 30),
            ("-1", Unit::Days, -1),
            ("30d", Unit::Days, 30),
            ("2w", Unit::Days, 14),
            ("48h", Unit::Days, 2),
            ("1w1d", Unit::Days, 8),
            ("12h", Unit::Hours, 12),
            ("1d12h", Unit::Hours, 36),
            ("90m", Unit::Seconds, 5_400),
            ("90", Unit::Seconds, 90),
            ("2h", Unit::Minutes, 120),
            ("2026-12-31", Unit::Days, 33),
            ("2026-11-28T20:00:00+00:00", Unit::Days, 1),
            ("2026-11-27T23:00:00+01:00", Unit::Hours, 2),
        ] {
            assert_eq!(lasts("--ttl", text, unit, None, now).unwrap(), number, "{text}");
        }
        for (text, unit, says, fix) in [
            ("12h", Unit::Days, "--ttl counts whole days, and 12h is no", "Write 1d."),
            ("36h", Unit::Days, "and 36h is no whole number of them.", "Write 1d or 2d."),
            ("30s", Unit::Hours, "counts whole hours", "Write 1h."),
            ("2026-11-28", Unit::Days, "2026-11-28 comes sooner", "Write 1d, or a later time."),
            ("2026-11-27", Unit::Days, "2026-11-27 has passed.", "to come"),
            ("", Unit::Days, " is no time for --ttl.", "30m, 12h, 7d or 2w, as a number of days"),
            ("d", Unit::Days, "d is no time", "or as never."),
            ("1.5d", Unit::Days, "1.5d is no time", "or as never."),
            ("30m5m", Unit::Seconds, "30m5m is no time", "number of seconds"),
            ("5m1h", Unit::Seconds, "5m1h is no time", "number of seconds"),
            ("always", Unit::Days, "always is no time", "2026-12-31T18:00:00Z, or as never."),
            ("99999999999999999w", Unit::Days, "is no time", "30m"),
            ("ä", Unit::Days, "is no time", "30m"),
        ] {
            let failure = lasts("--ttl", text, unit, Some("never"), now).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{text}");
            assert!(failure.sentence.contains(says), "{failure:?}");
            assert!(failure.fix.as_deref().unwrap().contains(fix), "{failure:?}");
        }
    }

    /// R365, R452: a life of less than a day, or between days, is sent in seconds; one that no route takes is refused.
    #[test]
    fn a_life_is_days_or_seconds() {
        let now = at("2026-11-27T20:00:00Z");
        for (text, expected) in [
            ("30", ("expires_in_days", 30)),
            ("2w", ("expires_in_days", 14)),
            ("48h", ("expires_in_days", 2)),
            ("2026-12-31", ("expires_in_days", 33)),
            ("12h", ("expires_in", 43_200)),
            ("36h", ("expires_in", 129_600)),
            ("1m", ("expires_in", 60)),
            ("2026-11-28", ("expires_in", 14_400)),
            ("2026-11-27T21:00:00+00:00", ("expires_in", 3_600)),
        ] {
            assert_eq!(life("--ttl", text, None, now).unwrap(), expected, "{text}");
        }
        assert_eq!(life("--ttl", "3650d", None, now).unwrap(), ("expires_in_days", 3650));
        for (text, says) in [
            ("59s", "59s is less than a minute."),
            ("0", "0 is out of range for --ttl."),
            ("0d", "0d is out of range"),
            ("-1", "-1 is out of range"),
            ("3651d", "3651d is out of range"),
            ("9999-12-31", "9999-12-31 is out of range"),
            ("87601h", "87601h is out of range"),
            ("2026-11-27", "has passed"),
            ("always", "is no time for --ttl"),
        ] {
            let failure = life("--ttl", text, None, now).unwrap_err();
            assert!(failure.sentence.contains(says), "{failure:?}");
        }
    }

    /// R287: a moment is a date, a time, or so long ago.
    #[test]
    fn a_moment_is_a_date_a_time_or_so_long_ago() {
        let now = at("2026-11-27T20:00:00Z");
        for (text, moment) in [
            ("2026-11-22", "2026-11-22T00:00:00Z"),
            ("2026-11-22T02:38:46+01:00", "2026-11-22T01:38:46Z"),
            ("2h", "2026-11-27T18:00:00Z"),
            ("1w", "2026-11-20T20:00:00Z"),
        ] {
            assert_eq!(when("--since", text, now).unwrap(), at(moment), "{text}");
        }
        for text in ["", "5", "yesterday", "2026-02-30", "-2h"] {
            let failure = when("--since", text, now).unwrap_err();
            assert!(failure.fix.as_deref().unwrap().contains("30m, 12h, 7d or 2w"), "{failure:?}");
        }
    }
}
