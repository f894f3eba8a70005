//! The shape of the code: inside of each crate, imports run one way.
//!
//! A module stands for its file and for all that is below it. What a file says after `use`, `crate::`, `self::` and `super::` is an import,
//! outside of tests. A parent uses its children and a child what its parents have: such an import is none between neighbours, and counts for
//! nothing here. Every other one is an import of one child of the parent that both have in common by another child. So a type that a parent
//! hands on for its child is the parent's, and hides no circle.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "helpers of tests: whatever is not as expected ends the test"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use tests::host;

/// Names from the root of a crate on; the root itself has none.
type Module = Vec<String>;

/// Words, `::` and single characters of a text of Rust, without comments and without what stands in quotes.
fn words(text: &str) -> Vec<&str> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let name = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let hashes = rest[name..].len() - rest[name..].trim_start_matches('#').len();
        let size = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if ["r", "br", "cr"].contains(&&rest[..name]) && rest[name + hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let begin = name + hashes + 1;
            begin + rest[begin..].find(&end).unwrap() + end.len()
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' && (rest[1..].starts_with('\\') || rest[1..].chars().nth(1) == Some('\'')) {
            quoted(rest, '\'')
        } else if rest.starts_with("::") {
            words.push("::");
            2
        } else if name > 0 {
            words.push(&rest[..name]);
            name
        } else {
            if !first.is_whitespace() {
                words.push(&rest[..first.len_utf8()]);
            }
            first.len_utf8()
        };
        rest = &rest[size..];
    }
    words
}

/// How long a text in quotes is, at the beginning of this one.
fn quoted(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let is_end = *c == quote && !is_escaped;
        is_escaped = *c == '\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// How many words the item has that these begin with: to the end of its braces, or to its semicolon.
fn item(words: &[&str]) -> usize {
    let mut depth = 0;
    let end = words.iter().position(|word| {
        depth += i32::from(["{", "(", "["].contains(word)) - i32::from(["}", ")", "]"].contains(word));
        depth == 0 && ["}", ";"].contains(word)
    });
    end.map_or(words.len(), |end| end + 1)
}

/// The paths of a tree of `use`, and how many words it has.
fn tree(words: &[&str], before: &[String], found: &mut Vec<Module>) -> usize {
    let mut path = before.to_vec();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        match *word {
            "{" => {
                at += 1;
                while words[at] != "}" {
                    at += tree(&words[at..], &path, found);
                    at += usize::from(words[at] == ",");
                }
                return at + 1;
            }
            "as" => at += 2,
            "," | "}" | ";" => break,
            "::" => at += 1,
            "self" if !path.is_empty() => at += 1,
            name => {
                path.push(name.to_owned());
                at += 1;
            }
        }
    }
    found.push(path);
    at
}

/// The paths that a file names.
fn paths(text: &str) -> Vec<Module> {
    let words = words(text);
    let mut found = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let rest = &words[at..];
        if rest.starts_with(&["#", "[", "cfg", "("]) {
            let end = rest.iter().position(|word| *word == "]").unwrap() + 1;
            at += end;
            if rest[..end].contains(&"test") && !rest[..end].contains(&"not") {
                at += item(&rest[end..]);
            }
        } else if rest[0] == "use" {
            at += 1 + tree(&rest[1..], &[], &mut found);
        } else if ["crate", "self", "super"].contains(&rest[0]) && rest.get(1) == Some(&"::") {
            let names = rest.iter().step_by(2).zip(rest.iter().skip(1).step_by(2).chain([&""]));
            let path: Module = names.map_while(|(name, _)| Some((*name).to_owned())).collect();
            let length = (1..rest.len()).step_by(2).take_while(|at| rest[*at] == "::").count();
            found.push(path.into_iter().take(length + 1).collect());
            at += 2 * length + 1;
        } else {
            at += 1;
        }
    }
    found
}

/// A crate: what its files import.
struct Crate {
    /// Its folder.
    name: String,
    /// The text of its root.
    root: String,
    modules: BTreeSet<Module>,
    /// Who imports what, and how it is written.
    imports: Vec<(Module, Module, String)>,
}

