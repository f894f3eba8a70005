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
    use serde_json::{Value::Null, json};
    use service::testing::TestApp;

    #[test]
    fn every_row_of_the_table_has_a_handler() {
        assert_eq!(super::routes().missing(), Vec::<&str>::new());
    }

    /// R254: some clients write a slash at the end of the address that they are given. R711: they are told of the resource with it.
    #[tokio::test]
    async fn a_slash_at_the_end_is_the_same_address() {
        let t = TestApp::new(super::router());
        let host = [("host", "127.0.0.1:3000")];
        for path in ["/mcp", "/mcp/"] {
            let refused = t.call("GET", path, &host, Null).await;
            assert_eq!((refused.status.as_u16(), refused.header("allow")), (405, "POST"), "{path}");
        }
        let known = "/.well-known/oauth-protected-resource";
        for (path, resource) in [("", "/mcp"), ("/mcp", "/mcp"), ("/mcp/", "/mcp/")] {
            let metadata = t.call("GET", &format!("{known}{path}"), &host, Null).await.is(200);
            assert_eq!(metadata["resource"], json!(format!("http://127.0.0.1:3000{resource}")), "{path}");
        }
        for path in ["/mcp", "/mcp/"] {
            let refused =
                t.call("POST", path, &host, json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" })).await;
            let named = format!("resource_metadata=\"http://127.0.0.1:3000{known}{path}\"");
            let challenge = refused.header("www-authenticate");
            assert!(refused.status == 401 && challenge.ends_with(&named), "{path}: {challenge}");
        }
        for other in ["/mcp//", "/mcp/x", "/mcp/x/", "/.well-known/oauth-protected-resource/"] {
            t.call("GET", other, &host, Null).await.refused(404, "not_found");
        }
    }
}
