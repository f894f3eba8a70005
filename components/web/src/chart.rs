//! What happened in the last hours, as a drawing.

use common::time::Timestamp;
use serde_json::Value as Json;

use crate::{
    api::Members,
    words::{self, Html},
};

/// Hours that are drawn: this one and those before it.
const HOURS: i64 = 24;
const HOUR: i64 = 3_600_000;
/// The room for the bars, in the units of the drawing.
const LEFT: f64 = 28.0;
const TOP: f64 = 8.0;
const WIDTH: f64 = 292.0;
/// Half of the room of an hour's label.
const LABEL: f64 = 16.0;
const HEIGHT: f64 = 76.0;

/// Changes and refusals of each hour, with their sums.
pub(crate) struct Chart {
    pub(crate) drawing: Html,
    pub(crate) done: i64,
    pub(crate) refused: i64,
}

impl Chart {
    /// Draws the hours of an overview.
    pub(crate) fn of(hours: &[Json], now: Timestamp) -> Self {
        let this_hour = now.millis().div_euclid(HOUR);
        let mut bars: Vec<(i64, i64, i64)> = (this_hour - HOURS + 1..=this_hour).map(|hour| (hour, 0, 0)).collect();
        for hour in hours {
            let at = Timestamp::parse(hour.text("at")).map(|at| at.millis().div_euclid(HOUR));
            if let Some(bar) = bars.iter_mut().find(|bar| Some(bar.0) == at) {
                (bar.1, bar.2) = (hour.number("done"), hour.number("refused"));
            }
        }
        let (done, refused) = (bars.iter().map(|bar| bar.1).sum(), bars.iter().map(|bar| bar.2).sum());
        Self { drawing: draw(&bars, (done, refused)), done, refused }
    }
}

/// The next number from this one on that is easy to read, and whose half is too: 2, 4 or 10 and zeros.
fn round_up(most: i64) -> i64 {
    let mut step = 1;
    loop {
        for factor in [2, 4, 10] {
            if step * factor >= most || step > i64::MAX / 100 {
                return step * factor;
            }
        }
        step *= 10;
    }
}

/// A number of the axis, for which there are three characters.
fn short(number: i64) -> String {
    match number {
        ..1_000 => number.to_string(),
        1_000..1_000_000 => format!("{}k", number / 1_000),
        _ => format!("{}M", number / 1_000_000),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a drawing is not exact")]
fn draw(bars: &[(i64, i64, i64)], (done, refused): (i64, i64)) -> Html {
    let most = round_up(bars.iter().map(|bar| bar.1.saturating_add(bar.2)).max().unwrap_or_default().max(4));
    let scale = |number: i64| number as f64 / most as f64 * HEIGHT;
    let (bottom, step) = (TOP + HEIGHT, WIDTH / HOURS as f64);
    let mut svg = format!(
        "<svg class=\"chart\" viewBox=\"0 0 320 100\" role=\"img\" aria-label=\"{} and {} in the last 24 hours\">",
        words::count(usize::try_from(done).unwrap_or_default(), "change"),
        words::count(usize::try_from(refused).unwrap_or_default(), "refusal"),
    );
    for (share, label) in [(0.0, 0), (0.5, most / 2), (1.0, most)] {
        let y = bottom - share * HEIGHT;
        svg.push_str(&format!(
            "<line x1=\"{LEFT}\" x2=\"320\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            y + 3.5,
            short(label)
        ));
    }
    for (at, (hour, done, refused)) in bars.iter().enumerate() {
        let (x, of_day) = (LEFT + at as f64 * step, hour.rem_euclid(24));
        if of_day % 6 == 0 {
            // In the middle below its bar, and within the drawing.
            let middle = (x + step / 2.0).clamp(LEFT, 320.0 - LABEL);
            svg.push_str(&format!("<text x=\"{middle:.1}\" y=\"98\" text-anchor=\"middle\">{of_day:02}:00</text>"));
        }
        if done + refused == 0 {
            continue;
        }
        // What is there can be seen, however little it is.
        let (high, red) = (
            scale(*done).max(if *done > 0 { 1.5 } else { 0.0 }),
            scale(*refused).max(if *refused > 0 { 1.5 } else { 0.0 }),
        );
        svg.push_str(&format!("<g><title>{of_day:02}:00 UTC: {done} done, {refused} refused</title>"));
        for (class, y, height) in [("allowed", bottom - high, high), ("refused", bottom - high - red, red)] {
            if height > 0.0 {
                svg.push_str(&format!(
                    "<rect class=\"{class}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\" rx=\"1\"/>",
                    x + 1.0,
                    step - 2.0
                ));
            }
        }
        svg.push_str("</g>");
    }
    svg.push_str("</svg>");
    words::written(svg)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_hour_is_a_bar_of_its_height() {
        let now = Timestamp::parse("2026-11-26T19:30:00Z").unwrap();
        let hours = [
            json!({ "at": "2026-11-26T18:00:00.000Z", "done": 10, "refused": 0 }),
            json!({ "at": "2026-11-26T19:00:00.000Z", "done": 5, "refused": 5 }),
            // Not of these hours.
            json!({ "at": "2026-11-25T19:00:00.000Z", "done": 500, "refused": 0 }),
        ];
        let chart = Chart::of(&hours, now);
        assert_eq!((chart.done, chart.refused), (15, 5));
        let svg = chart.drawing.to_string();
        assert!(svg.contains("15 changes and 5 refusals in the last 24 hours"), "{svg}");
        assert!(svg.contains("18:00 UTC: 10 done, 0 refused") && svg.contains("height=\"76.0\""), "{svg}");
        assert_eq!(svg.matches("height=\"38.0\"").count(), 2, "{svg}");
        assert_eq!(svg.matches("<rect").count(), 3);
    }

    /// R189: the label of the last hour is whole.
    #[test]
    fn no_label_is_cut() {
        for hour in 0..24 {
            let svg = Chart::of(&[], Timestamp::from_millis(hour * HOUR)).drawing.to_string();
            let labels = svg.split("<text x=\"").skip(1).filter(|label| label.contains(":00</text>"));
            let places: Vec<f64> = labels.map(|label| label.split('"').next().unwrap().parse().unwrap()).collect();
            assert_eq!(places.len(), 4, "{svg}");
            assert!(places.iter().all(|place| (LABEL..=320.0 - LABEL).contains(place)), "{places:?}");
        }
    }

    /// R360: each label of the axis fits, and says what its line stands for.
    #[test]
    fn the_axis_is_labelled_as_it_is() {
        assert_eq!([0, 500, 1_000, 20_000, 400_000, 2_000_000].map(short), ["0", "500", "1k", "20k", "400k", "2M"]);
        for most in [1, 5, 999, 1_001, 4_999, 900_000] {
            let most = round_up(most);
            assert!(most % 2 == 0 && (most < 2_000 || (most / 2) % 1_000 == 0), "{most}");
        }
    }

    #[test]
    fn a_day_without_anything_is_an_empty_drawing() {
        let chart = Chart::of(&[], Timestamp::from_millis(0));
        assert!(!chart.drawing.to_string().contains("<rect"));
        assert_eq!([3, 4, 5, 11, 50, 101, 999].map(round_up), [4, 4, 10, 20, 100, 200, 1000]);
    }
}