impl Crate {
    fn new(name: &str, files: &BTreeMap<Module, String>) -> Self {
        let mut modules: BTreeSet<Module> = files.keys().cloned().collect();
        // A folder without a file of its own is a module of the root, as it stands in braces there.
        modules.extend(files.keys().flat_map(|module| (0..module.len()).map(|length| module[..length].to_vec())));
        let mut imports = Vec::new();
        for (module, text) in files {
            for path in paths(text) {
                let mut target = match path[0].as_str() {
                    "crate" => path[1..].to_vec(),
                    "self" => [module.as_slice(), &path[1..]].concat(),
                    "super" => {
                        let up = path.iter().take_while(|name| *name == "super").count();
                        [&module[..module.len().saturating_sub(up)], &path[up..]].concat()
                    }
                    _ => [module.as_slice(), path.as_slice()].concat(),
                };
                while !modules.contains(&target) {
                    target.pop();
                }
                imports.push((module.clone(), target, path.join("::")));
            }
        }
        Self { name: name.to_owned(), root: files[&Module::new()].clone(), modules, imports }
    }

    /// Each import between neighbours: the two that differ first, and how it is written.
    fn neighbours(&self) -> BTreeMap<(&[String], &[String]), String> {
        let mut found = BTreeMap::new();
        for (from, to, written) in &self.imports {
            let same = from.iter().zip(to).take_while(|(one, other)| one == other).count();
            if same < from.len().min(to.len()) {
                let pair = (&from[..=same], &to[..=same]);
                found.entry(pair).or_insert_with(|| format!("{} has {written}", from.join("::")));
            }
        }
        found
    }

    /// A way by imports that leads back to where it began: where it passes, and what is written there.
    fn circle(&self) -> Option<String> {
        let neighbours = self.neighbours();
        let mut done = BTreeSet::new();
        for (start, _) in neighbours.keys() {
            if let Some(way) = back_to_itself(&neighbours, &mut done, &mut vec![start]) {
                let steps = way.iter().zip(way.iter().cycle().skip(1));
                let steps: Vec<&str> = steps.map(|pair| neighbours[&(*pair.0, *pair.1)].as_str()).collect();
                let names: Vec<String> = way.iter().chain(&way[..1]).map(|module| module.join("::")).collect();
                return Some(format!("{}: {}\n  {}", self.name, names.join(" -> "), steps.join("\n  ")));
            }
        }
        None
    }

    /// The rows of the list in the documentation of the root, the top first: names that end with a comma go on in the next line.
    fn rows(&self) -> Option<Vec<Vec<&str>>> {
        let (_, list) = self.root.split_once("//! Imports run one way, from the bottom of this list to the top:")?;
        let list = list.split("```").nth(1)?.lines().skip(1);
        let mut rows: Vec<Vec<&str>> = Vec::new();
        let mut goes_on = false;
        for line in list.map(|line| line.trim_start_matches("//!").trim_start()).filter(|line| !line.is_empty()) {
            let names = line.split("  ").next().unwrap_or_default();
            let names = if names.contains(", ") || names == line { names } else { names.split(' ').next().unwrap() };
            let named = names.split(',').map(|name| name.split(' ').find(|word| !word.is_empty()).unwrap_or_default());
            let named = named.filter(|name| !name.is_empty());
            match rows.last_mut() {
                Some(row) if goes_on => row.extend(named),
                _ => rows.push(named.collect()),
            }
            goes_on = names.trim_end().ends_with(',');
        }
        Some(rows)
    }
}

/// Goes on from the end of a way, in depth; gives the circle that it comes to.
fn back_to_itself<'a>(
    neighbours: &BTreeMap<(&'a [String], &'a [String]), String>,
    done: &mut BTreeSet<&'a [String]>,
    way: &mut Vec<&'a [String]>,
) -> Option<Vec<&'a [String]>> {
    let from = *way.last()?;
    for (_, to) in neighbours.keys().filter(|(one, _)| *one == from) {
        if let Some(first) = way.iter().position(|passed| passed == to) {
            return Some(way[first..].to_vec());
        }
        if done.contains(to) {
            continue;
        }
        way.push(to);
        if let Some(circle) = back_to_itself(neighbours, done, way) {
            return Some(circle);
        }
        way.pop();
    }
    done.insert(from);
    None
}

/// The files of Rust below a folder, by the names of their modules.
fn read(source: &Path, folder: &Path, files: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(source, &path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let names = path.strip_prefix(source).unwrap().with_extension("");
            let mut module: Module = names.iter().map(|name| name.to_str().unwrap().to_owned()).collect();
            if module == ["lib"] || module == ["main"] {
                module.clear();
            }
            // What only tests have knows everything.
            if !module.iter().any(|name| name == "tests" || name == "testing") {
                files.insert(module, fs::read_to_string(&path).unwrap());
            }
        }
    }
}

