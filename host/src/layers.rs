//! Imports run one way: this compares them with the table in the crate's documentation.

use std::collections::HashMap;
use std::path::Path;

/// The modules of each layer, the highest first.
fn layers() -> Vec<Vec<&'static str>> {
    let rows = include_str!("main.rs").lines().filter_map(|line| line.strip_prefix("//! | `"));
    let modules = |row: &'static str| row.split('|').next().unwrap_or_default();
    rows.map(|row| modules(row).split(',').map(|name| name.trim_matches(['`', ' '])).collect()).collect()
}

/// The modules that a file names after `crate::`.
fn imports(text: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let names = |rest: &str| match rest.strip_prefix('{') {
        Some(list) => list.split('}').next().unwrap_or_default().split(',').map(|name| word(name.trim())).collect(),
        None => vec![word(rest)],
    };
    text.split("crate::").skip(1).flat_map(names).collect()
}

fn visit(directory: &Path, check: &mut impl FnMut(&Path, &str)) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            visit(&path, check);
        } else {
            check(&path, &std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn imports_run_from_higher_to_lower_layers() {
    let layers = layers();
    let places = layers.iter().enumerate().flat_map(|(place, names)| names.iter().map(move |name| (*name, place)));
    let places: HashMap<&str, usize> = places.collect();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    visit(&source, &mut |path, text| {
        let file = path.strip_prefix(&source).unwrap().to_str().unwrap();
        let module = file.split(['/', '.']).next().unwrap();
        if ["main", "layers"].contains(&module) {
            return;
        }
        let place = places.get(module).unwrap_or_else(|| panic!("{file} is in no layer"));
        for name in imports(text).iter().filter(|name| *name != module) {
            let imported = places.get(name.as_str()).unwrap_or_else(|| panic!("{file} imports {name}, in no layer"));
            assert!(place < imported, "{file} imports {name}, which is not in a lower layer");
        }
    });
}
