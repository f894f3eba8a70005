//! What a person sees. Texts of the server are cleaned of what could control a terminal; a pipe gets neither colours nor a spinner, and a
//! terminal no line that is wider than it.

use std::{
    io::{BufRead, ErrorKind, IsTerminal as _, Write as _},
    time::Duration,
};

use anstyle::{AnsiColor, Effects, Style};
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use common::{
    json::{escaped, to_text},
    text::seen,
};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value as Json};

use crate::{
    again,
    fail::{Exit, Failure, of_file},
    hidden,
};

const BOLD: Style = Style::new().effects(Effects::BOLD);
const BAD: Style = AnsiColor::Red.on_default().effects(Effects::BOLD);
const WAIT: Style = AnsiColor::Yellow.on_default().effects(Effects::BOLD);

/// Scopes of a list that a table shows.
const MOST_WORDS: usize = 3;
/// Blanks between two columns.
const GAP: u16 = 2;
/// The narrowest terminal that is laid out for.
const NARROWEST: u16 = 24;

/// A text in one line, without characters that cannot be seen.
pub(crate) fn line(text: &str) -> String {
    let shown =
        |(c, is_seen): (char, bool)| if matches!(c, '\n' | '\r' | '\t') { Some(' ') } else { is_seen.then_some(c) };
    seen(text).filter_map(shown).collect()
}

/// The same for a text that may have several lines.
pub(crate) fn prose(text: &str) -> String {
    seen(text).filter(|(c, is_seen)| *c == '\n' || *is_seen).map(|(c, _)| c).collect()
}

/// Writes a line to standard output.
pub(crate) fn out(text: &str) {
    let mut stdout = anstream::stdout();
    written(writeln!(stdout, "{text}").and_then(|()| stdout.flush()));
}

/// Writes a line that is shown this once: whoever runs the command is told what becomes of it if it is lost, also where the reader is gone.
pub(crate) fn once(text: &str) -> std::io::Result<()> {
    let mut stdout = anstream::stdout();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush())
}

/// Writes a line of JSON: the same as the server's, in which no text of others controls a terminal.
pub(crate) fn json(json: &Json) {
    out(&escaped(&to_text(json)));
}

/// Ends the command where its output cannot be written: half of it must not look like all. A reader that is gone has what it wanted.
fn written(result: std::io::Result<()>) {
    match result {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            say(&format!("{BAD}error:{BAD:#} standard output: {error}"));
            std::process::exit(Exit::Refused as i32);
        }
    }
}

/// Writes as it comes, without a line end of its own.
pub(crate) fn raw(text: &str) {
    let mut stdout = std::io::stdout().lock();
    written(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
}

/// Writes a line beside the output.
pub(crate) fn say(text: &str) {
    drop(writeln!(anstream::stderr(), "{text}"));
}

/// Warns.
pub(crate) fn warn(text: &str) {
    say(&format!("{WAIT}warning:{WAIT:#} {text}"));
}

/// Warns of what is wrong, and does not stop the command.
pub(crate) fn warning(failure: &Failure) {
    warn(&failure.sentence);
    if let Some(fix) = &failure.fix {
        say(&format!("{BOLD}fix:{BOLD:#} {}", again::told(fix)));
    }
}

/// Says why the command did not do its work.
pub(crate) fn failure(failure: &Failure) {
    say(&format!("{BAD}error:{BAD:#} {}", failure.sentence));
    for line in &failure.lines {
        say(&format!("  {line}"));
    }
    for (name, value) in
        [("fix", &failure.fix), ("ask", &failure.ask), ("page", &failure.page), ("request", &failure.request)]
    {
        if let Some(value) = value {
            say(&format!("{BOLD}{name}:{BOLD:#} {}", again::told(value)));
        }
    }
}

/// Characters in a line of the output: those of the terminal, or of `COLUMNS`, where 0 says nothing. A pipe has no limit.
fn width() -> Option<u16> {
    let asked = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0);
    let of_terminal = || {
        let terminal = console::Term::stdout();
        terminal.is_term().then(|| terminal.size().1)
    };
    asked.or_else(of_terminal).map(|width| width.max(NARROWEST))
}

/// A member by its dotted name, or the first of several that is there: `agent.name|email`.
fn member<'j>(json: &'j Json, names: &str) -> &'j Json {
    let of = |name: &str| name.split('.').try_fold(json, |json, part| json.get(part)).filter(|json| !json.is_null());
    names.split('|').find_map(of).unwrap_or(&Json::Null)
}

