//! The words of [`crate::words`] for each route.

use common::route::{Group, Media};
use serde_json::{Map, Value as Json, json};
use service::router::Described;

use crate::{fields, openapi, words};

/// The words of each route's query and body, by method and path, and of the names in its path, each as `{name}`. The pages of the routes are made
/// of them, and the help of the command.
pub(crate) fn all(rows: &[Described]) -> Json {
    let of_row = |row: &Described| {
        let shapes = fields::query(row).into_iter().chain(row.takes.body.iter().flatten().cloned());
        let (required, others) = match row.route.media {
            Media::Form => fields::form_of(row.route),
            _ => (&[][..], &[][..]),
        };
        let names = shapes.map(|shape| shape.name).chain(required.iter().chain(others).copied());
        let known = names.filter_map(|name| Some((name.to_owned(), json!(words::sent(row.route, name)?))));
        let of_path = openapi::names(row.route).into_iter();
        let of_path = of_path.filter_map(|name| Some((format!("{{{name}}}"), json!(words::in_path(row.route, name)?))));
        let known: Map<String, Json> = of_path.chain(known).collect();
        (!known.is_empty()).then(|| (format!("{} {}", row.route.method, row.route.path), Json::Object(known)))
    };
    Json::Object(rows.iter().filter(|row| row.route.group != Group::Web).filter_map(of_row).collect())
}
