use common::route::{self, Group};
use service::router::{Router, Routes};

use crate::{library::Library, llms, pages};

fn routes() -> Routes {
    Routes::new(Group::Docs)
        .on_open(route::LLMS, llms::short)
        .on_open(route::LLMS_FULL, llms::full)
        .on_open(route::OPENAPI, llms::openapi)
        .on_open(route::SECURITY_TXT, llms::security)
        .on_open(route::DOCS_INDEX, pages::to_docs)
        .on_open(route::DOCS_INDEX_SLASH, pages::first)
        .on_open(route::DOCS_PAGE, pages::page)
}

/// The component's routes over the pages that `spin.toml` grants it.
pub fn router() -> Router {
    over(Library::granted())
}

/// The routes over a library.
pub(crate) fn over(library: Library) -> Router {
    routes().build().holding(library)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_row_of_the_table_has_a_handler() {
        assert_eq!(super::routes().missing(), Vec::<&str>::new());
    }
}
