//! Points in time and lifetimes.

use serde::{Serialize, Serializer};
use time::OffsetDateTime;

/// Milliseconds since 1970-01-01T00:00:00Z. What is stored and what is answered are the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// This moment and `seconds` more (fewer, when negative); stays at the ends of the range.
    #[must_use]
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1000)))
    }

    /// The time so many milliseconds later.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Whole seconds from `self` until `later`, rounded up; 0 when `later` is not later.
    pub const fn seconds_until(self, later: Self) -> i64 {
        let millis = later.0.saturating_sub(self.0);
        if millis <= 0 { 0 } else { (millis.saturating_add(999)) / 1000 }
    }

    /// The start of the minute that this moment lies in.
    #[must_use]
    pub const fn minute(self) -> Self {
        Self(self.0 - self.0.rem_euclid(60_000))
    }
}

impl Timestamp {
    /// Reads a time of RFC 3339, with or without a fraction of a second, in UTC (`Z`) or with an offset. A blank stands for the plus of an
    /// offset, since that is what an unescaped one in a query becomes.
    pub fn parse(text: &str) -> Option<Self> {
        let (local, offset) = match text.strip_suffix(['Z', 'z']) {
            Some(local) => (local, 0),
            None => {
                let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
                (local, offset_seconds(offset)?)
            }
        };
        let (date, time) = local.split_once(['T', 't'])?;
        let digits = |text: &str, length: usize| {
            (text.len() == length && text.bytes().all(|b| b.is_ascii_digit()))
                .then(|| text.parse::<u16>().ok())
                .flatten()
        };
        let mut date = date.split('-');
        let (year, month, day) = (digits(date.next()?, 4)?, digits(date.next()?, 2)?, digits(date.next()?, 2)?);
        let has_seconds = time.len() != "00:00".len();
        let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
        if date.next().is_some() || !(1..=9).contains(&fraction.len()) || !fraction.bytes().all(|b| b.is_ascii_digit())
        {
            return None;
        }
        let mut time = time.split(':');
        let (hour, minute) = (digits(time.next()?, 2)?, digits(time.next()?, 2)?);
        // Java leaves out seconds that are 0.
        let second = if has_seconds { digits(time.next()?, 2)? } else { 0 };
        if time.next().is_some() {
            return None;
        }
        let small = |number: u16| u8::try_from(number).ok();
        let month = time::Month::try_from(small(month)?).ok()?;
        let day = time::Date::from_calendar_date(year.into(), month, small(day)?).ok()?;
        let at = day.with_hms(small(hour)?, small(minute)?, small(second)?).ok()?.assume_utc();
        let millis: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
        Some(Self((at.unix_timestamp() - offset) * 1000 + millis))
    }

    /// RFC 3339 in UTC with milliseconds; always 24 characters, so text order is time order. Outside of the years 0 to 9999
    /// there is no such form; such a value can only be a forged row, and is written as the last moment.
    ///
    /// The calendar is the library's; its formatter, which can do far more, weighs 50 KB in every component.
    fn rfc_3339(self) -> [u8; 24] {
        let mut text = *b"9999-12-31T23:59:59.999Z";
        let at = OffsetDateTime::from_unix_timestamp(self.0.div_euclid(1000)).ok();
        let Some((at, year)) = at.and_then(|at| Some((at, u16::try_from(at.year()).ok()?))) else { return text };
        let millis = u16::try_from(self.0.rem_euclid(1000)).unwrap_or(0);
        let two = |number: u8| (u16::from(number), 2);
        let numbers = [
            (year, 4),
            two(at.month().into()),
            two(at.day()),
            two(at.hour()),
            two(at.minute()),
            two(at.second()),
            (millis, 3),
        ];
        let mut places = text.iter_mut().filter(|place| place.is_ascii_digit());
        for (number, digits) in numbers {
            for power in (0..digits).rev() {
                let digit = (number / 10_u16.pow(power)) % 10;
                if let Some(place) = places.next() {
                    *place = b'0' + u8::try_from(digit).unwrap_or(0);
                }
            }
        }
        text
    }
}

/// `+01:30` in seconds.
fn offset_seconds(text: &str) -> Option<i64> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+" | " ", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let number = |text: &str, most: i64| {
        let is_digits = text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<i64>().ok().filter(|number| is_digits && *number <= most)
    };
    let (hours, minutes) = rest.split_once(':')?;
    Some(sign * (number(hours, 23)? * 3600 + number(minutes, 59)? * 60))
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::str::from_utf8(&self.rfc_3339()).unwrap_or_default())
    }
}

impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.rfc_3339()).unwrap_or_default())
    }
}

/// The longest life that can be asked for, in days; longer is only "never".
pub const MAX_DAYS: i64 = 3650;
const DAY: i64 = 86_400;

