//! The guard as middleware (`wasi:http/middleware`): the host composes it with the component of a route, which it calls without a request of its
//! own. Both have one component's variables, so that the names of the guard's begin with `guard_`.
#![forbid(unsafe_code)]

#[cfg(target_family = "wasm")]
mod component;
