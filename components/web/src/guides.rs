//! `/guides`: what agents of the tenant are told, by source; to search and to read.

use askama::Template;
use common::{error::ApiError, route};
use futures_util::future::join;
use serde_json::Value as Json;
use service::{app::App, extract::Path, response::Response};

use crate::{
    api::{Api, Members, Trouble},
    form::query,
    list::List,
    page::{Shell, answer, write, write_with},
};

/// Rows of a page.
const PAGE: &str = "25";

#[derive(Template)]
#[template(path = "guides.html")]
struct GuidesPage {
    shell: Shell,
    list: List,
    items: Vec<Json>,
    /// For admins: users and agents, for the names of ids.
    known: Vec<Json>,
}

#[derive(Template)]
#[template(path = "guide.html")]
struct GuidePage {
    shell: Shell,
    guide: Json,
    known: Vec<Json>,
}

impl GuidesPage {
    fn by<'a>(&'a self, item: &'a Json) -> &'a str {
        name_of(&self.known, item.text("updated_by"))
    }

    fn source(&self, item: &Json) -> String {
        of_source(&self.shell, item.text("source"))
    }
}

impl GuidePage {
    fn by(&self) -> &str {
        name_of(&self.known, self.guide.text("updated_by"))
    }

    fn source(&self) -> String {
        of_source(&self.shell, self.guide.text("source"))
    }
}

/// The name of the user or agent with this id; the id itself if nobody is known by it.
fn name_of<'a>(known: &'a [Json], id: &'a str) -> &'a str {
    let one = known.iter().find(|one| one.text("id") == id);
    let names = one.map(|one| [one.text("email"), one.text("name")]).unwrap_or_default();
    names.into_iter().find(|name| !name.is_empty()).unwrap_or(id)
}

/// The address of the list of one source.
fn of_source(shell: &Shell, source: &str) -> String {
    format!("{}/guides?{}", shell.link(), query(&[("source", source)]))
}

/// Users and agents, for admins.
async fn known(api: &Api<'_>, shell: &Shell) -> Vec<Json> {
    if shell.is_admin() { api.known().await } else { Vec::new() }
}

/// `GET /guides`.
pub(crate) async fn list(app: App) -> Result<Response, ApiError> {
    answer(&app, show(&app)).await
}

async fn show(app: &App) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let mut list = List::of(app, "/guides", &["q", "source"]);
    let pairs = list.pairs(PAGE);
    let (shell, guides) =
        join(Shell::load(app, &api, "Guides", "guides"), api.get(route::GUIDES_LIST, &[], &pairs)).await;
    let (shell, guides, refused) = shell?.with_list(guides)?;
    list.found(&guides);
    let known = known(&api, &shell).await;
    let items = guides.list("items").to_vec();
    write_with(&GuidesPage { shell, list, items, known }, refused.unwrap_or(200))
}

/// `GET /guides/{source}/{name}`.
pub(crate) async fn one(app: App, Path(source): Path, Path(name): Path) -> Result<Response, ApiError> {
    answer(&app, async {
        let api = Api::of(&app)?;
        let names = [source.as_str(), name.as_str()];
        let (shell, guide) =
            join(Shell::load(&app, &api, "Guide", "guides"), api.get(route::GUIDES_GET, &names, &[])).await;
        let (shell, guide) = (shell?, guide?);
        let shell = shell.called(guide.text("title"));
        let known = known(&api, &shell).await;
        write(&GuidePage { shell, guide, known })
    })
    .await
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use crate::testing::Visitor;

    const HOSTILE: &str = "</p><script>alert(1)</script>\n\"' onmouseover=x javascript:x {{ shell }}";

    fn visitor(role: &'static str) -> Visitor {
        Visitor::new(move |_, path| {
            let guide = json!({
                "source": "app:crm", "name": "one", "title": HOSTILE, "excerpt": HOSTILE, "text": HOSTILE, "bytes": 3,
                "updated_at": "2026-01-02T03:04:05.000Z", "updated_by": "agt_1",
            });
            let body = match path {
                "/api/overview" => json!({ "caller": { "role": role, "scope": ["guides.read"], "csrf_token": "c" } }),
                "/api/guides" => json!({ "items": [guide], "next_cursor": "next" }),
                "/api/agents" => json!({ "items": [{ "id": "agt_1", "name": "librarian" }] }),
                path if path.starts_with("/api/guides/") => guide,
                _ => json!({}),
            };
            (200, body)
        })
    }

    /// R159: a text is shown as a text, whatever it says; admins see who put it.
    #[tokio::test]
    async fn guides_are_shown_as_texts() {
        for (role, is_named) in [("admin", true), ("member", false)] {
            for path in ["/guides?q=%3Cscript%3E&source=app%3Acrm", "/guides/app:crm/one"] {
                let page = visitor(role).open(path).await;
                let html = page.text;
                assert_eq!(page.status.as_u16(), 200, "{html}");
                assert!(!html.contains("<script>alert") && !html.contains("<script>\""), "{html}");
                assert!(
                    html.contains("&lt;/p&gt;&lt;script&gt;") || html.contains("&#60;/p&#62;&#60;script&#62;"),
                    "{html}"
                );
                assert_eq!(html.contains("librarian"), is_named, "{path}: {html}");
            }
        }
        let html = visitor("member").open("/guides?q=refund").await.text;
        assert!(
            html.contains("href=\"/guides?q=refund&#38;cursor=next\"")
                || html.contains("/guides?q=refund&amp;cursor=next"),
            "{html}"
        );
        assert!(html.contains("href=\"/guides/app:crm/one\""), "{html}");
    }

    /// R159: a page that is not there, and a search that is refused, say so.
    #[tokio::test]
    async fn a_guide_that_is_not_there_is_missing() {
        let refused = |status: u16, slug: &'static str| {
            Visitor::new(move |_, path| match path {
                "/api/overview" => {
                    (200, json!({ "caller": { "role": "member", "scope": ["guides.read"], "csrf_token": "c" } }))
                }
                _ => (status, json!({ "error": slug, "detail": "No.", "fix": "Do not." })),
            })
        };
        assert_eq!(refused(404, "guide_not_found").open("/guides/app:crm/none").await.status.as_u16(), 404);
        assert_eq!(refused(400, "invalid_text").open("/guides?q=%00").await.status.as_u16(), 400);
        let empty = Visitor::new(|_, path| match path {
            "/api/overview" => (200, json!({ "caller": { "role": "member", "scope": ["guides.read"] } })),
            _ => (200, Json::Null),
        });
        assert!(empty.open("/guides").await.text.contains("No guides yet"));
    }
}
