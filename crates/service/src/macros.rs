//! The macros that a component calls once: for itself, and for the tests that the route table asks of it.

/// Makes the crate a component that answers with a router.
#[macro_export]
macro_rules! component {
    ($router:path) => {
        #[cfg(target_family = "wasm")]
        mod component {
            use spin_sdk::wasip3::{exports::http::handler::Guest, http::types};

            struct Component;

            spin_sdk::wasip3::http::service::export!(Component);

            impl Guest for Component {
                async fn handle(request: types::Request) -> Result<types::Response, types::ErrorCode> {
                    $crate::entry::answer(request, $router).await
                }
            }
        }
    };
}

/// The tests that the table of routes gives each component, in the file of its `routes()` and `router()`.
#[macro_export]
macro_rules! tests_of_routes {
    ($group:ident) => {
        #[cfg(test)]
        mod tests {
            #[test]
            fn every_row_of_the_table_has_a_handler() {
                assert_eq!(super::routes().missing(), Vec::<&str>::new());
            }

            /// R33, for whatever rows the table has.
            #[tokio::test]
            async fn foreign_objects_are_absent_on_every_route() {
                $crate::testing::foreign_objects_are_absent(::common::route::Group::$group, super::router).await;
            }
        }
    };
}

/// The component's routes with those of other components, which its tests pass through too.
#[macro_export]
macro_rules! with_neighbours {
    ($($neighbour:ident),*) => {
        #[cfg(test)]
        fn with_neighbours() -> $crate::router::Router {
            $crate::router::Router::together([router(), $($neighbour::router()),*])
        }
    };
}
