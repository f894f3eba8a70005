//! `/closures/{id}/receipt`: the receipt of a closure as a file.

use common::{error::ApiError, route};
use service::{app::App, extract::Path, response::Response};

use crate::{api::Api, page::answer};

/// `GET /closures/{id}/receipt`.
pub(crate) async fn download(app: App, Path(id): Path) -> Result<Response, ApiError> {
    answer(&app, async {
        let api = Api::of(&app)?;
        let is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let name = if is_plain { format!("{id}.jwt") } else { "receipt.jwt".to_owned() };
        api.download(route::CLOSURE_RECEIPT, &[&id], &[], ("application/jwt", &name)).await
    })
    .await
}