/// A value in few words.
fn short(value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::Bool(true) => "yes".to_owned(),
        Json::Bool(false) => "no".to_owned(),
        Json::Number(number) => number.to_string(),
        Json::String(text) => moment(text).unwrap_or_else(|| line(text)),
        Json::Array(list) if list.is_empty() => "-".to_owned(),
        Json::Array(list) => list.iter().map(item).collect::<Vec<_>>().join(" "),
        Json::Object(members) if members.is_empty() => "-".to_owned(),
        Json::Object(members) => match name_of(members) {
            Some(name) => line(name),
            None => members
                .iter()
                .map(|(name, value)| format!("{}={}", line(name), short(value)))
                .collect::<Vec<_>>()
                .join(" "),
        },
    }
}

/// An item of a list: the versions of something have one name, and are told apart by their numbers.
fn item(value: &Json) -> String {
    value.get("version").filter(|version| version.is_number()).map_or_else(|| short(value), Json::to_string)
}

/// What people call an object that has a name.
fn name_of(members: &Map<String, Json>) -> Option<&str> {
    ["name", "email"].iter().find_map(|name| members.get(*name)?.as_str())
}

fn is_named(members: &Map<String, Json>) -> bool {
    name_of(members).is_some()
}

/// A list that says how much it leaves out.
fn shorter(value: &Json) -> String {
    match value.as_array() {
        Some(list) if list.len() > MOST_WORDS => {
            let first: Vec<String> = list.iter().take(MOST_WORDS).map(short).collect();
            format!("{} +{}", first.join(" "), list.len() - MOST_WORDS)
        }
        _ => short(value),
    }
}

/// `2026-11-26T17:16:57.688Z` without what nobody reads in a table.
fn moment(text: &str) -> Option<String> {
    common::time::Timestamp::parse(text)?;
    text.get(..16).map(|minute| minute.replace('T', " "))
}

/// A table of rows: headings and members. Where the words of a row have no room beside each other, each row is a block of lines: an id that
/// is broken in two can be neither read nor copied.
pub(crate) fn table(rows: &[Json], columns: &[(&str, &str)]) -> String {
    Columns::default().page(rows, columns)
}

/// The columns of a table that comes in pages: a page is as wide as those before it, and only the first has headings.
#[derive(Default)]
pub(crate) struct Columns {
    /// Of each column, the longest word and the longest cell so far.
    widths: Vec<(u16, u16)>,
}

impl Columns {
    /// The text of one more page.
    pub(crate) fn page(&mut self, rows: &[Json], columns: &[(&str, &str)]) -> String {
        let headings: Vec<&str> = columns.iter().map(|(heading, _)| *heading).collect();
        let cells: Vec<Vec<String>> =
            rows.iter().map(|row| columns.iter().map(|(_, name)| shorter(member(row, name))).collect()).collect();
        self.laid_out_for(&headings, &cells, width())
    }

    fn laid_out_for(&mut self, headings: &[&str], cells: &[Vec<String>], width: Option<u16>) -> String {
        let is_first = self.widths.is_empty();
        self.widths.resize(headings.len(), (0, 0));
        // A letter can be two cells wide.
        let count = |text: &str| u16::try_from(console::measure_text_width(text)).unwrap_or(u16::MAX);
        let longest = |text: &str| text.split(' ').map(count).max().unwrap_or(0);
        for (at, (words, cell)) in self.widths.iter_mut().enumerate() {
            let texts = cells.iter().filter_map(|row| row.get(at)).map(String::as_str);
            for text in texts.chain(headings.get(at).copied()) {
                *words = longest(text).max(*words);
                *cell = count(text).max(*cell);
            }
        }
        let has_room = |of: fn(&(u16, u16)) -> u16| {
            let needed: usize = self.widths.iter().map(|widths| usize::from(of(widths)) + usize::from(GAP)).sum();
            width.is_none_or(|width| needed <= usize::from(width + GAP))
        };
        if !has_room(|(words, _)| *words) {
            let block = |row: &Vec<String>| {
                let lines = headings.iter().zip(row).map(|(heading, cell)| [(*heading).to_owned(), cell.clone()]);
                pairs(lines.collect(), width)
            };
            let blocks = cells.iter().map(block).collect::<Vec<_>>().join("\n\n");
            return if is_first { blocks } else { format!("\n{blocks}") };
        }
        let is_wide = has_room(|(_, cell)| *cell);
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if is_first {
            table.set_header(headings.to_vec());
        }
        for row in cells {
            table.add_row(row);
        }
        let last = self.widths.len().saturating_sub(1);
        for (at, (column, (words, cell))) in table.column_iter_mut().zip(&self.widths).enumerate() {
            let gap = if at == last { 0 } else { GAP };
            let least = if is_wide { *cell } else { *words };
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least.saturating_add(gap))));
        }
        laid_out(table, width)
    }
}

