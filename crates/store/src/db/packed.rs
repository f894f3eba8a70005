//! Rows as JSON: each value, and each column's name, costs on its way into a component about what reading it costs SQLite; one text
//! costs once.

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};

use super::value::{DbError, FromValue, Value};

/// All rows of a statement for [`Reads::packed`] as one, in their order.
pub(crate) fn page(select: &str) -> String {
    // The rows are JSON already: joined as texts, they are not read and written again.
    format!("SELECT '[' || ifnull(group_concat(r, ','), '') || ']' AS r FROM ({select})")
}

pub(super) fn unpack(packed: Vec<Vec<Value>>) -> Result<Vec<Vec<Value>>, DbError> {
    let mut rows = Vec::new();
    for text in packed.into_iter().flatten() {
        match serde_json::from_str(&String::from_value(text)?).map_err(|_| NO_ROW)? {
            Packed::List(page) if page.iter().all(|row| matches!(row, Packed::List(_))) => {
                for row in page {
                    rows.push(columns(row)?);
                }
            }
            row => rows.push(columns(row)?),
        }
    }
    Ok(rows)
}

const NO_ROW: DbError = DbError::Row("not a row as JSON");

fn columns(row: Packed) -> Result<Vec<Value>, DbError> {
    let Packed::List(list) = row else { return Err(NO_ROW) };
    let column = |item| if let Packed::Column(value) = item { Ok(value) } else { Err(NO_ROW) };
    list.into_iter().map(column).collect()
}

/// The content of a packed text: a column, or a list of them, or of such lists.
enum Packed {
    Column(Value),
    List(Vec<Self>),
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PackedReader)
    }
}

/// Names each kind of value, also the kinds that we do not use: serde's own words for an unexpected value come with the writing
/// of floating-point numbers, 10 KB in each component.
struct PackedReader;

impl<'de> Visitor<'de> for PackedReader {
    type Value = Packed;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("texts, integers, null and lists of them")
    }

    fn visit_unit<E>(self) -> Result<Packed, E> {
        Ok(Packed::Column(Value::Null))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Packed, E> {
        Ok(Packed::Column(Value::Integer(number)))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Packed, E> {
        i64::try_from(number).map(|number| Packed::Column(Value::Integer(number))).map_err(E::custom)
    }

    fn visit_str<E>(self, text: &str) -> Result<Packed, E> {
        Ok(Packed::Column(Value::Text(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Packed, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Packed::List(list))
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Packed, E> {
        Err(E::custom("no column"))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Packed, E> {
        Err(E::custom("no column"))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Packed, A::Error> {
        Err(A::Error::custom("no column"))
    }
}
