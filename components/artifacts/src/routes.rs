use common::route::{self, Group};
use service::router::{Router, Routes};

use crate::{dist::Dist, download, install, manifest, simple};

fn routes() -> Routes {
    Routes::new(Group::Artifacts)
        .on_open(route::CLI_INSTALL, install::script)
        .gives_text("text/x-shellscript")
        .on_open(route::CLI_MANIFEST, manifest::manifest)
        .gives::<manifest::Listing>(&[200])
        .on_open(route::CLI_LATEST, manifest::latest)
        .gives::<manifest::Latest>(&[200])
        .on_open(route::CLI_DOWNLOAD, download::program)
        .gives_file("application/octet-stream")
        .on_open(route::CLI_SIMPLE, simple::wheels)
        .gives_text("text/html, application/vnd.pypi.simple.v1+json")
        .on_open(route::CLI_SIMPLE_ROOT, simple::root)
        .gives_text("text/html, application/vnd.pypi.simple.v1+json")
        .on_open(route::CLI_SIMPLE_BARE, simple::to_root)
        .gives_no_body(&[303])
        .on_open(route::CLI_SIMPLE_BARE_WHEELS, simple::to_wheels)
        .gives_no_body(&[303])
        .on_open(route::CLI_WHEEL, download::wheel)
        .gives_file("application/zip")
}

/// The component's routes over the files that `spin.toml` grants it.
pub fn router() -> Router {
    over(Dist::granted())
}

/// The routes over a folder.
pub(crate) fn over(dist: Dist) -> Router {
    routes().build().holding(dist)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_row_of_the_table_has_a_handler() {
        assert_eq!(super::routes().missing(), Vec::<&str>::new());
    }
}
