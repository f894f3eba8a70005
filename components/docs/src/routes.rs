use common::route::{self, Group};
use service::router::{Router, Routes};

use crate::{library::Library, llms, pages};

fn routes() -> Routes {
    Routes::new(Group::Docs)
        .on_open(route::LLMS, llms::short)
        .gives_text("text/plain")
        .on_open(route::LLMS_FULL, llms::full)
        .gives_text("text/plain")
        .on_open(route::OPENAPI, llms::openapi)
        .gives_text("application/json")
        .on_open(route::SECURITY_TXT, llms::security)
        .gives_text("text/plain")
        .on_open(route::DOCS_INDEX, pages::to_docs)
        .gives_no_body(&[303])
        .on_open(route::DOCS_INDEX_SLASH, pages::first)
        .gives_text("text/markdown")
        .on_open(route::DOCS_PAGE, pages::page)
        .gives_text("text/markdown")
}

/// The component's routes over the pages that `spin.toml` grants it.
pub fn router() -> Router {
    over(Library::granted())
}

/// The routes over a library.
pub(crate) fn over(library: Library) -> Router {
    routes().build().leading().holding(library)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_row_of_the_table_has_a_handler() {
        assert_eq!(super::routes().missing(), Vec::<&str>::new());
    }
}
