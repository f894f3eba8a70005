use common::route::{self, Group};
use service::router::{Router, Routes};

use crate::{
    index,
    pages::{self, Folder},
};

fn routes() -> Routes {
    Routes::new(Group::Docs)
        .on_open(route::API_INDEX, index::index)
        .on_open(route::DOCS_INDEX, index::to_docs)
        .on_open(route::DOCS_INDEX_SLASH, pages::first)
        .on_open(route::DOCS_PAGE, pages::page)
}

/// The component's routes over the pages that `spin.toml` grants it.
pub fn router() -> Router {
    over(Folder::granted())
}

/// The routes over a folder of pages.
pub(crate) fn over(folder: Folder) -> Router {
    routes().build().holding(folder)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_row_of_the_table_has_a_handler() {
        assert_eq!(super::routes().missing(), Vec::<&str>::new());
    }
}
