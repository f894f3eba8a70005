use super::*;

fn router(patterns: &[&'static str]) -> Router<usize> {
    let entries = patterns.iter().enumerate().map(|(place, pattern)| ((*pattern).to_owned(), place));
    Router::new(entries, |_, _| {}).unwrap()
}

fn best(patterns: &[&'static str], path: &str) -> Option<&'static str> {
    router(patterns).find(path).and_then(|found| patterns.get(found.route.target).copied())
}

#[test]
fn an_exact_route_beats_the_longest_prefix_in_any_order() {
    assert_eq!(best(&["/...", "/one/...", "/one"], "/one"), Some("/one"));
    assert_eq!(best(&["/one", "/one/...", "/..."], "/one/two"), Some("/one/..."));
    assert_eq!(best(&["/one/two/...", "/one/..."], "/one/two/three"), Some("/one/two/..."));
    assert_eq!(best(&["/one/..."], "/two"), None);
}

#[test]
fn a_literal_beats_a_name_beats_the_rest() {
    let patterns = ["/api/...", "/api/:name", "/api/self", "/api/:name/token"];
    assert_eq!(best(&patterns, "/api/self"), Some("/api/self"));
    assert_eq!(best(&patterns, "/api/scout"), Some("/api/:name"));
    assert_eq!(best(&patterns, "/api/self/token"), Some("/api/:name/token"));
    assert_eq!(best(&patterns, "/api/a/b/c"), Some("/api/..."));
}

#[test]
fn a_prefix_matches_its_own_path_but_no_longer_word() {
    assert_eq!(best(&["/x/..."], "/x"), Some("/x/..."));
    assert_eq!(best(&["/x/..."], "/x/"), Some("/x/..."));
    assert_eq!(best(&["/x/..."], "/xy"), None);
    assert_eq!(best(&["/..."], "/"), Some("/..."));
}

#[test]
fn an_empty_segment_counts_within_a_path_but_not_at_its_ends() {
    let patterns = ["/one/...", "/one/exact/who", "/named/:name/who", "/named/literal/who", "/named/..."];
    for (path, pattern) in [
        ("//one/exact/who//", "/one/exact/who"),
        ("/one/exact//who", "/one/..."),
        ("/one//exact/who", "/one/..."),
        ("/named//who", "/named/:name/who"),
        ("/named//literal/who", "/named/..."),
    ] {
        assert_eq!(best(&patterns, path), Some(pattern), "{path}");
    }
}

#[test]
fn a_name_is_exactly_one_segment_which_may_be_empty() {
    let router = router(&["/a/:id/b"]);
    let names = |path| router.find(path).map(|found| found.names().map(|(_, id)| id.to_owned()).collect::<Vec<_>>());
    assert_eq!(names("/a/7/b"), Some(vec!["7".to_owned()]));
    assert_eq!(names("/a//b"), Some(vec![String::new()]));
    assert_eq!(names("/a/7/8/b"), None);
}

#[test]
fn of_two_equal_names_the_last_counts() {
    let router = router(&["/:a/:b/:a"]);
    assert_eq!(router.find("/1/2/3").unwrap().names().collect::<Vec<_>>(), [("b", "2"), ("a", "3")]);
}

#[test]
fn a_name_may_end_at_a_dot() {
    let patterns = ["/x/:name", "/x/:name.json"];
    assert_eq!(best(&patterns, "/x/a.json"), Some("/x/:name.json"));
    assert_eq!(best(&patterns, "/x/a.xml"), Some("/x/:name"));
}

#[test]
fn the_rest_keeps_its_slashes() {
    let router = router(&["/test/..."]);
    for (path, rest) in [
        ("/test", ""),
        ("/test/", "/"),
        ("/test/a", "/a"),
        ("/test/a/", "/a/"),
        ("/test/a/b", "/a/b"),
        ("/test//a", "//a"),
        ("/test/a//", "/a/"),
    ] {
        assert_eq!(router.find(path).unwrap().rest(), rest, "{path}");
    }
}

#[test]
fn of_two_routes_with_the_same_text_the_last_wins_and_of_two_with_the_same_meaning_the_first() {
    for (patterns, path, winner) in [
        (["/x", "/x"], "/x", 1),
        (["/x/:a", "/x/:b"], "/x/1", 0),
        (["/x", "/x/"], "/x", 0),
        (["/x/*", "/x/..."], "/x/1", 0),
    ] {
        let mut unreached = Vec::new();
        let entries = patterns.iter().enumerate().map(|(place, pattern)| ((*pattern).to_owned(), place));
        let router = Router::new(entries, |loser, winner| unreached.push((loser.target, winner.target))).unwrap();
        assert_eq!(router.find(path).unwrap().route.target, winner, "{patterns:?}");
        assert_eq!(unreached, [(1 - winner, winner)], "{patterns:?}");
    }
}

#[test]
fn a_pattern_that_spin_would_panic_at_is_refused() {
    for pattern in ["/*/x", "/a/*/...", "/:", "/*name", "/\u{e9}/:ab/c/:de/f/:g"] {
        assert!(Router::new([(pattern.to_owned(), ())], |_, _| {}).is_err(), "{pattern}");
    }
    // Dots in the middle are a literal, in Spin's own way.
    assert_eq!(best(&["/a/.../x"], "/a.../x"), Some("/a/.../x"));
}
