use axum::Router;
use common::route::{self, Group, Routes};

use crate::tick;

fn routes() -> Routes {
    Routes::new(Group::Notify).on(route::TICK, tick::tick)
}

/// The component's routes.
pub fn router() -> Router {
    routes().build()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_row_of_the_table_has_a_handler() {
        assert_eq!(super::routes().missing(), Vec::<&str>::new());
    }
}
