//! `spin:variables/variables@3.0.0`: a component reads its own variables, which have their values from the start.

use std::collections::HashMap;

use wasmtime::component::{ComponentType, Lift, Linker, Lower};

use crate::manifest::check_variable_name;

/// What the interface needs of an instance.
pub(crate) struct View<'a> {
    /// The component's id.
    pub(crate) component: &'a str,
    /// The component's variables.
    pub(crate) values: &'a HashMap<String, String>,
}

impl View<'_> {
    fn get(&self, name: &str) -> Result<String, Error> {
        self.values.get(name).cloned().ok_or_else(|| match check_variable_name(name) {
            Ok(()) => Error::Undefined(format!("no variable for {:?}.{name:?}", self.component)),
            Err(error) => Error::InvalidName(error.to_string()),
        })
    }
}

/// Why a variable has no value.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
#[component(variant)]
pub(crate) enum Error {
    /// Not a variable's name.
    #[component(name = "invalid-name")]
    InvalidName(String),
    /// The manifest does not give the component this variable.
    #[component(name = "undefined")]
    Undefined(String),
    /// A provider failed.
    #[component(name = "provider")]
    Provider(String),
    /// Anything else.
    #[component(name = "other")]
    Other(String),
}

/// Offers the interface to components. `view` finds what it needs in an instance's state.
pub(crate) fn add_to_linker<T: Send>(linker: &mut Linker<T>, view: fn(&mut T) -> View<'_>) -> wasmtime::Result<()> {
    let mut variables = linker.instance("spin:variables/variables@3.0.0")?;
    variables.func_wrap_concurrent("get", move |accessor, (name,): (String,)| {
        Box::pin(async move { Ok((accessor.with(|mut access| view(access.data_mut()).get(&name)),)) })
    })
}