/// How long a credential is to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// A minute to [`MAX_DAYS`] days, in seconds.
    Seconds(i64),
    /// No end: stored as NULL, never as a far-away date.
    Never,
}

impl Lifetime {
    /// A number of whole days.
    pub const fn days(days: i64) -> Self {
        Self::Seconds(days.saturating_mul(DAY))
    }

    /// Reads `expires_in_days`; `None` stands for JSON's null, which means never. `Err` holds the number that is out of range.
    pub fn parse_days(days: Option<i64>) -> Result<Self, i64> {
        match days {
            None => Ok(Self::Never),
            Some(days) if (1..=MAX_DAYS).contains(&days) => Ok(Self::days(days)),
            Some(days) => Err(days),
        }
    }

    /// Reads `expires_in`, seconds. `Err` holds the number that is out of range.
    pub fn parse_seconds(seconds: i64) -> Result<Self, i64> {
        if (60..=MAX_DAYS * DAY).contains(&seconds) { Ok(Self::Seconds(seconds)) } else { Err(seconds) }
    }

    /// When a life that starts at `now` ends; `None` is never.
    pub fn ending(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Seconds(seconds) => Some(now.plus_seconds(seconds)),
            Self::Never => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_is_written_in_rfc_3339_with_milliseconds() {
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_millis(1_795_315_126_123).to_string(), "2026-11-22T02:38:46.123Z");
        assert_eq!(Timestamp::from_millis(-1).to_string(), "1969-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::from_millis(951_782_400_007).to_string(), "2000-02-29T00:00:00.007Z");
    }

    #[test]
    fn what_is_written_is_read() {
        for text in ["1970-01-01T00:00:00.000Z", "2026-11-22T02:38:46.123Z", "2000-02-29T23:59:59.999Z"] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Timestamp::parse("2026-01-31T00:00:00Z"), Timestamp::parse("2026-01-31t00:00:00.0z"));
        for (text, utc) in [
            // R750
            ("2026-01-31T00:30Z", "2026-01-31T00:30:00.000Z"),
            ("2026-01-31T00:30+01:00", "2026-01-30T23:30:00.000Z"),
            ("2026-01-31T00:00:00+00:00", "2026-01-31T00:00:00.000Z"),
            ("2026-01-31T00:30:00.5+01:00", "2026-01-30T23:30:00.500Z"),
            ("2026-01-31T00:30:00 01:00", "2026-01-30T23:30:00.000Z"),
            ("2026-12-31T23:00:00-03:30", "2027-01-01T02:30:00.000Z"),
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), utc, "{text}");
        }
        for bad in [
            "",
            "2026-01-31",
            "2026-02-30T00:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T00:00:00",
            "2026-01-31T00:00:00+0100",
            "2026-01-31T00:00:00+24:00",
            "2026-01-31T00:00:00+01:60",
            "2026-01-31T00:00:00*01:00",
            "2026-01-31T00:00:00+1:000",
            "+01:00",
            "\u{e9}01:00",
            "26-1-1T0:0:0Z",
            "2026-01-31T00:00:00.Z",
            "2026-01-31T00:00.5Z",
            "2026-01-31T00:0Z",
            "2026-01-31T00Z",
            "2026-01-31T00.00Z",
            "+026-01-31T00:00:00Z",
        ] {
            assert_eq!(Timestamp::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_timestamp_outside_of_the_calendar_is_no_crash() {
        assert_eq!(Timestamp::from_millis(i64::MAX).to_string().len(), 24);
        assert_eq!(Timestamp::from_millis(i64::MIN).to_string().len(), 24);
    }

    /// R10: "never" is never, and what is out of range is refused.
    #[test]
    fn a_lifetime_is_a_minute_to_3650_days_or_never() {
        assert_eq!(Lifetime::parse_days(None), Ok(Lifetime::Never));
        assert_eq!(Lifetime::Never.ending(Timestamp::from_millis(5)), None);
        assert_eq!(Lifetime::parse_days(Some(1)), Ok(Lifetime::Seconds(86_400)));
        for bad in [0, -1, 3651, i64::MAX, i64::MIN] {
            assert_eq!(Lifetime::parse_days(Some(bad)), Err(bad));
        }
        for good in [60, 3_601, 315_360_000] {
            assert_eq!(Lifetime::parse_seconds(good), Ok(Lifetime::Seconds(good)));
        }
        for bad in [0, -1, 59, 315_360_001, i64::MAX, i64::MIN] {
            assert_eq!(Lifetime::parse_seconds(bad), Err(bad));
        }
    }

    #[test]
    fn seconds_until_rounds_up_and_never_below_zero() {
        let at = Timestamp::from_millis(10_000);
        assert_eq!(at.seconds_until(Timestamp::from_millis(10_001)), 1);
        assert_eq!(at.seconds_until(Timestamp::from_millis(9_000)), 0);
    }
}