/// Each member of an object in a line, and each member of a member: `token.prefix`.
pub(crate) fn facts(json: &Json, without: &[&str]) -> String {
    let mut lines = Vec::new();
    for (name, value) in json.as_object().into_iter().flatten() {
        if without.contains(&name.as_str()) || value.is_null() {
            continue;
        }
        match value.as_object().filter(|members| !members.is_empty() && !is_named(members) && name != "labels") {
            None => lines.push([line(name), short(value)]),
            Some(members) => {
                let present = members.iter().filter(|(_, value)| !value.is_null());
                lines.extend(present.map(|(below, value)| [format!("{}.{}", line(name), line(below)), short(value)]));
            }
        }
    }
    pairs(lines, width())
}

/// Names, and what stands beside them.
fn pairs(lines: Vec<[String; 2]>, width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for line in lines {
        table.add_row(line);
    }
    laid_out(table, width)
}

/// The text of a table: blanks between columns, and none at the ends of lines.
fn laid_out(mut table: Table, width: Option<u16>) -> String {
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    let last = table.column_count().saturating_sub(1);
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if at == last { 0 } else { GAP }));
    }
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// A question that is answered by yes or no. `None`: there is nobody who could answer.
pub(crate) fn ask(question: &str) -> Option<bool> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    drop(write!(anstream::stderr(), "{question} [y/N] "));
    let mut answer = String::new();
    // Its end is no answer, and has no line end of its own.
    if std::io::stdin().read_line(&mut answer).ok()? == 0 {
        say("");
    }
    Some(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// A secret: asked for without an echo, or the next line of standard input.
pub(crate) fn secret(what: &str) -> Result<String, Failure> {
    asked(what, |stdin| {
        let mut line = String::new();
        stdin.read_line(&mut line)?;
        Ok(unmarked(line.trim_end_matches(['\n', '\r'])).to_owned())
    })
}

/// A text without the mark that some programs put before it (a byte order mark), and that belongs to no text.
pub(crate) fn unmarked(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// A secret that may have several lines: asked for as one, or all of standard input.
pub(crate) fn secret_text(what: &str) -> Result<String, Failure> {
    asked(what, all_of)
}

/// All that there is to read. Of one line, without its end; of several, as they are: a key without its last line end is refused by
/// programs that read it.
fn all_of(from: &mut dyn BufRead) -> std::io::Result<String> {
    let mut text = String::new();
    from.read_to_string(&mut text)?;
    let one = text.strip_suffix('\n').filter(|line| !line.contains('\n'));
    let end = one.map_or(text.len(), |line| line.strip_suffix('\r').unwrap_or(line).len());
    text.truncate(end);
    Ok(text)
}

/// Asks in a terminal without an echo, or reads standard input.
fn asked(what: &str, read: fn(&mut dyn BufRead) -> std::io::Result<String>) -> Result<String, Failure> {
    if std::io::stdin().is_terminal() {
        return hidden::ask(what);
    }
    let text = read(&mut std::io::stdin().lock()).map_err(of_file("standard input"))?;
    if text.is_empty() {
        return Err(Failure::usage(format!("Standard input has no line for: {what}."))
            .fix("Give it as a line of standard input, or run this in a terminal, which asks for it."));
    }
    Ok(text)
}

/// A spinner beside the output, while something takes long. Where standard error is no terminal, nothing is drawn, so the text is said once.
pub(crate) fn spinner(text: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        say(&format!("{text}."));
    }
    let spinner = ProgressBar::new_spinner().with_message(text.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// A bar for a download of this many bytes.
pub(crate) fn bar(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}");
    let bar = ProgressBar::new(bytes);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

#[cfg(test)]
mod tests {
    use common::text::is_unseen;
    use serde_json::json;

    use super::*;

    /// R513: an emoji is one picture, and words are as they were written.
    #[test]
    fn what_joins_stays_where_it_belongs() {
        for text in
            ["dev \u{1f469}\u{200d}\u{1f4bb}", "\u{645}\u{6cc}\u{200c}\u{62e}", "\u{1f3f3}\u{fe0f}\u{200d}\u{1f308}"]
        {
            assert_eq!((line(text), prose(text)), (text.to_owned(), text.to_owned()));
        }
        assert_eq!(line("a\u{200d}b \u{1f469}\u{202e}\u{200d}"), "ab \u{1f469}");
    }

    /// R30: nothing that a server sends controls the terminal.
    #[test]
    fn a_text_cannot_control_the_terminal() {
        let hostile = "a\u{1b}[31mred\u{7}\u{202e}b\r\nc\u{9b}2J";
        assert_eq!(line(hostile), "a[31mredb  c2J");
        assert_eq!(prose(hostile), "a[31mredb\nc2J");
        let shown = table(
            &[json!({ "name": hostile, "list": [hostile], "object": { hostile: hostile } })],
            &[("N", "name"), ("L", "list"), ("O", "object")],
        );
        assert!(!shown.chars().any(|c| is_unseen(c) && c != '\n'), "{shown:?}");
    }

    /// R209: what has room is a table, in which no word is broken; what has none is a block for each row.
    #[test]
    fn a_word_is_never_broken_in_a_table() {
        let id = "key_01m8dwhk0g6ww26xz0ep8paevh";
        let row =
            |name: &str| vec![name.to_owned(), "internal".to_owned(), "2026-11-27 06:54".to_owned(), id.to_owned()];
        let headings = ["NAME", "TYPE", "USED", "ID"];
        for (width, is_table) in
            [(None, true), (Some(80), true), (Some(60), true), (Some(56), false), (Some(40), false)]
        {
            let text = Columns::default().laid_out_for(&headings, &[row("ci"), row("build")], width);
            assert_eq!(text.starts_with("NAME   TYPE"), is_table, "{width:?}\n{text}");
            assert_eq!(text.matches(id).count(), 2, "{width:?}\n{text}");
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(width.is_none_or(|width| widest <= usize::from(width)), "{width:?}\n{text}");
            assert_eq!(text.contains("\n\n"), !is_table, "{text}");
        }
    }

    /// R286: the pages of a long table stand below each other, with one line of headings.
    #[test]
    fn pages_of_a_table_stand_below_each_other() {
        let row = |name: &str, state: &str| vec![name.to_owned(), state.to_owned(), "ada".to_owned()];
        let headings = ["NAME", "STATE", "OWNER"];
        for width in [None, Some(60)] {
            let mut table = Columns::default();
            let first = table.laid_out_for(&headings, &[row("a-long-name", "running")], width);
            let second = table.laid_out_for(&headings, &[row("b", "paused")], width);
            assert_eq!(first, "NAME         STATE    OWNER\na-long-name  running  ada", "{width:?}");
            assert_eq!(second, "b            paused   ada", "{width:?}");
        }
        let mut narrow = Columns::default();
        let first = narrow.laid_out_for(&headings, &[row("a-very-long-name-of-one", "running")], Some(24));
        let second = narrow.laid_out_for(&headings, &[row("b", "paused")], Some(24));
        assert!(first.starts_with("NAME") && second.starts_with("\nNAME"), "{first}\n{second}");
    }

    #[test]
    fn an_object_within_has_a_line_for_each_member() {
        let json = json!({ "name": "scout", "labels": { "a": "b" }, "owner": { "id": "x", "email": "ada@example.com" },
            "token": { "id": "tok_1", "expires_at": null, "scope": ["a", "b"] }, "none": null });
        let text = facts(&json, &[]);
        let shown: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            shown,
            [
                vec!["name", "scout"],
                vec!["labels", "a=b"],
                vec!["owner", "ada@example.com"],
                vec!["token.id", "tok_1"],
                vec!["token.scope", "a", "b"],
            ]
        );
    }

    /// R106, R433: of a private key nothing is lost, also not the end of its last line; of one line the end that an editor adds.
    #[test]
    fn a_secret_text_is_all_of_what_is_read() {
        for (given, read) in [
            ("one", "one"),
            ("one\n", "one"),
            ("one\ntwo\n", "one\ntwo\n"),
            ("one\ntwo", "one\ntwo"),
            ("one\r\ntwo\r\n", "one\r\ntwo\r\n"),
            (" one\n\ntwo\n\n", " one\n\ntwo\n\n"),
            ("one\r\n", "one"),
            ("one\r", "one\r"),
            ("\n", ""),
            ("", ""),
        ] {
            assert_eq!(all_of(&mut given.as_bytes()).unwrap(), read, "{given:?}");
        }
        all_of(&mut &b"\xff\n"[..]).unwrap_err();
    }

    #[test]
    fn a_value_is_shown_in_few_words() {
        for (value, expected) in [
            (json!(null), "-"),
            (json!(true), "yes"),
            (json!("2026-11-26T17:16:57.688Z"), "2026-11-26 17:16"),
            (json!(["a", "b", "c", "d", "e"]), "a b c +2"),
            (json!([]), "-"),
            // R660
            (json!([{ "name": "crm", "version": 2 }, { "name": "crm", "version": 1 }]), "2 1"),
            (json!({ "id": "x", "email": "ada@example.com" }), "ada@example.com"),
            (json!({ "a": 1, "b": "c" }), "a=1 b=c"),
        ] {
            assert_eq!(shorter(&value), expected);
        }
    }
}