/// The crates of the workspace.
fn crates() -> Vec<Crate> {
    let manifest: toml::Table = fs::read_to_string(host::root().join("Cargo.toml")).unwrap().parse().unwrap();
    let mut folders: Vec<PathBuf> = Vec::new();
    for member in manifest["workspace"]["members"].as_array().unwrap() {
        match member.as_str().unwrap().strip_suffix("/*") {
            Some(parent) => {
                let entries = fs::read_dir(host::root().join(parent)).unwrap();
                folders.extend(entries.map(|entry| entry.unwrap().path()));
            }
            None => folders.push(host::root().join(member.as_str().unwrap())),
        }
    }
    folders.retain(|folder| folder.join("src").is_dir());
    folders.sort();
    let parsed = folders.iter().map(|folder| {
        let mut files = BTreeMap::new();
        let source = folder.join("src");
        read(&source, &source, &mut files);
        Crate::new(folder.strip_prefix(host::root()).unwrap().to_str().unwrap(), &files)
    });
    parsed.collect()
}

#[test]
fn imports_inside_of_a_crate_run_one_way() {
    let crates = crates();
    let circles: Vec<String> = crates.iter().filter_map(Crate::circle).collect();
    assert!(circles.is_empty(), "imports in a circle:\n{}", circles.join("\n"));
    let imports: usize = crates.iter().map(|each| each.neighbours().len()).sum();
    assert!(crates.len() > 20 && imports > 600, "{} crates, {imports} imports", crates.len());
}

/// The documentation of some crates lists their modules, the highest first: each imports its own row and those below it, and none is left out.
#[test]
fn imports_run_as_the_documentation_of_their_crate_says() {
    let mut wrong = Vec::new();
    let mut lists = 0;
    for each in crates() {
        let Some(rows) = each.rows() else { continue };
        lists += 1;
        let row_of = |module: &[String]| rows.iter().position(|row| row.contains(&module[0].as_str()));
        let named = each.modules.iter().filter(|module| module.len() == 1);
        wrong.extend(
            named
                .filter(|module| row_of(module).is_none())
                .map(|module| format!("{}: {} is not in the list", each.name, module[0])),
        );
        for ((from, to), written) in each.neighbours() {
            if from.len() == 1 && row_of(to) < row_of(from) {
                wrong.push(format!("{}: {} stands above {}: {written}", each.name, to[0], from[0]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(lists > 5, "{lists}");
}

fn parsed(files: &[(&str, &str)]) -> Crate {
    let module = |name: &str| name.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Crate::new("example", &files.iter().map(|(name, text)| (module(name), (*text).to_owned())).collect())
}

#[test]
fn a_circle_is_found_however_it_is_written() {
    let ways = [
        "use crate::{a::A as B, d};",
        "use super::a;",
        "fn f() { crate::a::f() }",
        "fn f(_: super::a::A) {}",
        "#[cfg(not(test))] use crate::a;",
        "fn f() -> &'static str { r#\"\"\"# } use crate::a;",
        "const C: char = '\"'; use crate::a;",
    ];
    for way in ways {
        let example =
            parsed(&[("", "mod a; mod b; mod c;"), ("a", "use crate::b::B;"), ("b", "use super::c;"), ("c", way)]);
        let circle = example.circle().unwrap_or_else(|| panic!("{way}"));
        assert!(
            circle.starts_with("example: a -> b -> c -> a\n  a has crate::b::B\n  b has super::c\n  c has "),
            "{circle}"
        );
    }
    // A child of one and a child of the other, which their parents hand on.
    let handed_on = parsed(&[
        ("", "mod a; mod b;"),
        ("a", "mod one; pub use one::One;"),
        ("a::one", "use crate::b::Two;"),
        ("b", "mod two; pub use two::Two;"),
        ("b::two", "use crate::a::One;"),
    ]);
    assert!(handed_on.circle().is_some());
}

#[test]
fn what_is_no_circle_is_none() {
    let ways = [
        "// use crate::a;",
        "const C: &str = \"use crate::a;\";",
        "const C: &str = \"\\\" crate::a::A\";",
        "#[cfg(test)] mod tests { use crate::a; fn f() { { } } }",
        "#[cfg(test)] use crate::a;",
        "use other::a;",
        "/// As [`crate::a`] has it.",
    ];
    for way in ways {
        let example = parsed(&[("", "mod a; mod b; use a::A;"), ("a", "use crate::b;"), ("b", way)]);
        assert_eq!(example.circle(), None, "{way}");
        assert_eq!(example.neighbours().len(), 1, "{way}");
    }
    let parent = parsed(&[("", "mod a;"), ("a", "mod b; use b::B;"), ("a::b", "use super::A; use crate::a::C;")]);
    assert_eq!(parent.circle(), None);
}
