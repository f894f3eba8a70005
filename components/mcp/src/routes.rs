use common::route::{self, Group};
use service::router::{Router, Routes};

use crate::{metadata, server};

fn routes() -> Routes {
    Routes::new(Group::Mcp)
        .on_open(route::MCP, server::post)
        .gives::<server::Answered>(&[200])
        .gives_text("text/event-stream")
        .gives_no_body_too(&[202])
        .on_open(route::MCP_RESOURCE, metadata::get)
        .gives::<metadata::Metadata>(&[200])
        .on_open(route::MCP_RESOURCE_OF, metadata::get)
        .gives::<metadata::Metadata>(&[200])
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
