//! A request's headers. The host keeps them, and each is fetched when it is read: of a dozen only two or three are, and each costs
//! two calls from the host into the component, for its name and for its value.

use std::sync::Arc;

use http::HeaderValue;

#[cfg(not(target_family = "wasm"))]
type Source = http::HeaderMap;
#[cfg(target_family = "wasm")]
type Source = Given;

#[cfg(target_family = "wasm")]
pub(crate) use given::{Authority, Given};

#[cfg(target_family = "wasm")]
mod given {
    use http::HeaderValue;
    use spin_sdk::wasip3::http::types;

    /// The part of a request's head that the host holds.
    pub(crate) struct Given {
        fields: types::Fields,
        authority: Authority,
    }

    /// wasi:http takes the `Host` header out and gives the authority apart; [`Given::all`] puts it back, where handlers look for it.
    pub(crate) enum Authority {
        /// Not fetched yet; it is hardly ever needed. The request, with a body that nobody reads, is kept as long as the headers are.
        Of(types::Request),
        /// Fetched before the body was taken, since taking the body consumes the request.
        Known(Option<String>),
    }

    impl Given {
        pub(crate) fn new(fields: types::Fields, authority: Authority) -> Self {
            Self { fields, authority }
        }

        /// All values of a name.
        pub(crate) fn all(&self, name: &str) -> Vec<HeaderValue> {
            let mut values = self.fields.get(name);
            if name == "host" && values.is_empty() {
                let authority = match &self.authority {
                    Authority::Of(request) => request.get_authority(),
                    Authority::Known(authority) => authority.clone(),
                };
                values.extend(authority.map(String::into_bytes));
            }
            // The host's headers are valid. An invalid one would still count as a header, with a value that cannot be read.
            let value = |bytes: Vec<u8>| HeaderValue::from_maybe_shared(bytes::Bytes::from(bytes));
            values.into_iter().map(|bytes| value(bytes).unwrap_or(HeaderValue::from_static(""))).collect()
        }
    }
}

/// A request's headers. Cheap to clone. Names are written in small letters.
#[derive(Clone)]
pub struct Headers(Arc<Source>);

impl Headers {
    pub(crate) fn new(source: Source) -> Self {
        Self(Arc::new(source))
    }

    /// All values of this name, in the order in which they came.
    #[cfg(not(target_family = "wasm"))]
    pub fn all(&self, name: &str) -> Vec<HeaderValue> {
        self.0.get_all(name).iter().cloned().collect()
    }

    /// All values of this name, in the order in which they came.
    #[cfg(target_family = "wasm")]
    pub fn all(&self, name: &str) -> Vec<HeaderValue> {
        self.0.all(name)
    }

    /// The first value of this name, if it is of visible ASCII.
    pub fn first(&self, name: &str) -> Option<String> {
        text(self.all(name).first()?)
    }

    /// The value of this name, if it stands once and is of visible ASCII.
    pub fn single(&self, name: &str) -> Option<String> {
        let [value] = self.all(name).try_into().ok()?;
        text(&value)
    }

    /// The values of this name that are of visible ASCII.
    pub fn texts(&self, name: &str) -> Vec<String> {
        self.all(name).iter().filter_map(text).collect()
    }
}

fn text(value: &HeaderValue) -> Option<String> {
    value.to_str().ok().map(str::to_owned)
}

/// For tests.
#[cfg(not(target_family = "wasm"))]
impl<'a, T: IntoIterator<Item = (&'a str, &'a str)>> From<T> for Headers {
    fn from(pairs: T) -> Self {
        let pairs = pairs.into_iter().filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)));
        Self::new(pairs.collect())
    }
}
