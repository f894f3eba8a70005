//! What a client says that it takes.

/// How much a client wants this of a list such as `Accept`, in thousandths (RFC 9110, section 12.4.2). `None`: the list does not name it.
pub fn weight(list: &str, name: &str) -> Option<u32> {
    let mut ranges = list.split(',').map(|range| range.split(';').map(str::trim));
    let mut found = ranges.find_map(|mut parts| parts.next()?.eq_ignore_ascii_case(name).then_some(parts))?;
    let q = found.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    // A weight has three decimals at most.
    Some(q.map_or(1_000, |q| match q.strip_prefix("0.") {
        Some(decimals) => format!("{decimals:0<3.3}").parse().unwrap_or(0),
        None if q == "0" => 0,
        None => 1_000,
    }))
}
