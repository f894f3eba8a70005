//! QR codes as inline SVG: one path of dark runs, in the page's own colours reversed, so that every scanner sees dark on light.

use qrcodegen::{QrCode, QrCodeEcc};

use crate::words::{Html, escape, written};

/// The quiet zone around the code, modules (ISO/IEC 18004, section 9.1).
const BORDER: i32 = 4;

/// A text as a QR code. `None`: it is too long for one.
pub(crate) fn svg(text: &str, title: &str) -> Option<Html> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let size = code.size();
    let mut path = String::new();
    for y in 0..size {
        let mut x = 0;
        while x < size {
            let run = (x..size).take_while(|x| code.get_module(*x, y)).count();
            let run = i32::try_from(run).unwrap_or_default();
            if run > 0 {
                path.push_str(&format!("M{} {}h{run}v1h-{run}z", x + BORDER, y + BORDER));
            }
            x += run.max(1);
        }
    }
    let side = size + 2 * BORDER;
    Some(written(format!(
        "<svg class=\"qr\" viewBox=\"0 0 {side} {side}\" role=\"img\" aria-label=\"{}\" shape-rendering=\"crispEdges\"><path d=\"{path}\"/></svg>",
        escape(title)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dark_module_is_in_the_path() {
        let text = "otpauth://totp/Accredit%20main:ada%40example%2Ecom?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        let code = QrCode::encode_text(text, QrCodeEcc::Medium).unwrap();
        let dark: i32 = (0..code.size())
            .flat_map(|y| (0..code.size()).map(move |x| (x, y)))
            .map(|(x, y)| i32::from(code.get_module(x, y)))
            .sum();
        let svg = svg(text, "a \"title\"").unwrap().to_string();
        let drawn: i32 = svg.split('h').skip(1).filter_map(|run| run.split('v').next()?.parse::<i32>().ok()).sum();
        assert_eq!(drawn, dark);
        assert!(svg.contains("aria-label=\"a &quot;title&quot;\"") && !svg.contains("style="), "{svg}");
    }

    #[test]
    fn a_text_that_is_too_long_has_no_code() {
        assert!(svg(&"x".repeat(5_000), "").is_none());
    }
}
