//! Single characters: which are not seen, and which stand for others in codes that people type.

/// Choose among the looks of the character before them: of emoji, Mongolian letters, symbols.
pub(crate) fn selects(c: char) -> bool {
    matches!(c, '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}')
}

/// Control, bidirectional and zero-width characters, and all others that are shown as nothing (`Default_Ignorable_Code_Point`): they make a text
/// look like another.
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || selects(c)
        || matches!(c, '\u{34f}' | '\u{17b4}' | '\u{17b5}' | '\u{fff0}'..='\u{fff8}' | '\u{fffc}')
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// What stands for a hyphen in texts.
const HYPHENS: [char; 9] =
    ['-', '\u{2010}', '\u{2011}', '\u{2012}', '\u{2013}', '\u{2014}', '\u{2015}', '\u{2212}', '\u{ff0d}'];
/// The first of ten digits, or the first of the letters, on keyboards of other scripts: Arabic, Persian, Devanagari, Bengali and full width.
const FIRSTS: [(u32, u32, u32); 7] = [
    (0x660, 10, 0x30),
    (0x6f0, 10, 0x30),
    (0x966, 10, 0x30),
    (0x9e6, 10, 0x30),
    (0xff10, 10, 0x30),
    (0xff21, 26, 0x41),
    (0xff41, 26, 0x61),
];

/// The digit or the letter of ASCII that a character of a code stands for.
pub fn in_ascii(c: char) -> char {
    let code = u32::from(c);
    let range = FIRSTS.iter().find(|(first, count, _)| (*first..first + count).contains(&code));
    range.and_then(|(first, _, ascii)| char::from_u32(code - first + ascii)).unwrap_or(c)
}

/// Whether a character is none of a code, however that was typed, or copied out of a text: blanks, hyphens, and what is not seen.
pub fn is_filling(c: char) -> bool {
    c.is_whitespace() || is_unseen(c) || HYPHENS.contains(&c)
}
