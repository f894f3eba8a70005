//! A request's headers. The host keeps them, and each is fetched when it is read: of a dozen only two or three are, and each costs
//! two calls from the host into the component, for its name and for its value.

use std::sync::Arc;

use http::HeaderValue;

#[cfg(not(target_family = "wasm"))]
type Source = http::HeaderMap;
#[cfg(target_family = "wasm")]
type Source = crate::entry::Given;

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
